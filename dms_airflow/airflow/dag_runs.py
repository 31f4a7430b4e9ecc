"""DAG runs by REST. What sends a request raises ActionError where its result is not known.

https://airflow.apache.org/docs/apache-airflow/2.10.4/stable-rest-api-ref.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.dags import locate_dag
from dms_airflow.airflow.responses import parse_date
from dms_airflow.airflow.version import AIRFLOW_2
from dms_airflow.core.errors import AnswerError
from dms_airflow.core.http.exchange import Response
from dms_airflow.core.http.retry import TRIES

SUCCESS = "success"
QUEUED = "queued"
FINISHED = frozenset({SUCCESS, "failed"})

# "Invalid input for param seconds: 'abc' is not of type 'integer'", a blank line, "Failed validating 'type' in schema: …"
# A traceback also shows the line of Airflow's source, which is not the message: it does not begin with these words.
_REFUSED_PARAM = re.compile(
    r"^(?:[\w.]*(?:ParamValidationError|ValueError): )?Invalid input for param (?P<field>[^\n:]+): (?P<problem>[^\n]+)",
    re.MULTILINE,
)
_RULE = re.compile(r"Failed validating '(?P<rule>[^'\n]+)' in schema")


@dataclass(frozen=True, kw_only=True)
class DagRun:
    """One DAG run."""

    dag_id: str
    run_id: str
    state: str
    """``queued``, ``running``, ``success``, ``failed``, or what a later Airflow invents."""
    start_date: datetime | None = None
    """When its first task could start; None while queued."""
    end_date: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its state is its last."""
        return self.state in FINISHED

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it runs."""
        return (self.end_date - self.start_date).total_seconds() if self.start_date and self.end_date else None


def create_run(
    airflow: AirflowClient, dag_id: str, run_id: str, *, conf: Mapping[str, Any], logical_date: datetime, timeout: float
) -> Response:
    """Request a DAG run. Airflow makes one of an id at most. `logical_date` is for an Airflow that sets none: now.

    Raises:
        ActionError: Whether it was made is not known.
        Cancelled: The workflow was cancelled before.
    """
    airflow.require_open()
    body: dict[str, Any] = {"dag_run_id": run_id, "conf": conf}
    if not airflow.version.dates_runs:
        body["logical_date"] = logical_date.isoformat()
    return airflow.request("POST", f"{locate_dag(dag_id)}/dagRuns", body=json.dumps(body), timeout=timeout)


def fetch_run(airflow: AirflowClient, dag_id: str, run_id: str, *, tries: int = TRIES) -> DagRun | None:
    """Fetch a DAG run; None if it does not exist."""
    path = locate_run(dag_id, run_id)
    content = airflow.fetch_object(path, tries=tries)
    if content is None:
        return None
    run = parse_run(content)
    if run is None or (run.dag_id, run.run_id) != (dag_id, run_id):
        raise AnswerError(f"GET {airflow.locate(path)} at {airflow.url} answered without the DAG run.", "Run the step again.")
    return run


def fail_run(airflow: AirflowClient, dag_id: str, run_id: str) -> None:
    """End a DAG run as failed; its running tasks are ended, too."""
    path = locate_run(dag_id, run_id)
    response = airflow.request("PATCH", path, body=json.dumps({"state": "failed"}), repeatable=True)
    if response.status != HTTPStatus.OK:
        raise airflow.make_error(response, f"PATCH {airflow.locate(path)}")


def count_running(airflow: AirflowClient, dag_id: str) -> int:
    """Count a DAG's runs that are running."""
    return airflow.fetch_page(f"{locate_dag(dag_id)}/dagRuns", [("state", "running")], limit=1).total


def format_run_url(airflow: AirflowClient, run: DagRun, task_id: str = "", map_index: int = -1) -> str:
    """Format the URL of the page of a DAG run, or of the log of one of its task instances; empty for a run without an id."""
    if not run.run_id:
        return ""
    version = airflow.known_version or AIRFLOW_2
    return f"{airflow.url}{version.format_run_page(run.dag_id, run.run_id, task_id, map_index)}"


def locate_run(dag_id: str, run_id: str) -> str:
    """Return the path of a DAG run, below the API's base."""
    return f"{locate_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def parse_run(content: Mapping[str, Any]) -> DagRun | None:
    """Parse a DAG run; None where it is not one."""
    dag_id, run_id, state = content.get("dag_id"), content.get("dag_run_id"), content.get("state")
    if not (isinstance(dag_id, str) and isinstance(run_id, str) and isinstance(state, str)):
        return None
    return DagRun(
        dag_id=dag_id,
        run_id=run_id,
        state=state,
        start_date=parse_date(content.get("start_date")),
        end_date=parse_date(content.get("end_date")),
    )


def parse_refusal(text: str) -> str:
    """Say which field of the run configuration broke which rule of the DAG's params; empty where none did."""
    if not (refused := _REFUSED_PARAM.search(text)):
        return ""
    rule = _RULE.search(text)
    broken = f" (rule {rule['rule']!r} of its param)" if rule else ""
    return f"conf field {refused['field'].strip()!r}: {refused['problem'].strip()}{broken}"
