"""Waiting for DAG runs: polled often at first, then less often, through minutes without a response."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.dag_runs import QUEUED, DagRun, count_running, fetch_run
from dms_airflow.airflow.dags import fetch_dag
from dms_airflow.airflow.health import fetch_health
from dms_airflow.airflow.task_instances import (
    RUNNING,
    TaskInstance,
    describe_progress,
    has_free_slot,
    join_names,
    list_task_instances,
)
from dms_airflow.core.errors import ActionError, AnswerError, AnswerTimeoutError, UnknownHostError
from dms_airflow.core.http.retry import is_transient_status
from dms_airflow.core.polling import choose_pause
from dms_airflow.core.result import Ending
from dms_airflow.core.text import format_elapsed

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

# Of the pauses between two polls (core/polling): as a share of the time that has passed, and in seconds.
RUN_PAUSE_SHARE = 0.2
RUN_LONGEST_PAUSE = 15.0

# How long errors may last that are not transient: a missing permission, a refused login.
ERROR_LIMIT = 120.0  # seconds
# How long Airflow may answer that the run does not exist: a replica of the database may be late; a deleted run stays deleted.
GONE_AFTER = 20.0  # seconds

# The last poll, when time is up, may take this long.
LAST_POLL = 1.0  # seconds

# A run in which nothing happens is explained after so many seconds, and again when the reason may have changed.
STALL_SECONDS = (10.0, 60.0, 300.0, math.inf)

UNKNOWN_STALL = "Airflow gives no reason; the scheduler may be busy"


@dataclass
class WatchedRun:
    """One DAG run as the last poll saw it, and what became of it in the end.

    Args:
        run: Its state; after the wait, the state in which the step left it.
        path: The instance's path of its DAG file.
        instances: Its task instances.
        progress: How far it is, in a line; empty before the first poll.
        stall: Why nothing happens in it, if that is known.
        error: What ended the wait before the run's end; or why the run was not created: it has no run id then.
        ending: How it counts, after the wait.
        fate: What became of a run that was not waited for to its end; empty for one that ended.
        retry_after: Seconds to wait, as the last response requested.
    """

    run: DagRun
    path: str = ""
    instances: tuple[TaskInstance, ...] = ()
    progress: str = ""
    stall: str = ""
    error: ActionError | None = None
    ending: Ending = Ending.SUCCESS
    fate: str = ""
    retry_after: float = 0.0
    _changed_at: float = 0.0
    _missing_since: float = math.inf
    _silent_since: float | None = None
    _explanations: int = 0

    @property
    def is_over(self) -> bool:
        """Whether no further poll is needed. A run that had ended before the first poll is polled once."""
        return self.error is not None or (self.run.is_finished and bool(self.progress))

    def poll(self, airflow: AirflowClient, now: float) -> Iterator[str]:
        """Read the run and its task instances once, and give what is new as lines for the log."""
        ids, self.retry_after = (self.run.dag_id, self.run.run_id), 0.0
        try:
            run = fetch_run(airflow, *ids, tries=1)
            # After the run: the task instances of a run that has ended do not change any more.
            instances = list_task_instances(airflow, *ids, tries=1) if run else ()
        except ActionError as error:
            yield from self._note_error(error, now)
            return
        if self._silent_since is not None:
            yield f"Airflow responds again after {now - self._silent_since:.0f} s."
            self._silent_since = None
        if run is None:
            self._note_missing(now)
            return
        if (run.state, instances) != (self.run.state, self.instances) or not self.progress:
            self._changed_at, self._explanations, self.stall = now, 0, ""
        self.run, self.instances, self._missing_since = run, instances, math.inf
        progress = describe_progress(run.state, instances)
        if progress != self.progress:
            self.progress = progress
            yield progress
        yield from self._explain(airflow, now)

    def _note_missing(self, now: float) -> None:
        """Note that Airflow does not know the run, and end the wait when it has not known it for too long."""
        self._missing_since = min(self._missing_since, now)
        if now - self._missing_since >= GONE_AFTER:
            message = f"The DAG run {self.run.run_id} of {self.run.dag_id} no longer exists."
            hint = "The run or its DAG was deleted during the wait. Trigger it again."
            self.error = ActionError(message, hint, title="DAG run gone")

    def _note_error(self, error: ActionError, now: float) -> Iterator[str]:
        """Note a failed poll, and end the wait when polls have failed for too long."""
        self.retry_after = error.retry_after
        passes = (
            error.is_transient
            or isinstance(error, UnknownHostError)
            or (isinstance(error, AnswerError) and (error.status is None or is_transient_status(error.status)))
        )
        if self._silent_since is None:
            self._silent_since = now
            yield f"{error.message} Still waiting."
        elif not passes and now - self._silent_since >= ERROR_LIMIT:
            self.error = error

    def _explain(self, airflow: AirflowClient, now: float) -> Iterator[str]:
        """Find out why nothing happens."""
        seconds = now - self._changed_at
        is_running = any(one.state == RUNNING for one in self.instances)
        if self.run.is_finished or is_running or seconds < STALL_SECONDS[self._explanations]:
            return
        self._explanations += 1
        try:
            reason = explain_stall(self.run, self.instances, airflow)
        except ActionError:
            return
        if reason != self.stall:
            self.stall = reason
            yield f"{self.run.state}, nothing new for {seconds:.0f} s: {reason}"


def wait_for_runs(watches: Sequence[WatchedRun], context: Context, *, poll_interval: float | None) -> None:
    """Poll DAG runs until all have ended, or until the client's deadline, which is then later by the time of the last poll.

    `poll_interval` is in seconds; without it the pause grows with the time passed.
    """
    airflow, clock = context.airflow, context.clock
    began, deadline = clock.monotonic(), airflow.deadline

    def poll(watch: WatchedRun) -> list[str]:
        return list(watch.poll(airflow, clock.monotonic()))

    airflow.deadline = deadline + LAST_POLL
    while unfinished := [watch for watch in watches if not watch.is_over]:
        left = deadline - clock.monotonic()
        if left <= 0:
            return
        pause = poll_interval or choose_pause(clock.monotonic() - began, share=RUN_PAUSE_SHARE, longest=RUN_LONGEST_PAUSE)
        clock.sleep(min(left, max(pause, *(watch.retry_after for watch in unfinished))))
        try:
            news = airflow.map(poll, unfinished)
        except AnswerTimeoutError:
            return
        for watch, lines in zip(unfinished, news, strict=True):
            prefix = f"{watch.run.dag_id}: " if len(watches) > 1 else ""
            for line in lines:
                context.log.info(f"{format_elapsed(clock.monotonic() - began):>8}  {prefix}{line}")


# --- why nothing happens --------------------------------------------------------------------------------------------------


def explain_stall(run: DagRun, instances: Sequence[TaskInstance], airflow: AirflowClient) -> str:
    """Explain why a DAG run of which no task instance is running does not start or continue."""
    dag = fetch_dag(airflow, run.dag_id)
    if dag and dag.is_paused:
        return f"DAG {run.dag_id} is paused; unpause it, or set on-paused: unpause"
    health = fetch_health(airflow)
    if health.unhealthy:
        return f"the instance is not healthy: {'; '.join(map(str, health.unhealthy))}"
    if run.state == QUEUED:
        running = count_running(airflow, run.dag_id)
        if dag and dag.max_active_runs and running >= dag.max_active_runs:
            return f"{running} runs of {run.dag_id} are running, and its max_active_runs is {dag.max_active_runs}"
        return UNKNOWN_STALL
    return _explain_tasks(instances, airflow, has_triggerer=health.has_triggerer)


def _explain_tasks(instances: Sequence[TaskInstance], airflow: AirflowClient, *, has_triggerer: bool) -> str:
    for state, why in (
        ("deferred", "the triggerer waits for them" if has_triggerer else "the instance runs no triggerer to resume them"),
        ("up_for_reschedule", "a sensor checks again later"),
        ("up_for_retry", "they failed and are retried after their retry_delay"),
    ):
        if names := join_names(instances, {state}):
            return f"{names} {state.replace('_', ' ')}: {why}"
    waiting = [one for one in instances if not one.is_finished]
    for pool in sorted({one.pool for one in waiting if one.pool}):
        if not has_free_slot(airflow, pool):
            return f"the pool {pool} has no free slot for {join_names(waiting, {one.state for one in waiting})}"
    if names := join_names(instances, {"queued"}):
        return f"{names} queued: no worker has taken them yet (parallelism of the executor, workers of the instance)"
    return UNKNOWN_STALL
