"""Polling until what is awaited has happened: the one loop for it, and the usual pauses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import AnswerError, AnswerLostError, NetworkError
from dms_airflow.core.log import Log
from dms_airflow.core.text import join

T = TypeVar("T")

# Seconds between two polls of the gate and of an action of DMS: a share of the time that has passed,
# so that what ends soon is seen soon, and what takes long costs few requests.
SHORTEST_PAUSE = 1.0
PAUSE_SHARE = 0.5
LONGEST_PAUSE = 30.0

FIRST_POLLS = 3  # a fault that was there from the beginning is reported after so many polls


def poll(
    fetch_state: Callable[[], tuple[T, Sequence[str]]],
    *,
    clock: Clock,
    log: Log,
    deadline: float,
    interval: float | None = None,
) -> tuple[T, Sequence[str]]:
    """Call a function until it awaits nothing or the deadline on the clock has passed, and return its last result.

    `fetch_state` returns what it found, and the names of what is still awaited; it is called every `interval` seconds (None:
    soon at first, then less often). The log gets a line when what is awaited, or what keeps it from an answer, has changed.

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


def choose_pause(elapsed: float, *, share: float = PAUSE_SHARE, longest: float = LONGEST_PAUSE) -> float:
    """Choose the seconds until the next poll by the seconds that have passed since the first one."""
    return min(longest, max(SHORTEST_PAUSE, elapsed * share))
