"""Each operation as a whole process: what it sends, what it makes of real answers, what a person sees."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.fake_dms import HTML, JSON, FakeAirflow, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms
    from tests.unit.fakes import FakeClock

    Run = Callable[..., Step]

CAPTURES = Path(__file__).parents[1] / "captures" / "airflow-2.10.4"
LOG_FORMATS = CAPTURES.parent / "log-formats"
CRASH = 'Traceback (most recent call last):\n  File "/usr/local/bin/airflow", line 8, in <module>\nOSError: disk full\n'
TRIGGERED = '[{"conf": {}, "dag_id": "etl", "dag_run_id": "manual__1", "state": "queued"}]\n'


def replay(dms: FakeDms, command: str, capture: str) -> None:
    """Let a command answer as real Airflow did."""
    told = json.loads((CAPTURES / "cli" / "dags" / f"{capture}.json").read_text(encoding="utf-8"))
    dms.airflow.commands[command] = (told["stdout"], told["stderr"])


@pytest.fixture
def checkout(workspace: Path) -> Path:
    """A team's repository: the DAG files behind the captures under ``dags/``."""
    for folder in ("good", "broken"):
        shutil.copytree(CAPTURES / "dags" / folder, workspace / "dags", dirs_exist_ok=True)
    return workspace


LISTED = ["dags", "list-import-errors", "-o", "json"]


@pytest.mark.check
def test_import_errors_fail_the_step_on_their_lines(dms: FakeDms, run: Run, checkout: Path) -> None:
    replay(dms, "dags list-import-errors", "list_import_errors__broken__json")
    replay(dms, "dags list-import-errors -o json -v", "list_import_errors__broken_verbose_json")

    step = run({"operation": "dags list-import-errors"})

    assert step.exit_code == 1
    assert dms.commands() == [LISTED, [*LISTED, "-v"]]
    assert step.outputs["import-error-count"] == "33"
    assert step.outputs["new-import-error-count"] == "33"
    errors = {error["instance_path"]: error for error in step.read_json("import-errors")}
    assert list(errors["/opt/airflow/dags/syntax_error.py"]) == [
        "file",
        "line",
        "instance_path",
        "exception",
        "message",
        "stack_trace",
        "new",
    ]
    places = {path: (error["file"], error["line"]) for path, error in errors.items()}
    assert places["/opt/airflow/dags/syntax_error.py"] == ("dags/syntax_error.py", 8)
    assert places["/opt/airflow/dags/helper_raises.py"] == ("dags/lablib/helpers.py", 10)
    assert places["/opt/airflow/dags/missing_module.py"] == ("dags/missing_module.py", 4)
    assert len(step.annotations) == 10
    assert step.annotations[9].properties["title"] == "24 more"
    first = step.annotations[0]
    assert first.properties["title"].startswith("DAG import error: ")
    assert (checkout / first.properties["file"]).is_file()
    assert "dags/syntax_error.py:8  SyntaxError: '(' was never closed" in step.log
    assert step.summary.count(f'<a href="https://github.com/octo-org/dags/blob/{"0" * 40}/dags/') == 33


def test_no_import_errors(dms: FakeDms, run: Run) -> None:
    replay(dms, "dags list-import-errors", "list_import_errors__none__json")

    step = run({"operation": "dags list-import-errors"})

    assert step.exit_code == 0
    assert step.outputs["import-errors"] == "[]"
    assert step.outputs["import-error-count"] == "0"
    assert "No import errors" in step.summary


def test_import_errors_only_reported(dms: FakeDms, run: Run, checkout: Path) -> None:
    replay(dms, "dags list-import-errors", "list_import_errors__broken__json")

    step = run({"operation": "dags list-import-errors", "fail-on": "none", "dags-path": "dags"})

    assert checkout.is_dir()
    assert step.exit_code == 0
    assert {one.name for one in step.annotations} == {"warning"}
    assert step.outputs["import-error-count"] == "33"


def test_a_dag_file_that_ends_the_interpreter_is_no_clean_bill(dms: FakeDms, run: Run) -> None:
    replay(dms, "dags list-import-errors", "list_import_errors__sysexit_json")

    step = run({"operation": "dags list-import-errors", "fail-on": "none"})

    assert step.exit_code == 1
    assert "import-error-count" not in step.outputs
    assert [one.properties["title"] for one in step.annotations] == ["Result not known"]
    assert "configuration is missing, giving up" in step.annotations[0].data


def test_a_crash_beside_import_errors_counts_whatever_fail_on_says(dms: FakeDms, run: Run) -> None:
    replay(dms, "dags list-import-errors", "list_import_errors__broken__json")
    stdout, _ = dms.airflow.commands["dags list-import-errors"]
    dms.airflow.commands["dags list-import-errors"] = (stdout, CRASH)

    step = run({"operation": "dags list-import-errors", "fail-on": "none"})

    assert step.exit_code == 1
    assert step.annotations[0].properties["title"] == "Airflow command failed"
    assert "OSError: disk full" in step.annotations[0].data
    assert step.outputs["import-error-count"] == "33"


def make_dag(dag_id: str, parsed: str, *, is_active: bool = True) -> dict[str, object]:
    return {
        "dag_id": dag_id,
        "fileloc": f"/opt/airflow/dags/{dag_id}.py",
        "file_token": f"token-{dag_id}",
        "last_parsed_time": parsed,
        "is_active": is_active,
        "has_import_errors": False,
    }


def write_dags(dms: FakeDms, before: list[dict[str, object]], after: list[dict[str, object]]) -> None:
    """Let `dags reserialize` change what the database holds; nothing is broken."""
    dms.airflow.commands["dags list-import-errors"] = ("[]\n", "")
    dms.airflow.store(before)
    dms.airflow.effects["dags reserialize"] = lambda: dms.airflow.store(after)
    for dag in after:
        dms.airflow.route("GET", f"/api/v1/dags/{dag['dag_id']}/details", {"dag_id": dag["dag_id"]})


# What `dags reserialize` prints where the owner of the instance has set another log.
SILENT = {
    "default": "[2026-11-28T21:21:48.682+0000] {dagbag.py:588} INFO - Filling up the DagBag from /opt/airflow/dags\n",
    "nothing": "",
    "json": '{"timestamp":"2026-11-28T21:19:47Z","level":"info","event":"Filling up the DagBag from /opt/airflow/dags"}\n',
    "bare": "Filling up the DagBag from /opt/airflow/dags\nSync 1 DAGs\n",
}


@pytest.mark.parametrize("stdout", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize("stderr", ["", SILENT["default"], SILENT["bare"]])
def test_reserialize_of_good_files(dms: FakeDms, run: Run, stdout: str, stderr: str) -> None:
    dms.airflow.commands["dags reserialize"] = (stdout, stderr)
    write_dags(dms, [make_dag("etl", "t0"), make_dag("gone", "t0", is_active=False)], [make_dag("etl", "t1")])

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == 0, step.log
    assert step.annotations == []
    assert step.outputs["import-error-count"] == "0"
    assert step.outputs["stdout"] == stdout
    assert dms.commands() == [["dags", "reserialize"], LISTED]
    assert [path for path in dms.paths if path.startswith("GET /api")] == [
        "GET /api/v1/version",
        *("GET /api/v1/dags", "GET /api/v1/importErrors"),
        *("GET /api/v1/dags", "GET /api/v1/importErrors", "GET /api/v1/dags/etl/details", "GET /api/v1/dagWarnings"),
    ]


@pytest.mark.parametrize("stdout", SILENT.values(), ids=SILENT)
def test_reserialize_fails_for_import_errors_whatever_the_log(dms: FakeDms, run: Run, checkout: Path, stdout: str) -> None:
    replay(dms, "dags list-import-errors", "list_import_errors__broken__json")
    replay(dms, "dags list-import-errors -o json -v", "list_import_errors__broken_verbose_json")
    dms.airflow.commands["dags reserialize"] = (stdout, "")
    dms.airflow.store([make_dag("lab_quick", "t0")])
    dms.airflow.effects["dags reserialize"] = lambda: dms.airflow.store([make_dag("lab_quick", "t1")])
    dms.airflow.route("GET", "/api/v1/dags/lab_quick/details", {"dag_id": "lab_quick"})

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == 1
    assert dms.commands() == [["dags", "reserialize"], LISTED, [*LISTED, "-v"]]
    assert step.outputs["import-error-count"] == "33"
    assert all((checkout / one.properties["file"]).is_file() for one in step.annotations[:9])


@pytest.mark.parametrize("capture", ["braces", "bare"])
def test_a_dag_that_does_not_serialize_fails_the_chain_of_the_readme(
    dms: FakeDms, run: Run, workspace: Path, capture: str
) -> None:
    (workspace / "dags").mkdir()
    (workspace / "dags" / "weekly_close.py").write_text("from airflow import DAG\n\nDAG('weekly_close')\n")
    write_dags(dms, [make_dag("daily_orders", "t0")], [make_dag("daily_orders", "t1"), make_dag("weekly_close", "t1")])
    dms.airflow.route("GET", "/api/v1/dags/weekly_close/details", {"title": "DAG not found", "status": 404}, 404)
    if capture == "braces":
        told = json.loads((LOG_FORMATS / "reserialize__does_not_serialize__braces.json").read_text("utf-8"))
        dms.airflow.commands["dags reserialize"] = (told["stdout"], told["stderr"])
    else:
        dms.airflow.commands["dags reserialize"] = (SILENT["bare"], "")

    step = run({"operation": "cli", "arguments": "dags list-import-errors\ndags reserialize"})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert (annotation.properties["file"], annotation.properties["line"]) == ("dags/weekly_close.py", "3")
    reason = "Timetable class 'unusual_prefix_" if capture == "braces" else "the log of dags reserialize says why"
    assert f"SerializationError: Failed to serialize DAG 'weekly_close': {reason}" in annotation.data


@pytest.mark.parametrize("now_served", [404, 200])
def test_a_dag_that_the_web_server_serves_from_its_memory_is_fetched_again(
    dms: FakeDms, run_here: Run, clock: FakeClock, now_served: int
) -> None:
    """As Airflow 2 does for 10 s: what it loaded before says nothing about what was serialized since."""
    write_dags(dms, [make_dag("etl", "2026-11-29T10:00:00+00:00")], [make_dag("etl", "2026-11-29T10:05:00+00:00")])
    dms.airflow.commands["dags reserialize"] = ("", "")
    started = clock.monotonic()
    place = "/api/v1/dags/etl/details"

    def serve(method: str, target: str, headers: object, body: bytes) -> Any:
        is_cached = clock.monotonic() < started + 10
        loaded = "2026-11-29T10:04:59+00:00" if is_cached else "2026-11-29T10:05:09+00:00"
        content = {"dag_id": "etl", "last_parsed": loaded}
        dms.airflow.route("GET", place, content, 200 if is_cached else now_served)
        return FakeAirflow.request(dms.airflow, method, target, headers, body)

    dms.airflow.request = serve  # type: ignore[method-assign]

    step = run_here({"operation": "dags reserialize"})

    assert step.exit_code == (1 if now_served == 404 else 0), step.log
    assert step.outputs["import-error-count"] == ("1" if now_served == 404 else "0")
    assert "Waiting for Airflow's web server to read DAG etl again" in step.log
    assert dms.paths.count(f"GET {place}") == 6  # each two seconds


def test_a_web_server_that_never_reads_a_dag_again_proves_nothing(dms: FakeDms, run_here: Run) -> None:
    write_dags(dms, [make_dag("etl", "2026-11-29T10:00:00+00:00")], [make_dag("etl", "2026-11-29T10:05:00+00:00")])
    dms.airflow.commands["dags reserialize"] = ("", "")
    loaded = {"dag_id": "etl", "last_parsed": "2026-11-29T10:04:59+00:00"}
    dms.airflow.route("GET", "/api/v1/dags/etl/details", loaded)

    step = run_here({"operation": "dags reserialize"})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Unusable answer"
    assert "Whether DAG etl serializes is not known" in annotation.data
    assert "Run the step again." in annotation.data


@pytest.mark.parametrize(
    ("after", "exit_code", "titles"),
    [
        ([make_dag("etl", "t0"), make_dag("other", "t0")], 1, ["Result not known"]),
        ([make_dag("etl", "t0"), make_dag("other", "t1")], 0, []),
    ],
)
def test_a_reserialize_that_was_ended_is_not_a_success(
    dms: FakeDms, run: Run, after: list[dict[str, object]], exit_code: int, titles: list[str]
) -> None:
    """Killed, for example: the process leaves no word."""
    dms.airflow.commands["dags reserialize"] = (SILENT["default"], "")
    write_dags(dms, [make_dag("etl", "t0"), make_dag("other", "t0")], after)

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == exit_code
    assert [one.properties["title"] for one in step.annotations] == titles
    assert all("sys.exit" not in one.data or "is not known" in one.data for one in step.annotations)


CLASH = """Traceback (most recent call last):
  File "/usr/local/lib/python3.11/site-packages/airflow/__main__.py", line 62, in main
    args.func(args)
sqlalchemy.exc.IntegrityError: (sqlite3.IntegrityError) UNIQUE constraint failed: dag.dag_id
"""


@pytest.mark.parametrize(("stdout", "stderr"), [("", CLASH), (CLASH, "")], ids=["ended", "logged"])
@pytest.mark.parametrize("clashes", [1, 2, 3])
def test_a_reserialize_that_another_writer_rolled_back_runs_again(
    dms: FakeDms, run: Run, stdout: str, stderr: str, clashes: int
) -> None:
    before = [make_dag("etl", "t0"), make_dag("other", "t0")]
    after = [make_dag("etl", "t1"), make_dag("other", "t1")]
    write_dags(dms, before, after)
    dms.airflow.commands["dags reserialize"] = (stdout, stderr)

    runs = itertools.count(1)

    def reserialize() -> None:
        # The scheduler, too, stores one of the DAGs.
        number = next(runs)
        dms.airflow.store([make_dag("etl", f"s{number}"), make_dag("other", "t0")])
        if number > clashes:
            dms.airflow.commands["dags reserialize"] = ("", "")
            dms.airflow.store(after)

    dms.airflow.effects["dags reserialize"] = reserialize

    step = run({"operation": "dags reserialize"})

    assert dms.commands().count(["dags", "reserialize"]) == min(clashes + 1, 3)
    if clashes < 3:
        assert (step.exit_code, step.annotations) == (0, []), step.log
        assert "It met another writer of the database, and wrote nothing." in step.log
        return
    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Airflow command failed"
    assert "3 times it met another writer of the database" in annotation.data
    assert "Run the step again." in annotation.data


def test_a_reserialize_that_a_dag_file_ends_is_not_a_success(dms: FakeDms, run: Run) -> None:
    replay(dms, "dags reserialize", "reserialize__sysexit")
    replay(dms, "dags list-import-errors", "list_import_errors__sysexit_json")
    dms.airflow.store([make_dag("etl", "t0")])

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Result not known"]
    words = "`dags list-import-errors` gave no result afterwards: configuration is missing, giving up"
    assert words in step.annotations[0].data


def test_reserialize_is_not_run_where_the_database_cannot_be_read(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags reserialize"] = (SILENT["default"], "")

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == 1
    assert dms.commands() == []
    assert [one.properties["title"] for one in step.annotations] == ["Unusable answer"]


def test_the_authors_own_output_format_is_kept(dms: FakeDms, run: Run) -> None:
    replay(dms, "dags list-import-errors", "list_import_errors__none__yaml")

    step = run({"operation": "dags list-import-errors", "arguments": "--output=yaml --verbose"})

    assert dms.commands() == [["dags", "list-import-errors", "--output=yaml", "--verbose"]]
    assert step.exit_code == 0


def test_a_trigger_makes_its_run_id_and_tells_the_run(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags trigger"] = (TRIGGERED, "")

    step = run({"operation": "dags trigger", "arguments": "etl", "conf": '{"day": "2026-11-22",\n "n": 1.0}'})

    (words,) = dms.commands()
    assert words[:4] == ["dags", "trigger", "etl", "--run-id"]
    assert words[4].startswith("gha__4711-1-deploy-__dms-airflow__")
    assert words[5:] == ["--conf", '{"day": "2026-11-22",  "n": 1.0}', "-o", "json"]
    assert step.exit_code == 0
    assert (step.outputs["dag-id"], step.outputs["run-id"], step.outputs["run-state"]) == ("etl", "manual__1", "queued")
    assert step.outputs["run-url"].endswith("/dags/etl/grid?dag_run_id=manual__1")


def test_two_triggers_never_share_a_run_id(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags trigger"] = (TRIGGERED, "")

    run({"operation": "dags trigger", "arguments": "etl"})
    run({"operation": "dags trigger", "arguments": "etl"})

    first, second = dms.commands()
    assert first[4] != second[4]


@pytest.mark.parametrize(
    ("inputs", "name"), [({"arguments": ""}, "arguments"), ({"arguments": "etl -c '{}'", "conf": "{}"}, "conf")]
)
def test_a_trigger_that_cannot_be_meant(dms: FakeDms, run: Run, inputs: dict[str, str], name: str) -> None:
    step = run({"operation": "dags trigger", **inputs})

    assert step.exit_code == 2
    assert [one.properties["title"] for one in step.annotations] == [f"Wrong input: {name}"]
    assert dms.received == []


def test_providers_triggerer_is_sent_by_airflows_name_for_it(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["providers triggers"] = ("[]\n", "")

    run({"operation": "providers triggerer", "arguments": "-o json"})

    assert dms.commands() == [["providers", "triggers", "-o", "json"]]


@pytest.mark.check
def test_several_commands_one_login(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands |= {"version": ("2.10.4\n", ""), "dags trigger": (TRIGGERED, "")}

    step = run({"operation": "cli", "arguments": "# two\nversion\n\ndags trigger etl\n"})

    assert step.exit_code == 0
    assert dms.paths == ["POST /", "GET /login", "POST /api/v1/command", "POST /api/v1/command"]
    assert [(one["command"], one["status"]) for one in step.read_json("json")] == [
        ("version", "success"),
        ("dags trigger etl", "success"),
    ]
    assert step.outputs["airflow-version"] == "2.10.4"
    assert step.outputs["run-id"] == "manual__1"
    assert "2 commands succeeded" in step.summary


def test_commands_stop_at_the_first_that_fails(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands |= {"variables get": ("", "Variable x does not exist\n"), "version": ("2.10.4\n", "")}

    step = run({"operation": "cli", "arguments": "version\nvariables get x\nversion\nversion"})

    assert step.exit_code == 1
    assert [one["status"] for one in step.read_json("json")] == ["success", "failure", "not run", "not run"]
    assert "Variable x does not exist; 2 more not run" in step.log
    assert len(dms.commands()) == 2


def test_a_fault_in_the_middle_keeps_what_was_known(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["version"] = ("2.10.4\n", "")
    dms.fail("command", lambda _: None)
    dms.fail("command", answer(500, b"<h1>Ooops!</h1>", HTML))

    step = run({"operation": "cli", "arguments": "version\nvariables delete x\nversion"})

    assert step.exit_code == 1
    assert [one["status"] for one in step.read_json("json")] == ["success", "failure", "not run"]
    assert step.outputs["airflow-version"] == "2.10.4"
    assert [one.properties["title"] for one in step.annotations] == ["Unusable answer"]


def test_wrong_commands_are_told_by_line_without_their_secrets(dms: FakeDms, run: Run) -> None:
    arguments = "version\nconnections ad x --conn-password hunter2-hunter2\nairflow dags list\ndags trigger\n'open"

    step = run({"operation": "cli", "arguments": arguments})

    assert step.exit_code == 2
    assert dms.received == []
    (annotation,) = step.annotations
    for words in (
        'line 2: unknown command "connections ad"; did you mean "connections add"?',
        "line 3: write the command without `airflow`, for example `dags list`",
        "line 4: must name the DAG to trigger",
        "line 5: cannot be split into words",
    ):
        assert words in annotation.data
    assert "hunter2" not in step.stdout


def test_passwords_in_commands_are_masked_also_where_airflow_echoes_them(dms: FakeDms, run: Run) -> None:
    uri = "http://user:s3cr%2Ft-word@host"
    dms.airflow.commands["connections add"] = (f"Successfully added `conn_id`=web : {uri}\n", "a warning with s3cr/t-word\n")

    step = run({"operation": "connections add", "arguments": f"web --conn-uri {uri}"}, None, "s3cr%2Ft-word", "s3cr/t-word")

    assert step.exit_code == 0
    assert step.outputs["stdout"] == "Successfully added `conn_id`=web : ***\n"
    assert "$ airflow connections add web --conn-uri ***" in step.log


def test_a_variables_value_is_an_output_but_not_in_the_log(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["variables get"] = ("the value of it\n", "")

    step = run({"operation": "variables get", "arguments": "x"})

    assert step.outputs["stdout"] == "the value of it\n"
    assert "the value of it" in step.masks
    assert "the value of it" not in step.log
    assert "the value of it" not in step.summary


@pytest.mark.check
def test_a_rest_read(dms: FakeDms, run: Run) -> None:
    dms.airflow.route("GET", "/api/v1/dags?limit=1", {"dags": [{"dag_id": "etl"}], "total_entries": 2})

    step = run({"operation": "rest", "arguments": "GET /dags?limit=1"})

    assert step.exit_code == 0
    assert dms.paths == ["POST /", "GET /login", "GET /api/v1/version", "GET /api/v1/dags"]
    assert step.outputs["status-code"] == "200"
    assert step.read_json("json") == {"dags": [{"dag_id": "etl"}], "total_entries": 2}
    assert "GET /api/v1/dags answered 200" in step.log


def test_a_rest_write_sends_its_body(dms: FakeDms, run: Run) -> None:
    dms.airflow.route("PATCH", "/api/v1/dags/etl", {"dag_id": "etl", "is_paused": False})

    step = run({"operation": "rest", "arguments": "patch /dags/etl", "body": '{"is_paused": false}'})

    assert step.exit_code == 0
    assert dms.received[-1].body == b'{"is_paused": false}'
    assert dms.received[-1].headers["Content-Type"] == "application/json"


def test_every_page_of_a_list(dms: FakeDms, run: Run) -> None:
    first = [{"dag_id": f"dag_{number}"} for number in range(100)]
    second = [{"dag_id": f"dag_{number}"} for number in range(100, 150)]
    dms.airflow.route("GET", "/api/v1/dags?tags=a&limit=100&offset=0", {"dags": first, "total_entries": 150})
    dms.airflow.route("GET", "/api/v1/dags?tags=a&limit=100&offset=100", {"dags": second, "total_entries": 150})

    step = run({"operation": "rest", "arguments": "GET /dags?tags=a&limit=5 --paginate"})

    assert step.exit_code == 0
    whole = step.read_json("json")
    assert [dag["dag_id"] for dag in whole["dags"]] == [f"dag_{number}" for number in range(150)]
    assert len(dms.received) == 5


def test_pages_too_long_to_be_indented_are_shown_from_the_first_on(dms: FakeDms, run: Run) -> None:
    first, last = {"dag_id": "first"}, {"dag_id": "last", "description": "v" * 1_100_000}
    dms.airflow.route("GET", "/api/v1/dags?limit=100&offset=0", {"dags": [first], "total_entries": 2})
    dms.airflow.route("GET", "/api/v1/dags?limit=1&offset=1", {"dags": [last], "total_entries": 2})

    step = run({"operation": "rest", "arguments": "GET /dags --paginate"})

    assert step.exit_code == 0
    assert '{"dags": [{"dag_id": "first"}, {"dag_id": "last", "description": "vvv' in step.stdout


def test_pages_that_end_early_are_no_whole_list(dms: FakeDms, run: Run) -> None:
    dms.airflow.route("GET", "/api/v1/dags?limit=100&offset=0", {"dags": [{"dag_id": "etl"}], "total_entries": 3})
    for offset in (1, 2):
        dms.airflow.route("GET", f"/api/v1/dags?limit=1&offset={offset}", {"dags": [], "total_entries": 3})

    step = run({"operation": "rest", "arguments": "GET /dags --paginate"})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert "has 3 entries, but its pages ended after 1" in annotation.data


def test_a_page_that_fails_fails_the_step(dms: FakeDms, run: Run) -> None:
    entries = [{"dag_id": f"dag_{number}"} for number in range(100)]
    dms.airflow.route("GET", "/api/v1/dags?limit=100&offset=0", {"dags": entries, "total_entries": 150})

    step = run({"operation": "rest", "arguments": "GET /dags --paginate"})

    assert step.exit_code == 1
    assert step.outputs["status-code"] == "404"


@pytest.mark.parametrize("status", [400, 404, 409, 500, 308])
def test_a_status_that_is_no_success_fails(dms: FakeDms, run: Run, status: int) -> None:
    dms.airflow.route("POST", "/api/v1/dags/etl/dagRuns", {"title": "Told so", "detail": None, "status": status}, status)

    step = run({"operation": "rest", "arguments": "POST /dags/etl/dagRuns"})

    assert step.exit_code == 1
    assert step.outputs["status-code"] == str(status)
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Airflow refused the request"
    assert f"answered {status}: Told so" in annotation.data


@pytest.mark.parametrize("fault", [answer(200, b"<h1>Hello</h1>", HTML), answer(200, b'{"dags": [', JSON)])
def test_a_success_that_cannot_be_one(dms: FakeDms, run: Run, fault: object) -> None:
    dms.fail("rest", fault)  # type: ignore[arg-type]

    step = run({"operation": "rest", "arguments": "GET /dags"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Unusable answer"]


def test_an_empty_success(dms: FakeDms, run: Run) -> None:
    dms.fail("rest", answer(204))

    step = run({"operation": "rest", "arguments": "DELETE /variables/x"})

    assert step.exit_code == 0
    assert step.outputs["json"] == ""
    assert step.outputs["status-code"] == "204"


def test_secrets_of_others_are_not_printed(dms: FakeDms, run: Run) -> None:
    dms.airflow.route("GET", "/api/v1/variables", {"variables": [{"key": "k", "value": "v4lue-of-k"}], "total_entries": 1})

    step = run({"operation": "rest", "arguments": "GET /variables"})

    assert step.read_json("json")["variables"][0]["value"] == "v4lue-of-k"
    assert "v4lue-of-k" not in step.stdout
    assert "v4lue-of-k" not in step.summary


def test_a_body_with_a_password_stays_secret(dms: FakeDms, run: Run) -> None:
    dms.airflow.route("POST", "/api/v1/connections", {"connection_id": "db", "password": "p4ssw0rd!"})

    step = run(
        {"operation": "rest", "arguments": "POST /connections", "body": '{"connection_id": "db", "password": "p4ssw0rd!"}'},
        None,
        "p4ssw0rd!",
    )

    assert step.exit_code == 0
    assert step.read_json("json")["password"] == "***"


def test_what_unpause_did_not_change_is_a_warning(dms: FakeDms, run: Run) -> None:
    replay(dms, "dags unpause", "unpause__missing")

    step = run({"operation": "dags unpause", "arguments": "-o json etl"})

    assert step.exit_code == 0
    (annotation,) = step.annotations
    assert (annotation.name, annotation.properties["title"]) == ("warning", "Nothing changed")
    assert "the DAG is in this state already, or does not exist" in annotation.data


# `make bench` does the same with 50 MB: looking for leaks in those takes minutes.
def test_a_response_of_twelve_megabytes_is_shown_and_written_like_any_other(dms: FakeDms, run: Run, workspace: Path) -> None:
    body = {"dags": [{"dag_id": f"dag_{number}", "text": "y" * 480} for number in range(24_000)], "total_entries": 24_000}
    body["dags"][23_999]["text"] = "\N{GRINNING FACE}"  # type: ignore[index]
    dms.fail("rest", answer(200, json.dumps(body, ensure_ascii=False).encode(), JSON))

    step = run({"operation": "rest", "arguments": "GET /dags", "result-file": "result.json"})

    assert step.exit_code == 0
    assert json.loads((workspace / "result.json").read_text())["outputs"]["json"] == body


def test_twelve_megabytes_of_a_command_are_written_as_they_came(dms: FakeDms, run: Run, workspace: Path) -> None:
    half = f"{'x' * 99}\n" * 60_000
    printed = f"digraph etl {{\n{half}\N{GRINNING FACE} é\n{half}"
    dms.airflow.commands["dags show"] = (printed, "")

    step = run({"operation": "dags show", "arguments": "etl", "result-file": "result.json"})

    assert step.exit_code == 0
    assert "bytes left out …]" in step.outputs["stdout"]
    assert json.loads((workspace / "result.json").read_text())["outputs"]["stdout"] == printed


def test_a_response_above_sixty_four_megabytes_is_refused(dms: FakeDms, run: Run) -> None:
    dms.fail("rest", answer(200, b'["' + b"x" * (64 * 1024 * 1024) + b'"]', JSON))

    step = run({"operation": "rest", "arguments": "GET /dags"})

    assert step.exit_code == 1
    (error,) = step.annotations
    assert error.properties["title"] == "Unusable answer"
    assert "is longer than 64 MB." in error.data
    assert "Request less, e.g. with limit= in the query" in error.data
