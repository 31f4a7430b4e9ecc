"""What every operation gets in addition to its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.session import AirflowSession
    from dms_airflow.alibaba_cloud.workspace import Workspace
    from dms_airflow.ci.runner import Runner
    from dms_airflow.config import Config
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.exchange import Transport
    from dms_airflow.core.log import Log


@dataclass(frozen=True, kw_only=True)
class Context:
    """The world as an operation sees it.

    `open_workspace` opens the DMS workspace of an id. `session` is open by the time an operation runs; only `doctor` opens it
    itself, step by step. `runner` has the checkout's folder, and which run of which workflow this is.
    """

    config: Config
    open_workspace: Callable[[str], AbstractContextManager[Workspace]]
    airflow: AirflowClient
    session: AirflowSession
    transport: Transport
    runner: Runner
    clock: Clock
    log: Log
