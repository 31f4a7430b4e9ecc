"""The pages of a checkout's files: of the Git repository that a file is in, at the commit that is checked out.

`actions/checkout` with `path:` puts a repository into a folder of the workspace; a job may check out several. Layout of `.git`:
https://git-scm.com/docs/gitrepository-layout
"""

from __future__ import annotations

import configparser
import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def find_page(workspace: Path, file: str, server_url: str, pages: str) -> str | None:
    """Find the page of a repository's commit to which the path of a file is appended.

    Args:
        workspace: The folder with the checkouts.
        file: Path relative to the root of its repository.
        server_url: The Git host whose pages these are.
        pages: What comes between a repository and a commit in the address of a file there.

    Returns:
        ``https://github.com/acme/dags/blob/<commit>``; empty where it is not known; None when no repository is checked out.
    """
    roots = [root for root in _list_roots(workspace) if (root / ".git").exists()]
    root = _find_root(roots, file)
    if root is None:
        return "" if roots else None
    git = _find_git_folder(root)
    name, commit = _read_name(git, server_url), _read_commit(git)
    return f"{server_url}/{name}/{pages}/{commit}" if name and commit else ""


def _find_root(roots: Iterable[Path], file: str) -> Path | None:
    return next((root for root in roots if _is_file(root / file)), None)


def _list_roots(workspace: Path) -> list[Path]:
    with suppress(OSError):
        return [workspace, *sorted(folder for folder in workspace.iterdir() if folder.is_dir())]
    return []


def _is_file(path: Path) -> bool:
    with suppress(OSError, ValueError):  # a baseline may hold any text
        return path.is_file()
    return False


def _find_git_folder(root: Path) -> Path:
    """Find the folder of a repository's data; of a submodule `.git` is a file that names it."""
    git = root / ".git"
    with suppress(OSError, UnicodeError):
        if git.is_file():
            return root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    return git


def _read_name(git: Path, server_url: str) -> str:
    """Read the name of the repository that was cloned; empty when it is of another host."""
    config = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    with suppress(OSError, UnicodeError, configparser.Error):
        config.read_string((git / "config").read_text(encoding="utf-8"))
        url = config.get('remote "origin"', "url", fallback="") or ""
        host = server_url.partition("://")[2]
        match = re.fullmatch(
            rf"(?:https?://(?:[^/@]*@)?|ssh://git@|git@){re.escape(host)}[/:](?P<name>[\w.-]+(?:/[\w.-]+?)+)(?:\.git)?/?", url
        )
        return match["name"] if match else ""
    return ""


def _read_commit(git: Path) -> str:
    """Read the commit that is checked out; empty where it is not known."""
    with suppress(OSError, UnicodeError):
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if head.startswith("ref:"):
            head = _read_reference(git, head.removeprefix("ref:").strip())
        return head if _COMMIT.fullmatch(head) else ""
    return ""


def _read_reference(git: Path, name: str) -> str:
    file = git / name
    if file.is_file():
        return file.read_text(encoding="ascii").strip()
    packed = (line.partition(" ") for line in (git / "packed-refs").read_text(encoding="utf-8").splitlines())
    return next((commit for commit, _, reference in packed if reference == name), "")
