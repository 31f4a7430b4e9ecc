"""A change's files come from the event where it names them, from git where the checkout has both ends, else from nowhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.config import Runner
from dms_airflow.import_errors.change import find_changed_files

if TYPE_CHECKING:
    from pathlib import Path


def make_runner(workspace: Path, event: Any) -> Runner:
    file = workspace / "event.json"
    file.write_text(event if isinstance(event, str) else json.dumps(event), encoding="utf-8")
    return Runner(workspace=workspace, event_file=file)


def test_files_that_the_event_names(tmp_path: Path) -> None:
    commits = [
        {"added": ["dags/new.py"], "modified": ["dags/etl.py"], "removed": []},
        {"added": [], "modified": ["dags/etl.py"], "removed": ["dags/old.py"]},
        {"id": "c"},
        "no commit",
        {"added": "no list", "modified": [1, None]},
    ]

    found = find_changed_files(make_runner(tmp_path, {"before": "a" * 40, "commits": commits}))

    assert found == {"dags/new.py", "dags/etl.py", "dags/old.py"}


def test_no_event_file(tmp_path: Path) -> None:
    assert find_changed_files(Runner(workspace=tmp_path)) == frozenset()
    assert find_changed_files(Runner(workspace=tmp_path, event_file=tmp_path / "missing.json")) == frozenset()


# --- what git's own repositories tell --------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    """Write files below dags/ and commit them."""
    (folder / "dags").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "dags" / f"{name}.py").write_text(text, encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "commit")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits; the second changes one file, moves one, adds one and removes one."""
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, same="same", changed="before", moved="moved", removed="removed")
    (folder / "dags" / "moved.py").rename(folder / "dags" / "elsewhere.py")
    (folder / "dags" / "removed.py").unlink()
    commit(folder, changed="now", **{"tägliche exporte": "new"})
    return folder


SECOND = {
    "dags/changed.py",
    "dags/moved.py",
    "dags/elsewhere.py",
    "dags/removed.py",
    "dags/tägliche exporte.py",
}


def before(repository: Path) -> dict[str, str]:
    return {"before": git(repository, "rev-parse", "main~1"), "after": git(repository, "rev-parse", "main")}


def test_loose_objects(repository: Path) -> None:
    assert find_changed_files(make_runner(repository, before(repository))) == SECOND


def test_packed_objects_and_refs(repository: Path) -> None:
    git(repository, "gc", "-q")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()

    assert find_changed_files(make_runner(repository, before(repository))) == SECOND


@pytest.mark.parametrize(("depth", "known"), [(1, False), (2, True)])
def test_a_shallow_checkout(repository: Path, tmp_path: Path, depth: int, known: bool) -> None:
    git(tmp_path, "clone", "-q", f"--depth={depth}", f"file://{repository}", "shallow")

    found = find_changed_files(make_runner(tmp_path / "shallow", before(repository)))

    assert found == (SECOND if known else frozenset())


def test_a_worktree_of_another_repository(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "further"), "main")
    git(repository, "checkout", "-q", "main~1")

    assert find_changed_files(make_runner(tmp_path / "further", before(repository))) == SECOND


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_checkout_of_another_user(repository: Path) -> None:
    base = before(repository)
    for path in (repository, *repository.rglob("*")):
        os.chown(path, 12345, 12345)

    assert find_changed_files(make_runner(repository, base)) == SECOND


@pytest.mark.parametrize("depth", [1, 2])
def test_a_pull_request_is_compared_with_what_its_trial_merge_is_merged_into(
    repository: Path, tmp_path: Path, depth: int
) -> None:
    base = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-qb", "topic")
    head = commit(repository, topic="new")
    git(repository, "checkout", "-q", "main")
    commit(repository, meanwhile="of another pull request")
    git(repository, "checkout", "-q", "--detach")
    git(repository, "merge", "-q", "--no-ff", "-m", "trial", "topic")
    git(repository, "update-ref", "refs/pull/1/merge", "HEAD")
    workspace = tmp_path / "workspace"
    git(tmp_path, "init", "-q", "workspace")
    git(workspace, "fetch", "-q", f"--depth={depth}", f"file://{repository}", "refs/pull/1/merge")
    git(workspace, "checkout", "-q", "FETCH_HEAD")
    event = {"pull_request": {"base": {"sha": base}, "head": {"sha": head}}, "before": "d" * 40}

    assert find_changed_files(make_runner(workspace, event)) == ({"dags/topic.py"} if depth == 2 else frozenset())


def test_the_last_commit_of_a_pull_request_is_compared_with_its_base(repository: Path) -> None:
    base, head = git(repository, "rev-parse", "main~1"), git(repository, "rev-parse", "main")
    event = {"pull_request": {"base": {"sha": base}, "head": {"sha": head}}}

    assert find_changed_files(make_runner(repository, event)) == SECOND


def test_nothing_is_fetched_and_no_program_runs(repository: Path, tmp_path: Path) -> None:
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=tree:0", "--no-checkout", f"file://{repository}", "partial")
    partial = tmp_path / "partial"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n", encoding="utf-8")
    trap.chmod(0o755)
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "diff.external", "remote.origin.uploadpack"):
        git(partial, "config", name, str(trap))
    there = sorted((partial / ".git").rglob("*"))

    assert find_changed_files(make_runner(partial, before(repository))) == frozenset()
    assert sorted((partial / ".git").rglob("*")) == there
    assert not (tmp_path / "sprung").exists()


def test_blobs_that_a_partial_checkout_has_not_are_not_needed(repository: Path, tmp_path: Path) -> None:
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{repository}", "partial")

    assert find_changed_files(make_runner(tmp_path / "partial", before(repository))) == SECOND


@pytest.mark.parametrize("what", ["nothing", "a folder", "a file", "no objects", "damaged objects", "HEAD of no branch"])
def test_a_repository_that_cannot_be_read(repository: Path, what: str) -> None:
    base = before(repository)
    folder = repository / ".git"
    if what == "damaged objects":
        for path in (folder / "objects").glob("??/*"):
            path.chmod(0o644)
            path.write_bytes(b"no object")
    elif what == "no objects":
        shutil.rmtree(folder / "objects")
    elif what == "HEAD of no branch":
        (folder / "HEAD").write_text("ref: refs/heads/nosuch\n", encoding="utf-8")
    else:
        shutil.rmtree(folder)
        if what == "a folder":
            folder.mkdir()
        elif what == "a file":
            folder.write_bytes(b"gitdir: \xff\0")

    assert find_changed_files(make_runner(repository, base)) == frozenset()


def test_no_repository_is_looked_for_further_up(repository: Path) -> None:
    assert find_changed_files(make_runner(repository / "dags", before(repository))) == frozenset()


@pytest.mark.parametrize("kind", ["tree", "blob", "tag"])
def test_what_is_no_commit_is_no_end_of_a_change(repository: Path, kind: str) -> None:
    git(repository, "tag", "-am", "tag", "v1", "main~1")
    names = {"tree": "main~1^{tree}", "blob": "main:dags/same.py", "tag": "v1"}

    event = {"before": git(repository, "rev-parse", names[kind])}

    assert find_changed_files(make_runner(repository, event)) == frozenset()


@pytest.mark.parametrize(
    "event",
    [
        {"before": "0" * 40},  # a new branch
        {"before": "HEAD~1"},
        {"before": "SHA\n"},
        {"before": None},
        {"pull_request": None},
        {"pull_request": {"base": None}, "before": "SHA"},
        {"pull_request": {"base": {"sha": 3}}},
        {"inputs": {}},
        [],
        "",
        "[" * 100_000,
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_event_that_names_no_commit_before(repository: Path, event: Any) -> None:
    text = event if isinstance(event, str) else json.dumps(event)
    text = text.replace("SHA", git(repository, "rev-parse", "main~1"))

    assert find_changed_files(make_runner(repository, text)) == frozenset()


def test_dulwich_is_imported_only_when_there_is_something_to_compare(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from dms_airflow.main import main; "
        "from dms_airflow.change import find_changed_files; from dms_airflow.config import Runner; "
        f"find_changed_files(Runner(workspace=Path({str(tmp_path)!r}))); "
        "sys.exit(any(name.split('.')[0] == 'dulwich' for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
