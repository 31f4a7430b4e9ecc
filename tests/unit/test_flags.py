"""The command line: what becomes of its words, and what it refuses without repeating a secret."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from dms_airflow import __version__
from dms_airflow.config import Config
from dms_airflow.core.contract import GROUPS, INPUTS
from dms_airflow.core.inputs import list_inputs
from dms_airflow.flags import parse_arguments

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("line", "operation", "arguments"),
    [
        (["version"], "version", None),
        (["dags", "trigger", "daily etl"], "dags trigger", "'daily etl'"),
        (["dags trigger", "etl"], "dags trigger", "etl"),
        (["dags", "list", "--", "-o", "json", "--conf", "x"], "dags list", "-o json --conf x"),
        (["tasks", "clear", "etl", "--timeout", "5m", "--", "--yes"], "tasks clear", "etl --yes"),
        (["rest", "GET", "/dags?limit=5&x=a b"], "rest", "GET /dags?limit=5&x=a b"),
        (["smoke-test", "etl", "billing"], "smoke-test", "etl billing"),
        (["cli", "dags list", "version"], "cli", "dags list\nversion"),
        (["doctor", "deploy"], "doctor", "deploy"),
        (["dags", "triger", "etl"], "dags triger", "etl"),
        (["deploi"], "deploi", None),
        (["--region", "cn-hangzhou"], None, None),
    ],
)
def test_the_words_of_an_operation(line: list[str], operation: str | None, arguments: str | None) -> None:
    variables, is_json = parse_arguments(line)

    assert (variables.get("DMS_AIRFLOW_OPERATION"), variables.get("DMS_AIRFLOW_ARGUMENTS")) == (operation, arguments)
    assert not is_json


def test_options_count_as_variables() -> None:
    line = ["deploy", "--region", "cn-hangzhou", "--dry-run", "--no-summary", "--instance-id=af-1", "--json"]

    assert parse_arguments(line) == (
        {
            "DMS_AIRFLOW_OPERATION": "deploy",
            "DMS_AIRFLOW_REGION": "cn-hangzhou",
            "DMS_AIRFLOW_INSTANCE_ID": "af-1",
            "DMS_AIRFLOW_DRY_RUN": "true",
            "DMS_AIRFLOW_SUMMARY": "false",
        },
        True,
    )


def test_a_secret_comes_from_a_file_or_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id").write_text("LTAI5t\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))

    variables, _ = parse_arguments(
        ["version", "--access-key-id-file", str(tmp_path / "id"), "--access-key-secret-file", "-", "--result-file", "r.json"]
    )

    assert variables == {
        "DMS_AIRFLOW_OPERATION": "version",
        "DMS_AIRFLOW_ACCESS_KEY_ID": "LTAI5t",
        "DMS_AIRFLOW_ACCESS_KEY_SECRET": SECRET,
        "DMS_AIRFLOW_RESULT_FILE": "r.json",
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            ["version", "--access-key-secret", SECRET],
            "set DMS_AIRFLOW_ACCESS_KEY_SECRET, or give --access-key-secret-file PATH",
        ),
        (["version", f"--access-key-secret={SECRET}"], "--access-key-secret is a secret, and no option"),
        (["version", f"--pasword={SECRET}"], "unknown option --pasword; options of the Airflow command come after --"),
        (["dags", "list", "-o", "json"], "unknown option -o; options of the Airflow command come after --"),
        (["version", "--access-key-id-file", "/no/such"], "--access-key-id-file: /no/such cannot be read: No such file"),
        (["version", "--regio", "x"], "unknown option --regio"),
        (["version", "--timeout"], "argument --timeout: expected one argument"),
    ],
)
def test_what_is_refused(line: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(line)

    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    assert words in printed.err
    assert SECRET not in printed.err


def test_help_shows_every_input_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--help"])

    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert [title for title in GROUPS if f"\n{title}:\n" not in shown] == ["Operation"]
    secrets = {name for name, source in list_inputs(Config).items() if source.secret}
    options = {
        f"--{name}-file " if name in secrets else f"--{name}"
        for name, one in INPUTS.items()
        if name not in ("operation", "arguments")
    }
    assert [option for option in options if f"  {option}" not in shown] == []
    assert [name for name in secrets if f"--{name} " in shown] == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["--version"])

    assert (ended.value.code, capsys.readouterr().out) == (0, f"dms-airflow {__version__}\n")
