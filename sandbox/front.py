"""The front of the sandbox: OpenAPI, login, command line, and a proxy to Airflow that lets only sessions through.

What DMS does is in the module's answers where public documentation says it; README.md lists what is guessed.
"""

from __future__ import annotations

import http.client
import secrets
import shlex
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from sandbox.instance import StartError
from sandbox.journal import redact_query
from sandbox.openapi import ACTION, PREFIX, OpenApi, to_json
from sandbox.signature import SignedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message

    from sandbox.instance import Instance
    from sandbox.journal import Journal

LOGIN = f"{PREFIX}/login"
REST = f"{PREFIX}/api/"
_SESSION_LIFETIME = timedelta(days=30)
_JSON = ("Content-Type", "application/json")
_HTML = ("Content-Type", "text/html; charset=utf-8")
# Not passed on to Airflow: headers of one connection, and the caller's credentials for the front.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
_CALLERS_OWN = _HOP_BY_HOP | {"cookie", "authorization"}
# Not passed back: the front counts the body itself, and Airflow's session is the front's.
_COUNTED = _HOP_BY_HOP | {"content-length"}
_AIRFLOWS_OWN = _COUNTED | {"set-cookie"}
_SIGN_IN_PAGE = b"<!DOCTYPE html><title>Sign in</title><p>There is no session, or the token was used before.</p>"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as received; the query is still encoded."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back, and what the journal keeps of it."""

    kind: str
    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    is_lost: bool = False
    """The connection ends in the place of an answer."""
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """What nobody has said of DMS in front of Airflow 3."""

    command_api: str
    """Below which path commands are taken: `/api/v1` or `/api/v2`. At the other Airflow answers."""
    needs_token: bool = False
    """Whether Airflow itself wants to see who calls: the cookie `_token` of the login, or its value as a bearer."""


class Front:
    """Decides what a request gets."""

    def __init__(self, openapi: OpenApi, instance: Instance, journal: Journal, gateway: Gateway) -> None:
        self._openapi = openapi
        self.instance = instance
        self.journal = journal
        self._needs_token = gateway.needs_token
        self._command = f"{PREFIX}{gateway.command_api}/command"
        self._lock = threading.Lock()
        self._sessions: set[str] = set()

    def answer(self, request: Request) -> Answer:
        """Answer one request, and write both down before the answer leaves."""
        started = time.monotonic()
        number = self.journal.count()
        answer = self._route(request)
        entry = {
            "number": number,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": answer.kind,
            "method": request.method,
            "path": request.path,
            "query": redact_query(request.query),
            "status": answer.status,
            "seconds": round(time.monotonic() - started, 3),
        }
        self.journal.write(entry | answer.notes)
        return answer

    def expire_sessions(self) -> None:
        """Forget every session, as if their time had come."""
        with self._lock:
            self._sessions.clear()

    def _route(self, request: Request) -> Answer:
        if request.path == "/" and request.method == "POST":
            return self._call_openapi(request)
        if request.path != PREFIX and not request.path.startswith(f"{PREFIX}/"):
            return Answer(kind="unknown", status=404, headers=[_HTML], body=b"<!DOCTYPE html><title>Not Found</title>")
        if request.path == LOGIN and request.method == "GET":
            return self._log_in(request)
        if not self._has_session(request):
            return self._refuse(request)
        if request.path == self._command and request.method == "POST":
            return self._run_command(request)
        return self._pass_on(request)

    def _call_openapi(self, request: Request) -> Answer:
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        answer = self._openapi.answer(
            SignedRequest(method=request.method, path=request.path, query=request.query, headers=headers, body=request.body)
        )
        is_token = answer.action in ("", ACTION)
        return Answer(
            kind="token" if is_token else "openapi",
            status=answer.status,
            headers=[_JSON, *answer.headers],
            body=to_json(answer.body),
            is_lost=answer.is_lost,
            notes={"code": answer.body.get("Code", "")} | ({} if is_token else {"action": answer.action}),
        )

    def _log_in(self, request: Request) -> Answer:
        values = parse_qs(request.query).get("token")
        if values is None:
            return Answer(kind="login", status=200, headers=[_HTML], body=_SIGN_IN_PAGE)
        if not self._openapi.redeem(values[0]):
            return Answer(kind="login", status=302, headers=[("Location", LOGIN)])
        cookies = {"session": secrets.token_urlsafe(32)}
        if self._needs_token:
            try:
                _, credential = self.instance.new_credential()
            except (OSError, http.client.HTTPException, StartError) as error:
                return _bad_gateway("login", error)
            cookies["_token"] = credential.removeprefix("Bearer ")
        with self._lock:
            self._sessions.add(cookies["session"])
        expires = format_datetime(datetime.now(UTC) + _SESSION_LIFETIME, usegmt=True)
        attributes = f"Expires={expires}; Secure; HttpOnly; Path=/; SameSite=None; Partitioned"
        headers = [("Set-Cookie", f"{name}={value}; {attributes}") for name, value in cookies.items()]
        return Answer(kind="login", status=302, headers=[("Location", f"{PREFIX}/home"), *headers])

    def _has_session(self, request: Request) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load("; ".join(request.headers.get_all("Cookie", [])))
        except CookieError:
            return False
        with self._lock:
            return "session" in cookies and cookies["session"].value in self._sessions

    def _run_command(self, request: Request) -> Answer:
        line = "".join(parse_qs(request.query).get("command", []))
        try:
            arguments = shlex.split(line)
        except ValueError as error:
            body = to_json({"stderr": f"{error}\n", "stdout": ""})
            return Answer(kind="command", status=200, headers=[_JSON], body=body, notes={"argv": None})
        try:
            result = self.instance.run_command(arguments)
        except StartError as error:
            return _bad_gateway("command", error)
        return Answer(
            kind="command",
            status=200,
            headers=[_JSON],
            body=to_json({"stderr": result.stderr, "stdout": result.stdout}),
            notes={"argv": arguments, "exit_code": result.exit_code, "wall_seconds": result.seconds},
        )

    def _pass_on(self, request: Request) -> Answer:
        kept_here, kept_there = (_HOP_BY_HOP, _COUNTED) if self._needs_token else (_CALLERS_OWN, _AIRFLOWS_OWN)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in kept_here]
        try:
            response = self.instance.request(
                request.method, request.target, headers, request.body, as_admin=not self._needs_token
            )
        except (OSError, http.client.HTTPException) as error:
            return _bad_gateway("proxy", error)
        headers = [(name, value) for name, value in response.headers if name.lower() not in kept_there]
        return Answer(kind="proxy", status=response.status, headers=headers, body=response.body)

    def _refuse(self, request: Request) -> Answer:
        if not request.path.startswith(REST):
            return Answer(kind="proxy", status=302, headers=[("Location", LOGIN)])
        refusal = self.instance.release.refusal
        kind = "command" if request.path == self._command else "proxy"
        return Answer(
            kind=kind,
            status=401,
            headers=[("Content-Type", refusal.content_type)],
            body=refusal.body,
        )


def _bad_gateway(kind: str, error: Exception) -> Answer:
    body = b"<!DOCTYPE html><title>502 Bad Gateway</title>"
    return Answer(kind=kind, status=502, headers=[_HTML], body=body, notes={"error": str(error)})


class Answering(Protocol):
    """Whatever answers requests."""

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        ...


class Server(ThreadingHTTPServer):
    """The HTTP server; requests wait in its backlog until it is served with a front."""

    daemon_threads = True
    front: Answering

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller that hung up; the journal has the rest."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _serve(self) -> None:
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(method=self.command, path=path, query=query, headers=self.headers, body=body)
        answer = self.server.front.answer(request)
        if answer.is_lost:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        if not any(name.lower() == "date" for name, _ in answer.headers):
            self.send_header("Date", self.date_time_string())
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815 - http.server names them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: the journal does."""
