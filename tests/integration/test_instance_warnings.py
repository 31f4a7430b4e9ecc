"""Warnings of the instance, by the whole action: on their lines, never failing a step, known ones counted only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_deploy_gate import DAG, Model, gate, model, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

__all__ = ["gate", "model"]  # fixtures

COMMAND = "dags list-import-errors"
ROUTE = "/dagWarnings?order_by=dag_id&limit=100&offset={}"
POOLS = {
    "dag_id": "etl",
    "message": "Dag 'etl' references non-existent pools: ['slow']",
    "timestamp": "2026-11-22T09:41:06.059017+00:00",
    "warning_type": "non-existent pool",
}
SOURCE = """import warnings

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("etl", schedule=None):
    BashOperator(task_id="a", bash_command="true", pool="slow")
"""
OLD = "/opt/airflow/dags/etl.py:4 DeprecationWarning: The module is deprecated.\n"


@pytest.fixture
def checkout(workspace: Path) -> Path:
    """A repository with one DAG file."""
    write(workspace, "etl.py", SOURCE)
    return workspace


def list_places(step: Step) -> list[tuple[str, str, str | None, str | None]]:
    return [
        (one.name, one.properties["title"], one.properties.get("file"), one.properties.get("line")) for one in step.annotations
    ]


BOTH = [
    ("warning", "Pool missing", "dags/etl.py", "7"),
    ("warning", "Python warning: DeprecationWarning", "dags/etl.py", "4"),
]


def warn(dms: FakeDms) -> None:
    dms.airflow.commands[COMMAND] = ("[]\n", OLD)
    dms.airflow.route("GET", "/api/v1" + ROUTE.format(0), {"dag_warnings": [POOLS], "total_entries": 1})


def test_they_are_on_their_lines_and_fail_nothing(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    warn(dms)

    step = run_here({"operation": COMMAND, "sarif-file": "a.sarif", "junit-file": "a.xml"})

    assert step.exit_code == 0
    assert list_places(step) == BOTH
    assert (
        step.annotations[0].data
        == "The instance has no pool slow: tasks that use it never start. Create it in Airflow, or correct the name.\nDAG: etl"
    )
    assert "No import errors, 2 warnings (success after" in step.log
    assert [(one["rule"], one["level"], one["affects"]) for one in step.read_json("findings")] == [
        ("missing-pool", "warning", ["etl"]),
        ("deprecation", "warning", []),
    ]
    assert step.outputs["import-error-count"] == "0"
    assert "#### Warnings of the instance" in step.summary
    results = json.loads((checkout / "a.sarif").read_bytes())["runs"][0]["results"]
    assert [(result["ruleId"], result["level"]) for result in results] == [
        ("missing-pool", "warning"),
        ("deprecation", "warning"),
    ]
    assert "slow" not in (checkout / "a.xml").read_text(encoding="utf-8")


def test_one_request_is_made_for_each_page(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    rows = [{**POOLS, "message": POOLS["message"].replace("slow", f"slow{number}")} for number in range(150)]
    dms.airflow.commands[COMMAND] = ("[]\n", "")
    for start in (0, 100):
        body = {"dag_warnings": rows[start : start + 100], "total_entries": 150}
        dms.airflow.route("GET", "/api/v1" + ROUTE.format(start), body)

    step = run_here({"operation": COMMAND})

    assert checkout.is_dir()
    assert [path for path in dms.paths if "dagWarnings" in path] == ["GET /api/v1/dagWarnings"] * 2
    assert len(step.read_json("findings")) == 150
    assert [one.properties["title"] for one in step.annotations] == [*["Pool missing"] * 9, "141 more"]


def test_they_can_be_switched_off(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    warn(dms)

    step = run_here({"operation": COMMAND, "warnings": "false"})

    assert checkout.is_dir()
    assert (step.annotations, step.outputs["findings"]) == ([], "[]")
    assert not [path for path in dms.paths if "dagWarnings" in path]


def test_known_ones_are_counted_and_not_shown_again(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    dms.airflow.commands[COMMAND] = ("[]\n", OLD)
    run_here({"operation": COMMAND, "result-file": "before.json"})
    # The line has moved, and another warning is new.
    write(checkout, "etl.py", f"# new\n{SOURCE}")
    warn(dms)
    dms.airflow.commands[COMMAND] = ("[]\n", OLD.replace(":4 ", ":5 "))

    step = run_here({"operation": COMMAND, "baseline": "before.json"})

    assert list_places(step) == [("warning", "Pool missing", "dags/etl.py", "8")]
    assert "No import errors, 2 warnings (1 known)" in step.log
    assert "The module is deprecated" not in step.summary.partition("<details>")[0]
    assert [(one["rule"], one["new"]) for one in step.read_json("findings")] == [("missing-pool", True), ("deprecation", False)]


@pytest.mark.parametrize("status", [403, 404])
def test_an_airflow_that_does_not_give_them_fails_nothing(dms: FakeDms, run_here: Run, checkout: Path, status: int) -> None:
    dms.airflow.commands[COMMAND] = ("[]\n", OLD)
    dms.airflow.route("GET", "/api/v1" + ROUTE.format(0), {"title": "no", "status": status}, status)

    step = run_here({"operation": COMMAND})

    assert checkout.is_dir()
    assert step.exit_code == 0
    assert list_places(step) == BOTH[1:]
    assert "Warnings of the scheduler: not known. " in step.log


@pytest.mark.parametrize(
    ("printed", "further"),
    [("", []), ("/usr/lib/flask/json.py:1 DeprecationWarning: old\n", [["dags", "list-import-errors", "-o", "json", "-v"]])],
)
def test_airflow_2_is_asked_for_warnings_only_when_its_owner_wants_them(
    dms: FakeDms, run_here: Run, checkout: Path, printed: str, further: list[list[str]]
) -> None:
    dms.airflow.commands[f"{COMMAND} -o json"] = ("[]\n", printed)
    dms.airflow.commands[f"{COMMAND} -o json -v"] = ("[]\n", OLD)

    step = run_here({"operation": COMMAND})

    assert checkout.is_dir()
    assert dms.commands() == [["dags", "list-import-errors", "-o", "json"], *further]
    assert list_places(step) == (BOTH[1:] if further else [])


def test_a_command_without_an_answer_is_not_followed_by_a_request(dms: FakeDms, run_here: Run) -> None:
    dms.airflow.commands[COMMAND] = ("", "Traceback (most recent call last):\nOSError: disk full\n")

    step = run_here({"operation": COMMAND})

    assert step.exit_code == 1
    assert not [path for path in dms.paths if "dagWarnings" in path]


def test_the_gate_reports_them_too(model: Model, gate: Run, workspace: Path) -> None:
    model.warnings.append(POOLS)
    write(workspace, "etl.py", text := f'{DAG}\nTask(pool="slow")\n')
    model.files["/etl.py"].source = text
    model.parse("/etl.py")

    step: Any = gate()

    assert step.exit_code == 0, step.log
    assert [(one.properties["title"], one.properties["file"]) for one in step.annotations] == [("Pool missing", "dags/etl.py")]
    assert "no import errors, 1 warning (success after" in step.log


def test_a_warning_is_shown_without_a_meaning_of_its_own(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    dms.airflow.commands[COMMAND] = ("[]\n", "/opt/airflow/dags/etl.py:4 UserWarning: ::error::x [a](https://b) @octo\n")

    step = run_here({"operation": COMMAND})

    assert checkout.is_dir()
    assert [one.name for one in step.annotations] == ["warning"]
