"""The lines of a Python source, as Python numbers them, and which of them a traceback shows.

The checkout may hold another version of a file than the instance ran: then a traceback's number means another line here.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping, Sequence
from contextlib import suppress

from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core import tracebacks

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
    """Whether a traceback shows another line than the file has at this number, from 1: it is of another version."""
    return not (0 < number <= len(lines) and _shows(lines[number - 1], shown))


def find_shown_line(lines: Sequence[str], number: int, shown: str | None) -> int | None:
    """Find the line that a traceback shows, at its number or, when it has moved, wherever it is the only one of its kind.

    Where the traceback shows no text, the number is all there is.
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


def place_failure(stack_trace: str, dag_file: str, checkout: Checkout) -> tuple[str | None, int | None]:
    """Find the place of the checkout to fix after a task failed, by its traceback, if any, and the path of its DAG file.

    Returns:
        The file, relative to the root of its repository, and the line; None where they are not known.
    """
    frames = tracebacks.parse(stack_trace).frames if stack_trace else ()
    files = checkout.map_paths([dag_file], [frame.file for frame in frames])
    file, line = find_place(frames, files, files.get(dag_file), checkout)
    return file and checkout.relate(file), line


def find_place(
    frames: Sequence[tracebacks.Frame], files: Mapping[str, str], dag_file: str | None, checkout: Checkout
) -> tuple[str | None, int | None]:
    """Find the file and line of the deepest frame that is of the checkout; without such a frame, the DAG file.

    `files` are the files of the checkout by the instance's path, `dag_file` is the DAG file's.
    """
    # A relative name is artificial, for example compile()'s.
    frame = next((frame for frame in reversed(frames) if frame.file.startswith("/") and frame.file in files), None)
    file = files[frame.file] if frame else dag_file
    if frame is None or file is None or file.lower().endswith(".zip"):  # the checkout has no lines of a zip's members
        return file, None
    return file, find_shown_line(split_lines(checkout.read(file)), frame.line, frame.source)
