"""Import errors of Airflow 3: in words that make it import the files, or of its dag-processor where these words lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.fake_dms import FakeAirflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

CAPTURES = Path(__file__).parents[1] / "captures"
DAGS = "/api/v2/dags?exclude_stale=false&order_by=dag_id&limit=100&offset=0"
ERRORS = "/api/v2/importErrors?order_by=import_error_id&limit=100&offset=0"
NOW = ["dags", "list-import-errors", "-o", "json", "-v", "--local", "-B", "dags-folder"]
STORED = ["dags", "list-import-errors", "-o", "json", "-v"]
BROKEN = "list_import_errors__broken_local_bundle_verbose_json"


def read(folder: str, name: str) -> tuple[str, str]:
    content = json.loads((CAPTURES / "airflow-3.2.2" / folder / f"{name}.json").read_text("utf-8"))
    return content["stdout"], content["stderr"]


@pytest.fixture
def airflow(dms: FakeDms) -> FakeAirflow:
    dms.airflow.version = "3.2.2"
    dms.airflow.commands = {
        "dags list-import-errors -o json -v": read("cli/dags", "list_import_errors__none__json"),
        "dags list-import-errors -o json -v --local": read("cli/dags", BROKEN),
    }
    return dms.airflow


@pytest.fixture
def checkout(workspace: Path) -> Path:
    shutil.copytree(CAPTURES / "airflow-2.10.4" / "dags" / "broken", workspace / "dags")
    return workspace


def make_dag(dag_id: str, parsed: str, *, stale: bool = False) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "fileloc": f"/opt/airflow/dags/{dag_id}.py",
        "relative_fileloc": f"{dag_id}.py",
        "bundle_name": "dags-folder",
        "file_token": f"token-{dag_id}",
        "last_parsed_time": parsed,
        "is_stale": stale,
        "has_import_errors": stale,
    }


def store(airflow: FakeAirflow, dags: list[dict[str, Any]], errors: list[dict[str, Any]]) -> None:
    airflow.route("GET", DAGS, {"dags": dags, "total_entries": len(dags)})
    airflow.route("GET", ERRORS, {"import_errors": errors, "total_entries": len(errors)})


def test_every_import_error_is_on_the_line_to_fix(dms: FakeDms, airflow: FakeAirflow, run: Run, checkout: Path) -> None:
    step = run({"operation": "dags list-import-errors"})

    assert airflow.version == "3.2.2"
    assert step.exit_code == 1
    assert dms.commands() == [STORED, NOW]
    assert step.outputs["import-error-count"] == "33"
    places = {error["instance_path"]: (error["file"], error["line"]) for error in step.read_json("import-errors")}
    assert places["/opt/airflow/dags/syntax_error.py"] == ("dags/syntax_error.py", 8)
    assert places["/opt/airflow/dags/helper_raises.py"] == ("dags/lablib/helpers.py", 10)
    assert places["/opt/airflow/dags/dup_a.py"] == ("dags/dup_a.py", 5)
    assert all((checkout / one.properties["file"]).is_file() for one in step.annotations[:9])


def test_airflow_2_is_asked_once_and_for_nothing_else(dms: FakeDms, run: Run) -> None:
    content = json.loads((CAPTURES / "airflow-2.10.4/cli/dags/list_import_errors__broken_verbose_json.json").read_text("utf-8"))
    dms.airflow.commands["dags list-import-errors"] = (content["stdout"], content["stderr"])

    run({"operation": "dags list-import-errors"})

    assert dms.commands() == [STORED]
    assert len(dms.received) == 3


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("--local", [["dags", "list-import-errors", "--local", "-o", "json", "-v", "-B", "dags-folder"]]),
        (
            "-B dags-folder",
            [
                ["dags", "list-import-errors", "-B", "dags-folder", "-o", "json", "-v"],
                ["dags", "list-import-errors", "-B", "dags-folder", "-o", "json", "-v", "--local"],
            ],
        ),
        ("--local -B dags-folder", [["dags", "list-import-errors", "--local", "-B", "dags-folder", "-o", "json", "-v"]]),
    ],
)
def test_what_the_author_gave_is_not_given_twice(
    dms: FakeDms, airflow: FakeAirflow, run: Run, arguments: str, sent: list[list[str]]
) -> None:
    airflow.commands["dags list-import-errors"] = ("[]\n", "")

    step = run({"operation": "dags list-import-errors", "arguments": arguments})

    assert step.exit_code == 0
    assert dms.commands() == sent


def test_other_bundles_are_learnt_from_the_log(dms: FakeDms, airflow: FakeAirflow, run: Run) -> None:
    ours = "dags list-import-errors -o json -v --local -B ours -B theirs"
    airflow.commands["dags list-import-errors -o json -v --local"] = read(
        "cli/dags", "list_import_errors__bundles_missing_verbose_json"
    )
    airflow.commands[ours] = ('[{"bundle_name": "theirs", "filepath": "x.py", "error": "KeyError: 1"}]\n', "")

    step = run({"operation": "dags list-import-errors"})

    assert dms.commands() == [STORED, NOW, ours.split()]
    assert (step.exit_code, step.outputs["import-error-count"]) == (1, "1")


def test_where_its_own_import_lies_the_dag_processor_is_followed(dms: FakeDms, airflow: FakeAirflow, run_here: Run) -> None:
    airflow.version = "3.1.0"
    row = {"filename": "etl.py", "bundle_name": "dags-folder", "stack_trace": "KeyError: 1", "timestamp": "t1"}
    store(airflow, [make_dag("etl", "t0", stale=True), make_dag("good", "t1")], [row])
    asked: list[str] = []

    def parse(method: str, target: str, headers: object, body: bytes) -> Any:
        if method == "PUT":
            asked.append(target.rpartition("/")[2])
            again = {**row, "timestamp": "t2"}
            store(airflow, [make_dag("etl", "t0", stale=True), make_dag("good", "t2")], [again])
            airflow.route("PUT", f"/api/v2/parseDagFile/{asked[-1]}", None, 201)
        return FakeAirflow.request(airflow, method, target, headers, body)

    airflow.request = parse  # type: ignore[method-assign]
    listed = '[{"bundle_name": "dags-folder", "filepath": "etl.py", "error": "KeyError: 1"}]\n'
    airflow.commands["dags list-import-errors -o json -v"] = (listed, "")

    step = run_here({"operation": "dags list-import-errors"})

    assert sorted(asked) == ["token-etl", "token-good"]
    assert dms.commands() == [STORED, STORED]
    assert [error["instance_path"] for error in step.read_json("import-errors")] == ["/opt/airflow/dags/etl.py"]
    assert [one.properties["title"] for one in step.annotations] == ["DAG import error: KeyError"]


def test_a_dag_processor_that_does_not_run_makes_the_list_doubtful(airflow: FakeAirflow, run_here: Run) -> None:
    airflow.version = "3.0.6"
    store(airflow, [make_dag("etl", "t0")], [])

    step = run_here({"operation": "dags list-import-errors"})

    assert step.exit_code == 0
    assert [(one.name, one.properties["title"]) for one in step.annotations] == [("warning", "Import errors may be old")]
    assert "/opt/airflow/dags/etl.py" in step.annotations[0].data


def test_what_reserialize_left_behind_in_3_0_does_not_count(airflow: FakeAirflow, run_here: Run) -> None:
    airflow.version = "3.0.6"
    store(airflow, [], [])
    stdout, stderr = read("other/3.0.6", "import_errors_db")
    airflow.commands["dags list-import-errors -o json -v"] = (stdout, stderr)

    step = run_here({"operation": "dags list-import-errors"})

    assert (step.exit_code, step.outputs["import-errors"]) == (0, "[]")
    assert "Left out: 2 import errors that dags reserialize stored on this Airflow." in step.log


@pytest.mark.parametrize("version", ["3.0.6", "3.1.0"])
def test_reserialize_is_run_as_asked_and_doubted_where_it_lies(
    dms: FakeDms, airflow: FakeAirflow, run: Run, version: str
) -> None:
    airflow.version = version
    airflow.commands["dags reserialize"] = read(f"other/{version}", "reserialize")

    step = run({"operation": "dags reserialize"})

    assert dms.commands() == [["dags", "reserialize"]]
    assert step.outputs["import-error-count"] == "2"
    assert [one.properties["title"] for one in step.annotations] == [
        "DAG import error: SyntaxError",
        "DAG import error: ModuleNotFoundError",
        "Import errors may be false",
    ]
    assert f"On Airflow {version} this command" in step.annotations[2].data


def test_reserialize_of_3_2_names_its_import_errors_without_a_doubt(
    dms: FakeDms, airflow: FakeAirflow, run: Run, checkout: Path
) -> None:
    airflow.commands["dags reserialize"] = read("cli/dags", "reserialize__broken")

    step = run({"operation": "dags reserialize"})

    assert checkout.is_dir()
    assert dms.commands() == [["dags", "reserialize"]]
    assert (step.exit_code, step.outputs["import-error-count"]) == (1, "33")
    assert {one.name for one in step.annotations} == {"error"}


@pytest.mark.parametrize("known", [True, False])
def test_a_dag_that_ends_reserialize_is_told_on_its_line(
    dms: FakeDms, airflow: FakeAirflow, run: Run, workspace: Path, *, known: bool
) -> None:
    shutil.copytree(CAPTURES / "airflow-2.10.4" / "dags" / "serialize", workspace / "dags")
    airflow.commands["dags reserialize"] = read("cli/dags", "reserialize__serialize")
    files = [{"file": "bad_timetable.py", "duration": "0:00:00.01", "dag_num": "1", "task_num": "1", "dags": ["bad_timetable"]}]
    airflow.commands["dags report -o json"] = (f"{json.dumps(files if known else [])}\n", "")

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == 1
    assert dms.commands() == [["dags", "reserialize"], ["dags", "report", "-o", "json"]]
    places = {error["exception"]: (error["file"], error["line"]) for error in step.read_json("import-errors")}
    not_imported = {"ParamValidationError": ("dags/not_serializable.py", 12)}
    assert places == ({"SerializationError": ("dags/bad_timetable.py", 12)} if known else {}) | not_imported
    assert "Failed to serialize DAG 'bad_timetable'" in step.annotations[0].data


def test_a_dag_that_ends_reserialize_is_told_when_airflow_does_not_name_its_file(airflow: FakeAirflow, run: Run) -> None:
    airflow.commands["dags reserialize"] = ("", read("cli/dags", "reserialize__serialize")[1])
    airflow.commands["dags report -o json"] = ("", "Killed\n")

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == 1
    assert "Failed to serialize DAG 'bad_timetable'" in step.annotations[0].data
