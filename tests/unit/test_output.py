"""What Airflow prints is found between log records and what DAG files print."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.airflow.commands import output

LOG_2 = "[2026-11-22T09:41:57.166+0000] {dagbag.py:588} INFO - Filling up the DagBag from /opt/airflow/dags"
LOG_3 = "2026-11-22T10:13:35.579908Z [info     ] creating dag run               [airflow] loc=dag.py:526"
LOG_3_TASK = "2026-11-22 10:14:58.458903+00:00 [info     ] Task started"
LOG_3_1 = "\x1b[2m2026-11-22T10:20:47.175405Z\x1b[0m [\x1b[32m\x1b[1minfo     \x1b[0m] \x1b[1mDAG bundles\x1b[0m"


@pytest.mark.parametrize("line", [LOG_2, LOG_3, LOG_3_TASK, LOG_3_1])
def test_log_records_of_every_version_are_known(line: str) -> None:
    assert [output.is_log_record(found) for found in output.split_lines(line)] == [True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LOG_2, "Filling up the DagBag from /opt/airflow/dags"),
        (LOG_3, "creating dag run"),
        (LOG_3_TASK, "Task started"),
        (LOG_3_1, "DAG bundles"),
        (
            "2026-11-22T10:13:35Z [error    ] Failed to import: /d/a [b] c.py [x.y] loc=z.py:9",
            "Failed to import: /d/a [b] c.py",
        ),
        (
            "2026-11-22T10:13:35Z [error    ] Error loading DAG from x.py: first of two lines",
            "Error loading DAG from x.py: first of two lines",
        ),
    ],
)
def test_a_log_record_is_read(line: str, message: str) -> None:
    record = output.parse_log_record(line)

    assert record
    assert record.message == message


def test_a_log_record_has_values() -> None:
    record = output.parse_log_record(
        "2026-11-22T20:17:41.9Z [error    ] Task exited                    [task] exit_code=3 loc=x.py:1"
    )

    assert record == output.LogRecord(message="Task exited", values="exit_code=3 loc=x.py:1")


@pytest.mark.parametrize("line", ["", "2026 was good", "[2026] {x} INFO - y", '[{"dag_id": "x"}]', "[INFO] paused"])
def test_what_is_no_log_record(line: str) -> None:
    assert output.parse_log_record(line) is None


@pytest.mark.parametrize("line", ["2026-11-21T00:00:00+00:00", '[{"dag_id": "x"}]', "[]", "[INFO] paused", "2026 was good", ""])
def test_results_are_no_log_records(line: str) -> None:
    assert not output.is_log_record(line)


def test_colours_are_dropped() -> None:
    assert list(output.split_lines("\x1b[1m\x1b[34mqueued\x1b[0m\nnext")) == ["queued", "next"]


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ('[{"dag_id": "etl", "is_paused": "True", "n": "1"}]', [{"dag_id": "etl", "is_paused": "True", "n": "1"}]),
        (
            '[{"dag_id": "etl", "conf": {"n": 1, "b": true, "f": 1.5, "x": null}}]',
            [{"dag_id": "etl", "conf": {"n": 1, "b": True, "f": 1.5, "x": None}}],
        ),
        (f'{LOG_2}\n[{{"dag_id": "etl"}}]\n{LOG_2}\n{LOG_3} []', [{"dag_id": "etl"}]),
        ('print at import: [{"not": "yours"}]\n[{"not": "yours"}]\n[]\n', []),
        ('[{"not": "yours"}]\n', None),
        ('[]\n[{"dag_id": "etl"}]\n', [{"dag_id": "etl"}]),
        ('[{"dag_id": "etl"}]\n[]\n', []),
        ('loading...[{"dag_id": "etl"}]\n', [{"dag_id": "etl"}]),
        ("loading...[]\n", None),
        ('[{"dag_id": "cut o', None),
        ('[{"dag_id": "etl"}, 1]', None),
        ('{"dag_id": "etl"}', None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_find_records(stdout: str, expected: object) -> None:
    assert output.find_records(output.split_lines(stdout), ("dag_id",)) == expected


@pytest.mark.parametrize(
    ("output_format", "stdout", "expected"),
    [
        ("table", "dag_id | fileloc\n=======+========\netl    | /x.py  \n               \n", True),
        ("table", "key     \n========\ngreeting\n", False),
        ("table", "==================\nloading\n==================\n", False),
        ("table", "No data found\n", False),
        ("table", "dag_id | fileloc\netl | /x.py\n", False),
        ("plain", "dag_id    fileloc\netl       /x.py\n", True),
        ("plain", "No data found\n", False),
        ("plain", f"{LOG_2}\n", False),
        ("yaml", "- dag_id: etl\n  fileloc: /x.py\n\n", True),
        ("yaml", "- conn_type: http\n  dag_id: etl\n", True),
        ("yaml", "[]\n\n", False),
    ],
)
def test_has_records(output_format: str, stdout: str, expected: bool) -> None:
    assert output.has_records(output.split_lines(stdout), ("dag_id",), output_format) is expected


def test_a_table_of_one_column_without_known_names_has_records() -> None:
    assert output.has_records(["key     ", "========", "greeting"], (), "table")


@pytest.mark.parametrize(
    ("output_format", "stdout", "expected"),
    [
        ("json", "noise\n[]\n", True),
        ("yaml", "[]\n\n", True),
        ("table", "No data found\n", True),
        ("plain", "No data found\n", True),
        ("table", "[]\n", False),
        ("json", "callbacks: []\n", False),
    ],
)
def test_has_no_records(output_format: str, stdout: str, expected: bool) -> None:
    assert output.has_no_records(output.split_lines(stdout), output_format) is expected


@given(st.lists(st.dictionaries(st.just("dag_id"), st.text(), min_size=1), min_size=1), st.text(), st.text())
def test_records_are_found_between_any_text(rows: list[dict[str, str]], before: str, after: str) -> None:
    found = output.find_records(output.split_lines(f"{before}\n{json.dumps(rows)}\n{after}"), ("dag_id",))

    assert found == rows


def test_a_hostile_megabyte_is_read_soon() -> None:
    started = time.process_time()
    for line in ("[" * 1_000_000, '[{"a":' * 160_000, "[{" * 500_000, "=" * 1_000_000 + "x"):
        output.find_records(output.split_lines(line), ("a",))
        output.has_records(["a", *output.split_lines(line)], ("a",), "table")

    assert time.process_time() - started < 10
