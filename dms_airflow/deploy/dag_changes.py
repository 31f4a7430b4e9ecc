"""What a deploy changed of the DAGs: which appeared, which vanished, and whose schedule, tasks or edges are others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dms_airflow.airflow.dags import Dag
    from dms_airflow.import_errors.instance import Instance

MOST_COMPARED = 50  # DAGs: two requests each, before and after


@dataclass(frozen=True, kw_only=True)
class DagShape:
    """What is compared of a DAG. `edges` are pairs of task ids."""

    schedule: str = ""
    tasks: frozenset[str] = frozenset()
    edges: frozenset[tuple[str, str]] = frozenset()


def fetch_shapes(instance: Instance, dags: Collection[Dag], paths: Collection[str]) -> dict[str, DagShape | None]:
    """Fetch the active DAGs by id: the shape of those in files of the DAG folder that a deploy changes, None of the others."""
    active = {dag.dag_id: dag.path for dag in dags if dag.is_active}
    endings = tuple(f"/{path}" for path in paths)
    compared = [dag_id for dag_id, path in sorted(active.items()) if endings and path.endswith(endings)][:MOST_COMPARED]
    bases = [f"/dags/{quote(dag_id, safe='')}" for dag_id in compared]
    answers = instance.fetch_objects([*bases, *(f"{base}/tasks" for base in bases)])
    found = zip(compared, answers[: len(bases)], answers[len(bases) :], strict=True)
    return {**dict.fromkeys(active), **{dag_id: _parse_shape(dag, tasks) for dag_id, dag, tasks in found}}


def _parse_shape(dag: Mapping[str, Any], tasks: Mapping[str, Any]) -> DagShape:
    interval = dag.get("schedule_interval")  # Airflow 2: {"__type": "CronExpression", "value": "@daily"}
    summary = dag.get("timetable_summary") or (interval.get("value") if isinstance(interval, dict) else interval)
    rows = [row for row in tasks.get("tasks") or () if isinstance(row, dict)]
    return DagShape(
        schedule=str(summary or "none"),
        tasks=frozenset(str(row.get("task_id")) for row in rows),
        edges=frozenset(
            (str(row.get("task_id")), str(below)) for row in rows for below in row.get("downstream_task_ids") or ()
        ),
    )


def compare_shapes(before: Mapping[str, DagShape | None], after: Mapping[str, DagShape | None]) -> list[dict[str, Any]]:
    """List the changes as the output `dag-changes` has them: `added`, `removed` or `changed`, and what."""
    changes = [{"dag_id": one, "change": "added", "details": []} for one in after.keys() - before.keys()]
    changes += [{"dag_id": one, "change": "removed", "details": []} for one in before.keys() - after.keys()]
    for dag_id in before.keys() & after.keys():
        old, new = before[dag_id], after[dag_id]
        if old and new and old != new:
            changes.append({"dag_id": dag_id, "change": "changed", "details": _list_differences(old, new)})
    return sorted(changes, key=lambda change: str(change["dag_id"]))


def _list_differences(old: DagShape, new: DagShape) -> list[str]:
    details = [f"schedule {old.schedule} → {new.schedule}"] if old.schedule != new.schedule else []
    details += [f"task {task} added" for task in sorted(new.tasks - old.tasks)]
    details += [f"task {task} removed" for task in sorted(old.tasks - new.tasks)]
    details += [f"edge {one} → {other} added" for one, other in sorted(new.edges - old.edges)]
    return details + [f"edge {one} → {other} removed" for one, other in sorted(old.edges - new.edges)]
