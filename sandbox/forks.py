"""Processes that are forks of one that has imported everything: see fork_server.py."""

from __future__ import annotations

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING

from sandbox.fork_server import NUMBER, START

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SERVER = Path(__file__).with_name("fork_server.py")

# What Python and the C libraries read before a script's first line.
_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "OPENSSL_", "MALLOC_", "GLIBC_")


def name_server(descriptor: int, script: Path, imports: str) -> list[str | Path]:
    """Give the arguments for Python that make it a fork server.

    Args:
        descriptor: Of the server's end of a pair of sockets.
        script: What the forks run.
        imports: Python code that imports what the script can import.
    """
    return [_SERVER, str(descriptor), script, imports]


class ForkServer:
    """Asks a process to fork."""

    def __init__(self, link: socket.socket) -> None:
        """Wait until the process has imported.

        Args:
            link: The other end of the server's socket.

        Raises:
            ValueError: It has ended.
        """
        self._link = link
        self._lock = Lock()
        with link.makefile("rb") as answer:
            self._names_read = frozenset(json.loads(answer.readline()))

    def suits(self, environ: Mapping[str, str]) -> bool:
        """Whether a fork with these variables, which the server lacks, does the same as a new interpreter."""
        return not any(name in self._names_read or name.startswith(_EARLY) for name in environ)

    def fork(
        self, arguments: Sequence[str] = (), *, environ: Mapping[str, str], folder: Path, stdout: int, stderr: int
    ) -> Fork:
        """Start a process.

        Args:
            arguments: Of the script.
            environ: The whole environment.
            folder: The working directory.
            stdout: Descriptor.
            stderr: Descriptor.
        """
        life, life_end = socket.socketpair()
        with life_end, self._lock:
            socket.send_fds(self._link, [NUMBER.pack(START)], [stdout, stderr, life_end.fileno()])
            pid = self._read_number()
        life.sendall(json.dumps({"arguments": arguments, "environ": dict(environ), "cwd": str(folder)}).encode())
        life.shutdown(socket.SHUT_WR)
        return Fork(pid=pid, life=life, server=self)

    def find_exit_code(self, pid: int) -> int:
        """Give the exit code of a process that has ended; below zero the signal that ended it."""
        with self._lock:
            self._link.sendall(NUMBER.pack(pid))
            return self._read_number()

    def close(self) -> None:
        """End the server and the processes that run."""
        self._link.close()

    def _read_number(self) -> int:
        answer = self._link.recv(NUMBER.size)
        if not answer:
            raise ConnectionError("The fork server has ended")
        number: int = NUMBER.unpack(answer)[0]
        return number


@dataclass(kw_only=True)
class Fork:
    """A process that was forked."""

    pid: int
    life: socket.socket
    server: ForkServer
    _exit_code: int | None = None
    _lock: Lock = field(default_factory=Lock)

    def wait(self) -> int:
        """Wait for the end; give the exit code, below zero the signal that ended it."""
        with self._lock:
            if self._exit_code is None:
                self.life.recv(1)  # nothing is sent: it is closed by the end of the process
                self.life.close()
                self._exit_code = self.server.find_exit_code(self.pid)
            return self._exit_code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self._exit_code is None:
            os.kill(self.pid, number)


@dataclass(frozen=True, kw_only=True)
class PipedFork:
    """A process whose streams are pipes: a part of what `subprocess.Popen` is."""

    fork: Fork
    stdout: IO[bytes]
    stderr: IO[bytes]

    @staticmethod
    def start(server: ForkServer, *, environ: Mapping[str, str], folder: Path) -> PipedFork:
        """Start a process without arguments."""
        (stdout, stdout_end), (stderr, stderr_end) = os.pipe(), os.pipe()
        fork = server.fork(environ=environ, folder=folder, stdout=stdout_end, stderr=stderr_end)
        os.close(stdout_end)
        os.close(stderr_end)
        return PipedFork(fork=fork, stdout=os.fdopen(stdout, "rb"), stderr=os.fdopen(stderr, "rb"))

    def communicate(self) -> tuple[bytes, bytes]:
        """Wait for the end; give what was written to stdout and stderr."""
        with self.stdout, self.stderr, ThreadPoolExecutor(2) as pool:
            stdout, stderr = pool.map(lambda stream: stream.read(), (self.stdout, self.stderr))
        self.wait()
        return stdout, stderr

    def wait(self) -> int:
        """Wait for the end; give the exit code, below zero the signal that ended it."""
        return self.fork.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        self.fork.send_signal(number)
