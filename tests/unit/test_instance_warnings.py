"""What the instance warns of is found in each form that Airflow gives it, on the line of the checkout, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core.findings import Rule
from dms_airflow.import_errors.instance_warnings import (
    PythonWarning,
    find_dag_warnings,
    find_python_warnings,
    parse_python_warnings,
)

if TYPE_CHECKING:
    from pathlib import Path

OLD = "The `airflow.operators.bash.BashOperator` attribute is deprecated."
# As a real 3.2.2 printed it.
TEXT = (
    "2026-11-29T01:27:00.851239Z [info     ] Filling up the DagBag from /opt/airflow/dags "
    "[airflow.dag_processing.dagbag.BundleDagBag] loc=dagbag.py:469\n"
    f"2026-11-29T01:27:01.132740Z [warning  ] {OLD} [py.warnings] category=UserWarning "
    "filename=/opt/airflow/dags/etl.py lineno=8\n"
    '[{"bundle_name": "dags-folder", "filepath": "a.py", "error": "x"}]\n'
)
ETL = PythonWarning(path="/opt/airflow/dags/etl.py", line=8, category="UserWarning", message=OLD)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (TEXT, [ETL]),
        (TEXT + TEXT, [ETL]),
        # 3.1.0 colours its log.
        (
            "\x1b[2m2026-11-29T01:27:01.132740Z\x1b[0m [\x1b[33m\x1b[1mwarning  \x1b[0m] \x1b[1m" + OLD + "\x1b[0m "
            "[\x1b[0m\x1b[1m\x1b[34mpy.warnings\x1b[0m]\x1b[0m \x1b[36mcategory\x1b[0m=\x1b[35mUserWarning\x1b[0m "
            "\x1b[36mfilename\x1b[0m=\x1b[35m/opt/airflow/dags/etl.py\x1b[0m \x1b[36mlineno\x1b[0m=\x1b[35m8\x1b[0m\n",
            [ETL],
        ),
        # With JSON as the form of its log.
        (
            '{"timestamp":"2026-11-28T21:23:29.925450Z","level":"warning","event":"' + OLD + '","category":"UserWarning",'
            '"filename":"/opt/airflow/dags/etl.py","lineno":8,"logger":"py.warnings"}\n[]\n',
            [ETL],
        ),
        # A message of several lines, and a path with a blank.
        (
            (
                "2026-11-29T01:27:01Z [warning  ] first\nsecond [py.warnings] category=FutureWarning "
                "filename='/opt/airflow/my dags/etl.py' lineno=1\n"
            ),
            [PythonWarning(path="/opt/airflow/my dags/etl.py", line=1, category="FutureWarning", message="first\nsecond")],
        ),
        # Airflow 2 on stderr, with PYTHONWARNINGS=default::DeprecationWarning
        (
            (
                "/opt/airflow/dags/etl.py:9 DeprecationWarning: make_task is old\nuse make_job\n"
                "/opt/airflow/dags/escapes.py:2 DeprecationWarning: invalid escape sequence '\\d'\n"
            ),
            [
                PythonWarning(
                    path="/opt/airflow/dags/etl.py",
                    line=9,
                    category="DeprecationWarning",
                    message="make_task is old\nuse make_job",
                ),
                PythonWarning(
                    path="/opt/airflow/dags/escapes.py",
                    line=2,
                    category="DeprecationWarning",
                    message="invalid escape sequence '\\d'",
                ),
            ],
        ),
        # Python's own form
        (
            "/opt/airflow/dags/etl.py:8: UserWarning: old\n  old()\nTraceback (most recent call last):\nOSError: no\n",
            [PythonWarning(path="/opt/airflow/dags/etl.py", line=8, category="UserWarning", message="old")],
        ),
        # What is none: another logger, a line that a DAG file printed, broken JSON, no line number.
        ("2026-11-29T01:27:01Z [warning  ] x [airflow.models] category=a filename=/opt/a.py lineno=1 py.warnings\n", []),
        ("see py.warnings\nUserWarning: old\n", []),
        ('{"logger":"py.warnings"\n{"logger":"py.warnings","event":1}\n', []),
        ("2026-11-29T01:27:01Z [warning  ] x [py.warnings] category=UserWarning filename=/opt/a.py\n", []),
        ("", []),
    ],
)
def test_warnings_are_parsed(output: str, found: list[PythonWarning]) -> None:
    assert list(parse_python_warnings("", output)) == found


def test_both_streams_are_parsed() -> None:
    assert parse_python_warnings(TEXT, "/opt/b.py:1 UserWarning: b\n") == (
        ETL,
        PythonWarning(path="/opt/b.py", line=1, category="UserWarning", message="b"),
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A repository with two DAG files and a helper."""
    (tmp_path / "dags" / "lib").mkdir(parents=True)
    (tmp_path / "dags" / "etl.py").write_text(
        "from airflow import DAG\n"
        'with DAG("etl", schedule=None):\n'
        '    Task(task_id="a", pool="own")\n'
        '    Task(task_id="b", pool="own")\n'
        "    make_task()\n"
        'DAG(dag_id=f"etl_{1}", default_args={"pool": "args"})\n\n\n\n'
    )
    (tmp_path / "dags" / "twin.py").write_text("from airflow import DAG\nDAG('twin')\n")
    (tmp_path / "dags" / "twin_of_it.py").write_text("from airflow import DAG\nDAG('twin')\n")
    (tmp_path / "dags" / "lib" / "tasks.py").write_text(
        'POOL = "helper"\n\ndef make_task():\n    Task(task_id="c", pool=POOL)\n'
    )
    return Checkout(tmp_path, "dags")


def test_a_warning_is_on_its_line_of_the_checkout(checkout: Checkout) -> None:
    printed = [
        ETL,
        PythonWarning(path="/opt/airflow/dags/lib/tasks.py", line=4, category="FutureWarning", message="f"),
        PythonWarning(path="/usr/lib/python3.11/site-packages/x/etl.py", line=1, category="UserWarning", message="a library"),
        PythonWarning(path="/opt/airflow/dags/others.py", line=1, category="UserWarning", message="not of this repository"),
        PythonWarning(path="/opt/airflow/dags/lib/tasks.py", line=99, category="UserWarning", message="no such line"),
    ]

    found = list(find_python_warnings(printed, checkout))

    assert [(one.rule, one.title, one.message, one.place, one.affects) for one in found] == [
        (Rule.DEPRECATION, "Python warning: UserWarning", OLD, "dags/etl.py:8", ()),
        (Rule.DEPRECATION, "Python warning: FutureWarning", "f", "dags/lib/tasks.py:4", ()),
    ]


def make_row(kind: str, dag_id: str, message: str) -> dict[str, Any]:
    return {"dag_id": dag_id, "warning_type": kind, "message": message, "timestamp": "2026-11-29T01:29:42.057635Z"}


def make_pools(dag_id: str, *pools: str) -> dict[str, Any]:
    return make_row("non-existent pool", dag_id, f"Dag '{dag_id}' references non-existent pools: {sorted(pools)}")


def test_a_missing_pool_is_on_the_line_that_gives_its_name(checkout: Checkout) -> None:
    rows = [make_pools("etl", "own", "helper", "nowhere"), make_pools("etl_1", "args"), make_pools("twin", "own")]

    found = list(find_dag_warnings(rows, checkout, {}))

    assert [(one.rule, one.message, one.place, one.affects) for one in found] == [
        (
            Rule.MISSING_POOL,
            "The instance has no pool helper: tasks that use it never start. Create it in Airflow, or correct the name.",
            "dags/lib/tasks.py:4",
            ("etl",),
        ),
        (
            Rule.MISSING_POOL,
            "The instance has no pool nowhere: tasks that use it never start. Create it in Airflow, or correct the name.",
            "dags/etl.py:2",
            ("etl",),
        ),
        (
            Rule.MISSING_POOL,
            "The instance has no pool own: tasks that use it never start. Create it in Airflow, or correct the name.",
            "dags/etl.py:3",
            ("etl",),
        ),
        (
            Rule.MISSING_POOL,
            "The instance has no pool args: tasks that use it never start. Create it in Airflow, or correct the name.",
            "dags/etl.py:6",
            ("etl_1",),
        ),
    ]


def test_a_known_file_decides_between_two_and_for_dags_that_nobody_can_find(checkout: Checkout) -> None:
    paths = {
        "twin": "/opt/airflow/dags/twin_of_it.py",
        "made_up": "/opt/airflow/dags/etl.py",
        "other": "/opt/airflow/dags/x.py",
    }

    found = list(find_dag_warnings([make_pools(dag_id, "p") for dag_id in (*paths, "nobody")], checkout, paths))

    assert [(one.place, one.affects) for one in found] == [("dags/twin_of_it.py:2", ("twin",)), ("dags/etl.py", ("made_up",))]


def test_values_that_change_with_every_parse_are_on_their_lines(checkout: Checkout) -> None:
    # As a real 3.2.2 gave it, with a second value.
    message = (
        "This Dag uses runtime-variable values in Dag construction.\n"
        "It causes the Dag version to increase as values change on every Dag parse.\n\n"
        "Line 2, Col 5\nCode: DAG('etl', start_date=datetime.now())\n"
        "Issue: Don't use runtime-varying value as argument in Dag constructor\n\n"
        "Line 99, Col 1\nCode: x\nIssue: y\n"
    )

    first, second = find_dag_warnings([make_row("runtime varying value", "etl", message)], checkout, {})

    assert (first.rule, first.title, first.place, first.affects) == (
        Rule.RUNTIME_VARYING_VALUE,
        "Value changes with every parse",
        "dags/etl.py:2",
        ("etl",),
    )
    assert first.message == (
        "Don't use runtime-varying value as argument in Dag constructor\nCode: DAG('etl', start_date=datetime.now())"
    )
    # The file has no such line.
    assert second.place == "dags/etl.py"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (make_row("asset conflict", "etl", "Cannot activate asset a"), [(Rule.ASSET_CONFLICT, "dags/etl.py:2")]),
        (make_row("a kind of a later Airflow", "etl", "m"), []),
        (make_row("non-existent pool", "etl", "in other words"), []),
        (make_row("non-existent pool", "etl", "references non-existent pools: ['a"), []),
        ({}, []),
    ],
)
def test_other_rows(checkout: Checkout, row: dict[str, Any], found: list[tuple[Rule, str]]) -> None:
    assert [(one.rule, one.place) for one in find_dag_warnings([row], checkout, {})] == found
