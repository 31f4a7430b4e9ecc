"""Waiting for a DAG run: requests, and the delay between its end and our noticing.

Peer: a loop that asks for the run every five seconds. Both on a clock that only sleeping moves, ours by the real waiting code:
nothing here depends on the machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, cast

from requests.structures import CaseInsensitiveDict

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.dag_runs import DagRun
from dms_airflow.ci.runner import Runner
from dms_airflow.config import Config
from dms_airflow.core.clock import Clock
from dms_airflow.core.http.exchange import Response
from dms_airflow.dag_runs.wait import WatchedRun, wait_for_runs
from dms_airflow.operations.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIXED = 5.0  # seconds between two looks of the peer
TIMEOUT = 7200.0  # seconds


class SimulatedClock(Clock):
    """A clock that only sleeping moves."""

    now = 0.0

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds

    def time_of_day(self) -> datetime:
        """Tell date and time."""
        return START + timedelta(seconds=self.now)


class Silence:
    """A log that keeps nothing."""

    def __getattr__(self, _: str) -> Any:
        """Take whatever is told."""
        return lambda *_: None


@dataclass
class Airflow:
    """An instance with one DAG run, which counts the requests.

    Args:
        clock: Time.
        tasks: The tasks run one after the other; seconds of each.
    """

    clock: SimulatedClock
    tasks: tuple[float, ...]
    host: str = "https://airflow.example"
    version: str = "2.10.4"
    asked: list[str] = field(default_factory=list)

    def send(self, exchange: Callable[[Mapping[str, str]], Response], method: str, path: str) -> Response:
        """Play the session."""
        del method, path
        return exchange({})

    def exchange(self, method: str, base: str, path: str, **_: Any) -> Response:
        """Respond for the run, its tasks, or the runs before it."""
        del base
        self.asked.append(f"{method} {path}")
        body = json.dumps(self._answer(path.rpartition("/")[2])).encode()
        headers = CaseInsensitiveDict({"Content-Type": "application/json"})
        return Response(status=200, headers=headers, body=body, cookies={})

    def _answer(self, what: str) -> dict[str, Any]:
        if what == "taskInstances":
            ends = [sum(self.tasks[: number + 1]) for number in range(len(self.tasks))]
            told = [self._describe_task(number, end) for number, end in enumerate(ends)]
            return {"task_instances": told, "total_entries": len(told)}
        return describe_run("r", sum(self.tasks), self.clock.now)

    def _describe_task(self, number: int, end: float) -> dict[str, Any]:
        began = end - self.tasks[number] <= self.clock.now
        state = "success" if end <= self.clock.now else "running" if began else None
        return {"task_id": f"t{number}", "map_index": -1, "state": state}


def describe_run(run_id: str, seconds: float, now: float | None = None) -> dict[str, Any]:
    """Describe a run that takes so long, as it is at a moment; None: when it has ended."""
    ended = now is None or now >= seconds
    return {
        "dag_id": "etl",
        "dag_run_id": run_id,
        "state": "success" if ended else "running",
        "start_date": START.isoformat(),
        "end_date": (START + timedelta(seconds=seconds)).isoformat() if ended else None,
    }


def wait(tasks: tuple[float, ...]) -> tuple[int, float]:
    """Wait as the action does; give requests and delay."""
    clock = SimulatedClock()
    airflow = Airflow(clock, tasks)
    nothing, log = cast("Any", None), cast("Any", Silence())
    client = AirflowClient(session=cast("Any", airflow), transport=cast("Any", airflow), clock=clock, log=log)
    client.deadline = TIMEOUT
    context = Context(
        config=Config(),
        open_workspace=nothing,
        airflow=client,
        session=nothing,
        transport=nothing,
        runner=Runner(workspace=Path()),
        clock=clock,
        log=log,
    )
    watch = WatchedRun(run=DagRun(dag_id="etl", run_id="r", state="queued"))
    wait_for_runs([watch], context, poll_interval=None)
    return len(airflow.asked), clock.now - sum(tasks)


def poll(tasks: tuple[float, ...]) -> tuple[int, float]:
    """Wait as the peer does: sleep five seconds, ask for the run."""
    clock = SimulatedClock()
    airflow = Airflow(clock, tasks)
    state = "running"
    while state == "running":
        clock.sleep(FIXED)
        state = json.loads(airflow.exchange("GET", "", "/r").body)["state"]
    return len(airflow.asked), clock.now - sum(tasks)


def main() -> None:
    """Print a row for each kind of run: requests, mean and worst delay."""
    print("waiting: requests · mean delay · worst delay (seconds), over 20 run lengths half a second apart")
    print(f"{'run':44}{'action':>22}{'every 5 s':>22}{'requests':>10}")
    kinds = (
        ("15 s, 1 task", 15.0, 1),
        ("1 min, 1 task", 60.0, 1),
        ("5 min, 1 task", 300.0, 1),
        ("10 min, 1 task", 600.0, 1),
        ("10 min, 10 tasks", 600.0, 10),
        ("1 h, 10 tasks", 3600.0, 10),
    )
    for name, seconds, count in kinds:
        runs = [tuple((seconds + half / 2 + 0.25) / count for _ in range(count)) for half in range(20)]
        ours = [wait(tasks) for tasks in runs]
        theirs = [poll(tasks) for tasks in runs]
        ratio = mean(one[0] for one in ours) / mean(one[0] for one in theirs)
        print(f"{name:44}{describe(ours):>22}{describe(theirs):>22}{ratio:>9.2f}x")


def describe(measured: list[tuple[int, float]]) -> str:
    """Write the means of requests and delay, and the worst delay."""
    requests, delays = zip(*measured, strict=True)
    return f"{mean(requests):.0f} · {mean(delays):.1f} · {max(delays):.1f}"


if __name__ == "__main__":
    main()
