"""How the sandbox's Airflow is configured: the whole environment of its processes, nothing of the caller's."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class User:
    """An Airflow user."""

    name: str
    password: str


# Guards a throw-away database behind a webserver on loopback; who may come in from outside is the front's business.
ADMIN = User(name="admin", password="sandbox")  # noqa: S106 - see the line above


def base_environment(bin_folder: Path, airflow_home: Path, database: Path) -> dict[str, str]:
    """What every process of Airflow gets."""
    return {
        "PATH": f"{bin_folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(airflow_home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # A module rewritten twice within a second would else be taken from its stale byte code; and the DAG folder,
        # which may be a checkout, stays clean.
        "PYTHONDONTWRITEBYTECODE": "1",
        "AIRFLOW_HOME": str(airflow_home),
        # SQLite waits for the lock instead of failing with "database is locked".
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}?timeout=60",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # The default looks the name up in the network.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    }


def instance_environment(bin_folder: Path, airflow_home: Path, database: Path, dags_folder: Path) -> dict[str, str]:
    """What the processes of one running instance get of whatever release, with a key of its own."""
    return base_environment(bin_folder, airflow_home, database) | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        # Runs the tasks of a DAG side by side and without a new interpreter for each. With write-ahead logging and the
        # time-out above SQLite is good enough for that in a sandbox.
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
    }
