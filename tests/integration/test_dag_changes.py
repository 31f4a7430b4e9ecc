"""What the deploy gate says of changed DAGs, and of what the instance lacks: it costs little, and never decides.

What each kind of change is called is in tests/unit/test_dag_changes.py, and on a real Airflow in tests/e2e.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.instance import CommandResult, WebResponse
from tests.integration.test_deploy_gate import DAG, FOLDER, OTHER, File, Model, clock, gate, make, write
from tests.integration.test_deploy_gate_airflow_3 import Model3

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Gate = Callable[..., Step]

__all__ = ["clock", "gate"]  # fixtures

NEW = DAG + "# new\n"
SECRET = "s3cr3t-of-a-connection"
NO_RIGHT = {"title": "Forbidden", "status": 403}


@dataclass
class Lists(Model):
    """An instance with connections, variables and pools, and with a schedule in the comment of each DAG file."""

    lists: dict[str, tuple[int, Any]] = field(default_factory=dict)
    variables: str = "[]\n"

    def request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer as the REST API does."""
        below = target.partition("?")[0].partition("/api/v1/")[2]
        if below in self.lists:
            self.calls.append(f"{method} {below}")
            return make(*self.lists[below])
        if below.endswith(("/details", "/tasks")):
            self.calls.append(f"{method} {below}")
            if below.endswith("/tasks"):
                return make(200, {"tasks": [{"task_id": "only", "downstream_task_ids": [], "operator_name": "X"}]})
            words = self.sources[self.rows[below.split("/")[1]]["fileloc"]].split("# ")
            return make(200, {"schedule_interval": {"__type": "CronExpression", "value": words[-1].strip()}})
        return super().request(method, target, headers, body)

    def run_command(self, arguments: Any) -> CommandResult:
        """Answer as the CLI does."""
        if arguments[:2] == ["variables", "list"]:
            self.calls.append(" ".join(arguments))
            return CommandResult(stdout=self.variables, stderr="", exit_code=-1, seconds=0.0)
        return super().run_command(arguments)

    def have(self, connections: str = "", variables: str = "", pools: str = "") -> None:
        """Have these in the database."""
        rows = [{"connection_id": one, "host": SECRET, "login": SECRET} for one in connections.split()]
        self.lists["connections"] = (200, {"connections": rows, "total_entries": len(rows)})
        names = [{"name": one} for one in ["default_pool", *pools.split()]]
        self.lists["pools"] = (200, {"pools": names, "total_entries": len(names)})
        self.variables = json.dumps([{"key": one} for one in variables.split()]) + "\n"


@pytest.fixture
def model(dms: FakeDms, workspace: Path) -> Lists:
    """An instance that runs what the checkout holds: one DAG file."""
    model = Lists(files={"/etl.py": File(DAG, ("etl",))})
    model.parse("/etl.py")
    dms.airflow.run_command = model.run_command  # type: ignore[method-assign]
    dms.airflow.request = model.request  # type: ignore[method-assign]
    write(workspace, "etl.py", DAG)
    return model


def changes(step: Step) -> list[tuple[str, str, list[str]]]:
    return [(one["dag_id"], one["change"], one["details"]) for one in json.loads(step.outputs["dag-changes"])]


# --- changes --------------------------------------------------------------------------------------------------------------


def test_of_a_file_that_was_there_already_nothing_is_known_and_nothing_requested(model: Lists, gate: Gate) -> None:
    step = gate()

    assert (step.exit_code, changes(step)) == (0, [("etl", "not known", [])])
    assert "DAG changes: 1 not known" in step.log
    assert "GET dags/etl/tasks" not in model.calls


def test_another_version_is_read_before_it_is_parsed(model: Lists, gate: Gate, workspace: Path) -> None:
    model.sources[FOLDER + "/etl.py"] = DAG + "# @daily\n"
    model.files["/etl.py"] = File(NEW, ("etl",))
    model.files["/other.py"] = File(OTHER, ("other",))
    write(workspace, "etl.py", NEW)
    write(workspace, "other.py", OTHER + "# @once\n")
    model.files["/other.py"].source = OTHER + "# @once\n"

    step = gate()

    assert step.exit_code == 0, step.log
    assert changes(step) == [
        ("etl", "changed", ["schedule @daily → new"]),
        ("other", "added", ["schedule @once", "1 task"]),
    ]
    first = [call for call in model.calls if call != "dags report"]
    assert first.index("GET dags/etl/details") < first.index("PUT parseDagFile")
    # Of one before, of two after. The details are requested once more by the step that serializes.
    assert len([call for call in model.calls if call.endswith("/tasks")]) == 3
    assert "  etl: changed: schedule @daily → new" in step.log
    assert "#### DAG changes&#58; 1 added, 1 changed" in step.summary


def test_what_is_parsed_while_it_is_read_is_not_known(dms: FakeDms, model: Lists, gate: Gate, workspace: Path) -> None:
    model.sources[FOLDER + "/etl.py"] = DAG + "# @daily\n"
    model.files["/etl.py"] = File(NEW, ("etl",))
    write(workspace, "etl.py", NEW)
    asked = model.request

    def parse_soon(method: str, target: str, headers: object, body: bytes) -> WebResponse:
        answer = asked(method, target, headers, body)
        if target.endswith("/details"):
            model.parse("/etl.py")
        return answer

    dms.airflow.request = parse_soon  # type: ignore[method-assign]

    step = gate()

    assert (step.exit_code, changes(step)) == (0, [("etl", "not known", [])]), step.log


@pytest.mark.parametrize("answer", [(403, NO_RIGHT), (200, {"tasks": 7, "tags": 3, "start_date": []})])
def test_its_own_failure_is_a_line_of_the_log(model: Lists, gate: Gate, workspace: Path, answer: tuple[int, Any]) -> None:
    model.sources[FOLDER + "/etl.py"] = DAG + "# @daily\n"
    model.files["/etl.py"] = File(NEW, ("etl",))
    write(workspace, "etl.py", NEW)
    model.lists["dags/etl/tasks"] = answer

    step = gate()

    assert step.exit_code == 0, step.log
    assert changes(step) == [("etl", "not known", [])]
    assert step.annotations == []


def test_a_red_gate_compares_nothing(model: Lists, gate: Gate) -> None:
    model.files["/etl.py"].error = "Traceback (most recent call last):\nNameError: x\n"

    step = gate()

    assert step.exit_code == 1
    assert "dag-changes" not in step.outputs


# --- what it lacks --------------------------------------------------------------------------------------------------------

PLANTED = {
    "etl.py": """from airflow import DAG
from helper import make

with DAG("etl"):
    Load(postgres_conn_id="warehouse", pool="slow", sql="load.sql")
    Load(postgres_conn_id="no_conn", pool="no_pool", deferrable=True)
    Bash(bash_command="{{ var.value.region }}{{ var.value.no_var }}")
""",
    "helper.py": 'CONN = "ftp"\nBaseHook.get_connection(CONN)\nBaseHook.get_connection("no_conn_2")\nVariable.get("zone")\n',
    "load.sql": "select 1\nfrom {{ var.json.zone.x }}.{{ conn.no_conn_3.schema }}\n",
    "unused.py": 'BaseHook.get_connection("of_nobody")\n',
}
PLACES = [
    ("missing-connection", "dags/etl.py", 6),
    ("missing-pool", "dags/etl.py", 6),
    ("missing-triggerer", "dags/etl.py", 6),
    ("missing-variable", "dags/etl.py", 7),
    ("missing-connection", "dags/helper.py", 3),
    ("missing-connection", "dags/load.sql", 2),
]


@pytest.fixture
def planted(model: Lists, workspace: Path) -> Lists:
    """An instance that has the larger part of what the files name."""
    for name, text in PLANTED.items():
        write(workspace, name, text)
    model.files["/etl.py"] = File(PLANTED["etl.py"], ("etl",))
    model.parse("/etl.py")
    model.have("warehouse ftp c3 c4", "region zone", "slow")
    write(workspace, "more.sql", "{{ conn.c3.x }}{{ conn.c4.x }}")
    write(workspace, "load.sql", PLANTED["load.sql"] + "-- {{ conn.c3.x }}{{ conn.c4.x }}\n")
    model.health["triggerer"] = {"status": None}
    return model


def found(step: Step) -> list[tuple[str, str, int]]:
    return sorted(
        ((one["rule"], one["file"], one["line"]) for one in step.read_json("findings")), key=lambda one: (*one[1:], one[0])
    )


def test_missing_ids_are_on_their_lines(planted: Lists, gate: Gate) -> None:
    step = gate()

    assert step.exit_code == 0, step.log
    assert found(step) == PLACES
    assert {one.name for one in step.annotations} == {"warning"}
    messages = {one["message"] for one in step.read_json("findings") if one["file"] == "dags/etl.py"}
    assert messages == {
        "The instance has no connection no_conn: tasks that use it fail. Create it in Airflow, or correct the name.",
        "The instance has no pool no_pool: tasks that use it never start. Create it in Airflow, or correct the name.",
        "The instance has no variable no_var: tasks that use it fail. Create it in Airflow, or correct the name.",
        "The instance has no healthy triggerer: deferred tasks wait. Start one, or set deferrable=False.",
    }
    assert {tuple(one["affects"]) for one in step.read_json("findings")} == {("etl",)}
    assert SECRET not in step.log + step.summary + json.dumps(step.outputs)
    lists = [call for call in planted.calls if call.split()[-1] in ("connections", "pools", "variables", "json")]
    assert sorted(lists) == ["GET connections", "GET pools", "variables list -o json"]


def test_nothing_is_requested_when_warnings_are_off(planted: Lists, gate: Gate) -> None:
    step = gate(warnings="false")

    assert (step.exit_code, step.read_json("findings")) == (0, [])
    assert not {"GET connections", "GET pools", "variables list -o json"} & set(planted.calls)


@pytest.mark.parametrize("backend", ["airflow.secrets.local_filesystem.LocalFilesystemBackend"])
def test_there_is_silence_where_a_secrets_backend_may_have_them(planted: Lists, gate: Gate, backend: str) -> None:
    shown = {"sections": [{"name": "secrets", "options": [{"key": "backend", "value": backend}]}]}
    planted.lists["config/section/secrets/option/backend"] = (200, shown)

    step = gate()

    assert [rule for rule, _, _ in found(step)] == ["missing-pool", "missing-triggerer"]
    assert (
        "Connection names that the database of the instance does not have: no_conn, no_conn_2, no_conn_3. No warning:"
        in step.log
    )


def test_there_is_silence_where_the_database_has_but_half_of_them(planted: Lists, gate: Gate) -> None:
    planted.have("warehouse ftp c3", "region", "slow")

    step = gate()

    assert [rule for rule, _, _ in found(step)] == ["missing-pool", "missing-triggerer"]
    assert "they may come from AIRFLOW_CONN_… or a secrets backend" in step.log


def test_there_is_silence_where_the_right_to_list_is_missing(planted: Lists, gate: Gate) -> None:
    planted.lists |= {"connections": (403, NO_RIGHT), "pools": (403, NO_RIGHT)}
    planted.variables = "Forbidden\n"

    step = gate()

    assert (step.exit_code, [rule for rule, _, _ in found(step)]) == (0, ["missing-triggerer"])
    assert "Connection names of the instance: not known." in step.log
    assert "Variable names of the instance: not known. airflow variables list gave no usable answer." in step.log


@pytest.mark.parametrize(("status", "rules"), [("healthy", []), ("unhealthy", ["missing-triggerer"])])
def test_a_triggerer_is_missed_by_its_health(planted: Lists, gate: Gate, status: str, rules: list[str]) -> None:
    planted.health["triggerer"] = {"status": status}
    planted.have("warehouse ftp c3 c4 no_conn no_conn_2 no_conn_3", "region zone no_var", "slow no_pool")

    assert [rule for rule, _, _ in found(gate())] == rules


def test_a_response_that_nobody_expects_fails_nothing(planted: Lists, gate: Gate) -> None:
    planted.lists["connections"] = (200, ["what"])
    planted.lists["pools"] = (200, {"pools": [7, {"name": {}}], "total_entries": 2})

    step = gate()

    assert step.exit_code == 0, step.log


# --- what may be the former version still -----------------------------------------------------------------------------------


@dataclass
class LateModel(Model3):
    """An Airflow 3 that has serialized the new version of its DAG from a moment on; the source is new before."""

    clock: Any = None
    serialized_at: float = 0

    def request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer as the REST API does."""
        if target.endswith("/dags/etl/tasks"):
            task_id = "new" if self.clock.now >= self.serialized_at else "former"
            return make(200, {"tasks": [{"task_id": task_id, "downstream_task_ids": []}]})
        return super().request(method, target, headers, body)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(20, [("etl", "changed", ["task new added", "task former removed"])]), (1000, [])],
    ids=["serialized late", "the same tasks"],
)
def test_airflow_3_is_given_the_time_to_serialize(
    dms: FakeDms, gate: Gate, clock: Any, workspace: Path, *, seconds: int, expected: list[Any]
) -> None:
    model = LateModel(files={"/etl.py": File(DAG, ("etl",))}, clock=clock, serialized_at=clock.now + seconds)
    model.parse("/etl.py")
    dms.become_airflow_3()
    dms.airflow.run_command = model.run_command  # type: ignore[method-assign]
    dms.airflow.request = model.request  # type: ignore[method-assign]
    model.files["/etl.py"] = File(NEW, ("etl",))
    write(workspace, "etl.py", NEW)
    started = clock.now

    step = gate()

    assert (step.exit_code, changes(step)) == (0, expected), step.log
    assert 30 <= clock.now - started < 40
