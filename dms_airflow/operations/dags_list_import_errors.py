"""`dags list-import-errors`: import errors fail the step, on the line to fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import CommandLine, has_option
from dms_airflow.checkout.dag_files import choose_files, find_root
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core.result import DAG_FILES, Check, Ending, Result
from dms_airflow.import_errors.fetch import Listing, find_places, list_import_errors, reserialize
from dms_airflow.import_errors.instance_warnings import find_warnings
from dms_airflow.import_errors.parse import DagImportError
from dms_airflow.import_errors.report import ERROR_OUTPUTS, ImportErrorParams, report_errors
from dms_airflow.operations import command

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

OUTPUTS = command.OUTPUTS | ERROR_OUTPUTS


@dataclass(frozen=True, kw_only=True)
class Params(ImportErrorParams, command.Params):
    """The inputs of the commands that find import errors."""


def run(params: Params, context: Context) -> Result:
    """Run the command, and make its import errors count."""
    return run_line(params.line, params, context)


def run_line(line: CommandLine, params: ImportErrorParams, context: Context) -> Result:
    """Run `dags list-import-errors` or `dags reserialize`, and report every import error."""
    find_errors = reserialize if line.name == "dags reserialize" else list_import_errors
    return _report(find_errors(line, params.timeout, context), line, params, context)


def _report(listing: Listing, line: CommandLine, params: ImportErrorParams, context: Context) -> Result:
    """Report what the author's command found, judged by `fail-on` and `baseline`."""
    checkout = Checkout(context.runner.workspace, params.dags_path or None)
    outcome = listing.execution.outcome
    # Any other failure of the command counts whatever fail-on says.
    failed = not outcome.succeeded and not outcome.lists_errors
    wants_warnings = params.warnings and not failed
    errors, printed = find_places(listing, checkout, params.timeout, context, with_warnings=wants_warnings)
    is_partial = has_option(line.arguments, "-S", "--subdir", "-B", "--bundle-name")
    result = command.report(listing.execution)
    result = replace(
        result,
        annotations=(*(result.annotations if failed or not errors else ()), *listing.warnings),
        blocks=() if errors else result.blocks,
        checks=tuple(_list_checks(errors, checkout)) if context.config.junit_file and not is_partial else (),
    )
    if not errors and not outcome.succeeded:
        # Either it is not known which errors there are, or the author's own output format hides which they are.
        only_reported = outcome.lists_errors and params.fail_on == "none"
        return replace(result, ending=Ending.SUCCESS) if only_reported else result
    paths = {dag.dag_id: dag.path for dag in listing.dags}
    files = sorted({*paths.values(), *(error.instance_path for error in errors)})
    warnings = find_warnings(printed, context, checkout, files, paths) if wants_warnings else ()
    report = report_errors(errors, params, context, complete=not failed and not is_partial, warnings=warnings)
    return replace(
        result,
        ending=Ending.FAILURE if failed else report.ending,
        headline=f"{result.headline}; {report.headline}" if failed else report.headline,
        outputs={**result.outputs, **report.outputs},
        findings=report.findings,
        annotations=(*result.annotations, *report.annotations),
        blocks=(*result.blocks, *report.blocks),
    )


def _list_checks(errors: Sequence[DagImportError], checkout: Checkout) -> Iterator[Check]:
    """List the DAG files of the checkout, which were imported."""
    broken = [error.instance_path for error in errors]
    root = find_root(broken, checkout)
    files = map(checkout.relate, choose_files(root, checkout, broken).awaited.values()) if root else ()
    return (Check(suite=DAG_FILES, name=name) for name in files)
