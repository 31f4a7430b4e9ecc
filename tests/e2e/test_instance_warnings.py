"""What a real Airflow warns of is on its line of the checkout, in DAG files and in helpers, and nothing of a library is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from sandbox.installation import wanted_version
from sandbox.settings import Settings
from tests.e2e.conftest import reserialize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from sandbox.runner import Step

    Act = Callable[..., Step]

pytestmark = pytest.mark.e2e

IS_3 = wanted_version().startswith("3")
DAG = """from datetime import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

from planted.tasks import make_task

with DAG("planted", schedule=None, start_date=datetime.now()):
    BashOperator(task_id="a", bash_command="true", pool="no_such_pool")
    make_task("b")
"""
HELPER = """import warnings

from airflow.operators.empty import EmptyOperator

PATTERN = "\\d"


def make_task(task_id):
    warnings.warn("make_task is old\\nuse make_job", DeprecationWarning, stacklevel=2)
    return EmptyOperator(task_id=task_id, pool="no_helpers_pool")
"""
FILES = {"planted_dag.py": DAG, "planted/__init__.py": "", "planted/tasks.py": HELPER}
LONGEST_LOOK = 120.0  # seconds

# 3.2.2 stores none: its dag-processor hands no pools to what would compare them (airflow/dag_processing/dagbag.py).
POOLS = {
    ("missing-pool", "dags/planted_dag.py", 9, ("planted",)),
    ("missing-pool", "dags/planted/tasks.py", 10, ("planted",)),
}
VARYING = ("runtime-varying-value", "dags/planted_dag.py", 8, ("planted",))
BY_DEFAULT = {
    ("deprecation", "dags/planted_dag.py", 4, ()),  # airflow.operators.bash
    ("deprecation", "dags/planted/tasks.py", 3, ()),  # airflow.operators.empty
}
WITH_PYTHONWARNINGS = {
    ("deprecation", "dags/planted_dag.py", 10, ()),  # make_task, in the helper, warns of its caller
    ("deprecation", "dags/planted/tasks.py", 5, ()),  # invalid escape sequence
}


@pytest.fixture
def planted(sandbox: Sandbox, workspace: Path) -> Iterator[None]:
    """Plant a DAG file and its helper on the instance and in the checkout."""
    folders = (sandbox.dags_folder, workspace / "dags")
    for folder in folders:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    yield
    for name in FILES:
        (sandbox.dags_folder / name).unlink()
    sandbox.front.instance.request("DELETE", f"{urlsplit(sandbox.rest_url).path}/dags/planted")
    reserialize(sandbox)


def await_stored(act: Act, kinds: set[str]) -> None:
    """Wait until the scheduler has stored warnings of these kinds of the planted DAG."""
    end = time.monotonic() + LONGEST_LOOK
    while True:
        step = act("rest", "GET /dagWarnings")
        rows = step.read_json("json")["dag_warnings"] if step.exit_code == 0 else []
        if kinds <= {row["warning_type"] for row in rows if row["dag_id"] == "planted"}:
            return
        assert time.monotonic() < end, step.log


@pytest.mark.usefixtures("planted")
def test_each_is_on_its_line(sandbox: Sandbox, act: Act) -> None:
    await_stored(act, {"runtime varying value" if IS_3 else "non-existent pool"})
    since = sandbox.requests

    step = act("dags list-import-errors", dags_path="dags")

    assert step.exit_code == 0, step.log
    found = {(one["rule"], one["file"], one["line"], tuple(one["affects"])) for one in step.read_json("findings")}
    assert found == ({VARYING, *BY_DEFAULT} if IS_3 else POOLS)
    assert {one.name for one in step.annotations} == {"warning"}
    # One request for the only page of what the scheduler stored, none for the rest: one command imports the files.
    assert [entry["kind"] for entry in sandbox.journal(since)].count("command") == 1
    assert len([entry for entry in sandbox.journal(since) if "dagWarnings" in str(entry)]) == 1


@pytest.mark.usefixtures("planted")
def test_python_warns_of_more_when_the_owner_wants_it(sandbox: Sandbox, act: Act) -> None:
    with sandbox.command_settings(Settings(variables={"PYTHONWARNINGS": "default::DeprecationWarning"})):
        step = act("dags list-import-errors", dags_path="dags")

    assert step.exit_code == 0, step.log
    places = {(one["rule"], one["file"], one["line"], tuple(one["affects"])) for one in step.read_json("findings")}
    assert {place for place in places if place[0] == "deprecation"} == WITH_PYTHONWARNINGS | (BY_DEFAULT if IS_3 else set())
    (old,) = [one for one in step.read_json("findings") if one["line"] == 10 and one["rule"] == "deprecation"]
    # Airflow 3 collects the warnings of an import, and gives them again as its own.
    category = "UserWarning" if IS_3 else "DeprecationWarning"
    assert (old["title"], old["message"]) == (f"Python warning: {category}", "make_task is old\nuse make_job")
