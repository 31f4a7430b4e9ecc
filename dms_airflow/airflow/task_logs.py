"""A task's log, as Airflow's REST API returns it: as lines without marks, and why the task failed. Pure.

Airflow 2 returns text. Records begin like `[2026-11-22T09:44:17.719+0000] {taskinstance.py:3311} ERROR - Task failed with
exception`; a traceback follows its record. What the task itself prints comes as records of `logging_mixin.py`
(tests/captures/airflow-2.10.4/task-logs).

Airflow 3 returns JSON. Each entry is a record with an `event`; an exception is in `error_detail`, as structlog's
`ExceptionDictTransformer` writes it: the exception that was raised first, then what it came from
(tests/captures/airflow-3.2.2/rest/logs). What the task prints comes from the logger `task.stdout`. Entries are written as
Airflow 2 writes its records, and then parsed like those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dms_airflow.core import tracebacks
from dms_airflow.core.http.exchange import Response
from dms_airflow.core.text import cut_tail
from dms_airflow.core.tracebacks import CAUSED, HANDLING, HEADER

# ECMA-48: control sequences, and operating system commands such as links and window titles.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_RECORD = re.compile(
    r"\[\d{4}-\d\d-\d\dT[^\]\n]{1,40}\] \{(?P<source>[^}\n]{1,200}?)(?::\d+)?\} (?P<level>[A-Z]+) - (?P<message>.*)"
)
# Marks with which the web page folds lines. GitHub would interpret them as its own.
_GROUP = re.compile(r"::(?:group::|endgroup::)")

# How the record of the exception that ended the try begins, the most telling first: the second one shows Airflow's own frames
# too.
_ENDINGS = ("Task failed with exception", "Failed to execute job")
# What the task printed.
_PRINTED = frozenset({"logging_mixin.py", "task.stdout", "task.stderr"})
# By these a try says why it ended without an exception of its own, the most telling first: a signal follows from what is
# before it. Of Airflow 2, and airflow/sdk/execution_time of 3.2.2.
_SAYS_WHY = (
    re.compile(
        r"State of this instance has been externally set to|Server indicated the task shouldn't be running anymore|"
        r"Detected zombie job|Task did not emit heartbeat|Executor .* reported that the task instance|"
        r"Recorded pid .* does not match"
    ),
    re.compile(r"Task exited with return code (?!0\b|100\b)-?\w+|Task exited(?! with)|Process timed out"),
    re.compile(r"Process terminated by signal|Process exited abnormally"),
    re.compile(r"Received SIGTERM|Task killed!"),
)

_FRAME = re.compile(r"^[ |]*File ", re.MULTILINE)
_CHAIN = re.compile(rf"\n+({re.escape(HANDLING)}|{re.escape(CAUSED)})\n+(?={re.escape(HEADER)}$)", re.MULTILINE)
_TRACEBACK = re.compile(rf"(?P<header>{re.escape(HEADER)})\n(?: .*\n)+.*")
# What Airflow makes of sys.exit() in a task.
_EXIT = "AirflowException: Task failed due to SystemExit("
_OWN_FRAMES = re.compile(
    rf'^{re.escape(HEADER)}\n(?:  File "[^"]*/(?:site|dist)-packages/airflow/.*\n(?:   .*\n)*)+', re.MULTILINE
)

# Why a task failed is at the end of its log, and several logs are read at once.
LONGEST_LOG = 16 * 1024 * 1024  # bytes
MOST_ENTRIES = 10_000  # of Airflow 3's log


@dataclass(frozen=True, kw_only=True)
class TaskLog:
    """What a task's log says.

    Args:
        text: The log without colours and fold marks.
        exception: Class of the exception that ended the try; empty where none did.
        message: What it says; without one, the record that says why the try ended; empty when none does.
        stack_trace: Its traceback, less Airflow's own frames before the author's.
    """

    text: str
    exception: str = ""
    message: str = ""
    stack_trace: str = ""


def parse_response(response: Response) -> TaskLog:
    """Parse the end of the log of one try: text of Airflow 2, JSON entries of Airflow 3."""
    content = response.parse_object().get("content")
    return parse_log(_write_entries(content) if isinstance(content, list) else cut_tail(response.body, LONGEST_LOG))


def parse_log(text: str) -> TaskLog:
    """Parse the log of one try, as Airflow 2 returns it for `Accept: text/plain`."""
    text = _clean(text)
    records = _split_records(text)
    if not records:
        return _parse_foreign_log(text)
    own = [(record, lines) for record, lines in records if record["source"] not in _PRINTED]
    for beginning in _ENDINGS:
        for record, lines in reversed(own):
            if record["level"] == "ERROR" and record["message"].startswith(beginning):
                return _read_failure(text, "\n".join(lines).rstrip("\n"))
    return TaskLog(text=text, message=_find_reason([record["message"] for record, _ in own]))


def _parse_foreign_log(text: str) -> TaskLog:
    """Parse a log whose records have a form that the instance's owner has chosen: what follows the words that end a try."""
    lines = [part for line in text.split("\n") for part in _unfold(line)]
    for beginning in _ENDINGS:
        begun = max((number for number, line in enumerate(lines) if beginning in line), default=None)
        if begun is not None and (stack_trace := _cut_out_traceback("\n".join(lines[begun:]))):
            return _read_failure(text, _clean(stack_trace))
    return TaskLog(text=text, message=_find_reason(lines))


def _find_reason(lines: Sequence[str]) -> str:
    """Find the last of the most telling words by which a try says why it ended."""
    found = ((pattern.search(line), line) for pattern in _SAYS_WHY for line in reversed(lines))
    return next((line[match.start() :] for match, line in found if match), "")


def _cut_out_traceback(text: str) -> str:
    """Cut the first traceback out of a text, with those that are chained to it; of the last message only the first line."""
    found = list(_TRACEBACK.finditer(text))
    last = found[0] if found else None
    for one in found[1:]:
        if not last or not text[last.end() : one.start()].rstrip().endswith((HANDLING, CAUSED)):
            break
        last = one
    return text[found[0].start("header") : last.end()] if last else ""


def _unfold(line: str) -> list[str]:
    """Split the texts of a record that is a JSON object; any other line is one line."""
    try:
        record = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        record = None
    texts = [value for value in record.values() if isinstance(value, str)] if isinstance(record, dict) else [line]
    return [part for text in texts for part in text.split("\n")]


def _clean(text: str) -> str:
    """Take colours and fold marks out of a log."""
    lines = _ESCAPE.sub("", text).split("\n")
    return "\n".join(_GROUP.sub("", line) for line in lines if not line.rstrip().endswith("::endgroup::"))


def _split_records(text: str) -> list[tuple[re.Match[str], list[str]]]:
    """Split a log into its records, each with the lines that follow it."""
    records: list[tuple[re.Match[str], list[str]]] = []
    for line in text.split("\n"):
        if match := _RECORD.match(line):
            records.append((match, []))
        elif records:
            records[-1][1].append(line)
    return records


def _read_failure(text: str, stack_trace: str) -> TaskLog:
    """Read the exception that ended a try from its traceback, which is empty where the record of it is all there is."""
    # Airflow leaves out the blank lines of a log; without them a chain's sentence is one more line of a message.
    spaced = _CHAIN.sub(r"\n\n\1\n\n", stack_trace)
    blocks = spaced.rpartition(f"\n\n{HANDLING}\n\n")
    if _EXIT in blocks[2]:
        spaced = blocks[0]  # the exception before it says where the author's code left
    parsed = tracebacks.parse(spaced) if spaced else tracebacks.Traceback(exception="", message="")
    return TaskLog(text=text, exception=parsed.exception, message=parsed.message, stack_trace=_drop_own_frames(spaced))


def _drop_own_frames(stack_trace: str) -> str:
    """Leave out the frames of Airflow's by which each traceback of a chain begins. Nothing is left where all are Airflow's."""
    left = _OWN_FRAMES.sub(f"{HEADER}\n", stack_trace)
    return left if _FRAME.search(left) else ""


# --- Airflow 3 ------------------------------------------------------------------------------------------------------------

# What a line says already, or what is the same in all entries of a log.
_SAID = frozenset(
    {
        *("timestamp", "event", "level", "logger", "filename", "lineno", "error_detail"),
        *("dag_id", "task_id", "run_id", "try_number", "map_index", "ti_id"),
    }
)


def _write_entries(content: Sequence[Any]) -> str:
    """Write the last entries of a log as Airflow 2 writes its records. Lines that Airflow itself could not parse are texts."""
    entries = (entry if isinstance(entry, dict) else {"event": str(entry)} for entry in content[-MOST_ENTRIES:])
    return "\n".join(map(_write_entry, entries))


def _write_entry(entry: Mapping[str, Any]) -> str:
    further = [f"{key}={value}" for key, value in entry.items() if key not in _SAID and value not in (None, "")]
    event = " ".join([str(entry.get("event") or ""), *further])
    if not entry.get("timestamp"):
        return event
    place = f"{entry['filename']}:{entry.get('lineno')}" if entry.get("filename") else str(entry.get("logger") or "task")
    if entry.get("logger") in _PRINTED:
        place = str(entry["logger"])
    line = f"[{entry['timestamp']}] {{{place}}} {str(entry.get('level') or 'info').upper()} - {event}"
    stack_trace = _write_exceptions(entry.get("error_detail"))
    return f"{line}\n{stack_trace}" if stack_trace else line


def _write_exceptions(detail: object) -> str:
    """Write exceptions as Python does: what was raised first comes first."""
    stacks = [stack for stack in detail if isinstance(stack, dict)] if isinstance(detail, list) else []
    text = ""
    for stack in reversed(stacks):
        text += _write_exception(stack)
        if stack is not stacks[0]:
            text += f"\n\n{CAUSED if stack.get('is_cause') else HANDLING}\n\n"
    return text


def _write_exception(stack: Mapping[str, Any]) -> str:
    frames = stack.get("frames")
    lines = [
        f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
        for frame in (frames if isinstance(frames, list) else [])
        if isinstance(frame, dict)
    ]
    last = ": ".join(filter(None, (str(stack.get("exc_type") or "Exception"), str(stack.get("exc_value") or ""))))
    notes = stack.get("exc_notes")
    return "\n".join([HEADER, *lines, last, *map(str, notes if isinstance(notes, list) else [])])
