"""Retrying a call that failed, and polling until what is awaited has happened: the one loop for each."""

from __future__ import annotations

from http import HTTPStatus
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from urllib3.util import Retry

from dms_airflow.core.errors import ActionError, AnswerError, AnswerLostError, NetworkError
from dms_airflow.core.text import join

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dms_airflow.core.clock import Clock
    from dms_airflow.core.log import Log

T = TypeVar("T")

# Seconds between tries. A throttled account is free again after a second or a minute, a restarting gateway after some.
PAUSES = (1.0, 2.0, 4.0, 8.0)
TRIES = len(PAUSES) + 1

LIMIT = 60.0  # seconds within which the last try begins, where the caller sets no deadline

# Seconds between polls: soon at first, then half of the time that has passed.
SHORTEST_PAUSE = 1.0
PAUSE_SHARE = 0.5
LONGEST_PAUSE = 30.0

FIRST_POLLS = 3  # a fault that was there from the beginning is reported after so many polls


def retry(
    call: Callable[[], T],
    *,
    clock: Clock,
    log: Log,
    deadline: float | None = None,
    tries: int | None = TRIES,
    may_retry: Callable[[ActionError], bool] = attrgetter("is_transient"),
) -> T:
    """Call a function, and again after a pause while it fails with transient errors.

    Args:
        call: Does no harm if it is called again after an error that `may_retry` accepts.
        clock: For the pauses and the deadline.
        log: Gets a line for each further try.
        deadline: On the clock; no try begins after it. By default a minute from now.
        tries: How many calls at most; None: until the deadline.
        may_retry: Whether another call after this error does no harm and may succeed.

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


def poll(
    fetch_state: Callable[[], tuple[T, Sequence[str]]],
    *,
    clock: Clock,
    log: Log,
    deadline: float,
    interval: float | None = None,
) -> tuple[T, Sequence[str]]:
    """Call a function until it awaits nothing or time is up, and return its last result.

    The log gets a line when what is awaited has changed, and when another fault keeps the function from an answer.

    Args:
        fetch_state: Returns what it found, and the names of what is still awaited.
        clock: For the pauses.
        log: For the progress.
        deadline: On the clock.
        interval: Seconds between two calls; None: soon at first, then rarer.

    Raises:
        ActionError: The first calls failed. Later ones may fail for minutes.
    """
    began = clock.monotonic()
    found: tuple[T, Sequence[str]] | None = None
    reported = ""
    for number in count(1):
        try:
            found = fetch_state()
        except (AnswerError, AnswerLostError, NetworkError) as error:
            if found is None and (number == FIRST_POLLS or clock.monotonic() >= deadline):
                raise
            news = f"{error.message} Trying again"
        else:
            news = f"Waiting for {join(found[1])}"
        remaining = deadline - clock.monotonic()
        if found and (not found[1] or remaining <= 0):
            return found
        if news != reported:
            log.info(f"{news}; {remaining:.0f} s left.")
        reported = news
        clock.sleep(min(interval or choose_pause(clock.monotonic() - began), max(remaining, SHORTEST_PAUSE)))
    raise AssertionError  # pragma: no cover - the loop has no end


def choose_pause(elapsed: float) -> float:
    """Choose the seconds until the next poll by the seconds that have passed since the first one."""
    return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, elapsed * PAUSE_SHARE))


def is_transient_status(status: int) -> bool:
    """Whether an HTTP status may be another one a moment later."""
    return status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Parse the seconds that `Retry-After` asks to wait; 0 without such a header, or if it cannot be parsed."""
    try:
        return max(0.0, Retry().parse_retry_after(headers["Retry-After"]))
    except Exception:  # noqa: BLE001 - urllib3 raises InvalidHeader or ValueError for what is not such a value
        return 0.0
