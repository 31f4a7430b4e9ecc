"""The release's own workflow, under act: what it tags, names, signs and says, and in which order.

There is no registry here and no GitHub. The jobs that test the image are left out, since self-test and examples run by
themselves, and so is the moving of the major tag. Actions of others and the programs `docker`, `cosign` and `gh` are stand-ins
that write down how they were called. The repository that is pushed to is real.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.container.conftest import PROJECT, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container

DIGEST = f"sha256:{'5' * 64}"
IMAGE = "ghcr.io/some-owner/dms-airflow"
CHANGELOG = """\
# Changelog

## [Unreleased]

## [0.9.0] - 2026-12-01

### Added

- One thing.

## [0.8.0] - 2026-11-01

- Older.
"""
WRITE_DOWN = """#!/bin/sh -e
echo "PROGRAM $*" >>CALLS
"""
# The tag is there when it was made, and then names what was tested.
DOCKER = f"""#!/bin/sh -e
echo "docker $*" >>CALLS
case "$3" in
create) touch CALLS.named ;;
inspect) test -f CALLS.named; echo {DIGEST} ;;
esac
"""
GH = """#!/bin/sh -e
echo "gh $1 $2 $3" >>CALLS
while [ "$1" != --notes-file ]; do shift; done
cp "$2" CALLS.notes
"""
ACTION = """\
name: Takes the place of another one
outputs:
  digest:
    value: DIGEST
runs:
  using: composite
  steps:
    - run: echo "NAME $SUBJECT" >>CALLS
      shell: bash
      env:
        SUBJECT: ${{ inputs.subject-digest }}
inputs:
  subject-digest: {}
"""
LEFT_OUT = ("checks", "candidate-works", "major-tag")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """This project as of a version that is to be released."""
    folder = tmp_path / "project"
    for name in run("git", "ls-files").stdout.split():
        if (PROJECT / name).is_file() and not name.startswith(("tests/", "docs/images/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    package = folder / "dms_airflow" / "__init__.py"
    package.write_text(re.sub(r'(?m)^__version__ = ".*"$', '__version__ = "0.9.0"', package.read_text()))
    workflow = folder / ".github" / "workflows" / "release.yml"
    text = workflow.read_text()
    for job in LEFT_OUT:
        text, count = re.subn(rf"(?ms)^  {job}:\n.*?(?=^  [a-z-]+:\n|\Z)", "", text)
        assert count == 1, job
        text = re.sub(rf"(?m)^(    needs: \[.*?), {job}(\b.*\])$", r"\1\2", text)
    workflow.write_text(text)
    assert set(yaml.safe_load(text)["jobs"]) == {"version", "candidate", "publish"}
    run("git", "init", "-q", ".", cwd=folder)
    return folder


def test_a_release(lab: Path, project: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    calls = shared / "calls"
    shared.mkdir()
    run("git", "init", "-q", "--bare", "remote.git", cwd=shared)
    options: list[str | Path] = []
    for program, text in {"docker": DOCKER, "gh": GH, "cosign": WRITE_DOWN}.items():
        (shared / program).write_text(text.replace("PROGRAM", program).replace("CALLS", str(calls)))
        (shared / program).chmod(0o755)
    text = (project / ".github" / "workflows" / "release.yml").read_text()
    for name, commit in re.findall(r"uses: (?!actions/checkout)([\w/-]+)@([0-9a-f]{40})", text):
        folder = shared / "actions" / name
        folder.mkdir(parents=True, exist_ok=True)
        written = ACTION.replace("NAME", name).replace("DIGEST", DIGEST).replace("CALLS", str(calls))
        (folder / "action.yml").write_text(written)
        options += ["--local-repository", f"{name}@{commit}={folder}"]
    mounts = [f"-v {shared}:{shared}", *(f"-v {shared / name}:/usr/local/bin/{name}:ro" for name in ("docker", "gh", "cosign"))]
    variables = {
        "GITHUB_REPOSITORY": "Some-Owner/dms-airflow",
        "GITHUB_REF": "refs/heads/main",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.origin.url",
        "GIT_CONFIG_VALUE_0": str(shared / "remote.git"),
    }
    options += [f"--env={name}={value}" for name, value in variables.items()]

    ran = run(
        *(lab / "act-run", "-C", project, "--event", "workflow_dispatch", "-W", ".github/workflows/release.yml"),
        *("--input", "version=0.9.0", "-s", "GITHUB_TOKEN=no-token", "--container-options", " ".join(mounts), *options),
    )

    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-4000:]
    tag = f"{IMAGE}:v0.9.0"
    assert [line.strip() for line in calls.read_text().splitlines() if not line.startswith("docker/")] == [
        "sigstore/cosign-installer",
        f"docker buildx imagetools inspect {tag}",
        f"cosign sign --yes {IMAGE}@{DIGEST}",
        f"actions/attest-build-provenance {DIGEST}",
        f"docker buildx imagetools create --tag {tag} {IMAGE}@{DIGEST}",
        f"docker buildx imagetools inspect {tag} --format {{{{.Manifest.Digest}}}}",
        "gh release create v0.9.0",
    ]
    assert (shared / "calls.notes").read_text() == f"### Added\n\n- One thing.\n\nImage: `{tag}@{DIGEST}`\n"
    changed = run("git", "diff", "--unified=0", "v0.9.0~1", "v0.9.0", cwd=shared / "remote.git").stdout
    assert [line for line in changed.splitlines() if line[:1] in "+-"] == [
        "--- a/action.yml",
        "+++ b/action.yml",
        "-  image: Dockerfile",
        f"+  image: docker://{tag}",
    ]
    assert run("git", "tag", "--list", cwd=shared / "remote.git").stdout.split() == ["v0.9.0"]
    assert run("git", "branch", "--list", cwd=shared / "remote.git").stdout == ""  # the branch still builds
