"""`dags trigger`: one DAG run, with a run id that is known before the request leaves, and waited for on request."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import CommandLine, has_option, option_value, read_positionals
from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.airflow.commands.run import TimedParams, execute
from dms_airflow.airflow.commands.send import Execution
from dms_airflow.airflow.commands.verdict import Outcome, Verdict
from dms_airflow.airflow.dag_runs import DagRun, fetch_run, parse_refusal, parse_run
from dms_airflow.core.errors import ActionError, InputProblem, add_outputs
from dms_airflow.core.inputs import InputValueError, parse_json_object
from dms_airflow.core.result import Link, Result, Table
from dms_airflow.dag_runs.completion import WaitParams, abandon_if_cancelled, complete
from dms_airflow.dag_runs.readiness import check_readiness, suggest_dag
from dms_airflow.dag_runs.report import make_outputs, report_runs
from dms_airflow.dag_runs.trigger import Answer, RunRequest, make_run_id, request_run
from dms_airflow.dag_runs.wait import WatchedRun
from dms_airflow.operations import command

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

OUTPUTS = command.OUTPUTS | {"dag-id", "run-id", "run-state", "run-url", "findings"}

NO_DAG = "must name the DAG to trigger, e.g. daily_etl"


@dataclass(frozen=True, kw_only=True)
class Params(WaitParams, command.Params):
    """The inputs of `dags trigger`."""

    def list_secrets(self) -> Sequence[str]:
        """List what must be masked."""
        return (*self.line.secrets, *super().list_secrets())

    def check(self) -> Iterator[InputProblem]:
        """A DAG to trigger, and one configuration, which is an object."""
        if not find_dag_id(self.line):
            yield InputProblem(name="arguments", message=NO_DAG)
        own = option_value(self.arguments, "-c", "--conf")
        if self.conf and has_option(self.arguments, "-c", "--conf"):
            yield InputProblem(name="conf", message="is given twice, here and as --conf in arguments")
        elif own:
            try:
                parse_json_object(own)
            except InputValueError as error:
                yield InputProblem(name="arguments", message=f"--conf {error}")


def find_dag_id(line: CommandLine) -> str:
    """Find the DAG that a command triggers; empty if it names none."""
    return "".join(read_positionals(COMMANDS[line.name], line.arguments)[:1])


def run(params: Params, context: Context) -> Result:
    """Trigger the DAG, and wait for its run if the author wants that."""
    context = replace(context, airflow=context.airflow.until(context.clock.monotonic() + params.timeout))
    path = ""
    if params.wait_for_completion:
        dag_id = find_dag_id(params.line)
        with add_outputs({"dag-id": dag_id}):
            path = check_readiness(dag_id, params.on_paused, context).path
    requested, line = _prepare(params.line, params.conf, context)
    with abandon_if_cancelled([requested], params.on_cancel, context):
        execution, run = _trigger(requested, line, context)
    result = _report(execution, run, context)
    if not (params.wait_for_completion and run and execution.outcome.succeeded):
        return result
    with add_outputs(result.outputs):
        watch = WatchedRun(run=run, path=path)
        complete([watch], params, context)
        report = report_runs([watch], params.dags_path, context)
    return replace(report, outputs={**result.outputs, **make_outputs(watch.run, context.airflow)})


def run_line(line: CommandLine, params: TimedParams, context: Context) -> Result:
    """Trigger a DAG, and report the run."""
    context = replace(context, airflow=context.airflow.until(context.clock.monotonic() + params.timeout))
    requested, line = _prepare(line, "", context)
    return _report(*_trigger(requested, line, context), context)


def _prepare(line: CommandLine, conf: str, context: Context) -> tuple[RunRequest, CommandLine]:
    """Give a run its id and, where Airflow gives it none, its date; return it with the whole command."""
    author_id = option_value(line.arguments, "-r", "--run-id")
    is_dated = has_option(line.arguments, "-e", "--exec-date", "-l", "--logical-date")
    requested = RunRequest(
        dag_id=find_dag_id(line),
        run_id=author_id or make_run_id(context.runner, secrets.token_hex(4)),
        is_own=not author_id,
        is_dated=is_dated,
    )
    if not is_dated and not context.airflow.version.dates_runs:
        # As by REST, and to the microsecond: there is one run for each date, and the command line would cut it to the second.
        line = line.add("--logical-date", context.clock.time_of_day().isoformat(), "--no-replace-microseconds")
    if not author_id:
        line = line.add("--run-id", requested.run_id)
    if conf:
        line = line.add("--conf", conf)
    if not has_option(line.arguments, "-o", "--output"):
        line = line.add("-o", "json")
    return requested, line


def _trigger(requested: RunRequest, line: CommandLine, context: Context) -> tuple[Execution, DagRun | None]:
    """Run the command until it is known whether its DAG run exists, which it may although the command failed; return both."""
    with add_outputs({"dag-id": requested.dag_id, "run-id": requested.run_id}):
        answer = request_run(requested, lambda timeout: execute(line, timeout, context), _classify, context)
    if isinstance(answer, DagRun):
        records = [{"dag_id": answer.dag_id, "dag_run_id": answer.run_id, "state": answer.state}]
        outcome = Outcome(verdict=Verdict.SUCCEEDED, records=records)
        return Execution(line=line, stdout=outcome.json, stderr="", outcome=outcome), answer
    outcome = answer.outcome
    if outcome.succeeded:
        created = parse_run(outcome.records[0]) if outcome.records else None
        # A DAG file may print something that looks like Airflow's output.
        return answer, created if created and created.dag_id == requested.dag_id else requested.run
    run: DagRun | None = None
    if "DagNotFound" in outcome.reason:
        outcome = replace(outcome, advice=suggest_dag(requested.dag_id, context))
    elif refusal := parse_refusal(answer.stderr):
        outcome = replace(outcome, reason=refusal, advice="Correct conf; the DAG's params say what it takes.")
    elif requested.is_own:
        with suppress(ActionError):
            run = fetch_run(context.airflow, requested.dag_id, requested.run_id)
        if run:
            made = (
                f"The DAG run {run.run_id} was created in spite of that, and is {run.state}: check it before you trigger again."
            )
            outcome = replace(outcome, advice=f"{made} {outcome.advice}".strip())
    return replace(answer, outcome=outcome), run


def _classify(execution: Execution) -> Answer:
    # Airflow found such a run, or, a moment later, its database did.
    if any(word in execution.outcome.reason for word in ("DagRunAlreadyExists", "IntegrityError")):
        return Answer.CONFLICT
    return Answer.OPEN if execution.outcome.verdict is Verdict.UNKNOWN else Answer.FINAL


def _report(execution: Execution, run: DagRun | None, context: Context) -> Result:
    """Report the command, and the run that it created."""
    result = command.report(execution)
    outputs = {**result.outputs, **(make_outputs(run, context.airflow) if run else {"dag-id": find_dag_id(execution.line)})}
    if not (run and execution.outcome.succeeded):
        return replace(result, outputs=outputs)
    context.log.info(f"DAG run {run.run_id} of {run.dag_id} is {run.state}. Its page: {outputs['run-url']}")
    row = (run.dag_id, Link(text=run.run_id, url=outputs["run-url"]), run.state)
    return replace(
        result,
        headline=f"DAG run {run.run_id} of {run.dag_id} is {run.state}",
        outputs=outputs,
        blocks=(Table(heading="DAG run", columns=("DAG", "run", "state"), rows=(row,)), *result.blocks),
    )
