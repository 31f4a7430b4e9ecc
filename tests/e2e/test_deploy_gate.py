"""The deploy gate on a real Airflow: each way in which a deploy can be broken is caught, and nothing is made worse."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from sandbox import Sandbox
from sandbox.installation import wanted_version
from sandbox.lifecycle import GOOD_DAGS
from sandbox.settings import Settings
from tests.e2e.conftest import make_act, reserialize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.runner import Step
    from tests.e2e.conftest import NewRunner

    Act = Callable[..., Step]

pytestmark = pytest.mark.e2e

MAJOR = wanted_version().partition(".")[0]
STOCK = """from datetime import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("stock", schedule=None, start_date=datetime(2024, 1, 1)):
    BashOperator(task_id="count", bash_command="true")
"""
NAME_ERROR = STOCK.replace('task_id="count"', "task_id=COUNT")
SYS_EXIT = f"import sys\n\n{STOCK}\nsys.exit('configuration is missing')\n"
LONG = 600.0  # seconds: more than a busy machine takes
# The class of the timetable is not registered: it imports, and cannot be serialized.
TIMETABLE = """from airflow.timetables.base import Timetable


class Never(Timetable):
    pass


"""
NOT_SERIALIZABLE = STOCK.replace('with DAG("stock", schedule=None', f'{TIMETABLE}with DAG("stock", schedule=Never()')
# Swallows the time limit of the import; ends by itself, so that nothing of it is left behind.
HANGING = f"""import time
{STOCK}
end = time.monotonic() + 75
while time.monotonic() < end:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""


class Deploy:
    """Puts files onto the instance and into the checkout, and takes them away again."""

    def __init__(self, sandbox: Sandbox, workspace: Path) -> None:
        self.instance = sandbox.dags_folder
        self.checkout = workspace / "dags"
        self._sandbox = sandbox
        self._names: set[str] = set()

    def write(self, text: str, name: str = "stock.py", *, instance: bool = True, checkout: bool = True) -> None:
        """Write a DAG file here, there, or at both places."""
        self._names.add(name)
        for wanted, folder in ((checkout, self.checkout), (instance, self.instance)):
            if wanted:
                (folder / name).write_text(text, encoding="utf-8")

    def clean(self) -> None:
        """Put the instance back: the added files and their DAGs."""
        for name in self._names:
            (self.instance / name).unlink(missing_ok=True)
        for dag_id in ("stock", "ledger"):
            path = urlsplit(self._sandbox.rest_url).path
            self._sandbox.front.instance.request("DELETE", f"{path}/dags/{dag_id}")
        reserialize(self._sandbox)
        # The scheduler of 2.10.4 parses by itself on SQLite: a file that hangs stops its heartbeat for as long.
        deadline = time.monotonic() + LONG
        while not self._sandbox.front.instance.is_healthy():
            assert time.monotonic() < deadline


@pytest.fixture
def deploy(sandbox: Sandbox, workspace: Path) -> Iterator[Deploy]:
    """A checkout equal to the instance."""
    shutil.copytree(GOOD_DAGS, workspace / "dags")
    deploy = Deploy(sandbox, workspace)
    yield deploy
    deploy.clean()


def gate(act: Act, **inputs: str) -> Step:
    """Run the gate, which ends long before its time limit."""
    return act("deploy-gate", **{"timeout": f"{LONG:.0f}s", "dags_path": "dags", **inputs})


def is_stored(act: Act, name: str = "stock.py") -> bool:
    """Ask the scheduler's view whether a file is broken."""
    known = act("rest", "GET /importErrors --paginate").read_json("json")
    return any(Path(error["filename"]).name == name for error in known["import_errors"])


def commands(sandbox: Sandbox, since: int) -> list[str]:
    """Name the CLI commands that came after so many requests."""
    return [" ".join(entry["argv"][:2]) for entry in sandbox.journal(since) if entry["kind"] == "command"]


def test_a_good_deploy_passes(sandbox: Sandbox, deploy: Deploy, act: Act) -> None:
    since = sandbox.requests

    step = act("deploy-gate", expect_dags="daily_orders, monthly_report")

    assert step.exit_code == 0, step.log
    assert deploy.checkout.is_dir()
    assert step.outputs["import-error-count"] == "0"
    assert commands(sandbox, since) == ["dags report", "dags list-import-errors", "dags reserialize"]
    assert "Slowest DAG files to parse" in step.summary


def test_a_new_dag_is_there_when_the_gate_passes(sandbox: Sandbox, deploy: Deploy, act: Act) -> None:
    deploy.write(STOCK)

    step = gate(act, expect_dags="stock")

    assert step.exit_code == 0, step.log
    assert sandbox.run_airflow("dags", "trigger", "stock").exit_code == 0


@pytest.mark.airflow("2", "Airflow 3 has no last good version: the next test")
def test_a_broken_deploy_leaves_the_last_good_version_runnable_and_the_mended_one_passes(
    sandbox: Sandbox, deploy: Deploy, act: Act
) -> None:
    deploy.write(STOCK)
    assert gate(act).exit_code == 0
    deploy.write(NAME_ERROR)
    since = sandbox.requests

    broken = gate(act)

    assert broken.exit_code == 1
    assert broken.outputs["status"] == "failure"
    (error,) = broken.read_json("import-errors")
    assert (error["file"], error["line"], error["exception"]) == ("dags/stock.py", 7, "NameError")
    assert "dags reserialize" not in commands(sandbox, since)
    assert sandbox.run_airflow("dags", "trigger", "stock").exit_code == 0

    deploy.write(STOCK.replace("true", "echo mended"))
    mended = gate(act)
    assert mended.exit_code == 0, mended.log
    assert mended.outputs["import-error-count"] == "0"


@pytest.mark.airflow("3", "Airflow 2 keeps the last good version in service: the test before")
def test_a_broken_deploy_says_what_is_out_of_service_and_the_mended_one_passes(
    sandbox: Sandbox, deploy: Deploy, act: Act
) -> None:
    deploy.write(STOCK)
    assert gate(act).exit_code == 0
    deploy.write(NAME_ERROR)
    since = sandbox.requests

    broken = gate(act)

    assert (broken.exit_code, broken.outputs["status"]) == (1, "failure")
    (error,) = broken.read_json("import-errors")
    assert (error["file"], error["line"], error["exception"]) == ("dags/stock.py", 7, "NameError")
    assert "Out of service until this is fixed: stock." in broken.annotations[0].data
    assert "dags reserialize" not in commands(sandbox, since)

    deploy.write(STOCK.replace("true", "echo mended"))
    mended = gate(act, expect_dags="stock")
    assert mended.exit_code == 0, mended.log
    assert mended.outputs["import-error-count"] == "0"


def test_the_stored_error_of_a_mended_file_is_parsed_away(deploy: Deploy, act: Act) -> None:
    deploy.write(STOCK)
    assert gate(act).exit_code == 0
    deploy.write(NAME_ERROR)
    deadline = time.monotonic() + LONG
    while not is_stored(act):
        assert time.monotonic() < deadline, "the scheduler stored no error"
    deploy.write(STOCK)
    # Older than the last parse: by itself the scheduler looks at the file half a minute later.
    os.utime(deploy.instance / "stock.py", (1_700_000_000, 1_700_000_000))
    assert is_stored(act)

    mended = gate(act)

    assert mended.exit_code == 0, mended.log
    assert not is_stored(act)


@pytest.mark.airflow("2", "Airflow 3 has no view of the files but its dag-processor's")
def test_a_new_broken_file_that_rest_does_not_know(new_runner: NewRunner, workspace: Path, tmp_path: Path) -> None:
    shutil.copytree(GOOD_DAGS, workspace / "dags")
    # A scheduler that lists the folder when it starts, and not again while this test runs.
    settings = Settings(variables={"AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "86400"})
    dags = tmp_path / "dags"
    shutil.copytree(GOOD_DAGS, dags)
    (dags / "listed.py").write_text(NAME_ERROR, encoding="utf-8")
    with Sandbox.start(dags=dags, settings=settings, forks_commands=True) as sandbox:
        act = make_act(sandbox, new_runner(workspace, tmp_path / "runner"))
        deadline = time.monotonic() + LONG
        while not is_stored(act, "listed.py"):
            assert time.monotonic() < deadline
        (sandbox.dags_folder / "listed.py").unlink()
        since = sandbox.requests
        for folder in (workspace / "dags", sandbox.dags_folder):
            (folder / "never_seen.py").write_text(NAME_ERROR, encoding="utf-8")

        step = gate(act)

        assert step.exit_code == 1
        assert [error["file"] for error in step.read_json("import-errors")] == ["dags/never_seen.py"]
        assert commands(sandbox, since) == ["dags report", "dags list-import-errors"]
        assert not is_stored(act, "never_seen.py")


def test_a_file_that_is_not_there_yet_is_waited_for(sandbox: Sandbox, deploy: Deploy, act: Act) -> None:
    deploy.write(STOCK, instance=False)
    since = sandbox.requests

    def write_when_missed() -> None:
        """Deploy the file once the gate has seen that it is not there."""
        deadline = time.monotonic() + LONG
        while "dags report" not in commands(sandbox, since) and time.monotonic() < deadline:
            ended.wait(0.1)
        deploy.write(STOCK)

    ended = threading.Event()
    later = threading.Thread(target=write_when_missed)
    later.start()

    step = gate(act)
    ended.set()
    later.join()

    assert step.exit_code == 0, step.log
    assert "Waiting for dags/stock.py (not on the instance)" in step.log


def test_a_file_that_never_comes_ends_in_a_timeout_that_names_it(deploy: Deploy, act: Act) -> None:
    deploy.write(STOCK, instance=False)

    step = gate(act, timeout="5s")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "dags/stock.py (not on the instance)" in step.annotations[0].data


def test_an_older_version_is_waited_for(deploy: Deploy, act: Act) -> None:
    deploy.write(STOCK)
    assert gate(act).exit_code == 0
    deploy.write(STOCK.replace("true", "echo new"), instance=False)

    step = gate(act, timeout="5s")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "dags/stock.py (another version)" in step.annotations[0].data


def test_an_old_modification_time_hides_a_new_version_on_airflow_2_and_the_gate_says_so(deploy: Deploy, act: Act) -> None:
    deploy.write(STOCK)
    assert gate(act).exit_code == 0
    deploy.write(STOCK.replace('task_id="count"', 'task_id="count_again"'))
    os.utime(deploy.instance / "stock.py", (1_700_000_000, 1_700_000_000))

    step = gate(act, timeout="20s")

    # Airflow 3 stores what it parsed, whatever the file's time; Airflow 2 keeps the older source.
    assert (step.exit_code, step.outputs["status"]) == {"2": (1, "timeout"), "3": (0, "success")}[MAJOR]
    assert ("keeps old modification times" in step.log) == {"2": True, "3": False}[MAJOR]


def test_sys_exit_is_caught_and_its_file_named(deploy: Deploy, act: Act) -> None:
    deploy.write(SYS_EXIT)

    step = gate(act)

    assert step.exit_code == 1
    place = step.annotations[0].properties
    assert (place["file"], place["line"]) == ("dags/stock.py", str(len(SYS_EXIT.splitlines())))
    assert "configuration is missing" in step.annotations[0].data


def test_a_hanging_file_is_caught_and_named(deploy: Deploy, act: Act) -> None:
    deploy.write(HANGING)

    step = gate(act, timeout="60s")

    assert step.exit_code == 1
    assert step.annotations[0].properties["file"] == "dags/stock.py", step.log


# On 3 the gate fails, too, but by its time limit: the source of a DAG that no longer serializes stays the last good one.
@pytest.mark.parametrize("new", [True, False])
def test_a_serialization_error_is_caught(deploy: Deploy, act: Act, *, new: bool) -> None:
    if not new:
        deploy.write(STOCK)
        assert gate(act).exit_code == 0
    deploy.write(NOT_SERIALIZABLE)

    step = gate(act)

    assert step.exit_code == 1, step.log
    assert "import-errors" in step.outputs, step.log
    assert [(error["file"], error["exception"]) for error in step.read_json("import-errors")] == [
        ("dags/stock.py", "SerializationError")
    ]


def test_a_duplicate_id_is_caught(sandbox: Sandbox, deploy: Deploy, act: Act) -> None:
    deploy.write(STOCK)
    deploy.write(STOCK, "stock_copy.py")
    since = sandbox.requests

    step = gate(act)

    assert step.exit_code == 1
    assert "dags reserialize" not in commands(sandbox, since)
    assert [error["exception"] for error in step.read_json("import-errors")] == ["AirflowDagDuplicatedIdException"]


def test_an_expected_dag_that_nobody_defines(deploy: Deploy, act: Act) -> None:
    assert deploy.checkout.is_dir()

    step = gate(act, expect_dags="daily_orders nosuch")

    assert step.exit_code == 1
    assert "Expected DAG nosuch: no DAG file of the instance defines it." in step.annotations[0].data
