"""What Airflow's database held before and after DAG files were parsed again, and what that says of each file and DAG."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from dms_airflow.airflow.commands.send import Execution
from dms_airflow.airflow.commands.verdict import Verdict
from dms_airflow.airflow.dags import Dag, StoredImportError, strip_member
from dms_airflow.import_errors.instance_reader import InstanceReader, Snapshot
from dms_airflow.import_errors.parse import DagImportError, read_error

# What SQLAlchemy raises when the scheduler stores the same new DAG at that moment. The whole transaction is rolled back then,
# as if reserialize had not run, and every DAG of it is logged as not written.
_CLASH = re.compile(
    r"^(?:sqlalchemy\.[\w.]+\.)?(?:PendingRollbackError|IntegrityError|InternalError|StaleDataError)\b", re.MULTILINE
)

_UNSERIALIZED = "SerializationError: Failed to serialize DAG {dag_id!r}: {reason}"


def wait_for_reparse(
    instance: InstanceReader, before: Snapshot, paths: Iterable[str], must_be_parsed: Iterable[str]
) -> tuple[tuple[StoredImportError, ...], Sequence[str]]:
    """Request that files are parsed, and wait until the result of each is stored, or time is up.

    A result counts when two polls in a row return it: a zip's errors come and go. Without an error, files that must be parsed
    are sound only when one of their DAGs was parsed again; a file without a DAG in `before` has no time of a parse.

    Returns:
        The errors of broken files, and what is still awaited.
    """
    followed = sorted(set(paths))
    instance.request_parse(before.dags, followed)
    parsed = {dag.path for dag in before.dags if dag.file_token}.intersection(must_be_parsed)
    last: dict[str, FileState] = {}

    def fetch_state() -> tuple[tuple[StoredImportError, ...], Sequence[str]]:
        now = instance.view()
        standing = {path: judge_file(path, before, now, must_be_parsed=path in parsed) for path in followed}
        awaited = [path for path in followed if standing[path] is FileState.AWAITED or standing[path] is not last.get(path)]
        last.update(standing)
        broken = [path for path in followed if standing[path] is FileState.BROKEN]
        rows = tuple(row for path in broken for row in now.list_errors(path))
        return rows, tuple(f"the scheduler's result for {path}" for path in awaited)

    return instance.poll(fetch_state)


class FileState(Enum):
    """The result of the scheduler for a file."""

    SOUND = auto()
    BROKEN = auto()
    AWAITED = auto()


def judge_file(path: str, before: Snapshot, now: Snapshot, *, must_be_parsed: bool) -> FileState:
    """Find the scheduler's result for a file since an earlier snapshot, by the server's time stamps.

    An error that was stored again is real. One that was not, although the file was parsed again, is being removed. Without an
    error a file that must be parsed is sound as soon as one of its DAGs was parsed since.
    """
    known = {(error.path, error.timestamp) for error in before.list_errors(path)}
    errors = now.list_errors(path)
    if any((error.path, error.timestamp) not in known for error in errors):
        return FileState.BROKEN
    if errors:
        return FileState.AWAITED
    earlier, times = ({dag.last_parsed_time for dag in one.dags if dag.path == path} for one in (before, now))
    return FileState.SOUND if times - earlier - {""} or not must_be_parsed else FileState.AWAITED


# --- dags reserialize ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DatabaseChange:
    """What changed in Airflow's database.

    Args:
        written: The DAGs that were parsed since, whose files import.
        unwritten: The active DAGs that were not, although no error is known of their files.
        new_errors: The import errors that were stored since, of files of which no error was known otherwise.
    """

    written: tuple[Dag, ...]
    unwritten: tuple[Dag, ...]
    new_errors: tuple[StoredImportError, ...]


def compare_snapshots(before: Snapshot, after: Snapshot, broken: Collection[str]) -> DatabaseChange:
    """Compare the database before a command and after it; `broken` are the paths of the files that do not import."""
    times = {dag.dag_id: dag.last_parsed_time for dag in before.dags}
    known = {(error.path, error.timestamp) for error in before.errors}
    sound = [dag for dag in after.dags if strip_member(dag.path) not in broken]
    return DatabaseChange(
        written=tuple(dag for dag in sound if dag.last_parsed_time != times.get(dag.dag_id)),
        unwritten=tuple(dag for dag in sound if dag.is_active and dag.last_parsed_time == times.get(dag.dag_id)),
        new_errors=tuple(
            error
            for error in after.errors
            if (error.path, error.timestamp) not in known and strip_member(error.path) not in broken
        ),
    )


def was_rolled_back(execution: Execution, before: Snapshot, instance: InstanceReader) -> bool:
    """Whether `dags reserialize` met another writer of the database and wrote nothing: it may be run again."""
    if not _CLASH.search(f"{execution.stdout}\n{execution.outcome.reason}"):
        return False
    if execution.outcome.verdict is Verdict.FAILED:
        return True
    change = compare_snapshots(before, instance.view(), ())  # the other one may have written some DAGs
    return bool(change.unwritten) or not change.written


def find_unserialized(change: DatabaseChange, instance: InstanceReader, execution: Execution) -> tuple[DagImportError, ...]:
    """Find the DAGs that `dags reserialize` parsed and that do not serialize.

    Airflow 3 stores an import error for each. Airflow 2 has no version of such a DAG any more; its log may say why.

    Raises:
        ActionError: Airflow did not say it of each DAG.
    """
    if instance.airflow.version.stores_serialization_errors:
        return tuple(read_error(row.path, row.stack_trace) for row in change.new_errors)
    return tuple(
        read_error(dag.path, _UNSERIALIZED.format(dag_id=dag.dag_id, reason=_find_reason(dag.dag_id, execution)))
        for dag in instance.list_unserialized(change.written)
    )


def _find_reason(dag_id: str, execution: Execution) -> str:
    """Find in the command's output, whatever its form, why a DAG does not serialize."""
    pattern = rf"Failed to serialize (?:DAG|Dag) '{re.escape(dag_id)}': (?P<reason>[^\r\n]+)"
    found = re.search(pattern, f"{execution.stdout}\n{execution.stderr}")
    return found["reason"] if found else "the log of dags reserialize says why"
