"""What is called again, after which pauses, and when that ends; what a poll logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dms_airflow.core.errors import ActionError, AnswerLostError, LoginError, NetworkError, TokenError
from dms_airflow.core.http.retry import retry
from dms_airflow.core.polling import poll
from tests.unit.fakes import FakeClock, FakeLog

if TYPE_CHECKING:
    from collections.abc import Sequence


class Flaky:
    """Fails as often as it is told, then works."""

    def __init__(self, *failures: ActionError, clock: FakeClock | None = None, seconds: float = 0) -> None:
        self.failures = list(failures)
        self.clock = clock
        self.seconds = seconds
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.clock:
            self.clock.now += self.seconds
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def throttled(retry_after: float = 0.0) -> TokenError:
    return TokenError("Throttled.", "Wait.", is_transient=True, retry_after=retry_after)


def test_what_may_pass_is_done_again() -> None:
    clock, log = FakeClock(), FakeLog()
    action = Flaky(NetworkError("Refused.", "Look."), throttled(), throttled(retry_after=3.0))

    assert retry(action, clock=clock, log=log) == "done"
    assert clock.slept == [1.0, 2.0, 4.0]
    assert log.lines == ["Refused. Trying again in 1 s.", "Throttled. Trying again in 2 s.", "Throttled. Trying again in 4 s."]


def test_the_other_side_may_ask_for_more_time() -> None:
    clock = FakeClock()

    retry(Flaky(throttled(retry_after=30.0)), clock=clock, log=FakeLog())

    assert clock.slept == [30.0]


def test_what_does_not_pass_is_told_at_once() -> None:
    clock, action = FakeClock(), Flaky(LoginError("No.", "Look."))

    with pytest.raises(LoginError):
        retry(action, clock=clock, log=FakeLog())

    assert (action.calls, clock.slept) == (1, [])


def test_the_fifth_failure_is_the_last() -> None:
    clock, action = FakeClock(), Flaky(*[throttled() for _ in range(9)])

    with pytest.raises(TokenError):
        retry(action, clock=clock, log=FakeLog())

    assert (action.calls, clock.slept) == (5, [1.0, 2.0, 4.0, 8.0])


def test_no_try_begins_after_a_minute() -> None:
    clock = FakeClock()
    action = Flaky(*[throttled() for _ in range(9)], clock=clock, seconds=29.0)

    with pytest.raises(TokenError):
        retry(action, clock=clock, log=FakeLog())

    assert (action.calls, clock.slept) == (2, [1.0])


def test_no_try_begins_after_the_deadline_whatever_the_other_side_asks() -> None:
    clock, action = FakeClock(), Flaky(throttled(), throttled(retry_after=20.0))

    with pytest.raises(TokenError):
        retry(action, clock=clock, log=FakeLog(), deadline=1020.0)

    assert (action.calls, clock.slept) == (2, [1.0])


def test_without_a_number_of_tries_the_deadline_is_the_end() -> None:
    clock, action = FakeClock(), Flaky(*[throttled() for _ in range(99)])

    with pytest.raises(TokenError):
        retry(action, clock=clock, log=FakeLog(), deadline=1040.0, tries=None)

    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]


def test_the_caller_says_what_may_be_called_again() -> None:
    clock = FakeClock()
    action = Flaky(LoginError("No.", "Look."), NetworkError("Refused.", "Look."))

    with pytest.raises(NetworkError):
        retry(action, clock=clock, log=FakeLog(), may_retry=lambda error: isinstance(error, LoginError))

    assert clock.slept == [1.0]


class Looks:
    """Finds what the test wrote, one thing a call; the last one again and again."""

    def __init__(self, clock: FakeClock, *steps: Sequence[str] | ActionError) -> None:
        self.clock = clock
        self.steps = list(steps)
        self.calls = 0

    def __call__(self) -> tuple[int, Sequence[str]]:
        step = self.steps[min(self.calls, len(self.steps) - 1)]
        self.calls += 1
        if isinstance(step, ActionError):
            raise step
        return self.calls, step


LOST = AnswerLostError("GET /dags was sent, but the connection broke.", "Look.")


def test_a_poll_ends_when_nothing_is_awaited() -> None:
    clock, log = FakeClock(), FakeLog()

    found = poll(Looks(clock, ["a", "b"], ["a", "b"], ["b"], []), clock=clock, log=log, deadline=1100.0)

    assert found == (4, [])
    assert clock.slept == [1.0, 1.0, 1.0]
    assert log.lines == ["Waiting for a, b; 100 s left.", "Waiting for b; 98 s left."]


def test_the_pause_of_a_poll_grows_with_the_time_that_has_passed() -> None:
    clock = FakeClock()

    poll(Looks(clock, ["a"]), clock=clock, log=FakeLog(), deadline=1200.0)

    assert clock.slept[:9] == [1.0, 1.0, 1.0, 1.5, 2.25, 3.375, 5.0625, 7.59375, 11.390625]
    assert max(clock.slept) == 30.0
    assert clock.now == 1200.0


def test_a_poll_at_a_fixed_interval_looks_once_more_when_time_is_up() -> None:
    clock = FakeClock()
    looks = Looks(clock, ["a"])

    found = poll(looks, clock=clock, log=FakeLog(), deadline=1025.0, interval=10.0)

    assert found == (4, ["a"])
    assert clock.slept == [10.0, 10.0, 5.0]


def test_a_poll_survives_faults_and_logs_each_once() -> None:
    clock, log = FakeClock(), FakeLog()

    found = poll(Looks(clock, LOST, ["a"], LOST, LOST, []), clock=clock, log=log, deadline=1100.0)

    assert found == (5, [])
    assert log.lines == [
        "GET /dags was sent, but the connection broke. Trying again; 100 s left.",
        "Waiting for a; 99 s left.",
        "GET /dags was sent, but the connection broke. Trying again; 98 s left.",
    ]


def test_a_fault_from_the_beginning_ends_a_poll_soon() -> None:
    clock = FakeClock()
    looks = Looks(clock, LOST)

    with pytest.raises(AnswerLostError):
        poll(looks, clock=clock, log=FakeLog(), deadline=1100.0)

    assert looks.calls == 3


def test_a_poll_that_meets_a_fault_when_time_is_up_returns_what_it_found_last() -> None:
    clock = FakeClock()

    found = poll(Looks(clock, ["a"], LOST), clock=clock, log=FakeLog(), deadline=1010.0, interval=10.0)

    assert found == (1, ["a"])
