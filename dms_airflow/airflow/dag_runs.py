"""DAG runs and their DAGs, as Airflow's REST API tells them. Pure.

https://airflow.apache.org/docs/apache-airflow/2.10.4/stable-rest-api-ref.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SUCCESS = "success"
QUEUED = "queued"
FINISHED = frozenset({SUCCESS, "failed"})

# "Invalid input for param seconds: 'abc' is not of type 'integer'", a blank line, "Failed validating 'type' in schema: …"
# A traceback shows the line of Airflow's own source, too, which is no answer: it does not begin with these words.
_REFUSED_PARAM = re.compile(
    r"^(?:[\w.]*(?:ParamValidationError|ValueError): )?Invalid input for param (?P<field>[^\n:]+): (?P<problem>[^\n]+)",
    re.MULTILINE,
)
_RULE = re.compile(r"Failed validating '(?P<rule>[^'\n]+)' in schema")


@dataclass(frozen=True, kw_only=True)
class DagRun:
    """One DAG run.

    Args:
        dag_id: Its DAG.
        run_id: Unique within the DAG.
        state: ``queued``, ``running``, ``success``, ``failed``, or what a later Airflow invents.
        logical_date: By default, of a manual run, the moment it was made.
        due: When it may begin: on Airflow 3 a moment of its own, on Airflow 2 its logical date.
        start_date: When its first task could start; None while queued.
        end_date: When it ended.
        conf: Its configuration.
    """

    dag_id: str
    run_id: str
    state: str
    logical_date: datetime | None = None
    due: datetime | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    conf: Mapping[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its state is its last."""
        return self.state in FINISHED

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it runs."""
        return (self.end_date - self.start_date).total_seconds() if self.start_date and self.end_date else None


@dataclass(frozen=True, kw_only=True)
class Dag:
    """What decides whether a DAG can run."""

    dag_id: str
    file: str
    is_active: bool
    is_paused: bool
    has_import_errors: bool
    max_active_runs: int | None


def read_dag_run(told: Mapping[str, Any]) -> DagRun | None:
    """Read a DAG run; None when it is none."""
    dag_id, run_id, state = told.get("dag_id"), told.get("dag_run_id"), told.get("state")
    if not (isinstance(dag_id, str) and isinstance(run_id, str) and isinstance(state, str)):
        return None
    conf = told.get("conf")
    return DagRun(
        dag_id=dag_id,
        run_id=run_id,
        state=state,
        logical_date=read_date(told.get("logical_date")),
        due=read_date(told.get("run_after") or told.get("logical_date")),
        start_date=read_date(told.get("start_date")),
        end_date=read_date(told.get("end_date")),
        conf=conf if isinstance(conf, dict) else None,
    )


def read_dag(told: Mapping[str, Any], *, is_active: bool) -> Dag | None:
    """Read a DAG; None when it is none. What an Airflow does not tell stands in nobody's way.

    Args:
        told: What the API gives.
        is_active: As the Airflow of that API says so.
    """
    dag_id, limit = told.get("dag_id"), told.get("max_active_runs")
    if not isinstance(dag_id, str):
        return None
    return Dag(
        dag_id=dag_id,
        file=str(told.get("fileloc") or ""),
        is_active=is_active,
        is_paused=told.get("is_paused") is True,
        has_import_errors=told.get("has_import_errors") is True,
        max_active_runs=limit if isinstance(limit, int) else None,
    )


def read_date(value: object) -> datetime | None:
    """Read a moment; None when it is none, without a time zone, or no moment of UTC's calendar."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def read_refusal(text: str) -> str:
    """Say which field of the run configuration broke which rule of the DAG's params; empty when none did."""
    if not (refused := _REFUSED_PARAM.search(text)):
        return ""
    rule = _RULE.search(text)
    broken = f" (rule {rule['rule']!r} of its param)" if rule else ""
    return f"conf field {refused['field'].strip()!r}: {refused['problem'].strip()}{broken}"
