"""The files of a DMS workspace, in a folder: list, read, save and delete, with DMS's guard by modification time."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sandbox.workspace.behaviour import Behaviour, Unguarded
from sandbox.workspace.forms import in_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CODE = "/Workspace/code"
"""Root of the code in a workspace."""
DAGS_DIR = "default/dags"

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class WorkspaceError(Exception):
    """A call that DMS answers with an error: its code and its text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class MissingError(WorkspaceError):
    """The file or folder does not exist."""

    def __init__(self, path: str) -> None:
        super().__init__("PathNotExist", f"{path} does not exist.")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a folder's list; times in nanoseconds since 1970."""

    name: str
    is_folder: bool
    size: int
    mtime_ns: int
    link: str


class WorkspaceStore:
    """The workspace's files. Paths are DMS's: `/Workspace/code/…`.

    Args:
        folder: Holds the files; created.
        dags_dir: The instance's DAG folder below the root of the code.
        dags_folder: An existing folder to be that DAG folder; None: it is in `folder`.
        behaviour: The knobs; may be replaced at any time.
        clock_ns: Gives each save its modification time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dags_dir: str = DAGS_DIR,
        dags_folder: Path | None = None,
        behaviour: Behaviour | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self.code = folder / "code"
        self.dags_dir = dags_dir
        self.dags = dags_folder or self.code / dags_dir
        self.behaviour = behaviour or Behaviour()
        self.clock_ns = clock_ns
        self.repositories: list[str] = []
        """Folders of bound repositories."""
        self.lock = threading.RLock()
        (self.code / dags_dir).mkdir(parents=True, exist_ok=True)

    @property
    def dags_path(self) -> str:
        """The DAG folder's path in the workspace."""
        return f"{CODE}/{self.dags_dir}"

    def locate(self, path: str) -> Path:
        """Find a file of the workspace on this machine, whether it exists or not.

        Raises:
            WorkspaceError: The path is not one of the workspace's code.
        """
        parts = PurePosixPath(path).parts
        if parts[:3] != ("/", "Workspace", "code") or ".." in parts or path != path.strip():
            raise WorkspaceError("InvalidPath", f"The path {path} is not below {CODE}/.")
        below = PurePosixPath(*parts[3:])
        if below.is_relative_to(self.dags_dir):
            return self.dags / below.relative_to(self.dags_dir)
        return self.code / below

    def files(self, path: str = CODE) -> Mapping[str, bytes]:
        """Give the content of every file below a folder, by its path in the workspace; links to files count as files."""
        with self.lock:
            found: dict[str, bytes] = {}
            for entry in self.list_folder(path):
                child = f"{path}/{entry.name}"
                if entry.is_folder:
                    found |= {} if entry.link else self.files(child)
                elif self.locate(child).exists():
                    found[child] = self.locate(child).read_bytes()
            return found

    def edit(self, path: str, text: str | None) -> None:
        """Write or (None) delete a file as a second writer does: no knob holds for it, and its time is the store's clock's."""
        with self.lock:
            file = self.locate(path)
            if text is None:
                file.unlink()
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            self._write(file, text)

    def list_folder(self, path: str) -> list[Entry]:
        """List a folder, or a file alone.

        Raises:
            MissingError: There is neither.
        """
        with self.lock:
            location = self.locate(path)
            if not location.exists():
                raise MissingError(path)
            children = sorted(location.iterdir()) if location.is_dir() else [location]
            return [_describe(child) for child in children]

    def read(self, path: str) -> tuple[bytes, int]:
        """Give a file's content and its modification time.

        Raises:
            MissingError: There is no such file.
        """
        with self.lock:
            file = self.locate(path)
            if not file.is_file():
                raise MissingError(path)
            return file.read_bytes(), file.stat().st_mtime_ns

    def save(self, path: str, text: str, *, mtime: str = "", force: bool = False) -> None:
        """Write a file.

        Args:
            path: Its path in the workspace.
            text: Its content.
            mtime: What the caller believes its modification time to be; empty: not given.
            force: Overwrite whatever the modification time is.

        Raises:
            WorkspaceError: It was changed since, or is refused by one of the knobs.
        """
        with self.lock:
            file = self.locate(path)
            self._check_content(path, text)
            self._check_place(path, file)
            if not force:
                self._check_unchanged(path, file, mtime)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._write(file, self.behaviour.stores(text))

    def delete(self, path: str, *, symlink: bool = False) -> None:
        """Delete a file, a folder with all in it, or a link.

        Raises:
            WorkspaceError: It does not exist, or is a link and the caller does not say so, or the other way round.
        """
        with self.lock:
            location = self.locate(path)
            if location == self.code:
                raise WorkspaceError("InvalidPath", f"{path} cannot be deleted.")
            if location.is_symlink() != symlink and os.path.lexists(location):
                raise WorkspaceError("InvalidParameter", f"{path} is {'no' if symlink else 'a'} symbolic link.")
            if location.is_dir() and not symlink:
                shutil.rmtree(location)
            elif os.path.lexists(location):
                location.unlink()
            elif not self.behaviour.deletes_missing:
                raise MissingError(path)

    def is_in_repository(self, path: str) -> bool:
        """Whether this path is the folder of a bound repository, or in one."""
        return any(PurePosixPath(path).is_relative_to(f"{CODE}/{folder.strip('/')}") for folder in self.repositories)

    def _check_content(self, path: str, text: str) -> None:
        if self.behaviour.refuses_control_characters and _CONTROL_CHARACTERS.search(text):
            raise WorkspaceError("InvalidContent", f"The content of {path} is not a text.")
        limit = self.behaviour.largest_file
        if limit is not None and len(text.encode()) > limit:
            raise WorkspaceError("ContentTooLarge", f"The content of {path} exceeds {limit} bytes.")

    def _check_place(self, path: str, file: Path) -> None:
        if file.is_dir():
            raise WorkspaceError("InvalidPath", f"{path} is a folder.")
        if not file.parent.is_dir() and not self.behaviour.creates_folders:
            raise WorkspaceError("PathNotExist", f"The folder of {path} does not exist.")
        if self.is_in_repository(path) and not self.behaviour.saves_in_repositories:
            raise WorkspaceError("RepoReadOnly", f"{path} belongs to a Git repository.")

    def _check_unchanged(self, path: str, file: Path, mtime: str) -> None:
        behaviour = self.behaviour
        if not file.exists():
            if mtime:
                raise WorkspaceError(behaviour.conflict_code, f"{path} has been deleted by another user.")
            return
        time_ns = file.stat().st_mtime_ns
        forms = (behaviour.expected_mtime,) if behaviour.expected_mtime else (behaviour.mtime_format, in_seconds)
        if mtime and mtime not in [form(time_ns) for form in forms]:
            raise WorkspaceError(behaviour.conflict_code, f"{path} has been modified by another user.")
        if not mtime and behaviour.unguarded is Unguarded.REFUSED:
            raise WorkspaceError("FileExists", f"{path} exists already.")

    def _write(self, file: Path, text: str) -> None:
        # Airflow may be reading the folder: the file is whole from the moment when it has its name.
        temporary = self._folder / "saving"
        temporary.write_bytes(text.encode())
        os.utime(temporary, ns=(time_ns := self.clock_ns(), time_ns))
        shutil.move(temporary, file.resolve())


def _describe(path: Path) -> Entry:
    stat = path.stat() if path.exists() else path.lstat()
    return Entry(
        name=path.name,
        is_folder=path.is_dir(),
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        link=str(path.readlink()) if path.is_symlink() else "",
    )
