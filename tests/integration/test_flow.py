"""The flow as a whole process: three requests, what exactly is sent, what is written, and each way to end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from io import StringIO
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
import requests

from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import AnswerTimeoutError
from dms_airflow.core.http.exchange import Transport
from dms_airflow.main import main
from dms_airflow.operations import command
from sandbox.openapi import PREFIX
from sandbox.runner import PROJECT, read_outputs
from tests.integration.fake_dms import HTML, JSON, KEY, LOGIN_PAGE, TEMPORARY_KEY, answer, drop
from tests.unit.fakes import FakeLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.front import Answer, Request
    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms
    from tests.unit.fakes import FakeClock

    Run = Callable[..., Step]

VERSION = ("2.10.4\n", "")
TRACEBACK = """\
Traceback (most recent call last):
  File "/usr/local/bin/airflow", line 8, in <module>
    sys.exit(main())
airflow.exceptions.DagNotFound: Dag id etl not found in DagModel
"""
TOKEN_FOR_ELSEWHERE = b'{"Success": true, "Data": {"Token": "t0k3n-t0k3n", "Host": "http://10.255.255.1/airflow"}}'
ONE_DAG = '[{"dag_id": "etl", "fileloc": "/opt/airflow/dags/etl.py", "owners": ["data"], "is_paused": "False"}]\n'


def test_one_command_takes_three_requests_and_tells_everything(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags list"] = (ONE_DAG, "")

    step = run({"operation": "dags list", "arguments": "-o json"})

    assert step.exit_code == 0
    assert dms.paths == ["POST /", "GET /login", "POST /api/v1/command"]
    assert dms.commands() == [["dags", "list", "-o", "json"]]
    assert step.outputs["status"] == "success"
    assert step.outputs["stdout"] == ONE_DAG.rstrip("\n") + "\n"
    assert step.outputs["stderr"] == ""
    assert step.read_json("json") == [
        {"dag_id": "etl", "fileloc": "/opt/airflow/dags/etl.py", "owners": ["data"], "is_paused": "False"}
    ]
    assert step.outputs["airflow-url"] == f"{dms.endpoint}{PREFIX}"
    assert float(step.outputs["duration"]) >= 0
    assert "✅ dags list on af-sandbox0000000000" in step.summary
    assert "/opt/airflow/dags/etl.py" in step.summary
    assert step.annotations == []


def test_nothing_secret_is_sent_but_where_it_belongs(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["version"] = VERSION

    run({"operation": "version"})

    token, login, command = dms.received
    assert token.headers["x-acs-action"] == "CreateAirflowLoginToken"
    assert "Cookie" not in login.headers
    assert command.headers["Cookie"].startswith("session=")
    assert "Authorization" not in command.headers
    assert command.body == b""
    assert parse_qs(command.query) == {"command": ["version"]}


def test_a_cookie_of_an_answer_does_not_replace_the_session(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["version"] = VERSION
    dms.fail("command", answer(200, b'{"stdout": "2.10.4", "stderr": ""}', JSON, ("Set-Cookie", "session=other; Path=/")))

    step = run({"operation": "cli", "arguments": "version\nversion"})

    assert step.exit_code == 0
    cookies = {request.headers["Cookie"] for request in dms.received if "Cookie" in request.headers}
    assert len(cookies) == 1
    assert "other" not in cookies.pop()


def test_masks_come_before_anything_else(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["version"] = VERSION

    step = run({"operation": "version"})

    lines = step.stdout.splitlines()
    assert [line.startswith("::add-mask::") for line in lines[:3]] == [True, True, True]
    assert len(step.masks) >= 4  # key id, key secret (and URL-encoded), login token, session


def test_quoted_words_arrive_as_one_word(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["variables set"] = ("Variable greeting created\n", "")

    step = run({"operation": "variables set", "arguments": "greeting 'two words; rm -rf / && echo $HOME'"})

    assert dms.commands() == [["variables", "set", "greeting", "two words; rm -rf / && echo $HOME"]]
    assert "two words" not in step.log
    assert step.exit_code == 0


def test_credentials_of_the_environment(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["version"] = VERSION

    step = run(
        {"operation": "version", "access-key-id": "", "access-key-secret": ""},
        {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": TEMPORARY_KEY.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": TEMPORARY_KEY.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": TEMPORARY_KEY.security_token,
        },
    )

    assert step.exit_code == 0
    assert step.outputs["airflow-version"] == "2.10.4"


def test_debug_of_the_sdk_prints_nothing(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["version"] = VERSION

    step = run({"operation": "version"}, {"DEBUG": "sdk", "RUNNER_DEBUG": "1"})

    assert step.exit_code == 0
    assert "debug: GET /login -> 302" in step.stdout


def test_no_credentials(dms: FakeDms, run: Run) -> None:
    step = run({"operation": "version", "access-key-id": "", "access-key-secret": ""})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]
    assert dms.received == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (answer(403, b"", HTML), "answered 403"),
        (answer(200, LOGIN_PAGE, HTML), "answered 200"),
        (answer(302, b"", ("Location", f"{PREFIX}/login/")), "led back to the login page"),
        (answer(302, b"", ("Location", "https://signin.example.com/"), ("Set-Cookie", "session=x")), "another host"),
    ],
)
def test_a_login_that_fails(dms: FakeDms, run: Run, fault: object, word: str) -> None:
    dms.fail("login", fault)  # type: ignore[arg-type]

    step = run({"operation": "version"})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Login failed"
    assert word in annotation.data
    assert len(dms.received) == 2


def test_an_expired_session_logs_in_again_once(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags trigger"] = ('[{"dag_id": "etl", "dag_run_id": "r1", "state": "queued"}]\n', "")
    dms.fail("command", answer(401, b'{"title": "Unauthorized"}', JSON))

    step = run({"operation": "dags trigger", "arguments": "etl --run-id r1"})

    assert step.exit_code == 0
    begun = ["POST /", "GET /login", "GET /api/v1/version", "GET /api/v1/dags/etl/dagRuns/r1", "POST /api/v1/command"]
    assert dms.paths == [*begun, "POST /", "GET /login", "POST /api/v1/command"]
    assert dms.commands() == [["dags", "trigger", "etl", "--run-id", "r1", "-o", "json"]]


@pytest.mark.parametrize(
    "fault",
    [
        answer(302, b"", ("Location", f"{PREFIX}/login/?next=x")),
        answer(200, LOGIN_PAGE, HTML),
        answer(401, b"", HTML),
    ],
)
def test_a_session_that_never_holds(dms: FakeDms, run: Run, fault: object) -> None:
    dms.fail("command", fault, times=2)  # type: ignore[arg-type]

    step = run({"operation": "version"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Login failed"]
    assert len(dms.received) == 6


@pytest.mark.parametrize(
    "fault",
    [
        answer(200, b"<html>hello</html>", HTML),
        answer(200, b'{"stdout": "2.10.4\\n", "std', JSON),
        answer(200, b'{"message": "busy"}', JSON),
        answer(200, b"", JSON),
        answer(500, b"<h1>Ooops!</h1>", HTML),
        answer(404, b'{"title": "Not Found"}', JSON),
    ],
)
def test_an_answer_to_a_command_that_says_nothing(dms: FakeDms, run: Run, fault: object) -> None:
    dms.fail("command", fault)  # type: ignore[arg-type]

    step = run({"operation": "variables delete", "arguments": "x"})

    assert step.exit_code == 1
    assert step.outputs["status"] == "failure"
    assert [one.properties["title"] for one in step.annotations] == ["Unusable answer"]
    assert dms.paths.count("POST /api/v1/command") == 1


def test_a_lost_answer_of_a_command_that_changes_something_is_not_repeated(dms: FakeDms, run: Run) -> None:
    dms.fail("command", drop)

    step = run({"operation": "variables delete", "arguments": "x"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Answer lost"]
    assert dms.paths.count("POST /api/v1/command") == 1


def test_a_lost_answer_of_a_trigger_is_looked_up(dms: FakeDms, run: Run) -> None:
    def run_and_drop(request: Request) -> Answer:
        (command,) = parse_qs(request.query)["command"]
        run_id = command.split()[4]
        dms.airflow.route(
            "GET", f"/api/v1/dags/etl/dagRuns/{run_id}", {"dag_id": "etl", "dag_run_id": run_id, "state": "running"}
        )
        return drop(request)

    dms.fail("command", run_and_drop)

    step = run({"operation": "dags trigger", "arguments": "etl"})

    assert step.exit_code == 0
    assert dms.paths.count("POST /api/v1/command") == 1
    assert (step.outputs["dag-id"], step.outputs["run-state"]) == ("etl", "running")
    assert step.outputs["run-id"].startswith("gha__")


def test_a_run_under_the_authors_own_id_may_be_an_older_one(dms: FakeDms, run: Run) -> None:
    dms.fail("command", drop)
    dms.airflow.route("GET", "/api/v1/dags/etl/dagRuns/mine", {"dag_id": "etl", "dag_run_id": "mine", "state": "success"})

    step = run({"operation": "dags trigger", "arguments": "etl -r mine"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Answer lost"]


def test_a_trigger_whose_run_is_not_there_is_sent_again_for_the_same_run(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags trigger"] = ('[{"dag_id": "etl", "dag_run_id": "r1", "state": "queued"}]\n', "")
    dms.fail("command", drop)

    step = run({"operation": "dags trigger", "arguments": "etl"})

    assert step.exit_code == 0
    sent = [parse_qs(request.query)["command"] for request in dms.received if request.path.endswith("/command")]
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert [path.partition("gha__")[0] for path in dms.paths[2:]] == [
        "GET /api/v1/version",
        "POST /api/v1/command",
        "GET /api/v1/dags/etl/dagRuns/",
        "POST /api/v1/command",
    ]


@pytest.mark.parametrize(("arguments", "advised"), [("etl", True), ("etl --yes", False)])
def test_a_command_that_waits_for_an_answer_ends_in_time(dms: FakeDms, run: Run, arguments: str, *, advised: bool) -> None:
    ended = threading.Event()

    def hang(_: Request) -> None:
        ended.wait()

    dms.fail("command", hang)
    try:
        step = run({"operation": "dags delete", "arguments": arguments, "timeout": "1"})
    finally:
        ended.set()

    assert step.exit_code == 1
    assert step.outputs["status"] == "timeout"
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Time ran out"
    assert ("Add `--yes`" in annotation.data) is advised


def test_a_failing_command(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags trigger"] = (
        "",
        TRACEBACK,
    )

    step = run({"operation": "dags trigger", "arguments": "etl"})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.name == "error"
    assert annotation.properties["title"] == "Airflow command failed"
    assert "DagNotFound: Dag id etl not found in DagModel" in annotation.data
    assert step.outputs["dag-id"] == "etl"
    assert "Traceback" in step.outputs["stderr"]


def test_wrong_inputs_are_told_all_at_once_before_any_request(dms: FakeDms, run: Run) -> None:
    step = run(
        {
            "operation": "dags lst",
            "instance-id": "",
            "timeout": "soon",
            "on-paused": "maybe",
            "summary": "yes",
            "conf": "[1]",
            "result-file": "../outside.json",
        }
    )

    assert step.exit_code == 2
    assert step.outputs["status"] == "failure"
    assert sorted(one.data.partition(":")[0] for one in step.annotations) == [
        "conf",
        "instance-id",
        "on-paused",
        "operation",
        "result-file",
        "summary",
        "timeout",
    ]
    assert 'unknown operation "dags lst"; did you mean "dags list"?' in step.log
    assert dms.received == []


def test_a_byte_that_is_not_utf_8_is_a_wrong_input(dms: FakeDms, run: Run) -> None:
    step = run({"operation": "variables set", "arguments": "city M\udcfcnchen"})

    assert step.exit_code == 2
    assert [one.data.partition(";")[0] for one in step.annotations] == ["arguments: holds a byte that is not UTF-8"]
    assert dms.received == []


@pytest.mark.parametrize("name", ["pipe", "folder"])
def test_a_result_file_must_be_a_plain_file(dms: FakeDms, run: Run, workspace: Path, name: str) -> None:
    os.mkfifo(workspace / "pipe")
    (workspace / "folder").mkdir()

    step = run({"operation": "version", "result-file": name})

    assert step.exit_code == 2
    assert [one.data for one in step.annotations] == [f'result-file: must be a plain file inside the workspace, not "{name}"']
    assert dms.received == []


def test_an_endpoint_that_refuses_connections(dms: FakeDms, run_here: Run, clock: FakeClock) -> None:
    step = run_here({"operation": "version", "endpoint": "http://127.0.0.1:1"})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Host not reached"
    assert "127.0.0.1:1" in annotation.data
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]
    assert dms.received == []


def test_an_internal_error_is_told_with_its_traceback_folded(
    dms: FakeDms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug with a secret: " + KEY.access_key_secret)

    monkeypatch.setattr(command, "run", fail)
    outputs = tmp_path / "outputs"
    environ = {f"INPUT_{name.upper()}": value for name, value in {**dms.inputs, "operation": "version"}.items()}
    log = StringIO()

    code = main({**environ, "GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(outputs), "GITHUB_WORKSPACE": str(tmp_path)}, log)

    assert code == 1
    assert "::group::Traceback of the internal error" in log.getvalue()
    assert "::error title=Internal error::dms-airflow" in log.getvalue()
    assert "RuntimeError: a bug with a secret: ***" in log.getvalue()
    assert read_outputs(outputs.read_text())["status"] == "failure"


def test_the_result_file_holds_everything(dms: FakeDms, run: Run, workspace: Path) -> None:
    dms.airflow.commands["dags list"] = (ONE_DAG, "")

    run({"operation": "dags list", "arguments": "-o json", "result-file": "reports/airflow.json"})

    whole = json.loads((workspace / "reports" / "airflow.json").read_text())
    assert whole["operation"] == "dags list"
    assert whole["outputs"]["status"] == "success"
    assert whole["outputs"]["json"][0]["dag_id"] == "etl"


def test_what_a_step_makes_belongs_to_the_owner_of_the_workspace(dms: FakeDms, run: Run, workspace: Path) -> None:
    dms.airflow.commands["version"] = VERSION
    if os.geteuid() == 0:  # as the action's container, whose workspace belongs to the runner
        os.chown(workspace, 1001, 1002)
    owner = workspace.stat()

    run({"operation": "version", "result-file": "new/folder/airflow.json"})

    for name in ("new", "new/folder", "new/folder/airflow.json"):
        found = (workspace / name).stat()
        assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid), name


def test_a_result_file_that_cannot_be_written_is_no_success(dms: FakeDms, run: Run, workspace: Path) -> None:
    dms.airflow.commands["version"] = VERSION
    (workspace / "taken").write_text("a file, not a folder")

    step = run({"operation": "version", "result-file": "taken/airflow.json"})

    assert step.exit_code == 1
    assert step.outputs["status"] == "failure"
    assert [one.properties["title"] for one in step.annotations] == ["File not written"]


def test_no_annotations_and_no_summary_on_request(dms: FakeDms, run: Run) -> None:
    step = run({"operation": "variables get", "arguments": "x", "annotations": "false", "summary": "False"})

    assert step.exit_code == 1
    assert step.annotations == []
    assert step.summary == ""
    assert "Error: Result not known" in step.log
    assert dms.received


def test_text_of_strangers_is_text(dms: FakeDms, run: Run) -> None:
    hostile = "::error::injected\n  ::add-mask::a\n##[error]injected\r::warning::injected\n\x1b[0m::notice::injected\n"
    dms.airflow.commands["dags list"] = (hostile + ONE_DAG, hostile)

    step = run({"operation": "dags list", "arguments": "-o json"})

    assert {command.name for command in step.commands} <= {"add-mask", "group", "endgroup"}
    assert "a" not in step.masks


def test_a_long_stdout_is_cut_in_the_middle(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags show"] = ("digraph etl {\n" + "x" * 300_000 + "\n}\n", "")

    step = run({"operation": "dags show", "arguments": "etl"})

    assert step.exit_code == 0
    assert len(step.outputs["stdout"].encode()) <= 100_000
    assert step.outputs["stdout"].startswith("digraph etl {")
    assert "bytes left out" in step.outputs["stdout"]
    assert step.outputs["stdout"].endswith("}\n")


def test_a_refused_result_file_is_not_written(run: Run, workspace: Path, tmp_path: Path) -> None:
    (workspace / "link").symlink_to(tmp_path)

    for name in ("../outside.json", f"{tmp_path}/outside.json", "link/outside.json"):
        step = run({"operation": "version", "result-file": name})

        assert step.exit_code == 2
        assert [one.properties["title"] for one in step.annotations] == ["Wrong input: result-file"]
    assert not (tmp_path / "outside.json").exists()


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"operation": "cli", "arguments": "dags trigger etl", "conf": '{"a": 1}'}, "conf"),
        ({"operation": "cli", "arguments": "dags trigger etl", "wait-for-completion": "true"}, "wait-for-completion"),
        ({"operation": "version", "body": "{}"}, "body"),
        ({"operation": "version", "expect-dags": "etl"}, "expect-dags"),
    ],
)
def test_a_demand_that_the_operation_cannot_meet_is_refused(dms: FakeDms, run: Run, inputs: dict[str, str], name: str) -> None:
    step = run(inputs)

    assert step.exit_code == 2
    assert [one.properties["title"] for one in step.annotations] == [f"Wrong input: {name}"]
    assert dms.received == []


@pytest.mark.parametrize("variable", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
def test_a_report_that_cannot_be_written_is_no_success(dms: FakeDms, workspace: Path, tmp_path: Path, variable: str) -> None:
    dms.airflow.commands["version"] = VERSION
    inputs = {f"INPUT_{name.upper()}": value for name, value in {**dms.inputs, "operation": "version"}.items()}
    log = StringIO()

    code = main({**inputs, "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(workspace), variable: str(tmp_path)}, log)

    assert code == 1
    assert "::error title=File not written::The " in log.getvalue()


def test_an_everyday_word_set_as_a_variable_spares_the_outputs(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["variables set"] = ("a print about success\nVariable k created\n", "")

    step = run({"operation": "variables set", "arguments": "k success"})

    assert step.outputs["status"] == "success"
    assert step.outputs["stdout"] == "a print about ***\nVariable k created\n"


@pytest.mark.parametrize(("number", "shown"), [(2026, "***"), (7, 7)])
def test_a_number_that_is_a_secret_word_too_keeps_json_whole(
    dms: FakeDms, run: Run, workspace: Path, number: int, shown: object
) -> None:
    secret = str(number)
    body = json.dumps({"key": "year", "value": secret})
    dms.airflow.route("POST", "/api/v1/variables", {"key": "year", "value": secret, "id": number, secret: None})

    step = run({"operation": "rest", "arguments": "POST /variables", "body": body, "result-file": "result.json"})

    assert step.exit_code == 0
    told = {"key": "year", "value": "***", "id": shown, secret: None}
    assert step.read_json("json") == told
    assert json.loads((workspace / "result.json").read_text())["outputs"]["json"] == told


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_trigger_that_a_gateway_gave_up_is_looked_up(dms: FakeDms, run: Run, status: int) -> None:
    def run_and_give_up(request: Request) -> Answer:
        (command,) = parse_qs(request.query)["command"]
        run_id = command.split()[4]
        found = {"dag_id": "etl", "dag_run_id": run_id, "state": "running"}
        dms.airflow.route("GET", f"/api/v1/dags/etl/dagRuns/{run_id}", found)
        return answer(status, b"<h1>Gateway</h1>", HTML)

    dms.fail("command", run_and_give_up)

    step = run({"operation": "dags trigger", "arguments": "etl"})

    assert step.exit_code == 0
    assert dms.paths.count("POST /api/v1/command") == 1
    assert step.outputs["run-id"] == dms.paths[-1].rpartition("/")[2]


def test_a_trigger_that_is_refused_is_not_sent_again(dms: FakeDms, run: Run) -> None:
    dms.fail("command", answer(404, b"<h1>Gateway</h1>", HTML))

    step = run({"operation": "dags trigger", "arguments": "etl"})

    assert step.exit_code == 1
    assert dms.paths.count("POST /api/v1/command") == 1
    assert dms.paths[-1].startswith("GET /api/v1/dags/etl/dagRuns/gha__")
    assert step.outputs["dag-id"] == "etl"
    assert step.outputs["run-id"] == dms.paths[-1].rpartition("/")[2]


def test_an_answer_byte_by_byte_cannot_outlast_the_time_limit() -> None:
    """A server that speaks before it is asked for more, and never comes to an end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        transport = Transport(http=requests.Session(), clock=Clock(), log=FakeLog())
        try:
            with pytest.raises(AnswerTimeoutError):
                transport.exchange("GET", f"http://127.0.0.1:{listener.getsockname()[1]}", "/", timeout=0.3)
        finally:
            ended.set()
            thread.join()


def test_a_proxy_that_hangs_up_after_the_request_has_it_sent_once(dms: FakeDms, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received: list[bytes] = []

        def relay() -> None:
            for _ in range(2):  # the login passes; the command gets lost
                connection, _ = listener.accept()
                with connection:
                    request = connection.recv(65536)
                    received.append(request.split(b" ")[1])
                    if b"/login" not in request:
                        return
                    head = f"HTTP/1.1 302 Found\r\nLocation: {PREFIX}/home\r\nSet-Cookie: session=s3ss10n\r\n"
                    connection.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())

        thread = threading.Thread(target=relay)
        thread.start()
        dms.fail("token", answer(200, TOKEN_FOR_ELSEWHERE, JSON))
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        step = run({"operation": "variables set", "arguments": "k v"}, {"HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1"})
        thread.join()

    assert step.exit_code == 1
    assert len(received) == 2
    assert [one.properties["title"] for one in step.annotations] == ["Answer lost"]


# A thread of its own takes the signal, so that the wait of the main one is not interrupted by it: as when it comes just before.
WAITS = """
import os, signal, socket, sys, threading
sys.path.insert(0, sys.argv[1])
import dms_airflow.main
from dms_airflow import command as entrypoint
from dms_airflow.core.errors import Cancelled

def wait_for_an_answer(*_, cancellable, **__):
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    try:
        with cancellable():
            signal.pthread_sigmask(signal.SIG_BLOCK, entrypoint.SIGNALS)
            print("waiting", flush=True)
            ours.recv(1)
    except Cancelled:
        return 130

dms_airflow.main.main = wait_for_an_answer
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(entrypoint.run(), flush=True)
os._exit(0)  # as the command ends: without its handler the timer would kill Python
"""


IMPORTS = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from dms_airflow import command as entrypoint

class Finder:
    def find_spec(self, name, *_):
        if name == "dms_airflow.main":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
print(entrypoint.run(), flush=True)
os._exit(0)  # as the command ends: without its handler the timer would kill Python
"""


def test_a_cancellation_while_the_action_is_imported_writes_the_status(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    command = [sys.executable, "-Es", "-c", IMPORTS, str(PROJECT)]
    inputs = {"INPUT_REGION": "cn-hangzhou", "INPUT_INSTANCE-ID": "af-1a2b3c", "INPUT_OPERATION": "version"}
    environ = {**inputs, "GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(outputs)}

    ran = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)

    warning = "::warning title=Cancelled::Cancelled before the end. Nothing was sent to Airflow."
    assert ran.stdout.splitlines()[-2:] == [warning, "130"]
    assert read_outputs(outputs.read_text())["status"] == "cancelled"


def test_a_cancellation_that_interrupts_no_wait_is_heard() -> None:
    command = [sys.executable, "-Es", "-c", WAITS, str(PROJECT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()

    assert said.splitlines()[-1] == "130"
