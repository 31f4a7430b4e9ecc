"""What is done again, after which pauses, and when that ends."""

from __future__ import annotations

import pytest

from dms_airflow.core.errors import ActionError, LoginError, NetworkError, TokenError
from dms_airflow.core.retry import insist
from tests.unit.fakes import FakeClock, FakeLog


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
    error = TokenError("Throttled.", "Wait.")
    error.may_pass, error.retry_after = True, retry_after
    return error


def test_what_may_pass_is_done_again() -> None:
    clock, log = FakeClock(), FakeLog()
    action = Flaky(NetworkError("Refused.", "Look."), throttled(), throttled(retry_after=3.0))

    assert insist(action, clock=clock, log=log) == "done"
    assert clock.slept == [1.0, 2.0, 4.0]
    assert log.lines == ["Refused. Trying again in 1 s.", "Throttled. Trying again in 2 s.", "Throttled. Trying again in 4 s."]


def test_the_other_side_may_ask_for_more_time() -> None:
    clock = FakeClock()

    insist(Flaky(throttled(retry_after=30.0)), clock=clock, log=FakeLog())

    assert clock.slept == [30.0]


def test_what_does_not_pass_is_told_at_once() -> None:
    clock, action = FakeClock(), Flaky(LoginError("No.", "Look."))

    with pytest.raises(LoginError):
        insist(action, clock=clock, log=FakeLog())

    assert (action.calls, clock.slept) == (1, [])


def test_the_fifth_failure_is_the_last() -> None:
    clock, action = FakeClock(), Flaky(*[throttled() for _ in range(9)])

    with pytest.raises(TokenError):
        insist(action, clock=clock, log=FakeLog())

    assert (action.calls, clock.slept) == (5, [1.0, 2.0, 4.0, 8.0])


def test_no_try_begins_after_a_minute() -> None:
    clock = FakeClock()
    action = Flaky(*[throttled() for _ in range(9)], clock=clock, seconds=29.0)

    with pytest.raises(TokenError):
        insist(action, clock=clock, log=FakeLog())

    assert (action.calls, clock.slept) == (2, [1.0])
