"""DAG runs on a real Airflow with its scheduler: triggered once, waited for, cancelled, and told on the author's lines."""

from __future__ import annotations

import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import NotInstalledError, Sandbox
from sandbox.installation import wanted_version
from sandbox.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.runner import Step

    Act = Callable[..., Step]

pytestmark = pytest.mark.e2e

MAJOR = wanted_version().partition(".")[0]
DAGS = Path(__file__).with_name("dags")
LONG = 600.0  # seconds: more than a busy machine takes


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of this module's own, with DAGs whose runs end in every way."""
    folder = Path(shutil.copytree(DAGS, tmp_path_factory.mktemp("instance") / "dags"))
    try:
        with Sandbox.start(dags=folder, forks_commands=True) as running:
            yield running
    except NotInstalledError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkout that has the DAGs in a folder of its own."""
    shutil.copytree(DAGS, tmp_path / "workspace" / "pipelines")
    return tmp_path / "workspace"


@pytest.fixture
def wait(act: Act) -> Act:
    """Trigger a DAG and wait for its run."""

    def trigger(dag_id: str, **inputs: str) -> Step:
        return act("dags trigger", dag_id, **{"wait_for_completion": "true", "timeout": f"{LONG:.0f}s", **inputs})

    return trigger


def count_runs(sandbox: Sandbox, dag_id: str) -> int:
    option = {"2": ["-d"], "3": []}[MAJOR]
    answer = sandbox.run_airflow("dags", "list-runs", *option, dag_id, "-o", "plain")
    return sum(line.startswith(dag_id) for line in answer.stdout.splitlines())


def test_a_run_that_succeeds(sandbox: Sandbox, wait: Act) -> None:
    before = sandbox.requests

    step = wait("quick")

    assert step.exit_code == 0, step.stdout
    assert step.outputs["run-state"] == "success"
    assert step.log.rstrip().splitlines()[-1].startswith(f"DAG run {step.outputs['run-id']} of quick succeeded after ")
    assert "2 of 2 tasks done" in step.log
    assert "```mermaid" in step.summary
    assert count_runs(sandbox, "quick") == 1
    kinds = [entry["kind"] for entry in sandbox.journal(since=before)]
    assert kinds.count("command") == 1


def test_a_failing_task_is_told_on_the_line_of_its_helper(wait: Act) -> None:
    step = wait("failing")

    assert (step.exit_code, step.outputs["status"], step.outputs["run-state"]) == (1, "failure", "failed")
    (annotation,) = step.annotations
    assert annotation.properties == {"title": "Task failed: load", "file": "pipelines/warehouse.py", "line": "8"}
    assert annotation.data.startswith("KeyError: 'price'\nTask instance: failing.load\n")
    assert "3 of 3 tasks done, 1 failed, 1 upstream failed" in step.log
    assert "\n::error::a line" not in step.stdout


def test_a_failing_command_is_told_with_the_end_of_its_log(wait: Act) -> None:
    step = wait("bash_failing")

    (annotation,) = step.annotations
    assert "Bash command failed. The command returned a non-zero exit code 3." in annotation.data
    assert annotation.properties["file"] == "pipelines/runs.py"
    assert "no space left on device" in step.log
    assert "no space left on device" in step.summary


def test_mapped_and_retried_task_instances_are_counted(wait: Act) -> None:
    step = wait("mapped")

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Task failed: square[2]"
    assert annotation.properties["line"] == "65"
    assert annotation.data.startswith("RuntimeError: three is not allowed\nTask instance: mapped.square[2]\n")
    assert "4 of 4 tasks done, 1 failed" in step.log


def test_a_second_try_and_a_skipped_task_are_a_success(wait: Act) -> None:
    step = wait("second_try")

    assert step.exit_code == 0
    assert not step.annotations
    assert "2 of 2 tasks done, 1 skipped" in step.log
    assert "| 2 of 2 |" in step.summary.replace("<code>", "").replace("</code>", "")


def test_a_run_before_the_start_date_is_no_success(wait: Act) -> None:
    step = wait("not_begun")

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["DAG run without tasks"]


def test_a_paused_dag(sandbox: Sandbox, wait: Act) -> None:
    step = wait("paused")

    assert [one.properties["title"] for one in step.annotations] == ["DAG not ready"]
    assert count_runs(sandbox, "paused") == 0

    step = wait("paused", on_paused="ignore", timeout="25s", on_cancel="fail-run")

    assert (step.exit_code, step.outputs["status"], step.outputs["run-state"]) == (1, "timeout", "failed")
    assert "DAG paused is paused" in step.annotations[0].data

    step = wait("paused", on_paused="unpause")

    assert step.exit_code == 0


@pytest.mark.parametrize(
    ("operation", "title"), [("smoke-test", "Trigger refused"), ("dags trigger", "Airflow command failed")]
)
def test_a_configuration_that_breaks_a_rule(act: Act, operation: str, title: str) -> None:
    step = act(operation, "ruled", conf='{"seconds": "abc"}')

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == [title]
    assert "conf field 'seconds': 'abc' is not of type 'integer' (rule 'type' of its param)" in step.annotations[0].data


def test_a_smoke_test_of_several_dags(act: Act) -> None:
    step = act("smoke-test", "quick second_try", timeout=f"{LONG:.0f}s", conf='{"asked": "by hand"}')

    assert step.exit_code == 0, step.stdout
    assert [(one["dag_id"], one["state"]) for one in step.read_json("runs")] == [
        ("quick", "success"),
        ("second_try", "success"),
    ]
    told = act("rest", f"GET /dags/quick/dagRuns/{step.read_json('runs')[0]['run_id']}")
    assert told.read_json("json")["conf"] == {"asked": "by hand"}


def test_a_smoke_test_without_dags(act: Act) -> None:
    step = act("smoke-test")

    assert step.exit_code == 0
    assert "metadatabase healthy; scheduler healthy, last heartbeat" in step.log


class Waiting:
    """A step that waits for the DAG `slow`, whose task is running."""

    def __init__(self, sandbox: Sandbox, workspace: Path, temp: Path, inputs: dict[str, str]) -> None:
        self._runner = Runner(workspace=workspace, temp=temp)
        connection = {
            "endpoint": sandbox.endpoint,
            "instance-id": sandbox.instance_id,
            "access-key-id": sandbox.access_key_id,
            "access-key-secret": sandbox.access_key_secret,
        }
        wait = {"operation": "dags trigger", "wait-for-completion": "true", "timeout": f"{LONG:.0f}s"}
        self.process, self._files = self._runner.start({**connection, **wait, **inputs})
        self._lines: list[str] = []
        self._has_line = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._has_line:
                self._lines.append(line.decode())
                self._has_line.notify_all()

    def await_line(self, text: str, seconds: float = LONG) -> None:
        """Return when a line with a text was printed."""
        with self._has_line:
            assert self._has_line.wait_for(lambda: any(text in line for line in self._lines), seconds), self._lines

    def finish(self) -> Step:
        """Wait for the step's end."""
        self._reader.join()
        assert self.process.stdout
        assert self.process.stderr
        with self.process.stdout, self.process.stderr as stderr:
            return self._runner.finish(self.process, self._files, "".join(self._lines).encode(), stderr.read())


@pytest.fixture
def start(sandbox: Sandbox, workspace: Path, tmp_path: Path) -> Callable[..., Waiting]:
    """Start a step that waits."""
    temp = tmp_path / "waiting"
    temp.mkdir()
    return lambda dag_id, **inputs: Waiting(
        sandbox, workspace, temp, {"arguments": dag_id, **{name.replace("_", "-"): value for name, value in inputs.items()}}
    )


@pytest.mark.parametrize(("on_cancel", "state"), [("fail-run", "failed"), ("leave", "running")])
def test_a_cancelled_wait(start: Callable[..., Waiting], act: Act, on_cancel: str, state: str) -> None:
    waiting = start("slow", on_cancel=on_cancel)
    waiting.await_line("1 running: crawl")

    waiting.process.send_signal(signal.SIGINT)
    step = waiting.finish()

    assert (step.exit_code, step.outputs["status"], step.outputs["run-state"]) == (130, "cancelled", state)
    path = f"/dags/slow/dagRuns/{step.outputs['run-id']}"
    assert act("rest", f"GET {path}").read_json("json")["state"] == state
    act("rest", f"PATCH {path}", body='{"state": "failed"}')


def test_time_runs_out_on_a_slow_run(wait: Act) -> None:
    step = wait("slow", timeout="12s", on_cancel="fail-run")

    assert (step.exit_code, step.outputs["status"], step.outputs["run-state"]) == (1, "timeout", "failed")
    assert "Not ended yet: crawl" in step.annotations[0].data


def test_a_session_and_a_webserver_lost_in_the_middle(sandbox: Sandbox, start: Callable[..., Waiting], act: Act) -> None:
    waiting = start("halting")
    waiting.await_line("1 running: halt")

    sandbox.expire_sessions()
    sandbox.front.instance.stop_webserver()
    waiting.await_line("Still waiting.")
    sandbox.front.instance.start_webserver()
    waiting.await_line("responds again")
    Path(sandbox.dags_folder, "go-on").touch()
    step = waiting.finish()

    assert step.exit_code == 0, step.stdout
    assert step.outputs["run-state"] == "success"
    assert "logging in again" in step.log
    runs: Any = act("rest", "GET /dags/halting/dagRuns").read_json("json")
    assert runs["total_entries"] == 1
