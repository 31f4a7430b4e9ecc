"""Publishes the workspace, and follows that until it is over.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-workspacecodepublish. A publish takes the whole workspace:
no call publishes one folder.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from dms_airflow.core.errors import ActionError, AnswerLostError, DeployError, NotPublishedError, WorkspaceError
from dms_airflow.core.result import Folded
from dms_airflow.deploy.workspace import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dms_airflow.core.clock import Clock
    from dms_airflow.core.log import Log
    from dms_airflow.deploy.workspace import Workspace

LIMIT = 600.0  # seconds
POLLS = (2.0, 2.0, 3.0, 5.0, 8.0, 15.0)  # seconds; then 15 each
REPEATS = (5.0, 15.0, 30.0)  # seconds; a publish is refused while another one runs
UNKNOWN_KEY = 3  # polls that may not know the action yet

# https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-workspaceactionstatus names the first four, and no word
# for an action that runs.
DONE = frozenset({"SUCCESS"})
FAILED = frozenset({"ERROR", "TIMEOUT", "CANCEL", "FAILED", "CANCELED", "CANCELLED"})

HINT = (
    "Look in DMS's console at the workspace's publish actions; the log, where DMS gave one, is in this step's log and summary."
)
HINT_BRANCH = (
    "Nothing was published. Unlock the branch in the workspace's publish settings, or deploy the branch that is set there."
)
HINT_REPOSITORY = (
    "Nothing was published. Bind the repository to the workspace, or leave deploy-branch empty to write the files."
)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A Git repository bound to the workspace: its name as DMS writes it, its folder below the root, its branch."""

    name: str
    folder: str
    branch: str


@dataclass(frozen=True, kw_only=True)
class PublishSetting:
    """How the workspace is published: repositories, folders left out, and whether the branches are locked."""

    repositories: tuple[Repository, ...]
    excluded: tuple[str, ...]
    is_locked: bool

    def find_repository(self, target: str) -> Repository | None:
        """Find the repository in whose folder the target is."""
        return next((one for one in self.repositories if one.folder and is_below(target, one.folder)), None)

    def find_exclusion(self, path: str) -> str | None:
        """Find the excluded folder that a path of the workspace is in: it would never be published."""
        return next((one for one in self.excluded if is_below(path, one)), None)

    def choose_branch(self, target: str, branch: str) -> PublishSetting:
        """Set the branch of the repository that holds the target, and leave the rest as it is.

        Raises:
            DeployError: No repository holds it, or its branch is locked.
        """
        chosen = self.find_repository(target)
        if chosen is None:
            known = ", ".join(f"{one.name} in {one.folder}" for one in self.repositories) or "none"
            raise DeployError(
                f"The folder {target} is in no Git repository of the workspace (bound: {known}), so that no branch can be "
                "published in its place.",
                HINT_REPOSITORY,
            )
        if self.is_locked and chosen.branch != branch:
            raise DeployError(
                f"The publish settings of the workspace lock {chosen.name} to branch {chosen.branch}, not {branch}.",
                HINT_BRANCH,
            )
        repositories = tuple(
            Repository(name=one.name, folder=one.folder, branch=branch) if one is chosen else one for one in self.repositories
        )
        return PublishSetting(repositories=repositories, excluded=self.excluded, is_locked=self.is_locked)

    def render(self) -> str:
        """Write the config of a publish. It may change the stored setting, so that it holds all of it."""
        repos = [{"repo": one.name, "branch": one.branch} for one in self.repositories]
        return json.dumps({"repos": repos, "exclude": list(self.excluded)}, ensure_ascii=False)


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder of the workspace, or in it; both may leave out the root."""
    inner, outer = (f"{text.removeprefix(ROOT).strip('/')}/" for text in (path, folder))
    return outer != "/" and inner.startswith(outer)


def parse_setting(data: Mapping[str, Any]) -> PublishSetting:
    """Parse the answer of GetWorkspaceCodePublishSetting. An entry of `Exclude` may be a list written as a text."""
    excluded: list[str] = []
    for entry in data.get("Exclude") or ():
        try:
            parsed = json.loads(entry)
        except (TypeError, ValueError):
            parsed = entry
        excluded += map(str, parsed if isinstance(parsed, list) else [entry])
    repositories = tuple(
        Repository(name=str(row.get("Repo") or ""), folder=str(row.get("Path") or ""), branch=str(row.get("Branch") or ""))
        for row in data.get("Repos") or ()
    )
    return PublishSetting(repositories=repositories, excluded=tuple(excluded), is_locked=bool(data.get("LockRepoBranch")))


def parse_status(status: Any) -> tuple[str, str]:
    """Parse an action's status: its word in capitals, and an error that it names.

    It is documented as a word, and shown as a Python dict in a text: its `phase` counts then.
    """
    if isinstance(status, str) and status.lstrip().startswith("{"):
        for parse in (json.loads, ast.literal_eval):
            try:
                status = parse(status)
                break
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
    if isinstance(status, dict):
        error = status.get("latestExecError")
        return parse_status(str(status.get("phase") or ""))[0], json.dumps(error, ensure_ascii=False) if error else ""
    return str(status or "").strip().upper(), ""


def publish(workspace: Workspace, setting: PublishSetting, *, clock: Clock, log: Log) -> None:
    """Publish the workspace, and wait until that is done.

    Raises:
        NotPublishedError: It failed, or did not end in time.
        ActionError: It could not be begun.
    """
    deadline = clock.monotonic() + LIMIT
    started = clock.monotonic()
    key = _begin(workspace, setting.render(), clock=clock, log=log)
    log.info(f"Publishing the workspace (action {key}).")
    told, ended = "", 0
    for number, pause in enumerate(chain(POLLS, repeat(POLLS[-1])), 1):
        clock.sleep(pause)
        try:
            answer = workspace.fetch_status(key)
        except WorkspaceError as error:
            if error.is_denied:
                raise
            if number > UNKNOWN_KEY:
                raise _fail(f"DMS does not say how the action {key} went: {error.message}", "", workspace, key, log) from None
            continue
        word, error_text = parse_status(answer.get("Status"))
        detail = " ".join(filter(None, (error_text, str(answer.get("Data") or "")))).strip()
        if word in DONE:
            log.info(f"Published after {clock.monotonic() - started:.0f} s.")
            return
        if word != told:
            log.info(f"The publish action is {word or 'without a status'}.")
            told = word
        ended += bool(answer.get("EndTime"))
        if word in FAILED or ended > 1:
            raise _fail(f"The publish action {key} ended as {word or 'unknown'}.", detail, workspace, key, log)
        if clock.monotonic() > deadline:
            raise _fail(f"The publish action {key} is {word or 'unknown'} after {LIMIT:.0f} s.", detail, workspace, key, log)


def _begin(workspace: Workspace, config: str, *, clock: Clock, log: Log) -> str:
    """Begin to publish. A repeated publish of the same files does no harm, so that one is sent after a lost answer."""
    has_lost = False
    for pause in REPEATS:
        try:
            return workspace.publish(config)
        except AnswerLostError as error:
            if has_lost:
                raise
            has_lost = True
            log.info(f"{error.message} Publishing once more: a second publish of the same files does no harm.")
        except WorkspaceError as error:
            if error.is_denied:
                raise
            pause = max(pause, error.retry_after)  # noqa: PLW2901 - what the server asks for
            log.info(f"{error.message} Another publish may be running; trying again in {pause:g} s.")
            clock.sleep(pause)
    return workspace.publish(config)


def _fail(message: str, detail: str, workspace: Workspace, key: str, log: Log) -> NotPublishedError:
    try:
        text = workspace.fetch_log(key)
    except ActionError as error:
        text, message = "", f"{message} Its log could not be read: {error.message}"
    failure = NotPublishedError(f"{message} {detail}".strip(), HINT)
    if text:
        log.fold(f"Log of the publish action {key}", text)
        failure.blocks = (Folded(heading=f"Log of the publish action {key}", text=text),)
    return failure
