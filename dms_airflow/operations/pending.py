"""The operations of the contract that are not built yet: their inputs are judged, then they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Never

from dms_airflow.errors import NotAvailableError
from dms_airflow.inputs import given, parse_boolean, parse_duration, parse_names
from dms_airflow.operations import command, import_errors, trigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.operations.context import Context

OUTPUTS = import_errors.OUTPUTS | trigger.OUTPUTS | {"runs"}

GATE_TIMEOUT = 600.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Params(import_errors.ImportErrorParams, trigger.WaitParams, command.Params):
    """The inputs of deploy-gate, smoke-test and doctor."""

    timeout: float = given(parse_duration, default=GATE_TIMEOUT)
    verify_source: bool = given(parse_boolean, default=True)
    expect_dags: tuple[str, ...] = given(parse_names, default=())

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked: nothing."""
        return ()


def run(params: Params, context: Context) -> Never:
    """Refuse."""
    del context
    raise NotAvailableError(f"operation: {params.operation}")
