"""What every operation is given besides its own inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dms_airflow.airflow import AirflowClient
    from dms_airflow.clock import Clock
    from dms_airflow.config import Runner
    from dms_airflow.log import Log


@dataclass(frozen=True, kw_only=True)
class Context:
    """The world as an operation sees it.

    Args:
        airflow: The instance, logged in.
        runner: The checkout's folder, and which run of which workflow this is.
        clock: Time.
        log: The step's log.
    """

    airflow: AirflowClient
    runner: Runner
    clock: Clock
    log: Log
