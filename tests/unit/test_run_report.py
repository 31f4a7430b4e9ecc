"""What is said of a failed task whose log does not say it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dms_airflow.airflow.task_instances import TaskInstance
from dms_airflow.airflow.task_logs import parse_log
from dms_airflow.dag_runs.report import explain_failure

LOGS = Path(__file__).parents[1] / "captures" / "airflow-2.10.4" / "task-logs"
BEGAN = datetime(2026, 11, 22, 17, 4, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "start", "reason"),
    [
        ("never_began", None, "It never started: its DAG file did not import on the worker, or the worker was lost"),
        ("supervisor_killed", BEGAN, "Its log ends without a reason: its process or its worker was killed or lost"),
        ("helper_exception", BEGAN, "KeyError: 'pear'"),
        (
            "externally_failed",
            BEGAN,
            "State of this instance has been externally set to failed. Terminating instance.",
        ),
    ],
)
def test_why_a_task_failed(name: str, start: datetime | None, reason: str) -> None:
    log = parse_log((LOGS / f"{name}.txt").read_text(encoding="utf-8"))

    assert explain_failure(TaskInstance(task_id="a", state="failed", start_date=start), log) == reason
