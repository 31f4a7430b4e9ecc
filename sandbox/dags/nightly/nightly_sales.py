"""Collects the shops' sales of a day. Its check fails: one shop counted a return twice."""

from __future__ import annotations

import time
from datetime import datetime

from airflow import DAG
from airflow.decorators import task
from sales.checks import compare_totals

SHOPS = ["berlin", "hangzhou", "lagos", "lima"]

with DAG("nightly_sales", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False, tags=["sales"]):

    @task
    def list_shops():
        time.sleep(1)
        return SHOPS

    @task
    def collect(shop):
        time.sleep(2 + 1.5 * (shop == "lagos"))
        return {"shop": shop, "total": 100, "booked": 93 if shop == "lima" else 100}

    @task
    def rates():
        time.sleep(2)

    @task
    def join(sales):
        time.sleep(1.5)
        return list(sales)

    @task
    def check(sales):
        time.sleep(1)
        compare_totals(sales)

    @task
    def publish():
        pass

    joined = join(collect.expand(shop=list_shops()))
    rates() >> joined
    check(joined) >> publish()
