"""Waiting for DAG runs: how often Airflow is polled, how soon an end is seen, what the log shows, what is survived."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.airflow.dag_runs import DagRun
from dms_airflow.core.errors import ActionError, AnswerLostError, LoginError, NetworkError
from dms_airflow.core.http.exchange import Response
from dms_airflow.core.polling import choose_pause
from dms_airflow.core.text import format_elapsed
from dms_airflow.dag_runs.wait import RUN_LONGEST_PAUSE, RUN_PAUSE_SHARE, WatchedRun, wait_for_runs
from tests.unit.fakes import FakeAirflow, FakeClock, FakeLog, make_context, make_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.fakes import Sent

HEALTHY = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "healthy"}}
DAG = {"dag_id": "etl", "fileloc": "/d/etl.py", "is_active": True, "is_paused": False, "max_active_runs": 2}
SERVER_TIME = "Sun, 22 Nov 2026 12:00:00 GMT"

# What the waiting asks for, by the last part of the path.
NAMES = {"dagRuns": "running", "taskInstances": "tasks", "etl": "dag", "default_pool": "pool"}


@dataclass
class Instance:
    """An instance whose run changes with the clock, and which counts what it is asked."""

    clock: FakeClock
    timeline: list[tuple[float, str, dict[str, str | None]]]
    faults: list[tuple[float, float, ActionError | Response]] = field(default_factory=list)
    dag: Mapping[str, Any] = field(default_factory=lambda: DAG)
    health: Mapping[str, Any] = field(default_factory=lambda: HEALTHY)
    running: int = 1
    free: bool = True
    gone_from: float = float("inf")
    back_from: float = float("inf")
    asked: list[tuple[float, str]] = field(default_factory=list)
    start: float = 1000.0

    def answer(self, sent: Sent) -> Response:
        """Answer one request."""
        last = sent.path.rpartition("/")[2]
        what = "run" if re.search("/dagRuns/[^/]+$", sent.path) else NAMES.get(last, last)
        now = self.clock.now - self.start
        if what in ("run", "tasks", "dag", "health"):
            self.asked.append((now, what))
        for begin, end, fault in self.faults:
            if begin <= now < end and isinstance(fault, ActionError):
                raise fault
            if begin <= now < end and isinstance(fault, Response):
                return fault
        if what == "run" and self.gone_from <= now < self.back_from:
            return make_response({"title": "DAGRun not found"}, 404)
        return make_response(self._say(what, sent, now), Date=SERVER_TIME)

    def _say(self, what: str, sent: Sent, now: float) -> Any:
        _, state, tasks = max((one for one in self.timeline if one[0] <= now), key=lambda one: one[0])
        rows = [{"task_id": name, "state": one, "pool": "default_pool"} for name, one in tasks.items()]
        if what == "run":
            assert sent.timeout < 30.1  # a poll is sent once
            dag_id, _, run_id = sent.path.split("/")[2:5]
            return {"dag_id": dag_id, "dag_run_id": run_id, "state": state}
        return {
            "tasks": {"task_instances": rows[:100], "total_entries": len(rows)},
            "list": {"task_instances": rows, "total_entries": len(rows)},
            "running": {"dag_runs": [], "total_entries": self.running},
            "pool": {"open_slots": int(self.free)},
            "dag": self.dag,
            "health": self.health,
        }[what]


class World:
    """A run to wait for."""

    def __init__(self, *timeline: tuple[float, str, dict[str, str | None]], **instance: Any) -> None:
        self.clock, self.log = FakeClock(), FakeLog()
        self.instance = Instance(self.clock, list(timeline), **instance)
        self.airflow = FakeAirflow(self.instance.answer, self.clock, self.log)
        self.watch = WatchedRun(run=DagRun(dag_id="etl", run_id="r1", state="queued"))

    def wait(self, timeout: float = 1800.0, poll_interval: float | None = None) -> float:
        """Wait, and give the seconds that it took."""
        began = self.clock.now
        self.airflow.deadline = began + timeout
        wait_for_runs([self.watch], make_context(self.clock, self.log, self.airflow), poll_interval=poll_interval)
        return self.clock.now - began


QUICK: tuple[tuple[float, str, dict[str, str | None]], ...] = (
    (0.0, "queued", {"a": None, "b": None}),
    (1.2, "running", {"a": "running", "b": None}),
    (3.1, "running", {"a": "success", "b": "running"}),
    (5.6, "running", {"a": "success", "b": "success"}),
    (5.9, "success", {"a": "success", "b": "success"}),
)


def test_a_quick_run_is_told_as_it_goes() -> None:
    world = World(*QUICK)

    took = world.wait()

    assert world.watch.run.state == "success"
    assert took == 6.0
    assert [line.split("  ")[-1] for line in world.log.lines] == [
        "queued, 0 of 2 tasks done",
        "running, 0 of 2 tasks done, 1 running: a",
        "running, 1 of 2 tasks done, 1 running: b",
        "success, 2 of 2 tasks done",
    ]
    assert world.log.lines[0] == "      1s  queued, 0 of 2 tasks done"


def test_the_first_poll_comes_after_a_second() -> None:
    world = World((0.0, "success", {"a": "success"}))

    assert world.wait() == 1.0


@pytest.mark.parametrize("end", [20.0, 61.0, 179.0, 595.0])
def test_the_end_is_seen_within_a_fifth_of_the_time_and_fifteen_seconds(end: float) -> None:
    done: dict[str, str | None] = {"a": "success"}
    world = World((0.0, "running", {"a": "running"}), (end, "success", done))

    took = world.wait()

    assert end <= took <= end + min(15.0, 0.2 * end) + 1


def test_a_poll_reads_the_run_and_its_tasks() -> None:
    world = World((0.0, "running", {"a": "running"}))

    world.wait(timeout=600.0)

    # 5 polls in the first five seconds, 15 until a pause is 15 seconds long, then one each 15 seconds, and the last one.
    assert [what for _, what in world.instance.asked[:4]] == ["run", "tasks", "run", "tasks"]
    assert len(world.instance.asked) == 2 * 55


def test_time_runs_out() -> None:
    world = World((0.0, "running", {"a": "running"}))

    assert world.wait(timeout=60.0) == 60.0
    assert world.watch.run.state == "running"


RUN = "GET /api/v1/dags/etl/dagRuns/r1 at https://airflow answered"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (make_response({"title": "x"}, 502), f"{RUN} 502: x"),
        (make_response({"title": "x"}, 429), f"{RUN} 429: x"),
        (NetworkError("refused", "Check."), "refused"),
        (AnswerLostError("broke", "Look."), "broke"),
        (make_response({"x": 1}), f"{RUN} without the DAG run."),
    ],
)
def test_minutes_of_silence_are_survived_and_told_once(fault: ActionError | Response, words: str) -> None:
    world = World((0.0, "running", {"a": "running"}), (900.0, "success", {"a": "success"}), faults=[(60.0, 660.0, fault)])

    took = world.wait()

    assert world.watch.run.state == "success"
    assert 900.0 <= took <= 911.0
    told = [line for line in world.log.lines if "Still waiting" in line or "responds again" in line]
    assert len(told) == 2
    assert told[0].endswith(f"{words} Still waiting.")


@pytest.mark.parametrize(
    ("fault", "words"),
    [(make_response({"title": "Forbidden"}, 403), f"{RUN} 403: Forbidden"), (LoginError("twice", "Restart."), "twice")],
)
def test_what_does_not_pass_ends_the_wait_after_two_minutes(fault: ActionError | Response, words: str) -> None:
    world = World((0.0, "running", {"a": "running"}), faults=[(60.0, 9999.0, fault)])

    world.wait(poll_interval=5.0)

    assert world.watch.error is not None
    assert world.watch.error.message == words
    assert world.clock.now - 1000.0 == 180.0


def test_a_short_trouble_with_the_login_is_survived() -> None:
    world = World(
        (0.0, "running", {"a": "running"}), (200.0, "success", {"a": "success"}), faults=[(60.0, 120.0, LoginError("x", "y"))]
    )

    world.wait()

    assert world.watch.run.state == "success"


def test_a_run_that_was_deleted_ends_the_wait() -> None:
    world = World((0.0, "queued", {}), gone_from=30.0)

    world.wait(poll_interval=5.0)

    assert world.watch.error is not None
    assert world.watch.error.title == "DAG run gone"
    assert "r1 of etl" in world.watch.error.message
    assert world.clock.now - 1000.0 == 50.0


def test_a_run_that_does_not_show_yet_is_not_gone() -> None:
    world = World((0.0, "queued", {}), (5.0, "success", {"a": "success"}), gone_from=0.0, back_from=4.0)

    world.wait()

    assert world.watch.error is None
    assert world.watch.run.state == "success"


def test_a_run_that_had_ended_before_the_first_poll_is_read() -> None:
    world = World((0.0, "success", {"a": "success"}))
    world.watch.run = DagRun(dag_id="etl", run_id="r1", state="success")

    assert world.wait() == 1.0
    assert [one.task_id for one in world.watch.instances] == ["a"]


@pytest.mark.parametrize("many", [0, 150])
@pytest.mark.parametrize("end", [100.0, 104.0])
def test_the_end_of_a_run_with_nothing_at_work_is_seen_by_the_next_poll(many: int, end: float) -> None:
    tasks: dict[str, str | None] = {**{f"t{number}": "success" for number in range(many)}, "a": "failed", "b": None}
    world = World((0.0, "running", tasks), (end, "failed", {**tasks, "b": "upstream_failed"}))

    took = world.wait(poll_interval=5.0)

    assert end <= took <= end + 5.0
    assert [one.state for one in world.watch.instances][-1] == "upstream_failed"


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ({"dag": {**DAG, "is_paused": True}}, "DAG etl is paused; unpause it, or set on-paused: unpause"),
        (
            {
                "health": {
                    "metadatabase": {"status": "healthy"},
                    "scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": "2026-11-22T11:55:00+00:00"},
                }
            },
            "the instance is not healthy: scheduler unhealthy, last heartbeat 300 s ago",
        ),
        ({"running": 2}, "2 runs of etl are running, and its max_active_runs is 2"),
        ({}, "Airflow gives no reason; the scheduler may be busy"),
    ],
)
def test_a_run_that_stays_queued_is_explained(client: dict[str, Any], reason: str) -> None:
    world = World((0.0, "queued", {"a": None}), **client)

    world.wait(timeout=120.0)

    told = [line for line in world.log.lines if "nothing new" in line]
    assert len(told) == 1  # asked again after a minute, and told only once
    assert told[0].endswith(f"s: {reason}")
    assert world.watch.stall == reason


@pytest.mark.parametrize(
    ("tasks", "client", "reason"),
    [
        ({"a": "scheduled"}, {"free": False}, "the pool default_pool has no free slot for a"),
        ({"a": "queued"}, {}, "a queued: no worker has taken them yet (parallelism of the executor, workers of the instance)"),
        (
            {"a": "deferred"},
            {"health": {**HEALTHY, "triggerer": {"status": "healthy"}}},
            "a deferred: the triggerer waits for them",
        ),
        (
            {"a": "deferred"},
            {"health": {**HEALTHY, "triggerer": {"status": None}}},
            "a deferred: the instance runs no triggerer to resume them",
        ),
        ({"a": "up_for_retry"}, {}, "a up for retry: they failed and are retried after their retry_delay"),
        ({"a": None}, {}, "Airflow gives no reason; the scheduler may be busy"),
    ],
)
def test_tasks_that_do_not_begin_are_explained(tasks: dict[str, str | None], client: dict[str, Any], reason: str) -> None:
    world = World((0.0, "running", tasks), **client)

    world.wait(timeout=30.0)

    assert world.watch.stall == reason


def test_a_running_task_needs_no_explanation() -> None:
    world = World((0.0, "running", {"a": "running"}))

    world.wait(timeout=120.0)

    assert world.watch.stall == ""
    assert not [what for _, what in world.instance.asked if what == "dag"]


def test_an_explanation_that_cannot_be_had_is_done_without() -> None:
    world = World((0.0, "queued", {}), faults=[(10.0, 10.6, make_response({}, 502))])

    world.wait(timeout=40.0)

    assert world.watch.run.state == "queued"


def test_lines_of_several_runs_name_their_dag() -> None:
    world = World((0.0, "success", {"a": "success"}))
    other = WatchedRun(run=DagRun(dag_id="elt", run_id="r2", state="queued"))

    wait_for_runs([world.watch, other], make_context(world.clock, world.log, world.airflow), poll_interval=None)

    assert world.log.lines == ["      1s  etl: success, 1 of 1 tasks done", "      1s  elt: success, 1 of 1 tasks done"]


@pytest.mark.parametrize(
    ("elapsed", "pause"),
    [(0.0, 1.0), (5.0, 1.0), (10.0, 2.0), (50.0, 10.0), (75.0, 15.0), (1e5, 15.0)],
)
def test_pauses_grow_with_the_time(elapsed: float, pause: float) -> None:
    assert choose_pause(elapsed, share=RUN_PAUSE_SHARE, longest=RUN_LONGEST_PAUSE) == pause


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.9, "59s"), (61, "1m01s"), (3599, "59m59s"), (3725, "1h02m")])
def test_elapsed_time_in_words(seconds: float, text: str) -> None:
    assert format_elapsed(seconds) == text
