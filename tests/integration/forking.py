"""A runner whose steps are forks of a process that has imported everything: see fork_server.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import IO, TYPE_CHECKING, Self

from sandbox.runner import Runner
from tests.integration import fork_server
from tests.integration.fork_server import NUMBER, START

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from sandbox.runner import Process

SERVER = (sys.executable, "-Esu", fork_server.__file__)

# What Python and the C libraries read before a program's first line.
EARLY = ("PYTHON", "LC_", "LANG", "LD_", "OPENSSL_", "MALLOC_", "GLIBC_")


class ForkServer:
    """Starts a process that forks, and asks it to."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair()
        self._lock = Lock()
        # Its streams are pipes, as those of a step: Python looks once at what they are.
        self._process = subprocess.Popen(
            [*SERVER, str(theirs.fileno())],
            env={"HOME": "/nonexistent", **{name: os.environ[name] for name in ("LANG",) if name in os.environ}},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        with self._link.makefile("rb") as answer:
            line = answer.readline()
        if not line:
            raise RuntimeError(self._process.communicate()[1].decode())
        self.names_read = frozenset(json.loads(line))
        """The variables that were read while it imported."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._link.close()
        self._process.communicate()

    def fork(self, environ: Mapping[str, str], cwd: Path) -> ForkedProcess:
        """Start a step."""
        (stdout, stdout_end), (stderr, stderr_end) = os.pipe(), os.pipe()
        life, life_end = socket.socketpair()
        ends = [stdout_end, stderr_end, life_end.detach()]
        with self._lock:
            socket.send_fds(self._link, [NUMBER.pack(START)], ends)
            (pid,) = NUMBER.unpack(self._link.recv(NUMBER.size))
        for end in ends:
            os.close(end)
        life.sendall(json.dumps({"environ": dict(environ), "cwd": str(cwd)}).encode())
        life.shutdown(socket.SHUT_WR)
        return ForkedProcess(pid=pid, stdout=os.fdopen(stdout, "rb"), stderr=os.fdopen(stderr, "rb"), life=life, server=self)

    def find_exit_code(self, pid: int) -> int:
        """Give the exit code of a process that has ended; a signal's number below zero."""
        with self._lock:
            self._link.sendall(NUMBER.pack(pid))
            (code,) = NUMBER.unpack(self._link.recv(NUMBER.size))
        assert isinstance(code, int)
        return code


@dataclass(kw_only=True)
class ForkedProcess:
    """A step that runs; a part of what `subprocess.Popen` is."""

    pid: int
    stdout: IO[bytes]
    stderr: IO[bytes]
    life: socket.socket
    server: ForkServer
    returncode: int | None = None
    _lock: Lock = field(default_factory=Lock)

    def communicate(self) -> tuple[bytes, bytes]:
        """Wait for the end; give what was written to stdout and stderr."""
        with self.stdout, self.stderr, ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda stream: stream.read(), (self.stdout, self.stderr))
        self.wait()
        return first, second

    def wait(self) -> int:
        """Wait for the end; give the exit code."""
        with self._lock:
            if self.returncode is None:
                self.life.recv(1)  # nothing is sent: it is closed by the end of the process
                self.life.close()
                self.returncode = self.server.find_exit_code(self.pid)
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


@dataclass(frozen=True, kw_only=True)
class ForkingRunner(Runner):
    """A runner whose steps are forked, but for those to which it would make a difference."""

    server: ForkServer

    def start(self, inputs: Mapping[str, str], environ: Mapping[str, str] | None = None) -> tuple[Process, Mapping[str, Path]]:
        """Start one step."""
        if any(name in self.server.names_read or name.startswith(EARLY) for name in environ or {}):
            return super().start(inputs, environ)
        variables, files = self.prepare(inputs, environ)
        return self.server.fork(variables, self.workspace), files
