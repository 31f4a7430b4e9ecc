"""One fake DMS and one runner-like environment for each test, and the check that no secret got out."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from sandbox.runner import Runner
from tests.integration.fake_dms import KEY, TEMPORARY_KEY, FakeDms, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sandbox.runner import Step

SECRETS = (KEY.access_key_id, KEY.access_key_secret, TEMPORARY_KEY.access_key_secret, TEMPORARY_KEY.security_token)


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

    def run_step(inputs: Mapping[str, str], environ: Mapping[str, str] | None = None, *extra_secrets: str) -> Step:
        step = runner.run({**dms.inputs, **inputs}, environ)
        check_leaks(step, temp, workspace, *extra_secrets)
        return step

    return run_step


def check_leaks(step: Step, *places: Path | str) -> None:
    """No secret in any stream, output, summary or file, in any form; ``add-mask`` lines are how the runner learns them."""
    secrets = [*SECRETS, *step.masks, *(place for place in places if isinstance(place, str))]
    files = [file for place in places if not isinstance(place, str) for file in place.rglob("*") if file.is_file()]
    printed = "\n".join(line for line in (step.stdout + step.stderr).splitlines() if not line.startswith("::add-mask::"))
    texts = {"the log": printed, **{str(file): file.read_text(errors="replace") for file in files}}
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}:
            for place, text in texts.items():
                assert form not in text, f"a secret leaked into {place}"
