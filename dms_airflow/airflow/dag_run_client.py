"""DAGs, their runs and task instances by REST: each question once, for whoever triggers and waits."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dms_airflow.airflow.client import CONCURRENCY, PAGE, READ_TIMEOUT
from dms_airflow.airflow.dag_runs import read_dag, read_dag_run, read_date
from dms_airflow.airflow.pages import read_page
from dms_airflow.airflow.task_instances import read_task_instance, read_upstream
from dms_airflow.airflow.version import AIRFLOW_2
from dms_airflow.core.errors import AnswerError, AnswerTimeoutError, Cancelled
from dms_airflow.core.retry import TRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import TypeVar

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.dag_runs import Dag, DagRun
    from dms_airflow.airflow.task_instances import TaskInstance
    from dms_airflow.airflow.task_logs import TaskLog
    from dms_airflow.airflow.version import Call, Dialect
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http import Answer

    T = TypeVar("T")
    R = TypeVar("R")

OFTEN = TRIES  # tries of a request that nothing repeats but the client

# A look at a DAG run is followed by another one anyway.
LOOK_TIMEOUT = 30.0  # seconds

# What is done side by side may take so much longer than each of its requests.
MAP_GRACE = 0.5  # seconds

WAIT_SLICE = 0.2  # seconds

MOST_INSTANCES = 20_000  # of one run; whatever the instance says, no more pages are asked for


_OK = 200
_NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True)
class Health:
    """What the instance says of itself. A component that runs nowhere by itself has no status; that is no fault."""

    ills: tuple[str, ...]
    told: str


class DagRunClient:
    """Asks one instance about DAGs and their runs.

    Args:
        airflow: The instance.
        clock: Measures the time that is left.
        deadline: On the clock; see `limit`.
    """

    def __init__(self, airflow: AirflowClient, clock: Clock, deadline: float) -> None:
        self._airflow = airflow
        self._clock = clock
        self._deadline = deadline
        self._pool = ThreadPoolExecutor(CONCURRENCY)
        self._turns = BoundedSemaphore(CONCURRENCY)
        self._is_closed = threading.Event()
        self.url = airflow.url
        self.server_time: datetime | None = None
        """The server's clock at its last answer."""

    def map(self, do: Callable[[T], R], things: Iterable[T]) -> list[R]:
        """Do the same for several things at once, CONCURRENCY at most, and give what came out in their order.

        Raises:
            AnswerTimeoutError: Time is up, and not all is done.
        """
        until = self._deadline + MAP_GRACE
        futures = [self._pool.submit(do, thing) for thing in things]
        try:
            # A signal that comes just before Python begins to wait is seen only when it has waited: never for long.
            while wait(futures, timeout=WAIT_SLICE).not_done:
                # A server that sends byte by byte may hold a single request beyond its time, but not the step.
                if self._clock.monotonic() > until:
                    raise AnswerTimeoutError(
                        f"{self.url} was still answering when time ran out.",
                        "Look in Airflow what has happened, or allow more with timeout.",
                    )
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Begin nothing more, whichever thread asks: the workflow was cancelled."""
        self._is_closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _require_open(self) -> None:
        if self._is_closed.is_set():
            raise Cancelled

    def limit(self, deadline: float) -> None:
        """Let no answer be waited for beyond a moment on the clock."""
        self._deadline = deadline

    def _take_time(self, most: float) -> float:
        """Give the seconds that an answer may take.

        Raises:
            AnswerTimeoutError: There are none.
        """
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise AnswerTimeoutError(f"{self.url} was not asked any more: no time was left.", "Allow more with timeout.")
        return min(most, left)

    # --- DAGs ------------------------------------------------------------------------------------------------------------

    def get_dag(self, dag_id: str) -> Dag | None:
        """Read a DAG; None when there is none."""
        told = self._get(_name_dag(dag_id))
        if told is None:
            return None
        return self._require(read_dag(told, is_active=self._airflow.dialect.is_active(told)), _name_dag(dag_id))

    def list_dag_ids(self) -> list[str]:
        """List the ids of all active DAGs."""

        def make(dialect: Dialect, page: Sequence[tuple[str, Any]]) -> Call:
            return dialect.list_dags(page, only_active=True, fields="dag_id")

        pages = [read_page(answer) for answer in self._airflow.ask_pages(make)]
        return [str(entry.get("dag_id")) for page in pages if page for entry in page.entries if isinstance(entry, dict)]

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG. Asking twice is asking once."""
        self._require_open()
        path = _name_dag(dag_id)
        body = json.dumps({"is_paused": False})
        timeout = self._take_time(READ_TIMEOUT)
        answer = self._airflow.request(
            "PATCH", path, query="update_mask=is_paused", body=body, repeatable=True, timeout=timeout
        )
        if answer.parse_object().get("is_paused") is not False:
            raise self._airflow.refuse(answer, f"PATCH {self._airflow.locate(path)}")

    def read_upstream(self, dag_id: str) -> dict[str, frozenset[str]]:
        """Read which tasks each task of a DAG waits for; empty when Airflow does not tell."""
        return read_upstream(self._get(f"{_name_dag(dag_id)}/tasks") or {})

    # --- DAG runs --------------------------------------------------------------------------------------------------------

    def create_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any], logical_date: datetime, timeout: float) -> Answer:
        """Ask for a DAG run. Airflow makes one of an id at most."""
        self._require_open()
        return self._airflow.ask(lambda dialect: dialect.create_run(dag_id, run_id, conf, logical_date), timeout=timeout)

    def get_run(self, dag_id: str, run_id: str, tries: int = OFTEN) -> DagRun | None:
        """Read a DAG run; None when there is none."""
        path = _name_run(dag_id, run_id)
        told = self._get(path, tries=tries)
        if told is None:
            return None
        run = read_dag_run(told)
        return self._require(run if run and (run.dag_id, run.run_id) == (dag_id, run_id) else None, path)

    def fail_run(self, dag_id: str, run_id: str, timeout: float) -> None:
        """End a DAG run as failed; its running tasks are ended, too."""
        path = _name_run(dag_id, run_id)
        body = json.dumps({"state": "failed"})
        answer = self._airflow.request("PATCH", path, body=body, timeout=timeout, repeatable=True)
        if answer.status != _OK:
            raise self._airflow.refuse(answer, f"PATCH {self._airflow.locate(path)}")

    def name_page(self, run: DagRun, task_id: str = "", map_index: int = -1) -> str:
        """Name the page of a DAG run, or of the log of one of its task instances, by what is known of the instance."""
        dialect = self._airflow.known_dialect or AIRFLOW_2
        return dialect.write_run_url(self.url, run.dag_id, run.run_id, task_id, map_index)

    def count_running(self, dag_id: str) -> int:
        """Count a DAG's runs that are running."""
        return self._get_page(f"{_name_dag(dag_id)}/dagRuns", (("state", "running"),), 1, 0, OFTEN)[1]

    # --- task instances --------------------------------------------------------------------------------------------------

    def list_task_instances(self, dag_id: str, run_id: str, tries: int = OFTEN) -> tuple[TaskInstance, ...]:
        """Read all task instances of a DAG run: a hundred as a page, more than that at once.

        Airflow orders pages by map_index, which is -1 for each that is not mapped: PostgreSQL then gives some on two pages and
        others on none. Only its answer to a POST may hold more than a hundred.

        Raises:
            AnswerError: There are some, and none is given.
        """
        path = f"{_name_run(dag_id, run_id)}/taskInstances"
        first, total = self._get_page(path, (), PAGE, 0, tries)
        # Airflow may cut `limit`: what it really gave is the size of a page.
        size = len(first)
        if total > 0 and not size:
            raise AnswerError(
                f"{self._airflow.locate(path)} at {self.url} gave none of its {total} task instances.",
                "The instance cut its answer. Look at the run's page.",
            )
        most = min(total, MOST_INSTANCES)
        rest = self._read_at_once(dag_id, run_id, most, tries) if most > size else []
        if most > size and len(rest) < most:  # it was not taken, or cut
            rest += self._read_side_by_side(path, range(size, most, max(1, size)), size, tries)
        found = [read_task_instance(entry) for entry in (*first, *rest)]
        return tuple({(one.task_id, one.map_index): one for one in found}.values())

    def _read_at_once(self, dag_id: str, run_id: str, most: int, tries: int) -> list[dict[str, Any]]:
        """Read task instances with one request that changes nothing, although it is a POST; none where it is not taken."""
        body = json.dumps({"dag_ids": [dag_id], "dag_run_ids": [run_id], "page_limit": most})
        with self._turns:
            timeout = self._take_time(LOOK_TIMEOUT if tries == 1 else READ_TIMEOUT)
            answer = self._airflow.request(
                "POST", "/dags/~/dagRuns/~/taskInstances/list", body=body, repeatable=True, tries=tries, timeout=timeout
            )
        page = read_page(answer)
        return [entry for entry in page.entries if isinstance(entry, dict)] if page else []

    def _read_side_by_side(self, path: str, offsets: Sequence[int], size: int, tries: int) -> list[dict[str, Any]]:
        if not offsets:
            return []
        # A pool of its own: this may itself be running in the other one, which must not wait for itself. Turns are shared.
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            pages = pool.map(lambda offset: self._get_page(path, (), size, offset, tries)[0], offsets)
            return [entry for page in pages for entry in page]

    def fetch_log(self, dag_id: str, run_id: str, instance: TaskInstance) -> TaskLog:
        """Read the log of a task instance's last try."""
        path = f"{_name_run(dag_id, run_id)}/taskInstances/{quote(instance.task_id, safe='')}/logs/{instance.try_number}"
        timeout = self._take_time(READ_TIMEOUT)
        answer = self._airflow.ask(lambda dialect: dialect.read_log(path, instance.map_index), timeout=timeout)
        if answer.status != _OK:
            raise self._airflow.refuse(answer, f"GET {self._airflow.locate(path)}")
        return self._airflow.dialect.parse_log(answer)

    def list_unmet(self, dag_id: str, run_id: str, instance: TaskInstance) -> tuple[str, ...]:
        """List why a task instance is not scheduled, in Airflow's words."""
        told = self._get(f"{_name_run(dag_id, run_id)}/taskInstances/{quote(instance.task_id, safe='')}/dependencies") or {}
        found = told.get("dependencies")
        return tuple(str(one.get("reason")) for one in found if isinstance(one, dict)) if isinstance(found, list) else ()

    # --- the instance ----------------------------------------------------------------------------------------------------

    def has_free_slot(self, pool: str) -> bool:
        """Tell whether a pool has a free slot."""
        slots = (self._get(f"/pools/{quote(pool, safe='')}") or {}).get("open_slots")
        return not isinstance(slots, int) or slots > 0

    def check_health(self) -> Health:
        """Ask the instance how its metadatabase and its scheduler are."""
        told = self._ask(lambda dialect: dialect.get(dialect.health_path))
        path = self._airflow.dialect.health_path
        if told is None or not isinstance(told.get("metadatabase"), dict) or not isinstance(told.get("scheduler"), dict):
            raise AnswerError(
                f"GET {self._airflow.locate(path)} at {self.url} says nothing of metadatabase and scheduler.",
                "Look at the instance in DMS's console, and run the step again when it is running.",
            )
        ills, words = [], []
        for name in ("metadatabase", "scheduler"):
            status = told[name].get("status")
            heartbeat = read_date(told[name].get(f"latest_{name}_heartbeat"))
            age = f", heartbeat {self._tell_age(heartbeat)}" if heartbeat else ""
            words.append(f"{name} {status or 'without a status'}{age}")
            if status not in (None, "healthy"):
                ills.append(words[-1])
        return Health(ills=tuple(ills), told="; ".join(words))

    def _tell_age(self, moment: datetime) -> str:
        if not self.server_time:
            return f"of {moment.isoformat(timespec='seconds')}"
        return f"{max(0.0, (self.server_time - moment).total_seconds()):.0f} s ago"

    # --- how -------------------------------------------------------------------------------------------------------------

    def _get(self, path: str, tries: int = OFTEN) -> dict[str, Any] | None:
        """Read an object; None when Airflow says that it is not there."""
        return self._ask(lambda dialect: dialect.get(path), tries)

    def _ask(self, make: Callable[[Dialect], Call], tries: int = OFTEN) -> dict[str, Any] | None:
        """Read an object that lies elsewhere in each Airflow; None when it is not there."""
        answer = self._read(make, tries)
        # A gateway's 404 says nothing of the thing.
        if answer.status == _NOT_FOUND and answer.parse_object():
            return None
        told = answer.parse_object() if answer.status == _OK else {}
        if not told:
            raise self._airflow.refuse(answer, make(self._airflow.known_dialect or AIRFLOW_2).name)
        return told

    def _get_page(
        self, path: str, query: Sequence[tuple[str, str]], limit: int, offset: int, tries: int
    ) -> tuple[list[dict[str, Any]], int]:
        answer = self._read(lambda dialect: dialect.get(path, [*query, ("limit", limit), ("offset", offset)]), tries)
        page = read_page(answer)
        if page is None:
            raise self._airflow.refuse(answer, f"GET {self._airflow.locate(path)}")
        return [entry for entry in page.entries if isinstance(entry, dict)], page.total

    def _read(self, make: Callable[[Dialect], Call], tries: int) -> Answer:
        with self._turns:
            timeout = self._take_time(LOOK_TIMEOUT if tries == 1 else READ_TIMEOUT)
            answer = self._airflow.ask(make, tries=tries, timeout=timeout)
        with suppress(ValueError):  # a server without a clock leaves us with the time before
            self.server_time = parsedate_to_datetime(answer.headers.get("Date", ""))
        return answer

    def _require(self, thing: T | None, path: str) -> T:
        if thing is None:
            raise AnswerError(
                f"GET {self._airflow.locate(path)} at {self.url} answered without what was asked for.", "Run the step again."
            )
        return thing


def _name_dag(dag_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}"


def _name_run(dag_id: str, run_id: str) -> str:
    return f"{_name_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"
