"""What Airflow's command line prints: lines, log records, and the records that `--output` gives a form. Pure.

Seen in tests/captures. By default Airflow logs to stdout, before its result and, with `-v`, after it; 3.1.0 colours its log
without a terminal, and writes a part of it to stderr.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Records = list[dict[str, Any]]

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

# Airflow 2 and 3.0: `[2026-11-22T09:41:57.166+0000] {dagbag.py:588} INFO - …`.
# From 3.1 on: `2026-11-22T10:13:35.579908Z [info     ] …`, or as JSON: `{"timestamp":"…","level":"info","event":"…",…}`.
# The text form ends with its logger: `… [airflow.models.dagbag.DagBag] loc=dagbag.py:415`; where the message has several lines,
# the last one does.
_TIME = r"\d{4}-\d\d-\d\d[T ][\d:.,]+(?:[+-]\d\d:?\d\d|Z)?"
_FIRST_FORM = re.compile(rf"\[{_TIME}\] (?:\{{[^}}]{{0,200}}\}} [A-Z]+ - )?(?P<message>.*)")
_SECOND_FORM = re.compile(rf"{_TIME} \[[a-z]+ *\] (?P<message>.*)")
_LOGGER = re.compile(r"\[[\w.]+\](?P<values>(?: \w+=.*)?)$")
_NO_RECORDS = "No data found"
_TABLE_RULE = re.compile(r"=+(?:\+=+)*\s*")
_YAML_KEY = re.compile(r"(?:- |  )([\w-]+):")


class LogRecord(NamedTuple):
    """The first line of a log record; `values` are what else was logged: `loc=dagbag.py:415`."""

    message: str
    values: str = ""


def split_lines(text: str) -> list[str]:
    """Split a stream into its lines, without colours."""
    return strip_colours(text).splitlines()


def strip_colours(text: str) -> str:
    """Take the escape sequences of a terminal out of a text."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def is_log_record(line: str) -> bool:
    """Whether this line is the first of a log record."""
    return parse_log_record(line) is not None


def parse_log_record(line: str) -> LogRecord | None:
    """Parse the first line of a log record, in whichever of its own forms and colours Airflow writes it."""
    line = strip_colours(line)
    if record := _parse_json_record(line):
        return record
    if match := _FIRST_FORM.fullmatch(line):
        return LogRecord(match["message"].rstrip())
    if not (match := _SECOND_FORM.fullmatch(line)):
        return None
    message = match["message"].rstrip()
    logger = _LOGGER.search(message)
    return LogRecord(message[: logger.start()].rstrip(), logger["values"].strip()) if logger else LogRecord(message)


def _parse_json_record(line: str) -> LogRecord | None:
    if not line.startswith('{"'):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry.get("level"), str) or not isinstance(entry.get("event"), str):
        return None
    values = [f"{key}={value}" for key, value in entry.items() if key not in ("timestamp", "level", "event")]
    return LogRecord(entry["event"], " ".join(values))


def find_records(lines: Sequence[str], columns: Collection[str]) -> Records | None:
    """The records that `-o json` printed, an empty list where it printed that there are none; None without such a result.

    Airflow prints them as an array of objects on one line. DAG files print when they are imported, too, even arrays: only an
    array counts whose objects all hold one of `columns` (any object, when no column is given), and the last one is Airflow's.
    """
    for line in reversed(lines):
        rows = _parse_rows(line)
        if rows is not None and all(_holds(row, columns) for row in rows):
            return rows
    return None


def has_records(lines: Iterable[str], columns: Collection[str], output_format: str) -> bool:
    """Whether records were printed as `yaml`, as `plain` text, or in the default form, a table."""
    match output_format:
        case "yaml":
            return any((key := _YAML_KEY.match(line)) and _holds([key[1]], columns) for line in lines)
        case "plain":
            text = (line for line in lines if line.strip() != _NO_RECORDS and not is_log_record(line))
            return any(_holds(line.split(), columns) for line in text)
        case _:
            return any(
                _TABLE_RULE.fullmatch(rule) and _holds([name.strip() for name in header.split("|")], columns)
                for header, rule in pairwise(lines)
            )


def has_no_records(lines: Iterable[str], output_format: str) -> bool:
    """Whether Airflow said in this form that there are no records."""
    if output_format in {"json", "yaml"}:
        return any(line.strip() == "[]" for line in lines)
    return any(line.strip() == _NO_RECORDS for line in lines)


def _parse_rows(line: str) -> Records | None:
    # A DAG file's print(end="") may have left text in front of the array; an empty one must have the line for itself.
    start = 0 if line.startswith("[") else line.find("[{")
    if start < 0:
        return None
    try:
        value = json.loads(line[start:])
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return value
    return None


def _holds(row: Collection[str], columns: Collection[str]) -> bool:
    return bool(row) if not columns else any(column in row for column in columns)
