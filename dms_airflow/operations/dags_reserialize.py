"""`dags reserialize`: import errors and DAGs that do not serialize fail the step, though Airflow ends the command with 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.import_errors.fetch import reserialize
from dms_airflow.operations.dags_list_import_errors import OUTPUTS, Params, report_listing

if TYPE_CHECKING:
    from dms_airflow.airflow.commands.arguments import CommandLine
    from dms_airflow.core.result import Result
    from dms_airflow.import_errors.report import ImportErrorParams
    from dms_airflow.operations.context import Context

__all__ = ["OUTPUTS", "Params", "run", "run_line"]


def run(params: Params, context: Context) -> Result:
    """Run the command, and make the errors that it leaves count."""
    return run_line(params.line, params, context)


def run_line(line: CommandLine, params: ImportErrorParams, context: Context) -> Result:
    """Run `dags reserialize`, and report every error."""
    return report_listing(reserialize(line, params.timeout, context), line, params, context)
