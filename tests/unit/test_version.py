"""What differs between Airflow 2 and 3, and what is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from requests.structures import CaseInsensitiveDict

from dms_airflow.airflow.dags import list_dags, parse_dag
from dms_airflow.airflow.responses import is_unknown_route
from dms_airflow.airflow.version import AIRFLOW_2, AIRFLOW_3, Version, parse_version
from dms_airflow.core.http.exchange import Response
from tests.unit.fakes import FakeAirflow, FakeClock

CAPTURES = Path(__file__).parents[1] / "captures"


def load(name: str) -> Response:
    """Give a captured response."""
    told = json.loads((CAPTURES / f"{name}.json").read_text(encoding="utf-8"))
    got = told.get("response", told)
    return Response(status=got["status"], headers=CaseInsensitiveDict(got["headers"]), body=got["body"].encode(), cookies={})


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("airflow-3.2.2/rest/meta/api_v1_get", True),
        ("airflow-3.2.2/rest/meta/api_v1_command", True),
        ("airflow-3.2.2/rest/meta/not_found_path", True),
        ("airflow-3.2.2/rest/meta/wrong_method", True),
        ("airflow-3.2.2/rest/dagruns/trigger_missing_dag", False),
        ("airflow-3.2.2/rest/dags/details_missing", False),
        ("airflow-3.2.2/rest/auth/none", False),
        ("airflow-2.10.4/rest/importErrors/missing", False),
    ],
)
def test_only_a_route_that_is_not_there_proves_that_nothing_was_done(name: str, *, unknown: bool) -> None:
    assert is_unknown_route(load(name)) is unknown


@pytest.mark.parametrize(
    ("number", "api", "is_reliable"),
    [
        ("2.10.4", "/api/v1", True),
        ("2", "/api/v1", True),
        ("3", "/api/v2", True),
        ("3.0.6", "/api/v2", False),
        ("3.1.0", "/api/v2", False),
        ("3.2.2+dms.1", "/api/v2", True),
        ("3.10.0", "/api/v2", True),
        ("4.0.0", "/api/v2", True),
    ],
)
def test_what_a_version_means(number: str, api: str, *, is_reliable: bool) -> None:
    version = parse_version(number)

    assert version
    assert (version.number, version.api, version.cli_import_is_reliable) == (number, api, is_reliable)


@pytest.mark.parametrize("number", ["", "1.10.15", "newest", "v3", "3 .2"])
def test_what_is_not_a_version(number: str) -> None:
    assert parse_version(number) is None


def test_paths_are_below_the_api_unless_they_name_it() -> None:
    two, three = (FakeAirflow(lambda _: {}, FakeClock(), version=number) for number in ("2.10.4", "3.2.2"))

    assert (two.locate("/dags"), three.locate("/dags")) == ("/api/v1/dags", "/api/v2/dags")
    assert three.locate("/api/v1/dags") == "/api/v1/dags"
    assert three.locate("/apis") == "/api/v2/apis"
    assert two.locate(AIRFLOW_2.health_path) == "/api/v1/health"
    assert three.locate(AIRFLOW_3.health_path) == "/api/v2/monitor/health"


DAG_FIELDS = "dag_id,fileloc,file_token,has_import_errors,last_parsed_time,is_active,is_paused,max_active_runs"


@pytest.mark.parametrize(
    ("number", "query"),
    [
        ("2.10.4", {"only_active": "true", "order_by": "dag_id", "fields": DAG_FIELDS, "limit": "100", "offset": "0"}),
        ("3.2.2", {"exclude_stale": "true", "order_by": "dag_id", "limit": "100", "offset": "0"}),
    ],
)
def test_lists_of_dags(number: str, query: dict[str, str]) -> None:
    airflow = FakeAirflow(lambda _: {"dags": [{"dag_id": "etl"}], "total_entries": 1}, FakeClock(), version=number)

    dags = list_dags(airflow, only_active=True)

    assert [dag.dag_id for dag in dags] == ["etl"]
    assert airflow.sent[0].query == query


def test_what_is_read_of_a_dag() -> None:
    two = parse_dag(load("airflow-2.10.4/rest/dags/get").parse(), AIRFLOW_2)
    three = parse_dag(load("airflow-3.2.2/rest/dags/get").parse(), AIRFLOW_3)

    assert (two.is_active, three.is_active) == (True, True)
    row = {"dag_id": "a b", "file_token": "t/k"}
    assert parse_dag(row, AIRFLOW_2).source == "/dagSources/t%2Fk"
    assert parse_dag(row, AIRFLOW_3).source == "/dagSources/a%20b"
    assert parse_dag({"dag_id": "a b"}, AIRFLOW_3).source == ""


@pytest.mark.parametrize(("version", "options"), [(AIRFLOW_2, ()), (AIRFLOW_3, ("--local", "-B", "dags-folder"))])
def test_files_are_imported_now(version: Version, options: tuple[str, ...]) -> None:
    assert version.list_import_options() == options


def test_import_of_several_bundles() -> None:
    assert AIRFLOW_3.list_import_options(("ours", "theirs")) == ("--local", "-B", "ours", "-B", "theirs")
    assert AIRFLOW_2.list_import_options(("ours",)) == ()


def test_pages_of_runs_and_logs() -> None:
    two, three = AIRFLOW_2.format_run_page, AIRFLOW_3.format_run_page

    assert two("a/b", "r+1") == "/dags/a%2Fb/grid?dag_run_id=r%2B1"
    assert two("a", "r", "t x") == "/dags/a/grid?dag_run_id=r&task_id=t%20x&tab=logs"
    assert two("a", "r", "t x", 3) == "/dags/a/grid?dag_run_id=r&task_id=t%20x&map_index=3&tab=logs"
    assert three("a/b", "r+1") == "/dags/a%2Fb/runs/r%2B1"
    assert three("a", "r", "t x") == "/dags/a/runs/r/tasks/t%20x"
    assert three("a", "r", "t x", 3) == "/dags/a/runs/r/tasks/t%20x/mapped/3"
    assert two("{x}", "r") == "/dags/%7Bx%7D/grid?dag_run_id=r"
