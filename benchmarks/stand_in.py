"""A stand-in of DMS as a process of its own: the sandbox's OpenAPI, login and sessions, with made-up answers of Airflow.

Prints its endpoint, then how many requests of each kind it had, and when the first one came, as JSON, whenever a line comes
in. Ends with its input.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import requests
from alibabacloud_dms20250414.client import Client
from alibabacloud_dms20250414.models import CreateAirflowLoginTokenRequest
from alibabacloud_tea_openapi.models import Config

from sandbox.front import Front, Gateway, Request, Server
from sandbox.instance import CommandResult, WebResponse
from sandbox.journal import Journal
from sandbox.openapi import INSTANCE_ID, PREFIX, OpenApi
from sandbox.signature import Credential

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sandbox.front import Answer

KEY = Credential(access_key_id="LTAI5tBenchmarkKey01", access_key_secret="YmVuY2htYXJrL3NlY3JldCtrZXk9PQ==")  # noqa: S106 - made up

LIMIT = 100  # Airflow's highest


class Airflow:
    """Answers from files: a command by the file of its name, and lists of as many entries as asked for.

    Args:
        folder: Holds `stdout`, the answer of every command.
        dags: How many DAGs there are, each in a file of its own.
        latency: Seconds until a REST answer.
    """

    def __init__(self, folder: Path, dags: int, latency: float) -> None:
        self._stdout = (folder / "stdout").read_text(encoding="utf-8")
        self._dags = dags
        self._latency = latency

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Answer a command."""
        del arguments
        return CommandResult(stdout=self._stdout, stderr="", exit_code=0, seconds=0.0)

    def request(self, method: str, target: str, headers: object, body: bytes, **_: object) -> WebResponse:
        """Answer a page of DAGs, or a source."""
        del method, headers, body
        time.sleep(self._latency)
        url = urlsplit(target.removeprefix(PREFIX))
        if url.path.startswith("/api/v1/dagSources/"):
            return _answer({"content": write_source(int(url.path.rpartition("/")[2]))})
        asked = {name: int(values[0]) for name, values in parse_qs(url.query).items() if name in ("limit", "offset")}
        first = asked.get("offset", 0)
        last = min(self._dags, first + min(LIMIT, asked.get("limit", LIMIT)))
        return _answer({"dags": [describe_dag(number) for number in range(first, last)], "total_entries": self._dags})


def write_source(number: int) -> str:
    """Write a DAG file."""
    return f'from airflow import DAG\n\nwith DAG("dag_{number:05}", schedule=None) as dag:\n    pass\n' + "# a line\n" * 100


def describe_dag(number: int) -> dict[str, Any]:
    """Describe a DAG as Airflow's list does."""
    return {
        "dag_id": f"dag_{number:05}",
        "dag_display_name": f"dag_{number:05}",
        "description": None,
        "file_token": str(number),
        "fileloc": f"/opt/airflow/dags/dag_{number:05}.py",
        "has_import_errors": False,
        "is_active": True,
        "is_paused": False,
        "last_parsed_time": "2026-11-22T12:00:00.000000+00:00",
        "max_active_runs": 16,
        "max_active_tasks": 16,
        "owners": ["airflow"],
        "schedule_interval": None,
        "tags": [],
    }


def _answer(body: object) -> WebResponse:
    return WebResponse(status=200, headers=[("Content-Type", "application/json")], body=json.dumps(body).encode())


class CountingFront(Front):
    """The front, which counts by kind and knows how many requests were open at once."""

    def __init__(self, airflow: Airflow, journal: Journal) -> None:
        super().__init__(OpenApi([KEY]), airflow, journal, Gateway(command_api="/api/v1"))  # type: ignore[arg-type]
        self.counts: Counter[str] = Counter()
        self.first = 0.0
        self._open = 0
        self._turn = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Count and answer."""
        with self._turn:
            self.first = self.first or time.time()
            self._open += 1
            self.counts["at once"] = max(self.counts["at once"], self._open)
        answer = super().answer(request)
        with self._turn:
            self._open -= 1
            self.counts[answer.kind] += 1
        return answer


def main() -> None:
    """Serve until the input ends."""
    folder, dags, latency = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    front = CountingFront(Airflow(folder, dags, latency), Journal(folder / "journal.jsonl"))
    with Server("127.0.0.1", 0) as server:
        server.front = front
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        for _ in sys.stdin:
            print(json.dumps([front.counts, front.first]), flush=True)
            front.counts.clear()
            front.first = 0.0
        server.shutdown()


class StandIn:
    """A stand-in that runs."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process
        assert process.stdout
        self.endpoint = process.stdout.readline().strip()
        self.first = 0.0  # when the first request came that `count` counted last, by the clock of the day

    @property
    def inputs(self) -> Mapping[str, str]:
        """What connects a step to it."""
        return {
            "endpoint": self.endpoint,
            "instance-id": INSTANCE_ID,
            "access-key-id": KEY.access_key_id,
            "access-key-secret": KEY.access_key_secret,
        }

    @property
    def variables(self) -> Mapping[str, str]:
        """What connects a plain script to it."""
        return {
            "ENDPOINT": self.endpoint.removeprefix("http://"),
            "AIRFLOW_ID": INSTANCE_ID,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY.access_key_secret,
        }

    def log_in(self) -> tuple[str, str]:
        """Give the instance's base URL and the cookie of a new session."""
        client = Client(
            Config(
                access_key_id=KEY.access_key_id,
                access_key_secret=KEY.access_key_secret,
                endpoint=self.endpoint.removeprefix("http://"),
                protocol="http",
            )
        )
        token = client.create_airflow_login_token(CreateAirflowLoginTokenRequest(airflow_id=INSTANCE_ID)).body.data
        login = requests.get(f"{token.host}/login", params={"token": token.token}, allow_redirects=False, timeout=60.0)
        return token.host, f"session={login.cookies['session']}"

    def count(self) -> dict[str, int]:
        """Give what it was asked since the last time."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, int]
        counts, self.first = json.loads(self._process.stdout.readline())
        return counts


@contextmanager
def serve(stdout: str = "2.10.4\n", *, dags: int = 0, latency: float = 0.0) -> Iterator[StandIn]:
    """Run a stand-in whose every command prints this."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "stdout").write_text(stdout, encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.stand_in", folder, str(dags), str(latency)]
        with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
            yield StandIn(process)
            process.communicate()


if __name__ == "__main__":
    main()
