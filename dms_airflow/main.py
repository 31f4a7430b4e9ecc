"""Runs one step: parses the inputs, connects, runs the operation, reports. Turns exceptions into exit codes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TextIO

from dms_airflow import __version__
from dms_airflow.ci import make_ci_system
from dms_airflow.ci.pull_request_comment import update_comment
from dms_airflow.ci.report import report
from dms_airflow.ci.system import CiSystem
from dms_airflow.config import Inputs, list_secrets, parse_inputs
from dms_airflow.connect import connect
from dms_airflow.core.clock import Clock, TerminalClock
from dms_airflow.core.errors import ActionError, Cancelled, InputProblem
from dms_airflow.core.result import Annotation, Ending, Level, Result
from dms_airflow.core.text import count
from dms_airflow.operations import run_operation
from dms_airflow.operations.context import Context

ISSUES_URL = "https://github.com/dms-airflow/dms-airflow/issues"


def main(
    environ: Mapping[str, str],
    stdout: TextIO,
    clock: Clock | None = None,
    cancellable: Callable[[], AbstractContextManager[None]] = nullcontext,
    result_stream: TextIO | None = None,
) -> int:
    """Do what the step's inputs say.

    Args:
        environ: The process's environment.
        stdout: The step's log.
        clock: Time.
        cancellable: Surrounds what may be cancelled: all but the beginning and the report.
        result_stream: Where the whole result is written as JSON, if anywhere.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong inputs, 130 cancelled.
    """
    ci = make_ci_system(environ, stdout)
    clock = clock or (TerminalClock(stdout) if ci.runner.is_terminal else Clock())
    started = clock.monotonic()
    for secret in list_secrets(environ):
        ci.mask(secret)
    try:
        with ci.redact_stderr():
            inputs = parse_inputs(environ, ci.runner)
            config = inputs.config
            context = connect(config, ci, environ, clock)
            result = _run(inputs, context, ci, cancellable)
        version = context.airflow.known_version
        known = {"airflow-version": version.number} if version and version.number else {}
        learnt = {"airflow-url": context.session.host, "duration": round(clock.monotonic() - started, 1)}
        result = replace(result, outputs={**known, **result.outputs, **learnt})
        comment = partial(update_comment, ci=ci, transport=context.transport, clock=clock)
        return report(result, config, ci, result_stream, update_comment=comment)
    except Exception as error:  # noqa: BLE001 - a bug of ours must still be reported, and end red
        for annotation in _make_bug_result(error, ci).annotations:
            ci.annotate(annotation)
        return Ending.FAILURE.exit_code


def _run(inputs: Inputs, context: Context, ci: CiSystem, cancellable: Callable[[], AbstractContextManager[None]]) -> Result:
    """Run the operation; whatever keeps it from a result becomes one."""
    if inputs.problems or not inputs.operation:
        return _make_problems_result(inputs.problems)
    try:
        with cancellable():
            for word in inputs.params.list_secrets():
                ci.mask_word(word)
            ci.info(f"dms-airflow {__version__}: {inputs.config.operation} on {inputs.config.instance_id}")
            return run_operation(inputs.operation, inputs.params, context)
    except ActionError as error:
        return error.to_result()
    except Cancelled as cancelled:
        return _make_cancelled_result(cancelled, is_connected=bool(context.session.host))
    except Exception as error:  # noqa: BLE001 - as above
        return _make_bug_result(error, ci)


def _make_problems_result(problems: Sequence[InputProblem]) -> Result:
    annotations = (
        Annotation(level=Level.ERROR, title=f"Wrong input: {one.name}", message=f"{one.name}: {one.message}")
        for one in problems
    )
    return Result(ending=Ending.REFUSED, headline=count(len(problems), "wrong input"), annotations=tuple(annotations))


def _make_cancelled_result(cancelled: Cancelled, *, is_connected: bool) -> Result:
    if run_id := cancelled.outputs.get("run-id"):
        left = f"The DAG run {run_id} continues if it was created."
    elif is_connected:
        left = "What was sent to Airflow before continues there."
    else:
        left = "Nothing was sent to Airflow."
    message = f"Cancelled before the end. {cancelled.fate or left}"
    return Result(
        ending=Ending.CANCELLED,
        headline="Cancelled",
        outputs=cancelled.outputs,
        annotations=(Annotation(level=Level.WARNING, title="Cancelled", message=message),),
    )


def _make_bug_result(error: Exception, ci: CiSystem) -> Result:
    ci.fold("Traceback of the internal error", "".join(traceback.format_exception(error)))
    annotation = Annotation(
        level=Level.ERROR,
        title="Internal error",
        message=f"dms-airflow {__version__} has a bug: {type(error).__name__}: {error}\n"
        f"The operation may be done or not. Please report the bug, with the traceback from the log: {ISSUES_URL}",
    )
    return Result(ending=Ending.FAILURE, headline=f"Internal error: {type(error).__name__}", annotations=(annotation,))
