"""Did the command work? Read from stdout and stderr, because DMS responds with nothing else. Pure.

The verdict is what Airflow's exit status would have been. It never depends on the form of a log:

1. A sign of failure on stderr decides, whatever else was printed: an exception that ended Airflow's command line, a usage
   error, or a text with which Airflow is known to end this command. A traceback that does not come out of Airflow's command
   line is a log record, or a DAG file printed it: it is no sign. From Airflow 3 on `tasks test` ends with 0 whatever became of
   the task; a log in a form that is understood shows it, and a task that failed is a failure here.
2. The result itself decides: the records, or the line that this command prints when it worked. `dags list-import-errors`
   ends with 1 when it has records to show. Warnings, and what DAG files print, then mean nothing.
3. Without either the verdict is unknown. For a command whose result is in Airflow's database, run.py then finds out; any
   other has failed, since a success is never reported without a proof.

What no text can show: a DAG file that prints a result of just the expected form and then ends the interpreter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from dms_airflow.airflow.commands.arguments import has_option, option_value
from dms_airflow.airflow.commands.failures import find_failure, match_record, strip_module
from dms_airflow.airflow.commands.known_commands import Command
from dms_airflow.airflow.commands.output import Records, find_records, has_no_records, has_records, is_log_record, split_lines

LONGEST_REASON = 500

ADVICE_CONFIRM = "The command asks for confirmation, and nobody is there to answer. Add `--yes` to the arguments."
ADVICE_NO_RESULT = (
    "The command ended before it printed its result. What ended it is not known: lack of memory, a time limit, or a DAG file "
    "that calls `sys.exit()` or `os._exit()` when it is imported. On Airflow 2 the last file that `dags list-import-errors -v` "
    "names was imported last; Airflow 3 names none, but `deploy-gate` names the DAG files that are new or changed."
)


class Verdict(Enum):
    """Whether a command worked."""

    SUCCEEDED = auto()
    FAILED = auto()
    LISTED_ERRORS = auto()
    """It failed because it lists import errors, and for no other reason."""
    UNKNOWN = auto()
    """Its output shows neither a result nor a failure."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended."""

    verdict: Verdict
    reason: str = ""
    """One line; empty when the command succeeded, and only then."""
    advice: str = ""
    """The next step, where one is known."""
    warning: str = ""
    """The command ended well, but changed nothing."""
    records: Records | None = None
    """What `-o json` printed, as printed: Airflow makes each number and boolean in it a string."""

    @property
    def json(self) -> str:
        """The records as JSON; empty without records."""
        return json.dumps(self.records, ensure_ascii=False) if self.records is not None else ""

    @property
    def succeeded(self) -> bool:
        """Whether it is known to have worked."""
        return self.verdict is Verdict.SUCCEEDED

    @property
    def lists_errors(self) -> bool:
        """Whether it failed only because it lists import errors."""
        return self.verdict is Verdict.LISTED_ERRORS


def judge(command: Command, arguments: Sequence[str], stdout: str, stderr: str, redact: Callable[[str], str] = str) -> Outcome:
    """Decide from all its output whether a command worked, and if not, why; `redact` masks secrets before the reason is cut."""
    output, errors = split_lines(stdout), split_lines(stderr)
    output_format = (option_value(arguments, "-o", "--output") or "table") if command.json else ""
    asked_columns = option_value(arguments, "--columns")
    columns = asked_columns.split(",") if asked_columns else command.columns
    records = find_records(output, columns) if output_format == "json" else None

    def conclude(verdict: Verdict, reason: str, advice: str = "", warning: str = "") -> Outcome:
        return Outcome(
            verdict=verdict,
            reason=_shorten(redact(reason)),
            advice=advice,
            warning=warning,
            records=records,
        )

    if failure := find_failure(command, output, errors):
        return conclude(Verdict.FAILED, failure, _advise(command, failure))

    as_text = command.json and output_format != "json"
    shows_records = has_records(output, columns, output_format) if as_text else bool(records)
    if shows_records and command.records_fail:
        return conclude(Verdict.LISTED_ERRORS, f"import errors: {len(records)}" if records else "there are import errors")

    shown = [*output, *filter(is_log_record, errors)]  # 3.1.0 writes a part of its log to stderr
    no_effect = next((one for one in command.no_effects if _shows(one.sign, shown)), None)
    if no_effect or shows_records or records is not None or _has_result(command, arguments, shown, output_format):
        return conclude(Verdict.SUCCEEDED, "", warning=no_effect.warning if no_effect else "")
    if command.unknown:
        return conclude(Verdict.UNKNOWN, f"`{command.name}` ended, and its output does not show how", command.unknown)
    reason = strip_module(_find_unexplained(errors))
    advice = _advise(command, reason) if reason else ADVICE_NO_RESULT
    # With `-v` the last line may be what a library logs, such as a secret.
    quoted = () if has_option(arguments, "-v", "--verbose") else output
    return conclude(Verdict.UNKNOWN, reason or _describe_silence(command, quoted), advice)


# 2. The result.


def _has_result(command: Command, arguments: Sequence[str], shown: Iterable[str], output_format: str) -> bool:
    if has_option(arguments, "-h", "--help"):
        return any(line.startswith("Usage: airflow ") for line in shown)
    if output_format:
        return has_no_records(shown, output_format)
    if command.success_record and any(match_record(command.success_record, line) for line in shown):
        return True
    if command.success:
        return _shows(command.success, shown)
    return command.prints_result and any(not is_log_record(line) for line in shown)


def _shows(sign: str, lines: Iterable[str]) -> bool:
    return any(map(re.compile(sign).search, lines))


# 3. Neither: what may have been the reason.

# Python's own form (`file:line: Category: text`, then the source line) and Airflow's (one colon less).
_WARNING = re.compile(r"^.+:\d+:? \w*Warning: ")
_NOTE = re.compile(r"^\[(?:INFO|WARN)\] ")
# The rest of a warning of Airflow 3.0 and 3.1, printed by every `dags` command.
_GRAPHVIZ = re.compile(
    r"^(?:You might need to install the graphviz package and necessary system packages\."
    r"|Run `pip install graphviz` to attempt to install it\.)"
)


def _find_unexplained(errors: Iterable[str]) -> str:
    """Give the last line that is not a warning."""
    last = ""
    after_warning = False
    for line in errors:
        source = after_warning and line.startswith("  ")
        after_warning = _WARNING.match(line) is not None
        noise = source or after_warning or is_log_record(line) or _NOTE.match(line) or _GRAPHVIZ.match(line)
        if line.strip() and not noise:
            last = line
    return last


def _describe_silence(command: Command, output: Sequence[str]) -> str:
    reason = f"`{command.name}` printed neither a result nor an error"
    # `dags backfill` prints the text of a ValueError on stdout, and ends with 1.
    last = next((line.strip() for line in reversed(output) if line.strip()), "")
    return reason if not last or is_log_record(last) else f"{reason}; the last line of its output: {last}"


# What to do about it.


def _refused(options: str) -> str:
    return rf"unrecognized arguments:(?s:.*)\s(?:{options})(?:[=\s]|$)"


# What Airflow 3 calls otherwise: the command (empty: any), a pattern of the refusal, and what to write instead. Seen in usage
# errors (tests/captures/airflow-3.2.2/cli, names that end in `_2x`).
_RENAMED = (
    (
        "dags backfill",
        "has been removed",
        (
            "On Airflow 3 write `backfill create --dag-id DAG --from-date DATE --to-date DATE`: the scheduler then makes the "
            "runs, and the command does not wait for them."
        ),
    ),
    ("dags list-runs", _refused("-d|--dag-id"), "Airflow 3 takes the DAG's id without an option: `dags list-runs DAG`."),
    ("dags trigger", _refused("-e|--exec-date"), "Airflow 3 calls this option `-l`, `--logical-date`."),
    (
        "",
        _refused("-S|--subdir"),
        "Airflow 3 has bundles in the place of folders: `-B`, `--bundle-name`; the DAG folder is `dags-folder`.",
    ),
)


def _advise(command: Command, reason: str) -> str:
    if command.confirms and re.match(r"EOFError\b|RuntimeError: input\(\): lost sys\.stdin|User did not confirm", reason):
        return ADVICE_CONFIRM
    for name, refusal, advice in _RENAMED:
        if name in ("", command.name) and re.search(refusal, reason):
            return advice
    return ""


def _shorten(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
