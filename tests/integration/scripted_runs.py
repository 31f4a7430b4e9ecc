"""An Airflow whose DAG runs go on by one step each time somebody looks at them, so that no test depends on time."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from sandbox.instance import CommandResult, WebResponse
from sandbox.openapi import PREFIX
from tests.integration.fake_dms import JSON, DroppedError, FakeAirflow

if TYPE_CHECKING:
    from collections.abc import Sequence

HEALTHY = {
    "dag_processor": {"latest_dag_processor_heartbeat": None, "status": None},
    "metadatabase": {"status": "healthy"},
    "scheduler": {"latest_scheduler_heartbeat": "2026-11-22T12:00:00+00:00", "status": "healthy"},
    "triggerer": {"latest_triggerer_heartbeat": None, "status": None},
}

# When Airflow 2 makes its runs.
NOON = "2026-11-22T12:00:00+00:00"

ScriptedStep = tuple[str, dict[str, str | None]]  # the run's state, and its tasks' states

DONE: ScriptedStep = ("success", {"extract": "success", "load": "success"})
GOOD: tuple[ScriptedStep, ...] = (("queued", {}), ("running", {"extract": "running", "load": None}), DONE)


@dataclass
class ScriptedDag:
    """A DAG: what its runs go through, and what else Airflow says of it."""

    steps: Sequence[ScriptedStep] = GOOD
    fields: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, dict[str, Any]] | None = None
    logs: dict[str, Any] = field(default_factory=dict)
    """By task: text, or on Airflow 3 the entries."""


@dataclass
class Fault:
    """What happens to one request: the connection breaks, or an answer of the test's own comes.

    Args:
        what: A pattern that method and path match.
        happens: What was asked for is done all the same.
        answer: None: the connection breaks.
    """

    what: str
    happens: bool = False
    answer: WebResponse | None = None


@dataclass
class ScriptedRuns(FakeAirflow):
    """Makes each DAG run once, and moves it on with each look."""

    dags: dict[str, ScriptedDag] = field(default_factory=dict)
    runs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    made: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(HEALTHY)))
    faults: list[Fault] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Run a command, or meet a fault."""
        line = " ".join(arguments)
        fault = self._find_fault(line)
        if fault and not fault.happens:
            raise DroppedError(line)
        result = self._run_command(arguments)
        if fault and fault.answer is None:
            raise DroppedError(line)
        if fault and fault.answer:
            return CommandResult(stdout=fault.answer.body.decode(), stderr="", exit_code=0, seconds=0.0)
        return result

    def _find_fault(self, what: str) -> Fault | None:
        with self._lock:
            found = next((fault for fault in self.faults if re.search(fault.what, what)), None)
            if found:
                self.faults.remove(found)
        return found

    def _run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Trigger as Airflow's command line does; other commands as scripted."""
        if list(arguments[:2]) != ["dags", "trigger"]:
            return super().run_command(arguments)
        dag_id, run_id = arguments[2], arguments[list(arguments).index("--run-id") + 1]
        frame = 'Traceback (most recent call last):\n  File "/usr/bin/airflow", line 8, in <module>\n'
        if dag_id not in self.dags:
            reason = f"airflow.exceptions.DagNotFound: Dag id {dag_id} not found in DagModel\n"
        elif not self.make(dag_id, run_id, self._read_date(arguments)):
            reason = (
                "airflow.exceptions.DagRunAlreadyExists: A DAG Run already exists for DAG "
                f"{dag_id} at 2026-11-22 12:00:00+00:00 with run id {run_id}\n"
            )
        else:
            answer = [{"dag_id": dag_id, "dag_run_id": run_id, "state": "queued"}]
            return CommandResult(stdout=f"{json.dumps(answer)}\n", stderr="", exit_code=0, seconds=0.0)
        return CommandResult(stdout="", stderr=frame + reason, exit_code=1, seconds=0.0)

    def _read_date(self, arguments: Sequence[str]) -> str | None:
        """Read the date that Airflow's command line gives a run."""
        if not self.is_airflow_3:
            return NOON
        return arguments[list(arguments).index("--logical-date") + 1] if "--logical-date" in arguments else None

    @property
    def is_airflow_3(self) -> bool:
        """Whether it speaks as Airflow 3 does."""
        return self.version.startswith("3")

    def make(self, dag_id: str, run_id: str, logical_date: str | None = NOON) -> bool:
        """Make a run; False when there is one of this id."""
        with self._lock:
            if (dag_id, run_id) in self.runs:
                return False
            self.made.append((dag_id, run_id))
            self.runs[dag_id, run_id] = {"looks": 0, "logical_date": logical_date}
        return True

    def request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer a REST call, or meet a fault."""
        what = f"{method} {target.removeprefix(PREFIX)}"
        fault = self._find_fault(what)
        if not fault:
            return self._request(method, target, headers, body)
        if fault.happens:
            self._request(method, target, headers, body)
        if fault.answer is None:
            raise DroppedError(what)
        return fault.answer

    def _request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer for DAGs and their runs; anything else as scripted."""
        url = urlsplit(target.removeprefix(PREFIX))
        api, health = ("/api/v2", "/monitor/health") if self.is_airflow_3 else ("/api/v1", "/health")
        if url.path == f"{api}{health}":
            return _answer(self.health)
        if url.path == f"{api}/dags":
            return _answer({"dags": [{"dag_id": dag_id} for dag_id in self.dags], "total_entries": len(self.dags)})
        if match := re.fullmatch(rf"{api}/dags/([^/]+)(?:/(.*))?", url.path):
            return self._answer_dag(method, match[1], match[2] or "", parse_qs(url.query), body)
        return super().request(method, target, headers, body)

    def _answer_dag(self, method: str, dag_id: str, rest: str, query: dict[str, list[str]], body: bytes) -> WebResponse:
        dag = self.dags.get(dag_id)
        if dag is None:
            return _answer({"title": "DAG not found", "status": 404}, 404)
        if not rest:
            dag.fields |= json.loads(body) if method == "PATCH" else {}
            is_alive = {"is_stale": False} if self.is_airflow_3 else {"is_active": True}
            return _answer({"dag_id": dag_id, "fileloc": f"/opt/airflow/dags/{dag_id}.py", **is_alive, **dag.fields})
        if rest == "tasks":
            return _answer({"tasks": [{"task_id": "extract", "downstream_task_ids": ["load"]}, {"task_id": "load"}]})
        if rest == "dagRuns":
            is_asked_for = method == "POST"
            return (
                self._create(dag_id, dag, json.loads(body)) if is_asked_for else _answer({"dag_runs": [], "total_entries": 0})
            )
        _, run_id, *below = rest.split("/")
        if (dag_id, run_id) not in self.runs:
            return _answer({"title": "DAGRun not found", "status": 404}, 404)
        return self._answer_run(method, dag_id, run_id, "/".join(below), query)

    def _create(self, dag_id: str, dag: ScriptedDag, body: dict[str, Any]) -> WebResponse:
        if dag.refusal:
            return _answer(dag.refusal[1], dag.refusal[0])
        run_id = body["dag_run_id"]
        if self.is_airflow_3 and "logical_date" not in body:
            return _answer({"detail": [{"type": "missing", "loc": ["body", "logical_date"], "msg": "Field required"}]}, 422)
        is_made = self.make(dag_id, run_id, body.get("logical_date", NOON))
        if not is_made and self.is_airflow_3:
            return _answer({"detail": {"reason": "Unique constraint violation", "message": "Serious error"}}, 409)
        if not is_made:
            return _answer({"title": "Conflict", "detail": f"DAGRun ID: '{run_id}' already exists", "status": 409}, 409)
        return _answer(self._describe(dag_id, run_id, "queued") | {"conf": body["conf"]})

    def _answer_run(self, method: str, dag_id: str, run_id: str, below: str, query: dict[str, list[str]]) -> WebResponse:
        run, dag = self.runs[dag_id, run_id], self.dags[dag_id]
        if method == "PATCH":
            self.failed.append((dag_id, run_id))
            run["state"] = "failed"
            return _answer(self._describe(dag_id, run_id, "failed"))
        if "/logs/" in below:
            log = dag.logs.get(below.split("/")[1], "*** no log\n")
            return _answer({"content": log, "continuation_token": None}) if isinstance(log, list) else _text(log)
        # Each look at the run is a step; its tasks are those of the step that was told last.
        with self._lock:
            run["looks"] += not below
            state, tasks = dag.steps[min(max(run["looks"], 1), len(dag.steps)) - 1]
        if below:
            return self._list(tasks, int(query.get("offset", ["0"])[0]))
        return _answer(self._describe(dag_id, run_id, run.get("state", state)))

    def _list(self, tasks: dict[str, str | None], offset: int) -> WebResponse:
        rows = [
            {
                "task_id": name.partition("[")[0],
                "map_index": int(name.partition("[")[2].rstrip("]") or -1),
                "state": state,
                "try_number": 0 if state is None else 1,
                "max_tries": 0,
                "pool": "default_pool",
                "start_date": None if state is None else "2026-11-22T12:00:01+00:00",
                "end_date": "2026-11-22T12:00:03+00:00" if state in ("success", "failed") else None,
                "duration": 2.0 if state in ("success", "failed") else None,
            }
            for name, state in tasks.items()
        ]
        return _answer({"task_instances": rows[offset : offset + 100], "total_entries": len(rows)})

    def _describe(self, dag_id: str, run_id: str, state: str) -> dict[str, Any]:
        ended = state in ("success", "failed")
        return {
            "dag_id": dag_id,
            "dag_run_id": run_id,
            "state": state,
            "logical_date": self.runs[dag_id, run_id]["logical_date"],
            "start_date": None if state == "queued" else "2026-11-22T12:00:00+00:00",
            "end_date": "2026-11-22T12:00:04+00:00" if ended else None,
            "conf": {},
        }


def _answer(body: object, status: int = 200) -> WebResponse:
    return WebResponse(status=status, headers=[JSON], body=json.dumps(body).encode())


def _text(body: str) -> WebResponse:
    return WebResponse(status=200, headers=[("Content-Type", "text/plain")], body=body.encode())
