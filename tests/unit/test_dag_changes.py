"""What changed between two versions of DAGs, as the details and tasks that Airflow gives of each say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dms_airflow.core.result import Diagram, Table
from dms_airflow.deploy.dag_changes import (
    DagChange,
    DagShape,
    Kind,
    compare_dags,
    list_blocks,
    list_lines,
    parse_shape,
    sum_up,
)

CAPTURES = Path(__file__).parents[1] / "captures"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
STARTS = "catchup is on and the start date is in the past: Airflow starts runs"


def task(task_id: str, *below: str, **fields: Any) -> dict[str, Any]:
    """Make a task as `GET /dags/{id}/tasks` gives it."""
    base = {"operator_name": "BashOperator", "pool": "default_pool", "retries": 0.0, "owner": "airflow", "is_mapped": False}
    return {"task_id": task_id, "downstream_task_ids": list(below), "start_date": "2024-01-01T00:00:00+00:00", **base, **fields}


TASKS = (task("extract", "load"), task("load"))


def shape(*tasks: dict[str, Any], **details: Any) -> DagShape:
    """Parse a DAG, of two tasks unless others are given."""
    base = {"timetable_summary": "@daily", "catchup": False, "start_date": "2024-01-01T00:00:00Z", "timezone": "UTC"}
    return parse_shape({**base, "is_paused": False, "tags": [], **details}, {"tasks": list(tasks or TASKS)})


CHANGES: dict[str, tuple[DagShape, DagShape, list[str]]] = {
    "nothing": (shape(), shape(), []),
    "load time of the web server": (shape(last_parsed="2026-11-22T11:00:00Z"), shape(last_parsed=None), []),
    "schedule": (shape(), shape(timetable_summary="@hourly"), ["schedule @daily → @hourly"]),
    "schedule taken off": (shape(), shape(timetable_summary=None), ["schedule @daily → none"]),
    "cron expression of Airflow 2": (
        shape(timetable_summary=None, schedule_interval={"__type": "CronExpression", "value": "@once"}),
        shape(timetable_summary=None, schedule_interval={"__type": "TimeDelta", "days": 1, "seconds": 30, "microseconds": 0}),
        ["schedule @once → 1 day, 0:00:30"],
    ),
    "assets of Airflow 3": (
        shape(timetable_summary="Asset", asset_expression={"all": [{"asset": {"uri": "s3://a", "name": "a", "group": "x"}}]}),
        shape(
            timetable_summary="Asset",
            asset_expression={
                "any": [{"asset": {"uri": "s3://a", "name": "a", "group": "x"}}, {"alias": {"name": "b", "group": "x"}}]
            },
        ),
        ["schedule Asset (all(s3://a)) → Asset (any(s3://a, b))"],
    ),
    "datasets of Airflow 2": (
        shape(timetable_summary="Dataset", dataset_expression={"all": ["s3://a"]}),
        shape(timetable_summary="Dataset", dataset_expression={"all": ["s3://a", "s3://b"]}),
        ["schedule Dataset (all(s3://a)) → Dataset (all(s3://a, s3://b))"],
    ),
    "catchup off → on": (shape(), shape(catchup=True), ["catchup off → on", STARTS]),
    "catchup on, while paused": (shape(is_paused=True), shape(is_paused=True, catchup=True), ["catchup off → on"]),
    "catchup on, no schedule": (
        shape(timetable_summary=None),
        shape(timetable_summary=None, catchup=True),
        ["catchup off → on"],
    ),
    "catchup on, start in the future": (
        shape(start_date="2030-01-01T00:00:00Z"),
        shape(start_date="2030-01-01T00:00:00Z", catchup=True),
        ["catchup off → on"],
    ),
    "catchup on → off": (shape(catchup=True), shape(), ["catchup on → off"]),
    "start date, with catchup": (
        shape(catchup=True),
        shape(catchup=True, start_date="2023-06-01T12:30:00Z"),
        ["start date 2024-01-01 00:00 → 2023-06-01 12:30", STARTS],
    ),
    "the same start date in another form": (shape(), shape(start_date="2024-01-01T00:00:00+00:00"), []),
    "start date of the tasks": (
        shape(start_date=None),
        shape(task("extract", "load", start_date="2025-01-01T00:00:00Z"), task("load", start_date=None), start_date=None),
        ["start date 2024-01-01 00:00 → 2025-01-01 00:00"],
    ),
    "unpaused with catchup": (shape(is_paused=True, catchup=True), shape(catchup=True), ["paused yes → no", STARTS]),
    "paused": (shape(), shape(is_paused=True), ["paused no → yes"]),
    "owner": (shape(), shape(task("extract", "load", owner="shop"), task("load")), ["owner airflow → airflow, shop"]),
    "tags": (
        shape(tags=[{"name": "old"}, {"name": "both"}]),
        shape(tags=[{"name": "both", "dag_id": "x"}, {"name": "new", "dag_id": "x"}]),
        ["tag new added", "tag old removed"],
    ),
    "pool of all tasks": (
        shape(),
        shape(task("extract", "load", pool="slow"), task("load", pool="slow")),
        ["tasks extract, load: pool default_pool → slow"],
    ),
    "retries": (shape(), shape(task("extract", "load", retries=2.0), TASKS[1]), ["task extract: retries 0 → 2"]),
    "operator": (
        shape(),
        shape(TASKS[0], task("load", operator_name="PythonOperator")),
        ["task load: operator BashOperator → PythonOperator"],
    ),
    "mapped": (shape(), shape(TASKS[0], task("load", is_mapped=True)), ["task load: mapped no → yes"]),
    "not mapped": (shape(TASKS[0], task("load", is_mapped=True)), shape(), ["task load: mapped yes → no"]),
    "task added": (
        shape(),
        shape(task("extract", "check"), task("check", "load"), task("load")),
        ["task check added", "edge check → load added", "edge extract → check added", "edge extract → load removed"],
    ),
    "task removed": (shape(), shape(task("extract")), ["task load removed", "edge extract → load removed"]),
    "edge turned round": (
        shape(),
        shape(task("extract"), task("load", "extract")),
        ["edge load → extract added", "edge extract → load removed"],
    ),
    "into a task group": (
        shape(),
        shape(task("extract", "shop.load"), task("shop.load")),
        ["task shop.load added", "task load removed", "edge extract → shop.load added", "edge extract → load removed"],
    ),
}


@pytest.mark.parametrize(("old", "new", "details"), CHANGES.values(), ids=CHANGES)
def test_each_kind_of_change(old: DagShape, new: DagShape, details: list[str]) -> None:
    changes = compare_dags({"etl": old}, {"etl": new}, unknown=(), now=NOW)

    expected = [{"dag_id": "etl", "change": "changed", "details": details}] if details else []
    assert [change.to_json() for change in changes] == expected


def test_schedules_and_removed_dags_come_first() -> None:
    other = (task("a"), task("b"))
    before = {
        "a_tag": shape(),
        "b_schedule": shape(),
        "c_gone": shape(task("only")),
        "d_old_id": shape(*other),
        "e_refused": None,
        "f_refused": shape(),
        "g_gone": None,
    }
    after = {
        "a_tag": shape(tags=[{"name": "new"}]),
        "b_schedule": shape(timetable_summary=None),
        "d_new_id": shape(*other, timetable_summary="@hourly"),
        "e_refused": shape(),
        "f_refused": None,
        "h_new": shape(task("first"), catchup=True),
        "i_new": None,
    }

    changes = compare_dags(before, after, unknown=["j_other", "a_tag"], now=NOW)

    assert [(change.dag_id, change.kind.value, change.details) for change in changes] == [
        ("c_gone", "removed", ()),
        ("g_gone", "removed", ()),
        ("d_new_id", "renamed", ("was d_old_id", "schedule @daily → @hourly")),
        ("b_schedule", "changed", ("schedule @daily → none",)),
        ("h_new", "added", ("schedule @daily", "1 task", STARTS)),
        ("i_new", "added", ()),
        ("a_tag", "changed", ("tag new added",)),
        ("e_refused", "not known", ()),
        ("f_refused", "not known", ()),
        ("j_other", "not known", ()),
    ]
    assert sum_up(changes) == "2 removed, 1 renamed, 2 added, 2 changed, 3 not known"
    assert list_lines(changes)[2:5] == [
        "  d_new_id: renamed: was d_old_id, schedule @daily → @hourly",
        "  b_schedule: changed: schedule @daily → none",
        f"  h_new: added: schedule @daily, 1 task, {STARTS}",
    ]
    assert list_lines(changes)[-1] == (
        "  Not known, since one of their versions could not be read: e_refused, f_refused, j_other"
    )


def test_dags_that_are_alike_are_not_paired() -> None:
    changes = compare_dags({"a": shape(), "b": shape()}, {"c": shape()}, unknown=(), now=NOW)

    assert [(change.dag_id, change.kind.value) for change in changes] == [("a", "removed"), ("b", "removed"), ("c", "added")]


def test_a_dag_without_tasks_is_not_renamed() -> None:
    empty = parse_shape({}, {"tasks": []})

    changes = compare_dags({"a": empty}, {"b": empty}, unknown=(), now=NOW)

    assert {change.kind for change in changes} == {Kind.REMOVED, Kind.ADDED}


@pytest.mark.parametrize("version", ["airflow-2.10.4", "airflow-3.2.2"])
def test_real_answers(version: str) -> None:
    def read(name: str) -> Any:
        capture = json.loads((CAPTURES / version / "rest/dags" / f"{name}.json").read_text(encoding="utf-8"))
        return json.loads(capture.get("response", capture)["body"])

    found = parse_shape(read("details"), read("tasks"))

    assert found.facts == {
        "schedule": "none",
        "catchup": "off",
        "start date": "2024-01-01 00:00",
        "paused": "yes" if version == "airflow-3.2.2" else "no",
        "owner": "airflow",
    }
    assert found.edges == {("extract", "transform"), ("transform", "load")}
    same = {"mapped": "no", "pool": "default_pool", "retries": "0"}
    assert found.tasks == {
        "extract": {"operator": "BashOperator", **same},
        "transform": {"operator": "PythonOperator", **same},
        "load": {"operator": "BashOperator", **same},
    }
    assert found.loaded is not None


def test_a_graph_shows_what_is_new_removed_and_changed() -> None:
    old = shape(task("extract", 'lo"ad', "old"), task('lo"ad'), task("old"))
    new = shape(task("extract", 'lo"ad'), task('lo"ad', "check", pool="slow"), task("check"))
    change = DagChange(dag_id="etl", kind=Kind.CHANGED, details=("x",), before=old, after=new)

    table, graph = list_blocks([change], lambda text: text.replace("check", "***"))

    assert isinstance(table, Table)
    assert (table.heading, table.rows) == ("DAG changes: 1 changed", (("etl", "changed: x"),))
    assert isinstance(graph, Diagram)
    assert graph.source == (
        "flowchart LR\n"
        't0["··· (new)"]:::new\n'
        't1["extract"]\n'
        't2["lo·ad (changed)"]:::changed\n'
        't3["old (removed)"]:::removed\n'
        "t1 --> t2\n"
        "t1 -.-> t3\n"
        "t2 ==> t0\n"
        "classDef new fill:#238636,color:#ffffff\n"
        "classDef removed fill:#da3633,color:#ffffff\n"
        "classDef changed fill:#9e6a03,color:#ffffff\n"
    )


def test_no_graph_of_a_big_dag_nor_where_no_task_changed() -> None:
    many = [task(f"t{number}") for number in range(30)]
    big = DagChange(dag_id="big", kind=Kind.CHANGED, before=shape(*many), after=shape(*many, task("one more")))
    same = DagChange(dag_id="same", kind=Kind.CHANGED, before=shape(), after=shape(timetable_summary=None))

    assert [type(block) for block in list_blocks([big, same], str)] == [Table]
    assert list(list_blocks([], str)) == []
