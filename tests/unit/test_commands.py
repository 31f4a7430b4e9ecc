"""The table holds every command that DMS supports."""

from __future__ import annotations

import pytest

from dms_airflow.airflow.commands.known_commands import COMMANDS, find_command, suggest_command

SUPPORTED = {
    "dags": (
        "backfill delete list list-import-errors list-jobs list-runs next-execution pause report reserialize show state "
        "test trigger unpause"
    ),
    "tasks": "clear failed-deps list render state states-for-dag-run test",
    "connections": "add delete",
    "variables": "delete get list set",
    "providers": "behaviours get hooks links list notifications secrets triggerer triggers widgets",
    "db": "clean",
    "backfill": "create",
}
READS = {
    "dags list", "dags list-import-errors", "dags list-jobs", "dags list-runs", "dags next-execution", "dags report",
    "dags show", "dags state", "tasks failed-deps", "tasks list", "tasks render", "tasks state",
    "tasks states-for-dag-run", "variables get", "variables list", "cheat-sheet", "version",
    "providers behaviours", "providers get", "providers hooks", "providers links", "providers list",
    "providers notifications", "providers secrets", "providers triggerer", "providers triggers", "providers widgets",
}  # fmt: skip


def test_the_table_holds_what_dms_supports() -> None:
    names = {f"{group} {name}" for group, rest in SUPPORTED.items() for name in rest.split()} | {"version", "cheat-sheet"}

    assert set(COMMANDS) == names
    assert [name for name, command in COMMANDS.items() if command.name != name] == []


def test_only_reads_are_repeatable() -> None:
    assert {name for name, command in COMMANDS.items() if command.repeatable} == READS


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["dags", "trigger", "etl"], "dags trigger"),
        (["db", "clean", "-y"], "db clean"),
        (["version"], "version"),
        (["version", "bogus"], "version"),
        (["providers", "triggerer"], "providers triggerer"),
        (["dags"], None),
        (["dags", "nosuch"], None),
        ([], None),
    ],
)
def test_find_command(words: list[str], name: str | None) -> None:
    found = find_command(words)

    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dag trigger", "dags trigger"),
        ("dags  Triger", "dags trigger"),
        ("dags list_runs", "dags list-runs"),
        ("variable get", "variables get"),
        ("zzz", None),
        ("", None),
    ],
)
def test_suggest_command(text: str, name: str | None) -> None:
    assert suggest_command(text) == name
