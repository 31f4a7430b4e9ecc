"""One fake DMS and one runner-like environment for each test, and the check that no secret got out."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from sandbox.runner import Runner
from tests.integration.fake_dms import FakeDms, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from sandbox.runner import Step


@pytest.fixture
def dms(tmp_path: Path) -> Iterator[FakeDms]:
    """A DMS that answers what the test writes."""
    with serve(tmp_path) as fake:
        yield fake


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty checkout."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def run(dms: FakeDms, workspace: Path, tmp_path: Path) -> Callable[..., Step]:
    """Run the action as a process with these inputs, and look for leaks in everything that it left."""
    temp = tmp_path / "runner"
    temp.mkdir()
    runner = Runner(workspace=workspace, temp=temp)

    def run_step(inputs: Mapping[str, str], environ: Mapping[str, str] | None = None, *secrets: str) -> Step:
        step = runner.run({**dms.inputs, **inputs}, environ)
        check_leaks(step, (temp, workspace), {*dms.secrets, *secrets})
        return step

    return run_step


def check_leaks(step: Step, folders: Iterable[Path], secrets: Iterable[str]) -> None:
    """No secret in any stream, output, summary or file, in any form; ``add-mask`` lines are how the runner learns them."""
    printed = [line for line in (step.stdout + step.stderr).splitlines() if not line.startswith("::add-mask::")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    texts = {"the log": "\n".join(printed), **{str(file): file.read_text(errors="replace") for file in files}}
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}:
            for place, text in texts.items():
                assert form not in text, f"a secret leaked into {place}"
