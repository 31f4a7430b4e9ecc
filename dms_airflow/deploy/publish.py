"""Where a deploy goes: the folder that it writes to, and how the workspace is published. A publish is always of all of it.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-workspacecodepublish
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from dms_airflow.core.errors import ActionError, AnswerLostError, DeployError, WorkspaceError
from dms_airflow.core.http.retry import retry
from dms_airflow.core.polling import poll
from dms_airflow.core.result import Folded
from dms_airflow.deploy.manifest import NAME
from dms_airflow.deploy.write import ROOT, Target

if TYPE_CHECKING:
    from dms_airflow.alibaba_cloud.workspace import Workspace
    from dms_airflow.operations.context import Context

LIMIT = 600.0  # seconds
TRIES = 8  # in about 40 seconds; a publish may be refused while another one runs
UNKNOWN_KEY = 3  # polls that may not know the action yet

# The first four of the failures are documented, and no word for an action that runs:
# https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-workspaceactionstatus
DONE = "SUCCESS"
FAILED = frozenset({"ERROR", "TIMEOUT", "CANCEL", "FAILED", "CANCELED", "CANCELLED"})

WRITE_ACTIONS = (
    "dms:SaveWorkspaceCode, dms:DeleteWorkspaceCode, dms:WorkspaceCodePublish, dms:WorkspaceActionStatus and "
    "dms:WorkspaceActionLog"
)

HINT_EXCLUDED = (
    "Nothing was written. Take the folder out of the exclusions in the workspace's publish settings, or set deploy-to."
)
HINT = "Look at the workspace's publish actions in DMS's console; the log, if DMS gave one, is in the log and the summary."
HINT_BRANCH = "Nothing was published. Unlock it in the workspace's publish settings, or deploy the branch that is set there."
HINT_REPOSITORY = "Nothing was published. Bind the repository to the workspace, or leave deploy-branch empty to write files."


class Repository(NamedTuple):
    """A Git repository bound to the workspace: its name as DMS writes it, its folder below the root, its branch."""

    name: str
    folder: str
    branch: str


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a deploy goes: the folder to write to, and the instance, as GetAirflow describes it.

    The rest is how the workspace is published: bound repositories, folders left out, whether the branches are locked.
    """

    folder: str
    airflow: Mapping[str, object]
    repositories: tuple[Repository, ...]
    excluded: tuple[str, ...]
    is_locked: bool

    @property
    def repository(self) -> Repository | None:
        """The repository in whose folder the folder is."""
        return next((one for one in self.repositories if one.folder and is_below(self.folder, one.folder)), None)

    def choose_branch(self, branch: str) -> Destination:
        """Set the branch of the repository with the folder, and change nothing else.

        Raises:
            DeployError: It is not in a repository, or its branch is locked.
        """
        chosen = self.repository
        if chosen is None:
            known = ", ".join(f"{one.name} in {one.folder}" for one in self.repositories) or "none"
            raise DeployError(f"{self.folder} is not in a Git repository of the workspace (bound: {known}).", HINT_REPOSITORY)
        if self.is_locked and chosen.branch != branch:
            message = f"The publish settings of the workspace lock {chosen.name} to branch {chosen.branch}, not {branch}."
            raise DeployError(message, HINT_BRANCH)
        changed = (one._replace(branch=branch) if one is chosen else one for one in self.repositories)
        return replace(self, repositories=tuple(changed))

    def render(self) -> str:
        """Render the config of a publish. It may change the stored setting, so it contains all of it."""
        repos = [{"repo": one.name, "branch": one.branch} for one in self.repositories]
        return json.dumps({"repos": repos, "exclude": list(self.excluded)}, ensure_ascii=False)


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder of the workspace, or in it; both may leave out the root."""
    inner, outer = (f"{text.removeprefix(ROOT).strip('/')}/" for text in (path, folder))
    return outer != "/" and inner.startswith(outer)


def parse_destination(folder: str, airflow: Mapping[str, Any], setting: Mapping[str, Any]) -> Destination:
    """Parse the answer of GetWorkspaceCodePublishSetting. An entry of `Exclude` may be a list written as a text."""
    excluded = [_parse_text(entry) for entry in setting.get("Exclude") or ()]
    rows = setting.get("Repos") or ()
    return Destination(
        folder=folder,
        airflow=airflow,
        repositories=tuple(Repository(*(str(row.get(name) or "") for name in ("Repo", "Path", "Branch"))) for row in rows),
        excluded=tuple(str(one) for entry in excluded for one in (entry if isinstance(entry, list) else [entry])),
        is_locked=bool(setting.get("LockRepoBranch")),
    )


def _parse_text(text: Any) -> Any:
    """Parse a text with JSON or a Python list or dict; anything else is returned unchanged."""
    for parse in (json.loads, ast.literal_eval) if isinstance(text, str) and text.strip()[:1] in ("[", "{") else ():
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


# --- the target -----------------------------------------------------------------------------------------------------------


def find_workspace_id(given_id: str, context: Context) -> str:
    """Find the workspace's id in the instance's address: `/airflow/<tenant>/<workspace>/<instance>`.

    https://help.aliyun.com/zh/dms/automated-workflow-management-through-the-airflow-rest-api-and-cli

    Raises:
        DeployError: The address does not have it, and it was not given.
    """
    *_, workspace_id, instance_id = ("", "", *urlsplit(context.session.host).path.strip("/").split("/"))
    if given_id or (workspace_id and instance_id == context.config.instance_id):
        return given_id or workspace_id
    raise DeployError(f"The address of the instance, {context.session.host}, lacks its workspace.", "Set workspace-id.")


def find_destination(workspace: Workspace, deploy_to: str) -> Destination:
    """Find where a deploy goes: by itself to the instance's DAG folder.

    Raises:
        DeployError: The instance is not deployed or has no DAG folder, or the folder is never published.
    """
    airflow = workspace.fetch_airflow()
    if (status := str(airflow.get("Status"))) != "DEPLOYED":
        hint = "Wait until DMS's console shows the instance as running, then run the step again."
        raise DeployError(f"The instance is {status}: {airflow.get('DeployErrorMsg') or 'DMS gives no reason'}.", hint)
    folder = str(airflow.get("DagsDir") or "").removeprefix(ROOT).strip("/")
    if not (deploy_to or folder):
        raise DeployError("DMS does not say which folder the instance's DAG folder is.", "Set deploy-to.")
    destination = parse_destination(deploy_to or f"{ROOT}/{folder}", airflow, workspace.fetch_publish_setting())
    if excluded := next((one for one in destination.excluded if is_below(destination.folder, one)), None):
        raise DeployError(f"{destination.folder} is excluded from publishing, as part of {excluded}.", HINT_EXCLUDED)
    return destination


def check_rights(workspace_id: str, context: Context) -> str:
    """Make the calls of a deploy that only read, and describe the result.

    Raises:
        ActionError: One of them failed.
    """
    with context.open_workspace(find_workspace_id(workspace_id, context)) as workspace:
        target = Target(workspace, find_destination(workspace, "").folder)
        target.list_top()
        target.read(NAME)
        with suppress(WorkspaceError):  # the action does not exist
            workspace.fetch_status("none")
    return f"{target.folder} can be read; only a deploy shows whether it can be written and published ({WRITE_ACTIONS})"


# --- publishing -----------------------------------------------------------------------------------------------------------


def parse_status(status: Any) -> tuple[str, str]:
    """Parse an action's status, a word or a dict with its `phase`: the word in capitals, and an error that it has."""
    status = _parse_text(status)
    if not isinstance(status, dict):
        return str(status or "").strip().upper(), ""
    error = status.get("latestExecError")
    return str(status.get("phase") or "").strip().upper(), json.dumps(error, ensure_ascii=False) if error else ""


def publish(workspace: Workspace, destination: Destination) -> None:
    """Publish the workspace, and wait until that is done.

    Raises:
        ActionError: It could not be begun, it failed, or it did not end in time.
    """
    clock, log = workspace.clock, workspace.log
    key = _begin(workspace, destination.render())
    log.info(f"Publishing the workspace (action {key}).")
    polls = Counter[str]()

    def fetch_state() -> tuple[tuple[str, str], Sequence[str]]:
        try:
            answer = workspace.fetch_status(key)
        except WorkspaceError as error:
            polls["unknown"] += 1
            return ("", error.message), () if polls["unknown"] > UNKNOWN_KEY else ("DMS to list the publish action",)
        word, error_text = parse_status(answer.get("Status"))
        polls["ended"] += bool(answer.get("EndTime"))
        is_over = word == DONE or word in FAILED or polls["ended"] > 1
        detail = " ".join(filter(None, (error_text, str(answer.get("Data") or "")))).strip()
        return (word, detail), () if is_over else (f"the publish action, which is {word or 'without a status'}",)

    (word, detail), awaited = poll(fetch_state, clock=clock, log=log, deadline=clock.monotonic() + LIMIT)
    if word == DONE:
        log.info("Published.")
        return
    state = f"is {word or 'unknown'} after {LIMIT:.0f} s" if awaited else f"ended as {word or 'unknown'}"
    blocks: tuple[Folded, ...] = ()
    try:
        if text := workspace.fetch_log(key):
            blocks = (Folded(heading=f"Log of the publish action {key}", text=text),)
            log.fold(blocks[0].heading, text)
    except ActionError as error:
        detail = f"{detail} Its log could not be read: {error.message}"
    message = f"The publish action {key} {state}. {detail}".strip()
    raise ActionError(message, HINT, title="Not published", blocks=blocks)


def _begin(workspace: Workspace, config: str) -> str:
    """Begin to publish; again when that is refused, and once more when no response came: a second publish does no harm."""
    clock, log, lost = workspace.clock, workspace.log, list[AnswerLostError]()

    def may_repeat(error: ActionError) -> bool:
        lost.extend([error] if isinstance(error, AnswerLostError) else [])
        return isinstance(error, AnswerLostError | WorkspaceError) and len(lost) <= 1

    deadline = clock.monotonic() + LIMIT
    return retry(lambda: workspace.publish(config), clock=clock, log=log, deadline=deadline, tries=TRIES, may_retry=may_repeat)
