"""What the campaigns cost. (The package is not installed on the instance.)"""

from __future__ import annotations

from datetime import datetime

from airflow.decorators import dag, task

from marketing_sdk import Campaigns


@dag(schedule="@daily", start_date=datetime(2024, 1, 1), catchup=False)
def ad_spend():
    @task
    def fetch() -> float:
        return Campaigns().spend()

    fetch()


ad_spend()
