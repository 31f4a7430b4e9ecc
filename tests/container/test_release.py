"""The release's own workflows, under act: what they tag, name, sign and say, and in which order.

There is no registry here and no GitHub. The jobs that test the image are left out, since self-test and examples run by
themselves, and the major tag is moved by its own workflow. Actions of others and the programs `docker`, `cosign` and `gh` are
stand-ins that write down how they were called. The repository that is pushed to is real, and refuses what GitHub refuses.
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
# The tag is there when it was made, and then names what was tested. Anybody can pull unless the package is private.
DOCKER = f"""#!/bin/sh -e
test "$1" != pull || set -- "$@" "with $(ls "$DOCKER_CONFIG" | wc -l) credentials"
echo "docker $*" >>CALLS
test "$1" != pull || ! test -f CALLS.private || {{ echo "unauthorized" >&2; exit 1; }}
case "$3" in
create) echo {DIGEST} >CALLS.named ;;
inspect) test -f CALLS.named || {{ echo "ERROR: $4: not found" >&2; exit 1; }}; cat CALLS.named ;;
esac
"""
GH = """#!/bin/sh -e
echo "gh $1 $2 $3" >>CALLS
case "$2" in
setup-git) exit ;;
view) test -f CALLS.notes; exit ;;
esac
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
    - run: echo "NAME $SUBJECT" >>CALLS; MEANWHILE
      shell: bash
      env:
        SUBJECT: ${{ inputs.subject-digest }}
inputs:
  subject-digest: {}
"""
LEFT_OUT = ("checks", "candidate-works", "package", "major-tag")
# GITHUB_TOKEN pushes to a branch or tag only commits whose workflow files some branch holds. GitHub compares file by
# file: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
REFUSE = """#!/bin/sh
for branch in $(git for-each-ref --format="%(refname)" refs/heads); do
  test "$(git rev-parse "$branch:.github/workflows")" != "$(git rev-parse "$3:.github/workflows")" || exit 0
done
echo "refusing to allow a GitHub App to create or update workflow without workflows permission" >&2
exit 1
"""


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
    run("git", "init", "-q", "--initial-branch", "main", ".", cwd=folder)
    commit_all(folder, "What is released")
    return folder


def commit_all(folder: Path, message: str) -> None:
    """Commit what is in the folder."""
    run("git", "add", "--all", cwd=folder)
    done = run("git", "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-q", "-m", message, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def shared(tmp_path: Path, project: Path) -> Path:
    """What the jobs share: the repository that they push to, the stand-ins, and what these wrote down."""
    folder = tmp_path / "shared"
    calls = str(folder / "calls")
    folder.mkdir()
    run("git", "init", "-q", "--bare", "remote.git", cwd=folder)
    run("git", "push", "-q", str(folder / "remote.git"), "main", cwd=project)
    hook = folder / "remote.git" / "hooks" / "update"
    hook.write_text(REFUSE)
    hook.chmod(0o755)
    for program, text in {"docker": DOCKER, "gh": GH, "cosign": WRITE_DOWN}.items():
        (folder / program).write_text(text.replace("PROGRAM", program).replace("CALLS", calls))
        (folder / program).chmod(0o755)
    for name in list_actions(project):
        action = folder / "actions" / name.partition("@")[0]
        action.mkdir(parents=True, exist_ok=True)
        written = ACTION.replace("NAME", name.partition("@")[0]).replace("DIGEST", DIGEST).replace("CALLS", calls)
        # Main moves while the image is built, if it is to move.
        meanwhile = (
            f"test ! -f {calls}.moved || git --git-dir {folder}/remote.git update-ref refs/heads/main $(cat {calls}.moved)"
        )
        (action / "action.yml").write_text(written.replace("MEANWHILE", meanwhile))
    return folder


def list_actions(project: Path) -> list[str]:
    """List the actions of others that a release uses, each with its commit."""
    text = (project / ".github" / "workflows" / "release.yml").read_text()
    return re.findall(r"uses: (?!actions/checkout)([\w/-]+@[0-9a-f]{40})", text)


def release(
    lab: Path, project: Path, shared: Path, workflow: str = "release.yml", given: str = "version=0.9.0"
) -> tuple[int, list[str], str]:
    """Run the release; return its exit status, how programs and actions were called, and its log.

    The commit that is released is the same each time, as it is for jobs that are run again.
    """
    (shared / "calls").write_text("")
    mounts = [f"-v {shared}:{shared}", *(f"-v {shared / name}:/usr/local/bin/{name}:ro" for name in ("docker", "gh", "cosign"))]
    variables = {
        "GITHUB_REPOSITORY": "Some-Owner/dms-airflow",
        "GITHUB_REF": "refs/heads/main",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.origin.url",
        "GIT_CONFIG_VALUE_0": str(shared / "remote.git"),
    }
    options = [f"--env={name}={value}" for name, value in variables.items()]
    for name in list_actions(project):
        options += ["--local-repository", f"{name}={shared / 'actions' / name.partition('@')[0]}"]
    ran = run(
        *(lab / "act-run", "-C", project, "--event", "workflow_dispatch", "-W", f".github/workflows/{workflow}"),
        *("--input", given, "-s", "GITHUB_TOKEN=no-token", "--container-options", " ".join(mounts), *options),
        env={"GIT_AUTHOR_DATE": "2026-12-01T10:00:00Z", "GIT_COMMITTER_DATE": "2026-12-01T10:00:00Z"},
    )
    calls = [line.strip() for line in (shared / "calls").read_text().splitlines() if not line.startswith("docker/")]
    return ran.returncode, calls, (ran.stdout + ran.stderr)[-4000:]


TAG = f"{IMAGE}:v0.9.0"
SIGN = [f"cosign sign --yes {IMAGE}@{DIGEST}", f"actions/attest-build-provenance {DIGEST}"]
PULL = f"docker pull --quiet {IMAGE}@{DIGEST} with 0 credentials"
INSPECT = f"docker buildx imagetools inspect {TAG} --format {{{{.Manifest.Digest}}}}"


def test_a_release(lab: Path, project: Path, shared: Path) -> None:
    status, calls, log = release(lab, project, shared)

    assert status == 0, log
    assert calls == [
        "gh auth setup-git",
        "sigstore/cosign-installer",
        PULL,
        INSPECT,
        *SIGN,
        "gh auth setup-git",
        f"docker buildx imagetools create --tag {TAG} {IMAGE}@{DIGEST}",
        INSPECT,
        "gh release view v0.9.0",
        "gh release create v0.9.0",
    ]
    assert (shared / "calls.notes").read_text() == f"### Added\n\n- One thing.\n\nImage: `{TAG}@{DIGEST}`\n"
    remote = shared / "remote.git"
    changed = run("git", "diff", "--unified=0", "v0.9.0~1", "v0.9.0", cwd=remote).stdout
    assert [line for line in changed.splitlines() if line[:1] in "+-"] == [
        "--- a/action.yml",
        "+++ b/action.yml",
        "-  image: Dockerfile",
        f"+  image: docker://{TAG}@{DIGEST}",
    ]
    assert run("git", "tag", "--list", cwd=remote).stdout.split() == ["v0.9.0"]
    assert run("git", "show", "main:action.yml", cwd=remote).stdout == (PROJECT / "action.yml").read_text()  # it still builds

    # It broke off before its last step, and its failed job is run again: what is there stays as it is.
    commit = run("git", "rev-parse", "v0.9.0", cwd=remote).stdout
    (shared / "calls.notes").unlink()
    status, calls, log = release(lab, project, shared)

    assert status == 0, log
    assert calls[-1] == "gh release create v0.9.0"
    assert run("git", "rev-parse", "v0.9.0", cwd=remote).stdout == commit


def test_an_image_that_has_the_name_already_keeps_it(lab: Path, project: Path, shared: Path) -> None:
    (shared / "calls.named").write_text(f"sha256:{'4' * 64}\n")

    status, calls, log = release(lab, project, shared)

    assert status == 1
    assert f"{TAG} is sha256:{'4' * 64} already: release another version" in log
    assert calls == ["gh auth setup-git", "sigstore/cosign-installer", PULL, INSPECT]
    assert run("git", "tag", "--list", cwd=shared / "remote.git").stdout == ""


def test_an_image_that_nobody_can_pull_is_neither_named_nor_tagged(lab: Path, project: Path, shared: Path) -> None:
    (shared / "calls.private").touch()

    status, calls, log = release(lab, project, shared)

    assert status == 1
    assert "The image cannot be pulled without an account. Make the package public" in log
    assert calls == ["gh auth setup-git", "sigstore/cosign-installer", PULL]
    assert run("git", "tag", "--list", cwd=shared / "remote.git").stdout == ""

    # It was made public, and the failed job is run again.
    (shared / "calls.private").unlink()
    assert release(lab, project, shared)[0] == 0


def test_workflow_files_of_main_may_change_in_the_middle_and_afterwards(lab: Path, project: Path, shared: Path) -> None:
    remote = shared / "remote.git"
    workflow = project / ".github" / "workflows" / "ci.yml"
    before = workflow.read_text()
    workflow.write_text(f"{before}# changed\n")
    commit_all(project, "A workflow changes on main")
    run("git", "push", "-q", str(remote), "HEAD:refs/elsewhere/main", cwd=project)
    (shared / "calls.moved").write_text(run("git", "rev-parse", "HEAD", cwd=project).stdout)
    workflow.write_text(before)

    status, _, log = release(lab, project, shared)

    assert status == 0, log
    commit = run("git", "rev-parse", "v0.9.0", cwd=remote).stdout
    assert run("git", "show", "main:.github/workflows/ci.yml", cwd=remote).stdout == f"{before}# changed\n"
    assert run("git", "rev-parse", "release/v0.9.0", cwd=remote).stdout == commit

    status, _, log = release(lab, project, shared, "update-major-tag.yml", "tag=v0.9.0")

    assert status == 0, log
    assert run("git", "rev-parse", "v0", cwd=remote).stdout == commit
