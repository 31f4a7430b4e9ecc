"""What the action can do, by the names that `operation` takes.

An operation is a module with `Params` (its inputs), `OUTPUTS` (the outputs that it may write) and `run(params, context)`, which
returns a Result and never exits. To add one: its file, its line in OPERATIONS, its inputs in core/contract.py, its outputs in
action.yml, its test.
Only the operation that runs is imported: all of them together take as long as everything else of the action.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.core.contract import GROUPS, SHARED
from dms_airflow.core.errors import InputProblem
from dms_airflow.core.inputs import InputValueError, list_inputs, quote_value, read_input
from dms_airflow.core.result import Result

if TYPE_CHECKING:
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
    "dags list-import-errors": "dags_list_import_errors",
    "dags reserialize": "dags_reserialize",
    "dags trigger": "dags_trigger",
    "cli": "cli",
    "rest": "rest",
    "deploy": "deploy",
    "deploy-gate": "deploy_gate",
    "smoke-test": "smoke_test",
    "doctor": "doctor",
}

# The inputs that only some operations read, with their defaults.
DEFAULTS: Mapping[str, str] = {
    name: one.default for group, inputs in GROUPS.items() if group not in SHARED for name, one in inputs.items()
}

# Of these, the ones that demand something: an operation that cannot do it must not ignore them.
DEMANDING = frozenset({"body", "conf", "deploy-branch", "dry-run", "expect-dags", "wait-for-completion"})


def find_operation(name: str) -> Operation:
    """Find the module of an operation.

    Raises:
        InputValueError: The operation is unknown; the message suggests the nearest name.
    """
    if name in OPERATIONS:
        return import_operation(name)
    nearest = difflib.get_close_matches(name.lower().replace("_", "-").removeprefix("airflow "), OPERATIONS, n=1)
    suggestion = f'; did you mean "{nearest[0]}"?' if nearest else ""
    raise InputValueError(f"unknown operation {quote_value(name)}{suggestion}")


def import_operation(name: str) -> Operation:
    """Import the module of an operation."""
    return cast("Operation", import_module(f"{__name__}.{OPERATIONS[name]}"))


def run_operation(operation: Operation, params: Any, context: Context) -> Result:
    """Open the session and run the operation; an ActionError means that it is not known how it went."""
    # `doctor` opens the session itself, one check at a time.
    if context.config.operation != "doctor":
        context.session.open()
    return operation.run(params, context)


def check_other_inputs(operation: Operation | None, environ: Mapping[str, str]) -> Iterator[InputProblem]:
    """Check the inputs that the operation does not read: a wrong value is a mistake in any operation."""
    own = list_inputs(operation.Params) if operation else {}
    texts = {name: read_input(environ, name) for name in DEFAULTS if name not in own}
    given = {name: text for name, text in texts.items() if text.strip() not in ("", DEFAULTS[name])}
    if not given:
        return
    others = {name: source for one in OPERATIONS for name, source in list_inputs(import_operation(one).Params).items()}
    for name, text in given.items():
        try:
            value = others[name].parse_input(text)
        except InputValueError as error:
            yield InputProblem(name=name, message=str(error))
            continue
        if operation and name in DEMANDING and value:
            yield InputProblem(name=name, message="is not used by this operation; leave it empty")
