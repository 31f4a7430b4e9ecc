"""How an instance is, by its own report.

https://airflow.apache.org/docs/apache-airflow/2.10.4/administration-and-deployment/logging-monitoring/check-health.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.responses import parse_date
from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import ActionError, AnswerError
from dms_airflow.core.log import Log
from dms_airflow.core.polling import poll

# Without one of these nothing works. A triggerer is needed by deferred tasks only.
ESSENTIAL = ("metadatabase", "scheduler", "dag-processor")

# A scheduler that is being restarted needs a moment.
RESTART_LIMIT = 15.0  # seconds
RESTART_INTERVAL = 5.0  # seconds

HINT_RESTART = "Look at the instance in DMS's console; restart a scheduler that has stopped there."


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part of an instance.

    Args:
        name: Of the part: ``metadatabase``, ``scheduler``, ``dag-processor``, ``triggerer``.
        status: ``healthy`` or ``unhealthy``; None where it is not a process of its own, which is not a problem: Airflow 2's
            scheduler parses DAG files itself, and no triggerer is needed without deferred tasks.
        age: Seconds since its last heartbeat, by the server's clock; None where it reports none.
    """

    name: str
    status: str | None
    age: float | None = None

    @property
    def is_unhealthy(self) -> bool:
        """Whether Airflow reports a fault. Metadatabase and scheduler always have a status."""
        return self.status != "healthy" and (self.status is not None or self.name in ("metadatabase", "scheduler"))

    def __str__(self) -> str:
        """Describe it, e.g. ``scheduler unhealthy, last heartbeat 90 s ago``."""
        age = "" if self.age is None else f", last heartbeat {self.age:.0f} s ago"
        return f"{self.name} {self.status or 'without a status'}{age}"


@dataclass(frozen=True, kw_only=True)
class Health:
    """An instance's health."""

    components: Mapping[str, Component]

    @property
    def unhealthy(self) -> tuple[Component, ...]:
        """The components with a fault."""
        return tuple(component for component in self.components.values() if component.is_unhealthy)

    @property
    def faults(self) -> tuple[Component, ...]:
        """The components with a fault without which nothing works."""
        return tuple(component for component in self.unhealthy if component.name in ESSENTIAL)

    @property
    def has_triggerer(self) -> bool:
        """Whether a triggerer runs, which deferred tasks need. Airflow reports one that never ran without a status."""
        return "triggerer" in self.components and self.components["triggerer"].status is not None

    def __str__(self) -> str:
        """Describe the components that run by themselves."""
        return "; ".join(str(one) for one in self.components.values() if one.status is not None or one.is_unhealthy)


def fetch_health(airflow: AirflowClient) -> Health:
    """Fetch the instance's health, which anybody may read; an ActionError where it is not known."""
    path = airflow.version.health_path
    content, now = airflow.fetch_object(path) or {}, airflow.server_time
    components = {name: _parse_component(name, one, now) for name, one in content.items() if isinstance(one, dict)}
    if not {"metadatabase", "scheduler"} <= components.keys():
        raise AnswerError(
            f"GET {airflow.locate(path)} at {airflow.url} reports nothing about the metadatabase and the scheduler.",
            "Look at the instance in DMS's console, and run the step again when it is running.",
        )
    return Health(components=components)


def await_health(airflow: AirflowClient, clock: Clock, log: Log, *, interval: float | None, consequence: str) -> Health:
    """Fetch the instance's health, again for RESTART_LIMIT while something that everything needs is not healthy.

    `interval` is in seconds, None for RESTART_INTERVAL; `consequence` is a sentence of the error: what follows.

    Raises:
        ActionError: Its metadatabase, scheduler or dag-processor is not healthy, and does not become so, or that is not known.
    """

    def fetch_state() -> tuple[Health, Sequence[str]]:
        health = fetch_health(airflow)
        return health, tuple(f"a healthy {fault.name} ({fault})" for fault in health.faults)

    deadline = clock.monotonic() + RESTART_LIMIT
    health, awaited = poll(fetch_state, clock=clock, log=log, deadline=deadline, interval=interval or RESTART_INTERVAL)
    if awaited:
        faults = "; ".join(map(str, health.faults))
        message, hint = f"{airflow.url} is not healthy: {faults}.", f"{consequence} {HINT_RESTART}"
        raise ActionError(message, hint, title="Instance not healthy")
    return health


def _parse_component(name: str, content: Mapping[str, Any], now: datetime | None) -> Component:
    status, heartbeat = content.get("status"), parse_date(content.get(f"latest_{name}_heartbeat"))
    age = max(0.0, (now - heartbeat).total_seconds()) if now and heartbeat else None
    return Component(name=name.replace("_", "-"), status=status if isinstance(status, str) else None, age=age)
