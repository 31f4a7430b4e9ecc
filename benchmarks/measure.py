"""Runs two programs in turn, A B A B, and compares wall time, CPU time and peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one process cost: seconds of wall and CPU time, MB of peak memory."""

    wall: float
    cpu: float
    memory: float


# Starts a program and waits for it, in a process that is small: a program's peak memory is never less than its starter's.
LAUNCH = """
import os, sys, time
nowhere = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 1, 2)]
began = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=nowhere)
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - began
print([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)])
"""


def run(command: Sequence[str], environ: Mapping[str, str], exit_code: int = 0) -> Cost:
    """Run a program to its end, its output to nowhere.

    Raises:
        RuntimeError: It ended with another exit code.
    """
    launch = [sys.executable, "-I", "-S", "-c", LAUNCH, *command]
    told = subprocess.run(launch, env=dict(environ), stdout=subprocess.PIPE, check=True).stdout
    wall, cpu, memory, ended = json.loads(told)
    if ended != exit_code:
        raise RuntimeError(f"{command} ended with {ended}")
    return Cost(wall=wall, cpu=cpu, memory=memory)


def compare(name: str, ours: Callable[[], Cost], theirs: Callable[[], Cost], rounds: int, goal: str) -> None:
    """Run both in turn, and print medians and the median of the ratios; a first round of each warms the caches."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    print(f"{name} ({rounds} rounds, goal {goal})")
    for what, unit in (("wall", "s"), ("cpu", "s"), ("memory", "MB")):
        values = [(getattr(one, what), getattr(other, what)) for one, other in pairs]
        ratio = median(one / other for one, other in values)
        mine, peer = (median(column) for column in zip(*values, strict=True))
        print(f"  {what:8}{mine:10.3f} {unit:3}{peer:10.3f} {unit:3}{ratio:8.2f}x")
