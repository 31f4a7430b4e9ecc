"""The Airflow CLI commands that DMS supports, as one table: how each behaves, and how each shows that it worked.

The signs were seen in tests/captures (Airflow 2.10.4, 3.0.6, 3.1.0, 3.2.2) and checked against airflow/cli/commands of
2.10.4. `outcome` reads them; nothing else decides what a single command's text means.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dms_airflow import secret_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A way to end well that is not what the author meant."""

    text: str
    """What to warn of."""
    sign: re.Pattern[str] | None = None
    """A line of the answer that shows it; None when the answer never shows it."""
    unless: re.Pattern[str] | None = None
    """A line of the answer that disproves it."""
    settled: bool = True
    """Whether the answer is proof. If not, a look by REST settles it."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One CLI command. Every pattern is searched line by line."""

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
    success: re.Pattern[str] | None = None
    """The line that shows that a command without records worked; None: any line that is not a log record."""
    failure_record: re.Pattern[str] | None = None
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
    def failure(self) -> re.Pattern[str] | None:
        """A line on stderr with which Airflow ends a command of this group, without a traceback."""
        return _FAILURES.get(self.name.partition(" ")[0])


# Texts with which Airflow ends a command by SystemExit, by the command's first word. DAG files print on stderr too, so a
# text that is not listed is a failure only where there is no result.
_DAG_FAILURE = re.compile(
    r"^(?:DAG: .* does not exist in (?:'dag' table|the database)$|Can not find dag .* in database$|Bundles not found: "
    r"|DagRun failed$|Configuration .* is not valid JSON\. Error: |Option --save and --imgcat are mutually exclusive"
    r"|Failed to execute\. Make sure the imgcat)"
)
_FAILURES = {
    "dags": _DAG_FAILURE,
    "tasks": _DAG_FAILURE,
    "connections": re.compile(
        r"^(?:A connection with `conn_id`=.* already exists\.$|Cannot supply both conn-uri and conn-json"
        r"|Could not create connection\. |Did not find a connection with |Found more than one connection with "
        r"|Must supply either conn-uri or conn-json|The URI provided to --conn-uri is invalid: "
        r"|The following args are not compatible with |conn-json is invalid; )"
    ),
    # `variables get -j` ends with the text of json.JSONDecodeError.
    "variables": re.compile(r"^Variable .* does not exist\.?$|: line \d+ column \d+ \(char \d+\)$"),
    "providers": re.compile(r"^No such provider installed: "),
    "db": re.compile(r"^(?:User did not confirm; exiting\.|No tables selected for db cleanup\.)"),
}

_RUN_STATES = "queued|running|success|failed"
_TASK_STATES = f"{_RUN_STATES}|removed|scheduled|restarting|up_for_retry|up_for_reschedule|upstream_failed|skipped|deferred"

_CANCELLED = Doubt(
    text="Nothing was changed: the question was not answered with yes.",
    sign=re.compile(r"^Operation cancelled by user$|(?:^|\(y/n\))Cancelled(?:, nothing was cleared\.)?$"),
)
_NOTHING_TO_RUN = Doubt(
    text="Nothing was run: there are no run dates in this range.",
    sign=re.compile(r"No run dates were found for the given dates"),
)
# In log records; 3.0 and 3.1 have the second forms (airflow/models/backfill.py).
_BACKFILLED = re.compile(r"\S (?:Created backfill Dag run\.|created backfill dag run dag_id=)")
_BACKFILL_SKIPPED = re.compile(
    r"\S (?:Backfill Dag run already exists; skipping\.|Skipped creating backfill dag run for dag_id=)"
)
_NOTHING_TO_BACKFILL = Doubt(
    text="Nothing was made: each date of the range has a DAG run already.", sign=_BACKFILL_SKIPPED, unless=_BACKFILLED
)
_NOT_PAUSED = Doubt(
    text="Nothing was changed: the DAG is in this state already, or does not exist.",
    sign=re.compile(r"^No (?:un)?paused DAGs were found$"),
    settled=False,
)
# Airflow 2 says when it clears nothing; Airflow 3, known by its log records, never does.
_MAYBE_NOT_CLEARED = Doubt(
    text="Airflow does not say whether any task instance was cleared.",
    sign=re.compile(r"^\d{4}-\d\d-\d\d[T ]\S+ \["),
    settled=False,
)
_NOT_CLEARED = Doubt(text="Nothing was changed: no task instance matches.", sign=re.compile(r"^Nothing to clear\.$"))
_MAYBE_NO_VARIABLE = Doubt(text="Airflow says the same when there was no such variable.", settled=False)

_ASKS_WITH_REGEX: dict[str, Any] = {"asks": True, "asks_only_with": "--treat-dag-id-as-regex"}

_TABLE = (
    # What Airflow 3 has in the place of `dags backfill`. It makes the runs, and does not wait for them.
    Command(
        name="backfill create",
        success=re.compile(rf"{_BACKFILLED.pattern}|{_BACKFILL_SKIPPED.pattern}|^(?:Runs|Logical dates) to be attempted:$"),
        doubts=(_NOTHING_TO_BACKFILL,),
    ),
    Command(
        name="dags backfill",
        success=re.compile(r"Backfill done for DAG |No run dates were found for the given dates|^Dry run of DAG "),
        doubts=(_NOTHING_TO_RUN,),
        asks=True,
        asks_only_with="--reset-dagruns",
    ),
    Command(
        name="dags delete",
        success=re.compile(r"^Removed \d+ record\(s\)|\(y/n\)Cancelled$|^Cancelled$"),
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
    Command(name="dags next-execution", repeatable=True, success=re.compile(r"^(?:None|\d{4}-\d\d-\d\dT[\d:.+-]+)$")),
    Command(name="dags pause", json=True, columns=("is_paused",), doubts=(_NOT_PAUSED, _CANCELLED), **_ASKS_WITH_REGEX),
    Command(name="dags report", repeatable=True, json=True, columns=("dag_num",)),
    Command(
        name="dags reserialize",
        # In a log record, never at the start of a line, where a DAG file's print() would stand. 3.2 has another text.
        success=re.compile(r"\S Sync \d+ DAGs\b|\S Bulk-writing dags to db\b"),
        silent_options=("--clear-only",),
    ),
    # With --imgcat, an escape sequence that holds the image.
    Command(name="dags show", repeatable=True, success=re.compile(r"^(?:strict )?digraph |^File .* saved$|\x1b\]1337;File=")),
    Command(name="dags state", repeatable=True, success=re.compile(rf"^(?:None|{_RUN_STATES})(?:, .*)?$")),
    Command(name="dags test", success=re.compile(r"^(?>.*?\bDagRun Finished\b).* state=success\b")),
    Command(name="dags trigger", json=True, columns=("dag_run_id",)),
    Command(name="dags unpause", json=True, columns=("is_paused",), doubts=(_NOT_PAUSED, _CANCELLED), **_ASKS_WITH_REGEX),
    Command(
        name="tasks clear",
        success=re.compile(r"^Nothing to clear\.$|nothing was cleared\.$"),
        silent=True,
        doubts=(_CANCELLED, _NOT_CLEARED, _MAYBE_NOT_CLEARED),
        asks=True,
    ),
    Command(
        name="tasks failed-deps",
        repeatable=True,
        success=re.compile(r"^Task instance dependencies (?:not met:|are all met\.)$"),
    ),
    # One id a line, or with --tree (2.x) one operator a line.
    Command(name="tasks list", repeatable=True, success=re.compile(r"^[\w.-]+$|^\s*<(?:Task|Mapped)\(")),
    # A task without template fields prints nothing.
    Command(name="tasks render", repeatable=True, success=re.compile(r"^# property: "), silent=True),
    Command(name="tasks state", repeatable=True, success=re.compile(rf"^(?:None|{_TASK_STATES})$")),
    Command(name="tasks states-for-dag-run", repeatable=True, json=True, columns=("task_id",)),
    Command(
        name="tasks test",
        success=re.compile(
            r"\b[Mm]arking task as (?:SUCCESS|SKIPPED|UP_FOR_RESCHEDULE)\b"
            r"|\[TASK TEST\] Trigger completed|\[DAG TEST\] end task\b| Dry run$"
        ),
        # From Airflow 3 on the task's own end is in the log only: Airflow ends with 0 when it failed, too.
        failure_record=re.compile(
            r"^Task (?:failed with exception|exited)\b|^\[DAG TEST\] Error running task |\bnew_state=(?:failed|up_for_retry)\b"
        ),
    ),
    Command(
        name="connections add",
        success=re.compile(r"^Successfully added `conn_id`="),
        secret_options=("--conn-uri", "--conn-password", "--conn-json", "--conn-extra"),
        shown_options=("--conn-type", "--conn-host", "--conn-login", "--conn-port", "--conn-schema", "--conn-description"),
        secret_position=1,
    ),
    Command(name="connections delete", success=re.compile(r"^Successfully deleted connection with ")),
    Command(
        name="variables delete",
        success=re.compile(r"^Variable .* deleted$"),
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
    Command(
        name="variables set", success=re.compile(r"^Variable .* created$"), shown_options=("--description",), secret_position=1
    ),
    *(
        Command(name=f"providers {what}", repeatable=True, json=True)
        for what in ("behaviours", "get", "hooks", "links", "list", "notifications", "secrets", "triggers", "widgets")
    ),
    # The word in DMS's documentation; Airflow 2.9 to 3.2 refuse it.
    Command(name="providers triggerer", airflow_name="providers triggers", repeatable=True, json=True),
    Command(name="cheat-sheet", repeatable=True, success=re.compile(r"^airflow cheat-sheet\b")),
    Command(
        name="db clean",
        success=re.compile(r"^(?:Checking table |Performing dry run for )|\bTable \S+ not found\."),
        asks=True,
    ),
    Command(name="version", repeatable=True, success=re.compile(r"^\d+\.\d+\.\d+\S*$")),
)

COMMANDS: Mapping[str, Command] = {command.name: command for command in _TABLE}


def find_command(words: Sequence[str]) -> Command | None:
    """The command that these words begin with (`["dags", "trigger", "etl"]`), or None."""
    return COMMANDS.get(" ".join(words[:2])) or COMMANDS.get(" ".join(words[:1]))


def suggest_command(text: str) -> str | None:
    """The name most like this text, or None when none is like it."""
    nearest = difflib.get_close_matches(" ".join(text.lower().replace("_", "-").split()), COMMANDS, n=1)
    return nearest[0] if nearest else None


def has_option(arguments: Sequence[str], *names: str) -> bool:
    """Whether the option is among the arguments, in any spelling that argparse takes for it."""
    return any(True for _ in _read_options(arguments, names))


def option_value(arguments: Sequence[str], *names: str) -> str | None:
    """The option's value (the last one counts, as in argparse), or None when it is not given."""
    value = None
    for value in _read_options(arguments, names):  # noqa: B007 - the last one is what is asked for
        pass
    return value


def awaits_answer(command: Command, arguments: Sequence[str]) -> bool:
    """Whether the command will ask a question that its arguments do not answer. Over HTTP nobody can."""
    asks = command.asks and (not command.asks_only_with or has_option(arguments, command.asks_only_with))
    return asks and not has_option(arguments, "-y", "--yes", "-h", "--help")


def find_secrets(command: Command, arguments: Sequence[str]) -> tuple[str, ...]:
    """The secret words among a command's arguments, and those inside them that Airflow may print alone.

    A connection's URI holds a password, its JSON and its extra may hold more. Airflow prints them in its own spelling.
    """
    found: list[str] = []
    for _, value, secret in _split_words(command, arguments):
        found += [value, *secret_words.find_secrets(value)] if secret else secret_words.find_secrets(value)
    return tuple(dict.fromkeys(filter(None, found)))


def hide_secrets(command: Command, arguments: Sequence[str]) -> list[str]:
    """The arguments as they may be shown, whatever the length of a secret."""
    return [
        head + (secret_words.MASK if secret and value else secret_words.hide_secrets(value))
        for head, value, secret in _split_words(command, arguments)
    ]


def _split_words(command: Command, arguments: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Give each word as what may be shown of it, the value in it, and whether that is secret.

    Of a command that takes secrets nothing is shown but what is known to be none: Airflow prints an option that it does not
    know, and whoever misspells one does not mean to show its value.
    """
    guarded = bool(command.secret_options) or command.secret_position is not None
    position, is_value, value_is_secret, all_positional = 0, False, False, False
    for word in arguments:
        option, equals, value = word.partition("=")
        if is_value and (not word.startswith("-") or _NO_OPTION.search(word) or value_is_secret):
            is_value = False
            yield "", word, value_is_secret
        elif word == "--" and not all_positional:
            all_positional, is_value = True, False
            yield word, "", False
        elif all_positional or not word.startswith("-") or _NO_OPTION.search(word):
            yield "", word, command.secret_position is not None and position >= command.secret_position
            position += 1
        elif not guarded:
            yield (f"{option}=", value, False) if equals else ("", word, False)
        elif any(one.startswith(option) for one in _BARE_OPTIONS):
            yield "", word, False
        else:
            # argparse takes any unambiguous beginning. `--conn-p` is none: what follows may be a password.
            may_be_secret = any(name.startswith(option) for name in command.secret_options)
            value_is_secret = may_be_secret or not any(name.startswith(option) for name in command.shown_options)
            # In `--conn-passwordx` and `-dx` the name holds the value.
            glued = not may_be_secret and any(option.startswith(name) for name in command.secret_options)
            is_value = not equals and not (glued and not option.startswith("--"))
            yield ("", word, True) if glued else (f"{option}=" if equals else option, value, value_is_secret)


# Options without a value of the commands that take secrets.
_BARE_OPTIONS = ("-v", "--verbose", "-h", "--help", "-j", "--json")


def _is_one_of(option: str, names: Sequence[str]) -> bool:
    # argparse takes any unambiguous beginning. `--conn-p` is none: what follows may be a password.
    return option in names or (len(option) > len("--conn-p") and any(name.startswith(option) for name in names))


# Short options that take no value in all of these commands: only behind them may another option stand in the same word,
# as in `-vo json`.
_FLAGS = "vy"


def _read_options(arguments: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """What stands behind each occurrence: `-o json`, `-ojson`, `--output json`, `--output=json`, `--out json`.

    Empty when nothing does; for a flag, it is whatever comes next.
    """
    for index, word in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if word == "--":
            return
        option, equals, value = word.partition("=")
        for name in names:
            if name.startswith("--"):
                # argparse takes any unambiguous beginning; `--` and one letter is the shortest.
                if len(option) > len("--") and name.startswith(option):
                    yield value if equals else following
            elif found := re.match(rf"-[{_FLAGS}]*{re.escape(name[1:])}=?(.*)$", word, re.DOTALL):
                yield found[1] or following


# Options with a value, of the commands whose positional arguments matter here: dags pause, trigger, unpause; variables set.
_VALUED = (
    *("-S", "--subdir", "-B", "--bundle-name", "-c", "--conf", "-r", "--run-id", "-e", "--exec-date"),
    *("-l", "--logical-date", "-o", "--output", "--description"),
)
# argparse takes a lone hyphen, a negative number and a word with a blank for a value.
_NO_OPTION = re.compile(r"^-$|^-\d+$|^-\d*\.\d+$| ")


def read_positionals(arguments: Sequence[str]) -> list[str]:
    """List the arguments that are neither options nor their values."""
    positionals: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            positionals += words
        elif not word.startswith("-") or _NO_OPTION.search(word):
            positionals.append(word)
        elif word in _VALUED or (len(word) > len("--") and any(option.startswith(word) for option in _VALUED)):
            next(words, None)
    return positionals
