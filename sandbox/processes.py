"""Processes that never outlive the sandbox: each runs under a guard of its own (guard.py)."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")


class GuardedProcess:
    """A command that ends, with everything it started, when the sandbox does."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdout: IO[bytes],
        stderr: IO[bytes],
        file_descriptors: Collection[int] = (),
    ) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", _GUARD, *command],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(file_descriptors),
            start_new_session=True,  # a Ctrl-C in the terminal is not for it
        )

    def exit_code(self) -> int | None:
        """The exit status, or None while the command runs."""
        return self._guard.poll()

    def wait(self) -> int:
        """Wait for the command's end; return its exit status (128 + n: signal n ended it)."""
        return self._guard.wait()

    def ask_to_end(self) -> None:
        """End the command, soon. Harmless when it has ended."""
        if self._guard.stdin is not None:
            with suppress(BrokenPipeError):
                self._guard.stdin.close()

    def stop(self) -> None:
        """End the command and everything it started: politely, then by force. Harmless when it has ended."""
        self.ask_to_end()
        self._guard.wait()
