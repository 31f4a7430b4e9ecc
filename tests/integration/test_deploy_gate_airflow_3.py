"""The deploy gate on Airflow 3: the same questions, another order of truths; and what takes DAGs out of service is said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.instance import CommandResult, WebResponse
from sandbox.openapi import PREFIX
from tests.integration.fake_dms import FakeAirflow
from tests.integration.test_deploy_gate import DAG, FOLDER, TRACEBACK, File, Model, clock, gate, make, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

__all__ = ["clock", "gate"]  # fixtures

NOW = "dags list-import-errors --local -B dags-folder -o json -v"
HELPED = 'from airflow import DAG\nfrom lib.names import NAME\n\nDAG("helped")\n'
NO_LIB = "ModuleNotFoundError: No module named 'lib'"
RECORD = "2026-11-22T10:24:45.206247Z [error    ] {} [airflow.dag_processing.dagbag.BundleDagBag] loc=dagbag.py:327\n"
NOT_SERIALIZED = (
    'Traceback (most recent call last):\n  File "/usr/local/bin/airflow", line 6, in <module>\n    sys.exit(main())\n'
    "airflow.exceptions.SerializationError: Failed to serialize DAG 'etl': no such timetable\n"
)


@dataclass
class Model3(Model):
    """An instance with Airflow 3, whose dag-processor takes a broken file's DAGs out of service."""

    version: str = "3.2.2"

    @property
    def lies(self) -> bool:
        """Whether the command line imports files without the DAG folder's own modules."""
        return not self.version.startswith("3.2")

    def parse(self, name: str, *, by_scheduler: bool = True) -> None:
        """Store what became of a file; `dags reserialize` does the same."""
        del by_scheduler
        self.now += 1
        file, below = self.files[name], name.removeprefix("/")
        self.errors.pop(name, None)
        if file.error or file.unserializable:
            row = {"filename": below, "bundle_name": "dags-folder", "stack_trace": file.error or NOT_SERIALIZED}
            self.errors[name] = {**row, "timestamp": f"t{self.now}"}
            for dag in self.rows.values():
                if dag["relative_fileloc"] == below:
                    dag.update(is_stale=True, has_import_errors=True)
            return
        for dag_id in file.dag_ids:
            self.rows[dag_id] = {
                "dag_id": dag_id,
                "fileloc": FOLDER + name,
                "relative_fileloc": below,
                "bundle_name": "dags-folder",
                "file_token": f"token{name}",
                "last_parsed_time": f"t{self.now}",
                "is_stale": False,
                "has_import_errors": False,
            }
            self.sources[dag_id] = file.source

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Answer as the CLI does."""
        name, stdout, stderr = " ".join(arguments[:2]), "", ""
        self.calls.append(" ".join(arguments) if name == "dags list-import-errors" else name)
        scripted = self.answers.get(name)
        if isinstance(scripted, CommandResult):
            return scripted
        seen = {path: NO_LIB if self.lies and "lib." in file.source else file.error for path, file in self.files.items()}
        if name == "dags report":
            slash = "/" if self.lies else ""
            rows = [
                {
                    "file": slash + path[1:],
                    "duration": "0:00:01",
                    "dag_num": "1",
                    "dags": [] if seen[path] else list(file.dag_ids),
                }
                for path, file in self.files.items()
            ]
            stdout = json.dumps(rows) + "\n"
        elif name == "dags list-import-errors":
            rows = [
                {"bundle_name": "dags-folder", "filepath": path[1:], "error": error} for path, error in seen.items() if error
            ]
            stdout = json.dumps(rows) + "\n"
        elif name == "dags reserialize":
            assert not self.lies, "it stores errors that are none"
            stdout = RECORD.format("Bulk-writing dags to db").replace("error    ", "info     ")
            if any(file.unserializable for file in self.files.values()):
                stdout, stderr = "", NOT_SERIALIZED
            else:
                for path in self.files:
                    self.parse(path)
        return CommandResult(stdout=stdout, stderr=stderr, exit_code=-1, seconds=0.0)

    def request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer as the REST API does."""
        parts = urlsplit(target.removeprefix(f"{PREFIX}/api/v2"))
        words = parts.path.strip("/").split("/")
        if words == ["version"] or not target.startswith(f"{PREFIX}/api/v2/"):
            return FakeAirflow(version=self.version).request(method, target, headers, body)
        if words == ["monitor", "health"]:
            return make(200, self.health)
        self.calls.append(f"{method} {words[0]}")
        query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        if words == ["dagWarnings"]:
            return self._list("dag_warnings", self.warnings, query)
        if words in (["dags"], ["importErrors"]):
            table: dict[str, dict[str, Any]] = self.rows if words == ["dags"] else self.errors
            return self._list({"dags": "dags"}.get(words[0], "import_errors"), list(table.values()), query)
        if words[0] in ("dags", "dagSources"):
            return make(200, {"content": self.sources[words[1]] if words[0] == "dagSources" else "", "dag_id": words[1]})
        assert words[0] == "parseDagFile"
        if self.scheduler_runs:
            self.parse(parts.path.removeprefix("/parseDagFile/token").replace("%2F", "/"))
        return WebResponse(status=201, headers=[], body=b"null")


@pytest.fixture
def model(dms: FakeDms, workspace: Path) -> Model3:
    """An instance that runs what the checkout holds: one DAG file."""
    model = Model3(files={"/etl.py": File(DAG, ("etl",))})
    model.parse("/etl.py")
    dms.become_airflow_3()
    dms.airflow.run_command = model.run_command  # type: ignore[method-assign]
    dms.airflow.request = model.request  # type: ignore[method-assign]
    write(workspace, "etl.py", DAG)
    return model


def broken(name: str = "/etl.py") -> File:
    return File(DAG, ("etl",), error=TRACEBACK.format(path=FOLDER + name, line='DAG("etl")'))


def test_an_unchanged_instance_passes_with_three_cli_starts(model: Model3, gate: Callable[..., Step]) -> None:
    step = gate(expect_dags="etl")

    assert step.exit_code == 0, step.log
    assert model.calls == [
        "dags report",
        "GET dags",
        "GET dagSources",
        NOW,
        "GET importErrors",
        *("GET dags", "GET importErrors", "dags reserialize", "GET dags", "GET importErrors"),
        "GET importErrors",
        "GET dags",
        "GET dagWarnings",
    ]


def test_a_dead_dag_processor_is_said_before_anything_is_run(model: Model3, gate: Callable[..., Step]) -> None:
    model.health["dag_processor"] = {"status": "unhealthy", "latest_dag_processor_heartbeat": None}

    step = gate()

    assert (step.exit_code, step.outputs["status"]) == (1, "failure")
    assert [one.properties["title"] for one in step.annotations] == ["Instance not healthy"]
    assert "is not healthy: dag-processor unhealthy." in step.annotations[0].data
    assert model.calls == []


def test_another_version_is_waited_for(model: Model3, gate: Callable[..., Step], workspace: Path) -> None:
    new = 'from airflow import DAG\n\nDAG("etl", tags=["new"])\n'
    write(workspace, "etl.py", new)

    step = gate(lambda: model.files.update({"/etl.py": File(new, ("etl",))}))

    assert step.exit_code == 0, step.log
    assert "etl.py (another version)" in step.log
    assert model.calls.count("PUT parseDagFile") == 4  # twice while another version is there, once to see that it is parsed,
    # once because it may have been serialized too soon after the former version


def test_a_broken_file_is_on_its_line_and_what_is_out_of_service_is_said(model: Model3, gate: Callable[..., Step]) -> None:
    model.files["/etl.py"] = broken()

    step = gate()

    assert (step.exit_code, step.outputs["import-error-count"]) == (1, "1")
    (error,) = step.annotations
    assert (error.properties["file"], error.properties["line"]) == ("dags/etl.py", "3")
    assert "\nOut of service until this is fixed: etl.\n" in error.data
    assert "Import errors: 1 cause, 1 DAG file; out of service until fixed: etl (failure after" in step.log
    assert "dags reserialize" not in model.calls


def test_a_duplicate_id_takes_nothing_out_of_service(model: Model3, gate: Callable[..., Step], workspace: Path) -> None:
    text = f"AirflowDagDuplicatedIdException: Ignoring DAG etl from {FOLDER}/etl.py - also found in {FOLDER}/twin.py"
    write(workspace, "twin.py", DAG)
    model.files["/etl.py"].error = text
    model.files["/twin.py"] = File(DAG, ("etl",))

    step = gate()

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["DAG import error: AirflowDagDuplicatedIdException"]
    assert "ut of service" not in step.log + step.summary


def test_known_errors_pass_and_reserialize_is_left_out_without_a_false_reason(model: Model3, gate: Callable[..., Step]) -> None:
    model.files["/etl.py"] = broken()

    step = gate(fail_on="none")

    assert step.exit_code == 0, step.log
    assert "dags reserialize" not in model.calls
    assert "last good versions" not in step.log + step.summary
    assert "dags reserialize is left out while anything is broken" in step.summary


def test_the_error_row_of_a_deleted_file_does_not_count(model: Model3, gate: Callable[..., Step]) -> None:
    model.files["/gone.py"] = broken("/gone.py")
    model.parse("/gone.py")
    del model.files["/gone.py"]

    assert gate().exit_code == 0


def test_an_error_that_only_the_dag_processor_knows_fails_and_nothing_is_reserialized(
    model: Model3, gate: Callable[..., Step]
) -> None:
    model.files["/etl.py"].unserializable = True
    model.parse("/etl.py")

    step = gate()

    assert (step.exit_code, step.outputs["import-error-count"]) == (1, "1")
    assert step.annotations[0].properties["file"] == "dags/etl.py"
    assert "dags reserialize" not in model.calls


def test_a_new_version_that_does_not_serialize_is_told_though_airflow_keeps_the_old_source(
    model: Model3, gate: Callable[..., Step], workspace: Path
) -> None:
    new = 'from airflow import DAG\n\nDAG("etl", schedule=Never())\n'
    write(workspace, "etl.py", new)
    model.files["/etl.py"] = File(new, ("etl",), unserializable=True)

    step = gate()

    assert (step.exit_code, step.outputs["status"], step.outputs["import-error-count"]) == (1, "failure", "1"), step.log
    assert step.annotations[0].properties["title"] == "DAG import error: SerializationError"
    assert "dags reserialize" not in model.calls


@pytest.mark.parametrize("version", ["3.2.2", "3.1.0"])
def test_a_mended_file_is_compared_after_its_error_went_away(
    model: Model3, gate: Callable[..., Step], workspace: Path, version: str
) -> None:
    model.version = version
    model.files["/etl.py"] = broken()
    model.parse("/etl.py")
    model.files["/etl.py"] = File(DAG + "# not of this commit\n", ("etl",))

    other = gate(timeout="60s")

    assert (other.exit_code, other.outputs["status"]) == (1, "timeout"), other.log
    assert "etl.py (another version)" in other.annotations[0].data

    write(workspace, "etl.py", DAG + "# not of this commit\n")
    assert gate().exit_code == 0


def test_a_dag_that_ends_reserialize_is_an_import_error_of_its_file(model: Model3, gate: Callable[..., Step]) -> None:
    model.files["/etl.py"].unserializable = True

    step = gate()

    assert (step.exit_code, step.outputs["import-error-count"]) == (1, "1")
    (error,) = step.annotations
    assert error.properties["title"] == "DAG import error: SerializationError"
    assert (error.properties["file"], error.properties["line"]) == ("dags/etl.py", "3")


def test_a_reserialize_that_meets_the_dag_processor_storing_the_same_dag_runs_again(
    model: Model3, gate: Callable[..., Step]
) -> None:
    frame = '  File "/usr/local/lib/python3.11/site-packages/airflow/__main__.py", line 55, in main\n    args.func(args)\n'
    clash = f"Traceback (most recent call last):\n{frame}sqlalchemy.exc.IntegrityError: UNIQUE constraint failed: dag.dag_id\n"
    model.answers["dags reserialize"] = CommandResult(stdout="", stderr=clash, exit_code=-1, seconds=0.0)

    step = gate(model.answers.clear)

    assert step.exit_code == 0, step.log
    assert model.calls.count("dags reserialize") == 2


def test_other_bundles_are_imported_too(model: Model3, gate: Callable[..., Step]) -> None:
    loaded = RECORD.format("DAG bundles loaded: dags-folder, theirs").replace("error    ", "info     ")
    model.answers["dags list-import-errors"] = CommandResult(stdout=f"{loaded}[]\n", stderr="", exit_code=-1, seconds=0.0)

    assert gate().exit_code == 0
    assert [call for call in model.calls if "list-import" in call] == [NOW, NOW.replace("-o", "-B theirs -o")]


def test_where_no_file_can_be_tried_alone_the_changed_ones_are_named(
    model: Model3, gate: Callable[..., Step], workspace: Path
) -> None:
    write(workspace, "new.py", DAG.replace("etl", "new"))
    model.files["/new.py"] = File(DAG.replace("etl", "new"))
    model.answers["dags list-import-errors"] = CommandResult(stdout="", stderr="", exit_code=-1, seconds=0.0)

    step = gate()

    assert step.exit_code == 1
    assert step.annotations[0].properties["file"] == "dags/new.py"
    assert f"New or changed DAG files: {FOLDER}/new.py." in step.annotations[0].data
    assert "last good versions" not in step.annotations[0].data


@pytest.fixture
def early(model: Model3, workspace: Path) -> Model3:
    """An early Airflow 3, and a sound DAG that imports a helper."""
    model.version = "3.1.0"
    model.files["/helped.py"] = File(HELPED, ("helped",))
    model.parse("/helped.py")
    write(workspace, "helped.py", HELPED)
    return model


def test_an_early_airflow_3_is_believed_by_its_dag_processor_only(early: Model3, gate: Callable[..., Step]) -> None:
    step = gate(expect_dags="etl helped")

    assert step.exit_code == 0, step.log
    assert step.outputs["import-errors"] == "[]"
    assert [call for call in early.calls if call.startswith("dags")] == ["dags report"]
    assert early.calls.count("PUT parseDagFile") == 2
    assert "could not be verified" not in step.summary


def test_a_broken_file_of_an_early_airflow_3(early: Model3, gate: Callable[..., Step]) -> None:
    early.files["/etl.py"] = broken()

    step = gate()

    assert (step.exit_code, step.outputs["import-error-count"]) == (1, "1")
    assert step.annotations[0].properties["file"] == "dags/etl.py"


def test_a_new_file_of_an_early_airflow_3_is_awaited(early: Model3, gate: Callable[..., Step], workspace: Path) -> None:
    source = DAG.replace("etl", "new")
    write(workspace, "new.py", source)
    early.files["/new.py"] = File(source, ("new",))

    step = gate(lambda: early.parse("/new.py"), expect_dags="new")

    assert step.exit_code == 0, step.log
    assert "Waiting for dags/new.py (not yet seen by the dag-processor)" in step.log


def test_a_new_broken_file_of_an_early_airflow_3_is_not_taken_for_a_helper(
    early: Model3, gate: Callable[..., Step], workspace: Path
) -> None:
    source = DAG.replace("etl", "new")
    write(workspace, "new.py", source)
    early.files["/new.py"] = File(source, ("new",), error=TRACEBACK.format(path=f"{FOLDER}/new.py", line='DAG("new")'))

    step = gate(lambda: None, *[lambda: early.parse("/new.py")] * 9)  # nobody can ask for it: it has its turn again and again

    assert (step.exit_code, step.outputs.get("import-error-count")) == (1, "1"), step.log
    assert step.annotations[0].properties["file"] == "dags/new.py"


def test_what_reserialize_left_behind_in_3_0_does_not_count(early: Model3, gate: Callable[..., Step]) -> None:
    early.version = "3.0.6"
    row = {"filename": f"{FOLDER}/helped.py", "bundle_name": "dags-folder", "stack_trace": NO_LIB, "timestamp": "t0"}
    early.errors["left behind"] = row

    step = gate()

    assert step.exit_code == 0, step.log
    assert step.outputs["import-errors"] == "[]"


def test_a_dag_processor_that_does_not_run(early: Model3, gate: Callable[..., Step]) -> None:
    early.scheduler_runs = False

    step = gate(timeout="60s")

    assert step.outputs["status"] == "timeout"
    assert f"{FOLDER}/helped.py" in step.annotations[0].data


def test_the_old_source_of_a_dag_that_its_file_no_longer_defines_is_not_compared(
    model: Model3, gate: Callable[..., Step]
) -> None:
    model.rows["retired"] = {**model.rows["etl"], "dag_id": "retired", "is_stale": True}
    model.sources["retired"] = "an old text"

    step = gate(timeout="5s")

    assert step.exit_code == 0, step.log


def test_what_the_gate_says_of_old_modification_times_holds_for_airflow_2_only(
    model: Model3, gate: Callable[..., Step], workspace: Path
) -> None:
    write(workspace, "etl.py", 'from airflow import DAG\n\nDAG("etl", tags=["new"])\n')

    step = gate(timeout="5s")

    assert step.outputs["status"] == "timeout"
    assert model.rows
    assert "modification times" not in step.annotations[0].data
