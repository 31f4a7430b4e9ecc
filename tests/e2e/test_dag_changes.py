"""What a deploy changed of the DAGs of a real Airflow: twenty-five kinds of change in one deploy, and as many in the next."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Sandbox
from sandbox.installation import wanted_version
from sandbox.settings import Settings, local_secrets
from tests.e2e.conftest import make_act

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sandbox.runner import Step
    from tests.e2e.conftest import NewRunner

    Act = Callable[..., Step]

pytestmark = pytest.mark.e2e

IS_3 = wanted_version().startswith("3")
ASSET = "Asset" if IS_3 else "Dataset"
IMPORTS = """from datetime import timedelta
from pathlib import Path
import json

import pendulum
from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import Asset, TaskGroup, task
except ImportError:
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import task
    from airflow.operators.bash import BashOperator
    from airflow.operators.empty import EmptyOperator
    from airflow.utils.task_group import TaskGroup

"""
STARTS = "catchup is on and the start date is in the past: Airflow starts runs"


def dag(dag_id: str, arguments: str = "", body: str = "") -> str:
    """Write a DAG file; without a body the DAG has one task that no other DAG has."""
    body = body or f'EmptyOperator(task_id="only_{dag_id}")'
    given = {"start_date": "pendulum.datetime(2026, 1, 1)", "schedule": '"@yearly"', "catchup": "False"}
    given |= dict(pair.split("=", 1) for pair in arguments.split("; ") if pair)
    written = ", ".join(f"{name}={value}" for name, value in given.items())
    return IMPORTS + f'with DAG("{dag_id}", {written}):\n    ' + body.replace("\n", "\n    ") + "\n"


A, B, C = (f'{name} = EmptyOperator(task_id="{name}")' for name in "abc")
MAPPED = '@task\ndef double(x):\n    return x\n\ndouble.expand(x=[1, 2])\nEmptyOperator(task_id="beside")'
NOT_MAPPED = MAPPED.replace(".expand(x=[1, 2])", "(x=1)")
GROUP = 'with TaskGroup("{0}"):\n    EmptyOperator(task_id="grouped")\nEmptyOperator(task_id="other")'
BY_HELPER = "from shared.steps import STEPS\n\n"
FACTORY = (
    IMPORTS
    + """for file in sorted((Path(__file__).parent / "configs").glob("*.json")):
    config = json.loads(file.read_text())
    with DAG(config["id"], start_date=pendulum.datetime(2026, 1, 1), schedule=config["schedule"], catchup=False):
        EmptyOperator(task_id="made_" + config["id"])
"""
)
SHANGHAI = 'start_date=pendulum.datetime(2026, 1, 1, tz="Asia/Shanghai"); schedule="0 6 * * *"'
UNPAUSED = "start_date=pendulum.datetime(2025, 1, 1); is_paused_upon_creation=False"


def helped(dag_id: str) -> str:
    return dag(dag_id, body=f'for step in STEPS:\n    EmptyOperator(task_id="{dag_id}_" + step)').replace(
        "try:\n", f"{BY_HELPER}try:\n", 1
    )


# Of each file its three versions, None where it is not there.
VERSIONS: dict[str, tuple[str | None, str | None, str | None]] = {
    "cron.py": (dag("cron", 'schedule="@daily"'), dag("cron", 'schedule="@hourly"'), dag("cron", 'schedule="0 6 * * *"')),
    "span.py": (dag("span", "schedule=None"), dag("span", "schedule=timedelta(hours=6)"), dag("span", "schedule=None")),
    "assets.py": (
        dag("assets", 'schedule=[Asset("s3://shop/one")]'),
        dag("assets", 'schedule=[Asset("s3://shop/one"), Asset("s3://shop/two")]'),
        dag("assets", "schedule=None"),
    ),
    "zone.py": (dag("zone", 'schedule="0 6 * * *"'), dag("zone", SHANGHAI), dag("zone", 'schedule="0 6 * * *"')),
    "catch.py": (
        dag("catch", UNPAUSED),
        dag("catch", f"{UNPAUSED}; catchup=True"),
        dag("catch", UNPAUSED),
    ),
    "start.py": (
        dag("start"),
        dag("start", "start_date=pendulum.datetime(2026, 2, 1, 12)"),
        dag("start", "start_date=pendulum.datetime(2026, 3, 1)"),
    ),
    "owner.py": (
        dag("owner"),
        dag("owner", 'default_args={"owner": "shop"}'),
        dag("owner", 'default_args={"owner": "ops"}'),
    ),
    "tags.py": (dag("tags", 'tags=["a"]'), dag("tags", 'tags=["a", "b"]'), dag("tags", 'tags=["b"]')),
    "pool.py": (
        dag("pool", body=f"{A}\n{B}"),
        dag("pool", 'default_args={"pool": "slow"}', f"{A}\n{B}"),
        dag("pool", body=f'{A}\nb = EmptyOperator(task_id="b", pool="slow")'),
    ),
    "retries.py": (
        dag("retries"),
        dag("retries", 'default_args={"retries": 2}'),
        dag("retries", 'default_args={"retries": 1}'),
    ),
    "tasks.py": (dag("tasks", body=f"{A}\n{C}"), dag("tasks", body=f"{A}\n{B}\n{C}"), dag("tasks", body=f"{B}\n{C}")),
    "operator.py": (
        dag("operator", body=f"{A}\n{B}"),
        dag("operator", body=f'{A}\nBashOperator(task_id="b", bash_command="true")'),
        dag("operator", body='BashOperator(task_id="a", bash_command="true")\nBashOperator(task_id="b", bash_command="true")'),
    ),
    "edges.py": (
        dag("edges", body=f"{A}\n{B}\n{C}\na >> b >> c"),
        dag("edges", body=f"{A}\n{B}\n{C}\n[a, b] >> c"),
        dag("edges", body=f"{A}\n{B}\n{C}\nc >> a"),
    ),
    "mapped.py": (dag("mapped", body=NOT_MAPPED), dag("mapped", body=MAPPED), dag("mapped", body=NOT_MAPPED)),
    "group.py": (
        dag("group", body='EmptyOperator(task_id="grouped")\nEmptyOperator(task_id="other")'),
        dag("group", body=GROUP.format("first")),
        dag("group", body=GROUP.format("second")),
    ),
    "renamed.py": (
        dag("renamed_0", body='EmptyOperator(task_id="keeps")'),
        dag("renamed_1", body='EmptyOperator(task_id="keeps")'),
        dag("renamed_2", 'schedule="@monthly"', 'EmptyOperator(task_id="keeps")'),
    ),
    "moves.py": (dag("moves", body='EmptyOperator(task_id="moved")'), None, None),
    "moved_1.py": (None, dag("moved_1", body='EmptyOperator(task_id="moved")'), None),
    "moved_2.py": (None, None, dag("moved_2", body='EmptyOperator(task_id="moved")')),
    "same_id.py": (dag("same_id"), None, dag("same_id")),
    "same_id_elsewhere.py": (None, dag("same_id", 'tags=["new"]'), None),
    "gone.py": (dag("gone"), None, dag("gone")),
    "new.py": (None, dag("new", "schedule=None"), None),
    "helped_a.py": (helped("helped_a"),) * 3,
    "helped_b.py": (helped("helped_b"),) * 3,
    "shared/__init__.py": ("", "", ""),
    "shared/steps.py": ('STEPS = ["x"]\n', 'STEPS = ["x", "y"]\n', 'STEPS = ["y"]\n'),
    "factory.py": (FACTORY,) * 3,
    "configs/made_a.json": tuple(f'{{"id": "made_a", "schedule": "{one}"}}' for one in ("@daily", "@weekly", "@monthly")),  # type: ignore[dict-item]
    "configs/made_b.json": (None, '{"id": "made_b", "schedule": null}', None),
    "comment.py": tuple(f"# {number}\n{dag('comment')}" for number in range(3)),  # type: ignore[dict-item]
    "untouched.py": (dag("untouched"),) * 3,
    "many.py": (
        dag("many"),
        dag("many", 'schedule="@weekly"; tags=["x"]; default_args={"retries": 3}'),
        dag("many", body=f"{A}\n{B}\na >> b"),
    ),
}


# Airflow 3 writes them out.
CRON = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *"}


def change(dag_id: str, what: str, *details: str) -> dict[str, Any]:
    written = [re.sub(r"@\w+", lambda match: CRON[match[0]] if IS_3 else match[0], detail) for detail in details]
    return {"dag_id": dag_id, "change": what, "details": written}


# Only the start date shows a DAG's time zone: both Airflows give the default one of the instance (`DagModel.timezone`).
ZONE_1 = change("zone", "changed", "start date 2026-01-01 00:00 → 2025-12-31 16:00")
ZONE_2 = change("zone", "changed", "start date 2025-12-31 16:00 → 2026-01-01 00:00")
EXPECTED = {
    1: [
        change("gone", "removed"),
        change("assets", "changed", f"schedule {ASSET} (all(s3://shop/one)) → {ASSET} (all(s3://shop/one, s3://shop/two))"),
        change("cron", "changed", "schedule @daily → @hourly"),
        change("made_a", "changed", "schedule @daily → @weekly"),
        change(
            "many",
            "changed",
            "schedule @yearly → @weekly",
            "tag x added",
            "task only_many: retries 0 → 3",
        ),
        change("span", "changed", "schedule none → 6:00:00"),
        change("moved_1", "renamed", "was moves"),
        change("renamed_1", "renamed", "was renamed_0"),
        change("made_b", "added", "schedule none", "1 task", "paused"),
        change("new", "added", "schedule none", "1 task", "paused"),
        change("catch", "changed", "catchup off → on", STARTS),
        change("edges", "changed", "edge a → c added", "edge a → b removed"),
        change("group", "changed", "task first.grouped added", "task grouped removed"),
        change("helped_a", "changed", "task helped_a_y added"),
        change("helped_b", "changed", "task helped_b_y added"),
        change("mapped", "changed", "task double: mapped no → yes"),
        change("operator", "changed", "task b: operator EmptyOperator → BashOperator"),
        change("owner", "changed", "owner airflow → shop"),
        change("pool", "changed", "tasks a, b: pool default_pool → slow"),
        change("retries", "changed", "task only_retries: retries 0 → 2"),
        change("same_id", "changed", "tag new added"),
        change("start", "changed", "start date 2026-01-01 00:00 → 2026-02-01 12:00"),
        change("tags", "changed", "tag b added"),
        change("tasks", "changed", "task b added"),
        ZONE_1,
    ],
    2: [
        change("made_b", "removed"),
        change("new", "removed"),
        change("renamed_2", "renamed", "was renamed_1", "schedule @yearly → @monthly"),
        change("assets", "changed", f"schedule {ASSET} (all(s3://shop/one, s3://shop/two)) → none"),
        change("cron", "changed", "schedule @hourly → 0 6 * * *"),
        change("made_a", "changed", "schedule @weekly → @monthly"),
        change(
            "many",
            "changed",
            "schedule @weekly → @yearly",
            "tag x removed",
            "task a added",
            "task b added",
            "task only_many removed",
            "edge a → b added",
        ),
        change("span", "changed", "schedule 6:00:00 → none"),
        change("moved_2", "renamed", "was moved_1"),
        change("gone", "added", "schedule @yearly", "1 task", "paused"),
        change("catch", "changed", "catchup on → off"),
        change("edges", "changed", "edge c → a added", "edge a → c removed", "edge b → c removed"),
        change("group", "changed", "task second.grouped added", "task first.grouped removed"),
        change("helped_a", "changed", "task helped_a_x removed"),
        change("helped_b", "changed", "task helped_b_x removed"),
        change("mapped", "changed", "task double: mapped yes → no"),
        change("operator", "changed", "task a: operator EmptyOperator → BashOperator"),
        change("owner", "changed", "owner shop → ops"),
        change("pool", "changed", "task a: pool slow → default_pool"),
        change("retries", "changed", "task only_retries: retries 2 → 1"),
        change("same_id", "changed", "tag new removed"),
        change("start", "changed", "start date 2026-02-01 12:00 → 2026-03-01 00:00"),
        change("tags", "changed", "tag a removed"),
        change("tasks", "changed", "task a removed"),
        ZONE_2,
    ],
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """An instance with an empty DAG folder."""
    folder = tmp_path_factory.mktemp("target") / "dags"
    folder.mkdir()
    with Sandbox.start(dags=folder, forks_commands=True) as sandbox:
        yield sandbox


# These are one file, since each file costs the scheduler a process.
TOGETHER = {
    "cron",
    "span",
    "assets",
    "zone",
    "catch",
    "start",
    "owner",
    "tags",
    "pool",
    "retries",
    "tasks",
    "operator",
    "edges",
}
TOGETHER |= {"mapped", "group", "renamed", "many"}


def give_version(number: int) -> dict[str, str | None]:
    """Give the files of a version."""
    files = {path: versions[number] for path, versions in VERSIONS.items() if path.removesuffix(".py") not in TOGETHER}
    return {**files, "kinds.py": "\n".join(VERSIONS[f"{name}.py"][number] or "" for name in sorted(TOGETHER))}


def plant(workspace: Path, files: Mapping[str, str | None]) -> None:
    """Write the DAG folder of the checkout anew."""
    for file in [*workspace.rglob("*.py"), *workspace.rglob("*.json"), *workspace.rglob("*.sh")]:
        file.unlink()
    for path, text in files.items():
        if text is not None:
            (workspace / "dags" / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / "dags" / path).write_text(text, encoding="utf-8")


def test_each_kind_of_change(target: Sandbox, new_runner: NewRunner, workspace: Path, tmp_path: Path) -> None:
    act = make_act(target, new_runner(workspace, tmp_path / "runner"))
    steps = []
    for number in range(3):
        plant(workspace, give_version(number))
        step = act("deploy", dags_path="dags")
        assert step.exit_code == 0, step.log
        steps.append(step)

    first = json.loads(steps[0].outputs["dag-changes"])
    assert {one["change"] for one in first} == {"added"}
    assert len(first) == 25
    for number in (1, 2):
        assert json.loads(steps[number].outputs["dag-changes"]) == EXPECTED[number]
    assert f"  cron: changed: {change('', '', 'schedule @daily → @hourly')['details'][0]}" in steps[1].log
    assert "```mermaid\nflowchart LR\n" in steps[1].summary

    again = act("deploy", dags_path="dags")
    assert (again.exit_code, again.outputs["dag-changes"]) == (0, "[]"), again.log

    gate = act("deploy-gate", dags_path="dags")
    assert gate.exit_code == 0, gate.log
    assert {one["change"] for one in json.loads(gate.outputs["dag-changes"])} == {"not known"}


# --- what the instance lacks ----------------------------------------------------------------------------------------------

LACKING = {
    "lacking.py": IMPORTS
    + """from lacking_parts.load import Load

with DAG("lacking", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
    Load(task_id="a", shop_conn_id="warehouse", pool="slow", bash_command="load.sh", deferrable=True)
    Load(task_id="b", shop_conn_id="no_conn", pool="no_pool", bash_command="echo {{ conn.ftp.host }}")
    BashOperator(task_id="c", bash_command="echo {{ var.value.region }} {{ var.value.no_var }} {{ var.json.zone }}")
""",
    "lacking_parts/__init__.py": "",
    "lacking_parts/load.py": IMPORTS
    + """from airflow.hooks.base import BaseHook

class Load(BashOperator):
    def __init__(self, *, shop_conn_id, deferrable=False, **options):
        super().__init__(**options)
        self.shop_conn_id = shop_conn_id

    def pre_execute(self, context):
        BaseHook.get_connection("no_conn_of_a_helper")
""",
    "load.sh": """echo {{ var.value.region }} {{ conn.mail.host }} {{ conn.more.host }}
echo {{ conn.no_conn_of_a_template.host }}
""",
}
PLACES = {
    ("missing-connection", "no_conn", "dags/lacking.py", len(IMPORTS.splitlines()) + 5),
    ("missing-variable", "no_var", "dags/lacking.py", len(IMPORTS.splitlines()) + 6),
    ("missing-pool", "no_pool", "dags/lacking.py", len(IMPORTS.splitlines()) + 5),
    ("missing-triggerer", "", "dags/lacking.py", len(IMPORTS.splitlines()) + 4),
    ("missing-connection", "no_conn_of_a_helper", "dags/lacking_parts/load.py", len(IMPORTS.splitlines()) + 9),
    ("missing-connection", "no_conn_of_a_template", "dags/load.sh", 2),
}
VALUE = "s3cr3t-of-a-test"


def fill(sandbox: Sandbox) -> None:
    """Put into the database what the files name, but for what is called no_…, each with a value that nobody may see."""
    for name in ("warehouse", "ftp", "mail", "more"):
        sandbox.run_airflow("connections", "add", name, "--conn-type", "http", "--conn-host", VALUE, "--conn-password", VALUE)
    for name in ("region", "zone"):
        sandbox.run_airflow("variables", "set", name, VALUE)
    sandbox.run_airflow("pools", "set", "slow", "1", "a pool")


def find_missing(step: Step) -> set[tuple[str, str, str, int]]:
    found = [one for one in step.read_json("findings") if one["rule"].startswith("missing-")]
    names = [re.search(r"has no \w+ (no_\w+)", one["message"]) for one in found]
    return {(one["rule"], name[1] if name else "", one["file"], one["line"]) for one, name in zip(found, names, strict=True)}


def test_what_the_instance_lacks_is_on_its_line(
    target: Sandbox, new_runner: NewRunner, workspace: Path, tmp_path: Path
) -> None:
    fill(target)
    plant(workspace, LACKING)
    act = make_act(target, new_runner(workspace, tmp_path / "runner"))
    since = target.requests

    step = act("deploy", dags_path="dags", prune="true")

    assert step.exit_code == 0, step.log
    assert find_missing(step) == PLACES
    assert VALUE not in step.log + step.summary + json.dumps(step.outputs)
    assert VALUE not in json.dumps(target.journal(since))
    paths = [str(entry.get("path")).rpartition("/")[2] for entry in target.journal(since)]
    assert [paths.count(path) for path in ("connections", "pools", "variables")] == [1, 1, 0]

    silent = act("deploy-gate", dags_path="dags", warnings="false")
    assert (silent.exit_code, find_missing(silent)) == (0, set()), silent.log


def test_with_a_secrets_backend_there_is_silence(new_runner: NewRunner, workspace: Path, tmp_path: Path) -> None:
    kept = dict.fromkeys(("no_conn", "no_conn_of_a_helper", "no_conn_of_a_template"), "http://kept.example")
    shown = Settings(variables={f"AIRFLOW__{'API' if IS_3 else 'WEBSERVER'}__EXPOSE_CONFIG": "True"})
    (tmp_path / "dags").mkdir()
    with Sandbox.start(
        dags=tmp_path / "dags", settings=local_secrets({"no_var": "x"}, kept) | shown, forks_commands=True
    ) as sandbox:
        fill(sandbox)
        plant(workspace, LACKING)

        step = make_act(sandbox, new_runner(workspace, tmp_path / "runner"))("deploy", dags_path="dags")

    assert step.exit_code == 0, step.log
    assert {rule for rule, *_ in find_missing(step)} == {"missing-pool", "missing-triggerer"}
    assert "Connection names that the database of the instance does not have: no_conn" in step.log
