"""A step as a process: how it ends, what it takes from around it. As GitHub starts it, and forked as in the other tests.

Every test runs twice: with an interpreter of its own, and as a fork of sandbox/fork_server.py. The expected values are the
same, so that what holds for a fork in the other modules holds for the action.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from sandbox.runner import Runner
from tests.forking import ForkingRunner
from tests.integration.fake_dms import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox.forks import ForkServer
    from sandbox.front import Request
    from sandbox.runner import Step
    from tests.integration.fake_cloud import FakeCloud
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

VERSION = {"operation": "version"}
LOGGED_IN = ["POST /", "GET /login", "POST /api/v1/command"]
PROFILE = f"""
[default]
type = access_key
access_key_id = {KEY.access_key_id}
access_key_secret = {KEY.access_key_secret}
"""


@pytest.fixture(params=["interpreter", "fork"])
def runner(request: pytest.FixtureRequest, fork_server: ForkServer, workspace: Path, tmp_path: Path) -> Runner:
    """Each of both kinds of runners."""
    temp = tmp_path / "runner"
    temp.mkdir()
    if request.param == "interpreter":
        return Runner(workspace=workspace, temp=temp)
    return ForkingRunner(workspace=workspace, temp=temp, server=fork_server)


@pytest.fixture(autouse=True)
def script(dms: FakeDms) -> None:
    """Let one command work."""
    dms.airflow.commands["version"] = ("2.10.4\n", "")


def interrupt(dms: FakeDms, runner: Runner, number: signal.Signals, inputs: Mapping[str, str] | None = None) -> Step:
    """Run a step that gets a signal while it waits for a command, which is answered after its end."""

    def send(_: Request) -> None:
        process.send_signal(number)
        process.wait()

    dms.fail("command", send)
    process, files = runner.start({**dms.inputs, "operation": "dags backfill", "arguments": "etl", **(inputs or {})})
    return runner.finish(process, files, *process.communicate())


@pytest.mark.check
def test_success(dms: FakeDms, run: Run) -> None:
    step = run(VERSION)

    assert (step.exit_code, step.stderr) == (0, "")
    assert step.outputs["stdout"] == "2.10.4\n"
    assert dms.paths == LOGGED_IN


def test_a_failing_command(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags pause"] = ("", "airflow.exceptions.DagNotFound: Dag etl not found\n")

    step = run({"operation": "dags pause", "arguments": "etl"})

    assert (step.exit_code, step.stderr) == (1, "")
    assert step.outputs["status"] == "failure"


@pytest.mark.check
def test_wrong_inputs(dms: FakeDms, run: Run) -> None:
    step = run({"operation": "dags lst", "timeout": "soon"})

    assert (step.exit_code, step.stderr) == (2, "")
    assert sorted(one.data.partition(":")[0] for one in step.annotations) == ["operation", "timeout"]
    assert dms.received == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.check
def test_a_cancelled_step(dms: FakeDms, runner: Runner, number: signal.Signals) -> None:
    step = interrupt(dms, runner, number)

    assert (step.exit_code, step.stderr) == (130, "")
    assert step.outputs["status"] == "cancelled"
    assert [(one.name, one.properties["title"]) for one in step.annotations] == [("warning", "Cancelled")]
    assert "🚫" in step.summary


def test_a_killed_step(dms: FakeDms, runner: Runner) -> None:
    step = interrupt(dms, runner, signal.SIGKILL)

    assert step.exit_code == -9
    assert (step.outputs, step.summary, step.annotations) == ({}, "", [])


@pytest.mark.check
def test_a_step_that_assumes_a_role(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert (step.exit_code, step.stderr) == (0, "")
    assert cloud.kinds == ["id-token", "sts"]
    (credential,) = cloud.sts.given_out
    assert dms.received[0].headers["x-acs-security-token"] == credential.security_token


@pytest.mark.check
def test_a_step_that_takes_over_a_session(dms: FakeDms, run: Run) -> None:
    first, second = run({**VERSION, "reuse-session": "true"}), run({**VERSION, "reuse-session": "true"})

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert dms.paths == [*LOGGED_IN, "POST /api/v1/command"]


@pytest.mark.parametrize("variable", ["HOME", "ALIBABA_CLOUD_CREDENTIALS_FILE"])
def test_a_variable_that_the_sdk_reads_when_it_is_imported(run: Run, tmp_path: Path, variable: str) -> None:
    file = tmp_path / ".alibabacloud" / "credentials.ini"
    file.parent.mkdir()
    file.write_text(PROFILE)
    value = tmp_path if variable == "HOME" else file

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, {variable: str(value)})

    assert (step.exit_code, step.stderr) == (0, "")


def test_an_environment_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INPUT_ARGUMENTS", "HTTP_PROXY", "ALIBABA_CLOUD_ACCESS_KEY_ID", "PYTHONHOME"):
        monkeypatch.setenv(name, "http://nonsense.invalid")

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, {"RUNNER_ENVIRONMENT": "github-hosted"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]
    assert "nonsense.invalid" not in step.log


@pytest.mark.parametrize("environ", [{}, {"PYTHONPATH": ".", "PYTHONSTARTUP": "json.py", "PYTHONHOME": "/nonsense"}])
def test_modules_of_the_checkout_are_not_imported(run: Run, workspace: Path, environ: dict[str, str]) -> None:
    for name in ("json", "requests", "dms_airflow", "sitecustomize"):
        (workspace / f"{name}.py").write_text("raise SystemExit('imported from the checkout')")

    step = run(VERSION, environ)

    assert (step.exit_code, step.stderr) == (0, "")


def test_the_working_directory_is_the_checkout(run: Run, workspace: Path) -> None:
    step = run({**VERSION, "result-file": "result.json"})

    assert step.exit_code == 0
    assert (workspace / "result.json").is_file()


def test_a_locale_without_utf_8(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags pause"] = ("", "airflow.exceptions.DagNotFound: Dag 数据 not found\n")
    locale = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

    step = run({"operation": "dags pause", "arguments": "数据"}, locale)

    assert (step.exit_code, step.stderr) == (1, "")
    assert "DagNotFound: Dag 数据 not found" in step.annotations[0].data
