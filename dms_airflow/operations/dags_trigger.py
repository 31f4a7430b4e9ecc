"""`dags trigger`: one DAG run, with a run id that is known before the request leaves, and waited for on request."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands.arguments import has_option, option_value, read_positionals
from dms_airflow.airflow.commands.run import Execution, TimedParams, execute
from dms_airflow.airflow.commands.table import COMMANDS
from dms_airflow.airflow.commands.verdict import Outcome, Verdict
from dms_airflow.airflow.dag_runs import DagRun, fetch_run, format_run_url, parse_refusal, parse_run
from dms_airflow.core.errors import ActionError, Cancelled, InputProblem, add_outputs
from dms_airflow.core.inputs import (
    InputValueError,
    input_field,
    parse_boolean,
    parse_choice,
    parse_duration,
    parse_json_object,
    parse_text,
)
from dms_airflow.core.result import Link, Result, Table
from dms_airflow.core.secrets.values import find_secrets
from dms_airflow.dag_runs.completion import WaitOptions, abandon, complete
from dms_airflow.dag_runs.readiness import check_readiness, suggest_dag
from dms_airflow.dag_runs.report import group_failures, report_runs, tabulate_runs
from dms_airflow.dag_runs.trigger import RunRequest, Trigger, make_run_id
from dms_airflow.operations import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.commands.command_line import CommandLine
    from dms_airflow.operations.context import Context

OUTPUTS = command.OUTPUTS | {"dag-id", "run-id", "run-state", "run-url", "findings"}


@dataclass(frozen=True, kw_only=True)
class WaitParams:
    """The inputs of whatever waits for a DAG run."""

    conf: str = input_field(parse_json_object, default="")
    wait_for_completion: bool = input_field(parse_boolean, default=False)
    poll_interval: float | None = input_field(parse_duration)
    on_paused: str = input_field(parse_choice("fail", "unpause", "ignore"), default="fail")
    on_cancel: str = input_field(parse_choice("leave", "fail-run"), default="leave")
    dags_path: str = input_field(parse_text, default="")


@dataclass(frozen=True, kw_only=True)
class Params(WaitParams, command.Params):
    """The inputs of `dags trigger`."""

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked."""
        return (*super().list_secrets(), *find_secrets(self.conf))

    def check(self) -> Iterator[InputProblem]:
        """A DAG to trigger, and one configuration, which is an object."""
        yield from check_arguments(self.arguments)
        own = option_value(self.arguments, "-c", "--conf")
        if self.conf and has_option(self.arguments, "-c", "--conf"):
            yield InputProblem(name="conf", message="is given twice, here and as --conf in arguments")
        elif own:
            try:
                parse_json_object(own)
            except InputValueError as error:
                yield InputProblem(name="arguments", message=f"--conf {error}")


def make_wait_options(params: WaitParams, deadline: float) -> WaitOptions:
    """Make the options of a wait from the inputs."""
    return WaitOptions(deadline=deadline, poll_interval=params.poll_interval, on_cancel=params.on_cancel)


def check_arguments(arguments: tuple[str, ...]) -> Iterator[InputProblem]:
    """A DAG run needs its DAG."""
    if not read_positionals(COMMANDS["dags trigger"], arguments):
        yield InputProblem(name="arguments", message="must name the DAG to trigger, e.g. daily_etl")


@dataclass(frozen=True, kw_only=True)
class _Triggered:
    """A command that triggers, and the DAG run that it created, also if it failed after that."""

    execution: Execution
    run: DagRun | None = None
    left: DagRun | None = None


def run(params: Params, context: Context) -> Result:
    """Trigger the DAG."""
    deadline = context.clock.monotonic() + params.timeout
    airflow = context.airflow.until(deadline)
    (dag_id,) = read_positionals(COMMANDS["dags trigger"], params.arguments)[:1]
    dag_file = ""
    if params.wait_for_completion:
        with add_outputs({"dag-id": dag_id}):
            dag_file = check_readiness(dag_id, params.on_paused, airflow, context).path
    try:
        triggered = _trigger(params.line, params.conf, deadline, airflow, context)
    except Cancelled as cancelled:
        if not (run_id := cancelled.outputs.get("run-id")):
            raise
        asked = DagRun(dag_id=dag_id, run_id=run_id, state="queued")
        (fate,) = abandon([asked], params.on_cancel, airflow, context.clock, are_known=False).values()
        raise Cancelled(cancelled.outputs, f"DAG run {run_id} of {dag_id}: {fate.message}") from None
    result = _report(triggered, airflow, context)
    if not (triggered.run and params.wait_for_completion):
        return result
    wait = _Wait(run=triggered.run, dag_file=dag_file, dags_path=params.dags_path, terms=make_wait_options(params, deadline))
    return _wait_and_report(wait, result, airflow, context)


def run_line(line: CommandLine, params: TimedParams, context: Context, *, conf: str = "") -> Result:
    """Trigger a DAG, and report the run."""
    deadline = context.clock.monotonic() + params.timeout
    airflow = context.airflow.until(deadline)
    return _report(_trigger(line, conf, deadline, airflow, context), airflow, context)


def _trigger(line: CommandLine, conf: str, deadline: float, airflow: AirflowClient, context: Context) -> _Triggered:
    """Run the command until it is known whether its DAG run exists."""
    given_id = option_value(line.arguments, "-r", "--run-id")
    is_dated = has_option(line.arguments, "-e", "--exec-date", "-l", "--logical-date")
    now = context.clock.time_of_day()
    # As by REST, and to the microsecond: there is one run for each date, and the command line would cut it to the second.
    needs_date = not is_dated and not context.airflow.version.dates_runs
    date = ("--logical-date", now.isoformat(), "--no-replace-microseconds") if needs_date else ()
    requested = RunRequest(
        dag_id="".join(read_positionals(COMMANDS["dags trigger"], line.arguments)[:1]),
        run_id=given_id or make_run_id(context.runner, secrets.token_hex(4)),
        conf=_read_conf(conf or option_value(line.arguments, "-c", "--conf") or "{}"),
        is_own=not given_id,
        is_dated=is_dated,
        logical_date=now if date else None,
    )
    line = line.add(*date)
    if not given_id:
        line = line.add("--run-id", requested.run_id)
    if conf:
        line = line.add("--conf", conf)
    if not has_option(line.arguments, "-o", "--output"):
        line = line.add("-o", "json")
    with add_outputs({"dag-id": requested.dag_id, "run-id": requested.run_id}):
        response = Trigger(requested, airflow, context, deadline).ask(
            lambda timeout: execute(line, timeout, context), _is_conclusive, _is_conflict
        )
    if isinstance(response, Execution):
        return _explain(response, requested, airflow)
    answer = [{"dag_id": response.dag_id, "dag_run_id": response.run_id, "state": response.state}]
    outcome = Outcome(verdict=Verdict.SUCCEEDED, records=answer)
    execution = Execution(line=line, stdout=json.dumps(answer, ensure_ascii=False), stderr="", outcome=outcome)
    return _Triggered(execution=execution, run=response)


def _is_conclusive(execution: Execution) -> bool:
    """Whether the output says what became of the run: it was made, or Airflow refused to make it, and names the reason."""
    return execution.outcome.verdict is not Verdict.UNKNOWN and not _is_conflict(execution)


def _is_conflict(execution: Execution) -> bool:
    """Whether a failure says that the DAG run exists: Airflow found it, or, a moment later, its database did."""
    return any(word in execution.outcome.reason for word in ("DagRunAlreadyExists", "IntegrityError"))


def _read_conf(text: str) -> dict[str, Any] | None:
    try:
        conf = json.loads(text)
    except ValueError:
        return None
    return conf if isinstance(conf, dict) else None


def _read_run(outcome: Outcome, requested: RunRequest) -> DagRun:
    created = parse_run(outcome.records[0]) if outcome.records else None
    # A DAG file may print something that looks like Airflow's output.
    if created and created.dag_id == requested.dag_id:
        return created
    return DagRun(dag_id=requested.dag_id, run_id=requested.run_id, state="queued")


def _explain(execution: Execution, requested: RunRequest, airflow: AirflowClient) -> _Triggered:
    """Explain a failure in more detail: similar DAG ids, the field of conf that broke a rule, or the run that exists."""
    outcome, left = execution.outcome, None
    if outcome.succeeded:
        return _Triggered(execution=execution, run=_read_run(outcome, requested))
    if "DagNotFound" in outcome.reason:
        outcome = replace(outcome, advice=suggest_dag(requested.dag_id, airflow))
    elif refusal := parse_refusal(execution.stderr):
        outcome = replace(outcome, reason=refusal, advice="Correct conf; the DAG's params say what it takes.")
    elif requested.is_own and (left := _find_remaining_run(requested, airflow)):
        made = (
            f"The DAG run {left.run_id} was created in spite of that, and is {left.state}: check it before you trigger again."
        )
        outcome = replace(outcome, advice=f"{made} {outcome.advice}".strip())
    return _Triggered(execution=replace(execution, outcome=outcome), left=left)


def _find_remaining_run(requested: RunRequest, airflow: AirflowClient) -> DagRun | None:
    try:
        return fetch_run(airflow, requested.dag_id, requested.run_id)
    except ActionError:
        return None


def _report(triggered: _Triggered, airflow: AirflowClient, context: Context) -> Result:
    """Report the command, and the run that it created."""
    result = command.report(triggered.execution)
    run = triggered.run or triggered.left
    if not run:
        dag_id = "".join(read_positionals(COMMANDS["dags trigger"], triggered.execution.line.arguments)[:1])
        return replace(result, outputs={**result.outputs, "dag-id": dag_id})
    url = format_run_url(airflow, run)
    outputs = {**result.outputs, **write_outputs(run, url)}
    if not triggered.run:
        return replace(result, outputs=outputs)
    context.log.info(f"DAG run {run.run_id} of {run.dag_id} is {run.state}. Its page: {url}")
    table = Table(
        heading="DAG run", columns=("DAG", "run", "state"), rows=((run.dag_id, Link(text=run.run_id, url=url), run.state),)
    )
    return replace(
        result,
        headline=f"DAG run {run.run_id} of {run.dag_id} is {run.state}",
        outputs=outputs,
        blocks=(table, *result.blocks),
    )


def write_outputs(run: DagRun, url: str) -> dict[str, str]:
    """Make the outputs of a DAG run."""
    return {"dag-id": run.dag_id, "run-id": run.run_id, "run-state": run.state, "run-url": url}


@dataclass(frozen=True, kw_only=True)
class _Wait:
    """A DAG run to wait for."""

    run: DagRun
    dag_file: str
    dags_path: str
    terms: WaitOptions


def _wait_and_report(wait: _Wait, begun: Result, airflow: AirflowClient, context: Context) -> Result:
    """Wait for the run, and report its end."""
    with add_outputs(begun.outputs):
        completions = complete([wait.run], wait.terms, airflow, context)
        files = {wait.run.dag_id: wait.dag_file}
        (completion,), (report,) = report_runs(completions, files, wait.dags_path, airflow, context)
    url = format_run_url(airflow, wait.run)
    return Result(
        ending=completion.ending,
        headline=report.headline,
        outputs={**begun.outputs, **write_outputs(completion.run, url)},
        findings=group_failures([report]),
        annotations=report.annotations,
        blocks=(tabulate_runs([completion], airflow), *report.blocks),
        checks=report.checks,
    )
