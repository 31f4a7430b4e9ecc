"""DAG runs by the whole action: one run for one trigger wherever an answer breaks, waiting, cancelling, smoke tests."""

from __future__ import annotations

import json
import re
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.instance import CommandResult, WebResponse
from tests.integration.fake_dms import HTML, JSON, LOGIN_PAGE
from tests.integration.scripted_runs import DONE, GOOD, Fault, ScriptedDag, ScriptedRuns, ScriptedStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sandbox.runner import Runner, Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

TRIGGER = {"operation": "dags trigger", "arguments": "etl"}
WAIT = {**TRIGGER, "wait-for-completion": "true"}
SMOKE = {"operation": "smoke-test", "arguments": "etl"}

FAILING: tuple[ScriptedStep, ...] = (
    ("running", {"extract": "running", "load": None}),
    ("failed", {"extract": "failed", "load": "upstream_failed"}),
)
FOREVER: tuple[ScriptedStep, ...] = (("queued", {}), ("running", {"extract": "running", "load": None}))

LOG = (
    "worker-1\n"
    "[2026-11-22T12:00:01.000+0000] {taskinstance.py:2866} INFO - Starting attempt 1 of 1\n"
    "::error::a line of a stranger\n"
    "[2026-11-22T12:00:02.000+0000] {taskinstance.py:3313} ERROR - Task failed with exception\n"
    "Traceback (most recent call last):\n"
    '  File "/opt/airflow/dags/etl.py", line 5, in extract\n'
    "    rows = read()\n"
    '  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads\n'
    "    return _default_decoder.decode(s)\n"
    "ValueError: no rows today\n"
)

BAD_GATEWAY = WebResponse(status=502, headers=[HTML], body=b"<html>502</html>")


@pytest.fixture
def airflow(dms: FakeDms) -> ScriptedRuns:
    """An Airflow with one DAG that runs through."""
    scripted = ScriptedRuns(dags={"etl": ScriptedDag()})
    dms.airflow = dms.instance = scripted  # type: ignore[assignment]
    return scripted


def titles(step: Step) -> list[tuple[str, str]]:
    return [(one.name, one.properties["title"]) for one in step.annotations]


@pytest.mark.check
def test_a_run_is_triggered_and_waited_for(dms: FakeDms, airflow: ScriptedRuns, run: Run) -> None:
    step = run(WAIT)

    assert step.exit_code == 0, step.stdout
    ((dag_id, run_id),) = airflow.made
    assert (step.outputs["dag-id"], step.outputs["run-id"]) == (dag_id, run_id)
    assert step.outputs["run-state"] == "success"
    assert step.outputs["run-url"].endswith(f"/dags/etl/grid?dag_run_id={run_id}")
    run_path = f"/api/v1/dags/etl/dagRuns/{run_id}"
    assert dms.paths == [
        "POST /",
        "GET /login",
        "GET /api/v1/version",
        "GET /api/v1/dags/etl",
        "POST /api/v1/command",
        f"GET {run_path}",  # queued
        f"GET {run_path}/taskInstances",
        f"GET {run_path}",  # running
        f"GET {run_path}/taskInstances",
        f"GET {run_path}",  # success
        f"GET {run_path}/taskInstances",
        "GET /api/v1/dags/etl/tasks",  # for the critical path
    ]
    assert "success, 2 of 2 tasks done" in step.log
    assert f"DAG run {run_id} of etl succeeded after 4.0 s: 2 task instances" in step.log
    assert "| extract | success |" in step.summary


def test_without_waiting_nothing_more_is_asked(dms: FakeDms, airflow: ScriptedRuns, run: Run) -> None:
    step = run(TRIGGER)

    assert step.exit_code == 0
    assert len(airflow.made) == 1
    # The version decides whether the run must be dated.
    assert dms.paths == ["POST /", "GET /login", "GET /api/v1/version", "POST /api/v1/command"]


FAULTS = [
    Fault("dags trigger"),
    Fault("dags trigger", happens=True),
    Fault("dags trigger", happens=True, answer=WebResponse(status=200, headers=[JSON], body=b'[{"dag_id": "etl", "dag_')),
    Fault("dags trigger", happens=True, answer=WebResponse(status=200, headers=[JSON], body=b"")),
]


@pytest.mark.parametrize("inputs", [TRIGGER, WAIT])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_run_for_one_trigger_wherever_the_answer_breaks(
    airflow: ScriptedRuns, run: Run, fault: Fault, inputs: dict[str, str]
) -> None:
    airflow.faults = [Fault(**fault.__dict__)]

    step = run(inputs)

    assert step.exit_code == 0, step.stdout
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]


@pytest.mark.parametrize("happens", [False, True])
@pytest.mark.parametrize("answer", [None, BAD_GATEWAY])
def test_one_run_for_one_smoke_test_wherever_the_answer_breaks(
    airflow: ScriptedRuns, run: Run, answer: WebResponse | None, *, happens: bool
) -> None:
    airflow.faults = [Fault("POST .*/dagRuns", happens=happens, answer=answer)]

    step = run(SMOKE)

    assert step.exit_code == 0, step.stdout
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]


@pytest.mark.parametrize("inputs", [TRIGGER, WAIT])
def test_a_command_that_names_another_run_is_not_believed(airflow: ScriptedRuns, run: Run, inputs: dict[str, str]) -> None:
    told = b'[{"dag_id": "other", "dag_run_id": "r1", "state": "success"}]'
    airflow.faults = [Fault("dags trigger", happens=True, answer=WebResponse(status=200, headers=[JSON], body=told))]

    step = run(inputs)

    assert step.exit_code == 0, step.stdout
    assert [(step.outputs["dag-id"], step.outputs["run-id"])] == airflow.made


def test_an_answer_that_names_another_dag_is_not_believed(airflow: ScriptedRuns, run: Run) -> None:
    request = airflow.request

    def name_another(method: str, target: str, headers: object, body: bytes) -> WebResponse:
        response = request(method, target, headers, body)
        return replace(response, body=response.body.replace(b'"etl"', b'"other"')) if method == "POST" else response

    airflow.request = name_another  # type: ignore[method-assign]

    step = run(SMOKE)

    assert step.exit_code == 0, step.stdout
    assert [(step.outputs["dag-id"], step.outputs["run-id"])] == airflow.made


@pytest.mark.parametrize("inputs", [WAIT, SMOKE])
def test_a_run_that_has_ended_when_it_is_found_is_told_as_it_ended(
    airflow: ScriptedRuns, run: Run, inputs: dict[str, str]
) -> None:
    airflow.dags["etl"].steps = (DONE,)
    airflow.faults = [Fault("dags trigger", happens=True), Fault("POST .*/dagRuns", happens=True)]

    step = run(inputs)

    assert (step.exit_code, step.outputs["run-state"]) == (0, "success"), step.stdout
    assert "2 task instances" in step.log


def test_a_command_that_says_nothing_is_looked_after(airflow: ScriptedRuns, run: Run) -> None:
    command = airflow.run_command

    def end_early(arguments: Sequence[str]) -> CommandResult:
        command(arguments)
        return CommandResult(stdout="", stderr="/x/y.py:3 DeprecationWarning: old\n", exit_code=-1, seconds=0.0)

    airflow.run_command = end_early  # type: ignore[method-assign]

    step = run(TRIGGER)

    assert step.exit_code == 0, step.stdout
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]


@pytest.mark.parametrize("status", [204, 302, 404])
def test_an_answer_of_a_gateways_own_leaves_open_what_happened(airflow: ScriptedRuns, run: Run, status: int) -> None:
    airflow.faults = [Fault("POST .*/dagRuns", happens=True, answer=WebResponse(status=status, headers=[HTML], body=b""))]

    step = run(SMOKE)

    assert step.exit_code == 0, step.stdout
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]


def test_a_run_that_cannot_be_looked_for_at_once_is_found_later(airflow: ScriptedRuns, run: Run) -> None:
    airflow.faults = [Fault("dags trigger", happens=True), Fault("GET .*dagRuns", answer=BAD_GATEWAY), Fault("GET .*dagRuns")]

    step = run(TRIGGER)

    assert step.exit_code == 0, step.stdout
    assert len(airflow.made) == 1


FRAME = 'Traceback (most recent call last):\n  File "/usr/bin/airflow", line 8, in <module>\n'


def fail_after_the_run_was_made(airflow: ScriptedRuns, stderr: str) -> None:
    def make_and_fail(arguments: Sequence[str]) -> CommandResult:
        airflow.make(arguments[2], arguments[4])
        return CommandResult(stdout="", stderr=stderr, exit_code=1, seconds=0.0)

    airflow.run_command = make_and_fail  # type: ignore[method-assign]


@pytest.mark.parametrize("stderr", ["", "Killed\n"])
def test_a_run_is_made_whatever_ended_the_command_afterwards(airflow: ScriptedRuns, run: Run, stderr: str) -> None:
    """Neither its output nor the reason shows it, but the run is there."""
    fail_after_the_run_was_made(airflow, stderr)

    step = run(TRIGGER)

    assert step.exit_code == 0
    ((_, run_id),) = airflow.made
    assert step.outputs["run-id"] == run_id


def test_a_command_that_fails_after_its_run_was_made_fails_and_names_the_run(airflow: ScriptedRuns, run: Run) -> None:
    fail_after_the_run_was_made(airflow, f"{FRAME}rich.errors.MarkupError: no closing tag\n")

    step = run(WAIT)

    assert step.exit_code == 1
    assert titles(step) == [("error", "Airflow command failed")]
    ((_, run_id),) = airflow.made
    assert f"The DAG run {run_id} was created in spite of that, and is queued" in step.annotations[0].data
    assert step.outputs["run-id"] == run_id


def test_an_older_run_of_the_authors_id_fails(airflow: ScriptedRuns, run: Run) -> None:
    airflow.make("etl", "nightly")

    step = run({**TRIGGER, "arguments": "etl --run-id nightly"})

    assert step.exit_code == 1
    assert titles(step) == [("error", "Airflow command failed")]
    assert "DagRunAlreadyExists" in step.annotations[0].data


@pytest.mark.parametrize("fault", [BAD_GATEWAY, None, WebResponse(status=200, headers=[HTML], body=LOGIN_PAGE)])
def test_a_wait_survives_faults(airflow: ScriptedRuns, run: Run, fault: WebResponse | None) -> None:
    airflow.dags["etl"].steps = (GOOD[1], GOOD[1], GOOD[2])
    airflow.faults = [Fault("GET .*dagRuns/", answer=fault), Fault("GET .*taskInstances", answer=fault)]

    step = run(WAIT)

    assert step.exit_code == 0, step.stdout
    assert len(airflow.made) == 1


def test_a_session_lost_in_the_middle_is_renewed(dms: FakeDms, airflow: ScriptedRuns, run: Run) -> None:
    look = airflow.request

    def expire_once(method: str, target: str, headers: object, body: bytes) -> WebResponse:
        if "taskInstances" in target:
            airflow.request = look  # type: ignore[method-assign]
            dms.expire_sessions()
        return look(method, target, headers, body)

    airflow.request = expire_once  # type: ignore[method-assign]

    step = run(WAIT)

    assert step.exit_code == 0
    assert dms.paths.count("POST /") == 2
    assert len(airflow.made) == 1


def test_a_failed_task_is_told_on_its_line(airflow: ScriptedRuns, run: Run, workspace: Path) -> None:
    (workspace / "dags").mkdir()
    (workspace / "dags" / "etl.py").write_text("\n\n\ndef extract():\n    rows = read()\n")
    airflow.dags["etl"] = ScriptedDag(steps=FAILING, logs={"extract": LOG})

    step = run(WAIT)

    assert step.exit_code == 1
    assert (step.outputs["status"], step.outputs["run-state"]) == ("failure", "failed")
    (annotation,) = step.annotations
    assert annotation.name == "error"
    assert annotation.properties == {"title": "Task failed: extract", "file": "dags/etl.py", "line": "5"}
    assert annotation.data.startswith("ValueError: no rows today\nTask instance: etl.extract\nTraceback")
    assert "task_id=extract&tab=logs" in annotation.data
    assert "::group::Log of etl.extract, try 1" in step.stdout
    assert "\n::error::a line" not in step.stdout
    assert "Log of" in step.summary
    assert "no rows today" in step.summary
    assert "| load | upstream&#95;failed |" in step.summary
    assert [(one["rule"], one["level"], one["affects"]) for one in step.read_json("findings")] == [
        ("task-failed", "error", ["etl.extract"])
    ]


def test_an_exception_of_megabytes_leaves_room_in_the_summary(airflow: ScriptedRuns, run: Run) -> None:
    log = LOG.replace("no rows today", "no rows today " + "x" * 2_000_000)
    airflow.dags["etl"] = ScriptedDag(steps=FAILING, logs={"extract": log})

    step = run(WAIT)

    assert step.exit_code == 1
    assert "no rows today" in step.annotations[0].data
    assert len(step.summary.encode()) < 1024 * 1024


def test_what_a_failed_task_says_is_cut_after_secrets_are_masked(airflow: ScriptedRuns, run: Run) -> None:
    token = "".join(f"{number:04d}-" for number in range(200))
    password = "9876-" * 16
    message = f"{'x' * 9_500}{token}{'y' * 9_900}{token}{'z' * 9_500}"
    log = LOG.replace("no rows today\n", message)  # one line, longer than what is shown of a log
    airflow.dags["etl"] = ScriptedDag(steps=(("failed", {"extract": "failed", password: "success"}),), logs={"extract": log})

    step = run({**WAIT, "conf": json.dumps({"password": password, "token": token})})

    told = "\n".join([step.log, step.summary, *step.outputs.values()])
    assert "left out" in told
    assert ("0000-0001" in told, "0198-0199" in told, "9876-" in told) == (False, False, False)


def test_a_log_that_cannot_be_read_does_not_hide_the_failure(airflow: ScriptedRuns, run: Run) -> None:
    airflow.dags["etl"].steps = FAILING
    airflow.faults = [Fault("GET .*/logs/", answer=WebResponse(status=404, headers=[JSON], body=b'{"title": "no log"}'))]

    step = run(WAIT)

    assert step.exit_code == 1
    assert titles(step) == [("error", "Task failed: extract")]
    assert "no log" in step.annotations[0].data


def test_a_run_without_task_instances_is_no_success(airflow: ScriptedRuns, run: Run) -> None:
    airflow.dags["etl"].steps = (("success", {}),)

    step = run(WAIT)

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert titles(step) == [("error", "DAG run without tasks")]


def test_a_run_that_fails_without_a_failed_task(airflow: ScriptedRuns, run: Run) -> None:
    airflow.dags["etl"].steps = (("failed", {"extract": "success", "load": "skipped"}),)

    step = run(WAIT)

    assert step.exit_code == 1
    assert titles(step) == [("error", "DAG run failed")]


def test_a_failed_task_of_a_run_that_succeeds_is_a_warning(airflow: ScriptedRuns, run: Run) -> None:
    airflow.dags["etl"].steps = (("success", {"extract": "failed", "load": "success"}),)

    step = run(WAIT)

    assert step.exit_code == 0
    assert titles(step) == [("warning", "Task failed: extract")]


@pytest.mark.parametrize(
    ("fields", "title", "words"),
    [
        ({"is_paused": True}, "DAG not ready", "is paused"),
        ({"is_active": False}, "DAG not ready", "is not active"),
        ({"has_import_errors": True}, "DAG not ready", "/opt/airflow/dags/etl.py does not import"),
    ],
)
def test_a_dag_that_cannot_run_is_not_triggered(
    airflow: ScriptedRuns, run: Run, fields: dict[str, Any], title: str, words: str
) -> None:
    airflow.dags["etl"].fields = fields

    step = run(WAIT)

    assert step.exit_code == 1
    assert titles(step) == [("error", title)]
    assert words in step.annotations[0].data
    assert step.outputs["dag-id"] == "etl"
    assert not airflow.made


def test_an_unknown_dag_is_answered_with_the_nearest(airflow: ScriptedRuns, run: Run) -> None:
    airflow.dags = {"etl_daily": ScriptedDag(), "billing": ScriptedDag()}

    for inputs, title in (({**WAIT}, "DAG not found"), ({**TRIGGER}, "Airflow command failed")):
        step = run({**inputs, "arguments": "etl_dialy"})

        assert titles(step) == [("error", title)]
        assert "Did you mean etl_daily?" in step.annotations[0].data


def test_a_paused_dag_is_unpaused_on_request(dms: FakeDms, airflow: ScriptedRuns, run: Run) -> None:
    airflow.dags["etl"].fields = {"is_paused": True}

    step = run({**WAIT, "on-paused": "unpause"})

    assert step.exit_code == 0
    assert dms.paths.count("PATCH /api/v1/dags/etl") == 1
    assert "is unpaused now" in step.log


def test_a_configuration_that_breaks_a_rule_is_told_by_field(airflow: ScriptedRuns, run: Run) -> None:
    detail = "Invalid input for param seconds: 'abc' is not of type 'integer'\n\nFailed validating 'type' in schema:\n    {}"
    airflow.dags["etl"].refusal = (400, {"title": "Bad Request", "detail": detail, "status": 400})

    step = run({**SMOKE, "conf": '{"seconds": "abc"}'})

    assert step.exit_code == 1
    assert titles(step) == [("error", "Trigger refused")]
    assert "conf field 'seconds': 'abc' is not of type 'integer' (rule 'type' of its param)" in step.annotations[0].data


@pytest.mark.parametrize(("on_cancel", "failed"), [("leave", 0), ("fail-run", 1)])
def test_time_runs_out(airflow: ScriptedRuns, run: Run, on_cancel: str, failed: int) -> None:
    airflow.dags["etl"].steps = FOREVER

    step = run({**WAIT, "timeout": "2s", "on-cancel": on_cancel})

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert titles(step) == [("error", "Time ran out")]
    assert "did not end in time: running, 0 of 2 tasks done" in step.annotations[0].data
    assert "Not ended yet: extract, load" in step.annotations[0].data
    assert len(airflow.failed) == failed
    assert step.outputs["run-state"] == ("failed" if failed else "running")


@pytest.fixture
def start(dms: FakeDms, runner: Runner) -> Callable[..., Callable[[], Step]]:
    """Start a step, and cancel it when an event has come; what this gives waits for its end."""

    def start_and_cancel(inputs: dict[str, str], event: threading.Event) -> Callable[[], Step]:
        process, files = runner.start({**dms.inputs, **inputs})
        assert event.wait(60)
        process.send_signal(signal.SIGINT)
        return lambda: runner.finish(process, files, *process.communicate())

    return start_and_cancel


@pytest.mark.parametrize(("on_cancel", "failed"), [("leave", 0), ("fail-run", 1)])
@pytest.mark.parametrize("inputs", [WAIT, SMOKE])
def test_cancelled_while_waiting(
    airflow: ScriptedRuns, start: Callable[..., Callable[[], Step]], inputs: dict[str, str], on_cancel: str, failed: int
) -> None:
    airflow.dags["etl"].steps = FOREVER
    is_running = threading.Event()
    look = airflow.request

    def tell(method: str, target: str, headers: object, body: bytes) -> WebResponse:
        if "taskInstances" in target:
            is_running.set()
        return look(method, target, headers, body)

    airflow.request = tell  # type: ignore[method-assign]

    step = start({**inputs, "on-cancel": on_cancel}, is_running)()

    assert (step.exit_code, step.outputs["status"]) == (130, "cancelled")
    assert titles(step) == [("warning", "Cancelled")]
    assert ("It continues" in step.annotations[0].data) is not bool(failed)
    assert len(airflow.failed) == failed
    assert [step.outputs["run-id"]] == [run_id for _, run_id in airflow.made]
    assert "DAG runs" in step.summary


@pytest.mark.parametrize("inputs", [TRIGGER, WAIT])
def test_a_run_that_is_made_after_the_cancellation_is_ended(
    airflow: ScriptedRuns, start: Callable[..., Callable[[], Step]], inputs: dict[str, str]
) -> None:
    is_asked, may_answer = threading.Event(), threading.Event()
    look, command = airflow.request, airflow.run_command

    def hang(arguments: Sequence[str]) -> Any:
        is_asked.set()
        may_answer.wait()
        return command(arguments)

    def make_after_first(method: str, target: str, headers: object, body: bytes) -> WebResponse:
        answer = look(method, target, headers, body)
        if method == "PATCH" and answer.status == 404:
            airflow.make("etl", target.rpartition("/")[2])
        return answer

    airflow.run_command, airflow.request = hang, make_after_first  # type: ignore[method-assign]

    try:
        step = start({**inputs, "on-cancel": "fail-run"}, is_asked)()
    finally:
        may_answer.set()

    assert (step.exit_code, step.outputs["status"]) == (130, "cancelled")
    assert airflow.failed == [("etl", step.outputs["run-id"])]
    assert "It was set to failed" in step.annotations[0].data


def test_a_run_that_had_ended_before_the_cancellation_is_told_as_it_ended(
    airflow: ScriptedRuns, start: Callable[..., Callable[[], Step]]
) -> None:
    airflow.dags["etl"].steps = FAILING
    is_asked, may_answer = threading.Event(), threading.Event()
    look = airflow.request

    def hang(method: str, target: str, headers: object, body: bytes) -> WebResponse:
        if "/logs/" in target:
            is_asked.set()
            may_answer.wait()
        return look(method, target, headers, body)

    airflow.request = hang  # type: ignore[method-assign]

    try:
        step = start(WAIT, is_asked)()
    finally:
        may_answer.set()

    assert (step.exit_code, step.outputs["status"], step.outputs["run-state"]) == (130, "cancelled", "failed")
    assert "Its state: failed." in step.annotations[0].data


def test_cancelled_while_the_instance_is_silent(airflow: ScriptedRuns, start: Callable[..., Callable[[], Step]]) -> None:
    """An answer that nobody waits for any more must not keep the process."""
    is_asked, may_answer = threading.Event(), threading.Event()
    look = airflow.request

    def hang(method: str, target: str, headers: object, body: bytes) -> WebResponse:
        if "dagRuns/" in target:
            is_asked.set()
            may_answer.wait()
        return look(method, target, headers, body)

    airflow.request = hang  # type: ignore[method-assign]

    end = start({**WAIT, "on-cancel": "fail-run"}, is_asked)
    try:
        step = end()
    finally:
        may_answer.set()

    assert (step.exit_code, step.outputs["status"]) == (130, "cancelled")
    assert "did not answer in time" in step.annotations[0].data


def test_a_smoke_test_without_dags_is_a_health_check(dms: FakeDms, airflow: ScriptedRuns, run: Run) -> None:
    step = run({**SMOKE, "arguments": ""})

    assert step.exit_code == 0
    assert dms.paths == ["POST /", "GET /login", "GET /api/v1/version", "GET /api/v1/health"]
    assert step.read_json("runs") == []
    assert "scheduler healthy, last heartbeat" in step.log
    assert not airflow.made


@pytest.mark.check
def test_a_smoke_test_of_several_dags_tells_each(airflow: ScriptedRuns, run: Run) -> None:
    airflow.dags |= {
        "billing": ScriptedDag(steps=FAILING),
        "paused": ScriptedDag(fields={"is_paused": True}),
        "export": ScriptedDag(),
    }

    step = run({**SMOKE, "arguments": "etl billing, paused\nexport"})

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    runs = step.read_json("runs")
    assert [(one["dag_id"], one["state"], one["duration"]) for one in runs] == [
        ("etl", "success", 4.0),
        ("billing", "failed", 4.0),
        ("paused", "not triggered", None),
        ("export", "success", 4.0),
    ]
    assert (step.outputs["dag-id"], step.outputs["run-state"]) == ("billing", "failed")
    assert titles(step) == [("error", "DAG not ready"), ("error", "Task failed: extract")]
    assert "2 of 4 DAGs succeeded; not: billing, paused" in step.log
    assert re.search(r"\| paused \| *\| not triggered \| *\| *\|", step.summary)
    assert sorted(dag_id for dag_id, _ in airflow.made) == ["billing", "etl", "export"]


def test_an_instance_that_is_not_healthy_is_not_tested(airflow: ScriptedRuns, run: Run) -> None:
    airflow.health["metadatabase"]["status"] = "unhealthy"

    step = run({**SMOKE, "poll-interval": "1s"})

    assert step.exit_code == 1
    assert titles(step) == [("error", "Instance not healthy")]
    assert not airflow.made


def test_words_that_are_no_dag_ids_are_refused(dms: FakeDms, airflow: ScriptedRuns, run: Run) -> None:
    step = run({**SMOKE, "arguments": "etl --conf"})

    assert step.exit_code == 2
    assert [one.data for one in step.annotations] == ["arguments: must contain DAG ids only, but --conf looks like an option"]
    assert not dms.paths
    assert not airflow.made
