"""The processes of one Airflow instance: webserver, scheduler and the like, and one for each command."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sandbox.forks import ForkServer, name_server
from sandbox.processes import GuardedProcess
from sandbox.releases import RefusedError
from sandbox.settings import Settings, instance_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO, Self

    from sandbox.installation import Installation
    from sandbox.releases import Background, Header

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 600.0  # on a busy machine; what has ended is not waited for


class StartError(Exception):
    """Airflow did not come up; the text holds the end of its log."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """Output and exit status of a command of Airflow's command line."""

    stdout: str
    stderr: str
    exit_code: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class WebResponse:
    """An answer of Airflow's webserver, unchanged."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class Instance:
    """One Airflow with its own folder, database and DAG folder. A context manager: leaving it ends every process."""

    def __init__(
        self,
        installation: Installation,
        *,
        folder: Path,
        dags_folder: Path,
        base_url: str,
        with_scheduler: bool,
        forks_commands: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self.dags_folder = dags_folder
        self.release = installation.release
        self._prefix = urlsplit(base_url).path
        self._bin = installation.bin
        self._folder = folder
        self._with_scheduler = with_scheduler
        self._forks_commands = forks_commands
        self._fork_server: ForkServer | None = None
        database = folder / "airflow.db"
        shutil.copyfile(installation.database_template, database)
        # An empty file keeps Airflow from writing one: its defaults and the environment are the configuration.
        (folder / "airflow.cfg").touch()
        # On a socket that is ours: no port to race for. Closed when the webserver has it.
        self._listener = socket.create_server((_LOOPBACK, 0))
        self._port = self._listener.getsockname()[1]
        self._environment = {
            **instance_environment(installation.bin, folder, database, dags_folder),
            **self.release.settings(folder, base_url, self._port),
            **(settings or Settings()).write(folder / "settings"),
        }
        self._command_variables: Mapping[str, str] = {}
        self._lock = threading.Lock()
        self._processes: list[GuardedProcess] = []
        self._webserver: GuardedProcess | None = None
        self._is_stopping = False
        self._credential: Header | None = None

    def __enter__(self) -> Self:
        """Start the processes and wait until the instance serves requests and knows its DAGs.

        Raises:
            StartError: A process ended or was not ready in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        try:
            webserver = self._start_webserver(self._listener)
            if self._forks_commands:
                self._fork_server = self._start_fork_server()
            # Whatever it says: an instance whose DAG files are broken is an instance, too.
            self.run_command(["dags", "reserialize"])
            self._await("webserver", webserver, self._log_in, deadline)
            if self._with_scheduler:
                # Not sooner: on SQLite the first parse and the one above would wait for each other.
                started = [(one, self._start_background(one)) for one in self.release.background]
                for one, process in started:
                    self._await(one.name, process, partial(self._is_healthy, one), deadline)
                    threading.Thread(target=self._supervise, args=(one, process), daemon=True).start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        self.stop()

    def stop_webserver(self) -> None:
        """End the webserver: requests meet a bad gateway."""
        if self._webserver:
            self._forget(self._webserver)

    def start_webserver(self) -> None:
        """Start a webserver after the one that was stopped. Until it serves, requests wait.

        Raises:
            StartError: It was not ready in time.
        """
        listener = socket.create_server((_LOOPBACK, self._port))
        self._await("webserver", self._start_webserver(listener), self._log_in, time.monotonic() + _START_SECONDS)

    def stop(self) -> None:
        """End every process of the instance, running commands included."""
        self._listener.close()
        if self._fork_server:
            self._fork_server.close()
        with self._lock:
            self._is_stopping = True
            processes, self._processes = self._processes, []
        for process in processes:
            process.ask_to_end()
        for process in processes:
            process.stop()

    @contextmanager
    def command_settings(self, settings: Settings) -> Iterator[None]:
        """Let commands that start within the ``with`` block have further settings; the running processes keep theirs."""
        self._command_variables = settings.write(Path(tempfile.mkdtemp(dir=self._folder)) / "settings")
        try:
            yield
        finally:
            self._command_variables = {}

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Run ``airflow`` with these arguments until it ends, however long that takes."""
        started = time.monotonic()
        with tempfile.TemporaryFile(dir=self._folder) as stdout, tempfile.TemporaryFile(dir=self._folder) as stderr:
            is_forked = " ".join(arguments).startswith(tuple(self.release.forked)) and not self._command_variables
            if self._fork_server and is_forked:
                exit_code = self._run_fork(self._fork_server, arguments, stdout, stderr)
            else:
                command: list[str | Path] = [self._bin / "airflow", *arguments]
                process = self._spawn(command, stdout=stdout, stderr=stderr, variables=self._command_variables)
                exit_code = process.wait()
                self._forget(process)
            seconds = time.monotonic() - started
            stdout.seek(0)
            stderr.seek(0)
            return CommandResult(
                stdout=stdout.read().decode(errors="replace"),
                stderr=stderr.read().decode(errors="replace"),
                exit_code=exit_code,
                seconds=round(seconds, 3),
            )

    def request(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        as_admin: bool = True,
        timeout_seconds: float = 120.0,
    ) -> WebResponse:
        """Send a request to the webserver.

        Args:
            method: HTTP method.
            target: Path with the prefix, and query.
            headers: Without Connection and, as the administrator, without Cookie and Authorization.
            body: Sent as it is.
            as_admin: Whether to send the administrator's credential along.
            timeout_seconds: How long the webserver may be silent.

        Raises:
            OSError, http.client.HTTPException: The webserver does not answer.
        """
        connection = http.client.HTTPConnection(_LOOPBACK, self._port, timeout=timeout_seconds)
        try:
            has_host = any(name.lower() == "host" for name, _ in headers)
            connection.putrequest(method, target, skip_host=has_host, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body and not any(name.lower() == "content-length" for name, _ in headers):
                connection.putheader("Content-Length", str(len(body)))
            if as_admin and self._credential:
                connection.putheader(*self._credential)
            connection.endheaders(body or None)
            response = connection.getresponse()
            return WebResponse(status=response.status, headers=response.getheaders(), body=response.read())
        finally:
            connection.close()

    def new_credential(self, timeout_seconds: float = 120.0) -> Header:
        """Log the administrator in once more.

        Raises:
            OSError, http.client.HTTPException: The webserver does not answer.
            StartError: It is not ready.
        """
        request = partial(self.request, as_admin=False, timeout_seconds=timeout_seconds)
        credential = self.release.log_in(self._prefix, request)
        if credential is None:
            raise StartError("Airflow's webserver is not ready")
        return credential

    def _start_background(self, background: Background) -> GuardedProcess:
        return self._start(background.name, [self._bin / "airflow", *background.arguments])

    def _supervise(self, background: Background, process: GuardedProcess) -> None:
        """Start a process again when it has ended, as every Airflow in production has it.

        The dag-processor of Airflow 3 ends when a command stores a new DAG at the same moment:
        https://github.com/apache/airflow/issues/68263
        """
        with suppress(StartError):  # the instance is stopping
            while True:
                process.wait()
                self._forget(process)
                process = self._start_background(background)

    def _start_webserver(self, listener: socket.socket) -> GuardedProcess:
        with listener:
            descriptor = listener.fileno()
            command: list[str | Path] = [self._bin / "python", *self.release.webserver]
            command.append(self.release.socket_option.format(descriptor))
            self._webserver = self._start("webserver", command, (descriptor,))
            return self._webserver

    def _start_fork_server(self) -> ForkServer:
        """Start a process that imports Airflow's command line, and forks to run it.

        Raises:
            StartError: It has ended, or printed something, which its forks would not print.
        """
        link, theirs = socket.socketpair()
        with theirs:
            server = name_server(theirs.fileno(), self._bin / "airflow", self.release.command_imports)
            # The Python that the script names, which is elsewhere when the folder of the environment is a link.
            self._start("commands", [self._bin.resolve() / "python", *server], (theirs.fileno(),))
        try:
            fork_server = ForkServer(link)
        except ValueError as error:
            raise StartError(f"No fork server: {self._log('commands').read_text(encoding='utf-8')}") from error
        if printed := self._log("commands").read_text(encoding="utf-8"):
            raise StartError(f"Airflow prints when it is imported, which forks would not do:\n{printed}")
        return fork_server

    def _run_fork(self, server: ForkServer, arguments: Sequence[str], stdout: IO[bytes], stderr: IO[bytes]) -> int:
        try:
            fork = server.fork(
                arguments,
                environ=self._environment,
                folder=self._folder,
                stdout=stdout.fileno(),
                stderr=stderr.fileno(),
            )
            exit_code = fork.wait()
        except ConnectionError as error:
            raise StartError("the instance is stopping") from error
        return exit_code if exit_code >= 0 else 128 - exit_code

    def _log_in(self) -> bool:
        """Log the administrator in; False while the webserver does not answer yet."""
        try:
            self._credential = self.new_credential(timeout_seconds=5.0)
        except RefusedError as error:
            raise StartError(str(error)) from error
        except (OSError, http.client.HTTPException, StartError):
            return False
        return True

    def is_healthy(self) -> bool:
        """Whether scheduler and dag-processor report that they are healthy."""
        return all(map(self._is_healthy, self.release.background))

    def _is_healthy(self, background: Background) -> bool:
        health = json.loads(self.request("GET", f"{self._prefix}{self.release.health_path}").body)
        return bool(health[background.health_key]["status"] == "healthy")

    def _await(self, name: str, process: GuardedProcess, is_ready: Callable[[], bool], deadline: float) -> None:
        while not is_ready():
            exit_code = process.exit_code()
            if exit_code is not None or time.monotonic() > deadline:
                why = "was not ready in time" if exit_code is None else f"ended with {exit_code}"
                tail = self._log(name).read_text(encoding="utf-8", errors="replace")[-3000:]
                raise StartError(f"Airflow's {name} {why}; the end of its log:\n{tail}")
            time.sleep(0.1)

    def _start(self, name: str, command: Sequence[str | Path], file_descriptors: Sequence[int] = ()) -> GuardedProcess:
        with self._log(name).open("ab") as log:
            return self._spawn(command, stdout=log, stderr=log, file_descriptors=file_descriptors)

    def _spawn(
        self,
        command: Sequence[str | Path],
        *,
        stdout: IO[bytes],
        stderr: IO[bytes],
        file_descriptors: Sequence[int] = (),
        variables: Mapping[str, str] | None = None,
    ) -> GuardedProcess:
        with self._lock:
            if self._is_stopping:
                raise StartError("the instance is stopping")
            process = GuardedProcess(
                command,
                environment={**self._environment, **(variables or {})},
                folder=self._folder,
                stdout=stdout,
                stderr=stderr,
                file_descriptors=file_descriptors,
            )
            self._processes.append(process)
        return process

    def _forget(self, process: GuardedProcess) -> None:
        process.stop()
        with self._lock:
            if process in self._processes:  # not when stop() took it over
                self._processes.remove(process)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
