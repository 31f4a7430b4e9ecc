"""The command `dms-airflow`: hands the process's environment and its arguments to main, and exits with its code.

The image runs it as ``python -Esu /app/entrypoint.py``: the user's checkout is the working directory, and neither a ``json.py``
in it nor a PYTHONPATH of the job may be imported in place of Python's own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Never, TextIO, cast

from dms_airflow.core.errors import Cancelled

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


@contextmanager
def cancellable() -> Iterator[None]:
    """Let a signal cancel what is done in the block, also one that came before it; after it, none does."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        yield
    finally:
        ignore_signals()


def run(arguments: Sequence[str] = ()) -> int:
    """Run the action as this process; return its exit code."""
    environ, log, result = dict(os.environ), cast("TextIO", sys.stdout), None
    if arguments:
        from dms_airflow.flags import parse_arguments  # noqa: PLC0415 - a step of a workflow has none

        variables, is_json = parse_arguments(arguments)
        environ |= variables
        log, result = (cast("TextIO", sys.stderr), cast("TextIO", sys.stdout)) if is_json else (log, None)
    # Imports take a while: a signal waits until there is something to cancel, and somebody to report it.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # Process 1 of a container has no default handlers: a signal without one is ignored.
    for number in SIGNALS:
        signal.signal(number, cancel)
    # A signal that comes just before Python begins to wait for a response is handled only when the wait is interrupted; Python
    # continues to wait after that: https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    # A locale without UTF-8 must not turn an import error's text into an error of ours.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    from dms_airflow.main import main  # noqa: PLC0415 - signals come first

    return main(environ, log, cancellable=cancellable, result_stream=result)


def main() -> Never:
    """Run the action, and end the process."""
    exit_code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: it would wait for threads whose requests nobody waits for any more, and a cancelled step has no time.
    # And SIGALRM would have its default handler while Python ends: it kills the process.
    os._exit(exit_code)
