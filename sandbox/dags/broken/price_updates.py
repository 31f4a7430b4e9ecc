"""New prices, checked before and after. (The tasks wait for each other.)"""

from __future__ import annotations

from datetime import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("price_updates", schedule=None, start_date=datetime(2024, 1, 1), catchup=False) as dag:
    check = BashOperator(task_id="check", bash_command="echo checked")
    publish = BashOperator(task_id="publish", bash_command="echo published")
    verify = BashOperator(task_id="verify", bash_command="echo verified")
    check >> publish >> verify >> check
