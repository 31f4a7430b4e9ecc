"""The owner's settings that the sandbox can give Airflow are real: each changes what Airflow prints, finds or knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox
from sandbox.installation import wanted_version
from sandbox.log_settings import LOG_SETTING_NAMES, LOG_SETTINGS
from sandbox.settings import Settings, local_secrets, second_bundle
from tests.e2e.conftest import TRIED_LOG_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.instance import CommandResult

pytestmark = pytest.mark.e2e

VERSION = wanted_version()
AIRFLOW_2 = VERSION.startswith("2.")

SOUND = """
import logging

import pendulum
from airflow import DAG

logging.getLogger("shop").warning("the stock is low")
with DAG("orders", schedule=None, start_date=pendulum.datetime(2024, 1, 1)):
    pass
"""
BROKEN = "from airflow import DAG\nfrom reporting_tools import render\n"


@pytest.fixture(scope="module")
def small_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with a DAG file that logs a warning and one that does not import; nothing runs in it."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / "orders.py").write_text(SOUND)
    (dags / "broken.py").write_text(BROKEN)
    with Sandbox.start(dags=dags, with_scheduler=False) as running:
        yield running


def lines_with(text: str, what: str) -> list[str]:
    return [line for line in text.splitlines() if what in line]


def levels(text: str) -> set[str]:
    """Which of the log's levels appear, by a line that only this level has."""
    telling = {
        "debug": "Disposing DB connection pool",
        "info": "Filling up the DagBag",
        "warning": "the stock is low",
        "error": "Failed to import",
    }
    return {level for level, words in telling.items() if words in text}


INFO_AND_MORE = {"info", "warning", "error"}


def is_default(result: CommandResult) -> bool:
    [line] = lines_with(result.stdout, "the stock is low") or [""]
    shown = line.endswith("] {orders.py:7} WARNING - the stock is low" if AIRFLOW_2 else "[shop] loc=orders.py:7")
    return shown and levels(result.stdout) == INFO_AND_MORE and not result.stderr


def is_another_format(result: CommandResult) -> bool:
    [line] = lines_with(result.stdout, "the stock is low") or [""]
    return line.endswith(" WARNING shop: the stock is low") and levels(result.stdout) == INFO_AND_MORE


def is_json(result: CommandResult) -> bool:
    if not result.stdout.startswith("{"):
        return False
    entries = [json.loads(line) for line in result.stdout.splitlines()]
    is_warning = [(one["level"], one["logger"]) for one in entries if one["event"] == "the stock is low"] == [
        ("warning", "shop")
    ]
    return is_warning and levels(result.stdout) == INFO_AND_MORE


EFFECTS: dict[str, Callable[[CommandResult], bool]] = {
    "default": is_default,
    "another-format": is_another_format,
    "warning": lambda result: levels(result.stdout) == {"warning", "error"},
    "error": lambda result: levels(result.stdout) == {"error"},
    "debug": lambda result: levels(result.stdout) == {"debug", *INFO_AND_MORE},
    "colours": lambda result: "\x1b[" in result.stdout and levels(result.stdout) == INFO_AND_MORE,
    "bare": lambda result: lines_with(result.stdout, "the stock is low") == ["the stock is low"],
    "json": is_json,
    "copied-to-stderr": lambda result: result.stdout == result.stderr and levels(result.stdout) == INFO_AND_MORE,
    "stderr": lambda result: not result.stdout and levels(result.stderr) == INFO_AND_MORE,
}


def test_log_settings__are_ten() -> None:
    assert sorted(EFFECTS) == sorted(LOG_SETTING_NAMES) == sorted(LOG_SETTINGS["2.10.4"]) == sorted(LOG_SETTINGS["3.2.2"])
    assert len(EFFECTS) == 10


@pytest.mark.parametrize("name", TRIED_LOG_SETTINGS)
def test_log_setting__has_its_effect_on_a_command(small_sandbox: Sandbox, name: str) -> None:
    with small_sandbox.command_settings(LOG_SETTINGS[VERSION][name]):
        result = small_sandbox.run_airflow("dags", "reserialize")

    assert result.exit_code == 0
    assert [one for one, has_effect in EFFECTS.items() if has_effect(result)] == [name], (result.stdout, result.stderr)


def test_variables__are_those_of_the_process(small_sandbox: Sandbox) -> None:
    with small_sandbox.command_settings(Settings(variables={"AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "7"})):
        value = small_sandbox.run_airflow("config", "get-value", "core", "default_pool_task_slot_count")
    after = small_sandbox.run_airflow("config", "get-value", "core", "default_pool_task_slot_count")

    assert (value.stdout.splitlines()[-1], after.stdout.splitlines()[-1]) == ("7", "128")


@pytest.mark.airflow("3", "Airflow 2 has one DAG folder")
def test_second_bundle__is_parsed(tmp_path: Path) -> None:
    dags, team = tmp_path / "dags", tmp_path / "team"
    for folder, dag_id in ((dags, "orders"), (team, "invoices")):
        folder.mkdir()
        (folder / f"{dag_id}.py").write_text(SOUND.replace("orders", dag_id))
    (team / "broken.py").write_text(BROKEN)

    with Sandbox.start(dags=dags, with_scheduler=False, settings=second_bundle("team", team)) as sandbox:
        known = sandbox.run_airflow("dags", "list", "-o", "json", "--columns", "dag_id,bundle_name")
        errors = sandbox.run_airflow("dags", "list-import-errors", "-o", "json")

    assert json.loads(known.stdout.splitlines()[-1]) == [
        {"dag_id": "invoices", "bundle_name": "team"},
        {"dag_id": "orders", "bundle_name": "dags-folder"},
    ]
    [error] = json.loads(errors.stdout.splitlines()[-1])
    assert (error["bundle_name"], error["filepath"]) == ("team", "broken.py")


def test_local_secrets__are_found_and_not_listed(small_sandbox: Sandbox) -> None:
    settings = local_secrets({"shop_url": "https://shop.example"}, {"warehouse": "postgres://db.example/stock"})

    with small_sandbox.command_settings(settings):
        value = small_sandbox.run_airflow("variables", "get", "shop_url")
        connection = small_sandbox.run_airflow("connections", "get", "warehouse", "-o", "json")
        listed = small_sandbox.run_airflow("variables", "list", "-o", "json")

    assert (value.exit_code, value.stdout.splitlines()[-1]) == (0, "https://shop.example")
    assert json.loads(connection.stdout.splitlines()[-1])[0]["host"] == "db.example"
    assert listed.stdout.splitlines()[-1:] in ([], ["[]"], ["No data found"])
