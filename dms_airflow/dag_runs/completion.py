"""Waiting for DAG runs to their end, to the end of the time, or until the workflow is cancelled; and what becomes of them."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.run import TimedParams
from dms_airflow.airflow.dag_runs import SUCCESS, fail_run
from dms_airflow.core.errors import ActionError, AnswerTimeoutError, Cancelled
from dms_airflow.core.inputs import input_field, parse_boolean, parse_choice, parse_duration, parse_json_object, parse_text
from dms_airflow.core.result import Ending
from dms_airflow.core.secrets.values import find_secrets
from dms_airflow.dag_runs.wait import wait_for_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.dag_runs import DagRun
    from dms_airflow.core.clock import Clock
    from dms_airflow.dag_runs.trigger import RunRequest
    from dms_airflow.dag_runs.wait import WatchedRun
    from dms_airflow.operations.context import Context

# GitHub sends SIGINT, 7.5 s later SIGTERM, and 2.5 s later it kills (docs/operations/dag-runs.md): all must be written by then.
# A step whose time has run out does not take longer either.
ABANDON_SECONDS = 3.0

# Seconds for the requests of the report: after time ran out (the end of the runs included), and after the runs have ended.
TIMEOUT_SECONDS = 3.5
REPORT_SECONDS = 60.0

ABANDON_PAUSE = 0.3  # seconds until a run that may be created in this moment is requested again


@dataclass(frozen=True, kw_only=True)
class WaitParams(TimedParams):
    """The inputs of whatever waits for DAG runs."""

    conf: str = input_field(parse_json_object, default="")
    wait_for_completion: bool = input_field(parse_boolean, default=False)
    poll_interval: float | None = input_field(parse_duration)
    on_paused: str = input_field(parse_choice("fail", "unpause", "ignore"), default="fail")
    on_cancel: str = input_field(parse_choice("leave", "fail-run"), default="leave")
    dags_path: str = input_field(parse_text, default="")

    def list_secrets(self) -> Sequence[str]:
        """List what must be masked."""
        return find_secrets(self.conf)


def complete(watches: Sequence[WatchedRun], params: WaitParams, airflow: AirflowClient, context: Context) -> None:
    """Wait for DAG runs until the client's deadline, which is that of the report afterwards, and note how each ended."""
    ending, deadline = Ending.TIMEOUT, airflow.deadline
    try:
        wait_for_runs(watches, airflow, context, poll_interval=params.poll_interval)
    except Cancelled:
        ending = Ending.CANCELLED
    for watch in watches:
        # Without a task instance it did nothing, whatever its state is.
        is_success = watch.run.state == SUCCESS and watch.instances
        watch.state, watch.ending = watch.run.state, Ending.SUCCESS if is_success else Ending.FAILURE
        if watch.error:
            watch.ending = watch.error.ending
    left = [watch for watch in watches if not watch.is_over]
    now = context.clock.monotonic()
    fates = abandon([watch.run for watch in left], params.on_cancel, airflow, context.clock)
    for watch, fate in zip(left, fates, strict=True):
        watch.ending, watch.fate = ending, fate.message
        watch.run = replace(watch.run, state="failed") if fate.is_ended else watch.run
    airflow.deadline = max(deadline, now) + TIMEOUT_SECONDS if left else now + REPORT_SECONDS


@dataclass(frozen=True, kw_only=True)
class RunFate:
    """What became of a DAG run that was not waited for to its end."""

    message: str
    is_ended: bool = False


ENDED = RunFate(message="It was set to failed (on-cancel: fail-run), and its running tasks too.", is_ended=True)
LEFT = RunFate(message="It continues (on-cancel: leave).")
PERHAPS_LEFT = RunFate(message="If it was created, it continues (on-cancel: leave).")
MISSING = RunFate(message="It did not exist, so it was not ended (on-cancel: fail-run). It may be created a moment later.")
UNANSWERED = RunFate(
    message="Airflow was requested to end it (on-cancel: fail-run), but did not answer in time: check its state in Airflow."
)


def abandon(
    runs: Sequence[DagRun], on_cancel: str, airflow: AirflowClient, clock: Clock, *, are_known: bool = True
) -> list[RunFate]:
    """Leave or end unfinished DAG runs, as the author wants, within ABANDON_SECONDS. Return what became of each.

    If they are not known, a run that does not exist may exist soon, since its request may have been on its way.
    """
    if on_cancel == "leave":
        return [LEFT if are_known else PERHAPS_LEFT] * len(runs)
    airflow = airflow.until(clock.monotonic() + ABANDON_SECONDS)
    fates = [UNANSWERED] * len(runs)

    def end(number: int) -> None:
        while True:
            try:
                fail_run(airflow, runs[number].dag_id, runs[number].run_id)
            except AnswerTimeoutError:
                return
            except ActionError as error:
                is_missing = error.status == HTTPStatus.NOT_FOUND
                failed = RunFate(message=f"It could not be ended (on-cancel: fail-run), and may continue: {error.message}")
                fates[number] = MISSING if is_missing else failed
                if are_known or not is_missing:
                    return
                clock.sleep(ABANDON_PAUSE)
            else:
                fates[number] = ENDED
                return

    # In threads: a login during a request has no time limit.
    with suppress(AnswerTimeoutError):
        airflow.map(end, range(len(runs)))
    return list(fates)


@contextmanager
def abandon_if_cancelled(
    requests: Sequence[RunRequest], on_cancel: str, airflow: AirflowClient, clock: Clock
) -> Iterator[None]:
    """Leave or end the DAG runs that are requested in this block when the workflow is cancelled, as the author wants.

    Raises:
        Cancelled: With what became of them.
    """
    try:
        yield
    except Cancelled as cancelled:
        airflow.close()  # threads that trigger know nothing of the signal
        runs = [one.run for one in requests]
        fates = abandon(runs, on_cancel, airflow, clock, are_known=False)
        words = [f"DAG run {run.run_id} of {run.dag_id}: {fate.message}" for run, fate in zip(runs, fates, strict=True)]
        raise Cancelled(cancelled.outputs, " ".join(words)) from None
