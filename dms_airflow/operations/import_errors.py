"""`dags list-import-errors` and `dags reserialize`: import errors fail the step, on the line to fix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import has_option
from dms_airflow.checkout.dag_files import choose_files, find_root
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core.result import DAG_FILES, Check, Ending, Result
from dms_airflow.import_errors.fetch import list_import_errors, reserialize
from dms_airflow.import_errors.parse import locate
from dms_airflow.import_errors.parse_log import read_dag_files
from dms_airflow.import_errors.report import ERROR_OUTPUTS, ImportErrorParams, report_errors
from dms_airflow.operations import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dms_airflow.airflow.commands.run import CommandLine, Execution
    from dms_airflow.import_errors.parse import DagImportError
    from dms_airflow.operations.context import Context

OUTPUTS = command.OUTPUTS | ERROR_OUTPUTS


@dataclass(frozen=True, kw_only=True)
class Params(ImportErrorParams, command.Params):
    """The inputs of the commands that meet import errors."""


def run(params: Params, context: Context) -> Result:
    """Run the command, and make its import errors count."""
    return run_line(params.line, params, context)


def run_line(line: CommandLine, params: ImportErrorParams, context: Context) -> Result:
    """Run `dags list-import-errors` or `dags reserialize`, and report every import error."""
    listing = line.name == "dags list-import-errors"
    told = (list_import_errors if listing else reserialize)(line, params.timeout, context)
    checkout = Checkout(context.runner.workspace, params.dags_path or None)
    imported = read_dag_files(told.execution.stdout)
    errors = locate(told.errors, checkout, imported)
    partial = has_option(line.arguments, "-S", "--subdir", "-B", "--bundle-name")
    result = _report(told.execution, errors, params, context, partial=partial)
    checks = _list_checks(errors, imported, checkout, partial=partial) if context.config.junit_file else ()
    return replace(result, annotations=(*result.annotations, *told.warnings), checks=tuple(checks))


def _list_checks(
    errors: Sequence[DagImportError], imported: Sequence[str], checkout: Checkout, *, partial: bool
) -> Iterator[Check]:
    """List the DAG files that were imported. Where the log does not name them, they are those of the checkout."""
    names: Iterable[str] = ()
    broken = [error.instance_path for error in errors]
    if imported:
        files = checkout.map_paths(imported)
        names = [checkout.relate(files.get(path, path)) for path in imported]
    elif not partial and (root := find_root(broken, checkout)):
        names = map(checkout.relate, choose_files(root, checkout, broken).awaited.values())
    return (Check(suite=DAG_FILES, name=name) for name in names)


def _report(
    execution: Execution, errors: Sequence[DagImportError], params: ImportErrorParams, context: Context, *, partial: bool
) -> Result:
    result = command.report(execution)
    if not errors and not execution.outcome.succeeded:
        # Either the command failed before it could tell, or the author's own output format hides which they are.
        only_reported = execution.outcome.lists_errors and params.fail_on == "none"
        return replace(result, ending=Ending.SUCCESS) if only_reported else result
    # Any other failure of the command counts whatever fail-on says.
    broken = not execution.outcome.succeeded and not execution.outcome.lists_errors
    told = report_errors(errors, params, context, complete=not broken and not partial)
    return replace(
        result,
        ending=Ending.FAILURE if told.fails or broken else Ending.SUCCESS,
        headline=f"{result.headline}; {told.headline}" if broken else told.headline,
        outputs={**result.outputs, **told.outputs},
        findings=told.findings,
        annotations=(*(result.annotations if broken or not errors else ()), *told.annotations),
        blocks=(*(() if errors else result.blocks), *told.tables),
    )
