"""Creates one DAG run for one trigger, also when requests or responses are lost.

The run id is chosen before the first request. Airflow creates at most one DAG run with an id: a repeated request, by the action
or by a gateway, is refused as a conflict. After a response that does not confirm the run, the action checks whether a run with
the id exists. Only if it does not, the request is sent again, with the same id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from dms_airflow.airflow.dag_runs import QUEUED, DagRun, fetch_run
from dms_airflow.core.errors import ActionError, AnswerError, AnswerLostError
from dms_airflow.core.http.retry import PAUSES, retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.ci.runner import Runner
    from dms_airflow.operations.context import Context

T = TypeVar("T")

LONGEST_RUN_ID = 250  # characters, Airflow's column

# How long the action waits for a response before it checks whether the run exists.
ANSWER_LIMIT = 120.0  # seconds

# How long this check is repeated while Airflow does not answer.
FIND_LIMIT = 300.0  # seconds

# What proves that the request was understood and refused, so that the same one is refused again.
REFUSALS = frozenset({400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 431})


class Answer(Enum):
    """What a response says about the requested DAG run."""

    FINAL = auto()
    """The run was created, or it was not created for the reason that the response gives."""
    CONFLICT = auto()
    """A run with this id or this logical date existed already."""
    OPEN = auto()
    """Neither: a command may fail after it created its run, and a gateway may answer anything."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A DAG run to be created.

    Args:
        dag_id: Its DAG.
        run_id: Its id.
        is_own: The action chose the id: it is random, so that no other run has it.
        is_dated: The author gave a logical date: a run that has it already is there a second later, too.
    """

    dag_id: str
    run_id: str
    is_own: bool = True
    is_dated: bool = False

    @property
    def run(self) -> DagRun:
        """The run, if the request succeeds."""
        return DagRun(dag_id=self.dag_id, run_id=self.run_id, state=QUEUED)


def make_run_id(runner: Runner, token: str) -> str:
    """Make a run id that names the step, with characters that Airflow allows; a random token makes it unique.

    ``allowed_run_id_pattern`` is ``^[A-Za-z0-9_.~:+-]+$``; REST answers 500 to any other id.
    """
    return f"{runner.origin[: LONGEST_RUN_ID - len(token) - 2]}__{token}"


class Trigger:
    """Requests a DAG run until it is known whether it exists, or until the client's deadline."""

    def __init__(self, requested: RunRequest, airflow: AirflowClient, context: Context) -> None:
        self._requested = requested
        self._airflow = airflow
        self._clock = context.clock
        self._log = context.log

    def request(self, send: Callable[[float], T], classify: Callable[[T], Answer]) -> T | DagRun:
        """Request the run until its existence is known.

        Args:
            send: Sends one request, within so many seconds.
            classify: What a response says. After a final one it is not checked whether the run exists.

        Returns:
            The response, good or bad; or the run, if it exists and no response confirmed it.

        Raises:
            ActionError: It is not known whether the run exists.
        """
        existed = self._existed_before()
        pauses = iter(PAUSES)
        first: ActionError | None = None
        while True:
            answer: T | ActionError
            try:
                answer = response = send(max(1.0, min(ANSWER_LIMIT, self._remaining)))
                kind = classify(response)
                if kind is Answer.FINAL:
                    return response
                # Nothing of this step was sent before: a conflict of an author's id is one with somebody else's run.
                existed |= kind is Answer.CONFLICT and first is None and not self._requested.is_own
                why, shortest_pause = "The response does not confirm the DAG run.", 0.0
                # The run may not be visible yet, or another run had the same logical date, which is different a second later.
                is_transient = kind is Answer.CONFLICT and (first is not None or not self._requested.is_dated)
            except (AnswerLostError, AnswerError) as error:
                answer = first = first or error
                why, shortest_pause, is_transient = error.message, error.retry_after, _is_transient(error)
            except ActionError as error:
                raise first or error from None
            try:
                found = self._find_run(why)
            except ActionError:
                if isinstance(answer, ActionError):
                    raise answer from None
                found = None  # the response is reported in any case
            if found and not existed:
                return found
            pause = next(pauses, None)
            # A run of somebody else would conflict with each further request, too.
            if found or not is_transient or pause is None or not self._wait(max(pause, shortest_pause)):
                if isinstance(answer, ActionError):
                    raise answer
                return answer

    @property
    def _remaining(self) -> float:
        return self._airflow.deadline - self._clock.monotonic()

    def _wait(self, pause: float) -> bool:
        """Wait until the run may be requested again; False if there is no time for that."""
        if self._remaining <= pause:
            return False
        self._log.info(f"It does not exist. Requesting the same run again in {pause:g} s.")
        self._clock.sleep(pause)
        return True

    def _find_run(self, why: str) -> DagRun | None:
        """Find the run with the requested id; None if there is none.

        Raises:
            ActionError: It is not known whether there is one.
        """
        self._log.info(f"{why} Checking whether the DAG run {self._requested.run_id} exists.")
        return retry(
            lambda: fetch_run(self._airflow, self._requested.dag_id, self._requested.run_id),
            clock=self._clock,
            log=self._log,
            deadline=min(self._airflow.deadline, self._clock.monotonic() + FIND_LIMIT),
            tries=None,
            # A 404 of Airflow is not an error but a result; this one is from a gateway.
            may_retry=lambda error: error.status == HTTPStatus.NOT_FOUND or not _is_refusal(error),
        )

    def _existed_before(self) -> bool:
        """Whether a run with an author's id may exist already: then a run that is found later is not the requested one."""
        if self._requested.is_own:
            return False
        try:
            return fetch_run(self._airflow, self._requested.dag_id, self._requested.run_id) is not None
        except AnswerError:
            return True


def _is_refusal(error: ActionError) -> bool:
    return isinstance(error, AnswerError) and error.status in REFUSALS


def _is_transient(error: ActionError) -> bool:
    # There were several 429 by now; the request is repeated only if the server said when.
    is_throttled_for_long = error.status == HTTPStatus.TOO_MANY_REQUESTS and not error.retry_after
    return not (_is_refusal(error) or is_throttled_for_long)
