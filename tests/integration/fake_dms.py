"""DMS with a scripted Airflow behind it: the sandbox's own OpenAPI, login and session, and answers that a test writes.

Signatures, single-use tokens and cookies are checked as in the sandbox; a fault of a test's choice takes the place of any
answer.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sandbox.front import Answer, Front, Request, Server
from sandbox.instance import CommandResult, WebResponse
from sandbox.journal import Journal
from sandbox.openapi import INSTANCE_ID, PREFIX, TokenService
from sandbox.signature import Credential

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

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Answer with the longest command that these words begin with."""
        line = " ".join(arguments)
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

    def route(self, method: str, target: str, body: Any, status: int = 200) -> None:
        """Script a REST answer."""
        self.routes[method, target] = WebResponse(status=status, headers=[JSON], body=json.dumps(body).encode())


class FakeDms(Front):
    """The front, with what it received and faults in the place of its answers."""

    def __init__(self, airflow: FakeAirflow, journal: Journal) -> None:
        self.tokens = TokenService([KEY, TEMPORARY_KEY])
        super().__init__(self.tokens, airflow, journal)  # type: ignore[arg-type]
        self.airflow = airflow
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

    def fail(self, kind: str, fault: Callable[[Request], Answer | None] | Answer, times: int = 1) -> None:
        """Let the next requests of a kind (token, login, command, rest) meet a fault."""
        self.faults[kind].extend([fault if callable(fault) else lambda _: fault] * times)

    def _route(self, request: Request) -> Answer:
        self.received.append(request)
        kind = {"/": "token", f"{PREFIX}/login": "login", f"{PREFIX}/api/v1/command": "command"}.get(request.path, "rest")
        if self.faults[kind]:
            answer = self.faults[kind].popleft()(request)
            if answer is not None:
                return answer
        answer = super()._route(request)
        if kind == "token" and answer.status == HTTPStatus.OK:
            self._given_out.add(json.loads(answer.body).get("Data", {}).get("Token", KEY.access_key_id))
        self._given_out |= {re.split("[=;]", value)[1] for name, value in answer.headers if name == "Set-Cookie"}
        return answer


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
