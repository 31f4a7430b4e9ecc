"""The decision equals Airflow's exit status, on every real answer; and no text around a failure makes it a success."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.airflow.commands.known_commands import COMMANDS, Command, find_command
from dms_airflow.airflow.commands.verdict import (
    ADVICE_CONFIRM,
    ADVICE_NO_RESULT,
    LONGEST_REASON,
    Verdict,
    judge,
)

CAPTURES = Path(__file__).parents[1] / "captures"

TIMED_OUT = {"airflow-2.10.4/cli/dags/list_import_errors__hang.json": "it has no exit status"}
# Their output never shows that they worked, at most their log does: Airflow's database shows it.
NOT_OFFERED = {"db check"}  # by DMS
WITHOUT_RESULT = {"backfill create", "dags backfill", "dags reserialize", "dags test", "tasks clear"}
# The task failed and Airflow 3 ends with 0: what failed is never told as a success.
FAILED_IN_THE_LOG = {
    "airflow-3.2.2/cli/tasks/test__fail.json": "RuntimeError: boom: could not divide, see cause",
    "airflow-3.2.2/cli/tasks/test__ends_by_give_up.json": "AirflowFailException: no use",
    "airflow-3.2.2/cli/tasks/test__ends_by_retry.json": "ValueError: try again",
    "airflow-3.2.2/cli/tasks/test__ends_by_leave.json": "Task exited",
    "airflow-3.2.2/cli/tasks/test__ends_by_template.json": "UndefinedError: 'nosuch' is undefined",
}
# A DAG file ended the interpreter with nothing but a text of its own, which it could have printed just as well without
# ending it (capture list_import_errors__noise__json): a forged answer beside it cannot be told from a real one.
ENDED_BY_A_DAG_FILE = {
    "airflow-2.10.4/cli/dags/list__sysexit_json.json",
    "airflow-2.10.4/cli/dags/list_import_errors__sysexit_json.json",
    "airflow-2.10.4/cli/dags/list_import_errors__sysexit_verbose_json.json",
    "airflow-2.10.4/cli/dags/reserialize__sysexit.json",
}
# `-o json` was asked for and Airflow printed a sentence instead.
WITHOUT_JSON = {
    "airflow-2.10.4/cli/dags/unpause__already_json.json",
    "airflow-3.2.2/cli/dags/unpause__already_json.json",
    "airflow-3.2.2/cli/dags/unpause__regex_yes.json",
    "airflow-3.2.2/other/3.0.6/pause.json",
    "airflow-3.2.2/other/3.1.0/pause.json",
}


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One real answer, and the exit status that DMS does not tell."""

    name: str
    command: Command
    arguments: list[str]
    exit_code: int | None
    stdout: str
    stderr: str


def load(path: Path) -> Capture:
    content = json.loads(path.read_text(encoding="utf-8"))
    words = content["argv"][1:]
    # Commands that DMS does not offer are judged by the generic rule.
    command = find_command(words) or Command(name=" ".join(words[:2]), json="-o" in words)
    return Capture(
        name=str(path.relative_to(CAPTURES)),
        command=command,
        arguments=words[len(command.name.split()) :],
        exit_code=content["exit_code"],
        stdout=content["stdout"],
        stderr=content["stderr"],
    )


FOLDERS = ("airflow-2.10.4/cli", "airflow-2.10.4/cli_noisy_alembic", "airflow-3.2.2/cli", "airflow-3.2.2/other")
ALL = {capture.name: capture for folder in FOLDERS for capture in map(load, sorted((CAPTURES / folder).rglob("*.json")))}
FAILED = [capture for capture in ALL.values() if capture.exit_code]
DECISIVE = [c for c in FAILED if c.command.name in COMMANDS and c.name not in ENDED_BY_A_DAG_FILE]

# What could make a failure look well, or look like something else.
NASTY = [
    "[]\n",
    '[{"dag_id": "etl"}]\n',
    '[{"not": "yours"}]\n',
    '[{"filepath": "/x.py", "error": "E"}]\n',
    "Sync 3 DAGs\n",
    "[2026-11-22T09:41:57.468+0000] {dag.py:3239} INFO - Sync 3 DAGs\n",
    "Successfully added `conn_id`=x : http://x\n",
    "Successfully deleted connection with `conn_id`=x\n",
    "Variable x created\nVariable x deleted\n",
    "Removed 1 record(s)\n",
    "Backfill done for DAG <DAG: x>. Exiting.\n",
    "Marking task as SUCCESS. dag_id=x\n",
    "DagRun Finished: dag_id=x, state=success, run_type=manual\n",
    "No data found\n",
    "No paused DAGs were found\n",
    "Nothing to clear.\n",
    "success\n",
    "2.10.4\n",
    "Checking table log\n",
    "dag_id | x\n=======+==\netl    | 1\n",
    "2026-11-21T00:00:00+00:00\n",
    "Usage: airflow dags [-h]\n",
    "/x.py:1 UserWarning: mind the gap\n",
    "[INFO] all is well\n",
    "stderr at import\n",
    "no line's end, 100%|##########|",
    "\n",
]


@pytest.mark.parametrize("name", sorted(ALL.keys() - TIMED_OUT.keys() - FAILED_IN_THE_LOG.keys()))
def test_the_verdict_is_the_exit_status(name: str) -> None:
    capture = ALL[name]

    outcome = judge(capture.command, capture.arguments, capture.stdout, capture.stderr)

    if outcome.verdict is not Verdict.UNKNOWN:
        assert outcome.succeeded == (capture.exit_code == 0), outcome
    elif capture.exit_code == 0:
        assert capture.command.name in WITHOUT_RESULT | NOT_OFFERED, outcome
    assert bool(outcome.reason) == (not outcome.succeeded)
    assert "\n" not in outcome.reason
    assert len(outcome.reason) <= LONGEST_REASON


@pytest.mark.parametrize("name", sorted(FAILED_IN_THE_LOG))
def test_a_task_that_failed_is_a_failure_though_airflow_ends_with_0(name: str) -> None:
    capture = ALL[name]
    assert capture.exit_code == 0

    # The instance's owner may send the log to stderr.
    for streams in ((capture.stdout, capture.stderr), (capture.stderr, capture.stdout)):
        outcome = judge(capture.command, capture.arguments, *streams)

        assert (outcome.succeeded, outcome.reason) == (False, FAILED_IN_THE_LOG[name])


def test_what_a_task_prints_is_no_record_of_its_failure() -> None:
    printed = "Task failed with exception\nnew_state=failed\n"
    end = "2026-11-22T10:18:00.331762Z [info     ] [DAG TEST] end task task_id=a map_index=-1 [airflow] loc=dag.py:1497\n"

    assert judge(COMMANDS["tasks test"], ["etl", "a"], printed + end, "").succeeded


def test_the_captures_are_there() -> None:
    assert len(ALL) == 523
    assert (len(FAILED), len(DECISIVE)) == (190, 173)
    verdicts = Counter(
        (judge(c.command, c.arguments, c.stdout, c.stderr).verdict.name, c.exit_code)
        for c in ALL.values()
        if c.name not in TIMED_OUT.keys() | FAILED_IN_THE_LOG.keys()
    )
    assert verdicts == {
        ("SUCCEEDED", 0): 287,
        ("UNKNOWN", 0): 40,
        ("FAILED", 1): 82,
        ("FAILED", 2): 58,
        ("LISTED_ERRORS", 1): 44,
        ("UNKNOWN", 1): 6,
    }


JSON_ASKED = sorted(
    capture.name
    for capture in ALL.values()
    if capture.arguments[-2:] == ["-o", "json"] or ("-o" in capture.arguments and "json" in capture.arguments)
    if capture.exit_code == 0 or (capture.command.records_fail and capture.stdout.count("filepath"))
)


@pytest.mark.parametrize("name", sorted(set(JSON_ASKED) - WITHOUT_JSON))
def test_json_is_found_wherever_it_was_asked_for_and_given(name: str) -> None:
    capture = ALL[name]

    outcome = judge(capture.command, capture.arguments, capture.stdout, capture.stderr)

    assert outcome.records is not None
    # Airflow writes its JSON with json.dumps: what was read is what was printed, to the letter.
    assert json.dumps(outcome.records) in capture.stdout


@pytest.mark.parametrize("name", sorted(WITHOUT_JSON))
def test_a_sentence_is_no_json(name: str) -> None:
    capture = ALL[name]

    outcome = judge(capture.command, capture.arguments, capture.stdout, capture.stderr)

    assert (outcome.succeeded, outcome.records) == (True, None)
    assert outcome.warning == "Nothing was changed: the DAG is in this state already, or does not exist."


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2.10.4/cli/dags/trigger__missing", "DagNotFound: Dag id nosuch not found in DagModel"),
        ("2.10.4/cli/dags/list_runs__missing", "DAG: nosuch does not exist in 'dag' table"),
        ("2.10.4/cli/dags/test__fail", "DagRun failed"),
        ("2.10.4/cli/dags/list__sysexit_json", "configuration is missing, giving up"),
        ("2.10.4/cli/dags/list_import_errors__sysexit_verbose_json", "configuration is missing, giving up"),
        ("2.10.4/cli/dags/list_import_errors__zip", "import errors: 2"),
        ("2.10.4/cli/dags/list_import_errors__broken__table", "there are import errors"),
        (
            "2.10.4/cli/dags/backfill__fail",
            "BackfillUnfinished: Some task instances failed: lab_daily_fail bad backfill__2026-11-03T00:00:00+00:00 1",
        ),
        ("2.10.4/cli/dags/trigger__no_arg", "usage error: the following arguments are required: dag_id"),
        ("2.10.4/cli/misc/version__extra_arg", "usage error: unrecognized arguments: bogus"),
        (
            "2.10.4/cli/connections/add__bad_port",
            'DataError: (psycopg2.errors.InvalidTextRepresentation) invalid input syntax for type integer: "abc"',
        ),
        ("2.10.4/cli_noisy_alembic/connections_add__exists", "A connection with `conn_id`=lab_http already exists."),
        ("2.10.4/cli/tasks/test__fail", "RuntimeError: boom: could not divide, see cause"),
        ("2.10.4/cli/variables/get__missing", "Variable nosuch does not exist"),
        (
            "2.10.4/cli/tasks/states_for_dag_run__missing_dag",
            "AirflowException: Error parsing the supplied execution_date. Error: Invalid date string: cli_1",
        ),
        (
            "3.2.2/cli/dags/backfill__2x",
            "usage error: argument COMMAND: Command `dags backfill` has been removed. Please use `airflow backfill create`",
        ),
        ("3.2.2/cli/dags/list__bundle_missing", "Bundles not found: nosuch"),
        ("3.2.2/cli/tasks/render__no_run", "UndefinedError: 'ds' is undefined"),
        (
            "3.2.2/other/3.1.0/trigger_dup",
            "DagRunAlreadyExists: A DAG Run already exists for DAG lab_quick with run id r1",
        ),
    ],
)
def test_the_reason_is_the_line_that_a_person_needs(name: str, reason: str) -> None:
    capture = ALL[f"airflow-{name}.json"]

    assert judge(capture.command, capture.arguments, capture.stdout, capture.stderr).reason == reason


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("dags/unpause__regex_no_yes", ADVICE_CONFIRM),
        ("dags/backfill__reset_no_yes", ADVICE_CONFIRM),
        ("tasks/clear__no_yes_devnull", ADVICE_CONFIRM),
        ("dags/trigger__missing", ""),
    ],
)
def test_advice(name: str, advice: str) -> None:
    capture = ALL[f"airflow-2.10.4/cli/{name}.json"]

    assert judge(capture.command, capture.arguments, capture.stdout, capture.stderr).advice == advice


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (
            "backfill__2x",
            (
                "On Airflow 3 write `backfill create --dag-id DAG --from-date DATE --to-date DATE`: the scheduler then makes "
                "the runs, and the command does not wait for them."
            ),
        ),
        ("list_runs__d_2x", "Airflow 3 takes the DAG's id without an option: `dags list-runs DAG`."),
        ("trigger__e_2x", "Airflow 3 calls this option `-l`, `--logical-date`."),
        (
            "list_import_errors__S_2x",
            "Airflow 3 has bundles in the place of folders: `-B`, `--bundle-name`; the DAG folder is `dags-folder`.",
        ),
        ("reserialize__clear_only_2x", ""),
        ("list_runs__missing", ""),
    ],
)
def test_a_form_that_airflow_3_refuses_names_the_new_one(name: str, advice: str) -> None:
    capture = ALL[f"airflow-3.2.2/cli/dags/{name}.json"]

    assert judge(capture.command, capture.arguments, capture.stdout, capture.stderr).advice == advice


def test_a_dry_run_of_a_backfill_is_its_result() -> None:
    assert judge(COMMANDS["backfill create"], ["--dry-run"], "Runs to be attempted:\n", "").succeeded


def test_an_unconfirmed_db_clean() -> None:
    outcome = judge(
        COMMANDS["db clean"], [], "Enter 'delete rows' (without quotes) to proceed.\n", "User did not confirm; exiting.\n"
    )

    assert (outcome.succeeded, outcome.reason) == (False, "User did not confirm; exiting.")
    assert outcome.advice == ADVICE_CONFIRM


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("2.10.4/cli/dags/unpause__missing", "Nothing was changed: the DAG is in this state already, or does not exist."),
        ("2.10.4/cli/dags/delete__stdin_n", "Nothing was changed: the question was not answered with yes."),
        ("2.10.4/cli/dags/backfill__unscheduled", "Nothing was run: there are no run dates in this range."),
        ("2.10.4/cli/variables/delete__missing", ""),
        ("3.2.2/cli/tasks/test__ends_by_skip", ""),
        ("3.2.2/cli/tasks/test", ""),
        ("2.10.4/cli/dags/unpause__json", ""),
    ],
)
def test_a_success_that_changed_nothing_is_warned_of(name: str, warning: str) -> None:
    capture = ALL[f"airflow-{name}.json"]

    outcome = judge(capture.command, capture.arguments, capture.stdout, capture.stderr)

    assert (outcome.succeeded, outcome.warning) == (True, warning)


def test_tasks_clear_without_a_match() -> None:
    outcome = judge(COMMANDS["tasks clear"], ["etl"], "Nothing to clear.\n", "")

    assert (outcome.succeeded, outcome.warning) == (True, "Nothing was changed: no task instance matches.")


TRIGGERED = '[{"dag_id": "etl", "dag_run_id": "r1", "state": "queued"}]\n'
TRACEBACK = 'Traceback (most recent call last):\n  File "/usr/local/bin/airflow", line 8, in <module>\n    f()\n'
GROUP = (
    "  + Exception Group Traceback (most recent call last):\n"
    '  |   File "/home/u/.local/bin/airflow", line 8, in <module>\n'
    "  |     f()\n"
    "  | ExceptionGroup: two problems (2 sub-exceptions)\n"
    "  +-+---------------- 1 ----------------\n"
    "    | Traceback (most recent call last):\n"
    '    |   File "/x.py", line 2, in g\n'
    "    | ValueError: one\n"
    "    +------------------------------------\n"
)
CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (f"{TRACEBACK}pkg.mod.Broken: no: really\nsecond line\n", "Broken: no: really"),
        (f"{TRACEBACK}AssertionError\n", "AssertionError"),
        (f"{TRACEBACK}KeyError: 'a'\n{CAUSE}{TRACEBACK}RuntimeError: b\n", "RuntimeError: b"),
        (GROUP, "ExceptionGroup: two problems (2 sub-exceptions)"),
        (f"{TRACEBACK}unusual_prefix_3f_etl.Wrong: x\n", "Wrong: x"),
        (f"{TRACEBACK}", "an exception whose name was cut off"),
        (f"loading... {TRACEBACK}OSError: gone\n", "OSError: gone"),
        (f"\x1b[31m{TRACEBACK}\x1b[0mOSError: gone\n", "OSError: gone"),
        (f"{TRACEBACK}OSError: gone\nException ignored in: <function f>\n{TRACEBACK}TypeError: x\n", "OSError: gone"),
        (f"Exception in thread T:\n{TRACEBACK}TypeError: x\n{TRACEBACK}OSError: gone\n", "OSError: gone"),
        (
            "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n",
            "Fatal Python error: Segmentation fault",
        ),
        ("airflow command error: unrecognized arguments: a\nb, see help above.\n", "usage error: unrecognized arguments: a b"),
        ("airflow dags trigger command error: cut o", "usage error: cut o"),
    ],
)
def test_a_sign_of_failure_decides_though_the_result_is_there(stderr: str, reason: str) -> None:
    outcome = judge(COMMANDS["dags trigger"], ["etl", "-o", "json"], TRIGGERED, stderr)

    assert (outcome.succeeded, outcome.reason) == (False, reason)


@pytest.mark.parametrize(
    "stderr",
    [
        "/x.py:1 UserWarning: mind the gap\n",
        "/x.py:12: DeprecationWarning: old\n  import imp\n",
        "printed by a DAG file\n",
        f"Exception ignored in: <function Pool.__del__ at 0x7f>\n{TRACEBACK}OSError: late\n",
        f"Exception in thread Thread-1 (f):\n{TRACEBACK}KeyError: 'a'\n{CAUSE}{TRACEBACK}OSError: late\n",
        f"--- Logging error ---\n{TRACEBACK}ValueError: x\nCall stack:\n  File '/x.py', line 1\nMessage: 'm'\nArguments: ()\n",
        "A quotation:\n  Traceback (most recent call last):\n  OSError: old\n",
    ],
)
def test_what_means_nothing_beside_a_result(stderr: str) -> None:
    assert judge(COMMANDS["dags trigger"], ["etl", "-o", "json"], TRIGGERED, stderr).succeeded


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("/x.py:1 UserWarning: mind the gap\n", "`tasks clear` printed neither a result nor an error"),
        ("/x.py:12: DeprecationWarning: old\n  import imp\n", "`tasks clear` printed neither a result nor an error"),
        ("[WARN] no schedule\n", "`tasks clear` printed neither a result nor an error"),
        ("/x.py:1 UserWarning: gap\nbash: airflow: not found\n", "bash: airflow: not found"),
    ],
)
def test_without_a_result_the_last_line_that_is_not_a_warning_is_the_reason(stderr: str, reason: str) -> None:
    outcome = judge(COMMANDS["tasks clear"], ["etl", "-y"], "", stderr)

    assert (outcome.verdict, outcome.reason) == (Verdict.UNKNOWN, reason)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"tasks test"}))
@pytest.mark.parametrize(
    "stdout", ["", "[2026-11-22T09:41:57.166+0000] {dagbag.py:588} INFO - Filling up the DagBag from /x\n"]
)
def test_without_a_result_the_verdict_is_unknown(name: str, stdout: str) -> None:
    outcome = judge(COMMANDS[name], [], stdout, "")

    assert (outcome.verdict, outcome.reason) == (Verdict.UNKNOWN, f"`{name}` printed neither a result nor an error")
    assert outcome.advice == ADVICE_NO_RESULT


def test_the_advice_promises_no_file_name_of_airflow_3() -> None:
    """With `-v` Airflow 3.2.2 logs `Filling up the DagBag from …`, and no line for each file."""
    before, after = ADVICE_NO_RESULT.split("Airflow 3 names none")

    assert "On Airflow 2 the last file that `dags list-import-errors -v` names" in before
    assert "`deploy-gate` names the DAG files that are new or changed" in after


def test_a_warning_of_several_lines_is_not_the_reason() -> None:
    stderr = ALL["airflow-3.2.2/other/3.0.6/list_runs.json"].stderr
    assert "graphviz" in stderr

    outcome = judge(COMMANDS["dags list-runs"], ["lab_quick", "-o", "json"], "", stderr)

    assert outcome.reason == "`dags list-runs` printed neither a result nor an error"


def test_a_backfill_that_ends_with_a_text_on_stdout_failed() -> None:
    outcome = judge(COMMANDS["dags backfill"], ["etl", "-s", "2026-01-01"], "You cannot do that\n", "")

    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.reason.endswith("printed neither a result nor an error; the last line of its output: You cannot do that")


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_what_a_library_may_have_logged_is_not_quoted(option: str) -> None:
    """The action adds `-v`; a DAG file ended Python, and the owner's log has another form."""
    command = COMMANDS["dags list-import-errors"]

    outcome = judge(command, ["-o", "json", option], "DEBUG urllib3 GET /tables?token=t0ken\n", "")

    assert outcome.reason == "`dags list-import-errors` printed neither a result nor an error"


def test_a_dry_empty_value_is_a_result() -> None:
    assert judge(COMMANDS["variables get"], ["empty"], "\n", "").succeeded


@pytest.mark.parametrize("stdout", ["print at import\n", "Sync 3 DAGs\n", '[{"not": "yours"}]\n', "=====\n", "None of it\n"])
@pytest.mark.parametrize("name", ["dags list", "dags reserialize", "dags report", "dags test", "dags list-import-errors"])
def test_what_a_dag_file_prints_before_it_ends_the_interpreter_is_no_result(name: str, stdout: str) -> None:
    for arguments in ([], ["-o", "json"], ["-o", "yaml"]):
        assert not judge(COMMANDS[name], arguments, stdout, "configuration is missing, giving up\n").succeeded
        assert not judge(COMMANDS[name], arguments, stdout, "").succeeded


LISTED = '[{"filepath": "/x.py", "error": "NameError: x"}]\n'


@pytest.mark.parametrize("stdout", [LISTED, f"[]\n{LISTED}", f"{LISTED}No data found\n", f'{LISTED}[{{"not": "yours"}}]\n'])
def test_import_errors_are_a_failure_of_their_own(stdout: str) -> None:
    outcome = judge(COMMANDS["dags list-import-errors"], ["-o", "json"], stdout, "")

    assert (outcome.verdict, outcome.reason) == (Verdict.LISTED_ERRORS, "import errors: 1")
    assert outcome.records == [{"filepath": "/x.py", "error": "NameError: x"}]


def test_a_list_that_a_dag_file_printed_before_the_result_does_not_count() -> None:
    outcome = judge(COMMANDS["dags list-import-errors"], ["-o", "json"], f"{LISTED}[]\n", "")

    assert (outcome.verdict, outcome.records) == (Verdict.SUCCEEDED, [])


def test_chosen_columns_are_the_columns_of_the_answer() -> None:
    outcome = judge(COMMANDS["dags list"], ["-o", "json", "--columns", "fileloc,owners"], '[{"fileloc": "/x.py"}]\n', "")

    assert outcome.records == [{"fileloc": "/x.py"}]


@pytest.mark.parametrize("stdout", ["digraph etl {\n}\n", "File x.png saved\n", "\x1b]1337;File=inline=1:iVBO\x07\n"])
def test_dags_show_in_its_three_forms(stdout: str) -> None:
    assert judge(COMMANDS["dags show"], ["etl"], stdout, "").succeeded


def test_help_is_a_result_when_it_was_asked_for() -> None:
    assert judge(COMMANDS["dags list"], ["--help"], "Usage: airflow dags list [-h]\n", "").succeeded
    assert not judge(COMMANDS["dags list"], [], "Usage: airflow dags list [-h]\n", "").succeeded


def test_a_long_reason_is_cut() -> None:
    reason = judge(COMMANDS["version"], [], "", "x" * 2000).reason

    assert (len(reason), reason[-2:]) == (LONGEST_REASON, "x…")


def test_secrets_are_masked_before_a_reason_is_cut_or_put_on_one_line() -> None:
    said = f"{'x' * (LONGEST_REASON - 10)} two  blanks and more"

    outcome = judge(COMMANDS["version"], [], "", said, lambda text: text.replace("two  blanks and more", "***"))

    assert outcome.reason == f"{'x' * (LONGEST_REASON - 10)} ***"


def test_a_hostile_megabyte_is_judged_soon() -> None:
    # Processor time, and ten times what it takes: only a search that grows with the square of the text is slower.
    started = time.process_time()
    for unit in (TRACEBACK, f"{TRACEBACK}X:\n", "[{", ":1 ", "a.", "airflow a ", "airflow command error: ", "DagRun Finished "):
        text = unit * (1_000_000 // len(unit))
        judge(COMMANDS["dags test"], [], text, text)
        judge(COMMANDS["dags list"], ["-o", "json"], text, text)

    assert time.process_time() - started < 20


ANY_TEXT = st.text(max_size=200) | st.sampled_from([*NASTY, TRACEBACK, GROUP, CAUSE, "Exception ignored in: x\n"])


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.lists(ANY_TEXT, max_size=4),
    st.lists(ANY_TEXT, max_size=4),
    st.sampled_from(["", "json", "yaml", "plain"]),
)
def test_no_text_makes_it_raise_and_no_failure_is_without_a_reason(
    name: str, stdout: list[str], stderr: list[str], form: str
) -> None:
    outcome = judge(COMMANDS[name], ["-o", form] if form else [], "".join(stdout), "".join(stderr))

    assert bool(outcome.reason) == (not outcome.succeeded)


@pytest.mark.parametrize("nasty", NASTY)
def test_text_around_a_failing_answer_never_makes_it_a_success(nasty: str) -> None:
    for capture in DECISIVE:
        stdout, stderr = capture.stdout, capture.stderr
        around = [(stdout + nasty, stderr), (stdout, stderr + nasty), (nasty + stdout, stderr), (stdout, nasty + stderr)]
        if nasty == "[]\n" and capture.command.records_fail:
            around = around[1:]  # of two lists the last one is Airflow's
        else:
            around += [(nasty + stdout + nasty, stderr + nasty)]
        for changed in around:
            assert not judge(capture.command, capture.arguments, *changed).succeeded, (capture.name, changed)


@given(st.sampled_from(DECISIVE), st.text(), st.text())
def test_no_text_behind_a_failing_answer_makes_it_a_success(capture: Capture, more_stdout: str, more_stderr: str) -> None:
    outcome = judge(capture.command, capture.arguments, capture.stdout + more_stdout, capture.stderr + more_stderr)

    assert not outcome.succeeded


@given(st.sampled_from(FAILED), st.text(), st.sampled_from(NASTY))
def test_no_text_on_stderr_makes_a_failing_answer_a_success(capture: Capture, text: str, nasty: str) -> None:
    if capture.name in ENDED_BY_A_DAG_FILE and "INFO" in nasty:
        nasty = ""

    assert not judge(capture.command, capture.arguments, capture.stdout, f"{text}\n{capture.stderr}{nasty}").succeeded


HEADER = "Traceback (most recent call last):\n"
# Copied to stderr, below a list of frames that is not of the same exception.
TRACEBACK_OF_A_LOG = (
    "[2026-11-28T21:31:40.246+0000] {local.py:79} DEBUG - Further details:\nStack (most recent call last):\n"
    '  File "/usr/local/bin/airflow", line 8, in <module>\n    sys.exit(main())\n'
    "[2026-11-28T21:33:05.413+0000] {shop.py:12} ERROR - Going on\nTraceback (most recent call last):\n"
    '  File "/opt/airflow/dags/shop.py", line 10, in <module>\n    {}["tables"]\nKeyError: \'tables\'\n'
)
OWN_TRACEBACK = (
    'Traceback (most recent call last):\n  File "/opt/airflow/dags/etl.py", line 3, in load\n    f()\nOSError: gone\n'
)


def test_a_traceback_that_a_dag_file_printed_itself_means_nothing_beside_a_result() -> None:
    assert judge(COMMANDS["dags trigger"], ["etl", "-o", "json"], TRIGGERED, OWN_TRACEBACK).succeeded
    assert judge(COMMANDS["dags list-import-errors"], ["-o", "json"], "[]\n", OWN_TRACEBACK).succeeded


def test_without_a_result_it_is_the_reason() -> None:
    outcome = judge(COMMANDS["dags trigger"], ["etl", "-o", "json"], "", OWN_TRACEBACK)

    assert (outcome.succeeded, outcome.reason) == (False, "OSError: gone")


@pytest.mark.parametrize("line", [HEADER, f"{HEADER}OSError: gone\n"])
def test_a_printed_header_of_a_traceback_means_nothing_beside_a_result(line: str) -> None:
    for printed in (line, f"{line}{TRACEBACK_OF_A_LOG}"):
        assert judge(COMMANDS["dags list-import-errors"], ["-o", "json"], "[]\n", printed).succeeded
