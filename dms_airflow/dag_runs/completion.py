"""Waiting for DAG runs to their end, to the end of the time, or until the workflow is cancelled; and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from threading import Thread
from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import SUCCESS, fail_run
from dms_airflow.core.errors import ActionError, AnswerTimeoutError, Cancelled
from dms_airflow.core.result import Ending
from dms_airflow.dag_runs.wait import Watch, wait_for_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.dag_runs import DagRun
    from dms_airflow.airflow.task_instances import TaskInstance
    from dms_airflow.core.clock import Clock
    from dms_airflow.operations.context import Context

# GitHub sends SIGINT, 7.5 s later SIGTERM, and 2.5 s later it kills (docs/architecture.md): all must be written by then.
# A step whose time has run out does not take longer either.
ABANDON_SECONDS = 3.0

# Seconds for the requests of the report: after time ran out (the end of the runs included), and after the runs have ended.
TIMEOUT_SECONDS = 3.5
REPORT_SECONDS = 60.0

ABANDON_PAUSE = 0.3  # seconds until a run that may be created in this moment is requested again


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What became of one DAG run.

    Args:
        run: The run at the end of the step.
        state: Its last state before the step ended it.
        instances: Its task instances.
        ending: How it counts.
        fate: What became of a run that was not waited for to its end; empty for one that ended.
        stall: Why nothing happened in it, if that is known.
        error: What ended the wait, if the run did not end.
    """

    run: DagRun
    state: str
    instances: tuple[TaskInstance, ...]
    ending: Ending
    fate: str = ""
    stall: str = ""
    error: ActionError | None = None


@dataclass(frozen=True, kw_only=True)
class WaitOptions:
    """How DAG runs are waited for.

    Args:
        deadline: On the clock.
        poll_interval: Seconds between two polls; None: soon at first, then rarer.
        on_cancel: ``leave`` or ``fail-run``: what becomes of runs that are not waited for to their end.
    """

    deadline: float
    poll_interval: float | None
    on_cancel: str


def complete(runs: Sequence[DagRun], terms: WaitOptions, airflow: AirflowClient, context: Context) -> tuple[Completion, ...]:
    """Wait for DAG runs.

    Args:
        runs: As they were triggered.
        terms: For how long, how often, and what to do after that.
        airflow: The client.
        context: The clock and the log.
    """
    watches = [Watch(run=run) for run in runs]
    ending = Ending.TIMEOUT
    try:
        wait_for_runs(watches, airflow, context, deadline=terms.deadline, poll_interval=terms.poll_interval)
    except Cancelled:
        ending = Ending.CANCELLED
    left = [watch.run for watch in watches if not watch.is_over]
    now = context.clock.monotonic()
    airflow.deadline = max(terms.deadline, now) + TIMEOUT_SECONDS if left else now + REPORT_SECONDS
    fates = abandon(left, terms.on_cancel, airflow, context.clock)
    return tuple(
        Completion(
            run=replace(watch.run, state="failed") if fate is ENDED else watch.run,
            state=watch.run.state,
            instances=watch.instances,
            ending=_judge(watch) or ending,
            fate=fate.message,
            stall=watch.stall,
            error=watch.error,
        )
        for watch in watches
        for fate in [fates.get((watch.run.dag_id, watch.run.run_id), NOT_ABANDONED)]
    )


def _judge(watch: Watch) -> Ending | None:
    """How a run counts that has ended; None for another. One without a task instance did nothing, whatever its state is."""
    if not watch.is_over:
        return None
    return Ending.SUCCESS if not watch.error and watch.run.state == SUCCESS and watch.instances else Ending.FAILURE


@dataclass(frozen=True, kw_only=True)
class RunFate:
    """What became of a DAG run that was not waited for to its end."""

    message: str


NOT_ABANDONED = RunFate(message="")
ENDED = RunFate(message="It was set to failed (on-cancel: fail-run), and its running tasks too.")
LEFT = RunFate(message="It continues (on-cancel: leave).")
PERHAPS_LEFT = RunFate(message="If it was created, it continues (on-cancel: leave).")
MISSING = RunFate(message="It did not exist, so it was not ended (on-cancel: fail-run). It may be created a moment later.")
UNANSWERED = RunFate(
    message="Airflow was requested to end it (on-cancel: fail-run), but did not answer in time: check its state in Airflow."
)


def abandon(
    runs: Sequence[DagRun], on_cancel: str, airflow: AirflowClient, clock: Clock, *, are_known: bool = True
) -> dict[tuple[str, str], RunFate]:
    """Leave or end unfinished DAG runs, as the author wants.

    Args:
        runs: The runs.
        on_cancel: ``leave`` or ``fail-run``.
        airflow: The client.
        clock: For the limit of ABANDON_SECONDS.
        are_known: False: a run that does not exist may exist soon, since its request may have been on its way.

    Returns:
        What became of each run, by DAG id and run id.
    """
    until = clock.monotonic() + ABANDON_SECONDS
    if on_cancel == "leave":
        return {(run.dag_id, run.run_id): LEFT if are_known else PERHAPS_LEFT for run in runs}
    fates = {(run.dag_id, run.run_id): UNANSWERED for run in runs}

    def end(run: DagRun) -> None:
        key = run.dag_id, run.run_id
        while (left := until - clock.monotonic()) > 0:
            try:
                fail_run(airflow, *key, timeout=left)
            except AnswerTimeoutError:
                return  # UNANSWERED
            except ActionError as error:
                is_missing = error.status == HTTPStatus.NOT_FOUND
                failed = RunFate(message=f"It could not be ended (on-cancel: fail-run), and may continue: {error.message}")
                fates[key] = MISSING if is_missing else failed
                if are_known or not is_missing:
                    return
                clock.sleep(ABANDON_PAUSE)
            else:
                fates[key] = ENDED
                return

    _do_all([lambda run=run: end(run) for run in runs], ABANDON_SECONDS)  # type: ignore[misc]
    return dict(fates)


def _do_all(jobs: Sequence[Callable[[], None]], seconds: float) -> None:
    """Run jobs in parallel, and stop waiting for them after so many seconds: a login during a request has no time limit."""
    threads = [Thread(target=job, daemon=True) for job in jobs]

    def wait() -> None:
        for thread in threads:
            thread.join()

    waiter = Thread(target=wait, daemon=True)
    for thread in (*threads, waiter):
        thread.start()
    waiter.join(seconds)
