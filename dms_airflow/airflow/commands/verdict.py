"""Did the command work? Read from stdout and stderr, because DMS answers with nothing else. Pure.

Airflow's exit status is told as Airflow would have set it; where that cannot be known, the command has failed:

1. A sign of failure on stderr decides, whatever else was printed: an exception that ended the interpreter, a usage
   error, or a text with which Airflow is known to end this command. Tracebacks in stdout are log records of DAG files
   and tasks: they are no sign. Airflow 3 ends `tasks test` with 0 whatever became of the task; only its log tells, and
   a task that failed is a failure here.
2. `dags list-import-errors` ends 1 when it has records to show.
3. Otherwise the result itself must be there: the records, or the line that this command prints when it worked.
   Warnings, and what DAG files print on stderr, then mean nothing.
4. Without a result, any text on stderr that is not a warning is the reason: a DAG file's `sys.exit("text")`, a shell's
   error, a message of Airflow that the table does not know.
5. Without either, only a command that may be silent has worked. Any other was ended early, by `os._exit()` or from
   outside.

What no text can tell: a DAG file that prints an answer of just the expected form and then ends the interpreter.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands import output as console
from dms_airflow.airflow.commands.arguments import has_option, option_value
from dms_airflow.airflow.commands.renames import advise_renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dms_airflow.airflow.commands.table import Command, Doubt

LONGEST_REASON = 500

ADVICE_CONFIRM = "The command asks for confirmation, and nobody is there to answer. Add `--yes` to the arguments."
ADVICE_JSON = "Airflow cannot print this text as a table. Add `-o json` to the arguments."
ADVICE_RENAMED = "Airflow calls this command `{name}`."
ADVICE_ENDED_EARLY = (
    "Something ended Airflow before it was done: a DAG file that calls `sys.exit()` or `os._exit()` when it is "
    "imported, a lack of memory, or a time limit. On Airflow 2 `dags list-import-errors -v` names the file that was imported "
    "last; Airflow 3 names none, but `deploy-gate` names the DAG files that are new or changed."
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a command."""

    succeeded: bool
    reason: str = ""
    """One line, never empty when the command failed."""
    advice: str = ""
    """The next step, where one is known."""
    warning: str = ""
    """The command ended well, but changed nothing or may have changed nothing."""
    settled: bool = True
    """False: the answer does not prove the warning, a look by REST may."""
    answer: Any = None
    """The records that `-o json` printed, as printed: Airflow makes each number and boolean in them a string."""
    has_answer: bool = False
    lists_errors: bool = False
    """It failed because it lists import errors, and for no other reason."""


def judge(command: Command, arguments: Sequence[str], stdout: str, stderr: str, redact: Callable[[str], str] = str) -> Outcome:
    """Decide from its output whether a command worked, and if not, why.

    Args:
        command: A row of COMMANDS, or one made for a command that the table does not list.
        arguments: The words behind the command's name, as sent.
        stdout: All of it, log records included.
        stderr: All of it.
        redact: Masks secrets in the reason before it is cut.
    """
    output, errors = console.Lines(stdout), console.Lines(stderr)
    output_format = (option_value(arguments, "-o", "--output") or "table") if command.json else ""
    asked_columns = option_value(arguments, "--columns")
    columns = asked_columns.split(",") if asked_columns else command.columns
    answer = console.find_json(output, columns) if output_format == "json" else None

    def fail(reason: str, advice: str = "") -> Outcome:
        return Outcome(
            succeeded=False, reason=_shorten(redact(reason)), advice=advice, answer=answer, has_answer=answer is not None
        )

    failure = _find_usage_error(errors) or _find_exception(errors) or _find_message(command, errors)
    failure = failure or _find_failure_record(command, output)
    if failure:
        return fail(failure, _advise(command, arguments, failure))

    as_text = command.json and output_format != "json"
    has_records = console.has_records(output, columns, output_format) if as_text else bool(answer)
    if has_records and command.records_fail:
        return replace(fail(f"import errors: {len(answer)}" if answer else "there are import errors"), lists_errors=True)

    shown = _Shown(output, errors)
    if not (has_records or _has_result(command, arguments, shown, output_format)):
        if unexplained := _find_unexplained(errors):
            reason = _MODULE.sub("", unexplained)
            return fail(reason, _advise(command, arguments, reason))
        if not command.silent and not has_option(arguments, *command.silent_options):
            return fail(_describe_silence(command, output), ADVICE_ENDED_EARLY)

    doubt = _find_doubt(command, shown)
    return Outcome(
        succeeded=True,
        warning=doubt.text if doubt else "",
        settled=doubt.settled if doubt else True,
        answer=answer,
        has_answer=answer is not None,
    )


class _Shown:
    """What Airflow showed: its output, and the log records among its errors: 3.1.0 writes some there."""

    def __init__(self, output: console.Lines, errors: console.Lines) -> None:
        self._output, self._errors = output, errors

    def __iter__(self) -> Iterator[str]:
        yield from self._output
        yield from filter(console.is_log_record, self._errors)


# 1. Signs of failure.

_USAGE_ERROR = re.compile(r"airflow (?:[\w-]+ )*command error: ")

# Text without a line's end may stand in front of it: a progress bar. A group of exceptions has its header inside a
# drawn tree, two blanks in; tracebacks further in are a group's members, or quotations.
_TRACEBACK = re.compile(r"^(?:\S.*|  \+ Exception Group )?Traceback \(most recent call last\):\s*$")
_GROUP_PREFIX = re.compile(r"^  [|+] ?")
_CHAIN = re.compile(
    r"^(?:  \| )?(?:During handling of the above exception, another exception occurred:|"
    r"The above exception was the direct cause of the following exception:)$"
)
# With these lines in front the interpreter prints an exception and goes on: none of them changes its exit status.
_HARMLESS_EXCEPTION = re.compile(r"^(?:Exception ignored (?:in|on)\b|Exception in thread |--- Logging error ---$)")
_FATAL_ERROR = re.compile(r"^Fatal Python error: ")
# `airflow.exceptions.DagNotFound: …`: the class alone is what people know, and what stays the same between versions.
_MODULE = re.compile(r"^(?:[\w<>]+\.)+(?=\w+(?::|$))")


def _find_usage_error(errors: Iterable[str]) -> str:
    lines = iter(errors)
    for line in lines:
        if found := _USAGE_ERROR.match(line):
            # A word of the command may hold line ends.
            said = "\n".join([line[found.end() :], *islice(lines, LONGEST_REASON)]).partition(", see help above.")[0]
            return f"usage error: {said or 'see the help'}"
    return ""


# Whatever ends a command passes through Airflow's own command line, however that was started.
_FRAME = re.compile(r'[ |+]*File ".*", line \d')
_COMMAND_FRAME = re.compile(r'[ |+]*File ".*(?:/airflow/__main__\.py|/airflow/cli/[^"]*|/bin/airflow)", line ')


def _find_exception(errors: Iterable[str]) -> str:
    """The exception that ended the interpreter: `DagNotFound: Dag id x not found`; empty when none did."""
    ended_at: int | None = None
    before = ""
    harmless = False
    for index, line in enumerate(errors):
        if _FATAL_ERROR.match(line):
            return line
        if _TRACEBACK.match(line):
            # The next of a chain shares the fate of the one before it.
            harmless = harmless if _CHAIN.match(before) else _HARMLESS_EXCEPTION.match(before) is not None
            ended_at = ended_at if harmless else index
        if line.strip():
            before = line
    if ended_at is None or (any(map(_FRAME.match, errors)) and not any(map(_COMMAND_FRAME.match, errors))):
        # Other frames only: a DAG file caught the exception and printed it. Then the result, or its absence, tells.
        return ""
    return _read_exception(islice(errors, ended_at + 1, None)) or "an exception whose name was cut off"


def _read_exception(lines: Iterable[str]) -> str:
    """The first line below a traceback's header that is not indented; the frames are."""
    rest = iter(lines)
    for line in rest:
        text = _GROUP_PREFIX.sub("", line)
        if text.strip() and not text.startswith(" "):
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
    sign = re.compile(command.failure_record)
    lines = iter(output)
    for line in lines:
        record = console.read_log_record(line)
        if record and sign.search(f"{record.message} {record.values}"):
            own = chain([line], takewhile(lambda following: console.read_log_record(following) is None, lines))
            return _read_last_exception(own) or record.message
    return ""


def _read_last_exception(lines: Iterable[str]) -> str:
    behind: list[str] | None = None  # the last header
    for line in lines:
        if _TRACEBACK.match(line):
            behind = []
        elif behind is not None:
            behind.append(line)
    return _read_exception(behind or ())


# 3. The result.


def _has_result(command: Command, arguments: Sequence[str], shown: Iterable[str], output_format: str) -> bool:
    if has_option(arguments, "-h", "--help"):
        return any(line.startswith("Usage: airflow ") for line in shown)
    if output_format:
        unchanged = any(doubt.sign and _shows(doubt.sign, shown) for doubt in command.doubts)
        return unchanged or console.has_no_records(shown, output_format)
    if command.success:
        return _shows(command.success, shown)
    return any(not console.is_log_record(line) for line in shown)


def _shows(sign: str, lines: Iterable[str]) -> bool:
    return any(map(re.compile(sign).search, lines))


# 4. Text on stderr that means nothing.

# Python's own form (`file:line: Category: text`, then the source line) and Airflow's (one colon less).
_WARNING = re.compile(r"^.+:\d+:? \w*Warning: ")
_NOTE = re.compile(r"^\[(?:INFO|WARN)\] ")
# The rest of a warning of Airflow 3.0 and 3.1, printed by every `dags` command.
_GRAPHVIZ = re.compile(
    r"^(?:You might need to install the graphviz package and necessary system packages\."
    r"|Run `pip install graphviz` to attempt to install it\.)"
)


def _find_unexplained(errors: Iterable[str]) -> str:
    """Give the last line that is no warning."""
    last = ""
    after_warning = False
    for line in errors:
        source = after_warning and line.startswith("  ")
        after_warning = _WARNING.match(line) is not None
        noise = source or after_warning or console.is_log_record(line) or _NOTE.match(line) or _GRAPHVIZ.match(line)
        if line.strip() and not noise:
            last = line
    return last


# 5. And what to say.


def _describe_silence(command: Command, output: console.Lines) -> str:
    reason = f"`{command.name}` printed neither a result nor an error"
    # `dags backfill` prints the text of a ValueError on stdout, and ends 1.
    last = next((line.strip() for line in reversed(output) if line.strip()), "")
    return reason if not last or console.is_log_record(last) else f"{reason}; its last words: {last}"


def _find_doubt(command: Command, shown: Iterable[str]) -> Doubt | None:
    for doubt in command.doubts:
        disproved = doubt.unless is not None and _shows(doubt.unless, shown)
        if not disproved and (doubt.sign is None or _shows(doubt.sign, shown)):
            return doubt
    return None


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
