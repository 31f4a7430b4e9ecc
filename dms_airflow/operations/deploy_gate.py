"""`deploy-gate`: after a deploy, the instance runs this commit, and every DAG file of it imports and serializes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core.inputs import input_field, parse_boolean, parse_duration, parse_names
from dms_airflow.core.result import Result
from dms_airflow.deploy.gate import Gate
from dms_airflow.import_errors.report import ERROR_OUTPUTS, ImportErrorParams

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

OUTPUTS = ERROR_OUTPUTS | {"dag-changes"}


@dataclass(frozen=True, kw_only=True)
class Params(ImportErrorParams):
    """The inputs of the gate."""

    timeout: float = input_field(parse_duration, default=600.0)  # seconds
    poll_interval: float | None = input_field(parse_duration)
    verify_source: bool = input_field(parse_boolean, default=True)
    expect_dags: tuple[str, ...] = input_field(parse_names, default=())

    def open_checkout(self, root: Path) -> Checkout:
        """Open the checkout that the instance is compared with."""
        return Checkout(root, self.dags_path or None)


def run(params: Params, context: Context) -> Result:
    """Compare the instance with the checkout."""
    return Gate(params, context).run()
