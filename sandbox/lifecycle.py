"""One sandbox from its start to its end."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox import cloud
from sandbox.front import Front, Gateway, Server
from sandbox.installation import Installation
from sandbox.instance import Instance, StartError
from sandbox.journal import Journal
from sandbox.openapi import INSTANCE_ID, PREFIX, REGION, WORKSPACE_ID, OpenApi, new_access_key, new_temporary_access_key
from sandbox.releases import Airflow3
from sandbox.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sandbox.cloud import Cloud
    from sandbox.instance import CommandResult
    from sandbox.settings import Settings
    from sandbox.signature import Credential

GOOD_DAGS = Path(__file__).with_name("dags") / "good"
NIGHTLY_DAGS = Path(__file__).with_name("dags") / "nightly"
BROKEN_DAGS = Path(__file__).with_name("dags") / "broken"


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A running sandbox: what a caller of the action needs, and what a test reads."""

    address: str
    access_key: Credential
    temporary_access_key: Credential
    dags_folder: Path
    run_folder: Path
    airflow_version: str
    front: Front
    cloud: Cloud
    workspace: Workspace
    instance_id: str = INSTANCE_ID
    region: str = REGION

    @property
    def endpoint(self) -> str:
        """URL of the OpenAPI: what the input `endpoint` takes."""
        return f"http://{self.address}"

    @property
    def access_key_id(self) -> str:
        """Id of the access key that the OpenAPI accepts."""
        return self.access_key.access_key_id

    @property
    def access_key_secret(self) -> str:
        """Its secret."""
        return self.access_key.access_key_secret

    @property
    def airflow_url(self) -> str:
        """Airflow's base URL, as the token answer names it to a caller on this machine."""
        return f"{self.endpoint}{PREFIX}"

    @property
    def rest_url(self) -> str:
        """URL of Airflow's REST API, whose path depends on its version."""
        return f"{self.airflow_url}{self.front.instance.release.api}"

    @property
    def requests(self) -> int:
        """How many requests have come, those included that are not answered yet."""
        return self.front.journal.arrived

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """Give the requests that came after the first `since`, and what they got, in the order in which they came."""
        return self.front.journal.read(since)

    def run_airflow(self, *arguments: str) -> CommandResult:
        """Run a command on the instance directly, past the front and the journal."""
        return self.front.instance.run_command(arguments)

    def command_settings(self, settings: Settings) -> AbstractContextManager[None]:
        """Let commands have further settings within a ``with`` block; processes that run already keep theirs."""
        return self.front.instance.command_settings(settings)

    def expire_sessions(self) -> None:
        """Make every session invalid, as if its time had come."""
        self.front.expire_sessions()

    def to_json(self) -> str:
        """What other programs need to use the sandbox."""
        return json.dumps(
            {
                "endpoint": self.endpoint,
                "region": self.region,
                "instance_id": self.instance_id,
                "access_key_id": self.access_key_id,
                "access_key_secret": self.access_key_secret,
                "temporary_access_key_id": self.temporary_access_key.access_key_id,
                "temporary_access_key_secret": self.temporary_access_key.access_key_secret,
                "security_token": self.temporary_access_key.security_token,
                "role_to_assume": self.cloud.sts.role.arn,
                "oidc_provider_arn": self.cloud.sts.provider.arn,
                "job_variables": dict(self.cloud.environ),
                "airflow_url": self.airflow_url,
                "airflow_version": self.airflow_version,
                "dags_folder": str(self.dags_folder),
                "run_folder": str(self.run_folder),
                "process_id": os.getpid(),
            },
            indent=2,
        )

    @staticmethod
    @contextmanager
    def start(
        *,
        dags: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        installation: Installation | None = None,
        with_scheduler: bool = True,
        forks_commands: bool = False,
        command_api: str = "",
        needs_token: bool = False,
        reads_published: bool = False,
        settings: Settings | None = None,
    ) -> Iterator[Sandbox]:
        """Run a sandbox as long as the ``with`` block lasts.

        Args:
            dags: The DAG folder in the workspace, used as it is; a fresh copy of the good sample DAGs when None.
            host: Address to listen on.
            port: Port to listen on; 0 picks a free one.
            installation: Where Airflow is, and which.
            with_scheduler: Whether DAG runs run, and DAG files are parsed by themselves.
            forks_commands: Whether commands are forks of a process that has imported Airflow: imports are most of a command's
                time. They do the same; a command with settings of its own is never a fork.
            command_api: `/api/v1` or `/api/v2`: where commands are taken; when empty, at the path of Airflow's own REST API.
            needs_token: Whether the login also gives Airflow's own token, without which Airflow answers 401 (Airflow 3).
            reads_published: Whether Airflow reads the published copy of the workspace, in place of the workspace itself.
            settings: What the owner of the instance has set, for all of Airflow's processes and commands.

        Raises:
            NotInstalledError: Airflow is not installed.
            StartError: Airflow did not come up, or the release has no token.
        """
        installation = installation or Installation()
        installation.require()
        if needs_token and not isinstance(installation.release, Airflow3):
            raise StartError(f"Airflow {installation.version} has no token")
        with ExitStack() as stack:
            run_folder = stack.enter_context(_run_folder(installation.runs))
            workspace = Workspace(
                run_folder / "workspace",
                workspace_id=WORKSPACE_ID,
                airflow_id=INSTANCE_ID,
                dags_folder=Path(shutil.copytree(GOOD_DAGS, run_folder / "dags")) if dags is None else dags.resolve(),
                wake=_call_later,
            )
            workspace.publisher.copy_now()
            dags_folder = workspace.publisher.dags if reads_published else workspace.store.dags
            server = stack.enter_context(Server(host, port))
            address = f"{'127.0.0.1' if host == '0.0.0.0' else host}:{server.server_port}"  # noqa: S104 - not bound
            instance = Instance(
                installation,
                folder=run_folder,
                dags_folder=dags_folder,
                base_url=f"http://{address}{PREFIX}",
                with_scheduler=with_scheduler,
                forks_commands=forks_commands,
                settings=settings,
            )
            stack.enter_context(instance)
            journal = Journal(run_folder / "journal.jsonl")
            access_key, temporary_access_key = new_access_key(), new_temporary_access_key()
            openapi = OpenApi([access_key, temporary_access_key], workspace)
            gateway = Gateway(command_api=command_api or installation.release.api, needs_token=needs_token)
            server.front = front = Front(openapi, instance, journal, gateway)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            stack.callback(server.shutdown)
            yield Sandbox(
                address=address,
                access_key=access_key,
                temporary_access_key=temporary_access_key,
                dags_folder=dags_folder,
                run_folder=run_folder,
                airflow_version=installation.version,
                front=front,
                workspace=workspace,
                cloud=stack.enter_context(cloud.serve(openapi.accept, run_folder, host=host)),
            )


def _call_later(seconds: float, function: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


@contextmanager
def _run_folder(runs: Path) -> Iterator[Path]:
    """A new folder for one run. When the run has ended it stays, with its logs, until the next run starts."""
    runs.mkdir(mode=0o700, exist_ok=True)
    with _lock(runs / "lock", fcntl.LOCK_EX):
        for old in runs.glob("*/lock"):
            try:
                with _lock(old, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    shutil.rmtree(old.parent, ignore_errors=True)  # a killed one may still be writing its logs
            except BlockingIOError:  # its sandbox is running
                continue
        folder = Path(tempfile.mkdtemp(dir=runs))
        lock = ExitStack()
        lock.enter_context(_lock(folder / "lock", fcntl.LOCK_EX))
    with lock:
        yield folder


@contextmanager
def _lock(path: Path, operation: int) -> Iterator[None]:
    # Freed by the operating system when the process ends, however it ends.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)
