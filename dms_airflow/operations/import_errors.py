"""`dags list-import-errors` and `dags reserialize`: import errors fail the step, on the line to fix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dms_airflow.checkout import Checkout
from dms_airflow.commands import has_option
from dms_airflow.import_errors import locate, read_dag_files, read_list, read_reserialize
from dms_airflow.inputs import given, parse_choice, parse_lines, parse_text
from dms_airflow.operations import command
from dms_airflow.result import Annotation, Ending, Folded, Level, Result, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.import_errors import DagImportError
    from dms_airflow.operations.command import CommandLine, Execution
    from dms_airflow.operations.context import Context

OUTPUTS = command.OUTPUTS | {"import-errors", "import-error-count", "new-import-error-count"}


@dataclass(frozen=True, kw_only=True)
class ImportErrorParams(command.TimedParams):
    """The inputs that say which import errors fail a step, and where the DAG files are."""

    fail_on: str = given(parse_choice("any", "new", "none"), default="any")
    baseline: str = given(parse_lines, default="")
    dags_path: str = given(parse_text, default="")


@dataclass(frozen=True, kw_only=True)
class Params(ImportErrorParams, command.Params):
    """The inputs of the commands that meet import errors."""


def run(params: Params, context: Context) -> Result:
    """Run the command, and make its import errors count."""
    return run_line(params.line, params, context)


def run_line(line: CommandLine, params: ImportErrorParams, context: Context) -> Result:
    """Run `dags list-import-errors` or `dags reserialize`, and tell every import error."""
    if line.name == "dags list-import-errors":
        # JSON is the only form of the answer that is never ambiguous; -v adds whole tracebacks in place of two frames.
        if not has_option(line.arguments, "-o", "--output"):
            line = line.add("-o", "json")
        if not has_option(line.arguments, "-v", "--verbose"):
            line = line.add("-v")
    execution = command.execute(line, params.timeout, context)
    checkout = Checkout(context.runner.workspace, params.dags_path or None)
    errors = locate(_read(execution), checkout, read_dag_files(execution.stdout))
    return _report(execution, errors, params, context)


def _read(execution: Execution) -> tuple[DagImportError, ...]:
    if execution.line.name == "dags reserialize":
        return read_reserialize(execution.stdout)
    return read_list(execution.outcome.answer or [], execution.stdout)


def _report(execution: Execution, errors: Sequence[DagImportError], params: ImportErrorParams, context: Context) -> Result:
    result = command.report(execution)
    outputs = {
        **result.outputs,
        "import-errors": [error.to_json() for error in errors],
        "import-error-count": len(errors),
        "new-import-error-count": sum(error.new for error in errors),
    }
    if not errors:
        # Either there are none, or the command failed before it could tell: then nothing is known of import errors.
        known = execution.outcome.succeeded
        return replace(
            result,
            outputs=outputs if known else result.outputs,
            headline="No import errors" if known else result.headline,
        )
    headline = "1 import error" if len(errors) == 1 else f"{len(errors)} import errors"
    for error in errors:
        context.log.info(f"{_place(error)}  {_summarize(error)}")
    counts = params.fail_on != "none"
    # Any other failure of the command counts whatever fail-on says.
    broken = not execution.outcome.succeeded and not execution.outcome.lists_errors
    level = Level.ERROR if counts else Level.WARNING
    return replace(
        result,
        ending=Ending.FAILURE if counts or broken else Ending.SUCCESS,
        headline=f"{result.headline}; {headline}" if broken else headline,
        outputs=outputs,
        annotations=(*(result.annotations if broken else ()), *(_annotate(error, level) for error in errors)),
        blocks=(_tabulate(errors), *(_fold(error) for error in errors)),
    )


def _annotate(error: DagImportError, level: Level) -> Annotation:
    where = "" if error.file else f"\nOn the instance, in {error.instance_path}; no file of the checkout is this one."
    return Annotation(
        level=level,
        title=f"DAG import error: {error.exception or 'unknown'}",
        message=f"{_describe(error)}{where}\n{error.stack_trace}".rstrip(),
        file=error.file,
        line=error.line,
    )


def _describe(error: DagImportError) -> str:
    return ": ".join(filter(None, (error.exception, error.message)))


def _summarize(error: DagImportError) -> str:
    return _describe(error).partition("\n")[0]


def _place(error: DagImportError) -> str:
    if error.file is None:
        return f"{error.instance_path} (on the instance)"
    return f"{error.file}:{error.line}" if error.line else error.file


def _tabulate(errors: Sequence[DagImportError]) -> Table:
    rows = tuple((_place(error), _summarize(error), error.instance_path) for error in errors)
    return Table(heading="Import errors", columns=("where to fix it", "what is wrong", "file on the instance"), rows=rows)


def _fold(error: DagImportError) -> Folded:
    return Folded(heading=f"{_place(error)}  {_summarize(error)}", text=error.stack_trace)
