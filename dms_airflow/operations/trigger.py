"""`dags trigger`: one DAG run, with a run id that is known before the request leaves."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dms_airflow.airflow import API
from dms_airflow.commands import has_option, option_value, read_positionals
from dms_airflow.errors import ActionError, AnswerError, AnswerLostError, Cancelled, InputProblem
from dms_airflow.inputs import given, parse_boolean, parse_choice, parse_duration, parse_json_object
from dms_airflow.operations import command
from dms_airflow.operations.command import CommandLine, Execution
from dms_airflow.outcome import Outcome
from dms_airflow.result import Link, Result, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dms_airflow.config import Runner
    from dms_airflow.operations.context import Context

OUTPUTS = command.OUTPUTS | {"dag-id", "run-id", "run-state", "run-url"}

LONGEST_RUN_ID = 250  # characters, Airflow's column


@dataclass(frozen=True, kw_only=True)
class WaitParams:
    """The inputs of whatever waits for a DAG run."""

    conf: str = given(parse_json_object, default="")
    wait_for_completion: bool = given(parse_boolean, default=False)
    poll_interval: float | None = given(parse_duration)
    on_paused: str = given(parse_choice("fail", "unpause", "ignore"), default="fail")
    on_cancel: str = given(parse_choice("leave", "fail-run"), default="leave")


@dataclass(frozen=True, kw_only=True)
class Params(WaitParams, command.Params):
    """The inputs of `dags trigger`."""

    def check(self) -> Iterator[InputProblem]:
        """A DAG to trigger, and one configuration."""
        yield from check_arguments(self.arguments)
        if self.conf and has_option(self.arguments, "-c", "--conf"):
            yield InputProblem(name="conf", message="is given twice, here and as --conf in arguments")


def check_arguments(arguments: tuple[str, ...]) -> Iterator[InputProblem]:
    """A DAG run needs its DAG."""
    if not read_positionals(arguments):
        yield InputProblem(name="arguments", message="must name the DAG to trigger, e.g. daily_etl")


def run(params: Params, context: Context) -> Result:
    """Trigger the DAG."""
    return run_line(params.line, params, context, conf=params.conf)


def run_line(line: CommandLine, params: command.TimedParams, context: Context, *, conf: str = "") -> Result:
    """Trigger a DAG, and tell which run it is."""
    dag_id = "".join(read_positionals(line.arguments)[:1])
    given_id = option_value(line.arguments, "-r", "--run-id")
    run_id = given_id or make_run_id(context.runner, secrets.token_hex(4))
    if not given_id:
        line = line.add("--run-id", run_id)
    if conf:
        line = line.add("--conf", conf)
    if not has_option(line.arguments, "-o", "--output"):
        line = line.add("-o", "json")
    known = {"dag-id": dag_id, "run-id": run_id}
    try:
        execution = _execute(line, known, params, context, is_ours=not given_id)
    except (ActionError, Cancelled) as error:
        error.outputs = known
        raise
    result = command.report(execution)
    if not execution.outcome.succeeded:
        return replace(result, outputs={**result.outputs, "dag-id": dag_id})
    return _tell(result, _read_run(execution.outcome, dag_id, run_id), context)


def _execute(
    line: CommandLine, known: dict[str, str], params: command.TimedParams, context: Context, *, is_ours: bool
) -> Execution:
    """Run the command; where its answer says nothing, find out by the run id whether the DAG run was made."""
    try:
        return command.execute(line, params.timeout, context)
    except (AnswerLostError, AnswerError) as lost:
        # A run of an id that the author gave may be older than this step.
        if not is_ours:
            raise
        context.log.info(f"{lost.message} Looking for the DAG run {known['run-id']}.")
        try:
            run = _look_up(known["dag-id"], known["run-id"], context)
        except ActionError as error:
            context.log.info(error.message)
            run = {}
        if not run:
            raise
    outcome = Outcome(succeeded=True, answer=[run], has_answer=True)
    return Execution(line=line, stdout=json.dumps([run], ensure_ascii=False), stderr="", outcome=outcome)


def _tell(result: Result, run: dict[str, Any], context: Context) -> Result:
    dag_id, run_id, state = run["dag_id"], run["dag_run_id"], run["state"]
    url = f"{context.airflow.url}/dags/{quote(dag_id, safe='')}/grid?dag_run_id={quote(run_id, safe='')}"
    context.log.info(f"Its page: {url}")
    outputs = {**result.outputs, "dag-id": dag_id, "run-id": run_id, "run-state": state, "run-url": url}
    table = Table(heading="DAG run", columns=("DAG", "run", "state"), rows=((dag_id, Link(text=run_id, url=url), state),))
    return replace(result, headline=f"DAG run {run_id} of {dag_id} is {state}", outputs=outputs, blocks=(table, *result.blocks))


def _read_run(outcome: Outcome, dag_id: str, run_id: str) -> dict[str, Any]:
    told = outcome.answer[0] if outcome.has_answer and outcome.answer else {}
    expected = {"dag_id": dag_id, "dag_run_id": run_id, "state": "queued"}
    return {name: told[name] if isinstance(told.get(name), str) else value for name, value in expected.items()}


def _look_up(dag_id: str, run_id: str, context: Context) -> dict[str, Any]:
    """Find a DAG run by its id; empty when it is not there."""
    path = f"{API}/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
    answer = context.airflow.request("GET", path)
    return answer.parse_object() if answer.status == 200 else {}  # noqa: PLR2004


def make_run_id(runner: Runner, token: str) -> str:
    """Make a run id that says which step made it, in the characters that Airflow allows.

    ``allowed_run_id_pattern`` is ``^[A-Za-z0-9_.~:+-]+$``; REST answers 500 to any other id.

    Args:
        runner: Names the workflow run, the attempt, the job and the step.
        token: Random, so that two steps never meet.
    """
    place = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{runner.job}-{runner.step}").strip("-")
    return f"gha__{runner.run_id}-{runner.run_attempt}-{place}"[: LONGEST_RUN_ID - len(token) - 2] + f"__{token}"
