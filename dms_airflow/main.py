"""The story of a step: read the inputs, connect, run, report. The one place that turns an exception into an exit code."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dms_airflow import __version__
from dms_airflow.ci.github import Runner, Workflow
from dms_airflow.ci.report import Occasion, report
from dms_airflow.config import Config, check_paths, list_secrets
from dms_airflow.connect import connect
from dms_airflow.core.clock import SystemClock
from dms_airflow.core.errors import ActionError, Cancelled, InputProblem
from dms_airflow.core.inputs import InputValueError, load
from dms_airflow.core.result import Annotation, Ending, Level, Result
from dms_airflow.operations import Operation, find_operation, judge_other_inputs, refuse_inputs, run_operation
from dms_airflow.operations.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from dms_airflow.core.clock import Clock

ISSUES_URL = "https://github.com/dms-airflow/dms-airflow/issues"


def main(
    environ: Mapping[str, str],
    stdout: TextIO,
    clock: Clock | None = None,
    before_report: Callable[[], None] = lambda: None,
) -> int:
    """Do what the step's inputs say.

    Args:
        environ: The process's environment.
        stdout: The step's log.
        clock: Time.
        before_report: Called when all is done but the report, which nothing may interrupt.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong inputs, 130 cancelled.
    """
    clock = clock or SystemClock()
    started = clock.monotonic()
    runner = Runner.from_environ(environ)
    workflow = Workflow(runner, stdout)
    for secret in list_secrets(environ):
        workflow.mask(secret)
    problems: list[InputProblem] = []
    config = load(Config, environ, problems)
    connection = connect(config, runner, environ, clock, workflow)
    session, airflow = connection.session, connection.airflow
    try:
        operation, params = _read_operation(config, environ, runner, problems)
        for word in params.list_secrets():
            workflow.mask_word(word)
        workflow.info(f"dms-airflow {__version__}: {config.operation} on {config.instance_id}")
        context = Context(
            config=config,
            airflow=airflow,
            session=session,
            transport=connection.transport,
            runner=runner,
            clock=clock,
            log=workflow,
        )
        result = run_operation(operation, params, context)
    except ActionError as error:
        result = error.to_result()
    except Cancelled as cancelled:
        result = _tell_cancelled(cancelled, is_connected=bool(session.host))
    except Exception as error:  # noqa: BLE001 - a bug of ours must still be reported, and end red
        result = _tell_bug(error, workflow)
    if any(problem.name == "result-file" for problem in problems):
        config = replace(config, result_file="")  # it may lie anywhere
    before_report()
    duration = clock.monotonic() - started
    occasion = Occasion.of(config, airflow_url=session.host, airflow_version=airflow.version, duration=duration)
    try:
        return report(result, occasion, config, runner, workflow)
    except Exception as error:  # noqa: BLE001 - as above
        for annotation in _tell_bug(error, workflow).annotations:
            workflow.annotate(annotation)
        return Ending.FAILURE.exit_code


def _read_operation(
    config: Config, environ: Mapping[str, str], runner: Runner, problems: list[InputProblem]
) -> tuple[Operation, Any]:
    """Choose the operation and read its inputs; refuse with everything that is wrong at once.

    Raises:
        InputError: Something is.
    """
    operation: Operation | None = None
    params: Any = None
    if config.operation:
        try:
            operation = find_operation(config.operation)
        except InputValueError as error:
            problems.append(InputProblem(name="operation", message=str(error)))
    if operation:
        params = load(operation.Params, environ, problems)
    problems.extend(judge_other_inputs(operation, environ))
    problems.extend(check_paths(runner, result_file=config.result_file, dags_path=getattr(params, "dags_path", "")))
    if problems or not operation:
        raise refuse_inputs(config.operation, problems)
    return operation, params


def _tell_cancelled(cancelled: Cancelled, *, is_connected: bool) -> Result:
    run_id = cancelled.outputs.get("run-id")
    left = "What was sent to Airflow before goes on there." if is_connected else "Nothing was sent to Airflow before."
    if run_id:
        left = f"The DAG run {run_id}, if it was made, goes on."
    left = cancelled.fate or left
    annotation = Annotation(level=Level.WARNING, title="Cancelled", message=f"The workflow was cancelled. {left}")
    return Result(
        ending=Ending.CANCELLED,
        headline="Cancelled by the runner",
        outputs=cancelled.outputs,
        annotations=(annotation,),
    )


def _tell_bug(error: Exception, workflow: Workflow) -> Result:
    workflow.fold("Traceback of the internal error", "".join(traceback.format_exception(error)))
    annotation = Annotation(
        level=Level.ERROR,
        title="Internal error",
        message=f"dms-airflow {__version__} met a bug of its own: {type(error).__name__}: {error}\n"
        f"What it was doing may or may not have happened. Please report it with the traceback in the log: {ISSUES_URL}",
    )
    return Result(ending=Ending.FAILURE, headline=f"Internal error: {type(error).__name__}", annotations=(annotation,))
