"""One CLI command: sent, shown in the log, judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import needs_confirmation
from dms_airflow.airflow.commands.command_line import show
from dms_airflow.airflow.commands.effects import observe
from dms_airflow.airflow.commands.send import send_command
from dms_airflow.airflow.commands.table import COMMANDS
from dms_airflow.airflow.commands.verdict import ADVICE_CONFIRM, Outcome, judge
from dms_airflow.core.errors import AnswerTimeoutError
from dms_airflow.core.inputs import input_field, parse_duration

if TYPE_CHECKING:
    from dms_airflow.airflow.commands.command_line import CommandLine
    from dms_airflow.operations.context import Context


# How long a command may take when `timeout` is empty: a backfill runs until its work is done.
LONGEST_COMMAND = 1800.0  # seconds


# How long a command may take that asks a question: without a terminal Airflow ends it at once, with an open pipe never.
LONGEST_QUESTION = 120.0  # seconds


@dataclass(frozen=True, kw_only=True)
class TimedParams:
    """The input of everything that runs commands."""

    timeout: float = input_field(parse_duration, default=LONGEST_COMMAND)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A command that ran, what it printed, and how it ended."""

    line: CommandLine
    stdout: str
    stderr: str
    outcome: Outcome


def execute(line: CommandLine, timeout: float, context: Context) -> Execution:
    """Send the command, show what it printed, judge it."""
    command = COMMANDS[line.name]
    conclude = observe(line, context)
    context.log.info(f"$ airflow {show(line)}")
    unconfirmed = needs_confirmation(command, line.arguments)
    if unconfirmed:
        timeout = min(timeout, LONGEST_QUESTION)
    try:
        answer = send_command(context.airflow, line.words, repeatable=command.repeatable, timeout=timeout)
    except AnswerTimeoutError as error:
        raise AnswerTimeoutError(error.message, f"{ADVICE_CONFIRM} {error.hint}") if unconfirmed else error from None
    outcome = judge(command, line.arguments, answer.stdout, answer.stderr, context.log.redact)
    if command.secret_output:
        context.log.mask_in_log(answer.stdout.strip())
    else:
        context.log.fold("stdout", answer.stdout)
    context.log.fold("stderr", answer.stderr)
    if line.name == "version" and outcome.succeeded:
        context.airflow.keep_version(answer.stdout.strip().rpartition("\n")[2].strip())
    return Execution(line=line, stdout=answer.stdout, stderr=answer.stderr, outcome=conclude(outcome))
