"""The pages of a checkout's files: of the Git repository that a file is in, at the commit that is checked out.

`actions/checkout` with `path:` puts a repository into a folder of the workspace; a job may check out several. Layout of `.git`:
https://git-scm.com/docs/gitrepository-layout
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_URL = re.compile(r'^\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S+)', re.MULTILINE)


def find_commit(workspace: Path, file: str, server_url: str) -> tuple[str, str] | None:
    """Find the repository of a file, whose path is relative to its root, and the commit that is checked out.

    Returns:
        ``("acme/dags", "<commit>")``; empty texts where they are not known; None when no repository is checked out.
    """
    with suppress(OSError, ValueError):  # a file that is not UTF-8; a path with a null byte, which a baseline may hold
        roots = [root for root in (workspace, *sorted(workspace.iterdir())) if (root / ".git").exists()]
        root = next((root for root in roots if (root / file).is_file()), None)
        if root:
            return _read_name(root / ".git", server_url), _read_commit(root / ".git")
        return ("", "") if roots else None
    return ("", "")


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
