"""How the sandbox's Airflow is configured: the whole environment of its processes, with nothing of the caller's."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class User:
    """An Airflow user."""

    name: str
    password: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an instance's owner sets: variables of the environment, and files.

    Args:
        variables: `AIRFLOW__…` and others; `{folder}` in a value becomes the folder of the files.
        files: Text by name. The folder is on Python's path: Airflow finds `airflow_local_settings.py` and what
            `logging_config_class` names.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: Settings) -> Settings:
        """Add other settings; where both say something, the other one counts."""
        return Settings(variables={**self.variables, **other.variables}, files={**self.files, **other.files})

    def write(self, folder: Path) -> Mapping[str, str]:
        """Write the files into a new folder; return the variables."""
        folder.mkdir()
        for name, text in self.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        path = {"PYTHONPATH": str(folder)} if self.files else {}
        return {**path, **{name: value.replace("{folder}", str(folder)) for name, value in self.variables.items()}}


def second_bundle(name: str, folder: Path) -> Settings:
    """Airflow 3: DAG files of another bundle, besides those of `dags-folder`."""
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [{"name": "dags-folder", "classpath": local, "kwargs": {}}]
    bundles += [{"name": name, "classpath": local, "kwargs": {"path": str(folder)}}]
    return Settings(variables={"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles)})


def local_secrets(variables: Mapping[str, str], connections: Mapping[str, str]) -> Settings:
    """Variables, and connections as URIs, in a secrets backend: no list of Airflow's shows them.

    https://airflow.apache.org/docs/apache-airflow/stable/security/secrets/secrets-backend/local-filesystem-secrets-backend.html
    """
    files = {"variables.json": json.dumps(variables), "connections.json": json.dumps(connections)}
    paths = {f"{name.removesuffix('.json')}_file_path": f"{{folder}}/{name}" for name in files}
    settings = {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(paths),
    }
    return Settings(variables=settings, files=files)


# For a temporary database and a webserver on loopback; the front decides about callers from outside.
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
        # The default sends a request to a name server.
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
