"""The verdict is the same whatever the instance's owner has set for Airflow's log.

Each setting needs a sandbox of its own, which takes 20 s to start: only a log as JSON is tried, unless `LOG_SETTINGS=all`.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox
from sandbox.installation import wanted_version
from sandbox.log_settings import LOG_SETTINGS
from tests.e2e.conftest import TRIED_LOG_SETTINGS, make_act

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.runner import Step
    from tests.e2e.conftest import NewRunner

    Act = Callable[..., Step]

SOUND = """from datetime import datetime

from airflow import DAG
from airflow.operators.python import PythonOperator


def work():
    print("12 rows")


def fail():
    raise ValueError("no rows")


for dag_id, function in {"sound": work, "failing": fail}.items():
    with DAG(dag_id, schedule=None, start_date=datetime(2024, 1, 1)):
        PythonOperator(task_id="only", python_callable=function)
"""
BROKEN = "from airflow import DAG\nfrom reporting_tools import render\n"


@pytest.fixture(scope="module", params=TRIED_LOG_SETTINGS)
def setting(request: pytest.FixtureRequest) -> str:
    """The name of a log setting."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def target(setting: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """An instance whose scheduler, tasks and commands have a log setting."""
    dags = tmp_path_factory.mktemp("instance")
    (dags / "orders.py").write_text(SOUND)
    settings = LOG_SETTINGS[wanted_version()][setting]
    # With this level Airflow prints already when it is imported, which forks would not repeat.
    with Sandbox.start(dags=dags, settings=settings, forks_commands=setting != "debug") as sandbox:
        yield sandbox


@pytest.fixture
def act(target: Sandbox, new_runner: NewRunner, workspace: Path, tmp_path: Path) -> Act:
    """Run the action on it. `broken` adds a file."""
    shutil.copytree(target.dags_folder, workspace / "dags")
    run = make_act(target, new_runner(workspace, tmp_path / "runner"))

    def act(operation: str, arguments: str = "", *, broken: bool = False, **inputs: str) -> Step:
        files = [folder / "invoices.py" for folder in (workspace / "dags", target.dags_folder)]
        for file in files if broken else ():
            file.write_text(BROKEN)
        try:
            return run(operation, arguments, **inputs)
        finally:
            for file in files:
                file.unlink(missing_ok=True)

    return act


def test_the_scheduler_has_the_setting(target: Sandbox, setting: str) -> None:
    log = (target.run_folder / "scheduler.log").read_text()

    if setting == "json":
        [entry] = [json.loads(line) for line in log.splitlines() if "Starting the scheduler" in line]
        assert (entry["level"], entry["event"]) == ("info", "Starting the scheduler")


@pytest.mark.parametrize("operation", ["dags list-import-errors", "dags reserialize", "deploy-gate"])
def test_a_broken_file_is_red_on_its_line(act: Act, operation: str) -> None:
    step = act(operation, broken=True)

    assert step.exit_code == 1, step.log
    (error,) = step.read_json("import-errors")
    assert (error["file"], error["line"], error["exception"]) == ("dags/invoices.py", 2, "ModuleNotFoundError")


@pytest.mark.parametrize("operation", ["dags list-import-errors", "dags reserialize", "deploy-gate"])
def test_sound_files_are_green(act: Act, operation: str) -> None:
    step = act(operation)

    assert step.exit_code == 0, step.log
    assert step.outputs["import-errors"] == "[]"
    assert [one.name for one in step.annotations if one.name == "error"] == []


@pytest.mark.parametrize(("dag_id", "exit_code"), [("sound", 0), ("failing", 1)])
def test_a_dag_run_is_followed_to_the_line_that_failed(act: Act, dag_id: str, exit_code: int) -> None:
    step = act("dags trigger", dag_id, **{"wait-for-completion": "true", "on-paused": "unpause", "timeout": "300s"})

    assert step.exit_code == exit_code, step.log
    places = [(one["file"], one["line"], one["message"]) for one in step.read_json("findings")]
    assert places == ([] if exit_code == 0 else [("dags/orders.py", 12, "ValueError: no rows")])


@pytest.mark.parametrize(("dag_id", "exit_code"), [("sound", 0), ("failing", 1)])
def test_a_test_of_a_task_is_right_or_said_to_be_unknown(act: Act, setting: str, dag_id: str, exit_code: int) -> None:
    if (setting, wanted_version()) == ("json", "3.2.2"):
        exit_code = 1  # Airflow itself ends with an AttributeError before the task begins

    step = act("tasks test", f"{dag_id} only 2026-01-01")

    is_unknown = any("not known" in one.properties["title"] for one in step.annotations)
    assert step.exit_code == (1 if is_unknown else exit_code), step.log
    assert not [one for one in step.annotations if "sys.exit" in one.data]
