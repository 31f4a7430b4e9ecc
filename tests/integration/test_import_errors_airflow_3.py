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
NOW = ["dags", "list-import-errors", "-o", "json", "--local", "-B", "dags-folder"]
VERBOSELY = [*NOW, "-v"]
STORED = ["dags", "list-import-errors", "-o", "json"]
BROKEN = "list_import_errors__broken_local_bundle_json"
VERBOSE = "list_import_errors__broken_local_bundle_verbose_json"


def read(folder: str, name: str) -> tuple[str, str]:
    content = json.loads((CAPTURES / "airflow-3.2.2" / folder / f"{name}.json").read_text("utf-8"))
    return content["stdout"], content["stderr"]


@pytest.fixture
def airflow(dms: FakeDms) -> FakeAirflow:
    dms.airflow.version = "3.2.2"
    dms.airflow.commands = {
        "dags list-import-errors -o json": read("cli/dags", "list_import_errors__none__json"),
        " ".join(NOW): read("cli/dags", BROKEN),
        " ".join(VERBOSELY): read("cli/dags", VERBOSE),
    }
    dms.airflow.store([make_dag("lab_quick", "t0")])
    return dms.airflow


@pytest.fixture
def checkout(workspace: Path) -> Path:
    shutil.copytree(CAPTURES / "airflow-2.10.4" / "dags" / "broken", workspace / "dags")
    return workspace


def make_dag(dag_id: str, parsed: str, *, stale: bool = False, bundle: str = "dags-folder") -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "fileloc": f"/opt/airflow/{bundle.removesuffix('-folder')}/{dag_id}.py",
        "relative_fileloc": f"{dag_id}.py",
        "bundle_name": bundle,
        "file_token": f"token-{dag_id}",
        "last_parsed_time": parsed,
        "is_stale": stale,
        "has_import_errors": stale,
    }


def test_every_import_error_is_on_the_line_to_fix(dms: FakeDms, airflow: FakeAirflow, run: Run, checkout: Path) -> None:
    step = run({"operation": "dags list-import-errors"})

    assert airflow.version == "3.2.2"
    assert step.exit_code == 1
    assert dms.commands() == [VERBOSELY]
    assert step.outputs["import-error-count"] == "33"
    places = {error["instance_path"]: (error["file"], error["line"]) for error in step.read_json("import-errors")}
    assert places["/opt/airflow/dags/syntax_error.py"] == ("dags/syntax_error.py", 8)
    assert places["/opt/airflow/dags/helper_raises.py"] == ("dags/lablib/helpers.py", 10)
    assert places["/opt/airflow/dags/dup_a.py"] == ("dags/dup_a.py", 5)
    assert all((checkout / one.properties["file"]).is_file() for one in step.annotations[:9])


TOKEN = "t0ken-of-the-catalogue"
NOISY = json.loads((CAPTURES / "log-formats/list_import_errors__sound__verbose_shows_a_secret_airflow3.json").read_text())


def test_of_what_our_own_option_makes_airflow_print_only_the_result_is_shown(
    dms: FakeDms, airflow: FakeAirflow, run: Run
) -> None:
    """With `-v` every library logs: here a token in a URL."""
    rows = [{"bundle_name": "dags-folder", "filepath": "etl.py", "error": "KeyError: 'ä'"}]
    assert TOKEN in NOISY["stdout"]
    airflow.commands[" ".join(VERBOSELY)] = (
        NOISY["stdout"].replace("[]\n", f"{json.dumps(rows)}\n{TOKEN}\n"),
        f"{TOKEN} on stderr\n",
    )

    step = run({"operation": "dags list-import-errors", "result-file": "all.json"}, None, TOKEN)

    assert dms.commands() == [VERBOSELY]
    assert step.outputs["stdout"] == """[{"bundle_name": "dags-folder", "filepath": "etl.py", "error": "KeyError: 'ä'"}]\n"""
    assert step.outputs["stderr"] == ""
    assert "$ airflow dags list-import-errors -o json --local -B dags-folder -v  (only its result is shown)" in step.log
    assert TOKEN not in (step.workspace / "all.json").read_text("utf-8")


@pytest.mark.parametrize("stderr", ["", f"{TOKEN}\n"])
def test_without_a_result_the_command_runs_again_and_shows_its_error(
    dms: FakeDms, airflow: FakeAirflow, run: Run, stderr: str
) -> None:
    """What ended the command may be among what a library logs, so that no word of that is shown."""
    airflow.commands[" ".join(VERBOSELY)] = (NOISY["stdout"].replace("[]\n", f"{TOKEN}\n"), stderr)
    airflow.commands[" ".join(NOW)] = ("printed by a DAG file\n", "Segmentation fault\n")

    step = run({"operation": "dags list-import-errors"}, None, TOKEN)

    assert step.exit_code == 1
    assert dms.commands() == [VERBOSELY, NOW]
    assert [one.properties["title"] for one in step.annotations] == ["Result not known"]
    assert "Segmentation fault" in step.annotations[0].data
    assert (step.outputs["stdout"], step.outputs["stderr"]) == ("printed by a DAG file\n", "Segmentation fault\n")


def test_a_verbose_response_that_is_too_long_is_done_without(
    dms: FakeDms, airflow: FakeAirflow, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dms_airflow.core.http.exchange.LONGEST_ANSWER", 200_000)
    airflow.commands[" ".join(VERBOSELY)] = (f"{'DEBUG ' * 50_000}\n[]\n", "")
    airflow.commands[" ".join(NOW)] = ("[]\n", "")

    step = run_here({"operation": "dags list-import-errors", "warnings": "false"})

    assert step.exit_code == 0
    assert dms.commands() == [VERBOSELY, NOW]
    assert step.outputs["stdout"] == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        # The author's own -v: what it prints is shown, and has the warnings.
        ("-v", [["-v", "-o", "json", "--local", "-B", "dags-folder"]]),
        ("--local --verbose", [["--local", "--verbose", "-o", "json", "-B", "dags-folder"]]),
        # The author's own command imports the files, or has another form: what it prints is shown.
        ("--local", [["--local", "-o", "json", "-B", "dags-folder"], ["--local", "-o", "json", "-B", "dags-folder", "-v"]]),
        ("-o yaml", [["-o", "yaml", "--local", "-B", "dags-folder"], ["-o", "yaml", "--local", "-B", "dags-folder", "-v"]]),
    ],
)
def test_what_the_authors_own_command_prints_is_shown(
    dms: FakeDms, airflow: FakeAirflow, run: Run, arguments: str, sent: list[list[str]]
) -> None:
    for words in sent:
        shown = "printed by a DAG file\n[]\n" if words is sent[0] else NOISY["stdout"]
        airflow.commands[" ".join(["dags list-import-errors", *words])] = (shown, "")

    step = run({"operation": "dags list-import-errors", "arguments": arguments}, None, TOKEN)

    assert step.exit_code == 0
    assert dms.commands() == [["dags", "list-import-errors", *words] for words in sent]
    assert step.outputs["stdout"] == "printed by a DAG file\n[]\n"
    assert ("its output is not shown" in step.log) is (len(sent) > 1)


def test_errors_that_are_gone_are_named(airflow: FakeAirflow, run_here: Run, workspace: Path) -> None:
    """The action's own -B chooses all bundles: no error can be missing."""
    known = {"instance_path": "/opt/airflow/dags/old.py", "exception": "KeyError", "message": "1"}
    (workspace / "known.json").write_text(json.dumps([known]))
    airflow.commands[" ".join(VERBOSELY)] = ("[]\n", "")

    step = run_here({"operation": "dags list-import-errors", "baseline": "known.json"})

    assert "No import errors, 1 resolved" in step.log


@pytest.mark.parametrize(("warnings", "further"), [("true", ["GET /api/v1/dagWarnings"]), ("false", [])])
def test_airflow_2_is_asked_for_its_version_and_its_warnings_only(
    dms: FakeDms, run: Run, warnings: str, further: list[str]
) -> None:
    dms.airflow.commands["dags list-import-errors"] = ("[]\n", "")

    step = run({"operation": "dags list-import-errors", "warnings": warnings})

    assert step.exit_code == 0
    assert dms.paths == ["POST /", "GET /login", "GET /api/v1/version", "POST /api/v1/command", *further]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("--local", ["--local", "-o", "json", "-B", "dags-folder"]),
        ("-l", ["-l", "-o", "json", "-B", "dags-folder"]),
        ("-B dags-folder", ["-B", "dags-folder", "-o", "json", "--local", "-v"]),
        ("--local -B dags-folder", ["--local", "-B", "dags-folder", "-o", "json"]),
    ],
)
def test_what_the_author_gave_is_not_given_twice(
    dms: FakeDms, airflow: FakeAirflow, run: Run, arguments: str, sent: list[str]
) -> None:
    airflow.commands["dags list-import-errors"] = ("[]\n", "")

    step = run({"operation": "dags list-import-errors", "arguments": arguments, "warnings": "false"})

    assert step.exit_code == 0
    assert dms.commands() == [["dags", "list-import-errors", *sent]]


@pytest.mark.parametrize("warnings", ["true", "false"])
def test_one_command_gives_errors_and_warnings(
    dms: FakeDms, airflow: FakeAirflow, run_here: Run, workspace: Path, warnings: str
) -> None:
    (workspace / "dags").mkdir()
    (workspace / "dags" / "lab_quick.py").write_text("import airflow.operators.bash\n")
    warned = (
        "2026-11-28T21:19:36.490871Z [warning  ] Old. [py.warnings] category=DeprecationWarning "
        "filename=/opt/airflow/dags/lab_quick.py lineno=1\n"
    )
    airflow.commands[" ".join(VERBOSELY)] = (f"{warned}[]\n", "")

    step = run_here({"operation": "dags list-import-errors", "warnings": warnings})

    assert step.exit_code == 0
    assert dms.commands() == [VERBOSELY]
    titles = [(one.properties["title"], one.properties["file"], one.properties["line"]) for one in step.annotations]
    assert titles == ([("Python warning: DeprecationWarning", "dags/lab_quick.py", "1")] if warnings == "true" else [])


def test_every_bundle_of_the_database_is_imported(dms: FakeDms, airflow: FakeAirflow, run: Run) -> None:
    """The log of 3.2.2 names none of them here: it is JSON, or its level is above INFO."""
    row = {"filename": "y.py", "bundle_name": "broken", "stack_trace": "KeyError: 1", "timestamp": "t0"}
    airflow.store([make_dag("etl", "t0", bundle="ours"), make_dag("x", "t0", bundle="theirs")], [row])
    names = ["-B", "ours", "-B", "theirs", "-B", "broken"]
    airflow.commands[" ".join([*STORED, "--local", *names, "-v"])] = (
        '[{"bundle_name": "theirs", "filepath": "x.py", "error": "KeyError: 1"}]\n',
        "",
    )

    step = run({"operation": "dags list-import-errors", "warnings": "false"})

    assert dms.commands() == [[*STORED, "--local", *names, "-v"]]
    assert [error["instance_path"] for error in step.read_json("import-errors")] == ["/opt/airflow/theirs/x.py"]


def test_a_bundle_that_was_taken_out_is_left_out(dms: FakeDms, airflow: FakeAirflow, run: Run) -> None:
    airflow.store([make_dag("etl", "t0"), make_dag("x", "t0", bundle="old")])
    airflow.commands[" ".join([*NOW, "-B", "old", "-v"])] = ("", "Bundles not found: old\n")
    airflow.commands[" ".join(VERBOSELY)] = ("[]\n", "")

    step = run({"operation": "dags list-import-errors", "warnings": "false"})

    assert step.exit_code == 0
    assert dms.commands() == [[*NOW, "-B", "old", "-v"], VERBOSELY]


def test_where_its_own_import_lies_the_dag_processor_is_followed(dms: FakeDms, airflow: FakeAirflow, run_here: Run) -> None:
    airflow.version = "3.1.0"
    row = {"filename": "etl.py", "bundle_name": "dags-folder", "stack_trace": "KeyError: 1", "timestamp": "t1"}
    airflow.store([make_dag("etl", "t0", stale=True), make_dag("good", "t1")], [row])
    asked: list[str] = []

    def parse(method: str, target: str, headers: object, body: bytes) -> Any:
        if method == "PUT":
            asked.append(target.rpartition("/")[2])
            again = {**row, "timestamp": "t2"}
            airflow.store([make_dag("etl", "t0", stale=True), make_dag("good", "t2")], [again])
            airflow.route("PUT", f"/api/v2/parseDagFile/{asked[-1]}", None, 201)
        return FakeAirflow.request(airflow, method, target, headers, body)

    airflow.request = parse  # type: ignore[method-assign]
    listed = '[{"bundle_name": "dags-folder", "filepath": "etl.py", "error": "KeyError: 1"}]\n'
    airflow.commands["dags list-import-errors -o json"] = (listed, "")

    step = run_here({"operation": "dags list-import-errors"})

    assert sorted(asked) == ["token-etl", "token-good"]
    assert dms.commands() == [STORED]
    assert [error["instance_path"] for error in step.read_json("import-errors")] == ["/opt/airflow/dags/etl.py"]
    assert [one.properties["title"] for one in step.annotations] == ["DAG import error: KeyError"]


def test_a_dag_processor_that_does_not_run_makes_the_list_doubtful(airflow: FakeAirflow, run_here: Run) -> None:
    airflow.version = "3.0.6"
    airflow.store([make_dag("etl", "t0")], [])

    step = run_here({"operation": "dags list-import-errors"})

    assert step.exit_code == 0
    assert [(one.name, one.properties["title"]) for one in step.annotations] == [("warning", "Import errors may be old")]
    assert "/opt/airflow/dags/etl.py" in step.annotations[0].data


def test_what_reserialize_left_behind_in_3_0_does_not_count(airflow: FakeAirflow, run_here: Run) -> None:
    airflow.version = "3.0.6"
    airflow.store([], [])
    stdout, stderr = read("other/3.0.6", "import_errors_db")
    airflow.commands["dags list-import-errors -o json"] = (stdout, stderr)

    step = run_here({"operation": "dags list-import-errors"})

    assert (step.exit_code, step.outputs["import-errors"]) == (0, "[]")
    assert "Left out: 2 import errors that dags reserialize stored on this Airflow." in step.log


@pytest.mark.parametrize("version", ["3.0.6", "3.1.0"])
def test_after_reserialize_of_an_early_airflow_3_the_dag_processor_is_believed(
    dms: FakeDms, airflow: FakeAirflow, run_here: Run, version: str
) -> None:
    """It stores a ModuleNotFoundError for each sound DAG that imports a helper."""
    airflow.version = version
    airflow.commands["dags reserialize"] = read(f"other/{version}", "reserialize")
    airflow.store([make_dag("uses_helper", "t0")])
    airflow.effects["dags reserialize"] = lambda: airflow.store([make_dag("uses_helper", "t0", stale=True)])

    def parse(method: str, target: str, headers: object, body: bytes) -> Any:
        if method == "PUT":
            airflow.store([make_dag("uses_helper", "t1")])
            airflow.route("PUT", "/api/v2/parseDagFile/token-uses_helper", None, 201)
        return FakeAirflow.request(airflow, method, target, headers, body)

    airflow.request = parse  # type: ignore[method-assign]

    step = run_here({"operation": "dags reserialize"})

    assert dms.commands() == [["dags", "reserialize"], STORED]
    assert (step.exit_code, step.outputs["import-error-count"]) == (0, "0")
    assert [one.properties["title"] for one in step.annotations] == ["Import errors may be false"]
    assert f"On Airflow {version} this command" in step.annotations[0].data


def test_reserialize_of_3_2_lists_its_import_errors_and_what_does_not_serialize(
    dms: FakeDms, airflow: FakeAirflow, run: Run, checkout: Path
) -> None:
    airflow.commands["dags reserialize"] = read("cli/dags", "reserialize__broken")
    old = {"filename": "old.py", "bundle_name": "dags-folder", "stack_trace": "KeyError: 0", "timestamp": "t0"}
    new = {"filename": "new.py", "bundle_name": "dags-folder", "stack_trace": "SerializationError: no", "timestamp": "t1"}
    known = {**new, "filename": "syntax_error.py"}
    airflow.store([make_dag("lab_quick", "t0")], [old])
    airflow.effects["dags reserialize"] = lambda: airflow.store([make_dag("lab_quick", "t1")], [old, new, known])

    step = run({"operation": "dags reserialize"})

    assert checkout.is_dir()
    assert dms.commands() == [["dags", "reserialize"], VERBOSELY]
    assert (step.exit_code, step.outputs["import-error-count"]) == (1, "34")
    places = [error["instance_path"] for error in step.read_json("import-errors")]
    assert places.count("/opt/airflow/dags/syntax_error.py") == 1
    assert "/opt/airflow/dags/new.py" in places
    assert "/opt/airflow/dags/old.py" not in places
    assert "Import errors may be false" not in step.log


@pytest.mark.parametrize("known", [True, False])
def test_a_dag_that_ends_reserialize_is_told_on_its_line(
    dms: FakeDms, airflow: FakeAirflow, run: Run, workspace: Path, *, known: bool
) -> None:
    shutil.copytree(CAPTURES / "airflow-2.10.4" / "dags" / "serialize", workspace / "dags")
    airflow.commands["dags reserialize"] = read("cli/dags", "reserialize__serialize")
    airflow.commands[" ".join(VERBOSELY)] = ("[]\n", "")
    airflow.store([make_dag("bad_timetable", "t0")] if known else [])

    step = run({"operation": "dags reserialize"})

    assert step.exit_code == 1
    assert dms.commands() == [["dags", "reserialize"], VERBOSELY]
    places = {
        error["exception"]: (error["file"], error["line"]) for error in json.loads(step.outputs.get("import-errors", "[]"))
    }
    assert places == ({"SerializationError": ("dags/bad_timetable.py", 12)} if known else {})
    assert "Failed to serialize DAG 'bad_timetable'" in step.annotations[0].data
