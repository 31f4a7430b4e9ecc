"""The deploy gate's eyes: lists and sources come side by side, eight at once and never more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

import pytest

from dms_airflow.airflow import dags
from dms_airflow.airflow.client import AirflowClient
from dms_airflow.import_errors.instance_reader import InstanceReader
from tests.unit.fakes import FakeClock, FakeLog, FakeSession, make_context, make_response

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dms_airflow.core.http.exchange import Response

EIGHT = 8
ROUNDS = 3


class Transport:
    """Answers nobody before eight requests wait for an answer; the first pages of lists excepted, which come alone.

    With fewer at once nobody would ever be answered: the barrier breaks, and the test with it.
    """

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.most = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(EIGHT, timeout=30)

    def exchange(self, method: str, base: str, path: str, *, query: str, **_: Any) -> Response:
        """Answer with one entry a page."""
        del base
        offset = int(parse_qs(query).get("offset", ["-1"])[0])
        if offset != 0:
            with self._lock:
                self._waiting += 1
                self.most = max(self.most, self._waiting)
                self.threads.add(threading.get_ident())
            self._barrier.wait()
            with self._lock:
                self._waiting -= 1
        if method == "PUT":
            return make_response({}, 201)
        if path.endswith(("/dags", "/importErrors")):
            key, name = ("dags", "dag_id") if path.endswith("/dags") else ("import_errors", "filename")
            return make_response({key: [{name: f"{name}{offset}"}], "total_entries": 1 + ROUNDS * EIGHT})
        name = path.rpartition("/")[2]
        return make_response({"content": f"source of {name}", "doc_md": path, "tasks": []})


PLACES = {f"/dags/{number}.py": f"/dagSources/token{number}" for number in range(ROUNDS * EIGHT)}


def list_dags(instance: InstanceReader) -> None:
    assert [dag.dag_id for dag in instance.list_dags()] == [f"dag_id{number}" for number in range(25)]


def list_stored_errors(instance: InstanceReader) -> None:
    assert [error.path for error in instance.list_stored_errors()] == [f"filename{number}" for number in range(25)]


def fetch_sources(instance: InstanceReader) -> None:
    sources = dags.fetch_sources(instance.airflow, PLACES)
    assert (len(sources), sources["/dags/17.py"]) == (24, "source of token17")


@pytest.mark.parametrize("look", [list_dags, list_stored_errors, fetch_sources])
def test_eight_requests_at_once_and_never_more(tmp_path: Path, look: Callable[[InstanceReader], None]) -> None:
    transport, session = Transport(), cast("Any", FakeSession("2.10.4"))
    airflow = AirflowClient(session=session, transport=cast("Any", transport), clock=FakeClock(), log=FakeLog())
    context = make_context(FakeClock(), FakeLog(), airflow, workspace=tmp_path)

    look(InstanceReader(context, timeout=60.0, poll_interval=None))

    assert transport.most == EIGHT
