"""What the action can do, by the names that `operation` takes.

An operation is a module with `Params` (its inputs), `OUTPUTS` (the outputs it may write) and `run(params, context)`, which
returns a Result and never exits. To add one: its file, its line in OPERATIONS, its inputs and outputs in action.yml, its test.
Only the operation that runs is imported: all of them together take as long as everything else of the action.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from dms_airflow.airflow.commands.table import COMMANDS
from dms_airflow.core.errors import InputError, InputProblem
from dms_airflow.core.inputs import InputValueError, name_inputs, quote_value, read_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dms_airflow.core.result import Result
    from dms_airflow.operations.context import Context


class Operation(Protocol):
    """What a module of this package offers."""

    Params: Any
    OUTPUTS: frozenset[str]

    def run(self, params: Any, context: Context) -> Result:
        """Do it."""
        ...


# The module of each.
OPERATIONS: Mapping[str, str] = {
    **dict.fromkeys(COMMANDS, "command"),
    "dags list-import-errors": "import_errors",
    "dags reserialize": "import_errors",
    "dags trigger": "dags_trigger",
    "cli": "cli",
    "rest": "rest",
    "deploy-gate": "deploy_gate",
    "smoke-test": "smoke_test",
    "doctor": "doctor",
}
DOCTOR = "doctor"

# Written by every operation.
COMMON_OUTPUTS = frozenset({"status", "duration", "airflow-url", "airflow-version"})


def find_operation(name: str) -> Operation:
    """Find an operation by its name.

    Raises:
        InputValueError: There is none; the nearest name is suggested.
    """
    if name in OPERATIONS:
        return import_operation(name)
    nearest = difflib.get_close_matches(name.lower().replace("_", "-").removeprefix("airflow "), OPERATIONS, n=1)
    suggestion = f"; did you mean {nearest[0]}?" if nearest else ""
    raise InputValueError(f"is no operation of this action: {quote_value(name)}{suggestion}")


def import_operation(name: str) -> Operation:
    """Import the module of an operation."""
    return cast("Operation", import_module(f"{__name__}.{OPERATIONS[name]}"))


def refuse_inputs(operation: str, problems: Sequence[InputProblem]) -> InputError:
    """Make the error for wrong inputs."""
    error = InputError(problems)
    # The inputs are the doctor's first link.
    if operation == DOCTOR:
        from dms_airflow.operations import doctor  # noqa: PLC0415 - see the module's docstring

        links = doctor.refuse(problems)
        error.outputs, error.blocks = {"json": doctor.write_links(links)}, (doctor.tabulate(links),)
    return error


def run_operation(operation: Operation, params: Any, context: Context) -> Result:
    """Open the session, and do it.

    Raises:
        ActionError: What kept us from knowing how it went.
    """
    # The doctor goes the way to the instance itself, to say where it ends.
    if context.config.operation != DOCTOR:
        context.session.open()
    return operation.run(params, context)


# Inputs that say what shall happen: where the operation does not use one, leaving it aside in silence would be a lie.
DEMANDING = frozenset({"body", "conf", "expect-dags", "wait-for-completion"})


# The inputs that only some operations read, with their defaults in action.yml.
DEFAULTS: Mapping[str, str] = {
    **dict.fromkeys(("baseline", "body", "conf", "dags-path", "expect-dags", "poll-interval", "timeout"), ""),
    "fail-on": "any",
    "on-cancel": "leave",
    "on-paused": "fail",
    "verify-source": "true",
    "wait-for-completion": "false",
}


def judge_other_inputs(operation: Operation | None, environ: Mapping[str, str]) -> Iterator[InputProblem]:
    """Judge the inputs that the operation does not read: a wrong value is a mistake wherever it stands."""
    own = name_inputs(operation.Params) if operation else {}
    texts = {name: read_input(environ, name) for name in DEFAULTS if name not in own}
    given = {name: text for name, text in texts.items() if text.strip() not in ("", DEFAULTS[name])}
    if not given:
        return
    others = {name: source for one in OPERATIONS for name, source in name_inputs(import_operation(one).Params).items()}
    for name, text in given.items():
        source = others[name]
        try:
            value = source.parse(text)
        except InputValueError as error:
            yield InputProblem(name=name, message=str(error))
            continue
        if operation and name in DEMANDING and value:
            yield InputProblem(name=name, message="is not used by this operation; leave it empty")
