"""DMS with a scripted Airflow behind it: the sandbox's own OpenAPI, login and session, and answers that a test writes.

Signatures, single-use tokens and cookies are checked as in the sandbox; a fault of a test's choice takes the place of any
answer.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sandbox.front import Answer, Front, Gateway, Request, Server
from sandbox.instance import CommandResult, WebResponse
from sandbox.journal import Journal
from sandbox.openapi import ACTION, INSTANCE_ID, PREFIX, WORKSPACE_ID, OpenApi
from sandbox.signature import Credential
from sandbox.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.integration.fake_cloud import FakeCloud

KEY = Credential(access_key_id="LTAI5tUnitTestKey0001", access_key_secret="Zm9vYmFyL3NlY3JldCtrZXk9PQ==")
TEMPORARY_KEY = Credential(
    access_key_id="STS.UnitTestKey0002", access_key_secret="sts/secret+0002==", security_token="CAIS+token/with=odd&signs%"
)

JSON = ("Content-Type", "application/json")
HTML = ("Content-Type", "text/html; charset=utf-8")

REMOVED = b'{"error":"/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2 instead."}'
UI_PAGE = b'<!doctype html><html><head><title>Airflow</title></head><body><div id="root"></div></body></html>'
LOGIN_PAGE = b"<!DOCTYPE html><title>Sign In - Airflow</title><form action='/login/'><input type=password></form>"


class DroppedError(Exception):
    """The connection breaks without an answer."""


@dataclass
class FakeAirflow:
    """Answers what the test wrote; anything else is a failing command, or what an Airflow of its version says to it."""

    version: str = "2.10.4"  # empty: it tells none
    commands: dict[str, tuple[str, str]] = field(default_factory=dict)
    routes: dict[tuple[str, str], WebResponse] = field(default_factory=dict)
    effects: dict[str, Callable[[], None]] = field(default_factory=dict)
    """By the beginning of a command, what it changes: routes, for example."""

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Answer with the longest command that these words begin with."""
        line = " ".join(arguments)
        for effect in [effect for name, effect in self.effects.items() if line.startswith(name)]:
            effect()
        name = max((name for name in self.commands if line.startswith(name)), key=len, default=None)
        stdout, stderr = self.commands[name] if name is not None else ("", f"not scripted: {line}\n")
        return CommandResult(stdout=stdout, stderr=stderr, exit_code=-1, seconds=0.0)

    def request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer a REST call by its method and its path with query below the instance's base."""
        del headers, body
        below = target.removeprefix(PREFIX)
        return self.routes.get((method, below)) or self.answer_unscripted(method, below)

    def answer_unscripted(self, method: str, target: str) -> WebResponse:
        """Answer as stock Airflow does to anything that a test did not write (tests/captures/*/rest)."""
        is_airflow_3 = self.version.startswith("3")
        if (method, target) == ("GET", f"/api/{'v2' if is_airflow_3 else 'v1'}/version") and self.version:
            return WebResponse(status=200, headers=[JSON], body=json.dumps({"version": self.version}).encode())
        if not is_airflow_3:
            return WebResponse(status=404, headers=[JSON], body=b'{"title": "not scripted", "status": 404}')
        if target.startswith("/api/v1/") and method == "GET":
            return WebResponse(status=404, headers=[JSON], body=REMOVED)
        if method != "GET":
            return WebResponse(status=405, headers=[JSON], body=b'{"detail":"Method Not Allowed"}')
        if target.startswith("/api/"):
            return WebResponse(status=404, headers=[JSON], body=b'{"error":"API route not found"}')
        return WebResponse(status=200, headers=[HTML], body=UI_PAGE)

    def store(self, dags: Sequence[Mapping[str, Any]], errors: Sequence[Mapping[str, Any]] = ()) -> None:
        """Script what the database holds, for who reads all of it."""
        names = "dag_id fileloc file_token has_import_errors last_parsed_time is_active is_paused max_active_runs"
        fields = names.replace(" ", "%2C")
        if self.version.startswith("3"):
            api, query = "/api/v2", "exclude_stale=false&order_by=dag_id"
        else:
            api, query = "/api/v1", f"only_active=false&order_by=dag_id&fields={fields}"
        pages = "limit=100&offset=0"
        self.route("GET", f"{api}/dags?{query}&{pages}", {"dags": dags, "total_entries": len(dags)})
        stored = {"import_errors": errors, "total_entries": len(errors)}
        self.route("GET", f"{api}/importErrors?order_by=import_error_id&{pages}", stored)

    def route(self, method: str, target: str, body: Any, status: int = 200) -> None:
        """Script a REST answer."""
        self.routes[method, target] = WebResponse(status=status, headers=[JSON], body=json.dumps(body).encode())


# As what Airflow 3 wants to have the session proved: by the cookie alone; by the cookie `_token` or its value as a bearer token
# (3.2); by that bearer token only (3.0 and 3.1); by the session's value as a bearer token.
PROOFS = ("session", "token", "bearer", "session as bearer")
JWT = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiIxIn0.dW5pdC10ZXN0"


class FakeDms(Front):
    """The front, with what it received and faults in the place of its answers."""

    def __init__(self, airflow: FakeAirflow, journal: Journal) -> None:
        # Each save one second after the one before: modification times differ, whatever their form.
        self.workspace = Workspace(
            journal.path.parent / "dms-workspace",
            workspace_id=WORKSPACE_ID,
            airflow_id=INSTANCE_ID,
            clock_ns=itertools.count(1_767_262_272 * 10**9, 10**9).__next__,
        )
        self.openapi = OpenApi([KEY, TEMPORARY_KEY], self.workspace)
        super().__init__(self.openapi, airflow, journal, Gateway(command_api="/api/v1"))  # type: ignore[arg-type]
        self.airflow = airflow
        self.proof = PROOFS[0]
        self.received: list[Request] = []
        self.faults: defaultdict[str, deque[Callable[[Request], Answer | None]]] = defaultdict(deque)
        self.endpoint = ""
        self.clouds: list[FakeCloud] = []
        self._given_out: set[str] = set()

    @property
    def inputs(self) -> Mapping[str, str]:
        """What connects a step to this DMS."""
        return {
            "endpoint": self.endpoint,
            "instance-id": INSTANCE_ID,
            "access-key-id": KEY.access_key_id,
            "access-key-secret": KEY.access_key_secret,
        }

    @property
    def paths(self) -> list[str]:
        """Method and path of each request, the instance's base left out."""
        return [f"{request.method} {request.path.removeprefix(PREFIX)}" for request in self.received]

    @property
    def secrets(self) -> set[str]:
        """Every secret that this DMS knows: keys, login tokens and sessions it gave out."""
        keys = {KEY.access_key_id, KEY.access_key_secret, TEMPORARY_KEY.access_key_secret, TEMPORARY_KEY.security_token}
        return keys.union(self._given_out, *(cloud.secrets for cloud in self.clouds))

    def commands(self) -> list[list[str]]:
        """The words of each command that ran."""
        return [entry["argv"] for entry in self.journal.read() if entry["kind"] == "command" and "argv" in entry]

    def become_airflow_3(self, version: str = "3.2.2", *, command_api: str = "/api/v2", proof: str = PROOFS[0]) -> None:
        """Be an Airflow 3, in one of the ways in which DMS may serve it."""
        self.airflow.version = version
        self.proof = proof
        self._command = f"{PREFIX}{command_api}/command"

    def fail(self, kind: str, fault: Callable[[Request], Answer | None] | Answer, times: int = 1) -> None:
        """Let the next requests of a kind (token, login, version, command, rest, or an action of the OpenAPI) meet a fault."""
        self.faults[kind].extend([fault if callable(fault) else lambda _: fault] * times)

    def _route(self, request: Request) -> Answer:
        self.received.append(request)
        action = request.headers.get("x-acs-action", ACTION)
        api = "token" if action == ACTION else action
        kind = {"/": api, f"{PREFIX}/login": "login", self._command: "command"}.get(request.path, "rest")
        kind = "version" if re.fullmatch(f"{PREFIX}/api/v[12]/version", request.path) else kind
        if self.faults[kind]:
            answer = self.faults[kind].popleft()(request)
            if answer is not None:
                return answer
        answer = self._demand_proof(request) or super()._route(request)
        if kind == "login" and answer.status == HTTPStatus.FOUND and self.proof in ("token", "bearer"):
            answer = replace(answer, headers=[*answer.headers, ("Set-Cookie", f"_token={JWT}; HttpOnly; Path=/")])
        if kind == "token" and answer.status == HTTPStatus.OK:
            self._given_out.add(json.loads(answer.body).get("Data", {}).get("Token", KEY.access_key_id))
        self._given_out |= {re.split("[=;]", value)[1] for name, value in answer.headers if name == "Set-Cookie"}
        return answer

    def _demand_proof(self, request: Request) -> Answer | None:
        """Answer 401 as Airflow 3 does to who is nobody to it; anybody may read its version and its health."""
        below = request.path.removeprefix(PREFIX)
        if not below.startswith("/api/v2/") or below in ("/api/v2/version", "/api/v2/monitor/health"):
            return None
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        cookies = request.headers.get("Cookie", "")
        is_proved = {
            "session": True,
            "token": bearer == JWT or f"_token={JWT}" in cookies,
            "bearer": bearer == JWT,
            "session as bearer": bool(bearer) and f"session={bearer}" in cookies,
        }
        return None if is_proved.get(self.proof) else answer(401, b'{"detail":"Not authenticated"}', JSON)

    def _pass_on(self, request: Request) -> Answer:
        headers = [(name, value) for name, value in request.headers.items() if name not in ("Cookie", "Authorization")]
        response = self.airflow.request(request.method, request.target, headers, request.body)
        return Answer(kind="proxy", status=response.status, headers=response.headers, body=response.body)

    def _refuse(self, request: Request) -> Answer:
        if not request.path.startswith(f"{PREFIX}/api/"):
            return answer(302, b"", ("Location", f"{PREFIX}/login"))
        return answer(
            401, b'{"detail": null, "status": 401, "title": "Unauthorized"}', ("Content-Type", "application/problem+json")
        )


def drop(request: Request) -> Answer:
    """Break the connection after the request was read."""
    raise DroppedError(request.path)


def answer(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
    """Make an answer."""
    return Answer(kind="fault", status=status, headers=list(headers), body=body)


@contextmanager
def serve(folder: Path) -> Iterator[FakeDms]:
    """Run a fake DMS on a free port of loopback."""
    fake = FakeDms(FakeAirflow(), Journal(folder / "journal.jsonl"))
    with Server("127.0.0.1", 0) as server:
        server.front = fake
        fake.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
