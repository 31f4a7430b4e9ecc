"""What the owner of an instance sets for Airflow's log changes no verdict: real commands under other log settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dms_airflow.airflow.commands.known_commands import find_command
from dms_airflow.airflow.commands.verdict import Verdict, judge
from dms_airflow.import_errors.parse import add_tracebacks, read_list

CAPTURES = Path(__file__).parents[1] / "captures" / "log-formats"

VERDICTS = {
    "dags_test__level_warning": Verdict.UNKNOWN,
    "dags_trigger__level_warning": Verdict.SUCCEEDED,
    "list_import_errors__log_copied_to_stderr": Verdict.LISTED_ERRORS,
    "list_import_errors__one_broken__airflow3": Verdict.LISTED_ERRORS,
    "list_import_errors__one_broken__airflow3_json": Verdict.LISTED_ERRORS,
    "list_import_errors__sound__caught_exception_logged": Verdict.SUCCEEDED,
    "list_import_errors__sound__verbose_shows_a_secret": Verdict.SUCCEEDED,
    "list_import_errors__sound__verbose_shows_a_secret_airflow3": Verdict.SUCCEEDED,
    "list_import_errors__sound__without_verbose": Verdict.SUCCEEDED,
    "list_import_errors__two_bundles__both_asked": Verdict.LISTED_ERRORS,
    "list_import_errors__two_bundles__default": Verdict.SUCCEEDED,
    "list_import_errors__two_bundles__json": Verdict.SUCCEEDED,
    "reserialize__does_not_serialize__braces": Verdict.UNKNOWN,
    "reserialize__one_broken__braces": Verdict.UNKNOWN,
    "reserialize__one_broken__default": Verdict.UNKNOWN,
    "reserialize__one_broken__level_warning": Verdict.UNKNOWN,
    "reserialize__one_broken__short": Verdict.UNKNOWN,
    "reserialize__one_broken__stderr": Verdict.UNKNOWN,
    "reserialize__sound__airflow3_level_warning": Verdict.UNKNOWN,
    "reserialize__sound__default": Verdict.UNKNOWN,
    "reserialize__sound__level_warning": Verdict.UNKNOWN,
    "tasks_clear__warning_of_several_lines": Verdict.UNKNOWN,
}


def load(name: str) -> dict[str, str]:
    content: dict[str, str] = json.loads((CAPTURES / f"{name}.json").read_text("utf-8"))
    return content


def test_every_recording_is_judged() -> None:
    assert sorted(file.stem for file in CAPTURES.glob("*.json")) == sorted(VERDICTS)


@pytest.mark.parametrize(("name", "verdict"), VERDICTS.items())
def test_the_verdict_is_the_same_in_every_form_of_log(name: str, verdict: Verdict) -> None:
    told = load(name)
    words = told["command"].split()
    command = find_command(words)
    assert command

    outcome = judge(command, words[len(command.name.split()) :], told["stdout"], told["stderr"])

    assert outcome.verdict is verdict, outcome


@pytest.mark.parametrize("name", [name for name, verdict in VERDICTS.items() if verdict is Verdict.UNKNOWN])
def test_no_dag_file_is_accused_without_a_proof(name: str) -> None:
    told = load(name)
    words = told["command"].split()
    command = find_command(words)
    assert command

    outcome = judge(command, words[len(command.name.split()) :], told["stdout"], told["stderr"])

    assert "sys.exit" not in outcome.advice or "What ended it is not known" in outcome.advice
    assert "monthly_report" not in outcome.reason + outcome.advice


# What Airflow keeps of the traceback that `dags reserialize` logged in these recordings.
TWO_FRAMES = (
    'Traceback (most recent call last):\n  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed\n'
    '  File "/opt/airflow/dags/monthly_report.py", line 7, in <module>\n'
    "    from reporting_tools import render  # a package that the instance lacks\n"
    f"    {'^' * 34}\nModuleNotFoundError: No module named 'reporting_tools'\n"
)


@pytest.mark.parametrize("name", [name for name in VERDICTS if name.startswith("reserialize__one_broken")])
def test_the_whole_traceback_is_found_in_every_form_of_log(name: str) -> None:
    told = load(name)
    row = {"filepath": "/opt/airflow/dags/monthly_report.py", "error": TWO_FRAMES}

    (error,) = add_tracebacks(read_list([row], ""), f"{told['stdout']}\n{told['stderr']}")

    assert error.stack_trace.splitlines()[1:4] == [
        '  File "/usr/local/lib/python3.11/site-packages/airflow/models/dagbag.py", line 383, in parse',
        "    loader.exec_module(new_module)",
        '  File "<frozen importlib._bootstrap_external>", line 940, in exec_module',
    ]
    assert error.stack_trace.splitlines()[-1] == "ModuleNotFoundError: No module named 'reporting_tools'"
