"""Stand-ins for what the code takes as parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dms_airflow.airflow.version import AIRFLOW_2
from dms_airflow.ci.github import Runner
from dms_airflow.config import Config
from dms_airflow.operations.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from dms_airflow.airflow.version import Call, Dialect
    from dms_airflow.core.http import Answer


@dataclass
class FakeClock:
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

    def mask_word(self, word: str) -> None:
        """Remember a secret word."""
        self.secrets.append(word)

    def mask_in_log(self, value: str) -> None:
        """Remember a private value."""
        self.private.append(value)


class AskedAirflow:
    """The questions of a client, for a stand-in of it that answers requests."""

    dialect: Dialect = AIRFLOW_2
    known_dialect: Dialect | None = AIRFLOW_2
    request: Callable[..., Answer]

    def locate(self, path: str) -> str:
        """Name a path below the API's base."""
        return self.dialect.locate(path)

    def ask(self, make: Callable[[Dialect], Call], **options: Any) -> Answer:
        """Send what is made."""
        call = make(self.dialect)
        return self.request(call.method, call.path, query=call.query, **options)


def make_context(clock: FakeClock, log: FakeLog, **runner: Any) -> Context:
    """Make an operation's world without an instance."""
    around = Runner(**{"workspace": Path(), "run_id": "4711", "run_attempt": "2", "job": "deploy", "step": "__run", **runner})
    nothing = cast("Any", None)
    return Context(
        config=Config(),
        open_workspace=nothing,
        airflow=nothing,
        session=nothing,
        transport=nothing,
        runner=around,
        clock=clock,
        log=log,
    )
