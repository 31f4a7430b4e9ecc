"""Waiting for DAG runs to their end, to the end of the time, or until the workflow is cancelled; and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from dms_airflow.dag_runs.trigger import RunRequest
from dms_airflow.dag_runs.wait import WatchedRun, wait_for_runs

if TYPE_CHECKING:
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


def complete(watches: Sequence[WatchedRun], params: WaitParams, context: Context) -> None:
    """Wait for DAG runs until the client's deadline, which is that of the report afterwards, and note how each ended."""
    ending, deadline = Ending.TIMEOUT, context.airflow.deadline
    try:
        wait_for_runs(watches, context, poll_interval=params.poll_interval)
    except Cancelled:
        ending = Ending.CANCELLED
    left = [watch for watch in watches if not watch.is_over]
    for watch in watches:
        # Without any task instance it did nothing, whatever its state is.
        is_success = watch.run.state == SUCCESS and watch.instances
        own = watch.error.ending if watch.error else Ending.SUCCESS if is_success else Ending.FAILURE
        watch.ending = ending if watch in left else own
    now = context.clock.monotonic()
    abandon(left, params.on_cancel, context)
    context.airflow.deadline = max(deadline, now) + TIMEOUT_SECONDS if left else now + REPORT_SECONDS


ENDED = "It was set to failed (on-cancel: fail-run), and its running tasks too."
LEFT = "It continues (on-cancel: leave)."
PERHAPS_LEFT = "If it was created, it continues (on-cancel: leave)."
MISSING = "It did not exist, so it was not ended (on-cancel: fail-run). It may be created a moment later."
UNANSWERED = "Airflow was requested to end it (on-cancel: fail-run), but did not answer in time: check its state in Airflow."


def abandon(watches: Sequence[WatchedRun], on_cancel: str, context: Context, *, are_known: bool = True) -> None:
    """Leave or end unfinished DAG runs, as the author wants, within ABANDON_SECONDS, and note what became of each.

    If they are not known, a run that does not exist may exist soon, since its request may have been on its way.
    """
    airflow = context.airflow.until(context.clock.monotonic() + ABANDON_SECONDS)

    def end(watch: WatchedRun) -> None:
        while True:
            try:
                fail_run(airflow, watch.run.dag_id, watch.run.run_id)
            except AnswerTimeoutError:
                return
            except ActionError as error:
                is_missing = error.status == HTTPStatus.NOT_FOUND
                failed = f"It could not be ended (on-cancel: fail-run), and may continue: {error.message}"
                watch.fate = MISSING if is_missing else failed
                if are_known or not is_missing:
                    return
                context.clock.sleep(ABANDON_PAUSE)
            else:
                watch.run, watch.fate = replace(watch.run, state="failed"), ENDED
                return

    for watch in watches:
        watch.fate = UNANSWERED if on_cancel == "fail-run" else LEFT if are_known else PERHAPS_LEFT
    if on_cancel == "fail-run":
        # In threads: a login during a request has no time limit.
        with suppress(AnswerTimeoutError):
            airflow.map(end, watches)


@contextmanager
def abandon_if_cancelled(requests: Sequence[RunRequest], on_cancel: str, context: Context) -> Iterator[None]:
    """When the workflow is cancelled in this block, leave or end the DAG runs that it requests, and say what became of each."""
    try:
        yield
    except Cancelled as cancelled:
        context.airflow.close()  # threads that trigger know nothing of the signal
        watches = [WatchedRun(run=one.run) for one in requests]
        abandon(watches, on_cancel, context, are_known=False)
        words = [f"DAG run {one.run.run_id} of {one.run.dag_id}: {one.fate}" for one in watches]
        raise Cancelled(cancelled.outputs, " ".join(words)) from None
