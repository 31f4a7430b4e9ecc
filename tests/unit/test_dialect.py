"""What differs between Airflow 2 and 3, and how an answer tells which one gave it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from dms_airflow.airflow.version import (
    AIRFLOW_2,
    AIRFLOW_3,
    Airflow2,
    Airflow3,
    Dialect,
    find_dialect,
    is_unknown_route,
    recognise,
)
from dms_airflow.core.http import Answer

CAPTURES = Path(__file__).parents[1] / "captures"
NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
BASE = "https://h/airflow/1"


def load(name: str) -> tuple[str, Answer]:
    """Give the path of a captured request, and its answer."""
    told = json.loads((CAPTURES / f"{name}.json").read_text(encoding="utf-8"))
    got = told.get("response", told)
    answer = Answer(status=got["status"], headers=CaseInsensitiveDict(got["headers"]), body=got["body"].encode(), cookies={})
    return told["request"]["path"].partition("?")[0], answer


def read(name: str) -> Any:
    return load(name)[1].parse()


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("airflow-2.10.4/rest/dags/get", AIRFLOW_2),
        ("airflow-2.10.4/rest/dagruns/trigger", AIRFLOW_2),
        ("airflow-2.10.4/rest/importErrors/missing", AIRFLOW_2),
        ("airflow-2.10.4/rest/importErrors/unauthenticated", AIRFLOW_2),
        ("airflow-3.2.2/rest/meta/api_v1_get", AIRFLOW_3),
        ("airflow-3.2.2/rest/meta/api_v1_command", AIRFLOW_3),
        ("airflow-3.2.2/rest/meta/health", AIRFLOW_3),
        ("airflow-3.2.2/rest/dags/list", AIRFLOW_3),
        ("airflow-3.2.2/rest/meta/not_found_path", None),
        ("airflow-3.2.2/rest/meta/not_found_ui_path", None),
    ],
)
def test_an_answer_tells_which_airflow_gave_it(name: str, dialect: Dialect | None) -> None:
    assert recognise(*load(name)) == dialect


def test_a_command_that_was_taken_tells_nothing() -> None:
    taken = Answer(
        status=200,
        headers=CaseInsensitiveDict({"Content-Type": "application/json"}),
        body=b'{"stdout": "2.10.4", "stderr": ""}',
        cookies={},
    )

    assert recognise("/api/v1/command", taken) is None
    assert recognise("/api/v2/command", taken) is None


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
    assert is_unknown_route(load(name)[1]) is unknown


@pytest.mark.parametrize(
    ("version", "dialect", "release"),
    [
        ("2.10.4", Airflow2(version="2.10.4"), (2, 10)),
        ("2", AIRFLOW_2, (2, None)),
        ("3", AIRFLOW_3, (3, None)),
        ("3.0.6", Airflow3(version="3.0.6"), (3, 0)),
        ("3.2.2+dms.1", Airflow3(version="3.2.2+dms.1"), (3, 2)),
    ],
)
def test_a_version_chooses_the_dialect(version: str, dialect: Dialect, release: tuple[int, int | None]) -> None:
    assert find_dialect(version) == dialect
    assert dialect.release == release
    assert dialect.is_exact is (release[1] is not None)


@pytest.mark.parametrize("version", ["", "1.10.15", "newest", "v3", "3 .2"])
def test_what_is_no_version(version: str) -> None:
    assert find_dialect(version) is None


def test_paths_lie_below_the_api_unless_they_name_it() -> None:
    assert (AIRFLOW_2.locate("/dags"), AIRFLOW_3.locate("/dags")) == ("/api/v1/dags", "/api/v2/dags")
    assert AIRFLOW_3.locate("/api/v1/dags") == "/api/v1/dags"
    assert AIRFLOW_3.locate("/apis") == "/api/v2/apis"
    assert AIRFLOW_2.locate(AIRFLOW_2.health_path) == "/api/v1/health"
    assert AIRFLOW_3.locate(AIRFLOW_3.health_path) == "/api/v2/monitor/health"


def test_lists_of_dags() -> None:
    page = (("limit", 100), ("offset", 0))

    two = AIRFLOW_2.list_dags(page, only_active=True, fields="dag_id,fileloc")
    three = AIRFLOW_3.list_dags(page, only_active=False, fields="dag_id,fileloc")

    assert two.path == "/api/v1/dags"
    assert two.query == "only_active=true&order_by=dag_id&fields=dag_id%2Cfileloc&limit=100&offset=0"
    assert three.path == "/api/v2/dags"
    assert three.query == "exclude_stale=false&order_by=dag_id&limit=100&offset=0"


def test_what_is_read_of_a_dag() -> None:
    two, three = read("airflow-2.10.4/rest/dags/get"), read("airflow-3.2.2/rest/dags/get")

    assert AIRFLOW_2.is_active(two)
    assert AIRFLOW_3.is_active(three)
    assert not AIRFLOW_2.is_active({"is_active": False})
    assert not AIRFLOW_3.is_active({"is_stale": True})
    assert AIRFLOW_2.is_active({})
    assert AIRFLOW_3.is_active({})
    assert AIRFLOW_2.locate_source({"dag_id": "a b", "file_token": "t/k"}) == "/dagSources/t%2Fk"
    assert AIRFLOW_3.locate_source({"dag_id": "a b", "file_token": "t/k"}) == "/dagSources/a%20b"


@pytest.mark.parametrize(
    ("dialect", "words"),
    [
        (AIRFLOW_2, ()),
        (AIRFLOW_3, ("--local", "-B", "dags-folder")),
        (Airflow3(version="3.2.2"), ("--local", "-B", "dags-folder")),
        (Airflow3(version="3.1.0"), None),
        (Airflow3(version="3.0.6"), None),
    ],
)
def test_files_are_imported_now_where_that_tells_the_truth(dialect: Dialect, words: tuple[str, ...] | None) -> None:
    assert dialect.import_now() == words


def test_import_of_several_bundles_and_of_one_file() -> None:
    assert AIRFLOW_3.import_now(("ours", "theirs")) == ("--local", "-B", "ours", "-B", "theirs")
    assert AIRFLOW_2.import_alone("/d/x.py") == ("-S", "/d/x.py")
    assert AIRFLOW_3.import_alone("/d/x.py") is None


def test_what_becomes_of_broken_files_and_old_copies() -> None:
    assert (AIRFLOW_2.keeps_broken_dags, AIRFLOW_3.keeps_broken_dags) == (True, False)
    assert (AIRFLOW_2.keeps_old_sources, AIRFLOW_3.keeps_old_sources) == (True, False)


def test_a_run_is_dated_where_airflow_does_not() -> None:
    two, three = (dialect.create_run("a b", "r1", {"x": 1}, NOON) for dialect in (AIRFLOW_2, AIRFLOW_3))

    assert (two.method, two.path) == ("POST", "/api/v1/dags/a%20b/dagRuns")
    assert json.loads(two.body or "") == {"dag_run_id": "r1", "conf": {"x": 1}}
    assert (three.method, three.path) == ("POST", "/api/v2/dags/a%20b/dagRuns")
    assert json.loads(three.body or "") == {
        "dag_run_id": "r1",
        "conf": {"x": 1},
        "logical_date": "2026-11-22T12:00:00.123456+00:00",
    }
    assert AIRFLOW_2.date_run(NOON) == ()
    assert AIRFLOW_3.date_run(NOON) == (
        "--logical-date",
        "2026-11-22T12:00:00.123456+00:00",
        "--no-replace-microseconds",
    )


def test_pages_of_runs_and_logs() -> None:
    two, three = AIRFLOW_2.write_run_url, AIRFLOW_3.write_run_url

    assert two(BASE, "a/b", "r+1") == "https://h/airflow/1/dags/a%2Fb/grid?dag_run_id=r%2B1"
    assert two(BASE, "a", "r", "t x", 3) == ("https://h/airflow/1/dags/a/grid?dag_run_id=r&task_id=t%20x&map_index=3&tab=logs")
    assert three(BASE, "a/b", "r+1") == "https://h/airflow/1/dags/a%2Fb/runs/r%2B1"
    assert three(BASE, "a", "r", "t x") == "https://h/airflow/1/dags/a/runs/r/tasks/t%20x"
    assert three(BASE, "a", "r", "t x", 3) == "https://h/airflow/1/dags/a/runs/r/tasks/t%20x/mapped/3"
