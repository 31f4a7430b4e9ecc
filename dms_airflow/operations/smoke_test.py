"""`smoke-test`: the instance is healthy, and the DAGs named run through."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands.run import TimedParams
from dms_airflow.airflow.dag_runs import DagRun, create_run, format_run_url, parse_refusal, parse_run
from dms_airflow.airflow.health import await_health
from dms_airflow.airflow.pages import describe_problem
from dms_airflow.core.errors import ActionError, Cancelled, InputProblem, TriggerRefusedError, add_outputs
from dms_airflow.core.inputs import input_field, parse_names
from dms_airflow.core.result import Check, Ending, Result, Table
from dms_airflow.core.secrets.values import find_secrets
from dms_airflow.dag_runs.completion import abandon, complete
from dms_airflow.dag_runs.readiness import check_readiness, suggest_dag
from dms_airflow.dag_runs.report import describe_completion, group_failures, report_runs, tabulate_runs
from dms_airflow.dag_runs.trigger import RunRequest, Trigger, make_run_id
from dms_airflow.operations import dags_trigger as trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.core.http.exchange import Response
    from dms_airflow.core.result import Annotation
    from dms_airflow.dag_runs.completion import Completion, WaitOptions
    from dms_airflow.operations.context import Context

OUTPUTS = frozenset({"dag-id", "run-id", "run-state", "run-url", "runs", "findings"})

NOT_TRIGGERED = "not triggered"

_OK = 200
_CONFLICT = 409
_REFUSED = (400, 401, 403, 404, 405, 415, 422)


@dataclass(frozen=True, kw_only=True)
class Params(trigger.WaitParams, TimedParams):
    """The inputs of `smoke-test`."""

    arguments: tuple[str, ...] = input_field(parse_names, default=())

    def check(self) -> Iterator[InputProblem]:
        """DAG ids and nothing else."""
        for word in self.arguments:
            if word.startswith("-"):
                yield InputProblem(name="arguments", message=f"must contain DAG ids only, but {word} looks like an option")
        doubles = sorted({word for word in self.arguments if self.arguments.count(word) > 1})
        if doubles:
            yield InputProblem(name="arguments", message=f"names a DAG twice: {', '.join(doubles)}")
        if self.conf and not self.arguments:
            yield InputProblem(name="conf", message="is given, but arguments names no DAG to give it to")

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked."""
        return find_secrets(self.conf)


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """A DAG of the test: its run, or why it has none."""

    dag_id: str
    dag_file: str = ""
    run: DagRun | None = None
    error: ActionError | None = None


def run(params: Params, context: Context) -> Result:
    """Check the instance's health, then run the DAGs in parallel."""
    deadline = context.clock.monotonic() + params.timeout
    airflow = context.airflow.until(deadline)
    interval = params.poll_interval
    health = await_health(airflow, context.clock, context.log, interval=interval, consequence="No DAG was triggered.")
    context.log.info(f"The instance is healthy: {health}.")
    if not params.arguments:
        return Result(ending=Ending.SUCCESS, headline=f"The instance is healthy: {health}", outputs={"runs": []})
    conf = json.loads(params.conf or "{}")
    requests = [
        RunRequest(dag_id=dag_id, run_id=make_run_id(context.runner, secrets.token_hex(4)), conf=conf)
        for dag_id in params.arguments
    ]

    def attempt(requested: RunRequest) -> _Attempt:
        try:
            dag = check_readiness(requested.dag_id, params.on_paused, airflow, context)
            made = _trigger(requested, deadline, airflow, context)
        except ActionError as error:
            return _Attempt(dag_id=requested.dag_id, error=error)
        return _Attempt(dag_id=requested.dag_id, dag_file=dag.path, run=made)

    try:
        attempts = airflow.map(attempt, requests)
        for one in attempts:
            if one.run:
                context.log.info(f"{one.dag_id}: DAG run {one.run.run_id} is {one.run.state}.")
            elif one.error:
                context.log.info(f"{one.dag_id}: {NOT_TRIGGERED}. {one.error.message}")
    except Cancelled:
        airflow.close()  # the threads that trigger know nothing of the signal
        asked = [DagRun(dag_id=requested.dag_id, run_id=requested.run_id, state="queued") for requested in requests]
        fates = abandon(asked, params.on_cancel, airflow, context.clock, are_known=False)
        fate = " ".join(f"DAG run {run_id} of {dag_id}: {fate.message}" for (dag_id, run_id), fate in fates.items())
        raise Cancelled({"runs": [_describe(run, airflow) for run in asked]}, fate) from None
    return _wait(attempts, trigger.make_wait_options(params, deadline), params.dags_path, airflow, context)


def _trigger(requested: RunRequest, deadline: float, airflow: AirflowClient, context: Context) -> DagRun:
    """Create a DAG run by REST, which explains a refusal better than the command line, and does not start a process."""
    dag_id, run_id = requested.dag_id, requested.run_id
    now = context.clock.time_of_day()

    def send(timeout: float) -> Response:
        answer = create_run(airflow, dag_id, run_id, conf=requested.conf or {}, logical_date=now, timeout=timeout)
        # Airflow explains a refusal. Any other response without this run is from a gateway: it is not known what happened.
        is_refused = answer.status in _REFUSED and answer.parse_object()
        if not (is_made(answer) or is_refused or answer.status == _CONFLICT):
            raise airflow.make_error(answer, f"POST of a DAG run of {dag_id}")
        return answer

    def is_made(answer: Response) -> bool:
        made = parse_run(answer.parse_object()) if answer.status == _OK else None
        return made is not None and (made.dag_id, made.run_id) == (dag_id, run_id)

    response = Trigger(requested, airflow, context, deadline).ask(send, is_made, lambda answer: answer.status == _CONFLICT)
    if isinstance(response, DagRun):
        return response
    made = parse_run(response.parse_object()) if response.status == _OK else None
    if made:
        return made
    problem = describe_problem(response, context.log.redact)
    refusal = parse_refusal(str(response.parse_object().get("detail")))
    raise TriggerRefusedError(
        f"Airflow refused a run of {dag_id} with status {response.status}: {refusal or problem}",
        "Correct conf; the DAG's params say what it takes." if refusal else suggest_dag(dag_id, airflow),
    )


def _wait(attempts: Sequence[_Attempt], terms: WaitOptions, dags_path: str, airflow: AirflowClient, context: Context) -> Result:
    """Wait for the runs, and report all."""
    files = {one.dag_id: one.dag_file for one in attempts}
    runs = [one.run for one in attempts if one.run]
    with add_outputs({"runs": [_describe(run, airflow) for run in runs]}):
        completions = complete(runs, terms, airflow, context)
        completions, reports = report_runs(completions, files, dags_path, airflow, context)
    by_dag = {one.run.dag_id: one for one in completions}
    refused = [annotation for one in attempts if one.error for annotation in _annotate(one.dag_id, one.error)]
    ending = _sum_up(attempts, completions)
    wrong = [one for one in attempts if one.error or by_dag[one.dag_id].ending is not Ending.SUCCESS]
    shown = wrong[0] if wrong else attempts[-1]
    count = len(attempts)
    for completion in completions:
        context.log.info(describe_completion(completion))
    return Result(
        ending=ending,
        headline=f"{count - len(wrong)} of {count} DAGs succeeded"
        + (f"; not: {', '.join(one.dag_id for one in wrong)}" if wrong else ""),
        outputs={
            "runs": [_describe_attempt(one, by_dag, airflow) for one in attempts],
            **_make_outputs(shown, by_dag, airflow),
        },
        findings=group_failures(reports),
        annotations=(*refused, *(annotation for report in reports for annotation in report.annotations)),
        blocks=(
            *([tabulate_runs(completions, airflow)] if completions else []),
            *([_tabulate_refused(attempts)] if refused else []),
            *(block for report in reports for block in report.blocks),
        ),
        checks=(
            *(check for report in reports for check in report.checks),
            *(Check(suite=one.dag_id, name="DAG run", failure=one.error.message) for one in attempts if one.error),
        ),
    )


def _sum_up(attempts: Sequence[_Attempt], completions: Sequence[Completion]) -> Ending:
    endings = {one.ending for one in completions}
    if Ending.CANCELLED in endings:
        return Ending.CANCELLED
    endings |= {one.error.ending for one in attempts if one.error}
    if Ending.FAILURE in endings:
        return Ending.FAILURE
    return Ending.TIMEOUT if Ending.TIMEOUT in endings else Ending.SUCCESS


def _annotate(dag_id: str, error: ActionError) -> tuple[Annotation, ...]:
    return tuple(replace(one, message=f"{dag_id}: {one.message}") for one in error.to_result().annotations)


def _tabulate_refused(attempts: Sequence[_Attempt]) -> Table:
    rows = tuple((one.dag_id, one.error.message) for one in attempts if one.error)
    return Table(heading="DAGs that were not triggered", columns=("DAG", "why"), rows=rows)


def _make_outputs(attempt: _Attempt, by_dag: dict[str, Completion], airflow: AirflowClient) -> dict[str, str]:
    if attempt.dag_id not in by_dag:
        return {"dag-id": attempt.dag_id, "run-state": NOT_TRIGGERED}
    run = by_dag[attempt.dag_id].run
    return trigger.write_outputs(run, format_run_url(airflow, run))


def _describe_attempt(attempt: _Attempt, by_dag: dict[str, Completion], airflow: AirflowClient) -> dict[str, Any]:
    if attempt.dag_id in by_dag:
        return _describe(by_dag[attempt.dag_id].run, airflow)
    return {"dag_id": attempt.dag_id, "run_id": "", "state": NOT_TRIGGERED, "duration": None, "url": ""}


def _describe(run: DagRun, airflow: AirflowClient) -> dict[str, Any]:
    url = format_run_url(airflow, run)
    return {"dag_id": run.dag_id, "run_id": run.run_id, "state": run.state, "duration": run.seconds, "url": url}
