"""ci.yml under act: its job `image` as it is, and that the one check which merging requires sees every other job.

The jobs that run for minutes are stand-ins which say how they ended; each of them runs what `make` runs here, too.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.container.conftest import PROJECT, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container

LONG = ("lint", "quick", "e2e", "selftest")


def run_ci(lab: Path, folder: Path, exit_codes: dict[str, int]) -> tuple[dict[str, str], str]:
    """Run ci.yml with stand-ins for the jobs named; give each job's result, and the log.

    Args:
        lab: Folder with act-run.
        folder: Where to write the project.
        exit_codes: The jobs that are only to end, and how.
    """
    for name in run(
        "git", "ls-files", "Dockerfile", "LICENSE", "Makefile", "requirements*", "entrypoint.py", "dms_airflow", "scripts"
    ).stdout.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    shutil.copy(PROJECT / ".dockerignore", folder)
    workflow: dict[Any, Any] = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    for name, code in exit_codes.items():
        assert name in workflow["jobs"]
        workflow["jobs"][name] = {"runs-on": "ubuntu-24.04", "steps": [{"run": f"exit {code}"}]}
    workflow["on"] = workflow.pop(True)  # YAML 1.1's reading of `on`
    (folder / "ci.yml").write_text(yaml.safe_dump(workflow, sort_keys=False), encoding="utf-8")
    run("git", "init", "-q", ".", cwd=folder)
    # A runner of GitHub's has both; the lab's has not, but is given Docker's socket by act.
    mounts = " ".join(f"-v {shutil.which(program)}:/usr/local/bin/{program}:ro" for program in ("docker", "make"))
    ran = run(
        *(lab / "act-run", "-C", folder, "-W", "ci.yml", "--matrix", "builder:classic", "--container-options", mounts),
    )
    log = ran.stdout + ran.stderr
    results = re.findall(r"^\[CI/([\w-]+?)(?:-\d+)?\s*\] .*Job (succeeded|failed)$", log, re.MULTILINE)
    return dict(results), log


def test_the_image_is_built_started_and_counted_in(lab: Path, tmp_path: Path) -> None:
    results, log = run_ci(lab, tmp_path / "project", dict.fromkeys(LONG, 0))

    assert results == dict.fromkeys((*LONG, "image", "passed"), "succeeded"), log[-4000:]
    assert "operation: is required" in log  # what a step without inputs is told


def test_one_job_that_fails_fails_the_check(lab: Path, tmp_path: Path) -> None:
    results, log = run_ci(lab, tmp_path / "project", {**dict.fromkeys((*LONG, "image"), 0), "quick": 1})

    assert (results["quick"], results["passed"]) == ("failed", "failed"), log[-4000:]
    assert "::error::A job ended as failure: " in log
