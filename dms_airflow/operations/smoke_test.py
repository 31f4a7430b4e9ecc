"""`smoke-test`: the instance is healthy, and the DAGs named run through."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.dag_runs import DagRun, create_run, format_run_url, parse_refusal, parse_run
from dms_airflow.airflow.health import await_health
from dms_airflow.airflow.responses import describe_problem
from dms_airflow.core.errors import ActionError, InputProblem, add_outputs
from dms_airflow.core.http.exchange import Response
from dms_airflow.core.inputs import input_field, parse_names
from dms_airflow.core.result import Ending, Result
from dms_airflow.dag_runs.completion import WaitParams, abandon_if_cancelled, complete
from dms_airflow.dag_runs.readiness import check_readiness, suggest_dag
from dms_airflow.dag_runs.report import describe_run, make_outputs, report_runs
from dms_airflow.dag_runs.trigger import REFUSALS, Answer, RunRequest, make_run_id, request_run
from dms_airflow.dag_runs.wait import WatchedRun

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

OUTPUTS = frozenset({"dag-id", "run-id", "run-state", "run-url", "runs", "findings"})

NOT_TRIGGERED = "not triggered"


@dataclass(frozen=True, kw_only=True)
class Params(WaitParams):
    """The inputs of `smoke-test`."""

    arguments: tuple[str, ...] = input_field(parse_names, default=())

    def check(self) -> Iterator[InputProblem]:
        """DAG ids and nothing else."""
        for word in self.arguments:
            if word.startswith("-"):
                yield InputProblem(name="arguments", message=f"must contain DAG ids only, but {word} looks like an option")
        if self.conf and not self.arguments:
            yield InputProblem(name="conf", message="is given, but arguments names no DAG to give it to")


def run(params: Params, context: Context) -> Result:
    """Check the instance's health, then run the DAGs in parallel."""
    airflow = context.airflow.until(context.clock.monotonic() + params.timeout)
    context = replace(context, airflow=airflow)
    interval = params.poll_interval
    health = await_health(airflow, context.clock, context.log, interval=interval, consequence="No DAG was triggered.")
    context.log.info(f"The instance is healthy: {health}.")
    if not params.arguments:
        return Result(ending=Ending.SUCCESS, headline=f"The instance is healthy: {health}", outputs={"runs": []})
    watches = _trigger_all(params, context)
    with add_outputs({"runs": [_describe(one.run, airflow) for one in watches if not one.error]}):
        complete(watches, params, context)
        result = report_runs(watches, params.dags_path, context)
    for one in watches:
        if one.run.run_id:
            context.log.info(describe_run(one))
    wrong = [one for one in watches if one.ending is not Ending.SUCCESS]
    names = f"; not: {', '.join(one.run.dag_id for one in wrong)}" if wrong else ""
    shown = make_outputs((wrong or watches[-1:])[0].run, airflow)
    return replace(
        result,
        headline=f"{len(watches) - len(wrong)} of {len(watches)} DAGs succeeded{names}",
        outputs={"runs": [_describe(one.run, airflow) for one in watches], **shown},
    )


def _trigger_all(params: Params, context: Context) -> list[WatchedRun]:
    """Trigger each DAG, and return their runs, or why they have none."""
    conf = json.loads(params.conf or "{}")
    requests = [
        RunRequest(dag_id=dag_id, run_id=make_run_id(context.runner, secrets.token_hex(4))) for dag_id in params.arguments
    ]

    def trigger(requested: RunRequest) -> WatchedRun:
        try:
            path = check_readiness(requested.dag_id, params.on_paused, context).path
            return WatchedRun(run=_create(requested, conf, context), path=path)
        except ActionError as error:
            return WatchedRun(run=DagRun(dag_id=requested.dag_id, run_id="", state=NOT_TRIGGERED), error=error)

    known = {"runs": [_describe(one.run, context.airflow) for one in requests]}
    with add_outputs(known), abandon_if_cancelled(requests, params.on_cancel, context):
        watches = context.airflow.map(trigger, requests)
        for one in watches:
            said = f"{NOT_TRIGGERED}. {one.error.message}" if one.error else f"DAG run {one.run.run_id} is {one.run.state}."
            context.log.info(f"{one.run.dag_id}: {said}")
    return watches


def _create(requested: RunRequest, conf: Mapping[str, Any], context: Context) -> DagRun:
    """Create a DAG run by REST, which explains a refusal better than the command line, and does not start a process."""
    dag_id, now = requested.dag_id, context.clock.time_of_day()

    def send(timeout: float) -> DagRun | Response:
        response = create_run(context.airflow, dag_id, requested.run_id, conf=conf, logical_date=now, timeout=timeout)
        created = parse_run(response.parse_object()) if response.status == HTTPStatus.OK else None
        if created and (created.dag_id, created.run_id) == (dag_id, requested.run_id):
            return created
        # Airflow explains a refusal. Any other response without this run is from a gateway: it is not known what happened.
        if response.status in REFUSALS and response.parse_object():
            return response
        raise context.airflow.make_error(response, f"POST of a DAG run of {dag_id}")

    def classify(answer: DagRun | Response) -> Answer:
        if isinstance(answer, DagRun):
            return Answer.FINAL
        return Answer.CONFLICT if answer.status == HTTPStatus.CONFLICT else Answer.OPEN

    answer = request_run(requested, send, classify, context)
    if isinstance(answer, DagRun):
        return answer
    refusal = parse_refusal(str(answer.parse_object().get("detail")))
    raise ActionError(
        f"Airflow refused a run of {dag_id} with status {answer.status}: "
        f"{refusal or describe_problem(answer, context.log.redact)}",
        "Correct conf; the DAG's params say what it takes." if refusal else suggest_dag(dag_id, context),
        title="Trigger refused",
    )


def _describe(run: DagRun, airflow: AirflowClient) -> dict[str, Any]:
    url = format_run_url(airflow, run)
    return {"dag_id": run.dag_id, "run_id": run.run_id, "state": run.state, "duration": run.seconds, "url": url}
