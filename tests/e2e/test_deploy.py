"""`deploy` to a real Airflow that reads the workspace itself, or its published copy: each way to end, and what can run then."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Sandbox
from sandbox.installation import wanted_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sandbox.runner import Runner, Step
    from tests.e2e.conftest import NewRunner

DAG = '''"""{0}"""

from __future__ import annotations

import pendulum
from airflow import DAG
from helpers.names import NAME

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    from airflow.operators.empty import EmptyOperator

with DAG("{0}", start_date=pendulum.datetime(2026, 1, 1), schedule=None, is_paused_upon_creation=False):
    EmptyOperator(task_id=NAME)
'''
HELPER = 'NAME = "only"\n'
pytestmark = pytest.mark.e2e

NAMES = [f"shop_{number}" for number in range(4)]
OLD = {"helpers/__init__.py": "", "helpers/names.py": HELPER, **{f"{name}.py": DAG.format(name) for name in NAMES}}


@pytest.fixture(scope="module", params=[False, True], ids=["live", "published"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """An instance with an empty DAG folder."""
    folder = tmp_path_factory.mktemp("target") / "dags"
    folder.mkdir()
    with Sandbox.start(dags=folder, reads_published=request.param, forks_commands=True) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def deploy(target: Sandbox, new_runner: NewRunner, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Step]:
    """Deploy these files."""
    workspace = tmp_path_factory.mktemp("checkout")
    runner = new_runner(workspace, tmp_path_factory.mktemp("temp"))

    def run(files: Mapping[str, str], **inputs: str) -> Step:
        for file in workspace.rglob("*.py"):
            file.unlink()
        for path, text in files.items():
            (workspace / "dags" / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / "dags" / path).write_text(text, encoding="utf-8")
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        return runner.run({**connect(target), "operation": "deploy", "dags-path": "dags", **named})

    return run


def connect(sandbox: Sandbox) -> dict[str, str]:
    """Name the inputs that connect a step to the sandbox."""
    return {
        "endpoint": sandbox.endpoint,
        "region": sandbox.region,
        "instance-id": sandbox.instance_id,
        "access-key-id": sandbox.access_key_id,
        "access-key-secret": sandbox.access_key_secret,
    }


def own(sandbox: Sandbox) -> dict[str, str]:
    """Give the files of the target but for the manifest."""
    files = {file: file.read_text() for file in sorted(sandbox.workspace.store.dags.rglob("*")) if file.suffix == ".py"}
    return {str(file.relative_to(sandbox.workspace.store.dags)): text for file, text in files.items()}


def trigger_all(sandbox: Sandbox, runner: Runner, since: float) -> None:
    """Each DAG of before can be triggered, a minute after the verdict at the latest."""
    body = '{"logical_date": null}' if wanted_version().startswith("3.") else "{}"
    for name in NAMES:
        inputs = {"operation": "rest", "arguments": f"POST /dags/{name}/dagRuns", "body": body}
        step = runner.run({**connect(sandbox), **inputs})
        assert step.exit_code == 0, step.log
    assert time.monotonic() - since < 60


def test_good_then_broken_then_mended_then_deleted_and_renamed(
    target: Sandbox, deploy: Callable[..., Step], new_runner: NewRunner, tmp_path: Path
) -> None:
    good = deploy(OLD, expect_dags=" ".join(NAMES))
    assert good.exit_code == 0, good.log
    assert sorted(change["dag_id"] for change in json.loads(good.outputs["dag-changes"])) == NAMES

    again = deploy(OLD)
    assert (again.exit_code, json.loads(again.outputs["plan"])["unchanged"]) == (0, sorted(OLD)), again.log

    for broken in (
        {**OLD, "shop_0.py": OLD["shop_0.py"].replace("EmptyOperator(", "EmptyOperator((")},
        {**OLD, "helpers/names.py": "raise ValueError\n"},
        {path: text if number % 2 else text + "\nx\n" for number, (path, text) in enumerate(OLD.items())},
        {path: text for path, text in OLD.items() if path != "helpers/names.py"},
    ):
        step = deploy(broken)
        since = time.monotonic()
        assert (step.exit_code, step.outputs["rolled-back"]) == (1, "true"), step.log
        assert own(target) == OLD
        trigger_all(target, new_runner(tmp_path, tmp_path), since)

    mended = {**OLD, "shop_0.py": OLD["shop_0.py"].replace("task_id=NAME", 'task_id="mended"')}
    step = deploy(mended)
    assert step.exit_code == 0, step.log
    [change] = json.loads(step.outputs["dag-changes"])
    assert change == {"dag_id": "shop_0", "change": "changed", "details": ["task mended added", "task only removed"]}

    renamed: dict[str, Any] = {path: text for path, text in mended.items() if path not in ("shop_1.py", "shop_2.py")}
    renamed["shop_9.py"] = DAG.format("shop_9")
    step = deploy(renamed)
    assert step.exit_code == 0, step.log
    assert own(target) == renamed
    changes = {change["dag_id"]: change["change"] for change in json.loads(step.outputs["dag-changes"])}
    assert changes["shop_9"] == "added"
    assert "rolled-back" in step.outputs
