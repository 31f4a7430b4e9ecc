"""Time as a parameter, so that no test waits."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TextIO


class Clock:
    """The machine's own clock. Seconds throughout."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)

    def time_of_day(self) -> datetime:
        """Date and time in UTC. It may jump."""
        return datetime.now(UTC)


class TerminalClock(Clock):
    """The same, for a person who watches: while the step waits, a line shows for how long it has run."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._started = self.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        end = self.monotonic() + seconds
        while (left := end - self.monotonic()) > 0:
            self._terminal.write(f"\r… {self.monotonic() - self._started:.0f} s\x1b[K")
            self._terminal.flush()
            super().sleep(min(left, 1))
        self._terminal.write("\r\x1b[K")
