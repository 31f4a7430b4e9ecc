"""JSON read as its standard has it; text shortened for a reader, lists of names, and time spans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def load_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It is not JSON. Python would take NaN and Infinity, which RFC 8259 does not have.
    """

    def reject(word: str) -> None:
        raise ValueError(f"{word} is not a JSON value")

    try:
        return json.loads(text, parse_constant=reject)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def cut_middle(text: str, limit: int) -> str:
    """Shorten a text to a number of bytes: its beginning and its end stay, a line between them says what was left out."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    notice = f"\n[… {len(raw) - limit} bytes left out …]\n"
    half = max(0, (limit - len(notice.encode())) // 2)
    return raw[:half].decode("utf-8", "ignore") + notice + raw[len(raw) - half :].decode("utf-8", "ignore")


def first_line(text: str) -> str:
    """Give the first line of a message, with the next one where it ends with a colon: alone it would say nothing."""
    first, *further = [line.strip() for line in text.split("\n") if line.strip()] or [""]
    return f"{first} {further[0]}" if first.endswith(":") and further else first


def join(names: Sequence[str], most: int = 5) -> str:
    """List the first names, and count the rest."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def format_elapsed(seconds: float) -> str:
    """Write a time span as people read it: 12s, 3m05s, 1h02m."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def cut_tail(text: str | bytes, limit: int) -> str:
    """Keep the last whole lines of a text, which may be a tail already, within a number of bytes."""
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if len(raw) <= limit:
        return raw.decode("utf-8", "replace")
    start = len(raw) - limit
    start = raw.find(b"\n", start) + 1 or start
    return f"[… earlier lines left out …]\n{raw[start:].decode('utf-8', 'ignore')}"


def count(number: int, thing: str) -> str:
    """Write a number of things: "1 cause", "2 causes"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
