"""Publishing a workspace: the setting, actions with their status and log, and the published copy of the files."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sandbox.workspace.forms import in_nanoseconds
from sandbox.workspace.store import CODE, MissingError, WorkspaceError, WorkspaceStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_NANOSECONDS = 10**9


@dataclass(kw_only=True)
class Repository:
    """A Git repository that is bound to the workspace.

    Args:
        repo: Its name as the setting gives it.
        path: Its folder below the root of the code.
        branch: The branch that the setting publishes.
        branches: Each branch's files: text by path within the repository.
    """

    repo: str
    path: str
    branch: str
    branches: Mapping[str, Mapping[str, str]]


@dataclass(kw_only=True)
class Setting:
    """What GetWorkspaceCodePublishSetting gives."""

    repositories: list[Repository] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    is_locked: bool = False


@dataclass(kw_only=True)
class Action:
    """A publish that was accepted; `started` by the publisher's clock, the other times in nanoseconds since 1970."""

    key: str
    started: float
    started_ns: int
    works: bool
    error: str
    polls: int = 0
    ended_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """What the published copy will hold at a moment, by path below the root of the code."""

    due: float
    files: Mapping[str, bytes]
    exclude: Sequence[str]


class Publisher:
    """Publishes the files of a workspace to a folder.

    Args:
        store: The workspace.
        folder: Receives the published copy; created.
        clock: Seconds, for `copies_after`.
        wake: Calls a function after some seconds. None: the copy changes when it is looked at after its time.
    """

    def __init__(
        self,
        store: WorkspaceStore,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wake: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self.setting = Setting()
        self.actions: list[Action] = []
        self._store = store
        self._folder = folder
        self.clock = clock
        self._wake = wake
        self._copies: list[_Copy] = []
        (folder / store.dags_dir).mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        """The published copy of the code."""
        self.settle()
        return self._folder

    @property
    def dags(self) -> Path:
        """The instance's DAG folder in the published copy."""
        return self.folder / self._store.dags_dir

    def bind(self, *repositories: Repository) -> None:
        """Bind Git repositories to the workspace."""
        self.setting.repositories.extend(repositories)
        self._store.repositories.extend(one.path for one in repositories)

    def publish(self, config: str) -> str:
        """Start an action; return its key.

        Args:
            config: JSON text with `repos` and `exclude`.

        Raises:
            WorkspaceError: The config is wrong, or another publish is running.
        """
        with self._store.lock:
            behaviour = self._store.behaviour
            if not behaviour.publishes_at_once and any(self._is_running(action) for action in self.actions):
                raise WorkspaceError("ActionRunning", "Another publish of this workspace is running.")
            branches, exclude = self._choose(_parse(config))
            unknown = [one for one, branch in branches if branch not in one.branches]
            error = f"branch of {unknown[0].repo} not found" if unknown else behaviour.action_error
            works = behaviour.publish_works and not unknown
            action = Action(key=_new_key(), started=self.clock(), started_ns=self._store.clock_ns(), works=works, error=error)
            self.actions.append(action)
            if works or (behaviour.copies_when_failed and not unknown):
                self._start_copy(branches, exclude)
            return action.key

    def status(self, key: str) -> dict[str, Any]:
        """Poll an action.

        Raises:
            WorkspaceError: There is no such action.
        """
        with self._store.lock:
            action, behaviour = self._find(key), self._store.behaviour
            statuses = behaviour.statuses if action.works else _failing(behaviour.statuses)
            action.polls += 1
            if action.polls <= behaviour.unknown_key_polls:
                raise MissingError(key)
            position = min(action.polls - behaviour.unknown_key_polls, len(statuses)) - 1
            answer: dict[str, Any] = {"StartTime": in_nanoseconds(action.started_ns)}
            if statuses[position] is not None:
                answer["Status"] = statuses[position]
            if position == len(statuses) - 1:
                action.ended_ns = action.ended_ns or self._store.clock_ns()
                answer |= {"EndTime": in_nanoseconds(action.ended_ns)} if behaviour.has_end_time else {}
                answer |= {"Data": action.error} if action.error else {}
            return answer

    def log(self, key: str) -> str:
        """Give an action's log.

        Raises:
            WorkspaceError: There is no such action, or no log.
        """
        with self._store.lock:
            self._find(key)
            if self._store.behaviour.action_log is None:
                raise WorkspaceError("LogNotExist", f"The log of {key} does not exist.")
            return self._store.behaviour.action_log

    def copy_now(self) -> None:
        """Make the published copy equal to the workspace, without an action."""
        with self._store.lock:
            self._apply(_Copy(due=0.0, files=_below(self._store.files()), exclude=()))

    def settle(self) -> None:
        """Change the published copy as far as it is time."""
        with self._store.lock:
            due = [copy for copy in self._copies if copy.due <= self.clock()]
            for copy in due:
                self._copies.remove(copy)
                self._apply(copy)

    def _choose(self, config: Mapping[str, Any]) -> tuple[list[tuple[Repository, str]], list[str]]:
        """Decide which branch of each repository is published, and which folders are not."""
        setting, behaviour = self.setting, self._store.behaviour
        if setting.is_locked:
            return [(one, one.branch) for one in setting.repositories], setting.exclude
        wanted = {_reduce(str(item.get("repo", ""))): str(item.get("branch", "")) for item in config.get("repos", [])}
        known = {_reduce(one.repo) for one in setting.repositories}
        if unknown := wanted.keys() - known:
            raise WorkspaceError("RepoNotExist", f"The repo {min(unknown)} does not exist in the workspace.")
        chosen = []
        for one in setting.repositories:
            branch = wanted.get(_reduce(one.repo), "")
            if not branch and behaviour.needs_every_branch:
                raise WorkspaceError("InvalidParameter", f"The branch of repo {one.repo} is empty.")
            chosen.append((one, branch or one.branch))
        exclude = [str(folder) for folder in config.get("exclude", [])]
        if behaviour.updates_setting:
            setting.exclude = exclude
            for one, branch in chosen:
                one.branch = branch
        return chosen, exclude

    def _start_copy(self, branches: Sequence[tuple[Repository, str]], exclude: Sequence[str]) -> None:
        below = _below(self._store.files())
        for one, branch in branches:
            folder = one.path.strip("/")
            texts = {f"{folder}/{path}": text for path, text in one.branches[branch].items()}
            if self._store.behaviour.checks_out:
                for path, text in texts.items():
                    self._store.edit(f"{CODE}/{path}", text)
            below = {path: content for path, content in below.items() if not PurePosixPath(path).is_relative_to(folder)}
            below |= {path: text.encode() for path, text in texts.items()}
        files = {path: content for path, content in below.items() if not _is_excluded(path, exclude)}
        after = self._store.behaviour.copies_after
        self._copies.append(_Copy(due=self.clock() + after, files=files, exclude=exclude))
        if after and self._wake:
            self._wake(after, self.settle)
        self.settle()

    def _apply(self, copy: _Copy) -> None:
        # A file that is equal keeps its modification time. A changed one is whole from the moment when it has its name.
        temporary = self._folder.with_name("publishing")
        for path, content in copy.files.items():
            file = self._folder / path
            if not file.is_file() or file.read_bytes() != content:
                file.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(content)
                temporary.replace(file)
        if not self._store.behaviour.removes_deleted:
            return
        for file in [file for file in self._folder.rglob("*") if file.is_file()]:
            path = str(file.relative_to(self._folder))
            if path not in copy.files and not _is_excluded(path, copy.exclude):
                file.unlink()

    def _is_running(self, action: Action) -> bool:
        return not action.ended_ns and self.clock() < action.started + self._store.behaviour.action_seconds

    def _find(self, key: str) -> Action:
        found = [action for action in self.actions if action.key == key]
        if not found:
            raise MissingError(key)
        return found[0]


def _below(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path.removeprefix(f"{CODE}/"): content for path, content in files.items()}


def _parse(config: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(config)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise WorkspaceError("InvalidParameter", "Config is not a JSON object.")
    return parsed


def _reduce(repo: str) -> str:
    """Reduce a Git URL or `owner/name` to the latter, in lower case."""
    return re.sub(r"^\w+://[^/]+/|^[^@/]+@[^:/]+[:/]|\.git$", "", repo.lower())


def _failing(statuses: Sequence[Any]) -> Sequence[Any]:
    return [*statuses[:-1], "ERROR"] if statuses[-1] == "SUCCESS" else statuses


def _is_excluded(path: str, exclude: Sequence[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder.strip("/")) for folder in exclude)


def _new_key() -> str:
    return f"ws-{secrets.token_hex(2)}-{secrets.token_hex(3)}"
