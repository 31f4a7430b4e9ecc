"""The Airflow CLI commands that DMS supports, as one table: how each behaves, and how each shows that it worked.

The signs were seen in tests/captures (Airflow 2.10.4, 3.0.6, 3.1.0, 3.2.2) and checked against airflow/cli/commands of
2.10.4. `outcome` reads them; nothing else decides what a single command's text means.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A way to end well that is not what the author meant."""

    text: str
    """What to warn of."""
    sign: str | None = None
    """A line of the answer that shows it; None when the answer never shows it."""
    unless: str | None = None
    """A line of the answer that disproves it."""
    settled: bool = True
    """Whether the answer is proof. If not, a look by REST settles it."""


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
    """Columns of its records; one of them in each record tells them from what DAG files print."""
    records_fail: bool = False
    """It ends with status 1 when it has records to show."""
    success: str | None = None
    """The line that shows that a command without records worked; None: any line that is not a log record."""
    failure_record: str | None = None
    """A log record that shows that it failed, though Airflow ends with 0. Searched in the records' messages."""
    silent: bool = False
    """It may print nothing at all when it worked."""
    silent_options: tuple[str, ...] = ()
    """Options with which it prints nothing when it worked."""
    doubts: tuple[Doubt, ...] = ()
    asks: bool = False
    """It asks for confirmation; `--yes` answers in advance."""
    asks_only_with: str = ""
    """The option without which it does not ask."""
    secret_options: tuple[str, ...] = ()
    shown_options: tuple[str, ...] = ()
    """Where there are secrets, all options with a value that is none: whatever is misspelled is one."""
    secret_position: int | None = None
    """Index of the positional argument from which on they are secrets."""
    secret_answer: bool = False
    """Its stdout is a secret."""

    @property
    def failure(self) -> str | None:
        """A line on stderr with which Airflow ends a command of this group, without a traceback."""
        return _FAILURES.get(self.name.partition(" ")[0])


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

_CANCELLED = Doubt(
    text="Nothing was changed: the question was not answered with yes.",
    sign=r"^Operation cancelled by user$|(?:^|\(y/n\))Cancelled(?:, nothing was cleared\.)?$",
)
_NOTHING_TO_RUN = Doubt(
    text="Nothing was run: there are no run dates in this range.",
    sign=r"No run dates were found for the given dates",
)
# In log records; 3.0 and 3.1 have the second forms (airflow/models/backfill.py).
_BACKFILLED = r"\S (?:Created backfill Dag run\.|created backfill dag run dag_id=)"
_BACKFILL_SKIPPED = r"\S (?:Backfill Dag run already exists; skipping\.|Skipped creating backfill dag run for dag_id=)"
_NOTHING_TO_BACKFILL = Doubt(
    text="Nothing was made: each date of the range has a DAG run already.", sign=_BACKFILL_SKIPPED, unless=_BACKFILLED
)
_NOT_PAUSED = Doubt(
    text="Nothing was changed: the DAG is in this state already, or does not exist.",
    sign=r"^No (?:un)?paused DAGs were found$",
    settled=False,
)
# Airflow 2 says when it clears nothing; Airflow 3, known by its log records, never does.
_MAYBE_NOT_CLEARED = Doubt(
    text="Airflow does not say whether any task instance was cleared.",
    sign=r"^\d{4}-\d\d-\d\d[T ]\S+ \[",
    settled=False,
)
_NOT_CLEARED = Doubt(text="Nothing was changed: no task instance matches.", sign=r"^Nothing to clear\.$")
_MAYBE_NO_VARIABLE = Doubt(text="Airflow says the same when there was no such variable.", settled=False)

_ASKS_WITH_REGEX: dict[str, Any] = {"asks": True, "asks_only_with": "--treat-dag-id-as-regex"}

_TABLE = (
    # What Airflow 3 has in the place of `dags backfill`. It makes the runs, and does not wait for them.
    Command(
        name="backfill create",
        success=rf"{_BACKFILLED}|{_BACKFILL_SKIPPED}|^(?:Runs|Logical dates) to be attempted:$",
        doubts=(_NOTHING_TO_BACKFILL,),
    ),
    Command(
        name="dags backfill",
        success=r"Backfill done for DAG |No run dates were found for the given dates|^Dry run of DAG ",
        doubts=(_NOTHING_TO_RUN,),
        asks=True,
        asks_only_with="--reset-dagruns",
    ),
    Command(
        name="dags delete",
        success=r"^Removed \d+ record\(s\)|\(y/n\)Cancelled$|^Cancelled$",
        doubts=(_CANCELLED,),
        asks=True,
    ),
    Command(name="dags list", repeatable=True, json=True, columns=("dag_id",)),
    Command(
        name="dags list-import-errors",
        repeatable=True,
        json=True,
        columns=("filepath", "error"),
        records_fail=True,
    ),
    Command(name="dags list-jobs", repeatable=True, json=True, columns=("job_type", "dag_id")),
    Command(name="dags list-runs", repeatable=True, json=True, columns=("run_id",)),
    Command(name="dags next-execution", repeatable=True, success=r"^(?:None|\d{4}-\d\d-\d\dT[\d:.+-]+)$"),
    Command(name="dags pause", json=True, columns=("is_paused",), doubts=(_NOT_PAUSED, _CANCELLED), **_ASKS_WITH_REGEX),
    Command(name="dags report", repeatable=True, json=True, columns=("dag_num",)),
    Command(
        name="dags reserialize",
        # In a log record, never at the start of a line, where a DAG file's print() would stand. 3.2 has another text.
        success=r"\S Sync \d+ DAGs\b|\S Bulk-writing dags to db\b",
        silent_options=("--clear-only",),
    ),
    # With --imgcat, an escape sequence that holds the image.
    Command(name="dags show", repeatable=True, success=r"^(?:strict )?digraph |^File .* saved$|\x1b\]1337;File="),
    Command(name="dags state", repeatable=True, success=rf"^(?:None|{_RUN_STATES})(?:, .*)?$"),
    Command(name="dags test", success=r"^(?>.*?\bDagRun Finished\b).* state=success\b"),
    Command(name="dags trigger", json=True, columns=("dag_run_id",)),
    Command(name="dags unpause", json=True, columns=("is_paused",), doubts=(_NOT_PAUSED, _CANCELLED), **_ASKS_WITH_REGEX),
    Command(
        name="tasks clear",
        success=r"^Nothing to clear\.$|nothing was cleared\.$",
        silent=True,
        doubts=(_CANCELLED, _NOT_CLEARED, _MAYBE_NOT_CLEARED),
        asks=True,
    ),
    Command(
        name="tasks failed-deps",
        repeatable=True,
        success=r"^Task instance dependencies (?:not met:|are all met\.)$",
    ),
    # One id a line, or with --tree (2.x) one operator a line.
    Command(name="tasks list", repeatable=True, success=r"^[\w.-]+$|^\s*<(?:Task|Mapped)\("),
    # A task without template fields prints nothing.
    Command(name="tasks render", repeatable=True, success=r"^# property: ", silent=True),
    Command(name="tasks state", repeatable=True, success=rf"^(?:None|{_TASK_STATES})$"),
    Command(name="tasks states-for-dag-run", repeatable=True, json=True, columns=("task_id",)),
    Command(
        name="tasks test",
        success=(
            r"\b[Mm]arking task as (?:SUCCESS|SKIPPED|UP_FOR_RESCHEDULE)\b"
            r"|\[TASK TEST\] Trigger completed|\[DAG TEST\] end task\b| Dry run$"
        ),
        # From Airflow 3 on the task's own end is in the log only: Airflow ends with 0 when it failed, too.
        failure_record=(
            r"^Task (?:failed with exception|exited)\b|^\[DAG TEST\] Error running task |\bnew_state=(?:failed|up_for_retry)\b"
        ),
    ),
    Command(
        name="connections add",
        success=r"^Successfully added `conn_id`=",
        secret_options=("--conn-uri", "--conn-password", "--conn-json", "--conn-extra"),
        shown_options=("--conn-type", "--conn-host", "--conn-login", "--conn-port", "--conn-schema", "--conn-description"),
        secret_position=1,
    ),
    Command(name="connections delete", success=r"^Successfully deleted connection with "),
    Command(
        name="variables delete",
        success=r"^Variable .* deleted$",
        doubts=(_MAYBE_NO_VARIABLE,),
    ),
    Command(
        name="variables get",
        repeatable=True,
        secret_options=("-d", "--default"),
        secret_position=1,
        secret_answer=True,
    ),
    Command(name="variables list", repeatable=True, json=True, columns=("key",)),
    Command(name="variables set", success=r"^Variable .* created$", shown_options=("--description",), secret_position=1),
    *(
        Command(name=f"providers {what}", repeatable=True, json=True)
        for what in ("behaviours", "get", "hooks", "links", "list", "notifications", "secrets", "triggers", "widgets")
    ),
    # The word in DMS's documentation; Airflow 2.9 to 3.2 refuse it.
    Command(name="providers triggerer", airflow_name="providers triggers", repeatable=True, json=True),
    Command(name="cheat-sheet", repeatable=True, success=r"^airflow cheat-sheet\b"),
    Command(
        name="db clean",
        success=r"^(?:Checking table |Performing dry run for )|\bTable \S+ not found\.",
        asks=True,
    ),
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
