"""The deploy gate against a scripted instance: each way to end, what each step costs, and that it never makes things worse.

The instance is a model: files that the CLI reads, and a database that a scheduler writes. What happens while the gate waits
happens in the clock's sleep, so no test waits.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dms_airflow.main import main
from sandbox.instance import CommandResult, WebResponse
from sandbox.openapi import PREFIX
from sandbox.runner import Step, read_defaults, read_outputs
from tests.integration.conftest import check_leaks
from tests.integration.fake_dms import JSON
from tests.integration.fake_dms import answer as make_answer
from tests.unit.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.integration.fake_dms import FakeDms

FOLDER = "/opt/airflow/dags"
DAG = 'from airflow import DAG\n\nDAG("etl")\n'
OTHER = 'from airflow import DAG\n\nDAG("other")\n'
HELPER = "# what the airflow dag needs\n"
TRACEBACK = """Traceback (most recent call last):
  File "{path}", line 3, in <module>
    {line}
NameError: name 'x' is not defined
"""
LOGGED = "[2026-11-22T09:52:24.407+0000] {dag.py:3239}"
SERIALIZATION = "airflow.exceptions.SerializationError: Failed to serialize DAG 'etl': no such timetable\n"


@dataclass
class File:
    """A DAG file of the instance; `error` is what its import gives."""

    source: str
    dag_ids: tuple[str, ...] = ()
    error: str = ""
    unserializable: bool = False
    fresh: bool = True  # its modification time is newer than that of the last copy of its source


@dataclass
class Model:
    """An instance: files, and the database that its scheduler and `dags reserialize` write."""

    files: dict[str, File] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    health: dict[str, Any] = field(
        default_factory=lambda: {name: {"status": "healthy"} for name in ("metadatabase", "scheduler")}
    )
    calls: list[str] = field(default_factory=list)
    answers: dict[str, CommandResult | Callable[[], None]] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)  # what the rows of DAGs say whatever is parsed
    page: int = 100
    may_parse: int = 201
    scheduler_runs: bool = True
    now: int = 0

    def parse(self, name: str, *, by_scheduler: bool = True) -> None:
        """Do what the scheduler does with a file, or `dags reserialize`, which writes no errors."""
        self.now += 1
        file, path = self.files[name], FOLDER + name
        if by_scheduler:
            self.errors.pop(path, None)
            if file.error or file.unserializable:
                text = file.error or SERIALIZATION
                self.errors[path] = {"filename": path, "stack_trace": text, "timestamp": f"t{self.now}"}
        if file.error:
            return
        for dag_id in file.dag_ids:
            known = {"dag_id": dag_id, "fileloc": path, "file_token": f"token{name}", "is_active": True}
            self.rows[dag_id] = {**known, "last_parsed_time": f"t{self.now}", "has_import_errors": False}
            self.rows[dag_id] |= self.states.get(dag_id, {})
        if file.dag_ids and (file.fresh or path not in self.sources):
            self.sources[path] = file.source

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Answer as the CLI does."""
        name = " ".join(arguments[:2])
        self.calls.append(name)
        scripted = self.answers.get(name)
        if isinstance(scripted, CommandResult):
            return scripted
        if scripted:
            scripted()
        stdout = ""
        if name == "dags report":
            files = self.files.items()
            rows = [
                {"file": path, "duration": "0:00:01.500000", "dag_num": "1", "dags": [] if file.error else list(file.dag_ids)}
                for path, file in files
            ]
            stdout = json.dumps(rows) + "\n"
        elif name == "dags list-import-errors":
            broken = [{"filepath": FOLDER + path, "error": file.error} for path, file in self.files.items() if file.error]
            stdout = json.dumps(broken) + "\n"
        elif name == "dags reserialize":
            for path in self.files:
                self.parse(path, by_scheduler=False)
            lines = [
                f"{LOGGED} ERROR - Failed to write serialized DAG: {FOLDER}{path}\n{SERIALIZATION}"
                for path, file in self.files.items()
                if file.unserializable
            ]
            stdout = "".join([*lines, f"{LOGGED} INFO - Sync 1 DAGs\n"])
        return CommandResult(stdout=stdout, stderr="", exit_code=-1, seconds=0.0)

    def request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer as the REST API does."""
        del headers, body
        parts = urlsplit(target.removeprefix(f"{PREFIX}/api/v1"))
        words = parts.path.strip("/").split("/")
        name = parts.path.removeprefix(f"/{words[0]}/token").replace("%2F", "/")
        self.calls += [] if words in (["version"], ["health"]) else [f"{method} {words[0]}"]
        query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        tables: dict[str, tuple[str, list[Any]]] = {
            "dags": ("dags", list(self.rows.values())),
            "importErrors": ("import_errors", list(self.errors.values())),
            "dagWarnings": ("dag_warnings", self.warnings),
        }
        if len(words) == 1 and words[0] in tables:
            return self._list(*tables[words[0]], query)
        if words in (["version"], ["health"]):
            return make(200, {"version": "2.10.4"} if words == ["version"] else self.health)
        if words[0] == "dagSources":
            return make(200, {"content": self.sources[FOLDER + name]})
        if words[0] == "parseDagFile":
            if self.may_parse == 201 and self.scheduler_runs:
                self.parse(name)
            return make(self.may_parse, {"title": "refused"} if self.may_parse != 201 else None)
        if words[0] == "dags" and words[2:] == ["details"] and self.find_file(words[1]).unserializable:
            return make(404, {"title": "DAG not found"})
        if words[0] == "dags":
            path = self.rows[words[1]]["fileloc"]
            return make(200, {"doc_md": self.files[path.removeprefix(FOLDER)].source.split('"')[1]})
        raise AssertionError(f"not scripted: {method} {target}")

    def find_file(self, dag_id: str) -> File:
        """Find the file of a DAG in the database."""
        return self.files[self.rows[dag_id]["fileloc"].removeprefix(FOLDER)]

    def _list(self, key: str, entries: list[Any], query: dict[str, str]) -> WebResponse:
        offset, limit = int(query["offset"]), min(int(query["limit"]), self.page)
        return make(200, {key: entries[offset : offset + limit], "total_entries": len(entries)})


def make(status: int, body: Any) -> WebResponse:
    """Make a JSON answer."""
    return WebResponse(status=status, headers=[JSON], body=json.dumps(body).encode())


@dataclass
class Scene(FakeClock):
    """A clock in whose sleeps something happens: each event once, in their order."""

    events: Iterator[Callable[[], None]] = field(default_factory=lambda: iter(()))

    def sleep(self, seconds: float) -> None:
        """Move on, and let the next thing happen."""
        super().sleep(seconds)
        next(self.events, lambda: None)()


@pytest.fixture
def model(dms: FakeDms, workspace: Path) -> Model:
    """An instance that runs what the checkout holds: one DAG file."""
    model = Model(files={"/etl.py": File(DAG, ("etl",))})
    model.parse("/etl.py")
    dms.airflow.run_command = model.run_command  # type: ignore[method-assign]
    dms.airflow.request = model.request  # type: ignore[method-assign]
    write(workspace, "etl.py", DAG)
    return model


def write(workspace: Path, name: str, text: str) -> None:
    """Write a file of the checkout's DAG folder."""
    (workspace / "dags").mkdir(exist_ok=True)
    (workspace / "dags" / name).write_text(text, encoding="utf-8")


@pytest.fixture
def clock() -> Scene:
    """The gate's clock."""
    return Scene()


@pytest.fixture
def gate(dms: FakeDms, workspace: Path, tmp_path: Path, clock: Scene) -> Callable[..., Step]:
    """Run the gate, with things that happen while it waits."""

    def run(*events: Callable[[], None], **inputs: str) -> Step:
        clock.events = iter(events)
        files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        operation = {"operation": "deploy-gate"}
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        given = {**read_defaults(), **dms.inputs, **operation, **named}
        environ = {
            **{f"INPUT_{name.upper()}": value for name, value in given.items()},
            **{name: str(file) for name, file in files.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(workspace),
        }
        stdout = io.StringIO()
        exit_code = main(environ, stdout, clock)
        step = Step(
            exit_code=exit_code,
            stdout=stdout.getvalue(),
            stderr="",
            outputs=read_outputs(files["GITHUB_OUTPUT"].read_text(encoding="utf-8")),
            summary=files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"),
            workspace=workspace,
        )
        check_leaks(step, (workspace,), dms.secrets)
        return step

    return run


def test_an_unchanged_instance_passes_with_three_cli_starts(model: Model, gate: Callable[..., Step]) -> None:
    model.calls.clear()

    step = gate(expect_dags="etl")

    assert step.exit_code == 0, step.log
    assert step.outputs["import-errors"] == "[]"
    assert model.calls == [
        "dags report",
        "GET dags",
        "GET dagSources",
        "dags list-import-errors",
        "GET importErrors",
        *("GET dags", "GET importErrors", "dags reserialize", "GET dags", "GET importErrors"),
        "GET dags",  # the details of the one DAG
        "GET importErrors",
        "GET dags",
        "GET dagWarnings",
    ]
    assert "0&#58;00&#58;01&#46;500000" in step.summary


@pytest.mark.parametrize("name", ["metadatabase", "scheduler"])
def test_a_dead_component_is_said_before_anything_is_run(model: Model, gate: Callable[..., Step], name: str) -> None:
    model.calls.clear()
    model.health[name]["status"] = "unhealthy"

    step = gate(timeout="30m")

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Instance not healthy"
    assert f"is not healthy: {name} unhealthy." in annotation.data
    assert "Whether the instance runs this commit was not checked." in annotation.data
    assert f"Waiting for a healthy {name} ({name} unhealthy)" in step.log
    assert model.calls == []


def test_a_scheduler_that_restarts_is_given_a_moment(model: Model, gate: Callable[..., Step]) -> None:
    model.health["scheduler"]["status"] = "unhealthy"

    step = gate(lambda: model.health["scheduler"].update(status="healthy"))

    assert step.exit_code == 0, step.log


@pytest.mark.check
def test_it_works_as_a_process(model: Model, run: Callable[..., Step]) -> None:
    assert model.files

    step = run({"operation": "deploy-gate", "timeout": "30s"})

    assert step.exit_code == 0, step.log


def test_windows_line_ends_and_a_byte_order_mark_are_no_other_version(
    model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    (workspace / "dags" / "etl.py").write_bytes(b"\xef\xbb\xbf" + DAG.replace("\n", "\r\n").encode())

    assert gate().exit_code == 0
    assert model.calls.count("dags report") == 1


def test_a_missing_file_is_waited_for(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "other.py", OTHER)

    step = gate(lambda: None, lambda: model.files.update({"/other.py": File(OTHER, ("other",))}), expect_dags="other")

    assert step.exit_code == 0, step.log
    assert "Waiting for dags/other.py (not on the instance)" in step.log
    assert model.calls.count("dags reserialize") == 1
    assert "other" in model.rows


def test_time_runs_out_for_a_missing_file(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "other.py", OTHER)

    step = gate(timeout="1m", poll_interval="20s")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert [one.properties["title"] for one in step.annotations] == ["Time ran out"]
    assert "dags/other.py (not on the instance)" in step.annotations[0].data
    assert model.calls.count("dags report") == 4
    assert "dags reserialize" not in model.calls


def test_a_report_that_names_no_file_calls_no_file_missing(model: Model, gate: Callable[..., Step]) -> None:
    model.answers["dags report"] = CommandResult(stdout="[]\n", stderr="", exit_code=0, seconds=0.0)

    step = gate(timeout="30s")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "Still waiting for airflow dags report to name a file" in step.annotations[0].data
    assert "not on the instance" not in step.log
    assert "dags reserialize" not in model.calls


def test_a_dag_folder_that_is_filled_anew_is_waited_for(model: Model, gate: Callable[..., Step]) -> None:
    model.answers["dags report"] = CommandResult(stdout="[]\n", stderr="", exit_code=0, seconds=0.0)

    step = gate(model.answers.clear)

    assert step.exit_code == 0, step.log
    assert model.calls.count("dags report") == 2


def test_another_version_is_waited_for(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "etl.py", DAG + "# new\n")

    step = gate(lambda: None, lambda: model.files.update({"/etl.py": File(DAG + "# new\n", ("etl",))}))

    assert step.exit_code == 0, step.log
    assert "Waiting for dags/etl.py (another version)" in step.log


@pytest.mark.parametrize("new", ["# new\n", "UNSEEN = 'words that Airflow does not show'\n"])
def test_another_version_for_ever(model: Model, gate: Callable[..., Step], workspace: Path, new: str) -> None:
    write(workspace, "etl.py", DAG + new)

    step = gate(timeout="1m")

    assert step.outputs["status"] == "timeout"
    assert "dags reserialize" not in model.calls


def test_another_version_is_of_no_interest(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "etl.py", DAG + "# new\n")

    assert gate(verify_source="false").exit_code == 0
    assert "GET dagSources" not in model.calls
    assert "PUT parseDagFile" in model.calls


def test_a_stored_source_that_lags_ends_in_a_timeout_that_names_the_reason(
    model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    new = DAG.replace('"etl"', '"a new description"')
    write(workspace, "etl.py", new)
    model.files["/etl.py"] = File(new, ("etl",), fresh=False)

    step = gate(timeout="60")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "dags/etl.py (another version)" in step.annotations[0].data
    assert "keeps old modification times (rsync -t, cp -p)" in step.annotations[0].data
    assert "dags reserialize" not in model.calls


@pytest.mark.parametrize("there", ["from airflow import DAG  # dag\n", "import airflow  # the first half of a dag\n"])
def test_a_file_that_never_arrived_is_not_taken_for_one_without_a_dag(
    model: Model, gate: Callable[..., Step], workspace: Path, there: str
) -> None:
    write(workspace, "new.py", DAG)
    model.files["/new.py"] = File(there, ())

    step = gate(timeout="60")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "dags/new.py (the instance's version defines no DAG)" in step.annotations[0].data
    assert "dags reserialize" not in model.calls


def test_a_file_that_arrives_late_passes(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    new = DAG.replace("etl", "new")
    write(workspace, "new.py", new)
    model.files["/new.py"] = File("import airflow  # the first half of a dag\n", ())

    def arrive() -> None:
        model.files["/new.py"] = File(new, ("new",))
        model.parse("/new.py")

    step = gate(arrive, expect_dags="new")

    assert step.exit_code == 0, step.log


def test_a_file_whose_dag_depends_on_something_is_named_as_not_verified(
    model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    source = "from airflow import DAG\nif False:\n    DAG('x')\n"
    write(workspace, "maybe.py", source)
    model.files["/maybe.py"] = File(source, ())

    step = gate()

    assert step.exit_code == 0, step.log
    assert "defines no DAG, so Airflow stores no source of it" in step.summary


def test_a_dag_that_vanished_is_a_warning_before_anything_is_written(
    model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    model.files["/gone.py"] = File(DAG, ("gone",))
    model.parse("/gone.py")
    del model.files["/gone.py"]
    uncalled = "from airflow.decorators import dag\n\n\n@dag\ndef two(): ...\n"
    write(workspace, "two.py", uncalled)
    model.files["/two.py"] = File(DAG, ("two",))
    model.parse("/two.py")
    model.files["/two.py"] = File(uncalled, ())

    step = gate()

    assert step.exit_code == 0, step.log
    found = {
        one["title"]: (one["rule"], one["level"], one["file"], one["affects"]) for one in json.loads(step.outputs["findings"])
    }
    assert found == {
        "DAG vanished: gone": ("vanished-dag", "warning", None, ["gone"]),
        "DAG vanished: two": ("vanished-dag", "warning", "dags/two.py", ["two"]),
    }
    assert [(one.name, one.properties["title"]) for one in step.annotations] == [
        ("warning", "DAG vanished: gone"),
        ("warning", "DAG vanished: two"),
    ]


def test_the_dag_of_a_broken_file_has_not_vanished(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    broken = "from airflow import DAG\n\nDAG(x)\n"
    write(workspace, "etl.py", broken)
    model.files["/etl.py"] = File(broken, ("etl",), error=TRACEBACK)

    step = gate()

    assert step.exit_code == 1
    assert [one["rule"] for one in json.loads(step.outputs["findings"])] == ["import-error"]


def test_a_broken_file_fails_before_anything_is_written(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    broken = "from airflow import DAG\n\nDAG(x)\n"
    write(workspace, "etl.py", broken)
    model.files["/etl.py"] = File(broken, ("etl",), error=TRACEBACK.format(path=f"{FOLDER}/etl.py", line="DAG(x)"))

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    (error,) = step.read_json("import-errors")
    assert (error["file"], error["line"], error["exception"]) == ("dags/etl.py", 3, "NameError")
    assert "dags reserialize" not in model.calls
    assert model.calls.count("dags report") == 1


def test_the_error_of_a_version_that_is_being_replaced_is_waited_out(
    model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    assert workspace.is_dir()
    model.files["/etl.py"] = File("...", ("etl",), error=TRACEBACK.format(path=f"{FOLDER}/etl.py", line="DAG(x)"))

    step = gate(lambda: None, lambda: model.files.update({"/etl.py": File(DAG, ("etl",))}))

    assert step.exit_code == 0, step.log
    assert "dags/etl.py (an error of another version)" in step.log
    assert "Could not be verified" not in step.log


def test_the_error_of_another_version_that_never_goes_ends_in_a_timeout(model: Model, gate: Callable[..., Step]) -> None:
    model.files["/etl.py"] = File("...", ("etl",), error=TRACEBACK.format(path=f"{FOLDER}/etl.py", line="DAG(x)"))

    step = gate(timeout="1m")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "dags/etl.py (an error of another version)" in step.annotations[0].data
    assert step.outputs["import-error-count"] == "1"
    assert "dags reserialize" not in model.calls


def test_a_scheduler_that_dies_while_the_gate_waits_for_it_is_named(model: Model, gate: Callable[..., Step]) -> None:
    model.files["/etl.py"] = File("...", ("etl",), error=TRACEBACK.format(path=f"{FOLDER}/etl.py", line="DAG(x)"))

    step = gate(lambda: model.health["scheduler"].update(status="unhealthy"), timeout="1m")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "The instance is not healthy now: scheduler unhealthy." in step.annotations[0].data


# Python up to 3.11 shows of an f-string's syntax error only the expression, and the line is the checkout's all the same.
def test_the_syntax_error_of_an_f_string_is_one_of_this_version(
    model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    source = "from airflow import DAG\n\nDAG(f'etl_{a b}')\n"
    write(workspace, "etl.py", source)
    error = (
        f'Traceback (most recent call last):\n  File "{FOLDER}/etl.py", line 3\n    (a b)\n     ^^^\n'
        "SyntaxError: f-string: invalid syntax. Perhaps you forgot a comma?\n"
    )
    model.files["/etl.py"] = File(source, ("etl",), error=error)

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert [(one["file"], one["line"]) for one in step.read_json("import-errors")] == [("dags/etl.py", 3)]


def test_known_errors_pass_but_nothing_is_reserialized(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "other.py", "from airflow import DAG\n\nDAG(x)\n")
    path = f"{FOLDER}/other.py"
    model.files["/other.py"] = File("...", ("other",), error=TRACEBACK.format(path=path, line="DAG(x)"))
    known = [{"file": "dags/other.py", "line": 3, "instance_path": path, "exception": "NameError"}]
    known[0] |= {"message": "name 'x' is not defined", "stack_trace": "", "new": True}

    step = gate(fail_on="new", baseline=json.dumps(known))

    assert step.exit_code == 0, step.log
    assert (step.outputs["import-error-count"], step.outputs["new-import-error-count"]) == ("1", "0")
    assert "dags reserialize" not in model.calls
    assert "Could not be verified: whether every DAG serializes" in step.log
    assert "| whether every DAG serializes | dags reserialize is left out while anything is broken |" in step.summary


def test_an_error_that_only_the_scheduler_knows_fails_and_nothing_is_reserialized(
    model: Model, gate: Callable[..., Step]
) -> None:
    model.files["/etl.py"].unserializable = True
    model.parse("/etl.py")

    step = gate()

    assert step.exit_code == 1
    assert [error["exception"] for error in step.read_json("import-errors")] == ["SerializationError"]
    assert "dags reserialize" not in model.calls


def test_a_serialization_error_that_only_reserialize_shows(model: Model, gate: Callable[..., Step]) -> None:
    model.files["/etl.py"].unserializable = True

    step = gate()

    assert step.exit_code == 1
    assert [error["exception"] for error in step.read_json("import-errors")] == ["SerializationError"]


def test_a_stored_error_that_is_mended_is_parsed_away(model: Model, gate: Callable[..., Step]) -> None:
    path = f"{FOLDER}/etl.py"
    model.errors[path] = {"filename": path, "stack_trace": "ValueError: old", "timestamp": "t0"}

    step = gate()

    assert step.exit_code == 0, step.log
    assert model.errors == {}


def test_the_error_row_of_a_deleted_file_does_not_count(model: Model, gate: Callable[..., Step]) -> None:
    path = f"{FOLDER}/deleted.py"
    model.errors[path] = {"filename": path, "stack_trace": "ValueError: old", "timestamp": "t0"}

    assert gate().exit_code == 0


def test_a_scheduler_that_says_nothing(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "other.py", OTHER)
    model.files["/other.py"] = File(OTHER, ("other",))
    model.scheduler_runs = False

    step = gate(timeout="2m")

    assert step.outputs["status"] == "timeout"
    assert f"the scheduler's result for {FOLDER}/other.py" in step.annotations[0].data


@pytest.mark.parametrize("status", [403, 405])
def test_a_scheduler_that_cannot_be_asked_is_waited_for(
    model: Model, gate: Callable[..., Step], workspace: Path, status: int
) -> None:
    for name in ("other", "third"):
        source = OTHER.replace("other", name)
        write(workspace, f"{name}.py", source)
        model.files[f"/{name}.py"] = File(source, (name,))
    model.may_parse = status

    step = gate(lambda: model.parse("/third.py"), lambda: model.parse("/other.py"))

    assert step.exit_code == 0, step.log
    assert model.calls.count("PUT parseDagFile") == (2 if status == 403 else 1)  # 403 may be a lost session: it logs in again


def test_an_error_that_is_stored_a_moment_after_the_parse_is_seen(
    model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    write(workspace, "other.py", OTHER)
    model.files["/other.py"] = File(OTHER, ("other",))
    path = f"{FOLDER}/other.py"

    step = gate(lambda: model.errors.update({path: {"filename": path, "stack_trace": "ValueError: late", "timestamp": "t9"}}))

    assert step.exit_code == 1
    assert [error["message"] for error in step.read_json("import-errors")] == ["late"]


def test_a_command_that_hangs_is_sent_once_and_the_files_are_tried_alone(
    dms: FakeDms, model: Model, gate: Callable[..., Step]
) -> None:
    model.calls.clear()
    dms.fail("command", make_answer(504), times=2)

    step = gate()

    assert step.exit_code == 1
    assert step.annotations[0].properties["file"] == "dags/etl.py"
    assert dms.paths.count("POST /api/v1/command") == 2
    assert "dags reserialize" not in model.calls


def write_many(model: Model, workspace: Path, count: int) -> None:
    """Put further DAG files onto the instance and into the checkout."""
    for number in range(count):
        source = DAG.replace("etl", f"dag{number:02}")
        model.files[f"/dag{number:02}.py"] = File(source, (f"dag{number:02}",))
        write(workspace, f"dag{number:02}.py", source)
        model.parse(f"/dag{number:02}.py")


def test_of_many_files_a_changed_one_is_tried_first(
    dms: FakeDms, model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    write_many(model, workspace, 50)
    write(workspace, "dag30.py", DAG.replace("etl", "another"))
    dms.fail("command", make_answer(504), times=2)

    step = gate()

    assert step.exit_code == 1
    assert step.annotations[0].properties["file"] == "dags/dag30.py"
    assert dms.paths.count("POST /api/v1/command") == 2


def test_no_file_hangs_alone(dms: FakeDms, model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write_many(model, workspace, 50)
    dms.fail("command", make_answer(504))

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert "did not answer in time, but each of the 51 DAG files imports alone." in step.annotations[0].data
    assert "file" not in step.annotations[0].properties
    assert dms.paths.count("POST /api/v1/command") == 52
    assert "dags reserialize" not in model.calls


def test_the_search_for_a_file_that_hangs_ends_with_the_time_allowed(
    dms: FakeDms, model: Model, clock: Scene, gate: Callable[..., Step], workspace: Path
) -> None:
    write_many(model, workspace, 50)
    dms.fail("command", make_answer(504))
    model.answers["dags list-import-errors"] = lambda: clock.sleep(7)

    step = gate(timeout="60s")

    assert step.exit_code == 1
    assert "9 DAG files import alone; no time was left for" in step.annotations[0].data
    assert "/opt/airflow/dags/dag09.py" in step.annotations[0].data
    assert "and 37 more." in step.annotations[0].data
    assert dms.paths.count("POST /api/v1/command") == 10


def test_reserialize_that_hangs_fails_the_gate_and_is_sent_once(dms: FakeDms, model: Model, gate: Callable[..., Step]) -> None:
    model.answers["dags list-import-errors"] = lambda: dms.fail("command", make_answer(504))

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert "airflow dags reserialize did not answer in time." in step.annotations[0].data
    assert step.outputs["import-error-count"] == "0"
    assert dms.paths.count("POST /api/v1/command") == 3


def test_a_gateway_that_fails_at_first_is_tried_again(dms: FakeDms, model: Model, gate: Callable[..., Step]) -> None:
    assert model.files
    dms.fail("command", make_answer(502), times=2)

    assert gate().exit_code == 0


def test_a_gateway_that_always_fails_ends_the_step(dms: FakeDms, model: Model, gate: Callable[..., Step]) -> None:
    assert model.files
    dms.fail("command", make_answer(502), times=9)

    step = gate()

    assert step.exit_code == 1
    assert dms.paths.count("POST /api/v1/command") == 3
    assert [one.properties["title"] for one in step.annotations] == ["Unusable answer"]


def test_a_file_that_ends_the_interpreter_is_named(model: Model, gate: Callable[..., Step]) -> None:
    silent = CommandResult(stdout="", stderr="giving up\n", exit_code=-1, seconds=0.0)
    last = f"{LOGGED} DEBUG - Importing {FOLDER}/etl.py\n"
    model.answers["dags report"] = silent
    model.answers["dags list-import-errors"] = CommandResult(stdout=last, stderr="giving up\n", exit_code=-1, seconds=0.0)

    step = gate(fail_on="none")

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["Deploy not verified"]
    assert step.annotations[0].properties["file"] == "dags/etl.py"
    assert "import-error-count" not in step.outputs
    assert "dags reserialize" not in model.calls


def test_no_usable_answer_and_no_word_of_a_file(model: Model, gate: Callable[..., Step]) -> None:
    model.answers["dags list-import-errors"] = CommandResult(stdout="", stderr="giving up\n", exit_code=-1, seconds=0.0)

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert "gave no usable output: giving up" in step.annotations[0].data
    assert "file" not in step.annotations[0].properties
    assert "dags reserialize" not in model.calls


CLASH = f"""{LOGGED} ERROR - Failed to write serialized DAG: {FOLDER}/etl.py
Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/sqlalchemy/orm/session.py", line 601, in _take_snapshot
    self.session.flush()
sqlalchemy.exc.PendingRollbackError: This Session's transaction has been rolled back due to a previous exception during flush.
"""


def test_a_reserialize_that_meets_the_scheduler_storing_the_same_dag_runs_again(
    model: Model, gate: Callable[..., Step]
) -> None:
    model.answers["dags reserialize"] = CommandResult(stdout=CLASH, stderr="", exit_code=-1, seconds=0.0)

    step = gate(model.answers.clear)

    assert step.exit_code == 0, step.log
    assert step.outputs["import-errors"] == "[]"
    assert "Waiting for dags reserialize, which met another writer of the database" in step.log
    assert model.calls.count("dags reserialize") == 2


def test_a_reserialize_that_always_meets_another_writer_ends_in_a_timeout(model: Model, gate: Callable[..., Step]) -> None:
    model.answers["dags reserialize"] = CommandResult(stdout=CLASH, stderr="", exit_code=-1, seconds=0.0)

    step = gate(timeout="1m")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert "which met another writer of the database" in step.annotations[0].data
    assert step.read_json("import-errors") == []


def test_reserialize_that_fails_fails_the_gate(model: Model, gate: Callable[..., Step]) -> None:
    model.answers["dags reserialize"] = CommandResult(stdout="", stderr="giving up\n", exit_code=-1, seconds=0.0)

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert "airflow dags reserialize failed: giving up" in step.annotations[0].data


def test_where_no_file_defines_a_dag_nothing_is_reserialized(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    maybe = 'from airflow import DAG\n\nif False:\n    DAG("etl")\n'
    write(workspace, "etl.py", maybe)
    model.files["/etl.py"] = File(maybe)

    step = gate()

    assert step.exit_code == 0, step.log
    assert "dags reserialize" not in model.calls
    assert "Could not be verified: dags/etl.py" in step.log


def test_without_a_report_nothing_is_verified(model: Model, gate: Callable[..., Step]) -> None:
    model.answers["dags report"] = CommandResult(stdout="", stderr="giving up\n", exit_code=-1, seconds=0.0)

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert "airflow dags report gave no usable output." in step.annotations[0].data
    assert "dags reserialize" not in model.calls


def test_a_report_that_comes_late_is_asked_for_again(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "other.py", OTHER)
    model.files["/other.py"] = File(OTHER, ("other",))
    model.answers["dags report"] = CommandResult(stdout="", stderr="giving up\n", exit_code=-1, seconds=0.0)
    model.answers["dags list-import-errors"] = lambda: model.answers.update({"dags report": lambda: None})

    step = gate(expect_dags="other")

    assert step.exit_code == 0, step.log
    assert model.calls.count("dags report") >= 2
    assert "dags reserialize" in model.calls


def test_a_helper_with_the_two_words_is_named_as_not_verified(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    write(workspace, "helper.py", HELPER)
    model.files["/helper.py"] = File(HELPER)

    step = gate()

    assert step.exit_code == 0, step.log
    assert "Could not be verified: dags/helper.py" in step.log


def test_an_empty_checkout_is_told_at_once(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    (workspace / "dags" / "etl.py").unlink()
    model.calls.clear()

    step = gate()

    assert step.exit_code == 1
    assert "actions/checkout" in step.annotations[0].data
    assert model.calls == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"is_active": False}, "the scheduler has not taken it up yet"),
        ({"has_import_errors": True}, "its file has import errors"),
    ],
)
def test_an_expected_dag_that_is_not_well(model: Model, gate: Callable[..., Step], change: dict[str, Any], why: str) -> None:
    model.states["etl"] = change

    step = gate(expect_dags="etl", timeout="1m")

    assert (step.exit_code, step.outputs["status"]) == (1, "timeout")
    assert f"Expected DAG etl: {why}." in step.annotations[0].data


def test_an_expected_dag_that_nobody_defines_is_not_waited_for(model: Model, gate: Callable[..., Step]) -> None:
    assert model.files

    step = gate(expect_dags="etl nosuch")

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert [one.data for one in step.annotations] == ["Expected DAG nosuch: no DAG file of the instance defines it."]


def test_an_expected_dag_with_a_typing_error_is_named_with_the_nearest(model: Model, gate: Callable[..., Step]) -> None:
    assert model.files

    step = gate(expect_dags="elt")

    words = "Expected DAG elt: no DAG file of the instance defines it. Did you mean etl?"
    assert [one.data for one in step.annotations] == [words]


def test_every_page_is_read(model: Model, gate: Callable[..., Step], workspace: Path) -> None:
    model.page = 2
    for number in range(7):
        source = DAG.replace("etl", f"dag{number}")
        model.files[f"/dag{number}.py"] = File(source, (f"dag{number}",))
        write(workspace, f"dag{number}.py", source)
        model.parse(f"/dag{number}.py")
    model.calls.clear()

    step = gate()

    assert step.exit_code == 0, step.log
    assert model.calls.count("GET dagSources") == 8
    assert model.calls.count("GET dags") == 3 * 4 + 8  # lists, and details of each DAG


def test_a_gateway_that_fails_while_waiting_is_waited_out(
    dms: FakeDms, model: Model, gate: Callable[..., Step], workspace: Path
) -> None:
    write(workspace, "other.py", OTHER)

    def fail() -> None:
        dms.fail("rest", make_answer(502), times=12)

    def arrive() -> None:
        model.files["/other.py"] = File(OTHER, ("other",))

    step = gate(fail, *[lambda: None] * 20, arrive)

    assert step.exit_code == 0, step.log
    assert " Trying again; " in step.log
