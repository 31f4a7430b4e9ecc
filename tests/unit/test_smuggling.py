"""One command stays one command, whatever the texts in it: no arguments, configuration or line makes a second one."""

from __future__ import annotations

import json
import shlex
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms_airflow.airflow.commands.arguments import CommandLine
from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.core.inputs import InputValueError, iterate_lines, parse_json_object, parse_names, parse_words
from dms_airflow.operations.cli import parse_commands
from dms_airflow.operations.rest import parse_request

PIECES = [
    "etl", " ", "\n", "\r\n", ";", "&&", "|", "`id`", "$(id)", "$HOME", "'", '"', "\\", "\\\n", "#", ">x", "--", "-o", "json",
    "version",
    "variables delete x", "airflow", "%0a", "&command=",
    "\t", "{", "}", "*", "~", "!", "é",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


def send(line: CommandLine) -> list[str]:
    """Send a command as `AirflowClient.run_command` does, and read it as a shell would."""
    (command,) = parse_qs(urlencode({"command": shlex.join(line.words)}), keep_blank_values=True)["command"]
    return shlex.split(command)


@settings(deadline=None)
@given(st.sampled_from(sorted(COMMANDS)), TEXTS, TEXTS)
def test_arguments_reach_airflow_as_the_words_that_the_author_wrote(name: str, text: str, conf: str) -> None:
    try:
        words = parse_words(text)
    except InputValueError:
        return
    line = CommandLine(name=name, arguments=words).add("--conf", conf)

    sent = send(line)

    command = (COMMANDS[name].airflow_name or name).split()
    assert sent[: len(command)] == command
    assert sorted(sent[len(command) :]) == sorted([*words, "--conf", conf])
    # Who splits at blanks alone finds more words, but the same command in front of them.
    assert shlex.join(line.words).split()[: len(command)] == command


@settings(deadline=None)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])), max_size=5))
def test_quoted_words_stay_words(words: list[str]) -> None:
    assert parse_words(shlex.join(words)) == tuple(words)


@settings(deadline=None)
@given(TEXTS)
def test_cli_has_no_more_commands_than_lines(text: str) -> None:
    try:
        lines = parse_commands(text)
    except InputValueError:
        return

    assert len(lines) == len(list(iterate_lines(text)))
    assert all(send(line)[: len(line.words)] == list(line.words) for line in lines)


@settings(deadline=None)
@given(st.dictionaries(TEXTS, TEXTS, max_size=3), st.sampled_from([None, 1]))
def test_a_configuration_is_one_word_of_one_line(conf: dict[str, str], indent: int | None) -> None:
    text = parse_json_object(json.dumps(conf, indent=indent))

    assert "\n" not in text
    assert json.loads(text) == conf
    assert send(CommandLine(name="dags trigger", arguments=("etl",)).add("--conf", text))[-1] == text


@given(TEXTS)
def test_names_hold_no_blanks(text: str) -> None:
    assert not [name for name in parse_names(text) if set(name) & set(" \t\r\n,")]


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["", "?x=", "/../", "//h/", "%2e%2e/"]))
def test_a_request_is_one_request_below_the_api(text: str, prefix: str) -> None:
    try:
        request = parse_request(f"GET /{prefix}{text}")
    except InputValueError:
        return

    assert not set(request.path + request.query) & set(" \r\n\t#\\\"'<>{}|") - {"'"}
    assert ".." not in request.path.split("/")


@pytest.mark.parametrize("text", ["version\nvariables delete x", "etl; variables delete x", "etl && airflow version"])
def test_what_looks_like_a_second_command_is_words(text: str) -> None:
    assert send(CommandLine(name="dags list", arguments=parse_words(text)))[2:] == text.replace("\n", " ").split()
