"""A task's log, as Airflow's REST API returns it as text: without marks, and why the task failed. Pure.

Records begin like `[2026-11-22T09:44:17.719+0000] {taskinstance.py:3311} ERROR - Task failed with exception`; a traceback
follows its record. What the task itself prints comes as records of `logging_mixin.py`
(tests/captures/airflow-2.10.4/task-logs).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from dms_airflow.core import tracebacks
from dms_airflow.core.text import cut_tail

# ECMA-48: control sequences, and operating system commands such as links and window titles.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_RECORD = re.compile(r"\[\d{4}-\d\d-\d\dT[^\]\n]{1,40}\] \{(?P<source>[^}\n]{1,200}):\d+\} (?P<level>[A-Z]+) - (?P<message>.*)")
# Marks with which the web page folds lines. GitHub would interpret them as its own.
_GROUP = re.compile(r"::(?:group::|endgroup::)")

# How the record of the exception that ended the try begins.
FAILED = "Task failed with exception"
# The most telling first: the second one shows Airflow's own frames too.
_ENDINGS = (("taskinstance.py", FAILED), ("standard_task_runner.py", "Failed to execute job"))
# By these a try says why it ended without an exception of its own, the most telling first: a signal follows from what stands
# before it.
_SAYS_WHY = (
    re.compile(
        r"State of this instance has been externally set to|Detected zombie job|Executor .* reported that the task instance|"
        r"Recorded pid .* does not match"
    ),
    re.compile(r"Task exited with return code (?!0\b|100\b)-?\w+|Process timed out"),
    re.compile(r"Received SIGTERM"),
)

_HEADER = "Traceback (most recent call last):"
_FRAME = re.compile(r"[ |]*File ")
_HANDLING = "During handling of the above exception, another exception occurred:"
_CAUSED = "The above exception was the direct cause of the following exception:"
_CHAIN = re.compile(rf"\n+({re.escape(_HANDLING)}|{re.escape(_CAUSED)})\n+(?={re.escape(_HEADER)}$)", re.MULTILINE)
_TRACEBACK = re.compile(rf"(?P<header>{re.escape(_HEADER)})\n(?: .*\n)+.*")
# What Airflow makes of sys.exit() in a task.
_EXIT = "AirflowException: Task failed due to SystemExit("
_OWN_FRAME = re.compile(r'  File "[^"]*/(?:site|dist)-packages/airflow/')


# Why a task failed is at the end of its log, and several logs are read at once.
LONGEST_LOG = 1024 * 1024  # bytes


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
    exception: str
    message: str
    stack_trace: str


@dataclass(frozen=True, kw_only=True)
class _Record:
    source: str
    level: str
    message: str
    lines: tuple[str, ...]


def read_task_log(text: str) -> TaskLog:
    """Parse the log of one try, as returned for `Accept: text/plain`."""
    plain = clean(text)
    records = _split_records(plain)
    if not records:
        return _read_foreign_log(plain)
    for source, beginning in _ENDINGS:
        for record in reversed(records):
            if record.source == source and record.level == "ERROR" and record.message.startswith(beginning):
                return read_failure(plain, "\n".join(record.lines).rstrip("\n"))
    said = [record.message for record in records if record.source != "logging_mixin.py"]
    why = next((one for pattern in _SAYS_WHY for one in reversed(said) if pattern.match(one)), "")
    return TaskLog(text=plain, exception="", message=why, stack_trace="")


def _read_foreign_log(text: str) -> TaskLog:
    """Read a log whose records have a form that the instance's owner has chosen: what follows the words that end a try."""
    lines = [part for line in text.split("\n") for part in _unfold(line)]
    for _, beginning in _ENDINGS:
        begun = max((number for number, line in enumerate(lines) if beginning in line), default=None)
        if begun is not None and (stack_trace := _cut_out_traceback("\n".join(lines[begun:]))):
            return read_failure(text, clean(stack_trace))
    found = ((pattern.search(line), line) for pattern in _SAYS_WHY for line in reversed(lines))
    why = next((line[match.start() :] for match, line in found if match), "")
    return TaskLog(text=text, exception="", message=why, stack_trace="")


def _cut_out_traceback(text: str) -> str:
    """Cut the first traceback out of a text, with those that are chained to it; of the last message only the first line."""
    found = list(_TRACEBACK.finditer(text))
    last = found[0] if found else None
    for one in found[1:]:
        if not last or not text[last.end() : one.start()].rstrip().endswith((_HANDLING, _CAUSED)):
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


def clean(text: str) -> str:
    """Take colours and fold marks out of a log."""
    lines = _ESCAPE.sub("", text).split("\n")
    return "\n".join(_GROUP.sub("", line) for line in lines if not line.rstrip().endswith("::endgroup::"))


def _split_records(text: str) -> list[_Record]:
    """Split a log into its records, each with the lines that follow it."""
    records: list[tuple[re.Match[str], list[str]]] = []
    for line in text.split("\n"):
        if match := _RECORD.match(line):
            records.append((match, []))
        elif records:
            records[-1][1].append(line)
    return [
        _Record(source=match["source"], level=match["level"], message=match["message"], lines=tuple(lines))
        for match, lines in records
    ]


def read_failure(text: str, stack_trace: str) -> TaskLog:
    """Read the exception that ended a try from its traceback.

    Args:
        text: The log.
        stack_trace: As Python writes it; empty where the record of the exception is all there is.
    """
    # Airflow leaves out the blank lines of a log; without them a chain's sentence is one more line of a message.
    spaced = _CHAIN.sub(r"\n\n\1\n\n", stack_trace)
    blocks = spaced.rpartition(f"\n\n{_HANDLING}\n\n")
    if _EXIT in blocks[2]:
        spaced = blocks[0]  # the exception before it says where the author's code left
    parsed = tracebacks.parse(spaced) if spaced else tracebacks.Traceback(exception="", message="")
    return TaskLog(text=text, exception=parsed.exception, message=parsed.message, stack_trace=_drop_own_frames(spaced))


def _drop_own_frames(stack_trace: str) -> str:
    """Leave out the frames of Airflow's by which each traceback of a chain begins. Nothing is left where all are Airflow's."""
    kept: list[str] = []
    is_own = False
    for line in stack_trace.split("\n"):
        if line == _HEADER:
            is_own = True
            kept.append(line)
            continue
        is_own = is_own and line.startswith(" ") and (not line.startswith("  File ") or _OWN_FRAME.match(line) is not None)
        if not is_own:
            kept.append(line)
    return "\n".join(kept) if any(_FRAME.match(line) for line in kept) else ""


def read_long_log(raw: bytes) -> TaskLog:
    """Read the end of a log that may be long; its failure, where that alone is longer, from its beginning."""
    log = read_task_log(cut_tail(raw, LONGEST_LOG))
    begun = max(raw.rfind(f" ERROR - {beginning}".encode()) for _, beginning in _ENDINGS)
    if log.exception or begun < 0 or len(raw) <= LONGEST_LOG:
        return log
    begun = raw.rfind(b"\n", 0, begun) + 1
    failure = read_task_log(raw[begun : begun + LONGEST_LOG].decode("utf-8", "replace"))
    return replace(failure, text=log.text)
