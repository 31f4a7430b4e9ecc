"""One DAG run for one trigger, whatever becomes of requests and answers.

The run id is made before the first request. Airflow makes one DAG run of an id at most: a request that is sent again, by us or
by a gateway, is refused as a conflict. So an answer that says nothing is made good by a look for the id, and only when the run
is not there is the request sent again, under the same id.
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

# How long an answer is waited for before the run is looked for.
ANSWER_LIMIT = 120.0  # seconds

# How long a DAG run is looked for while Airflow does not answer.
FIND_LIMIT = 300.0  # seconds

# The server tells its time in whole seconds.
_CLOCK_GRAIN = timedelta(seconds=2)

# What proves that the request was understood and refused, so that the same one is refused again.
_REFUSALS = frozenset({400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 431})
_NOT_FOUND = 404
_TOO_MANY = 429


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A DAG run that is wanted.

    Args:
        dag_id: Its DAG.
        run_id: Its id.
        conf: Its configuration; None when that is no object.
        is_own: The id is ours: random, so that nobody else's run has it.
        is_dated: The author gave a logical date, so that the run's says nothing about when it was made.
        logical_date: The moment that we date it by; None where Airflow or the author does.
    """

    dag_id: str
    run_id: str
    conf: dict[str, Any] | None = field(default_factory=dict)
    is_own: bool = True
    is_dated: bool = False
    logical_date: datetime | None = None


def make_run_id(runner: Runner, token: str) -> str:
    """Make a run id that says which step made it, in the characters that Airflow allows.

    ``allowed_run_id_pattern`` is ``^[A-Za-z0-9_.~:+-]+$``; REST answers 500 to any other id.

    Args:
        runner: Names the workflow run, the attempt, the job and the step.
        token: Random, so that two steps never meet.
    """
    return f"{runner.origin[: LONGEST_RUN_ID - len(token) - 2]}__{token}"


class Trigger:
    """Asks for a DAG run until it is known whether there is one.

    Args:
        requested: The run.
        airflow: Looks for it.
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
        """Ask until an answer tells, or a look does.

        Args:
            send: Asks once, within so many seconds.
            is_made: Tells an answer that says that the run was made. Any other is followed by a look: a command may fail
                after it made its run, and a gateway may say anything.
            is_conflict: Tells an answer that says that there was such a run already.

        Returns:
            The answer, good or bad; or the run, where no answer told of it and a look did.

        Raises:
            ActionError: Whether there is a run is not known.
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
                # 429 was answered several times by now; it is asked again only when the server said when.
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
                # The run may not show yet, or another one had the same logical date, which is another one a second later.
                is_transient = is_conflict(answer) and (first is not None or not self._requested.is_dated)
            if found and self._is_requested(found):
                return found
            # A run that is there and is not ours would be met by each further request, too.
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
        """Find a run of the id after an answer that is told in any case; None also when it cannot be found out."""
        try:
            return self._find_run(
                f"The response does not confirm the DAG run. Checking whether {self._requested.run_id} exists.", None
            )
        except ActionError:
            return None

    def _find_run(self, why: str, unknown: ActionError | None) -> DagRun | None:
        """Find a run of the id that was asked for; None when there is none.

        Raises:
            ActionError: It cannot be found out. What made it necessary to look counts for more than what kept us from it.
        """
        self._log.info(why)
        limit = min(self._deadline, self._clock.monotonic() + FIND_LIMIT)

        def may_retry(error: ActionError) -> bool:
            # A 404 of Airflow's own is not an error but the answer; this one is a gateway's.
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
        """Tell whether a run of this id is the one that was asked for: of an author's id there may be an older one.

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
