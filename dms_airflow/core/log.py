"""The step's log as the lower layers see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from dms_airflow.core.errors import ActionError

T = TypeVar("T")
R = TypeVar("R")


class Log(Protocol):
    """Prints for a person. Whatever is handed over is made harmless: secrets masked, no workflow command in it."""

    def info(self, text: str) -> None:
        """Print lines of the story."""

    def fold(self, title: str, text: str) -> None:
        """Print a long text under a title that opens it."""

    def debug(self, text: str) -> None:
        """Print a line that only a debugging run shows."""

    def redact(self, text: str) -> str:
        """Mask secrets in a text that is to be cut: half a secret would not be recognized afterwards."""

    def mask(self, secret: str) -> None:
        """Keep a secret, just born, out of everything that is printed or written from now on."""

    def mask_in_log(self, value: str) -> None:
        """Mask a value in what is printed, but not in the outputs: the author requested it."""


def find_or_log(find: Callable[[], T], otherwise: R, what: str, log: Log) -> T | R:
    """Call a function that no verdict rests on: its failure is one line of the log, and never that of the step."""
    try:
        return find()
    except Exception as error:  # noqa: BLE001 - also a response of a shape that nobody expected
        log.info(f"{what}: not known. {error.message if isinstance(error, ActionError) else type(error).__name__}")
    return otherwise
