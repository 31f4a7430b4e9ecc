"""The processes of one Airflow instance: webserver, scheduler, and a command line for each command asked for."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from sandbox.processes import GuardedProcess
from sandbox.settings import ADMIN, instance_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import IO, Self

    from sandbox.installation import Installation

_CSRF_TOKEN = re.compile(r'name="csrf_token" type="hidden" value="([^"]+)"')
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 120.0


class StartError(Exception):
    """Airflow did not come up; the text holds the end of its log."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command of Airflow's command line left behind."""

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
    ) -> None:
        self.dags_folder = dags_folder
        self._prefix = urlsplit(base_url).path
        self._bin = installation.bin
        self._folder = folder
        self._with_scheduler = with_scheduler
        database = folder / "airflow.db"
        shutil.copyfile(installation.database_template, database)
        # An empty file keeps Airflow from writing one: its defaults and the environment are the configuration.
        (folder / "airflow.cfg").touch()
        self._environment = instance_environment(installation.bin, folder, database, dags_folder, base_url)
        self._lock = threading.Lock()
        self._processes: list[GuardedProcess] = []
        self._webserver: GuardedProcess | None = None
        self._is_stopping = False
        self._port = 0
        self._cookie = ""

    def __enter__(self) -> Self:
        """Start the processes and wait until the instance serves requests and knows its DAGs.

        Raises:
            StartError: A process ended or was not ready in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        try:
            webserver = self._start_webserver()
            parse = self._start("reserialize", [self._bin / "airflow", "dags", "reserialize"])
            self._await("webserver", webserver, self._log_in, deadline)
            # Whatever it says: an instance whose DAG files are broken is an instance, too.
            self._await("reserialize", parse, lambda: parse.exit_code() is not None, deadline)
            self._forget(parse)
            if self._with_scheduler:
                # Not sooner: on SQLite its first parse and the one above would wait for each other.
                scheduler = self._start("scheduler", [self._bin / "airflow", "scheduler", "--skip-serve-logs"])
                self._await("scheduler", scheduler, self._is_scheduler_healthy, deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        self.stop()

    def restart_webserver(self) -> None:
        """End the webserver, and start another one. Until that serves, requests meet a bad gateway.

        Raises:
            StartError: It was not ready in time.
        """
        if self._webserver:
            self._forget(self._webserver)
        self._cookie = ""
        self._await("webserver", self._start_webserver(), self._log_in, time.monotonic() + _START_SECONDS)

    def stop(self) -> None:
        """End every process of the instance, running commands included."""
        with self._lock:
            self._is_stopping = True
            processes, self._processes = self._processes, []
        for process in processes:
            process.ask_to_end()
        for process in processes:
            process.stop()

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Run ``airflow`` with these arguments until it ends, however long that takes."""
        started = time.monotonic()
        with tempfile.TemporaryFile(dir=self._folder) as stdout, tempfile.TemporaryFile(dir=self._folder) as stderr:
            process = self._spawn([self._bin / "airflow", *arguments], stdout=stdout, stderr=stderr)
            exit_code = process.wait()
            seconds = time.monotonic() - started
            self._forget(process)
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
        timeout_seconds: float = 120.0,
    ) -> WebResponse:
        """Send a request to the webserver as the administrator.

        Args:
            method: HTTP method.
            target: Path with the prefix, and query.
            headers: Without Cookie, Authorization and Connection.
            body: Sent as it is.
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
            if self._cookie:
                connection.putheader("Cookie", self._cookie)
            connection.endheaders(body or None)
            response = connection.getresponse()
            return WebResponse(status=response.status, headers=response.getheaders(), body=response.read())
        finally:
            connection.close()

    def _start_webserver(self) -> GuardedProcess:
        # What `airflow webserver` starts, less its monitor, and on a socket that is ours: no port to race for.
        with socket.create_server((_LOOPBACK, 0)) as listener:
            self._port = listener.getsockname()[1]
            command: list[str | Path] = [self._bin / "python", "-m", "gunicorn", "airflow.www.app:cached_app()"]
            command += ["--workers", "1", "--worker-class", "gthread", "--threads", "8", "--timeout", "120"]
            command += ["--config", "python:airflow.www.gunicorn_config", "--bind", f"fd://{listener.fileno()}"]
            self._webserver = self._start("webserver", command, (listener.fileno(),))
            return self._webserver

    def _log_in(self) -> bool:
        """Fill in Airflow's own login form; False while the webserver does not answer yet."""
        login = f"{self._prefix}/login/"
        try:
            form = self.request("GET", login, timeout_seconds=2.0)
            csrf_token = _CSRF_TOKEN.search(form.body.decode())
            if form.status != HTTPStatus.OK or csrf_token is None:
                return False
            self._cookie = _session_cookie(form)
            fields = {"csrf_token": csrf_token[1], "username": ADMIN.name, "password": ADMIN.password}
            content_type = ("Content-Type", "application/x-www-form-urlencoded")
            answer = self.request("POST", login, [content_type], urlencode(fields).encode())
        except (OSError, http.client.HTTPException):
            return False
        if answer.status != HTTPStatus.FOUND:
            raise StartError(f"Airflow refused the administrator's login with {answer.status}")
        self._cookie = _session_cookie(answer)
        return True

    def _is_scheduler_healthy(self) -> bool:
        health = json.loads(self.request("GET", f"{self._prefix}/health").body)
        return bool(health["scheduler"]["status"] == "healthy")

    def _await(self, name: str, process: GuardedProcess, is_ready: Callable[[], bool], deadline: float) -> None:
        while not is_ready():
            exit_code = process.exit_code()
            if exit_code is not None or time.monotonic() > deadline:
                why = "was not ready in time" if exit_code is None else f"ended with {exit_code}"
                tail = self._log(name).read_text(encoding="utf-8", errors="replace")[-3000:]
                raise StartError(f"Airflow's {name} {why}; the end of its log:\n{tail}")
            time.sleep(0.1)

    def _start(self, name: str, command: Sequence[str | Path], file_descriptors: Sequence[int] = ()) -> GuardedProcess:
        with self._log(name).open("wb") as log:
            return self._spawn(command, stdout=log, stderr=log, file_descriptors=file_descriptors)

    def _spawn(
        self,
        command: Sequence[str | Path],
        *,
        stdout: IO[bytes],
        stderr: IO[bytes],
        file_descriptors: Sequence[int] = (),
    ) -> GuardedProcess:
        with self._lock:
            if self._is_stopping:
                raise StartError("the instance is stopping")
            process = GuardedProcess(
                command,
                environment=self._environment,
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


def _session_cookie(response: WebResponse) -> str:
    cookies = [value.partition(";")[0] for name, value in response.headers if name.lower() == "set-cookie"]
    return next(cookie for cookie in cookies if cookie.startswith("session="))
