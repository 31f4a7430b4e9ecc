"""Which files the change behind this workflow run touches, as far as the runner's files tell. Not knowing is no failure."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path

    from dulwich.objects import Commit

    from dms_airflow.config import Runner

# The id of a commit; zeros stand for "none", as in the push of a new branch. GitHub has SHA-1 repositories only.
_COMMIT = re.compile(r"(?!0+\Z)[0-9a-f]{40}")


def find_changed_files(runner: Runner) -> frozenset[str]:
    """List the files, relative to the checkout, that this push or pull request touches; empty when that is not known.

    GitHub names the files of a push to webhooks but leaves them out of the event of a workflow run
    (https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows#push); other runners keep
    them. Else the commit before is compared with the one checked out, where the checkout has both: with `fetch-depth: 1` it
    has not.
    """
    event = _read_event(runner.event_file)
    named = _list_named(event)
    if named:
        return named
    base, last = _find_ends(event)
    return _compare(runner.workspace, base, last) if base else frozenset()


def _compare(workspace: Path, base: str, last: str) -> frozenset[str]:
    """List the files that differ between the commit before a change and the one checked out.

    Only objects and refs are read: nothing of the repository's configuration, which may name programs and remotes.
    """
    # Most runs meet no import error, and none of those shall wait for these imports.
    from dulwich.diff_tree import tree_changes  # noqa: PLC0415
    from dulwich.object_store import DiskObjectStore  # noqa: PLC0415
    from dulwich.objects import ObjectID  # noqa: PLC0415
    from dulwich.refs import HEADREF, DiskRefsContainer  # noqa: PLC0415

    try:
        own, shared = _find_git_folders(workspace)
        with closing(DiskObjectStore(shared / "objects")) as store:
            head = cast("Commit", store[DiskRefsContainer(shared, own)[HEADREF]])
            before = ObjectID(base.encode())
            # GitHub's trial merge of a pull request: its first parent is what it is merged into, also when the event's base
            # is an older commit of that branch.
            match head.parents:
                case [first, second] if second == last.encode():
                    before = first
            changes = list(tree_changes(store, cast("Commit", store[before]).tree, head.tree))
    except Exception:  # noqa: BLE001 - no repository, no such commit in it, or whatever else it turns out to hold
        return frozenset()
    entries = [entry for change in changes for entry in (change.old, change.new) if entry]
    return frozenset(entry.path.decode("utf-8", "surrogateescape") for entry in entries if entry.path)


def _find_git_folders(workspace: Path) -> tuple[Path, Path]:
    """Find where HEAD is and where objects and refs are: in a further worktree of a repository these are two folders."""
    own = workspace / ".git"
    if own.is_file():
        own = workspace / own.read_text(encoding="utf-8").removeprefix("gitdir: ").rstrip("\r\n")
    common = own / "commondir"
    return own, own / common.read_text(encoding="utf-8").rstrip("\r\n") if common.is_file() else own


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


def _find_ends(event: dict[str, Any]) -> tuple[str, str]:
    """Find the commit before this change, and the last commit of a pull request; "" where there is none.

    Before a push is what the branch was at, before a pull request what it is to go into.
    """
    pull_request = event.get("pull_request")
    if not isinstance(pull_request, dict):
        return _read_commit(event.get("before")), ""
    base, head = (pull_request.get(name) for name in ("base", "head"))
    return (
        _read_commit(base.get("sha")) if isinstance(base, dict) else "",
        _read_commit(head.get("sha")) if isinstance(head, dict) else "",
    )


def _read_commit(value: object) -> str:
    return value if isinstance(value, str) and _COMMIT.fullmatch(value) else ""
