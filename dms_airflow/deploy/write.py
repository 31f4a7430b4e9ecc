"""Reads and writes files of the target folder, each only if it was not changed since it was read, and restores them.

The guard is the server's: a save with the modification time that was read fails when the file has another. A deletion, and a
save without a known time, have none; the file is read right before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dms_airflow.checkout.dag_files import might_define_dag
from dms_airflow.core.errors import ActionError, ConflictError, DeployError, WorkspaceError
from dms_airflow.core.http.parallel import map_parallel
from dms_airflow.core.http.retry import retry
from dms_airflow.deploy.manifest import hash_similar

if TYPE_CHECKING:
    from dms_airflow.alibaba_cloud.workspace import Listed, Workspace

T = TypeVar("T")
R = TypeVar("R")

ROOT = "/Workspace/code"

HINT_CONFLICT = "Another deploy, or a person in DMS's console, changed the same folder. Their version was not overwritten."
HINT_ALTERED = "Run the step again; if it fails again, compare the file in DMS's console (WORKSPACE) with the repository."


def map_calls(function: Callable[[T], R], items: Iterable[T]) -> dict[T, R]:
    """Call a function for each item, four at once. After a failure no more calls begin, and it is raised when all are over."""
    items = list(items)
    return dict(zip(items, map_parallel(function, items, concurrency=4, waits=True), strict=True))


class FileChange(NamedTuple):
    """One file to be written or deleted.

    `path` is below the target, `before` its current text and `after` the new one; None: no file. `mtime` is the
    modification time that came with `before`, empty when it is not known.
    """

    path: str
    before: str | None
    after: str | None
    mtime: str = ""

    @property
    def kind(self) -> str:
        """One of created, changed, deleted."""
        return "created" if self.before is None else "deleted" if self.after is None else "changed"

    @property
    def stage(self) -> int:
        """When it is made: helpers, then DAG files, then deletions."""
        if self.after is None:
            return 2
        return int(self.path.endswith(".py") and might_define_dag(self.after.encode(errors="replace")))


class Target:
    """The folder of a workspace that a deploy writes to. No text is ever printed.

    With `force`, a file that the server does not accept with its own modification time is overwritten.
    """

    def __init__(self, workspace: Workspace, folder: str, *, force: bool = False) -> None:
        self.workspace = workspace
        self.folder = folder
        self.force = force

    def list_top(self) -> dict[str, Listed] | None:
        """List the folder; None when it is missing.

        What a missing folder answers is not documented, so it is missing only when its parent was listed without it: a refused
        call must not look like an empty folder.

        Raises:
            ActionError: A part of the path could not be listed, or is not a folder.
        """
        with suppress(WorkspaceError):
            if there := self.list_folder(""):
                return there
        above = ROOT
        for name in self.folder.removeprefix(ROOT).strip("/").split("/"):
            entry = self.workspace.list_folder(above).get(name)
            above = f"{above}/{name}"
            if entry is None:
                return None
            if not entry.is_folder or entry.is_link:
                raise DeployError(f"{above} in the workspace is not a folder.", "Check deploy-to. Nothing was written.")
        return self.list_folder("")

    def list_folder(self, below: str) -> dict[str, Listed]:
        """List a folder below this one, which exists."""
        return self.workspace.list_folder(f"{self.folder}/{below}".rstrip("/"))

    def read(self, path: str) -> tuple[str | None, str]:
        """Read text and modification time of a file; None when it is missing, as any refusal means but that of a right."""
        try:
            return self.workspace.read(f"{self.folder}/{path}")
        except WorkspaceError as error:
            if error.is_transient:
                raise
            return None, ""

    def apply(self, change: FileChange) -> None:
        """Make one change, unless somebody else changed the file first. Doing it again does no harm.

        After a refusal or a lost response the file itself says what happened: the code of a conflict is not documented.

        Raises:
            ConflictError: Somebody did.
            ActionError: It was not made, or it is not known.
        """
        mtime, is_sent = change.mtime, False

        def attempt() -> None:
            nonlocal mtime, is_sent
            refusal: WorkspaceError | None = None
            # Refused although it was not changed: again with the newest time, then by force if that is allowed.
            for is_last in (False, False, True):
                if is_sent or not mtime or change.kind != "changed":
                    text, mtime = self.read(change.path)
                    if (text == change.after and change.kind != "created") or (is_sent and _is_same(text, change.after)):
                        return
                    if not _is_same(text, change.before):
                        message = f"{self.folder}/{change.path} was changed by somebody else while the deploy ran."
                        raise ConflictError(message, HINT_CONFLICT)
                if refusal and (change.kind != "changed" or (is_last and mtime and not self.force)):
                    raise refusal
                is_sent = True
                try:
                    self._send(change, mtime, is_forced=is_last or (refusal is not None and not mtime))
                except WorkspaceError as error:
                    if error.is_transient or is_last:
                        raise
                    refusal = error
                else:
                    return

        retry(attempt, clock=self.workspace.clock, log=self.workspace.log)

    def _send(self, change: FileChange, mtime: str, *, is_forced: bool) -> None:
        path = f"{self.folder}/{change.path}"
        if change.after is None:
            self.workspace.delete(path)
        else:
            self.workspace.save(path, change.after, mtime="" if is_forced else mtime, force=is_forced)

    def check(self, change: FileChange) -> None:
        """Read a changed file back.

        Raises:
            ConflictError: It is not as it was written.
        """
        text, _ = self.read(change.path)
        if not _is_same(text, change.after):
            message = f"{self.folder}/{change.path} differs from what was written; it was read back immediately."
            raise ConflictError(message, HINT_ALTERED)
        if (text or "") != (change.after or ""):
            self.workspace.log.info(f"{change.path}: the workspace changed its byte order mark, line ends or final line feed.")

    def apply_all(self, changes: Iterable[FileChange]) -> dict[str, Listed]:
        """Make changes: helpers, then DAG files, then, when these were read back, deletions. Give how the files are listed.

        Raises:
            ActionError: The first failure; what had begun is over.
        """
        helpers, dag_files, deletions = ([change for change in changes if change.stage == stage] for stage in range(3))
        map_calls(self.apply, helpers)
        map_calls(self.apply, dag_files)
        places = {change.path: change.path.rpartition("/") for change in (*helpers, *dag_files)}
        # First listed, then read: an edit in between has another time than the one in the manifest.
        folders = map_calls(self.list_folder, {folder for folder, _, _ in places.values()})
        map_calls(self.check, [*helpers, *dag_files])
        map_calls(self.apply, deletions)
        map_calls(self.check, deletions)
        found = {path: folders[folder].get(name) for path, (folder, _, name) in places.items()}
        return {path: listed for path, listed in found.items() if listed}

    def restore(self, former: Mapping[str, str | None], is_ours: Callable[[str, str], bool]) -> dict[str, str]:
        """Restore `former` texts by path, None: no file; return the problem of each file that could not be restored.

        `is_ours` says whether a text of a path is one that a deploy may have left.
        """
        problems: dict[str, str] = {}

        def put_back(change: FileChange) -> None:
            path, wanted = change.path, change.after
            try:
                text, mtime = self.read(path)
                if text and text != wanted and not is_ours(path, text):
                    problems[path] = "somebody else changed it in the meantime; their version was kept"
                elif text != wanted and (text or wanted is not None):
                    change = FileChange(path, text or None, wanted, mtime)
                    self.apply(change)
                    self.check(change)
            except ActionError as error:
                problems[path] = error.message

        changes = [FileChange(path, None, text) for path, text in former.items()]
        for stage in range(3):
            map_calls(put_back, [change for change in changes if change.stage == stage])
        return problems


def _is_same(one: str | None, other: str | None) -> bool:
    """Whether two texts are equal, apart from what a server may change; a missing file equals an empty one."""
    return hash_similar(one) == hash_similar(other)
