"""The words behind a command's name are read as Airflow's argparse reads them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.airflow.commands.arguments import (
    CommandLine,
    has_option,
    option_value,
    read_positionals,
    show,
)
from dms_airflow.airflow.commands.known_commands import COMMANDS, Command, find_command


def make_line(name: str, arguments: list[str]) -> CommandLine:
    return CommandLine(name=name, arguments=tuple(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "json"],
        ["-ojson"],
        ["-o=json"],
        ["-vojson"],
        ["-vo", "json"],
        ["--output", "json"],
        ["--output=json"],
        ["--out", "json"],
        ["--outp=json"],
        ["-o", "table", "--output", "json"],
        ["etl", "-r", "run", "-o", "json", "-v"],
    ],
)
def test_every_spelling_of_an_option(arguments: list[str]) -> None:
    assert has_option(arguments, "-o", "--output")
    assert option_value(arguments, "-o", "--output") == "json"


@pytest.mark.parametrize("arguments", [[], ["json"], ["--", "-o", "json"], ["-rojson"], ["--outputs", "json"], ["-"], ["--"]])
def test_what_is_no_such_option(arguments: list[str]) -> None:
    assert not has_option(arguments, "-o", "--output")
    assert option_value(arguments, "-o", "--output") is None


def test_an_option_at_the_end_has_an_empty_value() -> None:
    assert option_value(["etl", "-o"], "-o", "--output") == ""


@pytest.mark.parametrize(
    ("arguments", "secrets"),
    [
        (["c", "--conn-password", "s3cret"], ("s3cret",)),
        (["c", "--conn-password=s3cret"], ("s3cret",)),
        (["c", "--conn-pass", "s3cret"], ("s3cret",)),
        (["c", "--conn-uri", "http://user:p%40ss@h:1/x"], ("http://user:p%40ss@h:1/x", "p%40ss", "p@ss")),
        (["c", "--conn-uri", "http://[broken"], ("http://[broken",)),
        (["c", "--conn-json", '{"login": "u", "password": "p w"}'], ('{"login": "u", "password": "p w"}', "p w")),
        (
            ["c", "--conn-extra", '{"sslmode": "require", "api_key": ["k1"]}'],
            ('{"sslmode": "require", "api_key": ["k1"]}', "k1"),
        ),
        (["c", "--conn-extra", "{nope"], ("{nope",)),
        (["c", "--conn-type", "http", "--conn-host", "h"], ()),
    ],
)
def test_secrets_of_a_connection(arguments: list[str], secrets: tuple[str, ...]) -> None:
    assert make_line("connections add", arguments).secrets == secrets


def test_secrets_in_json_inside_json() -> None:
    text = '{"password": "one", "extra": "{\\"token\\": \\"two\\"}"}'

    assert set(make_line("connections add", ["c", "--conn-json", text]).secrets) == {text, "one", "two"}


@pytest.mark.parametrize(
    ("arguments", "secrets"),
    [
        (["key", "value"], ("value",)),
        (["-j", "key", '{"a": 1}'], ('{"a": 1}',)),
        (["--description", "for tests", "key", "value"], ("value",)),
        (["--desc", "d", "key", "value"], ("value",)),
        (["key", "--description=d", "value"], ("value",)),
        (["key", "--", "-value"], ("-value",)),
        (["key", "-12"], ("-12",)),
        (["key", "- a list"], ("- a list",)),
        (["key"], ()),
    ],
)
def test_the_secret_of_a_variable(arguments: list[str], secrets: tuple[str, ...]) -> None:
    assert make_line("variables set", arguments).secrets == secrets


@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("connections add", ["c", "--conn-password", "x"], "c --conn-password ***"),
        ("connections add", ["c", "--conn-password=-x"], "c --conn-password=***"),
        ("connections add", ["c", "--conn-passwrd", "x"], "c --conn-passwrd ***"),
        ("connections add", ["c", "--conn-passwrd=x"], "c --conn-passwrd=***"),
        ("connections add", ["c", "--conn-passwordx"], "c ***"),
        ("connections add", ["c", "--conn-p", "x"], "c --conn-p ***"),
        ("connections add", ["c", "--conn-po", "5432"], "c --conn-po 5432"),
        ("connections add", ["c", "--conn-password", "two", "words"], "c --conn-password *** ***"),
        ("connections add", ["c", "--password", "-x"], "c --password ***"),
        ("connections add", ["-v", "c", "--conn-host", "http://u:x@h", "--conn-login", "me"],
         "-v c --conn-host http://u:***@h --conn-login me"),
        ("variables set", ["k", "v", "w"], "k *** ***"),
        ("variables set", ["k", "--", "-v"], "k -- ***"),
        ("variables set", ["--valeu=v", "k"], "--valeu=*** k"),
        ("variables get", ["k", "-d", "v"], "k -d ***"),
        ("variables get", ["k", "-dv"], "k ***"),
        ("variables get", ["k", "--default=v"], "k --default=***"),
        ("dags test", ["etl", "-c", '{"n": 1, "db": {"Password": "x", "pin_token": 123456}}'],
         'etl -c {"n": 1, "db": {"Password": "***", "pin_token": "***"}}'),
        ("dags test", ["etl", "--conf={'api_key': 'x', 'n': 1}"], "etl --conf={'api_key': ***, 'n': 1}"),
        ("tasks test", ["etl", "t", "--env-vars", '{"A": "token=x y"}'], 'etl t --env-vars {"A": "token=*** y"}'),
        ("dags list", ["-o", "json", "--columns", "dag_id"], "-o json --columns dag_id"),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_command(name: str, arguments: list[str], shown: str) -> None:
    words = shlex.split(show(make_line(name, arguments)))

    assert " ".join(words) == f"{name} {shown}"


@pytest.mark.parametrize(
    ("name", "arguments", "secrets"),
    [
        ("connections add", ["c", "--conn-passwrd", "hunter2"], {"hunter2"}),
        ("connections add", ["c", "--conn-passwordhunter2"], {"--conn-passwordhunter2"}),
        ("dags trigger", ["etl", "-c", '{"auth": {"token": ["one", {"two": "three"}]}, "max_tokens": 4096}'], {"one", "three"}),
        ("dags test", ["etl", "--conf={'password': 'hunter2'}"], {"hunter2"}),
        ("dags backfill", ["etl", "--conf", '{"dsn": "pg://u:p%40@h"}'], {"p%40", "p@"}),
    ],
)
def test_misspelled_options_and_configurations_hold_secrets_too(name: str, arguments: list[str], secrets: set[str]) -> None:
    assert set(make_line(name, arguments).secrets) == secrets


def test_other_commands_have_no_secret_arguments() -> None:
    with_secrets = {name for name, command in COMMANDS.items() if command.secret_options or command.secret_position is not None}

    assert with_secrets == {"connections add", "variables get", "variables set"}
    assert [name for name, command in COMMANDS.items() if command.secret_output] == ["variables get"]


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.lists(st.text(max_size=20) | st.sampled_from(["--conn-json", "--conn-uri", "[{}]", "//["])),
)
def test_no_arguments_make_it_raise(name: str, arguments: list[str]) -> None:
    secrets = make_line(name, arguments).secrets

    assert "" not in secrets
    assert isinstance(find_command(arguments), Command | None)


@pytest.mark.parametrize(
    ("arguments", "positionals"),
    [
        (["etl"], ["etl"]),
        (["-r", "mine", "etl"], ["etl"]),
        (["--run-id", "mine", "etl", "-o", "json"], ["etl"]),
        (["--run-id=mine", "etl"], ["etl"]),
        (["-rmine", "etl"], ["etl"]),
        (["--run", "mine", "etl"], ["etl"]),
        (["-v", "etl", "--no-replace-microseconds"], ["etl"]),
        (["-c", "{}", "--", "-odd"], ["-odd"]),
        (["--conf", "{}"], []),
        ([], []),
    ],
)
def test_positionals(arguments: list[str], positionals: list[str]) -> None:
    assert read_positionals(COMMANDS["dags trigger"], arguments) == positionals


@pytest.mark.parametrize(
    ("name", "arguments", "waits"),
    [
        ("dags delete", ["etl"], True),
        ("dags delete", ["etl", "--yes"], False),
        ("dags delete", ["-y", "etl"], False),
        ("dags delete", ["--help"], False),
        ("tasks clear", ["etl"], True),
        ("db clean", ["--clean-before-timestamp", "2020-01-01"], True),
        ("dags pause", ["etl"], False),
        ("dags pause", ["--treat-dag-id-as-regex", "e.*"], True),
        ("dags backfill", ["etl", "-s", "2026-01-01"], False),
        ("dags backfill", ["etl", "--reset-dagruns"], True),
        ("dags list", [], False),
    ],
)
def test_commands_that_will_ask(name: str, arguments: list[str], *, waits: bool) -> None:
    assert make_line(name, arguments).needs_confirmation is waits
