"""Compares the bank's payments with the ledger, and fails when they differ by more than is tolerated."""

from __future__ import annotations

from datetime import datetime

from airflow.decorators import dag, task
from airflow.models.param import Param

LEDGER_CENTS = 25_140
BANK_CENTS = 25_090


@dag(
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    params={"tolerance": Param(100, type="integer", minimum=0, description="cents")},
    default_args={"owner": "finance"},
    tags=["finance"],
)
def reconcile_payments():
    @task
    def compare(params: dict) -> int:
        difference = abs(LEDGER_CENTS - BANK_CENTS)
        if difference > params["tolerance"]:
            raise ValueError(f"ledger and bank differ by {difference} cents, tolerated are {params['tolerance']}")
        return difference

    @task
    def close_day(difference: int) -> None:
        print("closed with a difference of", difference, "cents")

    close_day(compare())


reconcile_payments()
