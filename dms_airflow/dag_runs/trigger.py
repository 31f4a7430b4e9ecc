"""Creates one DAG run for one trigger, also when requests or responses are lost.

The run id is chosen before the first request. Airflow creates at most one DAG run with an id: a repeated request, by the action
or by a gateway, is refused as a conflict. After a response that does not confirm the run, the action checks whether a run with
the id exists. Only if it does not, the request is sent again, with the same id.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from dms_airflow.airflow.dag_runs import QUEUED, DagRun, fetch_run
from dms_airflow.core.errors import ActionError, AnswerError, AnswerLostError
from dms_airflow.core.http.retry import PAUSES, retry

if TYPE_CHECKING:
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

    `is_own`: the action chose the id, which is random, so that no other run has it. `is_dated`: the author gave a logical date;
    a run that has it already is there a second later, too.
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


def request_run(
    requested: RunRequest, send: Callable[[float], T], classify: Callable[[T], Answer], context: Context
) -> T | DagRun:
    """Request a DAG run until it is known whether it exists, or until the client's deadline.

    `send` sends one request, within so many seconds; `classify` says what its response means. After a final one it is not
    checked whether the run exists.

    Returns:
        The response, good or bad; or the run, if it exists and no response confirmed it.

    Raises:
        ActionError: It is not known whether the run exists.
    """
    airflow, clock, pauses = context.airflow, context.clock, iter(PAUSES)
    existed = not requested.is_own and _may_exist(requested, context)
    first: ActionError | None = None
    while True:
        answer: T | ActionError
        try:
            answer = response = send(max(1.0, min(ANSWER_LIMIT, airflow.deadline - clock.monotonic())))
            kind = classify(response)
            if kind is Answer.FINAL:
                return response
            # Nothing of this step was sent before: a conflict of an author's id is one with somebody else's run.
            existed |= kind is Answer.CONFLICT and first is None and not requested.is_own
            why, pause = "The response does not confirm the DAG run.", 0.0
            # The run may not be visible yet, or another run had the same logical date, which is different a second later.
            may_repeat = kind is Answer.CONFLICT and (first is not None or not requested.is_dated)
        except (AnswerLostError, AnswerError) as error:
            answer = first = first or error
            why, pause, may_repeat = error.message, error.retry_after, _is_transient(error)
        except ActionError as error:
            raise first or error from None
        context.log.info(f"{why} Checking whether the DAG run {requested.run_id} exists.")
        try:
            found = _find_run(requested, context)
        except ActionError:
            found, may_repeat = None, may_repeat and not isinstance(answer, ActionError)
        if found and not existed:
            return found
        pause = max(pause, next(pauses, math.inf))
        # A run of somebody else would conflict with each further request, too.
        if found or not may_repeat or clock.monotonic() + pause >= airflow.deadline:
            if isinstance(answer, ActionError):
                raise answer
            return answer
        context.log.info(f"It does not exist. Requesting the same run again in {pause:g} s.")
        clock.sleep(pause)


def _find_run(requested: RunRequest, context: Context) -> DagRun | None:
    """Find the run with the requested id; None if there is none. While Airflow does not answer, try again for FIND_LIMIT."""
    return retry(
        lambda: fetch_run(context.airflow, requested.dag_id, requested.run_id),
        clock=context.clock,
        log=context.log,
        deadline=min(context.airflow.deadline, context.clock.monotonic() + FIND_LIMIT),
        tries=None,
        # A 404 of Airflow is not an error but a result; this one is from a gateway.
        may_retry=lambda error: error.status not in REFUSALS - {HTTPStatus.NOT_FOUND},
    )


def _may_exist(requested: RunRequest, context: Context) -> bool:
    """Whether a run with an author's id may exist already: then a run that is found later is not the requested one."""
    try:
        return fetch_run(context.airflow, requested.dag_id, requested.run_id) is not None
    except AnswerError:
        return True


def _is_transient(error: ActionError) -> bool:
    # There were several 429 by now; the request is repeated only if the server said when.
    is_throttled_for_long = error.status == HTTPStatus.TOO_MANY_REQUESTS and not error.retry_after
    return error.status not in REFUSALS and not is_throttled_for_long
