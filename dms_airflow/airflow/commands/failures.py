"""Signs in a command's output that it failed, whatever else it printed. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, takewhile

from dms_airflow.airflow.commands.known_commands import Command
from dms_airflow.airflow.commands.output import LogRecord, parse_log_record
from dms_airflow.core.tracebacks import CAUSED, HANDLING

_USAGE_ERROR = re.compile(r"airflow (?:[\w-]+ )*command error: ")

# Text without a line's end may come before it: a progress bar. A group of exceptions has its header inside a drawn tree, two
# blanks in; tracebacks further in are a group's members, or quotations.
_TRACEBACK = re.compile(r"^(?:\S.*|  \+ Exception Group )?Traceback \(most recent call last\):\s*$")
_GROUP_PREFIX = re.compile(r"^  [|+] ?")
_CHAIN = re.compile(rf"^(?:  \| )?(?:{HANDLING}|{CAUSED})$")
# After these lines the interpreter prints an exception and goes on: none of them changes its exit status.
_HARMLESS_EXCEPTION = re.compile(r"^(?:Exception ignored (?:in|on)\b|Exception in thread |--- Logging error ---$)")
_FATAL_ERROR = re.compile(r"^Fatal Python error: ")
# Whatever ends a command passes through Airflow's own command line, however that was started.
_COMMAND_FRAME = re.compile(r'[ |+]*File ".*(?:/airflow/__main__\.py|/airflow/cli/[^"]*|/bin/airflow)", line ')
# `airflow.exceptions.DagNotFound: …`: the class alone is what people know, and what stays the same between versions.
_MODULE = re.compile(r"^(?:[\w<>]+\.)+(?=\w+(?::|$))")


def find_failure(command: Command, stdout: Sequence[str], stderr: Sequence[str]) -> str:
    """Find what ended a command, in Airflow's words; empty when nothing in its output is a sign of that.

    In stdout only a log record counts, of a command that shows its failure nowhere else.
    """
    return (
        _find_usage_error(stderr)
        or _find_exception(stderr)
        or next(filter(re.compile(command.failure).search, stderr), "")
        or _find_failure_record(command, stdout)
        or _find_failure_record(command, stderr)  # where the instance's owner sends the log there
    )


def strip_module(text: str) -> str:
    """Give the name of an exception's class without its module."""
    return _MODULE.sub("", text)


def match_record(sign: str, line: str) -> LogRecord | None:
    """Parse a line, and give the log record when a pattern is found in its message or its values."""
    record = parse_log_record(line)
    return record if record and re.search(sign, f"{record.message} {record.values}") else None


def _find_usage_error(errors: Iterable[str]) -> str:
    lines = iter(errors)
    for line in lines:
        if found := _USAGE_ERROR.match(line):
            # A word of the command may hold line ends.
            text = "\n".join([line[found.end() :], *lines]).partition(", see help above.")[0]
            return f"usage error: {text or 'see the help'}"
    return ""


def _find_exception(errors: Sequence[str]) -> str:
    """The exception that ended Airflow's command line: `DagNotFound: Dag id x not found`; empty when none did.

    Only the frames of a traceback itself say where it comes from: a log that is copied to stderr holds tracebacks, too, and
    lists of frames without an exception.
    """
    if fatal := next(filter(_FATAL_ERROR.match, errors), ""):
        return fatal
    found, harmless = "", False
    for before, lines in _split_tracebacks(errors):
        # The next of a chain is as harmless as the one before it.
        harmless = harmless if _CHAIN.match(before) else _HARMLESS_EXCEPTION.match(before) is not None
        if not harmless and any(map(_COMMAND_FRAME.match, takewhile(_is_indented, lines))):
            found = _read_exception(lines) or "an exception whose name was cut off"
    return found


def _split_tracebacks(lines: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Give, for each traceback, the line before its header, and all lines up to the next header."""
    before = ""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if _TRACEBACK.match(line):
            found.append((before, []))
        elif found:
            found[-1][1].append(line)
        before = line if line.strip() else before
    return found


def _is_indented(line: str) -> bool:
    text = _GROUP_PREFIX.sub("", line)
    return not text.strip() or text.startswith(" ")


def _read_exception(lines: Iterable[str]) -> str:
    """The first line after a traceback's frames, which are indented."""
    rest = iter(lines)
    for line in rest:
        if not _is_indented(line):
            text = _GROUP_PREFIX.sub("", line)
            # "Some task instances failed:" and a table: its last row says more.
            last = deque(filter(None, map(str.strip, rest)), maxlen=1) if text.rstrip().endswith(":") else ()
            return " ".join([strip_module(text), *last])
    return ""


def _find_failure_record(command: Command, output: Iterable[str]) -> str:
    """What the log says of a failure that Airflow keeps to itself: the exception that ended the work, else the record."""
    if not command.failure_record:
        return ""
    lines = iter(output)
    for line in lines:
        if record := match_record(command.failure_record, line):
            own = chain([line], takewhile(lambda following: parse_log_record(following) is None, lines))
            exceptions = [_read_exception(lines_after) for _, lines_after in _split_tracebacks(own)]
            return (exceptions and exceptions[-1]) or record.message
    return ""
