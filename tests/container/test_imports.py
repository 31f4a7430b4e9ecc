"""The image holds what every way through the action imports, and its bytecode: a step compiles nothing, and writes nothing."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from sandbox.cloud import write_credentials
from tests.container.conftest import PROJECT, Connection, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sandbox import Sandbox

pytestmark = pytest.mark.container

INI = "[default]\ntype = access_key\naccess_key_id = {0}\naccess_key_secret = {1}\n"
CONFIG = '{{"current": "x", "profiles": [{{"name": "x", "mode": "AK", "access_key_id": "{0}", "access_key_secret": "{1}"}}]}}'


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A container that has ended.

    Args:
        exit_code: Its exit code.
        log: Both streams.
        changed: Paths in it that were added or changed, mounts aside, as `docker diff` tells them.
    """

    exit_code: int
    log: str
    changed: list[str]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a step is given besides its connection."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


def run_step(image: str, folder: Path, job: Job) -> Ended:
    """Run a step with `folder` as its checkout, home and place for temporary files."""
    name = f"dms-airflow-{uuid4().hex[:12]}"
    variables = {
        "HOME": str(folder),
        "RUNNER_TEMP": str(folder),
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(folder),
        **{f"INPUT_{key.upper()}": value for key, value in job.inputs.items()},
        **job.environ,
    }
    options = [f"-e{key}={value}" for key, value in variables.items()]
    try:
        ran = run("docker", "run", "--name", name, "-v", f"{folder}:{folder}", "-w", folder, *options, image)
        changed = run("docker", "diff", name).stdout.splitlines()
    finally:
        run("docker", "rm", "--force", name)
    # Docker makes the mount's own place.
    mine = [path for path in (line.split(" ", 1)[1] for line in changed) if not f"{folder}/".startswith(f"{path}/")]
    return Ended(exit_code=ran.returncode, log=ran.stdout + ran.stderr, changed=mine)


@contextmanager
def serve_credentials(sandbox: Sandbox) -> Iterator[str]:
    """Run a server of credentials where the sandbox is."""
    body = json.dumps(write_credentials(sandbox.temporary_access_key)).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((sandbox.address.partition(":")[0], 0), Handler) as server:
        thread = Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield f"http://{server.server_address[0]!s}:{server.server_port}/keys"
        finally:
            server.shutdown()
            thread.join()


def name_instance(sandbox: Sandbox) -> dict[str, str]:
    """The inputs that name the instance, without keys."""
    return {"endpoint": sandbox.endpoint, "instance-id": sandbox.instance_id}


@pytest.mark.parametrize(
    ("operation", "exit_code"),
    [
        ("version", 0),
        ("cli", 0),
        ("rest", 0),
        ("doctor", 1),  # the scheduler does not run
        ("dags list-import-errors", 1),
        ("deploy-gate", 1),
        ("smoke-test", 1),  # the same: the wait ends
        ("dags lst", 2),
    ],
)
def test_an_operation(image: str, sandbox: Sandbox, workspace: Path, operation: str, exit_code: int) -> None:
    arguments = {"cli": "version", "rest": "GET /dags?limit=1", "smoke-test": "daily_orders"}.get(operation, "")
    inputs = {"operation": operation, "arguments": arguments, "on-paused": "ignore", "timeout": "20s", "reuse-session": "true"}

    ended = run_step(image, workspace, Job(inputs={**Connection(sandbox=sandbox).inputs, **inputs}))

    assert (ended.exit_code, ended.changed) == (exit_code, []), ended.log


def test_a_role_without_stored_keys(image: str, sandbox: Sandbox, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_bytes((sandbox.run_folder / "authority.pem").read_bytes())
    environ = {**sandbox.cloud.environ, "REQUESTS_CA_BUNDLE": str(authority)}

    ended = run_step(
        image, tmp_path, Job(inputs={**name_instance(sandbox), **sandbox.cloud.inputs, "operation": "version"}, environ=environ)
    )

    assert (ended.exit_code, ended.changed) == (0, []), ended.log


@pytest.mark.parametrize(("name", "text"), [(".alibabacloud/credentials.ini", INI), (".aliyun/config.json", CONFIG)])
def test_a_file_of_credentials(image: str, sandbox: Sandbox, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.parent.mkdir()
    file.write_text(text.format(sandbox.access_key_id, sandbox.access_key_secret))

    ended = run_step(image, tmp_path, Job(inputs={**name_instance(sandbox), "operation": "version"}))

    assert (ended.exit_code, ended.changed) == (0, []), ended.log


def test_a_server_of_credentials(image: str, sandbox: Sandbox, tmp_path: Path) -> None:
    with serve_credentials(sandbox) as uri:
        job = Job(inputs={**name_instance(sandbox), "operation": "version"}, environ={"ALIBABA_CLOUD_CREDENTIALS_URI": uri})
        ended = run_step(image, tmp_path, job)

    assert (ended.exit_code, ended.changed) == (0, []), ended.log


def test_the_role_of_an_ecs_instance(image: str, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.cloud.ecs_credential = sandbox.temporary_access_key
    environ = {
        "HTTP_PROXY": sandbox.cloud.proxy,
        "NO_PROXY": sandbox.address.partition(":")[0],
        "RUNNER_ENVIRONMENT": "self-hosted",
    }

    ended = run_step(image, tmp_path, Job(inputs={**name_instance(sandbox), "operation": "version"}, environ=environ))

    assert (ended.exit_code, ended.changed) == (0, []), ended.log


def test_what_is_compiled_in_a_container_would_be_seen(image: str) -> None:
    name = f"dms-airflow-{uuid4().hex[:12]}"
    try:
        run("docker", "run", "--name", name, "--entrypoint", "/usr/local/bin/python", image, "-c", "import pydoc_data.topics")
        changed = run("docker", "diff", name).stdout
    finally:
        run("docker", "rm", "--force", name)

    assert "/pydoc_data/__pycache__/topics." in changed  # one of the packages that are not compiled


def test_nothing_in_it_can_install_or_build(image: str) -> None:
    look = "command -v pip pip3 gcc cc make git; find /usr/local /app -name tests -o -name ensurepip; python -c 'import pip'"
    told = run("docker", "run", "--rm", "--entrypoint", "/bin/sh", image, "-c", look)

    assert told.stdout == ""
    assert "No module named 'pip'" in told.stderr


def test_what_it_adds_to_its_base_is_less_than_25_mb(image: str) -> None:
    sizes = run("docker", "history", "--human=false", "--format", "{{.Size}}", image).stdout.split()
    # Newest first: the entrypoint, the bytecode, what is copied from the first stage. Everything below is the base.
    assert sum(int(size) for size in sizes[:3]) < 25_000_000


def test_the_license_is_in_it(image: str) -> None:
    ran = run("docker", "run", "--rm", "--entrypoint", "/usr/bin/cat", image, "/app/LICENSE")

    assert ran.stdout == (PROJECT / "LICENSE").read_text(encoding="utf-8")


def test_it_starts_in_a_read_only_container(image: str) -> None:
    ran = subprocess.run(["docker", "run", "--rm", "--read-only", image], capture_output=True, text=True, check=False)

    assert ran.returncode == 2
    assert ran.stderr == ""
