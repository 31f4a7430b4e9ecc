"""A task's log, as Airflow 3's REST API returns it as JSON: rendered as lines, and why the task failed. Pure.

Each entry is a record with an `event`; an exception stands in `error_detail`, as structlog's `ExceptionDictTransformer` writes
it: the exception that was raised first, then what it came from (tests/captures/airflow-3.2.2/rest/logs). What the task prints
comes from the logger `task.stdout`. Where Airflow cannot read its own log, it gives the lines as they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.task_logs import FAILED, TaskLog, clean, read_failure, read_long_log, read_task_log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dms_airflow.core.http.exchange import Response

# The reason of a failure is at the end of a log. A longer log would take long to render, and is cut anyway.
LAST = 10_000  # entries

_HEADER = "Traceback (most recent call last):"
_HANDLING = "During handling of the above exception, another exception occurred:"
_CAUSED = "The above exception was the direct cause of the following exception:"

# What a line says already, or what is the same in all entries of a log.
_SAID = frozenset(
    {
        *("timestamp", "event", "level", "logger", "filename", "lineno", "error_detail"),
        *("dag_id", "task_id", "run_id", "try_number", "map_index", "ti_id"),
    }
)
_PRINTED = frozenset({"task.stdout", "task.stderr"})

# By these a try says why it ended without an exception, the most telling first (airflow/sdk/execution_time of 3.2.2, and what
# the scheduler adds).
_SAYS_WHY = (
    re.compile(
        r"Server indicated the task shouldn't be running anymore|Task exited|Detected zombie job|Task did not emit heartbeat|"
        r"Executor .* reported that the task instance"
    ),
    re.compile(r"Process terminated by signal|Process exited abnormally"),
    re.compile(r"Task killed!"),
)


def parse_response(response: Response) -> TaskLog:
    """Parse the log of one try: text of Airflow 2, JSON entries of Airflow 3."""
    content = response.parse_object().get("content")
    return read_structured_log(content) if isinstance(content, list) else read_long_log(response.body)


def read_structured_log(content: Sequence[Any]) -> TaskLog:
    """Parse the log of one try.

    Args:
        content: The entries: objects, or lines. The last LAST of them are kept, after a line that counts the others.
    """
    entries = [entry if isinstance(entry, dict) else {"event": str(entry)} for entry in content[-LAST:]]
    if len(content) > LAST:
        entries = [{"event": f"[… {len(content) - LAST} lines before these left out …]"}, *entries]
    if not any(isinstance(entry, dict) for entry in content):
        return read_task_log("\n".join(entry["event"] for entry in entries))
    text = clean("\n".join(map(_write_entry, entries)))
    for entry in reversed(entries):
        if str(entry.get("event")).startswith(FAILED) and (stack_trace := _write_exceptions(entry.get("error_detail"))):
            return read_failure(text, clean(stack_trace))
    said = [_write_event(entry) for entry in entries if entry.get("logger") not in _PRINTED]
    why = next((one for pattern in _SAYS_WHY for one in reversed(said) if pattern.match(one)), "")
    return TaskLog(text=text, exception="", message=clean(why), stack_trace="")


def _write_entry(entry: Mapping[str, Any]) -> str:
    """Write an entry as Airflow 2 wrote it into its logs."""
    event = _write_event(entry)
    if not entry.get("timestamp"):
        return event
    place = f"{entry['filename']}:{entry.get('lineno')}" if entry.get("filename") else str(entry.get("logger") or "task")
    line = f"[{entry['timestamp']}] {{{place}}} {str(entry.get('level') or 'info').upper()} - {event}"
    stack_trace = _write_exceptions(entry.get("error_detail"))
    return f"{line}\n{stack_trace}" if stack_trace else line


def _write_event(entry: Mapping[str, Any]) -> str:
    further = [f"{key}={value}" for key, value in entry.items() if key not in _SAID and value not in (None, "")]
    return " ".join([str(entry.get("event") or ""), *further])


def _write_exceptions(detail: object) -> str:
    """Write exceptions as Python does: what was raised first comes first."""
    stacks = [stack for stack in detail if isinstance(stack, dict)] if isinstance(detail, list) else []
    text = ""
    for stack in reversed(stacks):
        text += _write_exception(stack)
        if stack is not stacks[0]:
            text += f"\n\n{_CAUSED if stack.get('is_cause') else _HANDLING}\n\n"
    return text


def _write_exception(stack: Mapping[str, Any]) -> str:
    frames = stack.get("frames")
    lines = [
        f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
        for frame in (frames if isinstance(frames, list) else [])
        if isinstance(frame, dict)
    ]
    syntax = stack.get("syntax_error")
    if isinstance(syntax, dict):
        lines += [f'  File "{syntax.get("filename")}", line {syntax.get("lineno")}', f"    {str(syntax.get('line')).strip()}"]
    value = syntax.get("msg") if isinstance(syntax, dict) else stack.get("exc_value")
    last = ": ".join(filter(None, (str(stack.get("exc_type") or "Exception"), str(value or ""))))
    notes = stack.get("exc_notes")
    return "\n".join([_HEADER, *lines, last, *map(str, notes if isinstance(notes, list) else [])])
