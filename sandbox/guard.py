"""Runs one command, and ends it with everything it started when standard input closes.

Only the sandbox holds the other end of that pipe: it closes whatever way the sandbox ends, also when it is killed outright.
Run by path, not imported: ``python -I guard.py COMMAND ...``. The command reads /dev/null and inherits the rest; the exit
status is its own.

Airflow's scheduler gives some of its children process groups of their own, so a group is not enough to find them all. They
stay in the session, though. Linux only: who is in it is read from /proc.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

# The scheduler waits for running tasks when asked to end; a sandbox has no time for that.
GRACE_SECONDS = 3.0


def main(command: list[str]) -> int:
    """Run the command; return its exit status, 128 + n when signal n ended it."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False, start_new_session=True)
    threading.Thread(target=_end_with_standard_input, args=(child,), daemon=True).start()
    exit_code = child.wait()
    _kill_session(child.pid)
    return exit_code if exit_code >= 0 else 128 - exit_code


def _end_with_standard_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):
        pass
    child.terminate()  # only it: the scheduler hangs when its workers end before it
    try:
        child.wait(timeout=GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _kill_session(session_id: int) -> None:
    while members := _session_members(session_id):
        for process_id in members:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        time.sleep(0.02)


def _session_members(session_id: int) -> list[int]:
    """The living processes of a session (zombies have ended and do not count)."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field, the command's name, may hold blanks and parentheses: count from its end.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # ended while we looked
            continue
        state, session = fields[0], int(fields[3])
        if session == session_id and state not in "ZX":
            members.append(int(path.parent.name))
    return members


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
