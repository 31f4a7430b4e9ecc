"""The sandbox is what it says: the SDK's real signature, DMS's login, a real Airflow, and no process left behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from alibabacloud_dms20250414 import models
from alibabacloud_dms20250414.client import Client
from alibabacloud_tea_openapi.client import Client as OpenApiClient
from alibabacloud_tea_openapi.utils import Utils
from alibabacloud_tea_openapi.utils_models import Config

import sandbox.guard
from sandbox import BROKEN_DAGS, Sandbox
from sandbox.front import Answer, Front, Gateway, Request
from sandbox.installation import Installation, InstallError, wanted_version
from sandbox.instance import StartError, WebResponse
from sandbox.journal import Journal
from sandbox.openapi import OpenApi
from sandbox.settings import Settings
from sandbox.signature import Credential, GatewayError, SignedRequest, verify
from tests.e2e.conftest import reserialize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.e2e,
    # The SDK's own, on Python 3.12 and later.
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),
]

MAJOR = wanted_version().partition(".")[0]
PREFIX = "/airflow/1234567890123456/98765432101234/af-sandbox0000000000"
KEY = Credential(access_key_id="key", access_key_secret="secret")
TIME = re.compile(r"(?m)^\[?20\d\d-\S+")  # at the start of a line of the log
LONG = 600.0  # seconds: more than a busy machine takes
GUARD = Path(sandbox.guard.__file__)


# --- signature: requests that the SDK signed ---------------------------------------------------------------------------


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> SignedRequest:
    """A request as the SDK sends it: signed with KEY, for an instance id that needs quoting."""
    sent: list[Any] = []

    def catch(request: Any, _runtime: Any) -> None:
        sent.append(request)
        raise ConnectionError

    monkeypatch.setattr(f"{OpenApiClient.__module__}.DaraCore.do_action", catch)
    config = Config(access_key_id="key", access_key_secret="secret", endpoint="dms.example", protocol="http")
    with suppress(Exception):  # the SDK's own, about our ConnectionError
        Client(config).create_airflow_login_token(models.CreateAirflowLoginTokenRequest(airflow_id="af-ä b/*~"))
    [request] = sent
    assert request.query == {"AirflowId": "af-ä b/*~"}
    return SignedRequest(
        method=request.method,
        path=request.pathname,
        query="AirflowId=af-%C3%A4+b%2F%2A~",  # as an HTTP library may write it
        headers={name.lower(): [value] for name, value in request.headers.items()},
        body=b"",
    )


def refusal(request: SignedRequest, *, now: datetime | None = None, key: Credential = KEY) -> str:
    """The error code with which the request is refused; empty when it is not."""
    try:
        verify(request, {key.access_key_id: key}, now or datetime.now(UTC), lambda nonce: nonce != "used")
    except GatewayError as error:
        return error.code
    return ""


def test_signature__of_the_sdk_is_accepted(signed: SignedRequest) -> None:
    assert refusal(signed) == ""


def with_header(name: str, *values: str) -> Callable[[SignedRequest], SignedRequest]:
    return lambda request: replace(request, headers={**request.headers, name: values})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda request: replace(request, method="GET"), "SignatureDoesNotMatch"),
        (lambda request: replace(request, path="/x"), "SignatureDoesNotMatch"),
        (lambda request: replace(request, query="AirflowId=af-other"), "SignatureDoesNotMatch"),
        (lambda request: replace(request, body=b"x"), "SignatureDoesNotMatch"),
        (with_header("host", "dms.elsewhere"), "SignatureDoesNotMatch"),
        (with_header("x-acs-action", "DeleteAirflow"), "SignatureDoesNotMatch"),
        (with_header("x-acs-added-later", "x"), "SignatureDoesNotMatch"),
        (with_header("x-acs-signature-nonce", "other"), "SignatureDoesNotMatch"),
        (with_header("x-acs-content-sha256", hashlib.sha256(b"x").hexdigest()), "SignatureDoesNotMatch"),
        (with_header("x-acs-date"), "InvalidTimeStamp.Format"),
        (with_header("x-acs-date", "2024-01-01T00:00:00Z"), "InvalidTimeStamp.Expired"),
        (with_header("x-acs-security-token", "token"), "InvalidSecurityToken.MismatchWithAccessKey"),
        (with_header("authorization"), "IncompleteSignature"),
        (with_header("authorization", "Basic a2V5OnNlY3JldA=="), "IncompleteSignature"),
    ],
)
def test_signature__notices_what_was_changed_on_the_way(
    signed: SignedRequest, change: Callable[[SignedRequest], SignedRequest], code: str
) -> None:
    assert refusal(change(signed)) == code


def test_signature__needs_the_secret_and_a_new_nonce(signed: SignedRequest) -> None:
    assert refusal(signed, key=Credential(access_key_id="key", access_key_secret="other")) == "SignatureDoesNotMatch"
    assert refusal(signed, key=Credential(access_key_id="other", access_key_secret="secret")) == ("InvalidAccessKeyId.NotFound")
    with pytest.raises(GatewayError, match="SignatureNonceUsed"):
        verify(signed, {"key": KEY}, datetime.now(UTC), lambda _: False)


def test_signature__must_cover_the_host(signed: SignedRequest) -> None:
    headers = {name: value for name, [value] in signed.headers.items() if name not in ("host", "authorization")}
    request = SimpleNamespace(method="POST", pathname="/", query={"AirflowId": "af-ä b/*~"}, headers=headers)
    authorization = Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", headers["x-acs-content-sha256"], KEY.access_key_id, KEY.access_key_secret
    )

    assert refusal(with_header("authorization", authorization)(signed)) == "SignatureDoesNotMatch"


# --- OpenAPI and login -------------------------------------------------------------------------------------------------


def client_of(sandbox: Sandbox, key: Credential) -> Any:
    """The SDK's client with this key."""
    config = Config(
        access_key_id=key.access_key_id,
        access_key_secret=key.access_key_secret,
        security_token=key.security_token,
        endpoint=sandbox.address,
        protocol="http",
    )
    return Client(config)


def request_token(sandbox: Sandbox, key: Credential, instance_id: str = "af-sandbox0000000000") -> Any:
    """The body of the SDK's answer."""
    request = models.CreateAirflowLoginTokenRequest(airflow_id=instance_id)
    return client_of(sandbox, key).create_airflow_login_token(request).body


def log_in(sandbox: Sandbox, token: str) -> requests.Response:
    return requests.get(f"{sandbox.endpoint}{PREFIX}/login", params={"token": token}, allow_redirects=False, timeout=LONG)


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[requests.Session]:
    """Logged in. The cookie is a header: it is ``Secure``, and a cookie jar does not send those over http."""
    answer = log_in(sandbox, request_token(sandbox, sandbox.access_key).data.token)
    with requests.Session() as session:
        session.headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
        yield session


def test_token__for_the_right_key_names_the_host_it_was_asked_by(sandbox: Sandbox) -> None:
    for key in (sandbox.access_key, sandbox.temporary_access_key):
        body = request_token(sandbox, key)

        assert (body.success, body.http_status_code, body.error_code) == (True, 200, "Success")
        assert body.data.host == f"{sandbox.endpoint}{PREFIX}"
        assert len(body.data.token) == 64


@pytest.mark.parametrize(
    ("field", "status", "code"),
    [
        ("access_key_id", 404, "InvalidAccessKeyId.NotFound"),
        ("access_key_secret", 400, "SignatureDoesNotMatch"),
        ("security_token", 400, "InvalidSecurityToken.MismatchWithAccessKey"),
    ],
)
def test_token__is_refused_to_a_wrong_key(sandbox: Sandbox, field: str, status: int, code: str) -> None:
    wrong: Any = {field: "wrong"}
    with pytest.raises(Exception, match=code) as caught:
        request_token(sandbox, replace(sandbox.temporary_access_key, **wrong))

    error: Any = caught.value
    assert (error.status_code, error.code) == (status, code)
    assert error.data["Recommend"] == f"https://api.aliyun.com/troubleshoot?q={code}&product=Dms"
    assert error.request_id == error.data["RequestId"]


def test_token__for_an_unknown_instance_is_no_success(sandbox: Sandbox) -> None:
    body = request_token(sandbox, sandbox.access_key, "af-nosuch")

    assert (body.success, body.http_status_code, body.code) == (False, 404, "AirflowNotExist")
    assert body.message == "The Airflow instance af-nosuch does not exist."
    assert body.data is None


def test_login__takes_a_token_once(sandbox: Sandbox) -> None:
    token = request_token(sandbox, sandbox.access_key).data.token

    first, second, invented = log_in(sandbox, token), log_in(sandbox, token), log_in(sandbox, "invented")

    assert (first.status_code, first.headers["Location"]) == (302, f"{PREFIX}/home")
    value, *attributes = first.headers["Set-Cookie"].split("; ")
    assert value.startswith("session=")
    assert attributes[0].startswith("Expires=")
    assert attributes[1:] == ["Secure", "HttpOnly", "Path=/", "SameSite=None", "Partitioned"]
    for refused in (second, invented):
        assert (refused.status_code, refused.headers["Location"]) == (302, f"{PREFIX}/login")
        assert "Set-Cookie" not in refused.headers
    assert token not in json.dumps(sandbox.journal())


def test_without_a_session__rest_is_401_and_pages_lead_to_the_login(sandbox: Sandbox) -> None:
    base = f"{sandbox.endpoint}{PREFIX}"
    headers = {"Cookie": "session=invented", "Authorization": "Basic YWRtaW46c2FuZGJveA=="}

    rest = requests.get(f"{sandbox.rest_url}/dags", headers=headers, timeout=LONG)
    command = requests.post(f"{sandbox.rest_url}/command?command=version", headers=headers, timeout=LONG)
    page = requests.get(f"{base}/home", headers=headers, timeout=LONG, allow_redirects=False)

    wanted = {"2": ("application/problem+json", "Unauthorized"), "3": ("application/json", "Not authenticated")}[MAJOR]
    for answer in (rest, command):
        assert answer.status_code == 401
        problem = answer.json()
        assert (answer.headers["Content-Type"], problem.get("title") or problem["detail"]) == wanted
    assert (page.status_code, page.headers["Location"]) == (302, f"{PREFIX}/login")


def test_expire_sessions__ends_them(sandbox: Sandbox, session: requests.Session) -> None:
    url = f"{sandbox.rest_url}/dags?limit=1"
    assert session.get(url, timeout=LONG).status_code == 200

    sandbox.expire_sessions()

    assert session.get(url, timeout=LONG).status_code == 401


# --- Airflow -----------------------------------------------------------------------------------------------------------


def run_command(sandbox: Sandbox, session: requests.Session, line: str) -> tuple[dict[str, str], dict[str, Any]]:
    """What the command answered, and its line in the journal."""
    answer = session.post(f"{sandbox.rest_url}/command", params={"command": line}, timeout=LONG)
    assert answer.status_code == 200
    return answer.json(), [entry for entry in sandbox.journal() if entry["kind"] == "command"][-1]


def test_command__answers_text_and_the_journal_knows_the_exit_status(sandbox: Sandbox, session: requests.Session) -> None:
    good, good_entry = run_command(sandbox, session, "version")
    bad, bad_entry = run_command(sandbox, session, "dags state 'no such' 2024-01-01")

    assert good == {"stdout": {"2": "2.10.4\n", "3": "3.2.2\n"}[MAJOR], "stderr": ""}
    assert (good_entry["argv"], good_entry["exit_code"]) == (["version"], 0)
    assert bad["stderr"] == "DAG: no such does not exist in 'dag' table\n"
    # Airflow 3 logs on stdout what its database library loads.
    assert {"setup plugin alembic" in line for line in bad["stdout"].splitlines()} == {"2": set(), "3": {True}}[MAJOR]
    assert (bad_entry["argv"], bad_entry["exit_code"]) == (["dags", "state", "no such", "2024-01-01"], 1)
    assert bad_entry["wall_seconds"] > 0


FORKED = ["version", "dags nonsense", "variables get nosuch", "dags trigger nosuch", "dags list -o json", "tasks list nosuch"]


@pytest.mark.parametrize("line", [*FORKED, "connections get nosuch", "pools list -o json", "db clean"])
def test_command__as_a_fork_does_the_same(sandbox: Sandbox, line: str) -> None:
    forked = sandbox.run_airflow(*line.split())
    with sandbox.command_settings(Settings(variables={"NO_FORK": "for commands with settings of their own"})):
        alone = sandbox.run_airflow(*line.split())

    assert (forked.exit_code, forked.stderr) == (alone.exit_code, alone.stderr)
    assert TIME.sub("", forked.stdout) == TIME.sub("", alone.stdout)


def test_command__reads_nothing_from_standard_input(sandbox: Sandbox, session: requests.Session) -> None:
    answer, entry = run_command(sandbox, session, "dags delete monthly_report")

    assert "EOFError: EOF when reading a line" in answer["stderr"]
    assert entry["exit_code"] == 1


def test_rest__is_airflows_own(sandbox: Sandbox, session: requests.Session) -> None:
    base = sandbox.rest_url

    dags = session.get(f"{base}/dags?order_by=dag_id", timeout=LONG)
    paused = session.patch(f"{base}/dags/daily_orders", json={"is_paused": True}, timeout=LONG)
    missing = session.get(f"{base}/dags/nosuch", timeout=LONG)
    page = session.get(f"{sandbox.airflow_url}/home", timeout=LONG)
    head = session.head(f"{base}/version", timeout=LONG)

    assert dags.json()["total_entries"] == 5
    assert [(dag["dag_id"], dag["is_paused"]) for dag in dags.json()["dags"]] == [
        ("daily_orders", True),
        ("monthly_report", True),
        ("partner_exports", True),
        ("reconcile_payments", True),
        ("warehouse_check", True),
    ]
    assert (paused.status_code, paused.json()["dag_id"]) == (200, "daily_orders")
    not_found = {"2": "DAG not found", "3": "The Dag with ID: `nosuch` was not found"}[MAJOR]
    assert (missing.status_code, missing.json().get("title") or missing.json()["detail"]) == (404, not_found)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    # Not compared as a whole: a failure would print it. Airflow 3's page is the same for every DAG.
    assert page.text.count({"2": f'href="{PREFIX}/dags/daily_orders/grid', "3": f'<base href="{PREFIX}/" />'}[MAJOR]) > 0
    assert all("Set-Cookie" not in answer.headers for answer in (dags, paused, missing, page))
    assert head.content == b""


class _RecordingAirflow:
    """Stands in for the instance: keeps what it was sent, and tries to set a cookie."""

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.as_admin: bool | None = None

    def request(
        self, _method: str, _target: str, headers: list[tuple[str, str]], _body: bytes, *, as_admin: bool
    ) -> WebResponse:
        self.headers, self.as_admin = headers, as_admin
        return WebResponse(status=200, headers=[("Set-Cookie", "session=airflows"), ("X-Other", "kept")], body=b"")


def pass_on(airflow: Any, folder: Path, gateway: Gateway) -> Answer:
    """What a caller with a session gets for a page, who sends credentials of its own along."""
    front = Front(OpenApi([]), airflow, Journal(folder / "journal.jsonl"), gateway)
    front._sessions.add("callers")
    headers = Message()
    for name, value in {"Cookie": "session=callers", "Authorization": "Basic x", "Accept": "text/plain"}.items():
        headers[name] = value
    return front.answer(Request(method="GET", path=f"{PREFIX}/home", query="", headers=headers, body=b""))


def test_proxy__keeps_both_sides_credentials_apart(tmp_path: Path) -> None:
    airflow: Any = _RecordingAirflow()

    answer = pass_on(airflow, tmp_path, Gateway(command_api="/api/v1"))

    assert (airflow.headers, airflow.as_admin) == ([("Accept", "text/plain")], True)
    assert answer.headers == [("X-Other", "kept")]


def test_proxy__leaves_it_to_airflow_who_calls_when_that_needs_a_token(tmp_path: Path) -> None:
    airflow: Any = _RecordingAirflow()

    answer = pass_on(airflow, tmp_path, Gateway(command_api="/api/v2", needs_token=True))

    assert (airflow.headers, airflow.as_admin) == (
        [("Cookie", "session=callers"), ("Authorization", "Basic x"), ("Accept", "text/plain")],
        False,
    )
    assert answer.headers == [("Set-Cookie", "session=airflows"), ("X-Other", "kept")]


def test_runs__really_run(sandbox: Sandbox, session: requests.Session) -> None:
    base = f"{sandbox.rest_url}/dags"
    wanted = {"warehouse_check": {}, "reconcile_payments": {"tolerance": 10}}
    date: dict[str, str] = {"2": {}, "3": {"logical_date": "2026-03-01T12:00:00Z"}}[MAJOR]
    for dag_id, conf in wanted.items():
        assert session.patch(f"{base}/{dag_id}", json={"is_paused": False}, timeout=LONG).status_code == 200
        run = session.post(f"{base}/{dag_id}/dagRuns", json={"dag_run_id": "by-test", "conf": conf, **date}, timeout=LONG)
        assert run.status_code == 200

    states = {dag_id: _final_state(session, f"{base}/{dag_id}/dagRuns/by-test") for dag_id in wanted}

    assert states == {"warehouse_check": "success", "reconcile_payments": "failed"}
    for dag_id in wanted:
        assert session.patch(f"{base}/{dag_id}", json={"is_paused": True}, timeout=LONG).status_code == 200


def _final_state(session: requests.Session, url: str) -> str:
    deadline = time.monotonic() + LONG
    state = ""
    while time.monotonic() < deadline:
        state = session.get(url, timeout=LONG).json()["state"]
        if state in ("success", "failed"):
            break
    return state


def test_broken_dags__break_each_in_its_own_way(sandbox: Sandbox, session: requests.Session) -> None:
    shutil.copytree(BROKEN_DAGS, sandbox.dags_folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    try:
        # Airflow 3 parses the files only when told so, and knows the folder's modules only when told which bundle it is.
        fresh = {"2": "", "3": " --local -B dags-folder"}[MAJOR]
        answer, entry = run_command(sandbox, session, f"dags list-import-errors -o json{fresh}")
    finally:
        for path in BROKEN_DAGS.iterdir():
            (sandbox.dags_folder / path.name).unlink()

    assert entry["exit_code"] == 1
    last_lines = {
        Path(error["filepath"]).name: error["error"].strip().splitlines()[-1]
        for error in json.loads(answer["stdout"].splitlines()[-1])
    }
    helper = sandbox.dags_folder / "shop" / "orders.py"
    word, full_stop = {"2": ("DAG", ""), "3": ("Dag", ".")}[MAJOR]
    assert last_lines == {
        "returns.py": "SyntaxError: '(' was never closed",
        "ad_spend.py": "ModuleNotFoundError: No module named 'marketing_sdk'",
        "loyalty_points.py": f"ImportError: cannot import name 'load_all_orders' from 'shop.orders' ({helper})",
        "inventory_sync.py": f"KeyError: 'Variable inventory_api_url does not exist{full_stop}'",
        "price_updates.py": f"AirflowDagCycleException: Cycle detected in {word}: price_updates. Faulty task: verify",
    }


# --- what nobody has said of DMS in front of Airflow 3 -------------------------------------------------------------------


@pytest.mark.airflow("3", "Airflow 2 has one REST API, and its session opens it")
def test_command__is_taken_at_one_path_only(sandbox: Sandbox, session: requests.Session) -> None:
    answer = session.post(f"{sandbox.airflow_url}/api/v1/command?command=version", timeout=LONG)
    unknown = session.get(f"{sandbox.airflow_url}/api/v1/version", timeout=LONG)

    assert (answer.status_code, answer.text) == (405, '{"detail":"Method Not Allowed"}')
    assert unknown.status_code == 404
    assert unknown.json()["error"].startswith("/api/v1 has been removed in Airflow 3, ")


@pytest.mark.airflow("3", "Airflow 2 has no tokens")
def test_needs_token__lets_airflow_ask_who_calls() -> None:
    with Sandbox.start(with_scheduler=False, needs_token=True, command_api="/api/v1") as sandbox:
        answer = log_in(sandbox, request_token(sandbox, sandbox.access_key).data.token)
        cookies = dict(cookie.partition(";")[0].split("=", 1) for cookie in answer.raw.headers.getlist("Set-Cookie"))
        session, token = f"session={cookies['session']}", cookies["_token"]
        command = f"{sandbox.airflow_url}/api/v1/command?command=version"

        def ask(**headers: str) -> tuple[int, str]:
            told = requests.get(f"{sandbox.rest_url}/dags/nosuch", headers=headers, timeout=LONG)
            return told.status_code, told.json()["detail"]

        assert sorted(cookies) == ["_token", "session"]
        assert ask(Cookie=session) == (401, "Not authenticated")
        assert ask(Cookie=session, Authorization="Bearer invented") == (403, "Invalid JWT token")
        for proof in ({"Cookie": f"{session}; _token={token}"}, {"Cookie": session, "Authorization": f"Bearer {token}"}):
            assert ask(**proof) == (404, "The Dag with ID: `nosuch` was not found")
        assert ask(Authorization=f"Bearer {token}") == (401, "Not authenticated")  # the front's: no session
        assert requests.post(command, headers={"Cookie": session}, timeout=LONG).json()["stdout"] == "3.2.2\n"


@pytest.mark.airflow("2", "Airflow 3 has tokens")
def test_needs_token__is_refused_for_airflow_2() -> None:
    with pytest.raises(StartError, match=r"Airflow 2\.10\.4 has no token"), Sandbox.start(needs_token=True):
        pytest.fail("it started")


def test_installation__is_of_a_release_that_the_sandbox_runs() -> None:
    with pytest.raises(InstallError, match=r"SANDBOX_AIRFLOW=2\.9\.0: the sandbox runs Airflow 2\.10\.4 or 3\.2\.2\."):
        Installation(version="2.9.0")


def test_installation__lock_is_complete() -> None:
    checked = subprocess.run([Installation().bin / "python", "-m", "pip", "check"], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout) == (0, "No broken requirements found.\n")


# --- the workspace -----------------------------------------------------------------------------------------------------

NEW_DAG = """
import pendulum
from airflow import DAG

with DAG("invoices", schedule=None, start_date=pendulum.datetime(2024, 1, 1)):
    pass
"""


def save_dag(sandbox: Sandbox, name: str, content: str) -> None:
    """Save a file to the workspace by the SDK."""
    path = f"/Workspace/code/default/dags/{name}"
    request = models.SaveWorkspaceCodeRequest(workspace_id="98765432101234", path=path, content=content)
    assert client_of(sandbox, sandbox.temporary_access_key).save_workspace_code(request).body.success is True


def dag_ids(sandbox: Sandbox) -> set[str]:
    """Let Airflow parse its files; give the DAGs that it finds."""
    reserialize(sandbox)
    listed = sandbox.run_airflow("dags", "list", "-o", "json", "--columns", "dag_id")
    return {dag["dag_id"] for dag in json.loads(listed.stdout.splitlines()[-1])}


def test_workspace__is_read_live(sandbox: Sandbox) -> None:
    since = sandbox.requests

    save_dag(sandbox, "invoices.py", NEW_DAG)

    assert (sandbox.dags_folder / "invoices.py").read_text() == NEW_DAG
    assert "invoices" in dag_ids(sandbox)
    [entry] = [entry for entry in sandbox.journal(since) if entry["kind"] == "openapi"]
    assert (entry["action"], entry["status"]) == ("SaveWorkspaceCode", 200)
    (sandbox.dags_folder / "invoices.py").unlink()
    sandbox.run_airflow("dags", "delete", "--yes", "invoices")


@pytest.mark.airflow("2", "test_deploy has such an instance of each Airflow")
def test_workspace__is_read_from_its_published_copy_after_a_delay() -> None:
    with Sandbox.start(with_scheduler=False, reads_published=True, forks_commands=True) as sandbox:
        sandbox.workspace.behaviour = sandbox.workspace.behaviour.but(copies_after=0.1)
        before = dag_ids(sandbox)
        save_dag(sandbox, "invoices.py", NEW_DAG)
        saved = dag_ids(sandbox)
        request = models.WorkspaceCodePublishRequest(workspace_id="98765432101234", config='{"repos": [], "exclude": []}')
        assert client_of(sandbox, sandbox.access_key).workspace_code_publish(request).body.data.key.startswith("ws-")
        deadline = time.monotonic() + LONG
        while not (sandbox.dags_folder / "invoices.py").exists():
            assert time.monotonic() < deadline
        published = dag_ids(sandbox)

    assert before == {"daily_orders", "monthly_report", "partner_exports", "reconcile_payments", "warehouse_check"}
    assert saved == before
    assert published == {*before, "invoices"}


def test_workspace__is_not_open_to_an_unknown_key(sandbox: Sandbox) -> None:
    request = models.GetAirflowRequest(airflow_id="af-sandbox0000000000", workspace_id="98765432101234")
    assert client_of(sandbox, sandbox.access_key).get_airflow(request).body.root.status == "DEPLOYED"

    with pytest.raises(Exception, match=r"InvalidAccessKeyId\.NotFound"):
        client_of(sandbox, KEY).get_airflow(request)


# --- start and stop ----------------------------------------------------------------------------------------------------


def test_guard__ends_what_ignores_it_and_what_left_the_group() -> None:
    # `set -m` gives the background job a process group of its own.
    script = "set -m; trap '' TERM; sleep 1000 & echo $!; wait"
    with subprocess.Popen(
        [sys.executable, "-I", str(GUARD), "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as guard:
        assert guard.stdout is not None
        job = int(guard.stdout.readline())
        assert Path(f"/proc/{job}").exists()
        assert guard.stdin is not None
        guard.stdin.close()

        assert guard.wait(timeout=LONG) == 128 + signal.SIGKILL

    assert not Path(f"/proc/{job}").exists() or "\nState:\tZ" in Path(f"/proc/{job}/status").read_text()


def test_guard__passes_the_exit_status_on() -> None:
    command = [sys.executable, "-I", str(GUARD), "sh", "-c", "read -r line; exit $((7 + ${#line}))"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as guard:
        assert guard.wait(timeout=LONG) == 7


def _processes_of(run_folder: str) -> dict[int, str]:
    """The environment of every living process that works in this folder, as far as it can still be read."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended while we looked
            if (path / "cwd").readlink() == Path(run_folder):
                found[int(path.name)] = (path / "environ").read_text(errors="replace")
    return found


@pytest.mark.airflow("3", "the dag-processor is a process of Airflow 3 only")
def test_a_process_that_ended_is_started_again(sandbox: Sandbox) -> None:
    def find_processor() -> set[int]:
        words = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in _processes_of(str(sandbox.run_folder))}
        return {pid for pid, line in words.items() if line.endswith("dag-processor\0") and "guard.py" not in line}

    old = find_processor()
    assert old
    for pid in old:  # it, and what it forked to parse files
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + LONG
    while not find_processor() - old:
        assert time.monotonic() < deadline


@pytest.mark.airflow("2", "the guard ends the processes of each Airflow alike")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_end__leaves_no_process(sandbox: Sandbox, tmp_path: Path, ending: signal.Signals) -> None:
    ready_file = tmp_path / "ready.json"
    command = [sys.executable, "-m", "sandbox", "start", "--ready-file", str(ready_file)]
    environment = {**os.environ, "INPUT_SECRET": "leaked", "GITHUB_TOKEN": "leaked", "PYTHONSTARTUP": "leaked"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        deadline = time.monotonic() + LONG
        while not ready_file.exists():
            assert time.monotonic() < deadline
        ready = json.loads(ready_file.read_text())
        before = _processes_of(ready["run_folder"])
        process.send_signal(ending)
        process.wait(timeout=LONG)

    assert f"endpoint={ready['endpoint']} instance-id=af-sandbox0000000000 " in line
    assert ready["endpoint"] != sandbox.endpoint
    assert len(before) >= 3  # webserver, its worker, scheduler
    assert any("AIRFLOW_HOME=" in environment for environment in before.values())
    assert not any("leaked" in environment for environment in before.values())
    if ending is signal.SIGKILL:
        while _processes_of(ready["run_folder"]):
            assert time.monotonic() < deadline
    else:
        assert process.returncode == 0
        assert not ready_file.exists()
        assert _processes_of(ready["run_folder"]) == {}
