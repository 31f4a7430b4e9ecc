"""Warnings that Python printed while Airflow imported the DAG files: mostly of what a later version removes. Pure.

A line of a log is read here, since it is never a verdict.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands import output as command_output
from dms_airflow.checkout.source_lines import split_lines
from dms_airflow.core.findings import Finding, Rule
from dms_airflow.core.result import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dms_airflow.checkout.mapping import Checkout

# A record of Airflow 3's log, whose message may span lines:
# `2026-11-28T21:23:30.251861Z [warning  ] The attribute is deprecated. [py.warnings] category=UserWarning filename=… lineno=5`
_RECORD = re.compile(r"\d{4}-\d\d-\d\d[T ]\S+ \[(?P<level>[a-z]+) *\] (?P<message>.*)")
_END = re.compile(
    r"(?P<event>.*?) *\[py\.warnings\] category=(?P<category>\w+) filename=(?P<quote>['\"]?)(?P<filename>.+?)(?P=quote) "
    r"lineno=(?P<lineno>\d{1,9})\b.*"
)

# What Airflow 2 prints on stderr, or Python itself: `/opt/airflow/dags/etl.py:9 DeprecationWarning: …`
_PRINTED = re.compile(r"(?P<filename>/.+\.py):(?P<lineno>\d{1,9}):? (?P<category>\w*Warning): (?P<event>.*)")

LONGEST = 20  # lines of a message


@dataclass(frozen=True, kw_only=True)
class PythonWarning:
    """A warning that Python printed: the instance's file and the line, the class, and the text."""

    path: str
    line: int
    category: str
    message: str


def parse_python_warnings(*outputs: str) -> tuple[PythonWarning, ...]:
    """Parse the warnings in what a command printed on stdout and stderr, each once."""
    found: list[PythonWarning] = []
    for output in outputs:
        if "py.warnings" in output:
            found += _parse_records(command_output.split_lines(output))
        if "Warning: " in output:
            found += _parse_printed(command_output.split_lines(output))
    return tuple(dict.fromkeys(found))


def _parse_records(lines: Iterable[str]) -> Iterator[PythonWarning]:
    """Parse the records of Airflow 3's log, as text or as JSON."""
    message: list[str] | None = None
    for line in lines:
        if line.startswith('{"') and '"py.warnings"' in line:
            with suppress(ValueError, RecursionError):
                yield from _make(json.loads(line))
        record = _RECORD.match(line)
        text = record["message"] if record else line
        if record:
            message = [] if record["level"] == "warning" else None
        if message is None or len(message) == LONGEST:
            continue
        if end := _END.fullmatch(text):
            yield from _make({**end.groupdict(), "event": "\n".join((*message, end["event"]))})
            message = None
        else:
            message.append(text)


def _parse_printed(lines: Iterable[str]) -> Iterator[PythonWarning]:
    """Parse the warnings that Airflow 2 prints; the lines after one belong to its message, except the indented line of code."""
    found: dict[str, Any] | None = None
    for line in lines:
        if match := _PRINTED.fullmatch(line):
            yield from _make(found or {})
            found = match.groupdict()
        elif found and line.strip() and not line.startswith(("  ", "Traceback (")) and found["event"].count("\n") < LONGEST:
            found["event"] += f"\n{line}"
        else:
            yield from _make(found or {})
            found = None
    yield from _make(found or {})


def _make(values: Mapping[str, Any]) -> Iterator[PythonWarning]:
    path, line, event = values.get("filename"), str(values.get("lineno")), values.get("event")
    if isinstance(path, str) and line.isdecimal() and isinstance(event, str):
        yield PythonWarning(path=path, line=int(line), category=str(values.get("category") or "Warning"), message=event)


def find_python_warnings(
    warnings: Iterable[PythonWarning], checkout: Checkout, dag_files: Iterable[str] = ()
) -> Iterator[Finding]:
    """Make a finding of each warning on a line of the checkout.

    Args:
        warnings: All of an import.
        checkout: The author's files.
        dag_files: The instance's DAG files, if they are known: they show which folder of the checkout is deployed.
    """
    warnings = tuple(warnings)
    files = checkout.map_paths([*dag_files, *(warning.path for warning in warnings)])
    for warning in warnings:
        file = files.get(warning.path)
        if file and 0 < warning.line <= len(split_lines(checkout.read(file))):
            yield Finding(
                rule=Rule.DEPRECATION,
                level=Level.WARNING,
                title=f"Python warning: {warning.category}",
                message=warning.message,
                file=checkout.relate(file),
                line=warning.line,
            )
