"""Stand-ins for what the code takes as parameters."""

from __future__ import annotations

from dataclasses import dataclass, field


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

    def mask(self, secret: str) -> None:
        """Remember a secret."""
        self.secrets.append(secret)

    def mask_word(self, word: str) -> None:
        """Remember a secret word."""
        self.secrets.append(word)

    def mask_in_log(self, value: str) -> None:
        """Remember a private value."""
        self.private.append(value)
