"""Stores a session for later steps of the same job, in a file that no other user can read or write.

The file is in a folder of its own under RUNNER_TEMP, which GitHub's runner empties before and after each job. Its name is a
hash of endpoint, instance and credential identity, so that another step finds the session of its own identity only.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from dms_airflow.core.clock import Clock
from dms_airflow.core.files import change_owner
from dms_airflow.core.log import Log

FOLDER = "dms-airflow-sessions"

# As long as an unused login token lives. An older session is not worth a first request that may be refused.
LIFETIME = timedelta(hours=2)

LONGEST = 64 * 1024  # bytes


class SessionFile:
    """The kept session of one identity with one instance, below the runner's folder for temporary files.

    `key` is what must be the same for a session to be one's own: endpoint, instance, identity. Nothing of it is written.
    """

    def __init__(self, temp: Path, key: Iterable[str], *, clock: Clock, log: Log) -> None:
        self._folder = temp / FOLDER
        self._path = self._folder / f"{hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()}.json"
        self._clock = clock
        self._log = log

    def read(self) -> StoredSession | None:
        """Give the session that an earlier step kept; None when there is none, or one that somebody else may have touched."""
        try:
            if not _is_private(self._folder.lstat(), self._folder, is_kind=stat.S_ISDIR):
                return None
            # Does not follow links, and checks the open file: between a check and the opening it could be replaced.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a path has no descriptor
                if not _is_private(os.fstat(descriptor), self._folder, is_kind=stat.S_ISREG):
                    return None
                content = json.loads(file.read(LONGEST))
            opened = datetime.fromisoformat(content["opened"])
            host, cookie, bearer, version = (content[name] for name in ("host", "cookie", "bearer", "version"))
            age = self._clock.time_of_day() - opened
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None
        texts = (host, cookie, bearer, version)
        is_whole = all(isinstance(text, str) and text.isascii() and text.isprintable() for text in texts) and host and cookie
        if not is_whole or not timedelta() <= age < LIFETIME:
            return None
        return StoredSession(host=host, cookie=cookie, bearer=bearer, version=version)

    def write(self, session: StoredSession) -> None:
        """Store a session in place of the former one. If that fails, later steps log in again."""
        text = json.dumps({**asdict(session), "opened": self._clock.time_of_day().isoformat()})
        draft = self._folder / f"{secrets.token_hex(8)}.tmp"
        try:
            with suppress(FileExistsError):
                self._folder.mkdir(mode=0o700)
                change_owner(self._folder.parent, self._folder)
            if not _is_private(self._folder.lstat(), self._folder, is_kind=stat.S_ISDIR):
                self._log.info(f"The session is not stored: other users can write to {self._folder}.")
                return
            try:
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
                    file.write(text)
                change_owner(self._folder.parent, draft)
                draft.replace(self._path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            self._log.info(f"The session is not stored: {error.strerror}.")


def _is_private(found: os.stat_result, folder: Path, *, is_kind: Callable[[int], bool]) -> bool:
    """Whether it is of this kind, and only the runner and this process can read or write it."""
    owners = {os.geteuid(), folder.parent.stat().st_uid}
    return is_kind(found.st_mode) and found.st_uid in owners and not found.st_mode & 0o077


@dataclass(frozen=True, kw_only=True)
class StoredSession:
    """A session for a later step of the job."""

    host: str
    cookie: str = field(repr=False)
    bearer: str = field(default="", repr=False)
    """The bearer token; empty if there is none."""
    version: str = ""
    """Airflow's version; empty if it is not known."""
