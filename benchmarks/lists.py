"""Long lists: 10,000 DAGs by `rest` with --paginate, and the sources of 500 DAG files as `verify-source` fetches them.

Peer: the same requests one after the other. The stand-in answers after 50 ms. Floor: an eighth of that waiting, since eight
requests are sent at once at most.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import requests

from benchmarks import stand_in
from benchmarks.measure import Cost, compare, run
from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.dags import fetch_sources
from dms_airflow.core.clock import Clock
from dms_airflow.core.http.exchange import Transport
from sandbox.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.core.http.exchange import Response

ROUNDS = 3
LATENCY = 0.05  # seconds
DAGS = 10_000
FILES = 500


class Silence:
    """A log that keeps nothing."""

    def __getattr__(self, _: str) -> Any:
        """Take whatever is told."""
        return lambda *_: None


class Session:
    """A session that is open."""

    version = "2.10.4"

    def __init__(self, host: str, cookie: str) -> None:
        self.host = host
        self._cookie = cookie

    def send(self, exchange: Callable[[Mapping[str, str]], Response], method: str, path: str) -> Response:
        """Send a request."""
        del method, path
        return exchange({"Cookie": self._cookie})


class World:
    """A client of the instance."""

    def __init__(self, session: Session) -> None:
        self.clock, self.log = Clock(), cast("Any", Silence())
        transport = Transport(http=requests.Session(), clock=self.clock, log=self.log)
        self.airflow = AirflowClient(
            session=cast("Any", session),
            transport=transport,
            clock=self.clock,
            log=self.log,
        )


def main() -> None:
    """Print the ratios."""
    with stand_in.serve(dags=DAGS, latency=LATENCY) as dms, tempfile.TemporaryDirectory() as folder:
        runner = Runner(workspace=Path(folder), temp=Path(folder))
        environ = {"PATH": os.environ["PATH"], **dms.variables}

        def step() -> Cost:
            inputs = {"operation": "rest", "arguments": "GET /dags --paginate", "result-file": "dags.json"}
            return run(runner.command, runner.prepare({**dms.inputs, **inputs})[0])

        def plain() -> Cost:
            return run([sys.executable, str(Path(__file__).with_name("plain_pages.py"))], environ)

        compare(f"{DAGS} DAGs by rest --paginate, whole process", step, plain, ROUNDS, "0.25x wall")
        dms.count()
        step()
        print(f"requests: {sorted(dms.count().items())}")
        session = dms.log_in()
        compare(
            f"{FILES} sources",
            lambda: measure(fetch_side_by_side, session),
            lambda: measure(fetch_one_by_one, session),
            ROUNDS,
            "0.25x wall",
        )


def measure(fetch: Any, session: tuple[str, str]) -> Cost:
    """Measure a function of this process, whose memory says nothing."""
    began, used = time.perf_counter(), time.process_time()
    assert len(fetch(*session)) == FILES
    return Cost(wall=time.perf_counter() - began, cpu=time.process_time() - used, memory=1.0)


def fetch_side_by_side(host: str, cookie: str) -> dict[str, str]:
    """Fetch the sources as the deploy gate does."""
    airflow = World(Session(host, cookie)).airflow
    return fetch_sources(airflow, {f"dag_{number:05}.py": f"/dagSources/{number}" for number in range(FILES)})


def fetch_one_by_one(host: str, cookie: str) -> dict[str, str]:
    """Fetch the sources as a loop does."""
    http = requests.Session()
    headers = {"Cookie": cookie, "Accept": "application/json"}
    return {
        f"dag_{number:05}.py": http.get(f"{host}/api/v1/dagSources/{number}", headers=headers).json()["content"]
        for number in range(FILES)
    }


if __name__ == "__main__":
    main()
