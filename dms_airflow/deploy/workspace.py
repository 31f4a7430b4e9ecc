"""What a deploy needs of a DMS workspace. Where DMS's pages are silent or contradict each other, both readings work here.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-listworkspacecode and the pages of the other calls.
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from dms_airflow.core.errors import DeployError, WorkspaceDeniedError, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")
R = TypeVar("R")

ROOT = "/Workspace/code"
CALLS_AT_ONCE = 4
WAIT_SLICE = 0.5  # seconds


class Calls(Protocol):
    """The calls of DMS's OpenAPI for one workspace; each returns the body and the headers of the response.

    Each raises an ActionError: WorkspaceError when the call was refused, AnswerLostError when it may have happened.
    """

    def fetch(self, action: str, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make a call that changes nothing, again while it may succeed a moment later."""

    def send(self, action: str, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make a call once."""


class Workspace:
    """One workspace, with responses as DMS returns them."""

    def __init__(self, calls: Calls, instance_id: str) -> None:
        self._calls = calls
        self._instance_id = instance_id

    def fetch_airflow(self) -> Mapping[str, Any]:
        """Fetch the instance: `Status`, `DagsDir` and more."""
        return _to_map(self._calls.fetch("GetAirflow", airflow_id=self._instance_id)[0].get("Root"))

    def fetch_publish_setting(self) -> Mapping[str, Any]:
        """Fetch `Exclude`, `LockRepoBranch` and `Repos`."""
        return _to_map(self._calls.fetch("GetWorkspaceCodePublishSetting")[0].get("Data"))

    def list_folder(self, path: str) -> dict[str, Listed]:
        """List one folder by the names of its entries."""
        rows = _to_map(self._calls.fetch("ListWorkspaceCode", path=path)[0].get("Data")).get("List") or ()
        names = [(str(row.get("Name") or "").rstrip("/").rpartition("/")[2], row) for row in rows]
        return {
            name: Listed(
                bool(row.get("IsDir")), bool(row.get("Symlink")), int(row.get("Size") or 0), str(row.get("Mtime") or "")
            )
            for name, row in names
            if name
        }

    def read(self, path: str) -> tuple[str, str]:
        """Read a file: text, and modification time as the server writes it, in a header whose name is not documented."""
        body, headers = self._calls.fetch("GetWorkspaceCode", path=path)
        times = [value for name, value in headers.items() if "mtime" in name.lower()]
        return str(body.get("Data") or ""), str([*times, headers.get("last-modified") or ""][0])

    def save(self, path: str, text: str, *, mtime: str = "", force: bool = False) -> None:
        """Write a file, if its modification time still is `mtime`."""
        self._calls.send("SaveWorkspaceCode", path=path, content=text, mtime=mtime or None, force=force or None)

    def delete(self, path: str) -> None:
        """Delete a file permanently."""
        self._calls.send("DeleteWorkspaceCode", path=path)

    def publish(self, config: str) -> str:
        """Start to publish the complete workspace, and return the action's key."""
        return str(_to_map(self._calls.send("WorkspaceCodePublish", config=config)[0].get("Data")).get("Key") or "")

    def fetch_status(self, key: str) -> Mapping[str, Any]:
        """Fetch how an action is going: `Status`, `EndTime`, `Data`."""
        return _to_map(self._calls.fetch("WorkspaceActionStatus", key=key)[0].get("Data"))

    def fetch_log(self, key: str) -> str:
        """Fetch an action's log."""
        return str(self._calls.fetch("WorkspaceActionLog", key=key)[0].get("Data") or "")


def _to_map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class Listed(NamedTuple):
    """An entry of a folder: `size` in bytes, `mtime` as the server writes it."""

    is_folder: bool = False
    is_link: bool = False
    size: int = -1
    mtime: str = ""


def find_folder(workspace: Workspace, path: str) -> dict[str, Listed] | None:
    """List a folder; None when it is missing.

    What a missing folder answers is not documented, so it is missing only when its parent was listed without it: a refused
    call must not look like an empty folder.

    Raises:
        ActionError: A part of the path could not be listed, or is not a folder.
    """
    try:
        if there := workspace.list_folder(path):
            return there
    except WorkspaceDeniedError:
        raise
    except WorkspaceError:
        pass
    above = ROOT
    for name in path.removeprefix(ROOT).strip("/").split("/"):
        entry = workspace.list_folder(above).get(name)
        above = f"{above}/{name}"
        if entry is None:
            return None
        if not entry.is_folder or entry.is_link:
            raise DeployError(f"{above} in the workspace is not a folder.", "Check deploy-to. Nothing was written.")
    return workspace.list_folder(path)


def read_file(workspace: Workspace, path: str) -> tuple[str | None, str]:
    """Read text and modification time of a file; None when it is missing, as any refusal means but that of a right."""
    try:
        return workspace.read(path)
    except WorkspaceError as error:
        if isinstance(error, WorkspaceDeniedError) or error.is_transient:
            raise
        return None, ""


def map_calls(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function for each item, four at once. After a failure no further call begins; it is raised when all are over."""
    items = list(items)
    if len(items) < 2:  # noqa: PLR2004 - no threads for one
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(CALLS_AT_ONCE)
    futures = [pool.submit(function, item) for item in items]
    try:
        # By slices: a signal that comes just before Python begins to wait is seen only when it has waited.
        waiting = {*futures}
        while waiting and not any(future.exception() for future in futures if future not in waiting):
            waiting = wait(futures, timeout=WAIT_SLICE, return_when=FIRST_EXCEPTION).not_done
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=True, cancel_futures=True)
    done = [future for future in futures if not future.cancelled()]
    failed = [future for future in done if future.exception()]
    return [future.result() for future in failed or futures]
