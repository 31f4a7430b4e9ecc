"""Requests to the sandbox and its responses: one JSON object a line, for tests and for a curious reader."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from pathlib import Path

_SECRET_PARAMETERS = frozenset({"token"})


class Journal:
    """A file of JSON lines that several threads write to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._arrived = 0
        path.touch(mode=0o600)

    @property
    def arrived(self) -> int:
        """How many requests have come, those included that are not answered yet."""
        with self._lock:
            return self._arrived

    def count(self) -> int:
        """Give a request that comes its number, from 1."""
        with self._lock:
            self._arrived += 1
            return self._arrived

    def write(self, entry: dict[str, Any]) -> None:
        """Append one entry."""
        line = json.dumps(entry) + "\n"
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def read(self, since: int = 0) -> list[dict[str, Any]]:
        """Give the entries so far, in the order in which the requests came.

        Args:
            since: What `arrived` was: requests that came before are left out, also when they were answered later.
        """
        with self._lock:
            entries = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return sorted((entry for entry in entries if entry["number"] > since), key=lambda entry: entry["number"])


def redact_query(query: str) -> str:
    """The query with the values of login tokens replaced by ``***``."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(name in _SECRET_PARAMETERS for name, _ in pairs):
        return query
    return urlencode([(name, "***" if name in _SECRET_PARAMETERS else value) for name, value in pairs], safe="*")
