"""Returned goods, by reason. (A parenthesis is never closed.)"""

from __future__ import annotations

from datetime import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("returns", schedule="@daily", start_date=datetime(2024, 1, 1), catchup=False) as dag:
    BashOperator(task_id="count_returns", bash_command="echo counted"
