"""A process that has imported all that a script can import, and forks to run it: most of a short script's time is imports.

A fork differs from a new interpreter by what happens before the script's first line: by what Python and the imported modules
read from the environment. So the server reports each variable that was read while it imported, and who sets one of those starts
an interpreter (forks.py).

Run by path, not imported: ``python [OPTIONS] fork_server.py FD SCRIPT IMPORTS``, where IMPORTS is Python code, which may call
`import_printing`. The options hold for the script, too. The server has no threads, and keeps no handler of a signal.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import TextIO

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


class Replay(MetaPathFinder):
    """Prints once more what modules printed when they were imported, as soon as a fork imports one of them."""

    def __init__(self, names: Sequence[str], printed: Sequence[tuple[TextIO, bytes]]) -> None:
        """Take the modules' names, and what they printed on each stream."""
        self._names = names
        self._printed = printed

    def find_spec(self, fullname: str, *_: object) -> None:
        """Find nothing: the finders after this one do."""
        if fullname in self._names:
            sys.meta_path.remove(self)
            for stream, text in self._printed:
                stream.flush()
                os.write(stream.fileno(), text)


def import_printing(*names: str) -> None:
    """Import modules that print, and let each fork that imports one of them print the same; times in it are those of here.

    The fork runs the module itself again, but not what that has imported.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        places = ((sys.stdout, stdout), (sys.stderr, stderr))
        kept = [os.dup(stream.fileno()) for stream, _ in places]
        for stream, file in places:
            os.dup2(file.fileno(), stream.fileno())
        for name in names:
            import_module(name)
        for (stream, _), descriptor in zip(places, kept, strict=True):
            stream.flush()
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)
        printed = [(stream, os.pread(file.fileno(), file.tell(), 0)) for stream, file in places]
    for name in names:
        del sys.modules[name]
    sys.meta_path.insert(0, Replay(names, printed))


def serve(link: socket.socket) -> None:
    """Fork whenever asked to, and return in each child. Ends with the one who asks."""
    children: set[int] = set()
    while True:
        request, descriptors, *_ = socket.recv_fds(link, NUMBER.size, 3)
        if not request:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            sys.exit()
        (pid,) = NUMBER.unpack(request)
        if pid == START:
            answer = os.fork()
            if not answer:
                link.close()
                become(*descriptors)
                return
            children.add(answer)
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            children.remove(pid)
        link.sendall(NUMBER.pack(answer))


def become(stdout: int, stderr: int, life: int) -> None:
    """Take on the streams, the arguments, the environment and the working directory of a process.

    Args:
        stdout: Descriptor.
        stderr: Descriptor.
        life: Descriptor of a socket. The rest is read from it; it stays open until this process ends, which shows the end.
    """
    for number, descriptor in enumerate((stdout, stderr), start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    with open(life, encoding="utf-8", closefd=False) as stream:
        wanted = json.load(stream)
    os.environ.clear()
    os.environ.update(wanted["environ"])
    time.tzset()
    os.chdir(wanted["cwd"])
    sys.argv[1:] = wanted["arguments"]


def hide_this_file(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception that the script raised as if the script had been started itself."""
    sys.__excepthook__(kind, error.with_traceback(trace and trace.tb_next), None)


exit_code = 0  # of the script


def end() -> None:
    """End at once: what Python takes down at its end is most of a short script's time after a fork, and shows nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    _, number, script, imports = sys.argv
    atexit.register(end)  # the first one is called last
    control = socket.socket(fileno=int(number))
    sys.argv, sys.path[0] = [script], str(Path(script).parent)
    names_read = record_environ(lambda: exec(imports, {"import_printing": import_printing}))  # noqa: S102 - the caller's own code
    if threading.active_count() > 1:
        sys.exit("A thread was started by an import: a fork would lack it")
    gc.freeze()
    control.sendall(json.dumps(sorted(names_read)).encode() + b"\n")
    serve(control)
    sys.excepthook = hide_this_file
    sys.modules["__main__"] = module = ModuleType("__main__")
    module.__file__ = script
    try:
        exec(compile(Path(script).read_bytes(), script, "exec"), vars(module))  # noqa: S102 - what Python does with a script
    except SystemExit as error:  # a text is printed by Python, and means 1
        exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    except BaseException:
        exit_code = 1
        raise
