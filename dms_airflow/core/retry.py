"""What another try may change; and doing again what may be done again, until it works or a minute is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from urllib3.util import Retry

from dms_airflow.core.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.core.clock import Clock
    from dms_airflow.core.log import Log

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


def may_pass(status: int) -> bool:
    """Tell whether an HTTP status may be another one a moment later."""
    return status in (408, 429) or status >= 500  # noqa: PLR2004


def read_retry_after(headers: Mapping[str, str], otherwise: float = 0.0) -> float:
    """Read the seconds that `Retry-After` asks to wait.

    Args:
        headers: Of the answer.
        otherwise: What counts where there is no such header, or none that can be read.
    """
    try:
        return max(0.0, Retry().parse_retry_after(headers["Retry-After"]))
    except Exception:  # noqa: BLE001 - urllib3 raises InvalidHeader or ValueError for what is no such value
        return otherwise
