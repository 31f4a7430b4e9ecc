"""The report that management asks for: one month, one currency."""

from __future__ import annotations

from datetime import datetime

from airflow import DAG
from airflow.models.param import Param
from airflow.operators.bash import BashOperator

with DAG(
    "monthly_report",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    params={
        "month": Param("2024-01", type="string", pattern=r"^\d{4}-\d{2}$", description="year and month"),
        "currency": Param("EUR", enum=["CNY", "EUR", "USD"]),
        "seconds": Param(1, type="integer", minimum=0, description="how long the warehouse takes"),
    },
    default_args={"owner": "data-team"},
    tags=["report"],
) as dag:
    query = BashOperator(task_id="query", bash_command="sleep {{ params.seconds }}")
    render = BashOperator(task_id="render", bash_command="echo report of {{ params.month }} in {{ params.currency }}")
    query >> render
