"""Did the command work? Read from stdout and stderr, because DMS responds with nothing else. Pure.

The verdict is what Airflow's exit status would have been. It never depends on the form of a log:

1. A sign of failure on stderr decides, whatever else was printed: an exception that ended Airflow's command line, a usage
   error, or a text with which Airflow is known to end this command. A traceback that does not come out of Airflow's command
   line is a log record, or a DAG file printed it: it is no sign. From Airflow 3 on `tasks test` ends with 0 whatever became of
   the task; a log in a form that is understood shows it, and a task that failed is a failure here.
2. The result itself decides: the records, or the line that this command prints when it worked. `dags list-import-errors`
   ends with 1 when it has records to show. Warnings, and what DAG files print, then mean nothing.
3. Without either the verdict is unknown. For a command whose result is in Airflow's database, effects.py then finds out; any
   other has failed, since a success is never reported without a proof.

What no text can show: a DAG file that prints a result of just the expected form and then ends the interpreter.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands import output as console
from dms_airflow.airflow.commands.arguments import has_option, option_value
from dms_airflow.airflow.commands.renames import advise_renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dms_airflow.airflow.commands.table import Command, NoEffect

LONGEST_REASON = 500

ADVICE_CONFIRM = "The command asks for confirmation, and nobody is there to answer. Add `--yes` to the arguments."
ADVICE_JSON = "Airflow cannot print this text as a table. Add `-o json` to the arguments."
ADVICE_RENAMED = "Airflow calls this command `{name}`."
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
    """The command ended well, but changed nothing or may have changed nothing."""
    is_certain: bool = True
    """False: the output does not prove the warning."""
    answer: Any = None
    """The records that `-o json` printed, as printed: Airflow makes each number and boolean in them a string."""
    has_answer: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether it is known to have worked."""
        return self.verdict is Verdict.SUCCEEDED

    @property
    def lists_errors(self) -> bool:
        """Whether it failed only because it lists import errors."""
        return self.verdict is Verdict.LISTED_ERRORS


def judge(command: Command, arguments: Sequence[str], stdout: str, stderr: str, redact: Callable[[str], str] = str) -> Outcome:
    """Decide from its output whether a command worked, and if not, why.

    Args:
        command: A row of COMMANDS, or one made for a command that the table does not list.
        arguments: The words after the command's name, as sent.
        stdout: All of it, log records included.
        stderr: All of it.
        redact: Masks secrets in the reason before it is cut.
    """
    output, errors = console.Lines(stdout), console.Lines(stderr)
    output_format = (option_value(arguments, "-o", "--output") or "table") if command.json else ""
    asked_columns = option_value(arguments, "--columns")
    columns = asked_columns.split(",") if asked_columns else command.columns
    answer = console.find_json(output, columns) if output_format == "json" else None

    def conclude(verdict: Verdict, reason: str, advice: str = "", *, no_effect: NoEffect | None = None) -> Outcome:
        return Outcome(
            verdict=verdict,
            reason=_shorten(redact(reason)),
            advice=advice,
            warning=no_effect.warning if no_effect else "",
            is_certain=no_effect.is_certain if no_effect else True,
            answer=answer,
            has_answer=answer is not None,
        )

    failure = _find_usage_error(errors) or _find_exception(errors) or _find_message(command, errors)
    failure = failure or _find_failure_record(command, output)
    if failure:
        return conclude(Verdict.FAILED, failure, _advise(command, arguments, failure))

    as_text = command.json and output_format != "json"
    has_records = console.has_records(output, columns, output_format) if as_text else bool(answer)
    if has_records and command.records_fail:
        return conclude(Verdict.LISTED_ERRORS, f"import errors: {len(answer)}" if answer else "there are import errors")

    shown = _Shown(output, errors)
    no_effect = _find_no_effect(command, shown)
    if has_records or answer is not None or _has_result(command, arguments, shown, output_format):
        return conclude(Verdict.SUCCEEDED, "", no_effect=no_effect)
    if command.unknown:
        return conclude(Verdict.UNKNOWN, f"`{command.name}` ended, and its output does not show how", command.unknown)
    reason = _MODULE.sub("", _find_unexplained(errors))
    advice = _advise(command, arguments, reason) if reason else ADVICE_NO_RESULT
    return conclude(Verdict.UNKNOWN, reason or _describe_silence(command, output), advice, no_effect=no_effect)


class _Shown:
    """What Airflow showed: its output, and the log records among its errors: 3.1.0 writes some there."""

    def __init__(self, output: console.Lines, errors: console.Lines) -> None:
        self._output, self._errors = output, errors

    def __iter__(self) -> Iterator[str]:
        yield from self._output
        yield from filter(console.is_log_record, self._errors)


# 1. Signs of failure.

_USAGE_ERROR = re.compile(r"airflow (?:[\w-]+ )*command error: ")

# Text without a line's end may come before it: a progress bar. A group of exceptions has its header inside a drawn tree, two
# blanks in; tracebacks further in are a group's members, or quotations.
_TRACEBACK = re.compile(r"^(?:\S.*|  \+ Exception Group )?Traceback \(most recent call last\):\s*$")
_GROUP_PREFIX = re.compile(r"^  [|+] ?")
_CHAIN = re.compile(
    r"^(?:  \| )?(?:During handling of the above exception, another exception occurred:|"
    r"The above exception was the direct cause of the following exception:)$"
)
# After these lines the interpreter prints an exception and goes on: none of them changes its exit status.
_HARMLESS_EXCEPTION = re.compile(r"^(?:Exception ignored (?:in|on)\b|Exception in thread |--- Logging error ---$)")
_FATAL_ERROR = re.compile(r"^Fatal Python error: ")
# `airflow.exceptions.DagNotFound: …`: the class alone is what people know, and what stays the same between versions.
_MODULE = re.compile(r"^(?:[\w<>]+\.)+(?=\w+(?::|$))")


def _find_usage_error(errors: Iterable[str]) -> str:
    lines = iter(errors)
    for line in lines:
        if found := _USAGE_ERROR.match(line):
            # A word of the command may hold line ends.
            text = "\n".join([line[found.end() :], *islice(lines, LONGEST_REASON)]).partition(", see help above.")[0]
            return f"usage error: {text or 'see the help'}"
    return ""


# Whatever ends a command passes through Airflow's own command line, however that was started.
_COMMAND_FRAME = re.compile(r'[ |+]*File ".*(?:/airflow/__main__\.py|/airflow/cli/[^"]*|/bin/airflow)", line ')


def _find_exception(errors: console.Lines) -> str:
    """The exception that ended Airflow's command line: `DagNotFound: Dag id x not found`; empty when none did.

    Only the frames of a traceback itself say where it comes from: a log that is copied to stderr holds tracebacks, too, and
    lists of frames without an exception.
    """
    if fatal := next(filter(_FATAL_ERROR.match, errors), ""):
        return fatal
    found, harmless = "", False
    for before, lines in _split_tracebacks(errors):
        # The next of a chain is as harmless as the one before it.
        harmless = harmless if _CHAIN.match(before) else _HARMLESS_EXCEPTION.match(before) is not None
        if not harmless and any(map(_COMMAND_FRAME.match, takewhile(_is_indented, lines))):
            found = _read_exception(lines) or "an exception whose name was cut off"
    return found


def _split_tracebacks(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Give, for each traceback, the line before its header, and all lines up to the next header."""
    before = ""
    last: tuple[str, list[str]] | None = None
    for line in lines:
        if _TRACEBACK.match(line):
            if last:
                yield last
            last = (before, [])
        elif last:
            last[1].append(line)
        before = line if line.strip() else before
    if last:
        yield last


def _is_indented(line: str) -> bool:
    text = _GROUP_PREFIX.sub("", line)
    return not text.strip() or text.startswith(" ")


def _read_exception(lines: Iterable[str]) -> str:
    """The first line after a traceback's frames, which are indented."""
    rest = iter(lines)
    for line in rest:
        if not _is_indented(line):
            text = _GROUP_PREFIX.sub("", line)
            # "Some task instances failed:" and a table: its last row says more.
            last = deque(filter(None, map(str.strip, rest)), maxlen=1) if text.rstrip().endswith(":") else ()
            return " ".join([_MODULE.sub("", text), *last])
    return ""


def _find_message(command: Command, errors: Iterable[str]) -> str:
    if not command.failure:
        return ""
    return next(filter(re.compile(command.failure).search, errors), "")


def _find_failure_record(command: Command, output: Iterable[str]) -> str:
    """What the log says of a failure that Airflow keeps to itself: the exception that ended the work, else the record."""
    if not command.failure_record:
        return ""
    lines = iter(output)
    for line in lines:
        if record := _match_record(command.failure_record, line):
            own = chain([line], takewhile(lambda following: console.read_log_record(following) is None, lines))
            exceptions = [_read_exception(behind) for _, behind in _split_tracebacks(own)]
            return (exceptions and exceptions[-1]) or record.message
    return ""


def _match_record(sign: str, line: str) -> console.LogRecord | None:
    record = console.read_log_record(line)
    return record if record and re.search(sign, f"{record.message} {record.values}") else None


# 2. The result.


def _has_result(command: Command, arguments: Sequence[str], shown: Iterable[str], output_format: str) -> bool:
    if has_option(arguments, "-h", "--help"):
        return any(line.startswith("Usage: airflow ") for line in shown)
    if output_format:
        unchanged = any(one.sign and _shows(one.sign, shown) for one in command.no_effects)
        return unchanged or console.has_no_records(shown, output_format)
    if command.success_record and any(_match_record(command.success_record, line) for line in shown):
        return True
    if command.success:
        return _shows(command.success, shown)
    return command.prints_result and any(not console.is_log_record(line) for line in shown)


def _shows(sign: str, lines: Iterable[str]) -> bool:
    return any(map(re.compile(sign).search, lines))


def _find_no_effect(command: Command, shown: Iterable[str]) -> NoEffect | None:
    for no_effect in command.no_effects:
        disproved = no_effect.unless is not None and _shows(no_effect.unless, shown)
        if not disproved and (no_effect.sign is None or _shows(no_effect.sign, shown)):
            return no_effect
    return None


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
        noise = source or after_warning or console.is_log_record(line) or _NOTE.match(line) or _GRAPHVIZ.match(line)
        if line.strip() and not noise:
            last = line
    return last


def _describe_silence(command: Command, output: console.Lines) -> str:
    reason = f"`{command.name}` printed neither a result nor an error"
    # `dags backfill` prints the text of a ValueError on stdout, and ends with 1.
    last = next((line.strip() for line in reversed(output) if line.strip()), "")
    return reason if not last or console.is_log_record(last) else f"{reason}; the last line of its output: {last}"


def _advise(command: Command, arguments: Sequence[str], reason: str) -> str:
    if command.asks and re.match(r"EOFError\b|RuntimeError: input\(\): lost sys\.stdin|User did not confirm", reason):
        return ADVICE_CONFIRM
    as_json = option_value(arguments, "-o", "--output") == "json"
    if command.json and not as_json and re.match(r"(?:MarkupError|UnicodeEncodeError)\b", reason):
        return ADVICE_JSON
    if command.airflow_name and "invalid choice" in reason:
        return ADVICE_RENAMED.format(name=command.airflow_name)
    return advise_renamed(command.name, reason)


def _shorten(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
