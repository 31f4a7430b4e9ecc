"""Every night: yesterday's orders into the revenue table."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.decorators import dag, task

from shop.orders import load_orders, revenue_by_country


@dag(
    schedule="@daily",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["orders"],
)
def daily_orders():
    @task
    def extract() -> list[dict]:
        return load_orders()

    @task
    def transform(orders: list[dict]) -> dict[str, int]:
        return revenue_by_country(orders)

    @task
    def load(revenue: dict[str, int]) -> None:
        for country, cents in sorted(revenue.items()):
            print(f"{country}: {cents / 100:.2f}")

    load(transform(extract()))


daily_orders()
