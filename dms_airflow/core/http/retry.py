"""Retrying a call that failed: the one loop for it. Its counterpart, waiting for a state, is core/polling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import count
from operator import attrgetter
from typing import TypeVar

from urllib3.util import Retry

from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import ActionError
from dms_airflow.core.log import Log

T = TypeVar("T")

# Seconds between tries. A throttled account is free again after a second or a minute, a restarting gateway after some.
PAUSES = (1.0, 2.0, 4.0, 8.0)
TRIES = len(PAUSES) + 1

LIMIT = 60.0  # seconds within which the last try begins, where the caller sets no deadline


def retry(
    call: Callable[[], T],
    *,
    clock: Clock,
    log: Log,
    deadline: float | None = None,
    tries: int | None = TRIES,
    may_retry: Callable[[ActionError], bool] = attrgetter("is_transient"),
) -> T:
    """Call a function, and again after a pause while it fails with errors of which `may_retry` says that this does no harm.

    There are so many `tries` at most (None: any number), and none begins after the `deadline` on the clock, by default a minute
    from now.

    Raises:
        ActionError: The last failure.
    """
    deadline = clock.monotonic() + LIMIT if deadline is None else deadline
    for number in count(1):
        try:
            return call()
        except ActionError as error:
            pause = max(PAUSES[min(number, len(PAUSES)) - 1], error.retry_after)
            if number == tries or not may_retry(error) or clock.monotonic() + pause >= deadline:
                raise
            log.info(f"{error.message} Trying again in {pause:g} s.")
        clock.sleep(pause)
    raise AssertionError  # pragma: no cover - the loop has no end


def is_transient_status(status: int) -> bool:
    """Whether an HTTP status may be another one a moment later."""
    return status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Parse the seconds that `Retry-After` asks to wait; 0 without such a header, or if it cannot be parsed."""
    try:
        return max(0.0, Retry().parse_retry_after(headers["Retry-After"]))
    except Exception:  # noqa: BLE001 - urllib3 raises InvalidHeader or ValueError for what is not such a value
        return 0.0
