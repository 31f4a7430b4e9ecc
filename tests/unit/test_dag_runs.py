"""DAG runs, DAGs and task instances as Airflow's REST API tells them: tests/captures/airflow-2.10.4/rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dms_airflow.airflow.dag_runs import DagRun, create_run, fetch_run, format_run_url, parse_refusal, parse_run
from dms_airflow.airflow.dags import Dag, parse_dag, parse_upstream, unpause_dag
from dms_airflow.airflow.responses import parse_date
from dms_airflow.airflow.task_instances import TaskInstance, describe_progress, join_names, parse_task_instance
from dms_airflow.airflow.version import AIRFLOW_2
from dms_airflow.core.errors import AnswerError, Cancelled
from tests.unit.fakes import FakeAirflow, FakeClock, make_response

REST = Path(__file__).parents[1] / "captures" / "airflow-2.10.4" / "rest"
REST_3 = Path(__file__).parents[1] / "captures" / "airflow-3.2.2" / "rest"


def read(name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.loads((REST / f"{name}.json").read_text())["response"]["body"])
    return told


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-22T09:44:14", "yesterday"])
def test_what_is_no_moment_is_not_known(text: str) -> None:
    assert parse_date(text) is None


def test_a_queued_dag_run() -> None:
    assert parse_run(read("dagruns/trigger")) == DagRun(dag_id="lab_quick", run_id="rest_1", state="queued")


def test_a_finished_dag_run() -> None:
    run = parse_run(read("dagruns/patch_state"))

    assert run
    assert (run.state, run.is_finished) == ("failed", True)
    assert run.seconds == pytest.approx(12.396025)


@pytest.mark.parametrize("told", [{}, {"dag_id": "a", "dag_run_id": "b"}, {"dag_id": 1, "dag_run_id": "b", "state": "queued"}])
def test_what_is_no_dag_run(told: dict[str, Any]) -> None:
    assert parse_run(told) is None


# Written by hand from tests/captures/airflow-3.2.2/rest/dagruns/trigger.json.
def test_a_queued_dag_run_of_airflow_3() -> None:
    told = json.loads((REST_3 / "dagruns" / "trigger.json").read_text(encoding="utf-8"))

    assert parse_run(json.loads(told["body"])) == DagRun(dag_id="lab_quick", run_id="rest_1", state="queued")


def test_a_dag() -> None:
    assert parse_dag(read("dags/get"), AIRFLOW_2) == Dag(
        dag_id="lab_quick",
        path="/opt/airflow/dags/lab_quick.py",
        is_active=True,
        is_paused=False,
        has_import_errors=False,
        max_active_runs=16,
        file_token=read("dags/get")["file_token"],
        last_parsed_time=read("dags/get")["last_parsed_time"],
        source=f"/dagSources/{read('dags/get')['file_token']}",
    )


@pytest.mark.parametrize("value", [None, "", "yesterday", "2026-11-22T09:44:11", 5])
def test_what_is_no_moment(value: object) -> None:
    assert parse_date(value) is None


# Written by hand from tests/captures/airflow-2.10.4/rest/ti/list_fail.json.
def test_task_instances_of_a_failed_run() -> None:
    instances = [parse_task_instance(told) for told in read("ti/list_fail")["task_instances"]]

    assert {one.task_id: one.state for one in instances} == {"start": "success", "boom": "failed", "after": "upstream_failed"}
    boom = next(one for one in instances if one.task_id == "boom")
    assert (boom.name, boom.map_index, boom.try_number, boom.max_tries, boom.duration) == ("boom", -1, 1, 0, 1.53014)
    assert boom.pool == "default_pool"
    assert describe_progress("failed", instances) == "failed, 3 of 3 tasks done, 1 failed, 1 upstream failed"


@pytest.mark.parametrize(("told", "duration"), [(-48.513, None), (0, 0.0), (None, None), ("1", None)])
def test_what_is_no_duration(told: object, duration: float | None) -> None:
    assert parse_task_instance({**read("ti/mapped_get_1"), "duration": told}).duration == duration


def test_a_mapped_task_instance_is_named_with_its_index() -> None:
    assert parse_task_instance(read("ti/mapped_get_1")).name == "square[1]"


def test_progress_of_every_state() -> None:
    states = ["success", "failed", "running", "up_for_retry", "deferred", "skipped", "queued", "scheduled", None, "removed"]
    instances = [TaskInstance(task_id=f"t{number}", state=state) for number, state in enumerate(states)]

    assert describe_progress("running", instances) == (
        "running, 4 of 10 tasks done, 1 failed, 1 skipped, 1 up for retry, 1 deferred, 1 queued, 1 scheduled, 1 running: t2"
    )
    assert describe_progress("queued", []) == "queued"


def test_many_names_are_counted() -> None:
    instances = [TaskInstance(task_id=f"t{number}", state="running") for number in range(6)]

    assert join_names(instances, {"running"}) == "t0, t1, t2, t3 and 2 more"


def test_which_task_waits_for_which() -> None:
    assert parse_upstream(read("dags/tasks")) == {
        "extract": frozenset(),
        "transform": frozenset({"extract"}),
        "load": frozenset({"transform"}),
    }
    assert parse_upstream({"tasks": "?"}) == {}


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
    assert parse_refusal(text) == "conf field 'seconds': 'abc' is not of type 'integer' (rule 'type' of its param)"


def test_what_refuses_no_configuration() -> None:
    assert parse_refusal("DAG with dag_id: 'x' not found") == ""


NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("version", "dated"), [("2.10.4", {}), ("3.2.2", {"logical_date": "2026-11-22T12:00:00.123456+00:00"})]
)
def test_a_run_is_dated_where_airflow_does_not(version: str, dated: dict[str, str]) -> None:
    airflow = FakeAirflow(lambda _: {}, FakeClock(), version=version)

    create_run(airflow, "a b", "r1", conf={"x": 1}, logical_date=NOON, timeout=10.0)

    (sent,) = airflow.sent
    assert (sent.method, sent.path) == ("POST", "/dags/a%20b/dagRuns")
    assert sent.body == {"dag_run_id": "r1", "conf": {"x": 1}, **dated}


def test_a_run_that_is_not_there() -> None:
    airflow = FakeAirflow(lambda _: make_response({"title": "DAGRun not found"}, 404), FakeClock())

    assert fetch_run(airflow, "etl", "r1") is None


def test_another_run_than_the_one_that_was_requested_is_unusable() -> None:
    airflow = FakeAirflow(lambda _: {"dag_id": "etl", "dag_run_id": "r2", "state": "success"}, FakeClock())

    with pytest.raises(AnswerError, match="answered without the DAG run"):
        fetch_run(airflow, "etl", "r1")


def test_a_404_of_a_gateway_says_nothing_about_the_run() -> None:
    response = make_response("no such page", 404)
    airflow = FakeAirflow(lambda _: response, FakeClock())

    with pytest.raises(AnswerError):
        fetch_run(airflow, "etl", "r1")


def test_no_change_is_begun_once_the_workflow_is_cancelled() -> None:
    airflow = FakeAirflow(lambda _: {}, FakeClock())
    airflow.close()

    with pytest.raises(Cancelled):
        create_run(airflow, "etl", "r1", conf={}, logical_date=NOON, timeout=10.0)
    with pytest.raises(Cancelled):
        unpause_dag(airflow, "etl")

    assert not airflow.sent


def test_the_page_of_a_run() -> None:
    run = DagRun(dag_id="a/b", run_id="r+1", state="queued")

    assert format_run_url(FakeAirflow(lambda _: {}, FakeClock()), run) == "https://airflow/dags/a%2Fb/grid?dag_run_id=r%2B1"
