"""The pages of a checkout's files: of the Git repository that a file is in, at the commit that is checked out.

`actions/checkout` with `path:` puts a repository into a folder of the workspace; a job may check out several. Layout of `.git`:
https://git-scm.com/docs/gitrepository-layout
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_URL = re.compile(r'^\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S+)', re.MULTILINE)


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
    with suppress(OSError, ValueError):  # a file that is not UTF-8; a path with a null byte, which a baseline may hold
        roots = [root for root in (workspace, *sorted(workspace.iterdir())) if (root / ".git").exists()]
        root = next((root for root in roots if (root / file).is_file()), None)
        if root is None:
            return "" if roots else None
        git = root / ".git"
        if git.is_file():  # of a submodule
            git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        name, commit = _read_name(git, server_url), _read_commit(git)
        return f"{server_url}/{name}/{pages}/{commit}" if name and commit else ""
    return ""


def _read_name(git: Path, server_url: str) -> str:
    """Read the name of the repository that was cloned; empty when it is of another host."""
    url = _URL.search((git / "config").read_text(encoding="utf-8"))
    host = re.escape(server_url.partition("://")[2])
    clone = rf"(?:https?://(?:[^/@]*@)?|ssh://git@|git@){host}[/:](?P<name>[\w.-]+(?:/[\w.-]+?)+)(?:\.git)?/?"
    match = re.fullmatch(clone, url[1]) if url else None
    return match["name"] if match else ""


def _read_commit(git: Path) -> str:
    """Read the commit that is checked out; empty where it is not known."""
    head = (git / "HEAD").read_text(encoding="ascii").strip()
    branch = head.removeprefix("ref:").strip()
    if branch != head:
        if (git / branch).is_file():
            head = (git / branch).read_text(encoding="ascii").strip()
        else:
            packed = re.search(rf"^(\S+) {re.escape(branch)}$", (git / "packed-refs").read_text(encoding="utf-8"), re.MULTILINE)
            head = packed[1] if packed else ""
    return head if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", head) else ""
