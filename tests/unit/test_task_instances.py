"""The task instances of a DAG run: all of them, although pages overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.airflow.dag_runs import DagRun
from dms_airflow.airflow.task_instances import TaskInstance, fetch_log, list_task_instances
from dms_airflow.core.errors import AnswerError
from tests.unit.fakes import FakeAirflow, FakeClock, make_response

if TYPE_CHECKING:
    from tests.unit.fakes import Sent


class Instance(FakeAirflow):
    """A run whose task instances are given as on PostgreSQL: pages overlap."""

    def __init__(self, entries: list[dict[str, Any]], total: int | None = None, *, takes_post: bool = True) -> None:
        super().__init__(self.page, FakeClock())
        self.entries = entries
        self.takes_post = takes_post
        self.total = len(entries) if total is None else total

    def page(self, sent: Sent) -> Any:
        """Answer with a page."""
        if sent.method == "POST" and not self.takes_post:
            return make_response({}, 405)
        offset, limit = int(sent.query.get("offset", 0)), int(sent.query.get("limit", 100))
        if sent.method == "POST":
            assert sent.path == "/dags/~/dagRuns/~/taskInstances/list"
            assert (sent.body["dag_ids"], sent.body["dag_run_ids"]) == (["etl"], ["r1"])
            limit = sent.body["page_limit"]
        if offset:
            offset -= 1  # one more time the last of the page before, and the last of all not at all
        return {"task_instances": self.entries[offset : offset + limit], "total_entries": self.total}


def entries(count: int) -> list[dict[str, Any]]:
    return [{"task_id": f"t{number}", "map_index": -1, "state": "success"} for number in range(count)]


def test_no_task_instance_is_missed_or_listed_twice() -> None:
    airflow = Instance(entries(300))

    found = list_task_instances(airflow, "etl", "r1")

    assert len(airflow.sent) == 2
    assert len(found) == 300
    assert {one.task_id for one in found} == {f"t{number}" for number in range(300)}


def test_pages_are_read_where_the_post_is_not_taken() -> None:
    found = list_task_instances(Instance(entries(300), takes_post=False), "etl", "r1")

    assert len(found) == 299  # the last one is on no page


def test_an_entry_that_two_pages_hold_is_one() -> None:
    twice = [*entries(100), *entries(100)[99:]]

    assert len(list_task_instances(Instance(twice), "etl", "r1")) == 100


@pytest.mark.parametrize("total", [0, 1, 5, -3])
def test_a_total_that_is_wrong_does_no_harm(total: int) -> None:
    assert len(list_task_instances(Instance(entries(2), total), "etl", "r1")) == 2


def test_a_total_without_bounds_is_not_requested() -> None:
    airflow = Instance(entries(100), 10**9)

    list_task_instances(airflow, "etl", "r1")

    assert len(airflow.sent) == 2 + 1000
    assert airflow.sent[1].body["page_limit"] == 20_000


def test_a_response_without_the_task_instances_that_it_counts_is_unusable() -> None:
    with pytest.raises(AnswerError, match="gave none of its 5"):
        list_task_instances(Instance([], 5), "etl", "r1")


@pytest.mark.parametrize(
    ("version", "map_index", "query", "accept"),
    [("2.10.4", -1, {}, "text/plain"), ("3.2.2", 2, {"map_index": "2"}, "application/json")],
)
def test_a_log_is_fetched_in_the_form_that_its_airflow_gives(
    version: str, map_index: int, query: dict[str, str], accept: str
) -> None:
    airflow = FakeAirflow(lambda _: {"content": ["line"]}, FakeClock(), version=version)
    instance = TaskInstance(task_id="a b", map_index=map_index, try_number=3)

    log = fetch_log(airflow, DagRun(dag_id="etl", run_id="r1", state="failed"), instance)

    (sent,) = airflow.sent
    assert (sent.path, sent.query) == ("/dags/etl/dagRuns/r1/taskInstances/a%20b/logs/3", query)
    assert sent.accept == accept
    assert log.text == "line"
