"""The Airflow CLI commands that DMS supports, as one table: how each behaves, and how each shows that it worked.

The signs were seen in tests/captures (Airflow 2.10.4, 3.0.6, 3.1.0, 3.2.2) and checked against airflow/cli/commands of
2.10.4 and 3.2.2. `verdict` applies them; why a run was not triggered is read in operations/dags_trigger.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NoEffect:
    """A way to end well and change nothing."""

    warning: str
    sign: str
    """A line of the output that shows it."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One CLI command. Every pattern is searched line by line, and compiled only for the command that runs: there are many."""

    name: str
    airflow_name: str = ""
    """What Airflow itself calls it, where that differs."""
    repeatable: bool = False
    """It only reads: it may be sent again when its answer was lost."""
    json: bool = False
    """It prints records and knows `-o json`."""
    columns: tuple[str, ...] = ()
    """Columns of its records; one of them is in each record, and not in what DAG files print."""
    records_fail: bool = False
    """It ends with status 1 when it has records to show."""
    prints_result: bool = True
    """False: only Airflow's database shows whether it worked."""
    success: str | None = None
    """The line that shows that a command without records worked; None: any line that is not a log record."""
    success_record: str | None = None
    """A log record that shows that it worked, for a command that shows it nowhere else. Searched in message and values."""
    failure_record: str | None = None
    """A log record that shows that it failed, though Airflow ends with 0. Searched in message and values."""
    no_effects: tuple[NoEffect, ...] = ()
    unknown: str = ""
    """Why its output may not show whether it worked, and what to do about it."""
    confirms: bool = False
    """It asks for confirmation; `--yes` answers in advance."""
    confirms_only: str = ""
    """The option without which it needs no confirmation."""
    options: tuple[tuple[str, ...], ...] = ()
    """The options with a value, where the arguments that are not options matter, or where there are secrets."""
    secret_options: tuple[tuple[str, ...], ...] = ()
    """Further ones, of which the value is a secret."""
    secret_position: int | None = None
    """Index of the positional argument from which on they are secrets."""
    secret_output: bool = False
    """Its stdout is a secret."""

    @property
    def takes_secrets(self) -> bool:
        """Whether some of its arguments are secrets."""
        return bool(self.secret_options) or self.secret_position is not None

    @property
    def failure(self) -> str:
        """A line on stderr with which Airflow ends a command of this group, without a traceback."""
        return _FAILURES.get(self.name.partition(" ")[0], r"(?!)")  # never


# Texts with which Airflow ends a command by SystemExit, by the command's first word. DAG files print on stderr too, so a
# text that is not listed is a failure only where there is no result.
_DAG_FAILURE = (
    r"^(?:DAG: .* does not exist in (?:'dag' table|the database)$|Can not find dag .* in database$|Bundles not found: "
    r"|DagRun failed$|Configuration .* is not valid JSON\. Error: |Option --save and --imgcat are mutually exclusive"
    r"|Failed to execute\. Make sure the imgcat)"
)
_FAILURES = {
    "dags": _DAG_FAILURE,
    "tasks": _DAG_FAILURE,
    "connections": (
        r"^(?:A connection with `conn_id`=.* already exists\.$|Cannot supply both conn-uri and conn-json"
        r"|Could not create connection\. |Did not find a connection with |Found more than one connection with "
        r"|Must supply either conn-uri or conn-json|The URI provided to --conn-uri is invalid: "
        r"|The following args are not compatible with |conn-json is invalid; )"
    ),
    # `variables get -j` ends with the text of json.JSONDecodeError.
    "variables": r"^Variable .* does not exist\.?$|: line \d+ column \d+ \(char \d+\)$",
    "providers": r"^No such provider installed: ",
    "db": r"^(?:User did not confirm; exiting\.|No tables selected for db cleanup\.)",
}

_RUN_STATES = "queued|running|success|failed"
_TASK_STATES = f"{_RUN_STATES}|removed|scheduled|restarting|up_for_retry|up_for_reschedule|upstream_failed|skipped|deferred"

_CANCELLED = NoEffect(
    warning="Nothing was changed: the question was not answered with yes.",
    sign=r"^Operation cancelled by user$|(?:^|\(y/n\))Cancelled(?:, nothing was cleared\.)?$",
)
# Words of the log: the database cannot show that there was nothing to do.
_NOTHING_TO_RUN = NoEffect(
    warning="Nothing was run: there are no run dates in this range.",
    sign=r"No run dates were found for the given dates",
)
_NOT_PAUSED = NoEffect(
    warning="Nothing was changed: the DAG is in this state already, or does not exist.",
    sign=r"^No (?:un)?paused DAGs were found$",
)
_NOT_CLEARED = NoEffect(warning="Nothing was changed: no task instance matches.", sign=r"^Nothing to clear\.$")

_CONF, _FOLDER, _BUNDLE = ("-c", "--conf"), ("-S", "--subdir"), ("-B", "--bundle-name")
_START, _END, _TASKS = ("-s", "--start-date"), ("-e", "--end-date"), ("-t", "--task-regex")

_TABLE = (
    # What Airflow 3 has in the place of `dags backfill`. It makes the runs, and does not wait for them.
    Command(
        name="backfill create",
        success=r"^(?:Runs|Logical dates) to be attempted:$",  # with --dry-run only
    ),
    Command(
        name="dags backfill",
        success=r"No run dates were found for the given dates|^Dry run of DAG ",
        no_effects=(_NOTHING_TO_RUN,),
        options=(_CONF, _FOLDER, _START, _END, _TASKS, ("--delay-on-limit",), ("--pool",)),
        confirms=True,
        confirms_only="--reset-dagruns",
    ),
    Command(
        name="dags delete",
        success=r"^Removed \d+ record\(s\)|\(y/n\)Cancelled$|^Cancelled$",
        no_effects=(_CANCELLED,),
        confirms=True,
    ),
    Command(name="dags list", repeatable=True, json=True, columns=("dag_id",)),
    Command(name="dags list-import-errors", repeatable=True, json=True, columns=("filepath", "error"), records_fail=True),
    Command(name="dags list-jobs", repeatable=True, json=True, columns=("job_type", "dag_id")),
    Command(name="dags list-runs", repeatable=True, json=True, columns=("run_id",)),
    Command(name="dags next-execution", repeatable=True, success=r"^(?:None|\d{4}-\d\d-\d\dT[\d:.+-]+)$"),
    *(
        Command(
            name=f"dags {what}",
            json=True,
            columns=("is_paused",),
            no_effects=(_NOT_PAUSED, _CANCELLED),
            confirms=True,
            confirms_only="--treat-dag-id-as-regex",
        )
        for what in ("pause", "unpause")
    ),
    Command(name="dags report", repeatable=True, json=True, columns=("dag_num",)),
    Command(name="dags reserialize", prints_result=False),
    # With --imgcat, an escape sequence that holds the image.
    Command(name="dags show", repeatable=True, success=r"^(?:strict )?digraph |^File .* saved$|\x1b\]1337;File="),
    Command(name="dags state", repeatable=True, success=rf"^(?:None|{_RUN_STATES})(?:, .*)?$"),
    Command(
        name="dags test",
        prints_result=False,
        options=(_CONF, _FOLDER, _BUNDLE, ("-f", "--dagfile-path"), ("--save-dagrun",), ("--mark-success-pattern",)),
    ),
    Command(
        name="dags trigger",
        json=True,
        columns=("dag_run_id",),
        options=(_CONF, _FOLDER, ("-o", "--output"), ("-r", "--run-id"), ("-e", "--exec-date"), ("-l", "--logical-date")),
    ),
    Command(
        name="tasks clear",
        success=r"^Nothing to clear\.$|nothing was cleared\.$",
        no_effects=(_CANCELLED, _NOT_CLEARED),
        confirms=True,
    ),
    Command(name="tasks failed-deps", repeatable=True, success=r"^Task instance dependencies (?:not met:|are all met\.)$"),
    # One id a line, or with --tree (2.x) one operator a line.
    Command(name="tasks list", repeatable=True, success=r"^[\w.-]+$|^\s*<(?:Task|Mapped)\("),
    # A task without template fields prints nothing.
    Command(name="tasks render", repeatable=True, success=r"^# property: "),
    Command(name="tasks state", repeatable=True, success=rf"^(?:None|{_TASK_STATES})$"),
    Command(name="tasks states-for-dag-run", repeatable=True, json=True, columns=("task_id",)),
    Command(
        name="tasks test",
        # Airflow 2 ends with an exception when the task failed.
        success=r"\b[Mm]arking task as (?:SUCCESS|SKIPPED|UP_FOR_RESCHEDULE)\b|\[TASK TEST\] Trigger completed| Dry run$",
        # From Airflow 3 on it ends with 0 then, too: only a log in a form that is understood shows which it was.
        success_record=r"^\[DAG TEST\] end task\b",
        failure_record=(
            r"^Task (?:failed with exception|exited)\b|^\[DAG TEST\] Error running task |\bnew_state=(?:failed|up_for_retry)\b"
        ),
        unknown=(
            "Airflow writes whether the task worked only to its log, and the log of this instance does not show it: its level "
            "is above INFO, or its format is another one. `tasks test` leaves nothing in Airflow's database. Set Airflow's "
            "logging_level to INFO and its log_format to the default, or run the task with `dags trigger` and "
            "wait-for-completion: true."
        ),
    ),
    Command(
        name="connections add",
        success=r"^Successfully added `conn_id`=",
        secret_options=(("--conn-uri",), ("--conn-password",), ("--conn-json",), ("--conn-extra",)),
        options=(
            *(("--conn-type",), ("--conn-host",), ("--conn-login",), ("--conn-port",), ("--conn-schema",)),
            ("--conn-description",),
        ),
        secret_position=1,
    ),
    Command(name="connections delete", success=r"^Successfully deleted connection with "),
    Command(name="variables delete", success=r"^Variable .* deleted$"),  # also when there was none
    Command(
        name="variables get", repeatable=True, secret_options=(("-d", "--default"),), secret_position=1, secret_output=True
    ),
    Command(name="variables list", repeatable=True, json=True, columns=("key",)),
    Command(name="variables set", success=r"^Variable .* created$", options=(("--description",),), secret_position=1),
    *(
        Command(name=f"providers {what}", repeatable=True, json=True)
        for what in ("behaviours", "get", "hooks", "links", "list", "notifications", "secrets", "triggers", "widgets")
    ),
    # The word in DMS's documentation; Airflow 2.9 to 3.2 refuse it.
    Command(name="providers triggerer", airflow_name="providers triggers", repeatable=True, json=True),
    Command(name="cheat-sheet", repeatable=True, success=r"^airflow cheat-sheet\b"),
    Command(name="db clean", success=r"^(?:Checking table |Performing dry run for )|\bTable \S+ not found\.", confirms=True),
    Command(name="version", repeatable=True, success=r"^\d+\.\d+\.\d+\S*$"),
)

COMMANDS: Mapping[str, Command] = {command.name: command for command in _TABLE}


def find_command(words: Sequence[str]) -> Command | None:
    """The command that these words begin with (`["dags", "trigger", "etl"]`), or None."""
    return COMMANDS.get(" ".join(words[:2])) or COMMANDS.get(" ".join(words[:1]))


def suggest_command(text: str) -> str | None:
    """The name most like this text, or None when none is like it."""
    nearest = difflib.get_close_matches(" ".join(text.lower().replace("_", "-").split()), COMMANDS, n=1)
    return nearest[0] if nearest else None
