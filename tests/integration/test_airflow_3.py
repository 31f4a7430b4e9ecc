"""The same inputs on Airflow 3: how it is found out, each way in which DMS may serve it, the same outputs as on Airflow 2."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from sandbox.instance import CommandResult, WebResponse
from tests.integration.fake_dms import HTML, JWT, PROOFS, UI_PAGE
from tests.integration.scripted_runs import Fault, ScriptedDag, ScriptedRuns, ScriptedStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms
    from tests.unit.fakes import FakeClock

    Run = Callable[..., Step]

TRIGGER = {"operation": "dags trigger", "arguments": "etl"}
WAIT = {**TRIGGER, "wait-for-completion": "true"}
SMOKE = {"operation": "smoke-test", "arguments": "etl"}
FAILING: tuple[ScriptedStep, ...] = (
    ("running", {"extract": "running", "load": None}),
    ("failed", {"extract": "failed", "load": "upstream_failed"}),
)
# As in tests/captures/airflow-3.2.2/rest/logs.
LOG = [
    {"event": "::group::Log message source details"},
    {"timestamp": "2026-11-22T12:00:01Z", "event": "::error::a line of a stranger", "level": "info", "logger": "task.stdout"},
    {
        "timestamp": "2026-11-22T12:00:02Z",
        "event": "Task failed with exception",
        "level": "error",
        "logger": "task",
        "filename": "task_runner.py",
        "lineno": 1381,
        "error_detail": [
            {
                "exc_type": "ValueError",
                "exc_value": "no rows today",
                "is_cause": False,
                "frames": [
                    {"filename": "/usr/lib/python3.11/site-packages/airflow/sdk/x.py", "lineno": 9, "name": "run"},
                    {"filename": "/opt/airflow/dags/etl.py", "lineno": 5, "name": "extract"},
                ],
            }
        ],
    },
]


@pytest.fixture
def airflow(dms: FakeDms) -> ScriptedRuns:
    """An Airflow 3 with one DAG that runs through, as the sandbox has it: the session opens everything."""
    scripted = ScriptedRuns(dags={"etl": ScriptedDag()})
    dms.airflow = dms.instance = scripted  # type: ignore[assignment]
    dms.become_airflow_3()
    return scripted


def read_words(dms: FakeDms) -> list[str]:
    """Give the words of the last command."""
    return dms.commands()[-1]


def test_a_command_finds_its_way_without_a_question(dms: FakeDms, airflow: ScriptedRuns, run_here: Run) -> None:
    airflow.commands["version"] = ("3.2.2\n", "")

    step = run_here({"operation": "version"})

    assert step.exit_code == 0
    assert dms.paths == ["POST /", "GET /login", "POST /api/v1/command", "POST /api/v2/command"]
    assert step.outputs["airflow-version"] == "3.2.2"


def test_a_run_is_triggered_and_waited_for(dms: FakeDms, airflow: ScriptedRuns, run_here: Run) -> None:
    step = run_here(WAIT)

    assert step.exit_code == 0, step.stdout
    ((_, run_id),) = airflow.made
    assert (step.outputs["dag-id"], step.outputs["run-id"], step.outputs["run-state"]) == ("etl", run_id, "success")
    assert step.outputs["run-url"].endswith(f"/dags/etl/runs/{run_id}")
    assert dms.paths[:7] == [
        "POST /",
        "GET /login",
        "GET /api/v1/version",
        "GET /api/v2/version",
        "GET /api/v2/dags/etl",
        "POST /api/v1/command",
        "POST /api/v2/command",
    ]
    assert {path.split("/")[2] for path in dms.paths[7:]} == {"v2"}
    assert "| extract | success |" in step.summary


def test_a_run_gets_the_moment_as_its_date(dms: FakeDms, airflow: ScriptedRuns, run_here: Run, clock: FakeClock) -> None:
    now = clock.time_of_day()

    step = run_here(TRIGGER)

    assert step.exit_code == 0, step.stdout
    ((_, run_id),) = airflow.made
    words = read_words(dms)
    assert words[:4] == ["dags", "trigger", "etl", "--logical-date"]
    assert words[5:] == ["--no-replace-microseconds", "--run-id", run_id, "-o", "json"]
    assert now <= datetime.fromisoformat(words[4]) < now + timedelta(minutes=1)
    assert dms.paths[2:] == ["GET /api/v1/version", "GET /api/v2/version", "POST /api/v1/command", "POST /api/v2/command"]
    assert step.outputs["airflow-version"] == "3.2.2"


def test_a_date_of_the_authors_own_stays(dms: FakeDms, airflow: ScriptedRuns, run_here: Run) -> None:
    step = run_here({**TRIGGER, "arguments": "etl --logical-date 2026-01-02T03:04:05+00:00"})

    assert step.exit_code == 0, step.stdout
    assert read_words(dms)[3:5] == ["--logical-date", "2026-01-02T03:04:05+00:00"]
    assert read_words(dms).count("--logical-date") == 1
    assert len(airflow.made) == 1


def test_a_smoke_test_dates_its_run_too(dms: FakeDms, airflow: ScriptedRuns, run_here: Run, clock: FakeClock) -> None:
    now = clock.time_of_day()

    step = run_here({**SMOKE, "conf": '{"a": 1}'})

    assert step.exit_code == 0, step.stdout
    ((_, run_id),) = airflow.made
    (body,) = (json.loads(request.body) for request in dms.received if request.path.endswith("/dagRuns"))
    assert (body["dag_run_id"], body["conf"]) == (run_id, {"a": 1})
    assert datetime.fromisoformat(body["logical_date"]) >= now
    assert dms.paths[2:5] == ["GET /api/v1/version", "GET /api/v2/version", "GET /api/v2/monitor/health"]
    assert json.loads(step.outputs["runs"])[0]["url"].endswith(f"/dags/etl/runs/{run_id}")


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("command_api", ["/api/v1", "/api/v2"])
def test_each_way_in_which_dms_may_serve_it(
    dms: FakeDms, airflow: ScriptedRuns, run_here: Run, command_api: str, proof: str
) -> None:
    dms.become_airflow_3(command_api=command_api, proof=proof)

    step = run_here(WAIT)

    assert step.exit_code == 0, step.stdout
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]
    assert "--logical-date" in read_words(dms)
    # Not more logins than it takes to find out that the cookie alone is not enough.
    assert dms.paths.count("GET /login") == (2 if proof == "session as bearer" else 1)
    assert ("The session was accepted as a bearer token." in step.log) is (proof == "session as bearer")
    assert ("POST /api/v2/command" in dms.paths) is (command_api == "/api/v2")
    assert ("The login returned a token of Airflow 3" in step.log) is (proof in ("token", "bearer"))
    assert (f"::add-mask::{JWT}" in step.stdout) is (proof in ("token", "bearer"))


@pytest.mark.usefixtures("airflow")
def test_a_session_that_opens_nothing_is_a_login_that_failed(dms: FakeDms, run_here: Run) -> None:
    dms.become_airflow_3(proof="none")

    step = run_here({"operation": "rest", "arguments": "GET /dags/etl"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Login failed"]
    # With the session, with a new one, and with that as a bearer token.
    assert dms.paths.count("GET /api/v2/dags/etl") == 3
    assert dms.paths.count("GET /login") == 2


@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize("proof", PROOFS)
def test_a_kept_session_knows_the_version_and_its_proof(dms: FakeDms, run_here: Run, tmp_path: Path, proof: str) -> None:
    dms.become_airflow_3(proof=proof)
    inputs = {**SMOKE, "reuse-session": "true"}

    first = run_here(inputs)
    begun = len(dms.paths)
    second = run_here(inputs)

    assert (first.exit_code, second.exit_code) == (0, 0), second.stdout
    assert dms.paths[begun : begun + 2] == ["GET /api/v2/monitor/health", "GET /api/v2/dags/etl"]
    assert not [path for path in dms.paths[begun:] if "/login" in path or "/api/v1" in path]
    (file,) = (tmp_path / "runner-here" / "dms-airflow-sessions").iterdir()
    kept = json.loads(file.read_text())
    assert kept["version"] == "3.2.2"
    assert bool(kept["bearer"]) is (proof != "session")


def test_rest_calls_go_below_the_api_that_the_instance_has(dms: FakeDms, airflow: ScriptedRuns, run_here: Run) -> None:
    read = run_here({"operation": "rest", "arguments": "GET /dags/etl"})
    changed = run_here({"operation": "rest", "arguments": "PATCH /dags/etl", "body": '{"is_paused": true}'})

    assert (read.exit_code, read.outputs["status-code"]) == (0, "200")
    assert "GET /api/v2/dags/etl answered 200" in read.log
    assert changed.exit_code == 0, changed.stdout
    assert [path for path in dms.paths if path.startswith("PATCH")] == ["PATCH /api/v2/dags/etl"]
    assert airflow.dags["etl"].fields == {"is_paused": True}


def test_every_page_of_a_list_is_read_below_the_right_api(dms: FakeDms, airflow: ScriptedRuns, run_here: Run) -> None:
    airflow.route("GET", "/api/v2/pools?limit=100&offset=0", {"pools": [{"name": "a"}], "total_entries": 2})
    airflow.route("GET", "/api/v2/pools?limit=1&offset=1", {"pools": [{"name": "b"}], "total_entries": 2})

    step = run_here({"operation": "rest", "arguments": "GET /pools --paginate"})

    assert step.exit_code == 0, step.stdout
    assert json.loads(step.outputs["json"])["pools"] == [{"name": "a"}, {"name": "b"}]
    assert dms.paths[2:] == ["GET /api/v1/version", "GET /api/v2/version", "GET /api/v2/pools", "GET /api/v2/pools"]


@pytest.mark.usefixtures("airflow")
def test_a_path_that_names_its_api_is_sent_as_it_is(dms: FakeDms, run_here: Run) -> None:
    step = run_here({"operation": "rest", "arguments": "GET /api/v1/dags"})

    assert (step.exit_code, step.outputs["status-code"]) == (1, "404")
    assert dms.paths[2:] == ["GET /api/v1/dags"]
    (annotation,) = step.annotations
    assert "/api/v1 has been removed in Airflow 3" in annotation.data


def test_a_web_page_is_no_data(airflow: ScriptedRuns, run_here: Run) -> None:
    airflow.routes["GET", "/api/v2/assets"] = WebResponse(status=200, headers=[HTML], body=UI_PAGE)

    step = run_here({"operation": "rest", "arguments": "GET /assets"})

    assert step.exit_code == 1
    assert "a web page where data was expected" in step.annotations[0].data


FAULTS: tuple[dict[str, Any], ...] = ({}, {"happens": True})


@pytest.mark.parametrize("arguments", ["etl", "etl --run-id mine"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_run_for_one_trigger_wherever_the_answer_breaks(
    dms: FakeDms, airflow: ScriptedRuns, run_here: Run, fault: dict[str, Any], arguments: str
) -> None:
    airflow.faults = [Fault("dags trigger", **fault)]

    step = run_here({**TRIGGER, "arguments": arguments})

    assert step.exit_code == 0, step.stdout
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]
    sent = [parse_qs(one.query)["command"] for one in dms.received if one.path.endswith("/api/v2/command")]
    assert all(one == sent[0] for one in sent)  # the same date, too


@pytest.mark.parametrize("fault", FAULTS)
def test_one_run_for_one_smoke_test_wherever_the_answer_breaks(
    airflow: ScriptedRuns, run_here: Run, fault: dict[str, Any]
) -> None:
    airflow.faults = [Fault("POST .*/dagRuns", **fault)]

    step = run_here(SMOKE)

    assert step.exit_code == 0, step.stdout
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]


def test_an_older_run_of_the_authors_id_is_not_ours(airflow: ScriptedRuns, run_here: Run) -> None:
    airflow.make("etl", "mine", "2026-11-22T12:00:00.000001+00:00")

    step = run_here({**TRIGGER, "arguments": "etl --run-id mine"})

    assert step.exit_code == 1
    assert "DagRunAlreadyExists" in step.annotations[0].data
    assert len(airflow.made) == 1


def test_a_failed_task_is_told_on_its_line(airflow: ScriptedRuns, run_here: Run, workspace: Path) -> None:
    (workspace / "dags").mkdir()
    (workspace / "dags" / "etl.py").write_text("\n\n\ndef extract():\n    rows = read()\n")
    airflow.dags["etl"] = ScriptedDag(steps=FAILING, logs={"extract": LOG})

    step = run_here(WAIT)

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties == {"title": "Task failed: extract", "file": "dags/etl.py", "line": "5"}
    assert annotation.data.startswith("ValueError: no rows today\nTask instance: etl.extract\nTraceback")
    assert "site-packages" not in annotation.data
    assert re.search(r"/dags/etl/runs/[^/]+/tasks/extract$", annotation.data)
    assert "\n::error::a line" not in step.stdout
    assert "no rows today" in step.summary


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"is_stale": True, "has_import_errors": True}, "has import errors"),
        ({"is_stale": True}, "is not active"),
        ({"is_paused": True}, "is paused"),
    ],
)
def test_a_dag_that_would_not_run_is_not_triggered(
    airflow: ScriptedRuns, run_here: Run, fields: dict[str, bool], words: str
) -> None:
    airflow.dags["etl"].fields = fields

    step = run_here(SMOKE)

    assert step.exit_code == 1
    assert words in step.annotations[0].data
    assert airflow.made == []


def test_an_old_form_that_is_refused_names_the_new_one(airflow: ScriptedRuns, run_here: Run) -> None:
    def refuse(_: Sequence[str]) -> CommandResult:
        # tests/captures/airflow-3.2.2/cli/dags/trigger__e_2x.json
        error = "\nairflow command error: unrecognized arguments: -e 2026-01-02T00:00:00+00:00, see help above.\n"
        return CommandResult(stdout="Usage: airflow [-h]\n", stderr=error, exit_code=2, seconds=0.0)

    airflow.run_command = refuse  # type: ignore[assignment,method-assign]

    step = run_here({**TRIGGER, "arguments": "etl -e 2026-01-02T00:00:00+00:00"})

    assert step.exit_code == 1
    assert step.annotations[0].data.endswith("\nAirflow 3 calls this option `-l`, `--logical-date`.")


def test_an_airflow_that_reports_no_version_is_taken_for_airflow_2(dms: FakeDms, run_here: Run) -> None:
    dms.airflow.version = ""
    dms.airflow.commands["dags trigger"] = ('[{"dag_id": "etl", "dag_run_id": "r1", "state": "queued"}]\n', "")

    step = run_here({**TRIGGER, "arguments": "etl --run-id r1"})

    assert step.exit_code == 0
    assert read_words(dms) == ["dags", "trigger", "etl", "--run-id", "r1", "-o", "json"]
    assert "airflow-version" not in step.outputs
