"""What a deploy needs of a DMS workspace, and what the answers of its calls mean.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-listworkspacecode and the pages of the other calls. Where
they are silent or contradict each other, both readings work here.
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from dms_airflow.core.errors import DeployError, WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")
R = TypeVar("R")

ROOT = "/Workspace/code"

CALLS_AT_ONCE = 4
WAIT_SLICE = 0.5  # seconds

HINT_TARGET = "Nothing was written. Check deploy-to, and the instance's DAG folder in DMS's console."


class Workspace(Protocol):
    """The calls of one workspace. Reads are repeated while they may succeed a moment later, everything else is sent once.

    Each raises an ActionError: WorkspaceError when the call was refused, AnswerLostError when it may have happened.
    """

    def fetch_airflow(self) -> Mapping[str, Any]:
        """Fetch the instance: `Status`, `DagsDir` and the rest of `Root`."""
        ...

    def fetch_publish_setting(self) -> Mapping[str, Any]:
        """Fetch `Exclude`, `LockRepoBranch` and `Repos`."""
        ...

    def list_folder(self, path: str) -> Sequence[Mapping[str, Any]]:
        """List one folder: `Name`, `IsDir`, `Size`, `Mtime`, `Symlink` of each entry."""
        ...

    def read(self, path: str) -> tuple[str, str]:
        """Read a file: its text, and its modification time as the server writes it, empty when it says none."""
        ...

    def save(self, path: str, text: str, *, mtime: str = "", force: bool = False) -> None:
        """Write a file, if its modification time still is `mtime`."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file for good."""
        ...

    def publish(self, config: str) -> str:
        """Begin to publish the whole workspace, and give the action's key."""
        ...

    def fetch_status(self, key: str) -> Mapping[str, Any]:
        """Fetch how an action is going: `Status`, `EndTime`, `Data`."""
        ...

    def fetch_log(self, key: str) -> str:
        """Fetch an action's log."""
        ...


class Listed(NamedTuple):
    """An entry of a folder: `size` in bytes, `mtime` as the server writes it."""

    is_folder: bool = False
    is_link: bool = False
    size: int = -1
    mtime: str = ""


def list_folder(workspace: Workspace, path: str) -> dict[str, Listed]:
    """List one folder by the names of its entries."""
    return {
        str(row.get("Name")).rstrip("/").rpartition("/")[2]: Listed(
            is_folder=bool(row.get("IsDir")),
            is_link=bool(row.get("Symlink")),
            size=row["Size"] if isinstance(row.get("Size"), int) else -1,
            mtime=str(row.get("Mtime") or ""),
        )
        for row in workspace.list_folder(path)
        if row.get("Name")
    }


def find_folder(workspace: Workspace, path: str) -> dict[str, Listed] | None:
    """List a folder that may be missing; None when it is.

    What a missing folder answers is not documented. So it is missing only when its parent was listed without it: a refused call
    must not look like an empty folder.

    Raises:
        ActionError: Something on the way could not be listed.
        DeployError: Something on the way is a file or a link.
    """
    try:
        if there := list_folder(workspace, path):
            return there
    except WorkspaceError as error:
        if error.is_denied:
            raise
    above = ROOT
    for name in path.removeprefix(ROOT).strip("/").split("/"):
        entry = list_folder(workspace, above).get(name)
        above = f"{above}/{name}"
        if entry is None:
            return None
        if not entry.is_folder or entry.is_link:
            raise DeployError(f"{above} in the workspace is not a folder.", HINT_TARGET)
    return list_folder(workspace, path)


def read_file(workspace: Workspace, path: str) -> tuple[str | None, str]:
    """Read the text and modification time of a file that may be missing; None when it is.

    What a missing file answers is not documented: here any refusal but that of a right counts as missing.

    Raises:
        ActionError: It cannot be known.
    """
    try:
        return workspace.read(path)
    except WorkspaceError as error:
        if error.is_denied or error.may_pass:
            raise
        return None, ""


def map_calls(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function for each item, at most four at once. After a failure no further call begins.

    Raises:
        Exception: The first failure, when everything that had begun is over.
    """
    items = list(items)
    if len(items) < 2:  # noqa: PLR2004 - no threads for one
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(CALLS_AT_ONCE)
    futures = [pool.submit(function, item) for item in items]
    try:
        # By slices: a signal that comes just before Python begins to wait is seen only when it has waited.
        while True:
            done, waiting = wait(futures, timeout=WAIT_SLICE, return_when=FIRST_EXCEPTION)
            failed = next((future for future in futures if future in done and future.exception()), None)
            if failed or not waiting:
                break
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=True, cancel_futures=True)
    if failed:
        failed.result()
    return [future.result() for future in futures]
