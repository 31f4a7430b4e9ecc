"""Why nothing happens in a DAG run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import QUEUED, count_running
from dms_airflow.airflow.dags import fetch_dag
from dms_airflow.airflow.health import fetch_health
from dms_airflow.airflow.task_instances import has_free_slot, join_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.dag_runs import DagRun
    from dms_airflow.airflow.task_instances import TaskInstance

UNKNOWN = "Airflow gives no reason; the scheduler may be busy"


def explain_stall(run: DagRun, instances: Sequence[TaskInstance], airflow: AirflowClient) -> str:
    """Explain why a DAG run of which no task instance is running does not start or continue.

    Raises:
        ActionError: The instance does not answer.
    """
    dag = fetch_dag(airflow, run.dag_id)
    if dag and dag.is_paused:
        return f"DAG {run.dag_id} is paused; unpause it, or set on-paused: unpause"
    health = fetch_health(airflow)
    if health.unhealthy:
        return f"the instance is not healthy: {'; '.join(map(str, health.unhealthy))}"
    if run.state == QUEUED:
        running = count_running(airflow, run.dag_id)
        if dag and dag.max_active_runs and running >= dag.max_active_runs:
            return f"{running} runs of {run.dag_id} are running, and its max_active_runs is {dag.max_active_runs}"
        return UNKNOWN
    return _explain_tasks(instances, airflow, has_triggerer=health.has_triggerer)


def _explain_tasks(instances: Sequence[TaskInstance], airflow: AirflowClient, *, has_triggerer: bool) -> str:
    for state, why in (
        ("deferred", "the triggerer waits for them" if has_triggerer else "the instance runs no triggerer to resume them"),
        ("up_for_reschedule", "a sensor checks again later"),
        ("up_for_retry", "they failed and are retried after their retry_delay"),
    ):
        if names := join_names(instances, {state}):
            return f"{names} {state.replace('_', ' ')}: {why}"
    waiting = [one for one in instances if not one.is_finished]
    for pool in sorted({one.pool for one in waiting if one.pool}):
        if not has_free_slot(airflow, pool):
            return f"the pool {pool} has no free slot for {join_names(waiting, {one.state for one in waiting})}"
    if names := join_names(instances, {"queued"}):
        return f"{names} queued: no worker has taken them yet (parallelism of the executor, workers of the instance)"
    return UNKNOWN
