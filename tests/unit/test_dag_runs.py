"""DAG runs, DAGs and task instances as Airflow's REST API tells them: tests/captures/airflow-2.10.4/rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dms_airflow.airflow.dag_runs import Dag, DagRun, read_dag, read_dag_run, read_date, read_refusal
from dms_airflow.airflow.task_instances import TaskInstance, describe_progress, name_some, read_task_instance, read_upstream

REST = Path(__file__).parents[1] / "captures" / "airflow-2.10.4" / "rest"
REST_3 = Path(__file__).parents[1] / "captures" / "airflow-3.2.2" / "rest"


def read(name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.loads((REST / f"{name}.json").read_text())["response"]["body"])
    return told


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-22T09:44:14", "yesterday"])
def test_what_is_no_moment_is_not_known(text: str) -> None:
    assert read_date(text) is None


def test_a_queued_dag_run() -> None:
    assert read_dag_run(read("dagruns/trigger")) == DagRun(
        dag_id="lab_quick",
        run_id="rest_1",
        state="queued",
        logical_date=datetime(2026, 11, 22, 9, 44, 11, 136896, tzinfo=UTC),
        due=datetime(2026, 11, 22, 9, 44, 11, 136896, tzinfo=UTC),
        conf={"a": "ünïcode"},
    )


def test_a_finished_dag_run() -> None:
    run = read_dag_run(read("dagruns/patch_state"))

    assert run
    assert (run.state, run.is_finished) == ("failed", True)
    assert run.seconds == pytest.approx(12.396025)


@pytest.mark.parametrize("told", [{}, {"dag_id": "a", "dag_run_id": "b"}, {"dag_id": 1, "dag_run_id": "b", "state": "queued"}])
def test_what_is_no_dag_run(told: dict[str, Any]) -> None:
    assert read_dag_run(told) is None


# Written by hand from tests/captures/airflow-3.2.2/rest/dagruns/trigger.json.
def test_a_run_of_airflow_3_has_a_moment_of_its_own_to_begin_at() -> None:
    told = json.loads((REST_3 / "dagruns" / "trigger.json").read_text(encoding="utf-8"))
    run = read_dag_run(json.loads(told["body"]))

    assert run
    assert (run.run_id, run.state, run.logical_date) == ("rest_1", "queued", None)
    assert run.due == datetime(2026, 11, 22, 10, 12, 55, 558436, tzinfo=UTC)


def test_a_dag() -> None:
    assert read_dag(read("dags/get"), is_active=True) == Dag(
        dag_id="lab_quick",
        file="/opt/airflow/dags/lab_quick.py",
        is_active=True,
        is_paused=False,
        has_import_errors=False,
        max_active_runs=16,
    )


def test_what_is_no_dag() -> None:
    assert read_dag({"title": "DAG not found"}, is_active=True) is None


@pytest.mark.parametrize("value", [None, "", "yesterday", "2026-11-22T09:44:11", 5])
def test_what_is_no_moment(value: object) -> None:
    assert read_date(value) is None


# Written by hand from tests/captures/airflow-2.10.4/rest/ti/list_fail.json.
def test_task_instances_of_a_failed_run() -> None:
    instances = [read_task_instance(told) for told in read("ti/list_fail")["task_instances"]]

    assert {one.task_id: one.state for one in instances} == {"start": "success", "boom": "failed", "after": "upstream_failed"}
    boom = next(one for one in instances if one.task_id == "boom")
    assert (boom.name, boom.map_index, boom.try_number, boom.max_tries, boom.duration) == ("boom", -1, 1, 0, 1.53014)
    assert boom.pool == "default_pool"
    assert describe_progress("failed", instances) == "failed, 3 of 3 tasks done, 1 failed, 1 upstream failed"


@pytest.mark.parametrize(("told", "duration"), [(-48.513, None), (0, 0.0), (None, None), ("1", None)])
def test_what_is_no_duration(told: object, duration: float | None) -> None:
    assert read_task_instance({**read("ti/mapped_get_1"), "duration": told}).duration == duration


def test_a_mapped_task_instance_is_named_with_its_index() -> None:
    assert read_task_instance(read("ti/mapped_get_1")).name == "square[1]"


def test_progress_of_every_state() -> None:
    states = ["success", "failed", "running", "up_for_retry", "deferred", "skipped", "queued", "scheduled", None, "removed"]
    instances = [TaskInstance(task_id=f"t{number}", state=state) for number, state in enumerate(states)]

    assert describe_progress("running", instances) == (
        "running, 4 of 10 tasks done, 1 failed, 1 skipped, 1 to be retried, 1 deferred, 1 queued, 1 scheduled, 1 running: t2"
    )
    assert describe_progress("queued", []) == "queued"


def test_many_names_are_counted() -> None:
    instances = [TaskInstance(task_id=f"t{number}", state="running") for number in range(6)]

    assert name_some(instances, {"running"}) == "t0, t1, t2, t3 and 2 more"


def test_which_task_waits_for_which() -> None:
    assert read_upstream(read("dags/tasks")) == {
        "extract": frozenset(),
        "transform": frozenset({"extract"}),
        "load": frozenset({"transform"}),
    }
    assert read_upstream({"tasks": "?"}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "Invalid input for param seconds: 'abc' is not of type 'integer'\n\nFailed validating 'type' in schema:\n    {}",
        'Traceback\n    raise ParamValidationError(f"Invalid input for param {key}: {ve}") from None\n'  # noqa: ISC004 - one text
        "airflow.exceptions.ParamValidationError: Invalid input for param seconds: 'abc' is not of type 'integer'\n\n"
        "Failed validating 'type' in schema:\n    {'type': 'integer'}\n\nOn instance:\n    'abc'\n",
        # Airflow 3.2.2
        'Traceback\n    raise ValueError(f"Invalid input for param {k}: {e}") from None\n'  # noqa: ISC004 - one text
        "ValueError: Invalid input for param seconds: 'abc' is not of type 'integer'\n\n"
        "Failed validating 'type' in schema:\n    {'type': 'integer'}\n\nOn instance:\n    'abc'\n",
    ],
)
def test_a_refused_configuration_names_field_and_rule(text: str) -> None:
    assert read_refusal(text) == "conf field 'seconds': 'abc' is not of type 'integer' (rule 'type' of its param)"


def test_what_refuses_no_configuration() -> None:
    assert read_refusal("DAG with dag_id: 'x' not found") == ""
