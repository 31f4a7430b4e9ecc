"""What becomes of DAG runs that are waited for no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import DagRun
from dms_airflow.dag_runs.completion import ENDED, MISSING, PERHAPS_LEFT, abandon
from dms_airflow.dag_runs.wait import WatchedRun
from tests.unit.fakes import FakeAirflow, FakeClock, FakeLog, make_context, make_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.core.http.exchange import Response
    from tests.unit.fakes import Sent


def give_up(on_cancel: str, airflow: FakeAirflow, clock: FakeClock, *, are_known: bool = True) -> WatchedRun:
    """Give up one run, and return what is known of it then."""
    watch = WatchedRun(run=DagRun(dag_id="etl", run_id="r1", state="queued"))
    abandon([watch], on_cancel, make_context(clock, FakeLog(), airflow), are_known=are_known)
    return watch


def make_airflow(statuses: Sequence[int], clock: FakeClock) -> FakeAirflow:
    """Make an Airflow that answers each request to end a run with the next status."""
    pending = list(statuses)

    def answer(sent: Sent) -> Response:
        assert (sent.method, sent.path, sent.body) == ("PATCH", "/dags/etl/dagRuns/r1", {"state": "failed"})
        assert sent.timeout > 0
        return make_response({}, pending.pop(0) if pending else 200)

    return FakeAirflow(answer, clock)


def test_a_run_that_is_only_being_made_is_ended_when_it_is_there() -> None:
    clock = FakeClock()
    airflow = make_airflow([404, 404], clock)

    watch = give_up("fail-run", airflow, clock, are_known=False)

    assert (watch.fate, watch.run.state) == (ENDED, "failed")
    assert len(airflow.sent) == 3


def test_a_run_that_was_never_made_is_looked_for_three_seconds() -> None:
    clock = FakeClock()
    airflow = make_airflow([404] * 100, clock)

    watch = give_up("fail-run", airflow, clock, are_known=False)

    assert (watch.fate, watch.run.state) == (MISSING, "queued")
    assert 3.0 <= clock.now - 1000.0 < 3.4


def test_a_run_that_was_there_and_is_gone_is_asked_for_once() -> None:
    clock = FakeClock()
    airflow = make_airflow([404], clock)

    assert give_up("fail-run", airflow, clock).fate == MISSING
    assert len(airflow.sent) == 1


def test_a_run_that_is_left_is_not_claimed_to_be_there() -> None:
    clock = FakeClock()
    airflow = make_airflow([], clock)

    assert give_up("leave", airflow, clock, are_known=False).fate == PERHAPS_LEFT
    assert len(airflow.sent) == 0
