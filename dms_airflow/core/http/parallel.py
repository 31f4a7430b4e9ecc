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
WAIT_SLICE = 0.2  # seconds


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
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait  # noqa: PLC0415 - most steps need no threads

    pool = ThreadPoolExecutor(CONCURRENCY)
    try:
        futures = [pool.submit(function, thing) for thing in things]
        while True:
            # By slices: a signal that comes just before Python begins to wait is seen only when it has waited.
            done, pending = wait(futures, timeout=WAIT_SLICE, return_when=FIRST_EXCEPTION)
            if failed := next((future for future in done if future.exception()), None):
                failed.result()
            if not pending:
                return [future.result() for future in futures]
            if clock.monotonic() > deadline + GRACE:
                raise AnswerTimeoutError(
                    f"{whom} was still responding when time ran out.",
                    "Check in Airflow what happened, or allow more time with timeout.",
                )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
