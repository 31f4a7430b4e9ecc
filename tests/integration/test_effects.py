"""Commands that print no result are judged by what Airflow's database holds afterwards, whatever the log says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

NEWEST = "/api/v1/dags/etl/dagRuns?order_by=-id&limit=100&offset=0"
DATES = "execution_date_gte=2025-12-31T00%3A00%3A00%2B00%3A00&execution_date_lte=2026-01-03T00%3A00%3A00%2B00%3A00"
BACKFILLED = f"/api/v1/dags/etl/dagRuns?{DATES}&limit=100&offset=0"
CREATED = "/api/v2/backfills?dag_id=etl&order_by=-id&limit=100&offset=0"

# What Airflow 2 logs at the end of each, and what it logs with a level above INFO: nothing.
LOGGED = (
    "[2026-11-28T21:40:17.540+0000] {dagrun.py:905} INFO - DagRun Finished: dag_id=etl, state=success\n"
    "[2026-11-28T21:40:17.708+0000] {backfill_job_runner.py:1051} INFO - Backfill done for DAG <DAG: etl>. Exiting.\n"
    "2026-11-28T21:40:17.708Z [info     ] Created backfill Dag run. [airflow] dag_id=etl\n"
)
LOGS = ["", LOGGED]


def make_run(run_id: str, state: str, ended: str) -> dict[str, Any]:
    kind = run_id.partition("__")[0]
    return {"dag_id": "etl", "dag_run_id": run_id, "run_type": kind, "state": state, "start_date": "t0", "end_date": ended}


def change(dms: FakeDms, command: str, path: str, before: list[Any], after: list[Any]) -> None:
    """Let a command change the list that the database gives for a path."""

    def store(entries: list[Any]) -> None:
        dms.airflow.route("GET", path, {"entries": entries, "total_entries": len(entries)})

    store(before)
    dms.airflow.effects[command] = lambda: store(after)


OLD = make_run("manual__old", "success", "t1")


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize(
    ("after", "exit_code", "words"),
    [
        ([make_run("manual__new", "success", "t2"), OLD], 0, "airflow dags test succeeded"),
        ([make_run("scheduled__x", "running", ""), make_run("manual__new", "success", "t2"), OLD], 0, "succeeded"),
        ([make_run("manual__old", "success", "t2")], 0, "airflow dags test succeeded"),  # in place of one of the same date
        ([make_run("manual__new", "failed", "t2"), OLD], 1, "airflow dags test failed: DAG run failed: manual__new"),
        ([make_run("manual__new", "running", ""), OLD], 1, "ended before its DAG run did: manual__new"),
        ([OLD], 1, "no DAG run of etl was made"),
        ([make_run("scheduled__x", "success", "t2"), OLD], 1, "no DAG run of etl was made"),
    ],
)
def test_a_test_of_a_dag_is_as_its_dag_run(
    dms: FakeDms, run: Run, log: str, after: list[Any], *, exit_code: int, words: str
) -> None:
    dms.airflow.commands["dags test"] = (log, "")
    change(dms, "dags test", NEWEST, [OLD], after)

    step = run({"operation": "dags test", "arguments": "-c '{}' etl 2026-01-01"})

    assert step.exit_code == exit_code
    assert words in step.log
    assert dms.paths[2:] == [
        "GET /api/v1/version",
        "GET /api/v1/dags/etl/dagRuns",
        "POST /api/v1/command",
        "GET /api/v1/dags/etl/dagRuns",
    ]


def test_what_airflow_says_of_a_failure_needs_no_second_request(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags test"] = (LOGGED, "DagRun failed\n")
    change(dms, "dags test", NEWEST, [OLD], [OLD])

    step = run({"operation": "dags test", "arguments": "etl"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Airflow command failed"]
    assert dms.paths[2:] == ["GET /api/v1/version", "GET /api/v1/dags/etl/dagRuns", "POST /api/v1/command"]


def test_without_the_right_to_read_dag_runs_nothing_is_run(dms: FakeDms, run: Run) -> None:
    dms.airflow.route("GET", NEWEST, {"title": "Forbidden", "status": 403}, 403)

    step = run({"operation": "dags test", "arguments": "etl"})

    assert step.exit_code == 1
    assert dms.commands() == []
    assert [one.properties["title"] for one in step.annotations] == ["Unusable answer"]


ONE, TWO = make_run("backfill__1", "success", "t1"), make_run("backfill__2", "success", "t1")


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize(
    ("after", "exit_code", "words"),
    [
        ([make_run("backfill__1", "success", "t2"), make_run("backfill__2", "success", "t2")], 0, "succeeded"),
        ([make_run("backfill__1", "success", "t2"), make_run("backfill__2", "failed", "t2")], 1, "failed: backfill__2"),
        ([ONE, TWO, make_run("scheduled__1", "success", "t2")], 1, "no DAG run of etl was made"),
    ],
)
def test_a_backfill_is_as_its_dag_runs(
    dms: FakeDms, run: Run, log: str, after: list[Any], *, exit_code: int, words: str
) -> None:
    dms.airflow.commands["dags backfill"] = (log, "")
    change(dms, "dags backfill", BACKFILLED, [ONE, TWO], after)

    step = run({"operation": "dags backfill", "arguments": "etl -s 2026-01-01 -e 2026-01-02"})

    assert step.exit_code == exit_code
    assert words in step.log


def test_a_backfill_of_no_dates_needs_the_word_of_the_log(dms: FakeDms, run: Run) -> None:
    log = "{backfill_job_runner.py:958} INFO - No run dates were found for the given dates and dag interval.\n"
    dms.airflow.commands["dags backfill"] = (log, "")
    change(dms, "dags backfill", BACKFILLED, [], [])

    step = run({"operation": "dags backfill", "arguments": "etl -s 2026-01-01 -e 2026-01-02"})

    assert step.exit_code == 0
    assert [one.properties["title"] for one in step.annotations] == ["Nothing changed"]


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize(("after", "exit_code"), [([{"id": 7}, {"id": 6}], 0), ([{"id": 6}], 1)])
def test_a_backfill_that_is_created_is_in_the_database(
    dms: FakeDms, run: Run, log: str, after: list[Any], exit_code: int
) -> None:
    dms.airflow.version = "3.2.2"
    dms.airflow.commands["backfill create"] = (log, "")
    change(dms, "backfill create", CREATED, [{"id": 6}], after)

    step = run({"operation": "backfill create", "arguments": "--dag-id etl --from-date 2026-01-01 --to-date 2026-01-02"})

    assert step.exit_code == exit_code
    assert ("no backfill of etl was made" in step.log) is (exit_code == 1)


PYDANTIC = (
    "/lib/python3.11/site-packages/pydantic/_internal/_config.py:373 UserWarning: Valid config keys have changed in V2:\n"
    "* 'orm_mode' has been renamed to 'from_attributes'\n* 'schema_extra' has been renamed to 'json_schema_extra'\n"
)


@pytest.mark.parametrize("stderr", ["", PYDANTIC])
@pytest.mark.parametrize(
    ("listed", "exit_code", "titles"),
    [
        (("[]\n", ""), 0, []),
        (('[{"filepath": "/x.py", "error": "KeyError: 1"}]\n', ""), 0, []),
        (("", "configuration is missing, giving up\n"), 1, ["Result not known"]),
        (("", ""), 1, ["Result not known"]),
    ],
)
def test_a_command_that_prints_nothing_has_worked_unless_something_ends_every_command(
    dms: FakeDms, run: Run, stderr: str, listed: tuple[str, str], *, exit_code: int, titles: list[str]
) -> None:
    dms.airflow.commands |= {"tasks clear": ("", stderr), "dags list-import-errors -o json": listed}

    step = run({"operation": "tasks clear", "arguments": "etl -y"})

    assert step.exit_code == exit_code
    assert [one.properties["title"] for one in step.annotations] == titles
    assert dms.commands() == [["tasks", "clear", "etl", "-y"], ["dags", "list-import-errors", "-o", "json"]]


FAILED = '{"timestamp":"t","level":"error","event":"Task failed with exception"}\n'
ENDED = '{"timestamp":"t","level":"info","event":"[DAG TEST] end task task_id=load map_index=-1"}\n'


@pytest.mark.parametrize(
    ("stdout", "exit_code"),
    [
        (ENDED, 0),
        (FAILED + ENDED, 1),
        ("INFO: [DAG TEST] end task task_id=load map_index=-1\n", 1),
        ("ERROR: Task failed with exception\nINFO: [DAG TEST] end task task_id=load map_index=-1\n", 1),
        ("", 1),
    ],
)
def test_a_test_of_a_task_on_airflow_3_is_known_from_a_log_that_is_understood(
    dms: FakeDms, run: Run, stdout: str, exit_code: int
) -> None:
    dms.airflow.version = "3.2.2"
    dms.airflow.commands["tasks test"] = (stdout, "")

    step = run({"operation": "tasks test", "arguments": "etl load"})

    assert step.exit_code == exit_code
    if "ERROR" in stdout or not stdout:
        assert [one.properties["title"] for one in step.annotations] == ["Result not known"]
        assert "sys.exit" not in step.annotations[0].data
        assert "leaves nothing in Airflow's database" in step.annotations[0].data
