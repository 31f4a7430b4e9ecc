"""What `dags reserialize` did, from what Airflow's database held before it and after it: its output does not say it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.airflow.dags import strip_member
from dms_airflow.import_errors.parse import read_error

if TYPE_CHECKING:
    from collections.abc import Collection

    from dms_airflow.airflow.commands.send import Execution
    from dms_airflow.airflow.dags import Dag, StoredImportError
    from dms_airflow.import_errors.instance import Instance
    from dms_airflow.import_errors.parse import DagImportError
    from dms_airflow.import_errors.reparse import Snapshot

_UNSERIALIZED = "SerializationError: Failed to serialize DAG {dag_id!r}: {reason}"
_SEE_LOG = "the log of dags reserialize says why"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What changed in Airflow's database.

    Args:
        written: The DAGs that were parsed since, whose files import.
        unwritten: The active DAGs that were not, although no error is known of their files.
        new_errors: The import errors that were stored since, of files of which no error was known otherwise.
    """

    written: tuple[Dag, ...]
    unwritten: tuple[Dag, ...]
    new_errors: tuple[StoredImportError, ...]


def compare_snapshots(before: Snapshot, after: Snapshot, broken: Collection[str]) -> Change:
    """Compare two views of the database.

    Args:
        before: Before the command.
        after: After it.
        broken: The absolute paths of the files that do not import.
    """
    times = {dag.dag_id: dag.last_parsed_time for dag in before.dags}
    known = {(error.path, error.timestamp) for error in before.errors}
    sound = [dag for dag in after.dags if strip_member(dag.path) not in broken]
    return Change(
        written=tuple(dag for dag in sound if dag.last_parsed_time != times.get(dag.dag_id)),
        unwritten=tuple(dag for dag in sound if dag.is_active and dag.last_parsed_time == times.get(dag.dag_id)),
        new_errors=tuple(
            error
            for error in after.errors
            if (error.path, error.timestamp) not in known and strip_member(error.path) not in broken
        ),
    )


def find_unserialized(change: Change, instance: Instance, execution: Execution) -> tuple[DagImportError, ...]:
    """Find the DAGs that were parsed and do not serialize.

    Airflow 3 stores an import error for each. Airflow 2 no longer has a version of such a DAG, and its log may say why.

    Args:
        change: What `dags reserialize` changed.
        instance: Where it ran.
        execution: How it ended, and its log.

    Raises:
        ActionError: Airflow did not say it of each DAG.
    """
    if instance.version.stores_serialization_errors:
        return tuple(read_error(row.path, row.stack_trace) for row in change.new_errors)
    return tuple(
        read_error(dag.path, _UNSERIALIZED.format(dag_id=dag.dag_id, reason=_find_reason(dag.dag_id, execution)))
        for dag in instance.list_unserialized(change.written)
    )


def _find_reason(dag_id: str, execution: Execution) -> str:
    """Find in the command's output, whatever its form, why a DAG does not serialize."""
    pattern = rf"Failed to serialize (?:DAG|Dag) '{re.escape(dag_id)}': (?P<reason>[^\r\n]+)"
    found = re.search(pattern, f"{execution.stdout}\n{execution.stderr}")
    return found["reason"] if found else _SEE_LOG
