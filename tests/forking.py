"""A runner whose steps are forks of a process that has imported what the action can import."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.forks import ForkServer, PipedFork, name_server
from sandbox.runner import PROJECT, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sandbox.runner import Process

IMPORTS = """
import runpy, sys
from pathlib import Path
runpy.run_path("tests/imports.py")["import_all"](Path())
"""


@contextmanager
def serve_forks() -> Iterator[ForkServer]:
    """Run a process that has imported what the action can import."""
    link, theirs = socket.socketpair()
    with theirs:
        arguments = name_server(theirs.fileno(), PROJECT / "entrypoint.py", IMPORTS)
        process = subprocess.Popen(
            [sys.executable, "-Esu", *arguments],
            # The SDK keeps the home folder when it is imported, and reads nothing there unless a step is given another one.
            env={"HOME": "/nonexistent", **{name: os.environ[name] for name in ("LANG",) if name in os.environ}},
            cwd=PROJECT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # Pipes, as those of a step: Python looks once at what its streams are.
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    try:
        server = ForkServer(link)
    except ValueError as error:
        raise RuntimeError(process.communicate()[1].decode()) from error
    yield server
    server.close()
    process.communicate()


@dataclass(frozen=True, kw_only=True)
class ForkingRunner(Runner):
    """A runner whose steps are forks, but for those to which it would make a difference."""

    server: ForkServer

    def start(self, inputs: Mapping[str, str], environ: Mapping[str, str] | None = None) -> tuple[Process, Mapping[str, Path]]:
        """Start one step."""
        if not self.server.suits(environ or {}):
            return super().start(inputs, environ)
        variables, files = self.prepare(inputs, environ)
        return PipedFork.start(self.server, environ=variables, folder=self.workspace), files
