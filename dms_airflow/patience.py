"""Doing again what may be done again, until it works or a minute is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dms_airflow.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dms_airflow.clock import Clock
    from dms_airflow.log import Log

T = TypeVar("T")

# Seconds between the tries. A throttled account is free again after a second or a minute, a restarting gateway after some.
PAUSES = (1.0, 2.0, 4.0, 8.0)

LONGEST_WAIT = 30.0  # seconds that a try waits at most because the other side says so

LIMIT = 60.0  # seconds within which the last try begins


def insist(action: Callable[[], T], *, clock: Clock, log: Log) -> T:
    """Do it, and again after a pause while it fails by what may pass.

    Args:
        action: Does no harm when it is done twice.
        clock: For the pauses and the limit.
        log: Told of every further try.

    Raises:
        ActionError: The last failure.
    """
    deadline = clock.monotonic() + LIMIT
    for standard in PAUSES:
        try:
            return action()
        except ActionError as error:
            pause = max(standard, min(error.retry_after, LONGEST_WAIT))
            if not error.may_pass or clock.monotonic() + pause >= deadline:
                raise
            log.info(f"{error.message} Trying again in {pause:g} s.")
        clock.sleep(pause)
    return action()
