"""Hands the process's environment to main and exits with its code.

Run as ``python -Esu /app/entrypoint.py``: the user's checkout is the working directory, and neither a ``json.py`` in it nor a
PYTHONPATH of the job may be imported in place of Python's own.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Never, TextIO, cast

from dms_airflow.core.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM)

TICK = 0.5  # seconds


def ignore_signals() -> None:
    """Let nothing interrupt what follows."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def cancel(*_: object) -> Never:
    """Stop what is being done, once: what follows the first signal must come to its end."""
    ignore_signals()
    raise Cancelled


def load() -> Callable[..., int]:
    """Import the action itself."""
    from dms_airflow.main import main  # noqa: PLC0415 - the handlers of signals come first: imports take a while

    return main


def run() -> int:
    """Run the action as this process."""
    # Process 1 of a container has no default handlers: a signal without one is ignored.
    for number in SIGNALS:
        signal.signal(number, cancel)
    # A signal that comes just before Python begins to wait for a response is handled only when the wait is interrupted; Python
    # continues to wait after that: https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    # A locale without UTF-8 must not turn an import error's text into an error of ours.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return load()(os.environ, cast("TextIO", sys.stdout), before_report=ignore_signals)
    except Cancelled:
        # Before the action had begun: nothing was sent anywhere.
        sys.stdout.write("::warning title=Cancelled::The workflow was cancelled before anything was sent.\n")
        if path := os.environ.get("GITHUB_OUTPUT"):
            with Path(path).open("a", encoding="utf-8") as outputs:
                outputs.write("status=cancelled\n")
        return 130


if __name__ == "__main__":
    exit_code = run()
    sys.stdout.flush()
    # Not sys.exit: it would wait for threads whose requests nobody waits for any more, and a cancelled step has no time.
    os._exit(exit_code)
