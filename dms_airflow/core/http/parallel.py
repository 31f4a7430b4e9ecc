"""Calls a function for several things in parallel."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from dms_airflow.core.errors import AnswerTimeoutError, Cancelled

T = TypeVar("T")
R = TypeVar("R")

CONCURRENCY = 8  # calls at once

GRACE = 0.5  # seconds that all calls together may take longer than each of them


def map_parallel(
    function: Callable[[T], R],
    things: Iterable[T],
    *,
    concurrency: int = CONCURRENCY,
    timeout: float = math.inf,
    whom: str = "",
    waits: bool = False,
) -> list[R]:
    """Call a function for several things in threads, and return the results in the order of the things.

    `timeout` is in seconds: a server that sends byte by byte, `whom`, may hold a single request beyond it, but not the step.
    With `waits` a failure is raised when the calls that have begun are over, since they change something; a step that is
    cancelled has no time for that.

    Raises:
        AnswerTimeoutError: Time is up, and not everything is done.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most steps need no threads

    pool = ThreadPoolExecutor(concurrency)
    left = None if timeout == math.inf else max(0.0, timeout) + GRACE
    try:
        return list(pool.map(function, things, timeout=left))
    except TimeoutError:
        message = f"{whom} was still responding when time ran out."
        raise AnswerTimeoutError(message, "Check in Airflow what happened, or allow more time with timeout.") from None
    finally:
        pool.shutdown(wait=waits and not isinstance(sys.exception(), Cancelled), cancel_futures=True)
