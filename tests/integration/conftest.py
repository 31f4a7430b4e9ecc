"""One fake DMS and one runner-like environment for each test, and the check that no secret got out."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest

from dms_airflow.main import main
from sandbox import cloud as sandbox_cloud
from sandbox.runner import Runner
from tests.forking import ForkingRunner, serve_forks
from tests.integration.fake_cloud import FakeCloud
from tests.integration.fake_dms import FakeDms, serve
from tests.leaks import find_leaks
from tests.unit.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from sandbox.forks import ForkServer
    from sandbox.runner import Step


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def dms(tmp_path: Path) -> Iterator[FakeDms]:
    """A DMS that answers what the test writes."""
    with serve(tmp_path) as fake:
        yield fake


@pytest.fixture
def cloud(dms: FakeDms, tmp_path: Path) -> Iterator[FakeCloud]:
    """STS and GitHub's id-token endpoint; the DMS accepts the keys that this STS gives out."""
    folder = tmp_path / "cloud"
    folder.mkdir()
    with sandbox_cloud.serve(dms.openapi.accept, folder, FakeCloud) as fake:
        assert isinstance(fake, FakeCloud)
        dms.clouds.append(fake)
        yield fake


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty checkout."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A process that has imported everything, and forks for each step."""
    with serve_forks() as server:
        yield server


@pytest.fixture
def runner(fork_server: ForkServer, workspace: Path, tmp_path: Path) -> Runner:
    """A runner; `test_process` runs what it does with an interpreter for each step, too."""
    temp = tmp_path / "runner"
    temp.mkdir()
    return ForkingRunner(workspace=workspace, temp=temp, server=fork_server)


@pytest.fixture
def run(dms: FakeDms, runner: Runner) -> Callable[..., Step]:
    """Run the action as a process with these inputs, and look for leaks in everything that it left."""

    def run_step(inputs: Mapping[str, str], environ: Mapping[str, str] | None = None, *secrets: str) -> Step:
        step = runner.run({**dms.inputs, **inputs}, environ)
        check_leaks(step, (runner.temp, runner.workspace), {*dms.secrets, *secrets})
        assert not [left for left in runner.temp.glob("dms-airflow-*") if left.is_file()], "the id-token's file is left"
        return step

    return run_step


@pytest.fixture
def clock() -> FakeClock:
    """The time of `run_here`."""
    return FakeClock()


@pytest.fixture
def run_here(
    dms: FakeDms, workspace: Path, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Step]:
    """Run the action in this process, where nobody waits for its pauses, and look for leaks."""
    temp = tmp_path / "runner-here"
    temp.mkdir()
    runner = Runner(workspace=workspace, temp=temp)

    def run_step(inputs: Mapping[str, str], environ: Mapping[str, str] | None = None, *secrets: str) -> Step:
        # What was left by an example of hypothesis before this one may hold this one's secret as a part of its own.
        for left in (*temp.glob("set_output_*"), *temp.glob("step_summary_*")):
            left.unlink()
        step = run_in_process(runner, {**dms.inputs, **inputs}, environ, clock, monkeypatch)
        check_leaks(step, (temp, workspace), {*dms.secrets, *secrets})
        return step

    return run_step


def run_in_process(
    runner: Runner,
    inputs: Mapping[str, str],
    environ: Mapping[str, str] | None,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> Step:
    """Run the action in this process."""
    variables, files = runner.prepare(inputs, environ)
    # What the SDK and requests read for themselves.
    for name in (*PROXIES, *map(str.lower, PROXIES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "DEBUG"):
        if name in variables:
            monkeypatch.setenv(name, variables[name])
        else:
            monkeypatch.delenv(name, raising=False)
    log = StringIO()
    return runner.collect(main(variables, log, clock), files, log.getvalue())


def check_leaks(step: Step, folders: Iterable[Path], secrets: Iterable[str]) -> None:
    """No secret in any stream, output, summary or file, in any form; ``add-mask`` lines are how the runner learns them."""
    printed = [line for line in (step.stdout + step.stderr).splitlines() if not line.startswith("::add-mask::")]
    # A kept session is what it is; tests/integration/test_reuse_session.py looks at its file.
    files = [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.parent.name != "dms-airflow-sessions"
    ]
    texts = {"the log": "\n".join(printed), **{str(file): file.read_text(errors="replace") for file in files}}
    assert [place for place, _ in find_leaks(texts, secrets)] == []
