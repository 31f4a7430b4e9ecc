"""Any CLI command that DMS supports, by its own name: exactly that command, judged as Airflow's exit status would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import CommandLine
from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.airflow.commands.run import TimedParams, execute
from dms_airflow.airflow.commands.send import Execution
from dms_airflow.airflow.commands.verdict import Verdict
from dms_airflow.core.inputs import input_field, parse_operation, parse_words
from dms_airflow.core.result import Annotation, Ending, Folded, Level, Result

if TYPE_CHECKING:
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
    """Report the result of a command without an own operation: annotate a failure, and a success that changed nothing."""
    outcome, command = execution.outcome, f"airflow {execution.line.name}"
    message = "\n".join(filter(None, (f"{command}: {outcome.reason or outcome.warning}", outcome.advice)))
    annotation: Annotation | None = None
    if outcome.verdict is Verdict.UNKNOWN:
        headline = f"It is not known whether {command} worked: {outcome.reason}"
        annotation = Annotation(level=Level.ERROR, title="Result not known", message=message)
    elif not outcome.succeeded:
        headline = f"{command} failed: {outcome.reason}"
        annotation = Annotation(level=Level.ERROR, title="Airflow command failed", message=message)
    elif outcome.warning:
        headline = f"{command} succeeded, but: {outcome.warning}"
        annotation = Annotation(level=Level.WARNING, title="Nothing changed", message=message)
    else:
        headline = f"{command} succeeded"
    stdout = NOT_SHOWN if COMMANDS[execution.line.name].secret_output else execution.stdout
    printed = (("stdout", stdout), ("stderr", execution.stderr))
    return Result(
        ending=Ending.SUCCESS if outcome.succeeded else Ending.FAILURE,
        headline=headline,
        outputs={"stdout": execution.stdout, "stderr": execution.stderr, "json": outcome.json},
        annotations=(annotation,) if annotation else (),
        blocks=tuple(Folded(heading=heading, text=text) for heading, text in printed if text.strip()),
    )
