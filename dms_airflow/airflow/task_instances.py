"""Task instances of a DAG run by REST, and what they do in one line.

What sends a request raises ActionError where its result is not known.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.dag_runs import SUCCESS, DagRun, locate_run
from dms_airflow.airflow.responses import parse_date, parse_page
from dms_airflow.airflow.task_logs import TaskLog, parse_response
from dms_airflow.core.errors import AnswerError
from dms_airflow.core.http.retry import TRIES

FAILED = "failed"
UPSTREAM_FAILED = "upstream_failed"
RUNNING = "running"

# https://airflow.apache.org/docs/apache-airflow/2.10.4/core-concepts/tasks.html#task-instances
FINISHED = frozenset({SUCCESS, FAILED, UPSTREAM_FAILED, "skipped", "removed"})

# States that are counted besides finished and running task instances.
_WAITING = ("up_for_retry", "up_for_reschedule", "deferred", "queued", "scheduled", "restarting")
_COUNTED = (FAILED, UPSTREAM_FAILED, "skipped", *_WAITING)
_NAMES_SHOWN = 4

MOST_INSTANCES = 20_000  # of one run; whatever the instance says, no more are requested


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task instance of a DAG run.

    Args:
        map_index: Which one of a mapped task's; -1 when the task is not mapped.
        state: One of Airflow's words; None while nothing was decided about it.
        try_number: Its last try, from 1; 0 before the first.
        max_tries: How many tries may follow the first.
        start_date: When its last try began; `end_date` and `duration`, in seconds, are of that, too.
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


def list_task_instances(airflow: AirflowClient, dag_id: str, run_id: str, *, tries: int = TRIES) -> tuple[TaskInstance, ...]:
    """List the task instances of a DAG run: one request for a hundred, two for more.

    Airflow orders pages by map_index, which is -1 for each that is not mapped: PostgreSQL then returns some on two pages and
    others on none. Only its response to a POST may contain more than a hundred; that POST changes nothing.

    Raises:
        ActionError: They are not known, or there are some and the response contains none.
    """
    path = f"{locate_run(dag_id, run_id)}/taskInstances"
    first = airflow.fetch_page(path, tries=tries)
    rows = first.rows
    if first.total > 0 and not rows:
        raise AnswerError(
            f"{airflow.locate(path)} at {airflow.url} gave none of its {first.total} task instances.",
            "The instance cut its response. Open the run's page.",
        )
    if first.total > len(rows):
        body = json.dumps({"dag_ids": [dag_id], "dag_run_ids": [run_id], "page_limit": min(first.total, MOST_INSTANCES)})
        response = airflow.request("POST", "/dags/~/dagRuns/~/taskInstances/list", body=body, repeatable=True, tries=tries)
        page = parse_page(response)
        rows += page.rows if page else []
        if not page or len(page.rows) < min(first.total, MOST_INSTANCES):  # it was rejected, or cut
            rows += airflow.fetch_list(path, tries=tries)
    found = map(parse_task_instance, rows)
    return tuple({(one.task_id, one.map_index): one for one in found}.values())


def fetch_log(airflow: AirflowClient, run: DagRun, instance: TaskInstance) -> TaskLog:
    """Fetch the log of a task instance's last try."""
    task = f"{locate_run(run.dag_id, run.run_id)}/taskInstances/{quote(instance.task_id, safe='')}"
    path = f"{task}/logs/{instance.try_number}"
    query = f"map_index={instance.map_index}" if instance.map_index >= 0 else ""
    response = airflow.request("GET", path, query=query, accept=airflow.version.log_media_type)
    if response.status != HTTPStatus.OK:
        raise airflow.make_error(response, f"GET {airflow.locate(path)}")
    return parse_response(response)


def has_free_slot(airflow: AirflowClient, pool: str) -> bool:
    """Whether a pool has a free slot."""
    slots = (airflow.fetch_object(f"/pools/{quote(pool, safe='')}") or {}).get("open_slots")
    return not isinstance(slots, int) or slots > 0


def parse_task_instance(content: Mapping[str, Any]) -> TaskInstance:
    """Parse a task instance; what is missing or of another type counts as not known."""
    state, duration = content.get("state"), content.get("duration")
    return TaskInstance(
        task_id=str(content.get("task_id", "")),
        map_index=_to_number(content.get("map_index"), -1),
        state=state if isinstance(state, str) else None,
        try_number=_to_number(content.get("try_number"), 0),
        max_tries=_to_number(content.get("max_tries"), 0),
        start_date=parse_date(content.get("start_date")),
        end_date=parse_date(content.get("end_date")),
        # A clock that was set back makes it negative.
        duration=float(duration) if isinstance(duration, int | float) and duration >= 0 else None,
        pool=str(content.get("pool") or ""),
    )


def _to_number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def describe_progress(state: str, instances: Sequence[TaskInstance]) -> str:
    """Say in one line how far a DAG run is: what is done, what runs, what failed."""
    if not instances:
        return state
    counts = Counter(one.state for one in instances)
    parts = [state, f"{sum(one.is_finished for one in instances)} of {len(instances)} tasks done"]
    parts += [f"{counts[word]} {word.replace('_', ' ')}" for word in _COUNTED if counts[word]]
    if running := join_names(instances, {RUNNING}):
        parts.append(f"{counts[RUNNING]} running: {running}")
    return ", ".join(parts)


def join_names(instances: Iterable[TaskInstance], states: Iterable[str | None]) -> str:
    """Name the first task instances in some states, and count the rest."""
    wanted = frozenset(states)
    names = [one.name for one in instances if one.state in wanted]
    rest = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + rest
