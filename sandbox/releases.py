"""What differs between the releases of Airflow that the sandbox can run. All else is the same code for each."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from sandbox.settings import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sandbox.instance import WebResponse

Header = tuple[str, str]

_JSON = "application/json"
_CSRF_TOKEN = re.compile(r'name="csrf_token" type="hidden" value="([^"]+)"')
# Each command that uses the database does it first: more than half of what a fork of Airflow 3 does.
_CONFIGURE_MODELS = """
from airflow.models import import_all_models
import_all_models()
from sqlalchemy.orm import configure_mappers
configure_mappers()
"""
_CREDENTIAL_SECONDS = 30 * 24 * 60 * 60  # of both releases: what 2.10.4 gives a session unasked


class RefusedError(Exception):
    """Airflow answers, and does not let the administrator in."""


@dataclass(frozen=True, kw_only=True)
class Background:
    """A further process, and its key in the health response."""

    name: str
    arguments: Sequence[str]
    health_key: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What the REST API says to a caller who is not logged in."""

    content_type: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Airflow2:
    """Airflow 2.10: a webserver under gunicorn, a session cookie, a scheduler that parses the DAG files itself."""

    version: str
    api: str = "/api/v1"
    """Path of the REST API, below the instance's prefix."""
    health_path: str = "/health"
    # What `airflow webserver` starts, without its monitor: arguments of the interpreter.
    webserver: Sequence[str] = (
        *("-m", "gunicorn", "airflow.www.app:cached_app()"),
        *("--workers", "1", "--worker-class", "gthread", "--threads", "8", "--timeout", "120"),
        *("--config", "python:airflow.www.gunicorn_config"),
    )
    socket_option: str = "--bind=fd://{}"
    """How the webserver is given its socket, by the number of the file descriptor."""
    background: Sequence[Background] = (
        Background(name="scheduler", arguments=("scheduler", "--skip-serve-logs"), health_key="scheduler"),
    )
    command_imports: str = (
        "import airflow.__main__, airflow.www.app, airflow.decorators, alembic.command, alembic.config\n"
        "import airflow.operators.bash, airflow.operators.empty, airflow.operators.python, airflow.utils.db\n"
        "from airflow.cli.commands import connection_command, dag_command, db_command\n"
        f"from airflow.cli.commands import pool_command, task_command, variable_command\n{_CONFIGURE_MODELS}"
    )
    """What commands import: code for a fork server."""
    forked: Sequence[str] = ("",)
    """How the commands begin that may be forks of it."""

    @property
    def refusal(self) -> Refusal:
        """RFC 7807."""
        reference = f"https://airflow.apache.org/docs/apache-airflow/{self.version}/stable-rest-api-ref.html"
        body = {
            "detail": None,
            "status": 401,
            "title": "Unauthorized",
            "type": f"{reference}#section/Errors/Unauthenticated",
        }
        return Refusal(content_type="application/problem+json", body=json.dumps(body).encode())

    def setup(self) -> Sequence[tuple[Sequence[str], str]]:
        """Tables, administrator, roles: arguments of the commands that make them, each with what it is doing."""
        user = ["--username", ADMIN.name, "--password", ADMIN.password, "--role", "Admin"]
        user += ["--firstname", "Sandbox", "--lastname", "Admin", "--email", "admin@sandbox.invalid"]
        return (
            (("db", "migrate"), "migrating the database"),
            (("users", "create", *user), "creating the administrator"),
            (("sync-perm",), "giving the roles their permissions"),
        )

    def settings(self, _folder: Path, base_url: str, _port: int) -> Mapping[str, str]:
        """Configure the webserver and the scheduler."""
        return {
            # Without it Airflow refuses the LocalExecutor on SQLite.
            "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
            "AIRFLOW__WEBSERVER__BASE_URL": base_url,
            "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_hex(32),
            # The session lives in the cookie that the front keeps: no write to the database for a read of the API.
            "AIRFLOW__WEBSERVER__SESSION_BACKEND": "securecookie",
            # The roles are in the database template already.
            "AIRFLOW__FAB__UPDATE_FAB_PERMS": "False",
            # A new file is seen after 10 s instead of 300 s.
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "10",
        }

    def log_in(self, prefix: str, request: Callable[..., WebResponse]) -> Header | None:
        """Fill in Airflow's own login form: the session is a cookie. None while the webserver is not ready.

        Args:
            prefix: The instance's path.
            request: Sends method, target, headers and body.

        Raises:
            RefusedError: The password was not accepted.
        """
        form = request("GET", f"{prefix}/login/")
        csrf_token = _CSRF_TOKEN.search(form.body.decode())
        if form.status != HTTPStatus.OK or csrf_token is None:
            return None
        fields = {"csrf_token": csrf_token[1], "username": ADMIN.name, "password": ADMIN.password}
        headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Cookie", _session_cookie(form))]
        answer = request("POST", f"{prefix}/login/", headers, urlencode(fields).encode())
        if answer.status != HTTPStatus.FOUND:
            raise RefusedError(f"Airflow refused the administrator's login with {answer.status}")
        return "Cookie", _session_cookie(answer)


@dataclass(frozen=True, kw_only=True)
class Airflow3:
    """Airflow 3: an API server under uvicorn, a JSON Web Token, and a process of its own that parses the DAG files.

    Its users are those of the simple auth manager, which needs neither Flask nor tables.
    """

    version: str
    api: str = "/api/v2"
    health_path: str = "/api/v2/monitor/health"
    # What `airflow api-server` starts.
    webserver: Sequence[str] = ("-m", "uvicorn", "airflow.api_fastapi.main:app", "--workers", "1", "--no-access-log")
    socket_option: str = "--fd={}"
    background: Sequence[Background] = (
        Background(name="dag-processor", arguments=("dag-processor",), health_key="dag_processor"),
        Background(name="scheduler", arguments=("scheduler", "--skip-serve-logs"), health_key="scheduler"),
    )
    # The modules of these commands import alembic, which prints.
    command_imports: str = (
        "import airflow.__main__\n"
        "import_printing(*(f'airflow.cli.commands.{name}_command' for name in 'connection dag db pool task'.split()))\n"
        "import airflow.dag_processing.collection, airflow.sdk, airflow.timetables.trigger\n"
        "from airflow.providers.standard.operators import bash, empty, python, trigger_dagrun\n"
        f"{_CONFIGURE_MODELS}"
    )
    # Those, and those that never import it. Others import it after they have begun, some of them only on some paths.
    forked: Sequence[str] = (
        *("connections", "dags", "db ", "pools", "tasks", "variables get", "variables list", "variables delete"),
        *("cheat-sheet", "config", "info", "plugins", "providers", "version"),
    )
    refusal: Refusal = Refusal(content_type=_JSON, body=b'{"detail":"Not authenticated"}')

    def setup(self) -> Sequence[tuple[Sequence[str], str]]:
        """Tables: there is no more in the database."""
        return ((("db", "migrate"), "migrating the database"),)

    def settings(self, folder: Path, base_url: str, port: int) -> Mapping[str, str]:
        """Configure the API server, its user, and the process that parses."""
        passwords = folder / "passwords.json"
        passwords.write_text(json.dumps({ADMIN.name: ADMIN.password}), encoding="utf-8")
        return {
            "AIRFLOW__API__BASE_URL": base_url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME": str(_CREDENTIAL_SECONDS),
            # Tasks report to the API server itself, past the front.
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}{urlsplit(base_url).path}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN.name}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            # A new file is seen after 10 s instead of 300 s.
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        }

    def log_in(self, prefix: str, request: Callable[..., WebResponse]) -> Header:
        """Request a token, as programs do.

        Raises:
            RefusedError: It was not given.
        """
        fields = {"username": ADMIN.name, "password": ADMIN.password}
        answer = request("POST", f"{prefix}/auth/token", [("Content-Type", _JSON)], json.dumps(fields).encode())
        if answer.status != HTTPStatus.CREATED:
            raise RefusedError(f"Airflow refused the administrator's login with {answer.status}")
        return "Authorization", f"Bearer {json.loads(answer.body)['access_token']}"


Release = Airflow2 | Airflow3

DEFAULT = "2.10.4"
RELEASES: Mapping[str, Release] = {"2.10.4": Airflow2(version="2.10.4"), "3.2.2": Airflow3(version="3.2.2")}


def _session_cookie(response: WebResponse) -> str:
    cookies = [value.partition(";")[0] for name, value in response.headers if name.lower() == "set-cookie"]
    return next(cookie for cookie in cookies if cookie.startswith("session="))
