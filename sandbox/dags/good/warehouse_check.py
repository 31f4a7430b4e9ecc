"""Three quick looks at the warehouse; run by hand, e.g. after a deploy."""

from __future__ import annotations

from datetime import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator


def count_rows(**context):
    print("asked for:", context["dag_run"].conf)
    return 4


with DAG(
    "warehouse_check",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    default_args={"owner": "data-team"},
    tags=["smoke"],
) as dag:
    connect = BashOperator(task_id="connect", bash_command="echo connected on {{ ds }}")
    count = PythonOperator(task_id="count", python_callable=count_rows)
    report = BashOperator(task_id="report", bash_command="echo {{ ti.xcom_pull(task_ids='count') }} rows")
    connect >> count >> report
