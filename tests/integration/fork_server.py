"""A process that has imported all that a step can import, and forks once for each step: most of a step's time is imports.

GitHub starts an interpreter for each step. A fork differs from it only by what happens before entrypoint.py runs: by what
Python and the imported modules read from the environment. So the server has an environment of its own, it reports each variable
that was read while it imported, and `ForkingRunner` starts an interpreter for a step that sets one of those. `test_process`
shows that both behave alike.

Run as the entry point is: ``python -Esu fork_server.py FD``. It has no threads, and keeps no handler of a signal.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).resolve().parent.parent.parent
ENTRYPOINT = str(PROJECT / "entrypoint.py")

NUMBER = struct.Struct("!i")
START = 0  # the request that comes with three descriptors; any other is the id of a child to wait for


def record_environ(work: Callable[[], object]) -> set[str]:
    """Do something, and list the variables that were read meanwhile."""
    names: set[str] = set()
    kind: Any = type(os.environ)
    read = kind.__getitem__

    def read_and_record(self: os._Environ[str], name: str) -> str:
        names.add(name)
        value: str = read(self, name)
        return value

    kind.__getitem__ = read_and_record
    try:
        work()
    finally:
        kind.__getitem__ = read
    return names


def import_all() -> None:
    """Import what the action can import, with the action's folder in the place of this script's."""
    sys.path[0] = str(PROJECT)
    runpy.run_path(str(PROJECT / "scripts" / "compile_imports.py"))["import_all"](PROJECT)


def serve(control: socket.socket) -> None:
    """Fork whenever asked to; return in each child, as the process of its step. Ends with the one who asks."""
    children: set[int] = set()
    while True:
        request, descriptors, *_ = socket.recv_fds(control, NUMBER.size, 3)
        if not request:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            sys.exit()
        (pid,) = NUMBER.unpack(request)
        if pid == START:
            answer = os.fork()
            if not answer:
                control.close()
                become_step(*descriptors)
                return
            children.add(answer)
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            children.remove(pid)
        control.sendall(NUMBER.pack(answer))


def become_step(stdout: int, stderr: int, life: int) -> None:
    """Take on a step's streams, environment and working directory.

    Args:
        stdout: Descriptor.
        stderr: Descriptor.
        life: Descriptor of a socket. The step is read from it; it stays open until this process ends, which shows the end.
    """
    for number, descriptor in enumerate((stdout, stderr), start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    with open(life, encoding="utf-8", closefd=False) as stream:
        step = json.load(stream)
    os.environ.clear()
    os.environ.update(step["environ"])
    time.tzset()
    os.chdir(step["cwd"])
    sys.argv[1:] = []


if __name__ == "__main__":
    link = socket.socket(fileno=int(sys.argv[1]))
    names_read = record_environ(import_all)
    gc.freeze()
    link.sendall(json.dumps(sorted(names_read)).encode() + b"\n")
    serve(link)
    runpy.run_path(ENTRYPOINT, run_name="__main__")
