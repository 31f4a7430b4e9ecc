"""Requests that DAG files are parsed again, and waits for the result: of the scheduler, or of Airflow 3's dag-processor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from dms_airflow.airflow.dags import strip_member

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dms_airflow.airflow.dags import Dag, StoredImportError
    from dms_airflow.import_errors.instance import Instance


def wait_for_reparse(
    instance: Instance, before: Snapshot, paths: Iterable[str], must_be_parsed: Iterable[str]
) -> tuple[tuple[StoredImportError, ...], Sequence[str]]:
    """Ask for files to be parsed, and wait until what became of each is stored, or time is up.

    A result counts when two polls in a row return it: a zip's errors come and go.

    Args:
        instance: The instance.
        before: What it had stored before.
        paths: Absolute paths of the instance.
        must_be_parsed: Without an error, these are sound only when one of their DAGs was parsed again. A file without a DAG
            in `before` has no time of a parse.

    Returns:
        The errors of broken files, and what is still awaited.
    """
    followed = sorted(set(paths))
    tokens = {dag.path: dag.file_token for dag in before.dags if dag.file_token}
    instance.request_parse(tokens[path] for path in followed if path in tokens)
    parsed = tokens.keys() & set(must_be_parsed)
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


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The content of Airflow's database at one moment: the DAGs first, the errors a moment later."""

    dags: Sequence[Dag]
    errors: Sequence[StoredImportError]

    def list_parse_times(self, path: str) -> set[str]:
        """When the DAGs of a file were last parsed."""
        return {dag.last_parsed_time for dag in self.dags if dag.path == path and dag.last_parsed_time}

    def list_errors(self, path: str) -> list[StoredImportError]:
        """The errors of a file; errors of a zip's members belong to the zip."""
        return [error for error in self.errors if strip_member(error.path) == path]


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
    parsed = bool(now.list_parse_times(path) - before.list_parse_times(path))
    return FileState.SOUND if parsed or not must_be_parsed else FileState.AWAITED
