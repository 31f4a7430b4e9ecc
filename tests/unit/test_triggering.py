"""One DAG run for one trigger: what is asked again, what is looked for, and which run of an author's id is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from dms_airflow.airflow.dag_runs import DagRun
from dms_airflow.core.errors import ActionError, AnswerError, AnswerLostError, NetworkError
from dms_airflow.dag_runs.trigger import Answer, RunRequest, make_run_id, request_run
from tests.unit.fakes import FakeClock, FakeLog, make_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOST = AnswerLostError("POST was sent, but the connection broke.", "Look.")
UNREACHED = NetworkError("no such host", "Check.")


def refused(status: int) -> AnswerError:
    return AnswerError(f"answered {status}", "Hint.", status=status)


class FakeClient:
    """An Airflow that makes a run of an id once, and whose requests and answers meet what a test writes."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.runs: dict[str, DagRun] = {}
        self.made = 0
        self.looks: list[ActionError | None] = []
        self.shown_from = 0.0
        self.deadline = 0.0

    def make(self, requested: RunRequest) -> str:
        """Make the run, or say that it is there."""
        if requested.run_id in self.runs:
            return "conflict"
        self.made += 1
        self.runs[requested.run_id] = DagRun(dag_id=requested.dag_id, run_id=requested.run_id, state="queued")
        return "made"

    def fetch_object(self, path: str, *, tries: int) -> Mapping[str, Any] | None:
        """Look for a run."""
        assert tries == 5
        error = self.looks.pop(0) if self.looks else None
        if error:
            raise error
        run = self.runs.get(path.rpartition("/")[2]) if self.clock.now >= self.shown_from else None
        if run is None:
            return None
        return {"dag_id": run.dag_id, "dag_run_id": run.run_id, "state": run.state}


class World:
    """A trigger, and the faults that its requests meet in turn."""

    def __init__(self, requested: RunRequest, *, deadline: float = 600.0) -> None:
        self.clock, self.log = FakeClock(), FakeLog()
        self.client = FakeClient(self.clock)
        self.requested = requested
        self.sent = 0
        self.client.deadline = self.clock.now + deadline
        self.context = make_context(self.clock, self.log, cast("Any", self.client))

    def request(self, *steps: Callable[[World], str] | Exception | None) -> Any:
        """Request the run; each step is what one request meets: None arrives and is answered."""
        pending = list(steps)

        def send(timeout: float) -> str:
            assert timeout > 0
            self.sent += 1
            step = pending.pop(0) if pending else None
            if isinstance(step, Exception):
                raise step
            return step(self) if step else self.client.make(self.requested)

        kinds = {"made": Answer.FINAL, "conflict": Answer.CONFLICT}
        classify = lambda answer: kinds.get(answer, Answer.OPEN)  # noqa: E731
        return request_run(self.requested, send, classify, self.context)


def make_and_lose(world: World) -> str:
    world.client.make(world.requested)
    raise LOST


OURS = RunRequest(dag_id="etl", run_id="gha__1__ab")
THEIRS = RunRequest(dag_id="etl", run_id="nightly", is_own=False)


def test_an_answer_is_the_end() -> None:
    world = World(OURS)

    assert world.request() == "made"
    assert (world.sent, world.client.made) == (1, 1)


def test_a_lost_answer_is_made_good_by_a_look() -> None:
    world = World(OURS)

    run = world.request(make_and_lose)

    assert run.run_id == "gha__1__ab"
    assert (world.sent, world.client.made) == (1, 1)


def test_a_lost_request_is_sent_again_under_the_same_id() -> None:
    world = World(OURS)

    assert world.request(LOST, LOST) == "made"
    assert (world.sent, world.client.made) == (3, 1)
    assert world.clock.slept == [1.0, 2.0]


def test_a_run_that_appears_between_look_and_second_request_is_found_by_its_conflict() -> None:
    world = World(OURS)

    def appear_then_ask(world: World) -> str:
        world.client.make(world.requested)
        return world.client.make(world.requested)

    run = world.request(LOST, appear_then_ask)

    assert run.run_id == "gha__1__ab"
    assert world.client.made == 1


def test_a_request_that_a_gateway_repeats_is_one_run() -> None:
    world = World(OURS)

    def twice(world: World) -> str:
        world.client.make(world.requested)
        return world.client.make(world.requested)

    assert world.request(twice).run_id == "gha__1__ab"
    assert (world.sent, world.client.made) == (1, 1)


def test_looks_go_on_while_airflow_is_silent() -> None:
    world = World(OURS)
    world.client.looks = [UNREACHED] * 5

    assert world.request(make_and_lose).run_id == "gha__1__ab"
    assert world.clock.slept == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_what_cannot_be_found_out_is_an_error_that_names_the_first_fault() -> None:
    world = World(OURS, deadline=20.0)
    world.client.looks = [UNREACHED] * 50

    with pytest.raises(AnswerLostError, match="the connection broke"):
        world.request(make_and_lose)

    assert world.sent == 1


def test_a_fault_before_the_second_request_does_not_hide_the_first() -> None:
    world = World(OURS)

    with pytest.raises(AnswerLostError):
        world.request(LOST, UNREACHED)


def test_what_never_left_is_told_as_such() -> None:
    world = World(OURS)

    with pytest.raises(NetworkError):
        world.request(UNREACHED)


@pytest.mark.parametrize(("status", "sent"), [(403, 1), (404, 1), (414, 1), (429, 1), (500, 5), (502, 5), (408, 5)])
def test_only_what_may_have_gone_wrong_in_between_is_asked_again(status: int, sent: int) -> None:
    world = World(OURS)

    with pytest.raises(AnswerError):
        world.request(*[refused(status)] * 10)

    assert world.sent == sent


def test_a_throttled_request_is_sent_again_when_the_server_says_when() -> None:
    world = World(OURS)

    assert world.request(AnswerError("answered 429", "Hint.", status=429, retry_after=3.0)) == "made"
    assert world.clock.slept == [3.0]


def test_nothing_is_sent_after_the_deadline() -> None:
    world = World(OURS, deadline=2.5)

    with pytest.raises(AnswerLostError):
        world.request(LOST, LOST, LOST)

    assert world.sent == 2


def test_a_gateways_404_says_nothing_of_the_run() -> None:
    world = World(OURS)
    world.client.looks = [refused(404), refused(404)]

    assert world.request(make_and_lose).run_id == "gha__1__ab"
    assert (world.sent, world.client.made) == (1, 1)


def test_a_run_that_does_not_show_yet_is_asked_for_until_it_does() -> None:
    world = World(OURS)
    world.client.shown_from = world.clock.now + 3.2

    assert world.request(make_and_lose).run_id == "gha__1__ab"
    assert world.client.made == 1


def test_a_command_that_fails_after_it_made_its_run_made_it() -> None:
    world = World(OURS)

    def make_then_end(world: World) -> str:
        world.client.make(world.requested)
        return "Killed"

    assert world.request(make_then_end).run_id == "gha__1__ab"
    assert world.sent == 1


def test_a_failure_without_a_run_is_told_and_not_repeated() -> None:
    world = World(OURS)

    assert world.request(lambda _: "DagNotFound") == "DagNotFound"
    assert world.sent == 1


def test_a_failure_is_told_also_when_nobody_can_look() -> None:
    world = World(OURS)
    world.client.looks = [refused(403)]

    assert world.request(lambda _: "DagNotFound") == "DagNotFound"


def test_another_run_of_the_same_second_makes_ours_a_second_later() -> None:
    """Airflow's command line dates a run by the second, and takes one run of a date."""
    world = World(OURS)

    assert world.request(lambda _: "conflict") == "made"
    assert world.clock.slept == [1.0]


def test_a_conflict_of_the_authors_date_is_told_at_once() -> None:
    world = World(RunRequest(dag_id="etl", run_id="gha__1__ab", is_dated=True))

    assert world.request(lambda _: "conflict") == "conflict"
    assert world.sent == 1


def test_an_older_run_of_the_authors_id_is_not_ours() -> None:
    world = World(THEIRS)
    world.client.runs["nightly"] = DagRun(dag_id="etl", run_id="nightly", state="success")

    assert world.request() == "conflict"
    with pytest.raises(AnswerLostError):
        world.request(make_and_lose)
    assert world.client.made == 0


def test_a_run_of_the_authors_id_made_since_we_asked_is_ours() -> None:
    world = World(THEIRS)

    assert world.request(make_and_lose).run_id == "nightly"


def test_a_conflict_of_the_authors_id_with_a_run_of_that_moment_is_told() -> None:
    world = World(THEIRS)

    def somebody_else(world: World) -> str:
        world.client.make(world.requested)
        return "conflict"

    assert world.request(somebody_else) == "conflict"
    assert world.sent == 1


def test_where_older_runs_are_not_known_a_run_of_the_authors_id_is_not_ours() -> None:
    world = World(THEIRS)
    world.client.looks = [refused(403)]

    with pytest.raises(AnswerLostError):
        world.request(make_and_lose)

    assert world.sent == 1


def test_a_run_id_says_where_it_comes_from_in_allowed_characters() -> None:
    context = make_context(FakeClock(), FakeLog(), job="depløy now/x", step="__run")

    run_id = make_run_id(context.runner, "0badcafe")

    assert run_id == "gha__4711-2-depl-y-now-x-__run__0badcafe"


def test_a_long_run_id_keeps_its_random_end() -> None:
    context = make_context(FakeClock(), FakeLog(), job="j" * 300)

    run_id = make_run_id(context.runner, "0badcafe")

    assert len(run_id) == 250
    assert run_id.endswith("jjj__0badcafe")
