"""One CLI command: sent, shown in the log, judged."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import awaits_answer, find_secrets, mask_secrets
from dms_airflow.airflow.commands.table import COMMANDS
from dms_airflow.airflow.commands.verdict import ADVICE_CONFIRM, Outcome, judge
from dms_airflow.core.errors import AnswerTimeoutError
from dms_airflow.core.inputs import given, parse_duration
from dms_airflow.core.secret_values import MASK

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context


# How long a command may take when `timeout` is empty: a backfill runs until its work is done.
LONGEST_COMMAND = 1800.0  # seconds


# How long a command may take that asks a question: without a terminal Airflow ends it at once, with an open pipe never.
LONGEST_QUESTION = 120.0  # seconds


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """One CLI command: its name, and the words behind it."""

    name: str
    arguments: tuple[str, ...] = ()

    def add(self, *words: str) -> CommandLine:
        """Give the same command with further options, before a ``--`` that ends all options."""
        end = self.arguments.index("--") if "--" in self.arguments else len(self.arguments)
        return CommandLine(name=self.name, arguments=(*self.arguments[:end], *words, *self.arguments[end:]))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The words that are passwords or values."""
        return find_secrets(COMMANDS[self.name], self.arguments)

    @property
    def words(self) -> tuple[str, ...]:
        """The command as Airflow shall see it, under Airflow's own name for it."""
        return (*(COMMANDS[self.name].airflow_name or self.name).split(), *self.arguments)


@dataclass(frozen=True, kw_only=True)
class TimedParams:
    """The input of everything that runs commands."""

    timeout: float = given(parse_duration, default=LONGEST_COMMAND)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A command that ran, what it said, and what that means."""

    line: CommandLine
    stdout: str
    stderr: str
    outcome: Outcome


def execute(line: CommandLine, timeout: float, context: Context) -> Execution:
    """Send the command, show what it said, judge it."""
    command = COMMANDS[line.name]
    context.log.info(f"$ airflow {show(line)}")
    will_ask = awaits_answer(command, line.arguments)
    if will_ask:
        timeout = min(timeout, LONGEST_QUESTION)
    try:
        answer = context.airflow.run_command(line.words, repeatable=command.repeatable, timeout=timeout)
    except AnswerTimeoutError as error:
        raise AnswerTimeoutError(error.message, f"{ADVICE_CONFIRM} {error.hint}") if will_ask else error from None
    outcome = judge(command, line.arguments, answer.stdout, answer.stderr, context.log.redact)
    if command.secret_answer:
        context.log.mask_in_log(answer.stdout.strip())
    else:
        context.log.fold("stdout", answer.stdout)
    context.log.fold("stderr", answer.stderr)
    if line.name == "version" and outcome.succeeded:
        context.airflow.note_version(answer.stdout.strip().rpartition("\n")[2].strip())
    return Execution(line=line, stdout=answer.stdout, stderr=answer.stderr, outcome=outcome)


def show(line: CommandLine) -> str:
    """Write the command as a person would type it, its secret words left out whatever their length."""
    name = line.words[: len(line.words) - len(line.arguments)]
    hidden = mask_secrets(COMMANDS[line.name], line.arguments)
    return shlex.join([*name, *hidden]).replace(f"'{MASK}'", MASK)
