"""Why a task failed, read from real logs of Airflow 2.10.4: tests/captures/airflow-2.10.4/task-logs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.airflow.task_logs import parse_log
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.checkout.source_lines import place_failure
from dms_airflow.core import tracebacks
from dms_airflow.core.text import cut_tail

LOGS = Path(__file__).parents[1] / "captures" / "airflow-2.10.4" / "task-logs"


def read(name: str) -> str:
    return (LOGS / f"{name}.txt").read_text(encoding="utf-8")


TROUBLESHOOTING = "https://airflow.apache.org/docs/apache-airflow/stable/troubleshooting.html#LocalTaskJob-killed"

# By hand from the logs and the DAG file behind them: the exception, its message, and the last frame of the DAG folder.
EXPECTED = [
    ("callback_fails", "ValueError", "the task's own", 168),
    ("externally_failed", "", "State of this instance has been externally set to failed. Terminating instance.", None),
    ("helper_exception", "KeyError", "'pear'", 50),
    ("never_began", "", "", None),
    ("supervisor_killed", "", "", None),
    ("template", "UndefinedError", "'dict object' has no attribute 'nosuch'", None),
    ("chained", "RuntimeError", 'could not read\nsecond line\n  File "fake.py", line 9, in x', 29),
    ("exits", "SystemExit", "3", 13),
    ("exits_text", "SystemExit", "configuration is missing", 15),
    ("gives_up", "AirflowFailException", "no more tries", 21),
    ("group", "ExceptionGroup", "two (2 sub-exceptions)", 39),
    ("logged_before", "ValueError", "red", 36),
    ("stdlib", "JSONDecodeError", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)", 41),
    ("too_slow", "AirflowTaskTimeout", "Timeout, PID: 10097", 23),
    (
        "sensor",
        "AirflowSensorTimeout",
        "Sensor has timed out; run duration of 2.001718728999549 seconds exceeds the specified timeout of 2.0.",
        None,
    ),
    ("hard_exit", "", "Task exited with return code 7", None),
    ("prints", "", "Task exited with return code 1", None),
    (
        "killed",
        "",
        f"Task exited with return code -9. For more information, see {TROUBLESHOOTING}",
        None,
    ),
]


@pytest.mark.parametrize(("name", "exception", "message", "line"), EXPECTED)
def test_why_a_task_failed(name: str, exception: str, message: str, line: int | None) -> None:
    log = parse_log(read(name))

    assert (log.exception, log.message) == (exception, message)
    frames = tracebacks.parse(log.stack_trace).frames if log.stack_trace else ()
    inside = [frame.line for frame in frames if frame.file in ("/opt/airflow/dags/kinds.py", "/opt/airflow/dags/failures.py")]
    assert inside[-1:] == ([line] if line else [])


RECORD = re.compile(r"\[(\S+)\] \{([^}]+)\} ([A-Z]+) - (.*)")


def write_json(text: str) -> str:
    """Write each record as an object in one line, as a JSON formatter does."""
    records: list[dict[str, str]] = []
    for line in text.split("\n"):
        if match := RECORD.match(line):
            records.append({"asctime": match[1], "levelname": match[3], "message": match[4], "exc_info": ""})
        elif records:
            records[-1]["exc_info"] += f"{line}\n"
    return "\n".join(json.dumps(record) for record in records)


# What an instance's owner may have set as `task_log_format`, or as a formatter.
FORMS = {
    "short": lambda text: RECORD.sub(r"\3: \4", text),
    "bare": lambda text: RECORD.sub(r"\4", text),
    "pipes": lambda text: RECORD.sub(r"\1 | \3 | \2 | \4", text),
    "json": write_json,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "exception", "message", "line"), [one for one in EXPECTED if one[0] not in ("chained", "group", "prints")]
)
def test_why_a_task_failed_whatever_the_form_of_its_log(
    name: str, exception: str, message: str, line: int | None, form: str
) -> None:
    log = parse_log(FORMS[form](read(name)))

    assert (log.exception, log.message) == (exception, message)
    frames = tracebacks.parse(log.stack_trace).frames if log.stack_trace else ()
    inside = [frame.line for frame in frames if frame.file in ("/opt/airflow/dags/kinds.py", "/opt/airflow/dags/failures.py")]
    assert inside[-1:] == ([line] if line else [])


def test_of_a_message_of_several_lines_another_form_keeps_the_first() -> None:
    log = parse_log(FORMS["bare"](read("chained")))

    assert (log.exception, log.message) == ("RuntimeError", "could not read")


def test_frames_of_airflow_before_the_authors_are_left_out() -> None:
    stack_trace = parse_log(read("stdlib")).stack_trace

    assert stack_trace.startswith(
        'Traceback (most recent call last):\n  File "/opt/airflow/dags/kinds.py", line 41, in stdlib\n    def stdlib()'
    )
    assert "site-packages" not in stack_trace


def test_a_traceback_of_airflows_own_frames_says_nothing() -> None:
    assert parse_log(read("sensor")).stack_trace == ""


def test_a_log_is_plain_text() -> None:
    text = parse_log(read("logged_before") + "\x1b]8;;http://x\x07link\x1b]8;;\x07\x1b[1;31mred\x1b[0m\n").text

    assert "\x1b" not in text
    assert text.endswith("linkred\n")
    assert "::group::" not in text
    assert "::endgroup::" not in text
    assert "Pre task execution logs" in text


@pytest.mark.parametrize(
    "message",
    [
        "State of this instance has been externally set to failed. Terminating instance.",
        "Detected zombie job: {'full_filepath': '/opt/airflow/dags/x.py'}",
        "Received SIGTERM. Terminating subprocesses.",
    ],
)
def test_an_end_without_an_exception_is_told_by_its_record(message: str) -> None:
    log = parse_log(f"vm\n[2026-11-22T09:44:17.719+0000] {{local_task_job_runner.py:347}} WARNING - {message}\n")

    assert (log.exception, log.message, log.stack_trace) == ("", message, "")


@pytest.mark.parametrize("text", ["", "vm\n", "*** Could not read served logs: timed out\n", "Task exited with return code 0"])
def test_a_log_that_says_nothing(text: str) -> None:
    log = parse_log(text)

    assert (log.exception, log.message, log.stack_trace) == ("", "", "")


def test_a_success_is_no_reason() -> None:
    text = "[2026-11-22T09:44:17.719+0000] {local_task_job_runner.py:266} INFO - Task exited with return code 0\n"

    assert parse_log(text).message == ""


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    assert "\x1b[0m" not in parse_log(f"{text}\x1b[0m").text


def test_the_tail_of_a_long_log() -> None:
    text = "".join(f"line {number}\n" for number in range(1, 1001))

    assert cut_tail(text, 30) == "[… earlier lines left out …]\nline 998\nline 999\nline 1000\n"
    assert cut_tail(cut_tail(text.encode(), 60), 30) == "[… earlier lines left out …]\nline 998\nline 999\nline 1000\n"
    assert cut_tail(text, 100_000) == text
    assert cut_tail("x" * 50, 10) == f"[… earlier lines left out …]\n{'x' * 10}"


def test_a_tail_never_splits_a_character() -> None:
    assert cut_tail("é" * 20, 7).endswith("\nééé")


def test_the_place_is_the_deepest_line_of_the_checkout_in_whatever_file(tmp_path: Path) -> None:
    (tmp_path / "dags" / "orders").mkdir(parents=True)
    (tmp_path / "dags" / "failures.py").touch()
    (tmp_path / "dags" / "orders" / "prices.py").write_text("\n\n\n\n\n\n    return PRICES[product]\n")
    stack_trace = parse_log(read("helper_exception")).stack_trace

    place = place_failure(stack_trace, "/opt/airflow/dags/failures.py", Checkout(tmp_path))

    assert place == ("dags/orders/prices.py", 7)
