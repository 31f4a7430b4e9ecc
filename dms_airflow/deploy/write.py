"""Reads and writes files of the target folder, each only if it was not changed since it was read, and restores them.

The guard is the server's: a save with the modification time that was read fails when the file has another. A deletion, and a
save without a known time, have none; the file is read right before them.
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dms_airflow.checkout.dag_files import might_define_dag
from dms_airflow.core.errors import ActionError, ConflictError, DeployError, WorkspaceDeniedError, WorkspaceError
from dms_airflow.core.http.retry import retry
from dms_airflow.deploy.manifest import hash_similar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dms_airflow.alibaba_cloud.workspace import Listed, Workspace
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.log import Log

T = TypeVar("T")
R = TypeVar("R")

ROOT = "/Workspace/code"

CALLS_AT_ONCE = 4
WAIT_SLICE = 0.5  # seconds

HINT_CONFLICT = "Another deploy, or a person in DMS's console, changed the same folder. Their version was not overwritten."
HINT_ALTERED = "Run the step again; if it fails again, compare the file in DMS's console (WORKSPACE) with the repository."


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
    pool = ThreadPoolExecutor(CALLS_AT_ONCE)
    waiting = futures = [pool.submit(function, item) for item in items]
    try:
        # By slices: a signal that comes just before Python begins to wait is seen only when it has waited.
        while waiting and not any(future.exception() for future in futures if future.done()):
            waiting = [*wait(waiting, timeout=WAIT_SLICE, return_when=FIRST_EXCEPTION).not_done]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=True, cancel_futures=True)
    over = [future for future in futures if not future.cancelled()]
    return [future.result() for future in [one for one in over if one.exception()] or futures]


class Change(NamedTuple):
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


class Writer:
    """Writes below one folder of a workspace. No text is ever printed.

    Args:
        workspace: The workspace.
        target: The folder.
        clock: For the pauses between tries.
        log: For tries, and for what the server changed in a text.
        force: Overwrite a file that the server does not accept with its own modification time.
    """

    def __init__(self, workspace: Workspace, target: str, *, clock: Clock, log: Log, force: bool = False) -> None:
        self._workspace = workspace
        self._target = target
        self._clock = clock
        self._log = log
        self._force = force

    def read(self, path: str) -> tuple[str | None, str]:
        """Read a file's text and modification time; None when it is not there."""
        return read_file(self._workspace, f"{self._target}/{path}")

    def apply(self, change: Change) -> None:
        """Make one change, unless somebody else changed the file first. Doing it again does no harm.

        After a refusal or a lost response the file itself says what happened: the code of a conflict is not documented.

        Raises:
            ConflictError: Somebody did.
            ActionError: It was not made, or it is not known.
        """
        mtime = change.mtime
        is_sent, must_read = False, not mtime or change.kind != "changed"

        def attempt() -> None:
            nonlocal mtime, is_sent, must_read
            refusal: WorkspaceError | None = None
            for refusals in range(4):
                if must_read:
                    text, mtime = self.read(change.path)
                    if (text == change.after and change.kind != "created") or (is_sent and _is_same(text, change.after)):
                        return None
                    if not _is_same(text, change.before):
                        message = f"{self._target}/{change.path} was changed by somebody else while the deploy ran."
                        raise ConflictError(message, HINT_CONFLICT)
                # Refused although it was not changed: again with the newest time, then by force if that is allowed.
                is_forced = refusals == 2 or (refusals == 1 and not mtime)  # noqa: PLR2004
                if refusal and (change.kind != "changed" or refusals > 2 or (is_forced and mtime and not self._force)):  # noqa: PLR2004
                    raise refusal
                is_sent = must_read = True
                try:
                    return self._send(change, mtime, is_forced=is_forced)
                except WorkspaceError as error:
                    if isinstance(error, WorkspaceDeniedError) or error.is_transient:
                        raise
                    refusal = error
            return None

        retry(attempt, clock=self._clock, log=self._log)

    def _send(self, change: Change, mtime: str, *, is_forced: bool) -> None:
        path = f"{self._target}/{change.path}"
        if change.after is None:
            self._workspace.delete(path)
        else:
            self._workspace.save(path, change.after, mtime="" if is_forced else mtime, force=is_forced)

    def apply_all(self, changes: Iterable[Change]) -> dict[str, Listed]:
        """Make changes: helpers, then DAG files, then, when these were read back, deletions. Give how they are listed then.

        Raises:
            ActionError: The first failure; what had begun is over.
        """
        helpers, dag_files, deletions = ([change for change in changes if change.stage == stage] for stage in range(3))
        map_calls(self.apply, helpers)
        map_calls(self.apply, dag_files)
        listed = self.verify([*helpers, *dag_files])
        map_calls(self.apply, deletions)
        self.verify(deletions)
        return listed

    def verify(self, changes: Iterable[Change]) -> dict[str, Listed]:
        """Read the changed files back, and return the workspace's entries of them.

        Raises:
            ConflictError: A file is not as it was written.
        """
        changes = list(changes)
        folders = sorted({change.path.rpartition("/")[0] for change in changes})
        # First listed, then read: an edit in between has another time than the one in the manifest.
        contents = map_calls(lambda folder: find_folder(self._workspace, f"{self._target}/{folder}".rstrip("/")) or {}, folders)
        found = zip(folders, contents, strict=True)
        listed = {f"{folder}/{name}".lstrip("/"): one for folder, names in found for name, one in names.items()}

        def check(change: Change) -> None:
            text, _ = self.read(change.path) if change.after is not None or change.path in listed else (None, "")
            # An empty file may be read as a missing one; the listing may leave out those with a dot in front.
            is_lost = change.after == "" and change.path not in listed and not change.path.rpartition("/")[2].startswith(".")
            if is_lost or not _is_same(text, change.after):
                message = f"{self._target}/{change.path} differs from what was written; it was read back immediately."
                raise ConflictError(message, HINT_ALTERED)
            if text != change.after:
                self._log.info(f"{change.path}: the workspace changed its byte order mark, line ends or final line feed.")

        map_calls(check, changes)
        return {change.path: listed[change.path] for change in changes if change.path in listed}

    def restore(self, former: Mapping[str, str | None], is_ours: Callable[[str, str], bool]) -> dict[str, str]:
        """Restore files; return the problem of each file that could not be restored, by its path.

        Args:
            former: What they were; None: not there.
            is_ours: Whether a text of a path is one that a deploy may have left.
        """
        problems: dict[str, str] = {}
        changes: dict[str, Change] = {}

        def compare(path: str) -> None:
            with _record(problems, path):
                text, mtime = self.read(path)
                if text and text != former[path] and not is_ours(path, text):
                    raise ConflictError("somebody else changed it in the meantime; their version was kept", "")
                if text != former[path] and (text or former[path]):
                    changes[path] = Change(path, text or None, former[path], mtime)

        def write(change: Change) -> None:
            with _record(problems, change.path):
                self.apply(change)
                self.verify([change])

        map_calls(compare, former)
        for stage in range(3):
            map_calls(write, [change for change in changes.values() if change.stage == stage])
        return problems


@contextmanager
def _record(problems: dict[str, str], path: str) -> Iterator[None]:
    try:
        yield
    except ActionError as error:
        problems[path] = error.message


def _is_same(one: str | None, other: str | None) -> bool:
    """Whether two texts are equal, apart from what a server may change; a missing file equals an empty one."""
    return hash_similar(one or "") == hash_similar(other or "")
