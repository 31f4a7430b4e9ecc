"""`doctor`: each check fails in turn, which ones are made all the same, and what a person reads of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.openapi import PREFIX
from sandbox.workspace import refused
from tests.integration.fake_dms import HTML, JSON, KEY, TEMPORARY_KEY, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.front import Answer
    from sandbox.runner import Step
    from tests.integration.fake_cloud import FakeCloud
    from tests.integration.fake_dms import FakeDms
    from tests.unit.fakes import FakeClock

    Run = Callable[..., Step]

DOCTOR = {"operation": "doctor"}
CHECKS = ["inputs", "clock", "credentials", "OpenAPI", "login", "REST", "CLI", "scheduler", "version"]
HEALTH = {
    "dag_processor": {"latest_dag_processor_heartbeat": None, "status": None},
    "metadatabase": {"status": "healthy"},
    "scheduler": {"latest_scheduler_heartbeat": "2026-11-22T09:43:57.677577+00:00", "status": "healthy"},
    "triggerer": {"latest_triggerer_heartbeat": None, "status": None},
}


@pytest.fixture(autouse=True)
def script(dms: FakeDms) -> None:
    """Let every check pass."""
    dms.airflow.commands["version"] = ("2.10.4\n", "")
    dms.airflow.route("GET", "/api/v1/version", {"version": "2.10.4", "git_version": ".release:x"})
    dms.airflow.route("GET", "/api/v1/dags?limit=1&offset=0", {"dags": [], "total_entries": 17})
    dms.airflow.route("GET", "/api/v1/health", HEALTH)


def read_states(step: Step) -> dict[str, str]:
    """Give the state of each check."""
    return {check["check"]: check["state"] for check in step.read_json("json")}


def read_checks(step: Step) -> dict[str, Any]:
    """Give the checks by their names."""
    return {check["check"]: check for check in step.read_json("json")}


def list_failed(step: Step) -> list[str]:
    """List the checks that failed."""
    return [name for name, state in read_states(step).items() if state == "failed"]


def list_not_reached(step: Step) -> list[str]:
    """List the checks that were not reached."""
    return [name for name, state in read_states(step).items() if state == "not reached"]


@pytest.mark.check
def test_all_checks_pass(dms: FakeDms, run: Run) -> None:
    step = run(DOCTOR)

    assert step.exit_code == 0
    assert read_states(step) == dict.fromkeys(CHECKS, "ok")
    assert step.annotations == []
    assert (step.outputs["airflow-version"], step.outputs["airflow-url"]) == ("2.10.4", f"{dms.endpoint}{PREFIX}")
    checks = read_checks(step)
    assert all(isinstance(check["milliseconds"], int) for check in checks.values())
    assert checks["credentials"]["detail"] == "an AccessKey by the inputs access-key-id and access-key-secret"
    assert checks["REST"]["detail"] == "/api/v1, 17 DAGs"
    assert checks["CLI"]["detail"] == "airflow version: 2.10.4"
    assert checks["scheduler"]["detail"].startswith("metadatabase healthy; scheduler healthy, last heartbeat ")
    assert checks["version"]["detail"] == (
        "Airflow 2.10.4; it reports deprecations in DAG files only when the instance's environment has "
        "PYTHONWARNINGS=default::DeprecationWarning"
    )
    assert "9 of 9 checks passed" in step.log
    assert "| credentials | ✅ ok |" in step.summary


def test_it_says_where_the_credentials_come_from(run: Run) -> None:
    assert "Using the credentials of the inputs access-key-id and access-key-secret." in run(DOCTOR).log


def test_the_table_holds_no_secret(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    step = run({**DOCTOR, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 0
    for secret in dms.secrets:
        assert secret not in step.summary
        assert secret not in step.outputs["json"]


def test_wrong_inputs_end_the_step_as_in_every_operation(dms: FakeDms, run: Run) -> None:
    step = run({**DOCTOR, "instance-id": "1a2b3c"})

    assert step.exit_code == 2
    assert [one.properties["title"] for one in step.annotations] == ["Wrong input: instance-id"]
    assert dms.received == []


def test_no_credentials(dms: FakeDms, run: Run) -> None:
    step = run({**DOCTOR, "access-key-id": "", "access-key-secret": ""})

    assert step.exit_code == 1
    assert list_failed(step) == ["credentials"]
    assert list_not_reached(step) == ["OpenAPI", "login", "REST", "CLI", "scheduler", "version"]
    assert read_states(step)["clock"] == "ok"
    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]
    assert dms.paths == ["GET /"]


def test_a_role_that_does_not_trust_the_job(cloud: FakeCloud, run: Run) -> None:
    cloud.fail("sts", answer(403, b'{"Code": "AuthenticationFail.NoPermission", "Message": "There is no permission"}', JSON))

    step = run({**DOCTOR, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 1
    assert list_failed(step) == ["credentials"]
    assert [one.properties["title"] for one in step.annotations] == ["Role not assumed"]
    assert '"Action": "sts:AssumeRole"' in step.summary


def test_a_token_call_that_is_refused(dms: FakeDms, run: Run) -> None:
    dms.fail("token", answer(403, b'{"Code": "UserNotExist", "Message": "m"}', JSON))
    dms.faults["token"].appendleft(lambda _: None)  # the clock's question comes first

    step = run(DOCTOR)

    assert list_failed(step) == ["OpenAPI"]
    assert list_not_reached(step) == ["login", "REST", "CLI", "scheduler", "version"]
    check = read_checks(step)["OpenAPI"]
    assert "the identity is not a user of DMS" in check["detail"]
    assert "must add its UID" in check["advice"]


def test_a_host_that_is_not_there(run_here: Run, clock: FakeClock) -> None:
    step = run_here({**DOCTOR, "endpoint": "http://127.0.0.1:1"})

    assert step.exit_code == 1
    assert list_failed(step) == ["OpenAPI"]
    assert "clock" in list_not_reached(step)
    assert "http://127.0.0.1:1: the connection was refused" in read_checks(step)["OpenAPI"]["detail"]
    assert read_checks(step)["OpenAPI"]["milliseconds"] == 15000
    assert sum(clock.slept) == 15


def test_a_login_that_fails(dms: FakeDms, run: Run) -> None:
    dms.fail("login", answer(403, b"", HTML))

    step = run(DOCTOR)

    assert list_failed(step) == ["login"]
    assert list_not_reached(step) == ["REST", "CLI", "scheduler", "version"]


def test_an_api_that_is_silent_leaves_the_command_line(dms: FakeDms, run: Run) -> None:
    dms.airflow.routes.clear()
    dms.airflow.version = ""

    step = run(DOCTOR)

    assert list_failed(step) == ["REST"]
    assert list_not_reached(step) == ["scheduler"]
    assert "reports no version, below /api/v1 or /api/v2." in step.log
    assert step.outputs["airflow-version"] == "2.10.4"


def test_no_right_to_read_dags_leaves_the_scheduler(dms: FakeDms, run: Run) -> None:
    dms.airflow.route("GET", "/api/v1/dags?limit=1&offset=0", {"title": "Forbidden"}, 403)

    step = run(DOCTOR)

    assert list_failed(step) == ["REST"]
    assert list_not_reached(step) == []
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Unusable answer"
    assert f"GET /api/v1/dags at {dms.endpoint}{PREFIX} answered 403: Forbidden" in annotation.data
    assert "Ask the instance's administrator for a role" in annotation.data


@pytest.mark.parametrize(
    ("fault", "title"),
    [
        (answer(404, b"", HTML), "Unusable answer"),
        (answer(200, b'{"stdout": "", "stderr": "Killed"}', JSON), "Check failed"),
    ],
)
def test_a_command_line_that_does_not_answer(dms: FakeDms, run: Run, fault: Answer, title: str) -> None:
    dms.fail("command", fault)

    step = run(DOCTOR)

    assert list_failed(step) == ["CLI"]
    assert list_not_reached(step) == []
    assert [one.properties["title"] for one in step.annotations] == [title]


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (
            {**HEALTH, "scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": "2026-11-22T09:43:57+00:00"}},
            "unhealthy",
        ),
        (
            {**HEALTH, "scheduler": {"status": None, "latest_scheduler_heartbeat": None}},
            "Airflow reports a problem: scheduler without a status.",
        ),
        ({**HEALTH, "metadatabase": {"status": "unhealthy"}}, "Airflow reports a problem: metadatabase unhealthy"),
        ({"triggerer": {"status": None}}, "reports nothing about the metadatabase and the scheduler"),
        ({}, "answered 200: (application/json) {}"),
    ],
)
def test_a_scheduler_that_is_not_healthy(dms: FakeDms, run: Run, health: dict[str, Any], words: str) -> None:
    dms.airflow.route("GET", "/api/v1/health", health)

    step = run(DOCTOR)

    assert step.exit_code == 1
    assert list_failed(step) == ["scheduler"]
    assert words in read_checks(step)["scheduler"]["detail"]
    assert read_checks(step)["scheduler"]["advice"]


def test_versions_that_differ(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["version"] = ("3.0.6\n", "")

    step = run(DOCTOR)

    assert list_failed(step) == ["version"]
    assert "REST reports Airflow 2.10.4, the CLI 3.0.6." in step.log


def test_airflow_3(dms: FakeDms, run: Run) -> None:
    dms.airflow.routes.clear()
    dms.airflow.commands["version"] = ("3.2.2\n", "")
    dms.airflow.version = "3.2.2"
    dms.airflow.route("GET", "/api/v2/dags?limit=1&offset=0", {"dags": [], "total_entries": 1})
    dms.airflow.route("GET", "/api/v2/monitor/health", HEALTH)

    step = run(DOCTOR)

    assert step.exit_code == 0
    assert step.outputs["airflow-version"] == "3.2.2"


@pytest.mark.parametrize(("date", "words"), [("11:50", "600 s ahead of"), ("12:10", "600 s behind")])
def test_a_clock_that_is_wrong(dms: FakeDms, run_here: Run, date: str, words: str) -> None:
    # The clock of `run_here` stands at noon.
    dms.fail("token", answer(400, b"", ("Date", f"Sun, 22 Nov 2026 {date}:00 GMT")))

    step = run_here(DOCTOR)

    assert step.exit_code == 1
    assert list_failed(step) == ["clock"]
    assert list_not_reached(step) == []
    assert f"This machine's clock is {words}" in step.log


def test_a_signature_that_is_refused_for_the_time_it_names(dms: FakeDms, run: Run) -> None:
    dms.openapi.clock_offset = timedelta(hours=1)

    step = run(DOCTOR)

    assert list_failed(step) == ["OpenAPI"]
    assert "this machine's clock is wrong (InvalidTimeStamp.Expired" in step.log


def test_it_opens_a_session_of_its_own_also_when_one_is_kept(dms: FakeDms, run: Run) -> None:
    run({"operation": "version", "reuse-session": "true"})

    step = run({**DOCTOR, "reuse-session": "true"})

    assert step.exit_code == 0
    assert dms.paths.count("GET /login") == 2


def test_the_json_has_its_fields(run: Run) -> None:
    step = run({**DOCTOR, "access-key-secret": "wrong-secret-wrong-secret"})

    checks = json.loads(step.outputs["json"])
    assert [check["check"] for check in checks] == CHECKS
    assert {tuple(check) for check in checks} == {("check", "state", "milliseconds", "detail", "advice")}
    assert checks[-1] == {"check": "version", "state": "not reached", "milliseconds": None, "detail": "", "advice": ""}
    assert KEY.access_key_id not in step.summary
    assert TEMPORARY_KEY.security_token not in step.summary


def test_the_clocks_milliseconds_are_those_of_its_request(dms: FakeDms, run_here: Run, clock: FakeClock) -> None:
    dms.fail("token", lambda _: clock.sleep(0.25))

    step = run_here(DOCTOR)

    assert read_checks(step)["clock"]["milliseconds"] == 250


def test_the_rights_of_a_deploy_are_checked_when_asked_for_and_nothing_is_written(dms: FakeDms, run: Run) -> None:
    step = run({"operation": "doctor", "arguments": "deploy"})

    assert (step.exit_code, read_checks(step)["deploy"]["state"]) == (0, "ok"), step.log
    assert read_checks(step)["deploy"]["detail"].startswith("/Workspace/code/default/dags can be read;")
    assert not {"SaveWorkspaceCode", "DeleteWorkspaceCode", "WorkspaceCodePublish"} & set(dms.workspace.actions())


@pytest.mark.parametrize(
    "action", ["GetAirflow", "GetWorkspaceCodePublishSetting", "ListWorkspaceCode", "GetWorkspaceCode", "WorkspaceActionStatus"]
)
def test_a_right_that_a_deploy_lacks_is_named(dms: FakeDms, run: Run, action: str) -> None:
    dms.workspace.fail(action, refused("NoPermission"), times=9)

    step = run({"operation": "doctor", "arguments": "deploy"})

    assert step.exit_code == 1
    assert f"dms:{action}" in read_checks(step)["deploy"]["advice"]
