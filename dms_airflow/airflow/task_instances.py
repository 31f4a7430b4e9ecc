"""Task instances of a DAG run: what they are doing, counted and told in one line. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.dag_runs import SUCCESS, read_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

FAILED = "failed"
UPSTREAM_FAILED = "upstream_failed"
RUNNING = "running"

# https://airflow.apache.org/docs/apache-airflow/2.10.4/core-concepts/tasks.html#task-instances
FINISHED = frozenset({SUCCESS, FAILED, UPSTREAM_FAILED, "skipped", "removed"})

# States told by number beside those that are done and those that run, in words.
_TOLD = {
    FAILED: "failed",
    UPSTREAM_FAILED: "upstream failed",
    "skipped": "skipped",
    "up_for_retry": "to be retried",
    "up_for_reschedule": "to be looked at again",
    "deferred": "deferred",
    "queued": "queued",
    "scheduled": "scheduled",
    "restarting": "restarting",
}
_NAMES_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task instance of a DAG run.

    Args:
        task_id: Its task.
        map_index: Which one of a mapped task's; -1 when the task is not mapped.
        state: One of Airflow's words; None while nothing was decided about it.
        try_number: Its last try, from 1; 0 before the first.
        max_tries: How many tries may follow the first.
        start_date: When its last try began.
        end_date: When that ended.
        duration: Seconds of its last try.
        pool: Where it takes its slots from.
    """

    task_id: str
    map_index: int = -1
    state: str | None = None
    try_number: int = 0
    max_tries: int = 0
    start_date: datetime | None = None
    end_date: datetime | None = None
    duration: float | None = None
    pool: str = ""

    @property
    def name(self) -> str:
        """The task's id, and the index of a mapped one."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in FINISHED


def read_task_instance(told: Mapping[str, Any]) -> TaskInstance:
    """Read a task instance; what is missing or of another type is taken for not known."""
    state, duration = told.get("state"), told.get("duration")
    return TaskInstance(
        task_id=str(told.get("task_id", "")),
        map_index=_read_number(told.get("map_index"), -1),
        state=state if isinstance(state, str) else None,
        try_number=_read_number(told.get("try_number"), 0),
        max_tries=_read_number(told.get("max_tries"), 0),
        start_date=read_date(told.get("start_date")),
        end_date=read_date(told.get("end_date")),
        # A clock that was set back makes it negative.
        duration=float(duration) if isinstance(duration, int | float) and duration >= 0 else None,
        pool=str(told.get("pool") or ""),
    )


def _read_number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def read_upstream(told: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Read from a DAG's list of tasks which tasks each one waits for."""
    upstream: dict[str, set[str]] = {}
    tasks = told.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        if not isinstance(task, dict):
            continue
        upstream.setdefault(str(task.get("task_id")), set())
        for below in task.get("downstream_task_ids") or []:
            upstream.setdefault(str(below), set()).add(str(task.get("task_id")))
    return {task_id: frozenset(above) for task_id, above in upstream.items()}


def describe_progress(state: str, instances: Sequence[TaskInstance]) -> str:
    """Say in one line how far a DAG run is: what is done, what runs, what failed."""
    if not instances:
        return state
    counts = Counter(one.state for one in instances)
    parts = [state, f"{sum(one.is_finished for one in instances)} of {len(instances)} tasks done"]
    parts += [f"{counts[word]} {told}" for word, told in _TOLD.items() if counts[word]]
    if running := name_some(instances, {RUNNING}):
        parts.append(f"{counts[RUNNING]} running: {running}")
    return ", ".join(parts)


def name_some(instances: Iterable[TaskInstance], states: Iterable[str | None]) -> str:
    """Name the first task instances in some states, and count the rest."""
    wanted = frozenset(states)
    names = [one.name for one in instances if one.state in wanted]
    rest = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + rest
