"""Forms in which DMS may give modification times and statuses, and what it may make of a text: for the knobs of `Behaviour`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

_NANOSECONDS = 10**9
_CHINA = timezone(timedelta(hours=8))

# --- modification times --------------------------------------------------------------------------------------------------


def in_seconds(time_ns: int) -> str:
    """Write as the documentation does: `2026-01-01T10:11:12Z`."""
    return f"{_date(time_ns):%Y-%m-%dT%H:%M:%S}Z"


def in_milliseconds(time_ns: int) -> str:
    """Write as `2026-01-01T10:11:12.345Z`."""
    return f"{_date(time_ns):%Y-%m-%dT%H:%M:%S}.{time_ns // 10**6 % 1000:03}Z"


def in_nanoseconds(time_ns: int) -> str:
    """Write as the times of an action's status: `2026-01-13T14:30:20.582182728+08:00`."""
    return f"{_date(time_ns).astimezone(_CHINA):%Y-%m-%dT%H:%M:%S}.{time_ns % _NANOSECONDS:09}+08:00"


def in_epoch_milliseconds(time_ns: int) -> str:
    """Write as a number: `1767262272345`."""
    return str(time_ns // 10**6)


def in_http_date(time_ns: int) -> str:
    """Write as the header Last-Modified does: `Thu, 01 Jan 2026 10:11:12 GMT`."""
    return format_datetime(_date(time_ns), usegmt=True)


def _date(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // _NANOSECONDS, UTC)


# --- what becomes of a text ----------------------------------------------------------------------------------------------


def without_bom(text: str) -> str:
    """Lose the byte order mark."""
    return text.removeprefix("\ufeff")


def with_bom(text: str) -> str:
    """Get a byte order mark."""
    return f"\ufeff{without_bom(text)}"


def with_lf(text: str) -> str:
    """Get line feeds as line ends."""
    return text.replace("\r\n", "\n")


def with_crlf(text: str) -> str:
    """Get carriage return and line feed as line ends."""
    return with_lf(text).replace("\n", "\r\n")


def without_final_newline(text: str) -> str:
    """Lose the newlines at the end."""
    return text.rstrip("\r\n")


def with_final_newline(text: str) -> str:
    """Get a newline at the end."""
    return text if text.endswith("\n") else f"{text}\n"


def half(text: str) -> str:
    """Lose the second half."""
    return text[: len(text) // 2]


def with_replacement_characters(content: bytes) -> str:
    """Read as UTF-8; what is none becomes U+FFFD."""
    return content.decode(errors="replace")


def as_utf_8(content: bytes) -> str | None:
    """Read as UTF-8; None when it is not."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


# --- statuses of an action -----------------------------------------------------------------------------------------------


def phase(word: str, error: str = "") -> dict[str, Any]:
    """Write a status as a dict."""
    return {"phase": word, "latestExecError": {"message": error} if error else {}}


def phase_text(word: str, error: str = "") -> str:
    """Write a status as the text of a Python dict, as the documentation's example does."""
    return str(phase(word, error))
