"""Which files the change behind this workflow run touches, as far as the runner's files tell. Not knowing is no failure."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dms_airflow.config import Runner

    Git = Callable[[Path, Sequence[str]], bytes | None]

# The id of a commit, in SHA-1 or SHA-256; zeros stand for "none", as in the push of a new branch.
_COMMIT = re.compile(r"(?!0+\Z)(?:[0-9a-f]{40}|[0-9a-f]{64})")

_GIT_TIMEOUT = 20.0  # seconds


def run_git(workspace: Path, arguments: Sequence[str], path: str = os.defpath) -> bytes | None:
    """Run git on the checkout's own repository and give its stdout; None when there is no git, no repository, or an error.

    The repository is named outright: git then asks neither for the folder's owner nor for a repository further up. It gets
    nothing of the step's environment, and no protocol by which a partial clone would fetch what it lacks.

    Args:
        workspace: The checkout.
        arguments: What git is to do.
        path: The folders to look for git in; the action's image has none.
    """
    command = ["git", f"--git-dir={workspace / '.git'}", *arguments]
    environ = {"PATH": path, "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}
    try:
        # Every argument is ours or matches _COMMIT.
        done = subprocess.run(command, env=environ, capture_output=True, timeout=_GIT_TIMEOUT, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def find_changed_files(runner: Runner, git: Git = run_git) -> frozenset[str]:
    """List the files, relative to the checkout, that this push or pull request touches; empty when that is not known.

    GitHub names the files of a push to webhooks but leaves them out of the event of a workflow run
    (https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows#push); other runners keep
    them. Else git compares the commit before with the one checked out, where the checkout has both: with `fetch-depth: 1`
    it has not.
    """
    event = _read_event(runner.event_file)
    named = _list_named(event)
    if named:
        return named
    base = _find_base(event)
    if not base:
        return frozenset()
    told = git(runner.workspace, ["diff-tree", "-r", "-z", "--name-only", "--no-renames", base, "HEAD"])
    return frozenset(name.decode("utf-8", "surrogateescape") for name in (told or b"").split(b"\0") if name)


def _read_event(file: Path | None) -> dict[str, Any]:
    """Read the event that started the workflow run; empty when it cannot be read."""
    try:
        event = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _list_named(event: dict[str, Any]) -> frozenset[str]:
    commits = event.get("commits")
    lists = [
        commit.get(kind)
        for commit in (commits if isinstance(commits, list) else [])
        if isinstance(commit, dict)
        for kind in ("added", "modified", "removed")
    ]
    return frozenset(name for names in lists if isinstance(names, list) for name in names if isinstance(name, str))


def _find_base(event: dict[str, Any]) -> str:
    """Find the commit before this change: of a push what the branch was at, of a pull request what it is to go into."""
    pull_request = event.get("pull_request")
    base = pull_request.get("base") if isinstance(pull_request, dict) else None
    commit = base.get("sha") if isinstance(base, dict) else event.get("before")
    return commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else ""
