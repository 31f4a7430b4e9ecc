"""The lines of a Python source, as Python numbers them, and which of them a traceback shows. Pure.

The checkout may hold another version of a file than the instance ran: then a traceback's number means another line here.
"""

from __future__ import annotations

import io
import re
import tokenize
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Python ends a line here and nowhere else: str.splitlines() also at form feeds and other separators.
_LINE_END = re.compile(r"\r\n|\r|\n")

# Up to Python 3.11 the syntax error of an f-string shows the replacement field's expression, in parentheses of its own
# (tests/unit/test_lines.py).
_FIELD = re.compile(r"\((?P<expression>.*\S.*)\)")


def split_lines(source: bytes) -> list[str]:
    """Decode a source by its declared encoding, and split it. Without a usable one, bytes that are not UTF-8 are replaced."""
    encoding = "utf-8-sig"
    if b"coding" in source:
        with suppress(SyntaxError, ValueError):
            encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = source.decode(encoding, "replace")
    lines = _LINE_END.split(text) if "\r" in text else text.split("\n")
    return lines if lines[-1] else lines[:-1]


def contradicts(lines: Sequence[str], number: int, shown: str) -> bool:
    """Tell that a traceback shows another line than the file has at this number, from 1: it is of another version."""
    return not (0 < number <= len(lines) and _shows(lines[number - 1], shown))


def find_shown_line(lines: Sequence[str], number: int, shown: str | None) -> int | None:
    """Find the line that a traceback shows, at its number or, when it has moved, wherever it is the only one of its kind.

    Args:
        lines: The file as it is here.
        number: The line's number in the traceback, from 1.
        shown: What the traceback shows of it; None when it shows nothing, and the number is all there is.
    """
    if shown is None:
        return number if 0 < number <= len(lines) else None
    if not contradicts(lines, number, shown):
        return number
    # With several lines it is not known which one is meant, and brackets do not identify a line.
    wanted = _reduce(shown)
    moved = [index for index, line in enumerate(lines, 1) if _reduce(line) == wanted]
    return moved[0] if len(moved) == 1 and re.search(r"\w", wanted) else None


def _shows(line: str, shown: str) -> bool:
    field = _FIELD.fullmatch(shown.strip())
    return _reduce(line) == _reduce(shown) or (field is not None and field["expression"].strip() in line)


def _reduce(text: str) -> str:
    """Leave out the blanks around a line, as Python does, and what may be lost where a log is not UTF-8."""
    return re.sub(r"[^\x00-\x7f]+", "", text).strip()
