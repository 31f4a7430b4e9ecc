"""Before a DAG is triggered and waited for: it exists, is active, imports, and is not paused."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from dms_airflow.airflow.dags import Dag, fetch_dag, list_dags, unpause_dag
from dms_airflow.core.errors import ActionError, DagNotReadyError

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

SUGGESTIONS = 3


def check_readiness(dag_id: str, on_paused: str, context: Context) -> Dag:
    """Check one DAG, and unpause it where the author wants that.

    Raises:
        ActionError: The DAG does not exist, or a run of it would not be created, or never start.
    """
    dag = fetch_dag(context.airflow, dag_id)
    if dag is None:
        message = f"{context.airflow.url} has no DAG {dag_id}."
        raise ActionError(message, suggest_dag(dag_id, context), title="DAG not found")
    # First: on Airflow 3 a file that does not import also takes its DAGs out of service.
    if dag.has_import_errors:
        raise DagNotReadyError(
            f"DAG {dag_id} has import errors: its file {dag.path} does not import on the instance.",
            "Run the operation dags list-import-errors to see them on their lines.",
        )
    if not dag.is_active:
        raise DagNotReadyError(
            f"DAG {dag_id} is not active: its file {dag.path} is gone, or no longer defines it.",
            "Deploy the file again and wait until the scheduler has read it, e.g. with the operation deploy-gate.",
        )
    if dag.is_paused and on_paused == "fail":
        raise DagNotReadyError(
            f"DAG {dag_id} is paused: its run would stay queued for ever.",
            "Unpause it in Airflow or with the operation dags unpause, or set on-paused: unpause.",
        )
    if dag.is_paused and on_paused == "unpause":
        unpause_dag(context.airflow, dag_id)
        context.log.info(f"DAG {dag_id} was paused, and is unpaused now (on-paused: unpause). It stays unpaused.")
    return dag


def suggest_dag(dag_id: str, context: Context) -> str:
    """Suggest the DAGs with the most similar ids, as the next step."""
    try:
        known = [dag.dag_id for dag in list_dags(context.airflow, only_active=True)]
    except ActionError:
        return "Search for the DAG's id in Airflow."
    nearest = difflib.get_close_matches(dag_id, known, n=SUGGESTIONS, cutoff=0.5)
    if nearest:
        return f"Did you mean {' or '.join(nearest)}? If not: is it deployed, and does its file import?"
    return (
        f"None of the {len(known)} active DAGs that the instance shows has an id like this one. Is it deployed, does its file "
        "import, and may the identity read it?"
    )
