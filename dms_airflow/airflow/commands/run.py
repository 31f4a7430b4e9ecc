"""One CLI command: sent, shown in the log, judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import needs_confirmation
from dms_airflow.airflow.commands.command_line import show
from dms_airflow.airflow.commands.effects import observe
from dms_airflow.airflow.commands.send import run_command
from dms_airflow.airflow.commands.table import COMMANDS
from dms_airflow.airflow.commands.verdict import ADVICE_CONFIRM
from dms_airflow.core.errors import AnswerTimeoutError
from dms_airflow.core.inputs import input_field, parse_duration

if TYPE_CHECKING:
    from dms_airflow.airflow.commands.command_line import CommandLine
    from dms_airflow.airflow.commands.send import Execution
    from dms_airflow.operations.context import Context


# How long a command may take when `timeout` is empty: a backfill runs until its work is done.
LONGEST_COMMAND = 1800.0  # seconds

# How long a command may take that asks a question: without a terminal Airflow ends it at once, with an open pipe never.
LONGEST_QUESTION = 120.0  # seconds


@dataclass(frozen=True, kw_only=True)
class TimedParams:
    """The input of everything that runs commands."""

    timeout: float = input_field(parse_duration, default=LONGEST_COMMAND)


def execute(line: CommandLine, timeout: float, context: Context) -> Execution:
    """Send the command, show what it printed, judge it."""
    command = COMMANDS[line.name]
    conclude = observe(line, context)
    context.log.info(f"$ airflow {show(line)}")
    unconfirmed = needs_confirmation(command, line.arguments)
    if unconfirmed:
        timeout = min(timeout, LONGEST_QUESTION)
    try:
        execution = run_command(context.airflow, line, timeout=timeout)
    except AnswerTimeoutError as error:
        raise AnswerTimeoutError(error.message, f"{ADVICE_CONFIRM} {error.hint}") if unconfirmed else error from None
    if command.secret_output:
        context.log.mask_in_log(execution.stdout.strip())
    else:
        context.log.fold("stdout", execution.stdout)
    context.log.fold("stderr", execution.stderr)
    if line.name == "version" and execution.outcome.succeeded:
        context.airflow.keep_version(execution.stdout.strip().rpartition("\n")[2].strip())
    return replace(execution, outcome=conclude(execution.outcome))
