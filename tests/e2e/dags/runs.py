"""DAGs whose runs end in every way that a wait has to tell apart."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path

from airflow import DAG
from airflow.decorators import task
from airflow.exceptions import AirflowSkipException
from airflow.models.param import Param
from airflow.operators.bash import BashOperator
from warehouse import load_rows

COMMON = {"schedule": None, "start_date": datetime(2024, 1, 1), "is_paused_upon_creation": False}

with DAG("quick", **COMMON):
    BashOperator(task_id="extract", bash_command="true") >> BashOperator(task_id="load", bash_command="true")

with DAG("failing", **COMMON):

    @task
    def load():
        load_rows([{"cost": 1}])

    @task
    def report():
        pass

    @task
    def side():
        pass

    load() >> report()
    side()

with DAG("bash_failing", **COMMON):
    BashOperator(task_id="export", bash_command="echo no space left on device >&2; exit 3")

with DAG("slow", **COMMON):

    @task
    def crawl():
        time.sleep(300)

    crawl()

with DAG("halting", **COMMON):

    @task
    def halt():
        # A sign that the test gives, beside this file.
        sign = Path(__file__).with_name("go-on")
        while not sign.exists():
            time.sleep(0.2)

    halt()

with DAG("mapped", **COMMON):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def square(number):
        if number == 3:
            raise RuntimeError("three is not allowed")
        return number * number

    square.expand(number=[1, 2, 3, 4])

with DAG("second_try", **COMMON):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def flaky(ti=None):
        if ti.try_number == 1:
            raise RuntimeError("not at once")

    @task
    def optional():
        raise AirflowSkipException("nothing to do")

    flaky()
    optional()

with DAG("not_begun", **{**COMMON, "start_date": datetime(2999, 1, 1)}):
    BashOperator(task_id="never", bash_command="true")

with DAG("ruled", params={"seconds": Param(1, type="integer")}, **COMMON):
    BashOperator(task_id="wait", bash_command="true")

with DAG("paused", **{**COMMON, "is_paused_upon_creation": True}):
    BashOperator(task_id="hello", bash_command="true")
