"""`dags reserialize`: import errors and DAGs that do not serialize fail the step, though Airflow ends the command with 0."""

from __future__ import annotations

from dms_airflow.operations.dags_list_import_errors import OUTPUTS, Params, run, run_line

__all__ = ["OUTPUTS", "Params", "run", "run_line"]
