"""Stock levels from the warehouse's API. (The variable was never set on the instance.)"""

from __future__ import annotations

from datetime import datetime

from airflow import DAG
from airflow.models import Variable
from airflow.operators.bash import BashOperator

API_URL = Variable.get("inventory_api_url")

with DAG("inventory_sync", schedule="@hourly", start_date=datetime(2024, 1, 1), catchup=False) as dag:
    BashOperator(task_id="fetch_stock", bash_command=f"echo asking {API_URL}")
