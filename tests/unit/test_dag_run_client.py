"""Questions about DAG runs: pages that overlap, the time that is left, and nothing begun after a cancellation."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from requests.structures import CaseInsensitiveDict

from dms_airflow.airflow.dag_run_client import DagRunClient
from dms_airflow.core.errors import AnswerError, AnswerTimeoutError, Cancelled
from dms_airflow.core.http import Answer
from tests.unit.fakes import AskedAirflow, FakeClock


class FakeAirflow(AskedAirflow):
    """A run whose task instances are given as on PostgreSQL: pages overlap."""

    url = "https://airflow"

    def __init__(self, entries: list[dict[str, Any]], total: int | None = None, *, takes_post: bool = True) -> None:
        self.entries = entries
        self.takes_post = takes_post
        self.total = len(entries) if total is None else total
        self.timeouts: list[float] = []
        self.sent: list[str] = []
        self.queries: list[str] = []
        self.key = "task_instances"

    def request(self, method: str, path: str, *, query: str = "", body: str = "", timeout: float, **_: Any) -> Answer:
        """Answer with a page."""
        self.sent.append(f"{method} {path}")
        self.queries.append(query)
        self.timeouts.append(timeout)
        headers = CaseInsensitiveDict({"Content-Type": "application/json"})
        if method == "POST" and not self.takes_post:
            return Answer(status=405, headers=headers, body=b"{}", cookies={})
        asked = parse_qs(query)
        offset, limit = int(asked.get("offset", ["0"])[0]), int(asked.get("limit", ["100"])[0])
        if method == "POST":
            assert path == "/dags/~/dagRuns/~/taskInstances/list"
            form = json.loads(body)
            assert (form["dag_ids"], form["dag_run_ids"]) == (["etl"], ["r1"])
            limit = form["page_limit"]
        if offset:
            offset -= 1  # one more time the last of the page before, and the last of all not at all
        told = {self.key: self.entries[offset : offset + limit], "total_entries": self.total}
        return Answer(status=200, headers=headers, body=json.dumps(told).encode(), cookies={})

    def refuse(self, answer: Answer, what: str) -> AnswerError:
        """Make an error."""
        return AnswerError(what, "", status=answer.status)


def make_client(airflow: FakeAirflow, seconds: float = 600.0) -> DagRunClient:
    clock = FakeClock()
    return DagRunClient(airflow, clock, clock.now + seconds)  # type: ignore[arg-type]


def entries(count: int) -> list[dict[str, Any]]:
    return [{"task_id": f"t{number}", "map_index": -1, "state": "success"} for number in range(count)]


def test_no_task_instance_is_missed_or_told_twice() -> None:
    airflow = FakeAirflow(entries(300))

    found = make_client(airflow).list_task_instances("etl", "r1")

    assert len(airflow.sent) == 2
    assert len(found) == 300
    assert {one.task_id for one in found} == {f"t{number}" for number in range(300)}


def test_pages_are_read_where_nobody_takes_the_post() -> None:
    found = make_client(FakeAirflow(entries(300), takes_post=False)).list_task_instances("etl", "r1")

    assert len(found) == 299  # the last one is on no page


def test_an_entry_that_two_pages_hold_is_one() -> None:
    twice = [*entries(100), *entries(100)[99:]]

    assert len(make_client(FakeAirflow(twice)).list_task_instances("etl", "r1")) == 100


@pytest.mark.parametrize("total", [0, 1, 5, -3])
def test_a_total_that_is_wrong_keeps_nobody_waiting(total: int) -> None:
    assert len(make_client(FakeAirflow(entries(2), total)).list_task_instances("etl", "r1")) == 2


def test_a_total_without_bounds_is_not_asked_for() -> None:
    airflow = FakeAirflow(entries(100), 10**9)

    make_client(airflow).list_task_instances("etl", "r1")

    assert len(airflow.sent) == 201


def test_an_answer_without_the_task_instances_that_it_counts_is_unusable() -> None:
    with pytest.raises(AnswerError, match="gave none of its 5"):
        make_client(FakeAirflow([], 5)).list_task_instances("etl", "r1")


def test_no_answer_is_waited_for_beyond_the_time_that_is_left() -> None:
    airflow = FakeAirflow(entries(2))
    client = make_client(airflow, 7.0)

    client.list_task_instances("etl", "r1")

    assert airflow.timeouts == [7.0]


def test_nothing_is_asked_when_no_time_is_left() -> None:
    airflow = FakeAirflow(entries(2))
    client = make_client(airflow)
    client.limit(1000.0)

    with pytest.raises(AnswerTimeoutError):
        client.list_task_instances("etl", "r1")

    assert not airflow.sent


def test_nothing_is_begun_once_the_workflow_is_cancelled() -> None:
    airflow = FakeAirflow([])
    client = make_client(airflow)
    client.close()

    with pytest.raises(Cancelled):
        client.create_run("etl", "r1", {}, datetime(2026, 11, 22, tzinfo=UTC), 10.0)
    with pytest.raises(Cancelled):
        client.unpause("etl")

    assert not airflow.sent
