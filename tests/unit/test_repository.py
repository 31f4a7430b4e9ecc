"""A file's page is that of its own repository at the commit that is checked out, or there is none."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from dms_airflow.checkout.mapping import Checkout
from dms_airflow.ci.runner import Runner, find_commit

if TYPE_CHECKING:
    from pathlib import Path

GITHUB = "https://github.com"


def clone(folder: Path, url: str, file: str = "dags/etl.py") -> str:
    """Make a repository with one commit, as if it had been cloned, and give the commit."""
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text("x = 1\n", encoding="utf-8")

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
        command = ["git", *identity, "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    git("remote", "add", "origin", url)
    git("add", ".")
    git("commit", "-q", "-m", "First")
    return git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    "url", ["https://github.com/acme/dags", "https://github.com/acme/dags.git", "git@github.com:acme/dags.git"]
)
def test_a_repository_in_a_folder_of_the_workspace(tmp_path: Path, url: str) -> None:
    commit = clone(tmp_path / "repo", url)

    assert find_commit(tmp_path, "dags/etl.py", GITHUB) == ("acme/dags", commit)
    assert Checkout(tmp_path).relate("repo/dags/etl.py") == "dags/etl.py"


def test_a_commit_without_a_branch(tmp_path: Path) -> None:
    commit = clone(tmp_path, "https://github.com/acme/dags")
    subprocess.run(["git", "-C", str(tmp_path), "checkout", "-q", "--detach"], check=True)

    assert find_commit(tmp_path, "dags/etl.py", GITHUB) == ("acme/dags", commit)


def test_a_repository_of_another_host_has_no_page(tmp_path: Path) -> None:
    clone(tmp_path / "repo", "https://codeup.aliyun.com/acme/dags.git")
    runner = Runner(workspace=tmp_path, repository="acme/workflows", sha="a" * 40)

    assert "" in (find_commit(tmp_path, "dags/etl.py", GITHUB) or ())
    assert runner.name_page("dags/etl.py", 3) == ""


def test_a_file_that_no_repository_has_has_no_page(tmp_path: Path) -> None:
    clone(tmp_path / "repo", "https://github.com/acme/dags")

    assert find_commit(tmp_path, "dags/other.py", GITHUB) == ("", "")
    assert find_commit(tmp_path, "a\0b", GITHUB) == ("", "")


def test_files_without_git_are_those_of_the_workflows_commit(tmp_path: Path) -> None:
    runner = Runner(workspace=tmp_path, repository="acme/dags", sha="a" * 40)

    assert runner.name_page("dags/etl.py", 3) == f"https://github.com/acme/dags/blob/{'a' * 40}/dags/etl.py#L3"
    assert Checkout(tmp_path).relate("dags/etl.py") == "dags/etl.py"


def test_two_repositories_side_by_side(tmp_path: Path) -> None:
    clone(tmp_path / "tools", "https://github.com/acme/tools", "check.py")
    commit = clone(tmp_path / "repo", "https://github.com/acme/dags")

    assert find_commit(tmp_path, "dags/etl.py", GITHUB) == ("acme/dags", commit)


def test_a_git_folder_that_cannot_be_read_gives_no_page(tmp_path: Path) -> None:
    clone(tmp_path, "https://github.com/acme/dags")
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe")

    assert "" in (find_commit(tmp_path, "dags/etl.py", GITHUB) or ())
