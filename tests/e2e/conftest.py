"""One sandbox for all end-to-end tests of a session: a real Airflow, with a copy of the sample DAGs to write to.

Time limits are for what never happens (LONG): no test that passes comes near one, on however busy a machine.

SANDBOX_AIRFLOW says which. A test that holds for one major version only says so, and why: `@pytest.mark.airflow("2", "...")`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sandbox import NotInstalledError, Sandbox
from sandbox.installation import wanted_version
from sandbox.log_settings import LOG_SETTING_NAMES
from tests.forking import ForkingRunner, serve_forks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from sandbox.runner import Runner, Step

    NewRunner = Callable[[Path, Path], Runner]

LOG_END = 4000  # characters

# Of the ten ways in which an owner may have set Airflow's log, those that are tried.
TRIED_LOG_SETTINGS = LOG_SETTING_NAMES if os.environ.get("LOG_SETTINGS") == "all" else ("json",)


def pytest_report_header() -> str:
    """Say which Airflow is tested against."""
    return f"Airflow of the sandbox: {wanted_version()}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what holds for the other major version only, and say why."""
    for marker in item.iter_markers("airflow"):
        major, reason = marker.args
        if not wanted_version().startswith(f"{major}."):
            pytest.skip(f"Airflow {major} only: {reason}")


# Each takes minutes, much of them waiting. Started last, one would keep one worker busy while the others have no more tests.
LONGEST = ("test_deploy.py", "test_dag_changes.py", "test_deploy_gate.py", "test_dag_runs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the logs of Airflow's processes below a failure: its folder is gone when the next sandbox starts."""
    report = yield
    sandboxes = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Sandbox)]
    for log in sorted(log for one in sandboxes if report.failed for log in one.run_folder.glob("*.log")):
        report.sections.append((log.name, log.read_text(encoding="utf-8", errors="replace")[-LOG_END:]))
    return report


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A running sandbox. A test that changes it puts it back."""
    try:
        with Sandbox.start(forks_commands=True) as running:
            yield running
    except NotInstalledError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty checkout."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def new_runner() -> Iterator[NewRunner]:
    """Make a runner of a checkout and a folder. Its steps are forks, as in tests/integration, but for `test_connection`."""
    with serve_forks() as server:

        def make(workspace: Path, temp: Path) -> Runner:
            temp.mkdir(exist_ok=True)
            return ForkingRunner(workspace=workspace, temp=temp, server=server)

        yield make


def reserialize(sandbox: Sandbox) -> None:
    """Let Airflow parse and store its DAG files; again where the scheduler was storing the same DAG, which ends the command."""
    results = (sandbox.run_airflow("dags", "reserialize") for _ in range(5))
    assert any(result.exit_code == 0 for result in results)


def make_act(sandbox: Sandbox, runner: Runner) -> Callable[..., Step]:
    """Give what runs the whole action against a sandbox: an operation, its arguments, further inputs."""
    connection = {
        "endpoint": sandbox.endpoint,
        "instance-id": sandbox.instance_id,
        "access-key-id": sandbox.access_key_id,
        "access-key-secret": sandbox.access_key_secret,
    }

    def run_step(operation: str, arguments: str = "", **inputs: str) -> Step:
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        step = runner.run({**connection, "operation": operation, "arguments": arguments, **named})
        assert sandbox.access_key_secret not in step.log + step.summary + "".join(step.outputs.values())
        return step

    return run_step


@pytest.fixture
def act(sandbox: Sandbox, new_runner: NewRunner, workspace: Path, tmp_path: Path) -> Callable[..., Step]:
    """Run the whole action against the sandbox."""
    return make_act(sandbox, new_runner(workspace, tmp_path / "runner"))
