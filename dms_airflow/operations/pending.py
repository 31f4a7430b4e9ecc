"""What the contract has and this version has not: its inputs are judged, then it is refused before any request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

from dms_airflow.errors import NotAvailableError
from dms_airflow.operations import command, import_errors, trigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.config import Config
    from dms_airflow.operations.context import Context

OUTPUTS = import_errors.OUTPUTS | trigger.OUTPUTS


@dataclass(frozen=True, kw_only=True)
class Params(import_errors.ImportErrorParams, trigger.WaitParams, command.Params):
    """The inputs of doctor."""

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked: nothing."""
        return ()


def refuse_pending(config: Config, params: Any) -> None:
    """Refuse what is not built yet.

    Raises:
        NotAvailableError: The author asks for it.
    """
    asked = {
        f"operation: {config.operation}": isinstance(params, Params),
        "role-to-assume": bool(config.role_to_assume),
        "reuse-session: true": config.reuse_session,
    }
    for what, is_asked in asked.items():
        if is_asked:
            raise NotAvailableError(what)


def run(params: Params, context: Context) -> Never:
    """Never get here: `refuse_pending` comes first."""
    del context
    raise NotAvailableError(f"operation: {params.operation}")
