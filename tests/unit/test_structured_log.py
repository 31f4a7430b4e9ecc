"""Why a task failed, read from logs as Airflow 3 gives them: tests/captures/airflow-3.2.2/rest/logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from dms_airflow.airflow.task_logs import MOST_ENTRIES, TaskLog, parse_response
from dms_airflow.core.http.exchange import Response

LOGS = Path(__file__).parents[1] / "captures" / "airflow-3.2.2" / "rest" / "logs"


def read(name: str) -> Response:
    told = json.loads((LOGS / f"{name}.json").read_text(encoding="utf-8"))
    return Response(status=told["status"], headers=CaseInsensitiveDict(told["headers"]), body=told["body"].encode(), cookies={})


def parse(content: list[Any]) -> TaskLog:
    headers = CaseInsensitiveDict({"Content-Type": "application/json"})
    return parse_response(Response(status=200, headers=headers, body=json.dumps({"content": content}).encode(), cookies={}))


def entry(event: str, **further: Any) -> dict[str, Any]:
    """An entry as the task runner writes it."""
    return {
        "timestamp": "2026-11-22T10:12:59Z",
        "event": event,
        "level": "error",
        "logger": "task",
        "filename": "task_runner.py",
        "lineno": 1381,
        **further,
    }


def exception(kind: str, value: str, **further: Any) -> dict[str, Any]:
    """An exception that came from one line of a DAG file."""
    frames = [{"filename": "/opt/airflow/dags/etl.py", "lineno": 7, "name": "load"}]
    return {"exc_type": kind, "exc_value": value, "is_cause": False, "frames": frames, **further}


# Written by hand from the capture.
STACK_TRACE = """\
Traceback (most recent call last):
  File "/opt/airflow/dags/lab_fail.py", line 16, in boom
  File "/opt/airflow/dags/lab_fail.py", line 10, in _inner
ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/opt/airflow/dags/lab_fail.py", line 18, in boom
RuntimeError: boom: could not divide, see cause"""


def test_a_failed_task() -> None:
    log = parse_response(read("json_try1"))

    assert (log.exception, log.message) == ("RuntimeError", "boom: could not divide, see cause")
    assert log.stack_trace == STACK_TRACE
    lines = log.text.split("\n")
    assert lines[:4] == [
        "Log message source details",
        "/opt/airflow/logs/dag_id=lab_fail/run_id=rest_fail/task_id=boom/attempt=1.log",
        "[2026-11-22T10:12:59.447859Z] {task_runner.py:1926} INFO - Pre Execute",
        "[2026-11-22T10:12:59.484492Z] {manager.py:209} INFO - DAG bundles loaded: dags-folder",
    ]
    assert lines[-1] == "[2026-11-22T10:12:59.663253Z] {task.stdout} INFO - about to fail"
    assert "[2026-11-22T10:12:59.661996Z] {task_runner.py:1381} ERROR - Task failed with exception" in lines
    assert "::" not in log.text


def test_a_failed_mapped_task() -> None:
    log = parse_response(read("mapped_1"))

    assert (log.exception, log.message) == ("ValueError", "bad element 2")
    assert '  File "/opt/airflow/dags/lab_mapped.py", line ' in log.stack_trace


def test_an_exception_that_came_up_in_the_handling_of_another() -> None:
    detail = [exception("KeyError", "'b'"), exception("ValueError", "a\nsecond line")]

    log = parse([entry("Task failed with exception", error_detail=detail)])

    assert (log.exception, log.message) == ("KeyError", "'b'")
    assert (
        "ValueError: a\nsecond line\n\nDuring handling of the above exception, another exception occurred:\n" in log.stack_trace
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("Task exited", exit_code=3)], "Task exited exit_code=3"),
        (
            [
                entry("Server indicated the task shouldn't be running anymore. Terminating process", detail="failed"),
                entry("Task killed!"),
            ],
            "Server indicated the task shouldn't be running anymore. Terminating process detail=failed",
        ),
        ([entry("Process exited abnormally", exit_code=7)], "Process exited abnormally exit_code=7"),
        ([entry("Task exited", logger="task.stdout")], ""),
        ([entry("Task failed with exception")], ""),
        ([entry("Task failed with exception", error_detail="?")], ""),
        ([None, 5, {}], ""),
        ([], ""),
    ],
)
def test_a_try_that_ended_without_an_exception_says_why(entries: list[Any], message: str) -> None:
    log = parse(entries)

    assert (log.exception, log.message, log.stack_trace) == ("", message, "")


def test_lines_that_airflow_could_not_read_are_read_as_text() -> None:
    lines = ["[2026-11-22T09:44:17.719+0000] {local_task_job_runner.py:266} INFO - Task exited with return code 1", "more"]

    log = parse(lines)

    assert log.text == "\n".join(lines)
    assert log.message == "Task exited with return code 1"


def test_a_log_that_is_none_is_shown_as_it_is() -> None:
    answer = Response(status=200, headers=CaseInsensitiveDict({"Content-Type": "text/plain"}), body=b"no log", cookies={})

    assert parse_response(answer).text == "no log"


def test_colours_and_marks_of_a_message_are_taken_out() -> None:
    detail = [exception("ValueError", "\x1b[31mred\x1b[0m")]

    log = parse([entry("Task failed with exception", error_detail=detail), entry("::group::\x1b[1mPost")])

    assert log.message == "red"
    assert log.text.endswith("ERROR - Post")


def test_of_a_long_log_the_last_entries_are_kept() -> None:
    assert MOST_ENTRIES == 10_000
    detail = [{"exc_type": "KeyError", "frames": [{"name": "f"}]}]
    entries = [entry(f"line {number}") for number in range(10_003)]
    entries[-1] = entry("Task failed with exception", error_detail=detail)

    log = parse(entries)

    assert log.text.split("\n")[0].endswith(" - line 3")
    assert log.exception == "KeyError"
