"""Any CLI command that DMS supports, by its own name: exactly that command, judged as Airflow's exit status would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import CommandLine
from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.airflow.commands.run import TimedParams, execute
from dms_airflow.airflow.commands.verdict import Verdict
from dms_airflow.core.inputs import input_field, parse_operation, parse_words
from dms_airflow.core.result import Annotation, Ending, Folded, Level, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dms_airflow.airflow.commands.send import Execution
    from dms_airflow.operations.context import Context

OUTPUTS = frozenset({"stdout", "stderr", "json"})

NOT_SHOWN = "(not shown: it is the value of a variable)"


@dataclass(frozen=True, kw_only=True)
class Params(TimedParams):
    """The inputs of one CLI command."""

    operation: str = input_field(parse_operation, default="")
    arguments: tuple[str, ...] = input_field(parse_words, default=())

    @property
    def line(self) -> CommandLine:
        """The command that the inputs spell."""
        return CommandLine(name=self.operation, arguments=self.arguments)

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked."""
        return self.line.secrets


def run(params: Params, context: Context) -> Result:
    """Run the command."""
    return run_line(params.line, params, context)


def run_line(line: CommandLine, params: TimedParams, context: Context) -> Result:
    """Run one command and report how it went."""
    return report(execute(line, params.timeout, context))


def report(execution: Execution) -> Result:
    """Report the result of a command without an own operation."""
    outcome = execution.outcome
    return Result(
        ending=Ending.SUCCESS if outcome.succeeded else Ending.FAILURE,
        headline=describe(execution),
        outputs={"stdout": execution.stdout, "stderr": execution.stderr, "json": outcome.json},
        annotations=tuple(annotate(execution)),
        blocks=tuple(illustrate(execution)),
    )


def describe(execution: Execution) -> str:
    """Say in one line how it went."""
    name, outcome = execution.line.name, execution.outcome
    if outcome.verdict is Verdict.UNKNOWN:
        return f"It is not known whether airflow {name} worked: {outcome.reason}"
    if not outcome.succeeded:
        return f"airflow {name} failed: {outcome.reason}"
    return f"airflow {name} succeeded" + (f", but: {outcome.warning}" if outcome.warning else "")


def annotate(execution: Execution) -> Iterator[Annotation]:
    """Annotate a failure, or a success that changed nothing."""
    name, outcome = execution.line.name, execution.outcome
    if not outcome.succeeded:
        message = "\n".join(filter(None, (f"airflow {name}: {outcome.reason}", outcome.advice)))
        if outcome.verdict is Verdict.UNKNOWN:
            yield Annotation(level=Level.ERROR, title="Result not known", message=message)
        else:
            yield Annotation(level=Level.ERROR, title="Airflow command failed", message=message)
    elif outcome.warning:
        yield Annotation(level=Level.WARNING, title="Nothing changed", message=f"airflow {name}: {outcome.warning}")


def illustrate(execution: Execution) -> Iterator[Folded]:
    """Show what it printed."""
    stdout = NOT_SHOWN if COMMANDS[execution.line.name].secret_output else execution.stdout
    for heading, text in (("stdout", stdout), ("stderr", execution.stderr)):
        if text.strip():
            yield Folded(heading=heading, text=text)
