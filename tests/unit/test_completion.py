"""What becomes of DAG runs that are waited for no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import DagRun
from dms_airflow.dag_runs.completion import MISSING, PERHAPS_LEFT, abandon
from tests.unit.fakes import FakeAirflow, FakeClock, make_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.core.http.exchange import Response
    from tests.unit.fakes import Sent

ASKED = DagRun(dag_id="etl", run_id="r1", state="queued")


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

    (fate,) = abandon([ASKED], "fail-run", airflow, clock, are_known=False)

    assert fate.message.startswith("It was set to failed")
    assert len(airflow.sent) == 3


def test_a_run_that_was_never_made_is_looked_for_three_seconds() -> None:
    clock = FakeClock()
    airflow = make_airflow([404] * 100, clock)

    fates = abandon([ASKED], "fail-run", airflow, clock, are_known=False)

    assert fates == [MISSING]
    assert 3.0 <= clock.now - 1000.0 < 3.4


def test_a_run_that_was_there_and_is_gone_is_asked_for_once() -> None:
    clock = FakeClock()
    airflow = make_airflow([404], clock)

    assert abandon([ASKED], "fail-run", airflow, clock) == [MISSING]
    assert len(airflow.sent) == 1


def test_a_run_that_is_left_is_not_claimed_to_be_there() -> None:
    clock = FakeClock()
    airflow = make_airflow([], clock)

    assert abandon([ASKED], "leave", airflow, clock, are_known=False) == [PERHAPS_LEFT]
    assert len(airflow.sent) == 0
