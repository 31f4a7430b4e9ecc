"""The files of the author's checkout, walked once, and never left: what a link leads out of it for is not there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Folders that hold no source of the author's.
_SKIPPED = frozenset({".git", ".hg", ".svn", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__", "site-packages"})

# The file that makes a folder a virtual environment.
_ENVIRONMENT = "pyvenv.cfg"

# Surrogates: what is no Unicode text cannot be written to a workflow command.
_UNPRINTABLE = re.compile("[\ud800-\udfff]")

_BIGGEST_SOURCE = 2_000_000  # bytes; a bigger file is not read for its lines


@dataclass(kw_only=True)
class _Walk:
    """What a walk met. A folder is written as "dags/team/", the root as ""."""

    files: dict[str, list[str]] = field(default_factory=dict)  # names, by their folder; links to files among them
    links: dict[str, str] = field(default_factory=dict)  # symbolic links to files of the checkout, and the files
    linked_folders: bool = False  # whether there are links that it did not follow


class SourceTree:
    """The files below a folder; symbolic links are followed as long as they stay below it.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._name_sets: dict[str, frozenset[str]] = {}

    def find_folders(self, names: set[str]) -> dict[str, list[str]]:
        """Find the folders of the files of some names: ``{"etl.py": ["dags/team/"]}``."""
        found: dict[str, list[str]] = {name: [] for name in names}
        for folder, there in self._walk.files.items():
            for name in names.intersection(there):
                found[name].append(folder)
        return found

    def list_files(self, folder: str = "") -> list[str]:
        """List the files below a folder, sorted; a file that two links lead to stands twice."""
        prefix = f"{folder}/" if folder else ""
        files = self._walk.files.items()
        return sorted(f"{path}{name}" for path, names in files if path.startswith(prefix) for name in names)

    def find_file(self, folder: str, name: str) -> str | None:
        """Give the file of a name in a folder ("dags/team/"), as its path with `/`, links followed; None when there is none."""
        names = self._name_sets.get(folder)
        if names is None:
            names = self._name_sets[folder] = frozenset(self._walk.files.get(folder, ()))
        path = folder + name
        if name in names:
            return self._walk.links.get(path, path)
        return self._resolve(path) if self._walk.linked_folders and not _SKIPPED.intersection(path.split("/")) else None

    def find_folder(self, path: str) -> tuple[str, ...] | None:
        """Give a folder as names; None when there is no such folder, or not below the root."""
        try:
            folder = (self._root / path).resolve()
            return folder.relative_to(self._root).parts if folder.is_dir() else None
        except (OSError, ValueError, RuntimeError):
            return None

    def read(self, file: str) -> bytes:
        """Read a file; b"" when it is too big or cannot be read."""
        try:
            with open(f"{self._root}/{file}", "rb") as opened:  # noqa: PTH123 - thousands of files
                return opened.read() if os.fstat(opened.fileno()).st_size <= _BIGGEST_SOURCE else b""
        except OSError:
            return b""

    @cached_property
    def _walk(self) -> _Walk:
        walk = _Walk()
        pending = [("", str(self._root))]
        while pending:
            folder, place = pending.pop()
            names: list[str] = []
            links: list[str] = []
            below: list[tuple[str, str]] = []
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            names.append(entry.name)
                        elif entry.is_symlink():
                            links.append(entry.name)
                        elif entry.name not in _SKIPPED and not _UNPRINTABLE.search(entry.name) and entry.is_dir():
                            below.append((f"{folder}{entry.name}/", entry.path))
            except OSError:
                continue  # what cannot be read is not there
            if _ENVIRONMENT not in names and _ENVIRONMENT not in links:
                walk.files[folder] = names
                self._follow(folder, links, walk)
                pending += below
        return walk

    def _follow(self, folder: str, links: list[str], walk: _Walk) -> None:
        """Add what a folder's symbolic links lead to; and leave out names that cannot be written down."""
        for name in links:
            target = self._resolve(folder + name)
            walk.linked_folders |= target is None
            if target is not None:
                walk.links[folder + name] = target
                walk.files[folder].append(name)
        if not "".join(walk.files[folder]).isascii():
            walk.files[folder] = [name for name in walk.files[folder] if not _UNPRINTABLE.search(name)]

    def _resolve(self, name: str) -> str | None:
        """Follow the symbolic links of a name to a file of the checkout; None when they lead to none, or out of it."""
        try:
            target = (self._root / name).resolve()
            inside = target.relative_to(self._root)
            if _SKIPPED.intersection(inside.parts) or _UNPRINTABLE.search(inside.as_posix()):
                return None
            return inside.as_posix() if target.is_file() else None
        except (OSError, ValueError, RuntimeError):  # outside, unreadable, or a loop of links
            return None
