"""A change's files come from the event where it names them, from git where the checkout has both ends, else from nowhere."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.change import find_changed_files, run_git
from dms_airflow.config import Runner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BEFORE = "a" * 40


class FakeGit:
    """Answers what the test wrote, and remembers what it was asked."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked: list[list[str]] = []

    def __call__(self, _: Path, arguments: Sequence[str]) -> bytes | None:
        self.asked.append(list(arguments))
        return self.answer


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
    git = FakeGit(b"")

    found = find_changed_files(make_runner(tmp_path, {"before": BEFORE, "commits": commits}), git)

    assert found == {"dags/new.py", "dags/etl.py", "dags/old.py"}
    assert git.asked == []


@pytest.mark.parametrize(
    ("event", "base"),
    [
        ({"before": BEFORE, "after": "b" * 40, "commits": [{"id": "b" * 40}]}, BEFORE),
        ({"before": "c" * 64}, "c" * 64),
        ({"pull_request": {"base": {"sha": BEFORE}, "head": {"sha": "b" * 40}}, "before": "d" * 40}, BEFORE),
    ],
)
def test_git_compares_what_the_event_names_no_files_of(tmp_path: Path, event: Any, base: str) -> None:
    git = FakeGit("dags/etl.py\0dags/täglich.py\0".encode())

    assert find_changed_files(make_runner(tmp_path, event), git) == {"dags/etl.py", "dags/täglich.py"}
    assert git.asked == [["diff-tree", "-r", "-z", "--name-only", "--no-renames", base, "HEAD"]]


@pytest.mark.parametrize(
    "event",
    [
        {"before": "0" * 40},  # a new branch
        {"before": "--output=x"},
        {"before": f"{BEFORE}\n"},
        {"before": None},
        {"pull_request": None},
        {"pull_request": {"base": None}, "before": 3},
        {"inputs": {}},
        [],
        "",
        "[" * 100_000,
    ],
    ids=lambda value: str(value)[:40],
)
def test_git_is_not_asked_without_a_commit_before(tmp_path: Path, event: Any) -> None:
    git = FakeGit(b"dags/etl.py\0")

    assert find_changed_files(make_runner(tmp_path, event), git) == frozenset()
    assert git.asked == []


def test_no_event_file(tmp_path: Path) -> None:
    assert find_changed_files(Runner(workspace=tmp_path)) == frozenset()
    assert find_changed_files(Runner(workspace=tmp_path, event_file=tmp_path / "missing.json")) == frozenset()


def test_git_without_an_answer(tmp_path: Path) -> None:
    assert find_changed_files(make_runner(tmp_path, {"before": BEFORE}), FakeGit(None)) == frozenset()


# --- git itself -----------------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits; the second changes one file, moves one and adds one."""
    folder = tmp_path / "origin"
    (folder / "dags").mkdir(parents=True)
    for name in ("same", "changed", "moved"):
        (folder / "dags" / f"{name}.py").write_text(f"{name}\n", encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "dags" / "changed.py").write_text("now\n", encoding="utf-8")
    (folder / "dags" / "moved.py").rename(folder / "dags" / "elsewhere.py")
    (folder / "dags" / "tägliche exporte.py").write_text("new\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "second")
    return folder


def test_git_tells_the_files_between_two_commits(repository: Path) -> None:
    runner = make_runner(repository, {"before": git(repository, "rev-parse", "HEAD~1")})

    assert find_changed_files(runner) == {
        "dags/changed.py",
        "dags/moved.py",
        "dags/elsewhere.py",
        "dags/tägliche exporte.py",
    }


def test_a_checkout_of_depth_1_knows_nothing(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "shallow")
    runner = make_runner(tmp_path / "shallow", {"before": git(repository, "rev-parse", "HEAD~1")})

    assert find_changed_files(runner) == frozenset()


def test_git_looks_for_no_repository_further_up(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD~1")

    assert run_git(repository / "dags", ["diff-tree", "-r", base, "HEAD"]) is None


def test_no_git_as_in_the_image(repository: Path, tmp_path: Path) -> None:
    assert run_git(repository, ["rev-parse", "HEAD"]) is not None
    assert run_git(repository, ["rev-parse", "HEAD"], path=str(tmp_path / "empty")) is None
