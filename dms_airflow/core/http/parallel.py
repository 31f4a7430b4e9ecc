"""Calls a function for several things in parallel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from dms_airflow.core.errors import AnswerTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dms_airflow.core.clock import Clock

    T = TypeVar("T")
    R = TypeVar("R")

CONCURRENCY = 8  # calls at once

GRACE = 0.5  # seconds that all calls together may take longer than each of them


def map_parallel(
    function: Callable[[T], R], things: Iterable[T], *, clock: Clock, deadline: float = math.inf, whom: str = ""
) -> list[R]:
    """Call a function for several things, CONCURRENCY at once, and return the results in the order of the things.

    Args:
        function: Called in threads.
        things: What it is called for.
        clock: For the deadline.
        deadline: On the clock. A server that sends byte by byte may hold a single request beyond it, but not the step.
        whom: Who is asked, for the error.

    Raises:
        AnswerTimeoutError: Time is up, and not everything is done.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most steps need no threads

    pool = ThreadPoolExecutor(CONCURRENCY)
    left = None if deadline == math.inf else max(0.0, deadline - clock.monotonic()) + GRACE
    try:
        return list(pool.map(function, things, timeout=left))
    except TimeoutError:
        message = f"{whom} was still responding when time ran out."
        raise AnswerTimeoutError(message, "Check in Airflow what happened, or allow more time with timeout.") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
