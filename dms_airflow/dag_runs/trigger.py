"""Creates one DAG run for one trigger, also when requests or responses are lost.

The run id is chosen before the first request. Airflow creates at most one DAG run with an id: a repeated request, by the action
or by a gateway, is refused as a conflict. After a response that does not confirm the run, the action checks whether a run with
the id exists. Only if it does not, the request is sent again, with the same id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from dms_airflow.airflow.dag_runs import fetch_run
from dms_airflow.core.errors import ActionError, AnswerError, AnswerLostError
from dms_airflow.core.http.retry import PAUSES, retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.dag_runs import DagRun
    from dms_airflow.ci.runner import Runner
    from dms_airflow.operations.context import Context

T = TypeVar("T")

LONGEST_RUN_ID = 250  # characters, Airflow's column

# How long the action waits for a response before it checks whether the run exists.
ANSWER_LIMIT = 120.0  # seconds

# How long this check is repeated while Airflow does not answer.
FIND_LIMIT = 300.0  # seconds

# The server sends its time in whole seconds.
_CLOCK_GRAIN = timedelta(seconds=2)

# What proves that the request was understood and refused, so that the same one is refused again.
_REFUSALS = frozenset({400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 431})
_NOT_FOUND = 404
_TOO_MANY = 429


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A DAG run to be created.

    Args:
        dag_id: Its DAG.
        run_id: Its id.
        conf: Its configuration; None if it is not an object.
        is_own: The action chose the id: it is random, so that no other run has it.
        is_dated: The author gave a logical date, so that the run's date does not show when it was created.
        logical_date: The date that the action sets; None where Airflow or the author sets it.
    """

    dag_id: str
    run_id: str
    conf: dict[str, Any] | None = field(default_factory=dict)
    is_own: bool = True
    is_dated: bool = False
    logical_date: datetime | None = None


def make_run_id(runner: Runner, token: str) -> str:
    """Make a run id that names the step, with characters that Airflow allows.

    ``allowed_run_id_pattern`` is ``^[A-Za-z0-9_.~:+-]+$``; REST answers 500 to any other id.

    Args:
        runner: The workflow run, the attempt, the job and the step.
        token: Random, so that two steps never have the same id.
    """
    return f"{runner.origin[: LONGEST_RUN_ID - len(token) - 2]}__{token}"


class Trigger:
    """Requests a DAG run until it is known whether it exists.

    Args:
        requested: The run.
        airflow: The client.
        context: The clock and the log.
        deadline: On the clock.
    """

    def __init__(self, requested: RunRequest, airflow: AirflowClient, context: Context, deadline: float) -> None:
        self._requested = requested
        self._airflow = airflow
        self._clock = context.clock
        self._log = context.log
        self._deadline = deadline
        self._began = context.clock.monotonic()

    def ask(self, send: Callable[[float], T], is_made: Callable[[T], bool], is_conflict: Callable[[T], bool]) -> T | DagRun:
        """Request the run until its existence is known.

        Args:
            send: Sends one request, within so many seconds.
            is_made: Whether a response confirms the run. After any other, the action checks the run's existence: a command may
                fail after it created its run, and a gateway may answer anything.
            is_conflict: Whether a response says that such a run existed already.

        Returns:
            The response, good or bad; or the run, if it exists and no response confirmed it.

        Raises:
            ActionError: It is not known whether the run exists.
        """
        first: ActionError | None = None
        answer: T | None = None
        for standard in (*PAUSES, None):
            pause = standard
            try:
                answer = send(max(1.0, min(ANSWER_LIMIT, self._remaining)))
            except (AnswerLostError, AnswerError) as error:
                first = first or error
                found = self._find_run(f"{error.message} Checking whether the DAG run {self._requested.run_id} exists.", first)
                # There were several 429 by now; the request is repeated only if the server said when.
                is_refused = isinstance(error, AnswerError) and (
                    error.status in _REFUSALS or (error.status == _TOO_MANY and not error.retry_after)
                )
                is_transient = not is_refused
                pause = standard and max(standard, error.retry_after)
                answer = None
            except ActionError as error:
                raise first or error from None
            else:
                if is_made(answer):
                    return answer
                found = self._try_to_find_run()
                # The run may not be visible yet, or another run had the same logical date, which is different a second later.
                is_transient = is_conflict(answer) and (first is not None or not self._requested.is_dated)
            if found and self._is_requested(found):
                return found
            # A run of somebody else would conflict with each further request, too.
            if found or not is_transient or pause is None or self._remaining <= pause:
                break
            self._log.info(f"It does not exist. Requesting the same run again in {pause:g} s.")
            self._clock.sleep(pause)
        if answer is None:
            assert first  # noqa: S101 - the last request ended with the one or the other
            raise first
        return answer

    @property
    def _remaining(self) -> float:
        return self._deadline - self._clock.monotonic()

    def _try_to_find_run(self) -> DagRun | None:
        """Find the run after a response that is reported in any case; None also if the check fails."""
        try:
            return self._find_run(
                f"The response does not confirm the DAG run. Checking whether {self._requested.run_id} exists.", None
            )
        except ActionError:
            return None

    def _find_run(self, why: str, unknown: ActionError | None) -> DagRun | None:
        """Find the run with the requested id; None if there is none.

        Raises:
            ActionError: The check failed. The first error is raised rather than the check's own.
        """
        self._log.info(why)
        limit = min(self._deadline, self._clock.monotonic() + FIND_LIMIT)

        def may_retry(error: ActionError) -> bool:
            # A 404 of Airflow is not an error but a result; this one is from a gateway.
            return not (isinstance(error, AnswerError) and error.status in _REFUSALS - {_NOT_FOUND})

        try:
            return retry(
                lambda: fetch_run(self._airflow, self._requested.dag_id, self._requested.run_id),
                clock=self._clock,
                log=self._log,
                deadline=limit,
                tries=None,
                may_retry=may_retry,
            )
        except ActionError as error:
            raise unknown or error from None

    def _is_requested(self, run: DagRun) -> bool:
        """Whether a run with this id is the requested one: with an author's id there may be an older one.

        Airflow 2 dates a manual run by the moment it is made. It is ours when that lies behind our first request, by the
        server's own clock, and its configuration is the one we sent. Where we date it, it is ours when it has that date, to
        the microsecond.
        """
        if self._requested.is_own:
            return True
        if self._requested.logical_date:
            return run.logical_date == self._requested.logical_date and (run.conf or {}) == self._requested.conf
        now = self._airflow.server_time
        if self._requested.is_dated or not now or not run.logical_date:
            return False
        asked = now - timedelta(seconds=self._clock.monotonic() - self._began) - _CLOCK_GRAIN
        return run.logical_date >= asked and (run.conf or {}) == self._requested.conf
