"""A real Airflow in an environment of its own, with a migrated database to copy for each sandbox."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.releases import DEFAULT, RELEASES
from sandbox.settings import base_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sandbox.releases import Release

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_HOME = PROJECT / ".sandbox"
VERSION_VARIABLE = "SANDBOX_AIRFLOW"
SUPPORTED_PYTHONS = ((3, 11), (3, 12))


class NotInstalledError(Exception):
    """Airflow is not there, or not the one that the lock file names."""


class InstallError(Exception):
    """The installation cannot be done or did not succeed; the text says what to do."""


def wanted_version(environ: Mapping[str, str] = os.environ) -> str:
    """The release that the environment asks for."""
    return environ.get(VERSION_VARIABLE) or DEFAULT


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Where things are under the sandbox's home.

    Raises:
        InstallError: The sandbox cannot run this release.
    """

    home: Path = DEFAULT_HOME
    version: str = field(default_factory=wanted_version)

    def __post_init__(self) -> None:
        """Refuse a release that there is no lock file for."""
        if self.version not in RELEASES:
            raise InstallError(f"{VERSION_VARIABLE}={self.version}: the sandbox runs Airflow {' or '.join(RELEASES)}.")

    @property
    def release(self) -> Release:
        """What is particular to this release."""
        return RELEASES[self.version]

    @property
    def lock(self) -> Path:
        """The file that names every package, with its hash."""
        return Path(__file__).with_name(f"requirements-airflow-{self.version}.txt")

    @property
    def folder(self) -> Path:
        """Airflow's virtual environment."""
        return self.home / f"airflow-{self.version}"

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.folder / "bin"

    @property
    def database_template(self) -> Path:
        """A migrated SQLite database that holds the administrator at most."""
        return self.folder / "template.db"

    @property
    def runs(self) -> Path:
        """The folder with one folder for each running sandbox."""
        return self.home / "runs"

    def require(self) -> None:
        """Do nothing when Airflow is there.

        Raises:
            NotInstalledError: It is not; the text names the command that installs it.
        """
        if _read_marker(self).get("lock") != _lock_digest(self):
            raise NotInstalledError(
                f"The sandbox's Airflow is not installed in {self.folder}: "
                f"run `make sandbox {VERSION_VARIABLE}={self.version}` (about a minute)."
            )


def install(installation: Installation, report: Callable[[str], None]) -> None:
    """Install Airflow from the lock file and prepare its database; do nothing when that was done before.

    Args:
        installation: Where to.
        report: Takes one line of progress at a time.

    Raises:
        InstallError: Python is too old or too new for this Airflow, or pip or the migration failed.
    """
    airflow = f"Airflow {installation.version}"
    wanted = {"lock": _lock_digest(installation), "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    installation.home.mkdir(parents=True, exist_ok=True)
    with _exclusive(installation.home / "install.lock"):
        can_install = sys.version_info[:2] in SUPPORTED_PYTHONS
        marker = _read_marker(installation)
        if marker == wanted or (marker.get("lock") == wanted["lock"] and not can_install):
            report(f"{airflow} is already installed in {installation.folder}.")
            return
        if not can_install:
            raise InstallError(
                f"{airflow} needs Python 3.11 or 3.12, this is {wanted['python']}. Install with one of these, "
                "e.g. `make sandbox PYTHON=python3.12`; any Python can start the sandbox then."
            )
        started = time.monotonic()
        report(f"Installing {airflow} into {installation.folder}: a minute or two, once; downloads 55 MB, takes 280 MB.")
        _install_packages(installation)
        report("Migrating the database ...")
        _prepare_database(installation)
        _marker(installation).write_text(json.dumps(wanted), encoding="utf-8")
        report(f"Installed in {time.monotonic() - started:.0f} s.")


def _install_packages(installation: Installation) -> None:
    script, build = PROJECT / "scripts" / "install.py", PROJECT / "requirements-build.txt"
    command: list[str | Path] = [sys.executable, "-I", script, installation.folder, build, installation.lock]
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise InstallError(f"Airflow {installation.version} is not installed; the reason is printed above.")


def _prepare_database(installation: Installation) -> None:
    home = installation.folder / "template-home"
    home.mkdir()
    (home / "airflow.cfg").touch()
    database = home / "airflow.db"
    environment = base_environment(installation.bin, home, database)
    for arguments, what in installation.release.setup():
        _run([installation.bin / "airflow", *arguments], what, environment)
    with closing(sqlite3.connect(database)) as connection:
        # Kept in the file: readers and a writer do not block each other.
        connection.execute("PRAGMA journal_mode=WAL")
    database.replace(installation.database_template)
    shutil.rmtree(home)


def _run(command: list[str | Path], what: str, environment: dict[str, str] | None = None) -> None:
    completed = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if completed.returncode != 0:
        raise InstallError(f"{what} ended with {completed.returncode}:\n{completed.stdout[-3000:]}")


def _marker(installation: Installation) -> Path:
    return installation.folder / "installed.json"


def _read_marker(installation: Installation) -> dict[str, str]:
    # The interpreter is a link: it dangles when the Python it was made from is gone.
    if not (_marker(installation).exists() and (installation.bin / "python").exists()):
        return {}
    marker: dict[str, str] = json.loads(_marker(installation).read_text(encoding="utf-8"))
    return marker


def _lock_digest(installation: Installation) -> str:
    return hashlib.sha256(installation.lock.read_bytes()).hexdigest()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
