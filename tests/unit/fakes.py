"""Stand-ins for what the code takes as parameters."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qsl

from requests.structures import CaseInsensitiveDict

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.ci.runner import Runner
from dms_airflow.config import Config
from dms_airflow.core.clock import Clock
from dms_airflow.core.http.exchange import Response
from dms_airflow.operations.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class FakeClock(Clock):
    """A clock that moves when somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.slept.append(seconds)
        self.now += seconds

    def time_of_day(self) -> datetime:
        """Tell date and time; the clock starts at noon."""
        return datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(seconds=self.now - 1000)


@dataclass
class FakeLog:
    """A log that remembers."""

    lines: list[str] = field(default_factory=list)
    folds: list[tuple[str, str]] = field(default_factory=list)
    debugs: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)

    def info(self, text: str) -> None:
        """Remember a line."""
        self.lines.append(text)

    def fold(self, title: str, text: str) -> None:
        """Remember a folded text."""
        self.folds.append((title, text))

    def debug(self, text: str) -> None:
        """Remember a debugging line."""
        self.debugs.append(text)

    def redact(self, text: str) -> str:
        """Replace the secrets."""
        for secret in (*self.secrets, *self.private):
            text = text.replace(secret, "***")
        return text

    def mask(self, secret: str) -> None:
        """Remember a secret."""
        self.secrets.append(secret)

    def mask_in_log(self, value: str) -> None:
        """Remember a private value."""
        self.private.append(value)


class FakeSession:
    """A session that is open."""

    host = "https://airflow"
    has_jwt = False

    def __init__(self, version: str | None) -> None:
        self.version = version

    def keep_version(self, number: str) -> None:
        """Keep it."""
        self.version = number

    def send(self, exchange: Callable[[Mapping[str, str]], Response], method: str, path: str) -> Response:
        """Send without anything that proves it."""
        del method, path
        return exchange({})


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request that a fake instance got: the path below the API's base."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    accept: str
    timeout: float


def make_response(body: Any, status: int = 200, **headers: str) -> Response:
    """Make a JSON response."""
    all_headers = CaseInsensitiveDict({"Content-Type": "application/json", **headers})
    return Response(status=status, headers=all_headers, body=json.dumps(body).encode(), cookies={})


class FakeAirflow(AirflowClient):
    """A real client of an instance that a test plays: one thing after the other, as sent.

    Args:
        answer: Gives the response to a request, or the JSON of a success, or raises.
        clock: Time.
        log: The log.
        version: Of the instance, which is known.
    """

    def __init__(
        self, answer: Callable[[Sent], Any], clock: FakeClock, log: FakeLog | None = None, version: str = "2.10.4"
    ) -> None:
        session, transport = cast("Any", FakeSession(version)), cast("Any", self)
        super().__init__(session=session, transport=transport, clock=clock, log=log or FakeLog())
        self.answer = answer
        self.sent: list[Sent] = []

    def exchange(
        self, method: str, base: str, path: str, *, query: str, headers: Any, body: bytes | None, timeout: float
    ) -> Response:
        """Play the transport."""
        del base
        content = None if body is None else json.loads(body)
        below = path.removeprefix("/api/v1").removeprefix("/api/v2")
        accept, pairs = headers["Accept"], dict(parse_qsl(query))
        sent = Sent(method=method, path=below, query=pairs, body=content, accept=accept, timeout=timeout)
        self.sent.append(sent)
        answer = self.answer(sent)
        return answer if isinstance(answer, Response) else make_response(answer)

    def map(self, function: Callable[[T], R], things: Iterable[T]) -> list[R]:
        """Do one thing after the other."""
        return [function(thing) for thing in things]


def make_context(clock: FakeClock, log: FakeLog, airflow: AirflowClient | None = None, **runner: Any) -> Context:
    """Make an operation's world, mostly without an instance."""
    around = Runner(**{"workspace": Path(), "run_id": "4711", "run_attempt": "2", "job": "deploy", "step": "__run", **runner})
    nothing = cast("Any", None)
    return Context(
        config=Config(),
        open_workspace=nothing,
        airflow=airflow or nothing,
        session=nothing,
        transport=nothing,
        runner=around,
        clock=clock,
        log=log,
    )
