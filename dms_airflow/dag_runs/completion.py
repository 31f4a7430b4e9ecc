"""Waiting for DAG runs to their end, to the end of the time, or until the workflow is cancelled; and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import SUCCESS, fail_run
from dms_airflow.core.errors import ActionError, AnswerError, AnswerTimeoutError, Cancelled
from dms_airflow.core.result import Ending
from dms_airflow.dag_runs.wait import Watch, wait_for_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.dag_runs import DagRun
    from dms_airflow.airflow.task_instances import TaskInstance
    from dms_airflow.core.clock import Clock
    from dms_airflow.operations.context import Context

# GitHub sends SIGINT, 7.5 s later SIGTERM, and 2.5 s later it kills (docs/how-it-works.md): all must be written by then.
# Who waits for a time limit is not kept longer either.
ABANDON_SECONDS = 3.0

# What is told of runs may take so long to be asked for: once time is up, with what is done with them, or once they ended.
TIMEOUT_SECONDS = 3.5
REPORT_SECONDS = 60.0

ABANDON_PAUSE = 0.3  # seconds until a run that is perhaps only being made is asked for again
_NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What became of one DAG run.

    Args:
        run: The run as it is left behind.
        state: The one that it had when it was looked at last, before it was ended.
        instances: Its task instances.
        ending: How it counts.
        fate: What became of a run that was not waited for to its end; empty for one that ended.
        stall: Why it did nothing, where that was found out.
        error: What ended the wait for it, where that was not its end.
    """

    run: DagRun
    state: str
    instances: tuple[TaskInstance, ...]
    ending: Ending
    fate: str = ""
    stall: str = ""
    error: ActionError | None = None


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How DAG runs are waited for.

    Args:
        deadline: On the clock.
        poll_interval: Seconds between two looks; None: soon at first, then rarer.
        on_cancel: ``leave`` or ``fail-run``: what becomes of runs that are not waited for to their end.
    """

    deadline: float
    poll_interval: float | None
    on_cancel: str


def complete(runs: Sequence[DagRun], terms: Terms, airflow: AirflowClient, context: Context) -> tuple[Completion, ...]:
    """Wait for DAG runs.

    Args:
        runs: As they were triggered.
        terms: For how long, how often, and what then.
        airflow: Asks.
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
            run=replace(watch.run, state="failed") if fate == ENDED else watch.run,
            state=watch.run.state,
            instances=watch.instances,
            ending=_judge(watch) or ending,
            fate=fate,
            stall=watch.stall,
            error=watch.error,
        )
        for watch in watches
        for fate in [fates.get((watch.run.dag_id, watch.run.run_id), "")]
    )


def _judge(watch: Watch) -> Ending | None:
    """Judge a run that has ended. One without a task instance did nothing, whatever its state says."""
    if not watch.is_over:
        return None
    return Ending.SUCCESS if not watch.error and watch.run.state == SUCCESS and watch.instances else Ending.FAILURE


ENDED = "It was set to failed (on-cancel: fail-run), its running tasks with it."
LEFT = "It goes on (on-cancel: leave)."
PERHAPS_LEFT = "If it was made, it goes on (on-cancel: leave)."
MISSING = "It was not there to be ended (on-cancel: fail-run): it was not made, or is only being made now."


def abandon(
    runs: Sequence[DagRun], on_cancel: str, airflow: AirflowClient, clock: Clock, *, are_known: bool = True
) -> dict[tuple[str, str], str]:
    """Do with unfinished DAG runs what the author wants, and say of each what became of it.

    Args:
        runs: The runs.
        on_cancel: ``leave`` or ``fail-run``.
        airflow: Asks.
        clock: What is not done after ABANDON_SECONDS is said not to be known.
        are_known: False: a run that is not there may be there soon, since its request may have been on its way.
    """
    until = clock.monotonic() + ABANDON_SECONDS
    if on_cancel == "leave":
        return {(run.dag_id, run.run_id): LEFT if are_known else PERHAPS_LEFT for run in runs}
    fates = {
        (run.dag_id, run.run_id): "It was asked to end (on-cancel: fail-run), but Airflow did not answer in time: look there."
        for run in runs
    }

    def end(run: DagRun) -> None:
        key = run.dag_id, run.run_id
        while (left := until - clock.monotonic()) > 0:
            try:
                fail_run(airflow, *key, timeout=left)
            except AnswerTimeoutError:
                return  # as is told of it already
            except ActionError as error:
                is_missing = isinstance(error, AnswerError) and error.status == _NOT_FOUND
                fates[key] = (
                    MISSING if is_missing else f"It could not be ended (on-cancel: fail-run), and may go on: {error.message}"
                )
                if are_known or not is_missing:
                    return
                clock.sleep(ABANDON_PAUSE)
            else:
                fates[key] = ENDED
                return

    _do_all([lambda run=run: end(run) for run in runs], ABANDON_SECONDS)  # type: ignore[misc]
    return dict(fates)


def _do_all(jobs: Sequence[Callable[[], None]], seconds: float) -> None:
    """Do things side by side for so long at most; a login in the middle of a request knows no time limit."""
    threads = [Thread(target=job, daemon=True) for job in jobs]

    def wait() -> None:
        for thread in threads:
            thread.join()

    waiter = Thread(target=wait, daemon=True)
    for thread in (*threads, waiter):
        thread.start()
    waiter.join(seconds)
