"""A network and a DMS that misbehave at one request of a choice: real sockets, real TLS, and a clock that nobody waits for."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter

from sandbox.cloud import METADATA_HOST, write_credentials
from sandbox.front import Answer, Server, _Handler
from sandbox.journal import Journal
from sandbox.oidc import HOST as ID_TOKEN_HOST
from sandbox.oidc import Issuer
from sandbox.openapi import PREFIX
from sandbox.sts import SecurityTokenService
from tests.integration.fake_cloud import FakeCloud
from tests.integration.fake_dms import JSON, TEMPORARY_KEY, FakeDms
from tests.integration.scripted_runs import ScriptedRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest
    import trustme
    from requests import PreparedRequest, Response

    from sandbox.front import Request
    from tests.unit.fakes import FakeClock

FOR_EVER = 10**6  # times

# Alibaba Cloud's OpenAPI, and DMS's own host.
NAMES = ("dms.cn-hangzhou.aliyuncs.com", "data-cn-hangzhou-dms.aliyuncs.com")

# What a step meets on its way to keys.
CLOUD = (ID_TOKEN_HOST, "sts.aliyuncs.com", METADATA_HOST)

# A request that is to meet silence waits so long in truth, and as long as it would by the fake clock.
REAL_SILENCE = 0.05  # seconds


class MisbehaviourError(Exception):
    """What happens on the connection in the place of an answer."""

    def __init__(self, play: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self.play = play


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What one request meets.

    Args:
        place: Where the way to the server leads instead: ``nobody``, ``closed``, ``reset``, ``silence``, ``stranger``.
        answer: Makes the answer of what would have been the right one; may raise a MisbehaviourError.
        happens: What was asked for is done all the same.
        is_silent: The answer never comes.
    """

    place: str = ""
    answer: Callable[[Answer], Answer] | None = None
    happens: bool = False
    is_silent: bool = False


def name_request(method: str, host: str, path: str) -> str:
    """Write a request as plans do: method and path, in the cloud with the host."""
    return f"{method} {host if host in CLOUD else ''}{path.removeprefix(PREFIX)}"


@dataclass
class Plan:
    """Which requests meet which fault; what became of them.

    Args:
        what: A pattern of their method and path.
        fault: What they meet; a function where each may meet another.
        times: How many of them.
        counted: A pattern of those whose effects count; empty: the same.
    """

    what: str = "^never"
    fault: Fault | Callable[[], Fault | None] | None = None
    times: int = 0
    counted: str = ""
    sent: int = 0
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meet(self, what: str) -> Fault | None:
        """Count a request that leaves, and choose its fault."""
        if not re.search(self.what, what):
            return None
        with self._lock:
            self.sent += 1
            if self.sent > self.times:
                return None
        return self.fault() if callable(self.fault) else self.fault


class MisbehavingDms(FakeDms):
    """Answers over TLS, each time on a connection of its own."""

    def __init__(self, folder: Path) -> None:
        self.runs = ScriptedRuns()
        super().__init__(self.runs, Journal(folder / "journal.jsonl"))
        issuer = Issuer()
        sts = SecurityTokenService(key=issuer.key, accept=self.openapi.accept)
        self.cloud = FakeCloud(issuer=issuer, sts=sts, ecs_credential=TEMPORARY_KEY)
        self.clouds.append(self.cloud)
        self.ports = {443: 0, 80: 0}
        """Where it listens for https and for http."""
        self.plan = Plan()
        self.next: Fault | None = None
        self.named = ""
        """Scheme and host that the token answer names; empty for its own."""

    def _route(self, request: Request) -> Answer:
        host = request.headers.get("Host", "")
        what = name_request(request.method, host, request.path)
        is_meant = re.search(self.plan.what, what) is not None
        fault = self.next if is_meant else None
        if fault and fault.answer and not fault.happens:
            right = Answer(kind="fault", status=200)
        else:
            right = self._answer_as_cloud(request) if host in CLOUD else super()._route(request)
            is_counted = re.search(self.plan.counted or self.plan.what, what) is not None
            self.plan.done += is_counted and right.status < 400
        named = self.named or f"https://{request.headers.get('Host')}"
        right = replace(right, body=re.sub(rb'(?<="Host": ")http://[^/"]+', named.encode(), right.body))
        given = fault.answer(right) if fault and fault.answer else right
        return replace(given, headers=[*given.headers, ("Connection", "close")])

    def _answer_as_cloud(self, request: Request) -> Answer:
        if "Action=AssumeRole&" not in f"{request.query}&":
            return self.cloud.answer(request)
        body = json.dumps({"RequestId": "r1", "Credentials": write_credentials(TEMPORARY_KEY)}).encode()
        return Answer(kind="sts", status=200, headers=[JSON], body=body)


class _MisbehavingHandler(_Handler):
    def handle_one_request(self) -> None:
        """Play what is to happen in the place of an answer."""
        try:
            super().handle_one_request()
        except MisbehaviourError as misbehaviour:
            self.close_connection = True
            with suppress(OSError):
                misbehaviour.play(self.connection)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a way may lead: addresses on loopback."""

    closed: int
    reset: int
    stranger: int


@contextmanager
def open_places(stranger: ssl.SSLContext) -> Iterator[Places]:
    """Open what the ways lead to."""

    def serve(listener: socket.socket, play: Callable[[socket.socket], None]) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    play(connection)

    def shake_hands(connection: socket.socket) -> None:
        stranger.wrap_socket(connection, server_side=True).close()

    with ExitStack() as stack:
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        ports = []
        for play in (interrupt, shake_hands):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=serve, args=(listener, play), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            ports.append(listener.getsockname()[1])
        yield Places(closed=closed.getsockname()[1], reset=ports[0], stranger=ports[1])


@contextmanager
def serve_misbehaving(folder: Path, authority: trustme.CA) -> Iterator[MisbehavingDms]:
    """Run a DMS that misbehaves."""
    dms = MisbehavingDms(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", *NAMES, *CLOUD).configure_cert(context)
    with ExitStack() as stack:
        for port in dms.ports:
            server = stack.enter_context(Server("127.0.0.1", 0))
            server.front = dms
            server.RequestHandlerClass = _MisbehavingHandler
            if port == 443:
                server.socket = context.wrap_socket(server.socket, server_side=True)
                dms.endpoint = f"https://127.0.0.1:{server.server_port}"
            dms.ports[port] = server.server_port
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield dms


def watch_the_door(monkeypatch: pytest.MonkeyPatch, dms: MisbehavingDms, places: Places, clock: FakeClock) -> None:
    """Let requests that are meant by the plan meet their fault on their way.

    Patched is what no parameter reaches: the SDK's requests go out by the same door.
    """
    send, look_up = HTTPAdapter.send, socket.getaddrinfo
    now = threading.local()

    def meet(self: HTTPAdapter, request: PreparedRequest, **options: Any) -> Response:
        parts = urlsplit(str(request.url))
        what = name_request(str(request.method), parts.netloc, parts.path)
        now.fault = fault = dms.plan.meet(what)
        if re.search(dms.plan.what, what):
            dms.next = fault
        connect, read = options["timeout"]
        is_silent = fault is not None and fault.is_silent
        if is_silent:
            options["timeout"] = (connect, REAL_SILENCE)
        try:
            return send(self, request, **options)
        finally:
            now.fault = None  # who looks for an ECS instance meets none of it
            clock.now += read if is_silent else 0.0

    def lead(host: str, port: int, *rest: Any, **options: Any) -> Any:
        place = now.fault.place if getattr(now, "fault", None) else ""
        if place == "nobody":
            raise socket.gaierror(socket.EAI_NONAME, "nobody knows it")
        if place == "silence":
            clock.now += 10.0
            raise TimeoutError("nobody answers")
        if host in CLOUD:
            host, port = "127.0.0.1", dms.ports[port]
        return look_up(host, {"": port}.get(place) or getattr(places, place), *rest, **options)

    monkeypatch.setattr(HTTPAdapter, "send", meet)
    monkeypatch.setattr(socket, "getaddrinfo", lead)


# --- what may happen on a connection --------------------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    """Break the connection the hard way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def interrupt(connection: socket.socket) -> None:
    """Break the connection in the middle of the handshake."""
    connection.recv(1)
    reset(connection)


def keep_silent(connection: socket.socket) -> None:
    """Say nothing until the other side hangs up."""
    connection.settimeout(10.0)
    while connection.recv(4096):
        pass


def begin(connection: socket.socket, right: Answer, length: int | None = None) -> None:
    """Send status and headers; without a length the answer ends with the connection."""
    lines = [f"HTTP/1.1 {right.status} -", *(f"{name}: {value}" for name, value in right.headers), "Connection: close"]
    lines += [] if length is None else [f"Content-Length: {length}"]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())


def cut_off(right: Answer) -> Answer:
    """Hang up in the middle of the body."""

    def play(connection: socket.socket) -> None:
        begin(connection, right, len(right.body) + 100)
        connection.sendall(right.body)
        connection.close()

    raise MisbehaviourError(play)


def cut_off_headers(_: Answer) -> Answer:
    """Hang up in the middle of the headers."""

    def play(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 -\r\nContent-Type: application/json\r\n")
        connection.close()

    raise MisbehaviourError(play)


def leave_out_body(right: Answer) -> Answer:
    """Hang up behind the headers, which give no length."""

    def play(connection: socket.socket) -> None:
        begin(connection, right)
        connection.close()

    raise MisbehaviourError(play)


def never_end(right: Answer) -> Answer:
    """Send blanks for ever."""

    def play(connection: socket.socket) -> None:
        begin(connection, right)
        while True:
            connection.sendall(b" " * 65536)

    raise MisbehaviourError(play)


def drip(clock: FakeClock, seconds: float) -> Callable[[Answer], Answer]:
    """Send a byte, let time pass, and send a byte now and then until the other side hangs up."""

    def answer(right: Answer) -> Answer:
        def play(connection: socket.socket) -> None:
            begin(connection, right)
            connection.sendall(b" ")
            clock.now += seconds
            connection.settimeout(0.01)
            for _ in range(1000):
                connection.sendall(b" ")
                with suppress(TimeoutError):
                    if not connection.recv(1):
                        return

        raise MisbehaviourError(play)

    return answer
