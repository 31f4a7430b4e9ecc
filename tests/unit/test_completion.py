"""What becomes of DAG runs that are waited for no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import DagRun
from dms_airflow.core.errors import AnswerError
from dms_airflow.dag_runs.completion import MISSING, PERHAPS_LEFT, abandon
from tests.unit.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence

ASKED = DagRun(dag_id="etl", run_id="r1", state="queued")
KEY = ("etl", "r1")


class FakeClient:
    """An Airflow that answers each request to end a run with the next status."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self.statuses = list(statuses)
        self.asked = 0

    def fail_run(self, dag_id: str, run_id: str, timeout: float) -> None:
        """End a run."""
        del dag_id, run_id
        assert timeout > 0
        self.asked += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            raise AnswerError(f"answered {status}", "", status=status)


def test_a_run_that_is_only_being_made_is_ended_when_it_is_there() -> None:
    client, clock = FakeClient([404, 404]), FakeClock()

    fates = abandon([ASKED], "fail-run", client, clock, are_known=False)  # type: ignore[arg-type]

    assert fates[KEY].startswith("It was set to failed")
    assert client.asked == 3


def test_a_run_that_was_never_made_is_looked_for_three_seconds() -> None:
    client, clock = FakeClient([404] * 100), FakeClock()

    fates = abandon([ASKED], "fail-run", client, clock, are_known=False)  # type: ignore[arg-type]

    assert fates[KEY] == MISSING
    assert 3.0 <= clock.now - 1000.0 < 3.4


def test_a_run_that_was_there_and_is_gone_is_asked_for_once() -> None:
    client = FakeClient([404])

    assert abandon([ASKED], "fail-run", client, FakeClock())[KEY] == MISSING  # type: ignore[arg-type]
    assert client.asked == 1


def test_a_run_that_is_left_is_not_claimed_to_be_there() -> None:
    client = FakeClient([])

    assert abandon([ASKED], "leave", client, FakeClock(), are_known=False)[KEY] == PERHAPS_LEFT  # type: ignore[arg-type]
    assert client.asked == 0
