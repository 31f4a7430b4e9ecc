"""`cli`: several commands, one login, stopping at the first that fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands.arguments import CommandLine, show
from dms_airflow.airflow.commands.known_commands import find_command, suggest_command
from dms_airflow.core.errors import ActionError
from dms_airflow.core.findings import group
from dms_airflow.core.inputs import InputValueError, input_field, iterate_lines, parse_words, quote_value
from dms_airflow.core.result import Ending, Result, Table
from dms_airflow.core.text import count
from dms_airflow.import_errors.report import ImportErrorParams
from dms_airflow.operations import command, dags_list_import_errors, dags_reserialize, dags_trigger

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

OUTPUTS = dags_list_import_errors.OUTPUTS | dags_trigger.OUTPUTS


def parse_commands(text: str) -> tuple[CommandLine, ...]:
    """Read whole commands, one a line."""
    lines: list[CommandLine] = []
    problems: list[str] = []
    for number, text_line in iterate_lines(text):
        try:
            lines.append(_parse_command(text_line))
        except InputValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise InputValueError("; ".join(problems))
    if not lines:
        raise InputValueError("contains no command, only blank lines and comments")
    return tuple(lines)


def _parse_command(text: str) -> CommandLine:
    words = parse_words(text)
    if words[:1] == ("airflow",) and find_command(words[1:]):
        raise InputValueError("write the command without `airflow`, for example `dags list`")
    found = find_command(words)
    name = tuple(found.name.split()) if found else ()
    if not found or words[: len(name)] != name:
        # At most two words are shown: after the command's name there may be a password.
        nearest = suggest_command(" ".join(words[:2]))
        suggestion = f'; did you mean "{nearest}"?' if nearest else ""
        raise InputValueError(f"unknown command {quote_value(' '.join(words[:2]))}{suggestion}")
    line = CommandLine(name=found.name, arguments=words[len(name) :])
    if line.name == "dags trigger" and not dags_trigger.find_dag_id(line):
        raise InputValueError(dags_trigger.NO_DAG)
    return line


@dataclass(frozen=True, kw_only=True)
class Params(ImportErrorParams):
    """The inputs of a list of commands."""

    arguments: tuple[CommandLine, ...] = input_field(parse_commands, required=True, default=())

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked."""
        return tuple(secret for line in self.arguments for secret in line.secrets)


RUNNERS: Mapping[str, Callable[[CommandLine, Params, Context], Result]] = {
    "dags list-import-errors": dags_list_import_errors.run_line,
    "dags reserialize": dags_reserialize.run_line,
    "dags trigger": dags_trigger.run_line,
}


def run(params: Params, context: Context) -> Result:
    """Run the commands in order, up to the first that fails."""
    results: list[Result] = []
    for line in params.arguments:
        try:
            results.append(RUNNERS.get(line.name, command.run_line)(line, params, context))
        except ActionError as error:
            # The results of the commands before it must not be lost.
            results.append(error.to_result())
        if results[-1].ending is not Ending.SUCCESS:
            break
    return _join(params.arguments, results)


def _join(lines: Sequence[CommandLine], results: Sequence[Result]) -> Result:
    ran = [_describe(line, result) for line, result in zip(lines, results, strict=False)]
    left = [{"command": show(line), "status": "not run"} for line in lines[len(results) :]]
    outputs: dict[str, Any] = {}
    for result in results:
        outputs |= result.outputs
    for stream in ("stdout", "stderr"):
        outputs[stream] = "".join(result.outputs.get(stream, "") for result in results)
    outputs["json"] = json.dumps([*ran, *left], ensure_ascii=False)
    found = [finding for result in results for finding in result.findings or ()]
    last = results[-1]
    if last.ending is Ending.SUCCESS:
        headline = f"{count(len(ran), 'command')} succeeded"
    else:
        headline = last.headline + (f"; {len(left)} more not run" if left else "")
    rows = tuple((each["command"], each["status"], each.get("result", "")) for each in (*ran, *left))
    return Result(
        ending=last.ending,
        headline=headline,
        outputs=outputs,
        findings=group(found) if any(result.findings is not None for result in results) else None,
        annotations=tuple(annotation for result in results for annotation in result.annotations),
        blocks=(
            Table(heading="Commands", columns=("command", "status", "result"), rows=rows),
            *(
                replace(block, heading=f"{show(line)}: {block.heading}")
                for line, result in zip(lines, results, strict=False)
                for block in result.blocks
            ),
        ),
        checks=tuple(check for result in results for check in result.checks),
    )


def _describe(line: CommandLine, result: Result) -> dict[str, Any]:
    answer = result.outputs.get("json", "")
    return {
        "command": show(line),
        "status": result.ending.status,
        "result": result.headline,
        "stdout": result.outputs.get("stdout", ""),
        "stderr": result.outputs.get("stderr", ""),
        "json": json.loads(answer) if answer else None,
    }
