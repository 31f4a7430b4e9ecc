"""The files of the author's checkout, walked once. Symbolic links are followed as long as they stay in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

# A path below the root, as its names.
Names = tuple[str, ...]

# Folders without sources of the author.
_SKIPPED = frozenset({".git", ".hg", ".svn", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__", "site-packages"})

# The file that makes a folder a virtual environment. In the root it hides nothing: `python -m venv .` puts one there.
_ENVIRONMENT = "pyvenv.cfg"

# Surrogates: what is not Unicode text cannot be written to a workflow command.
_UNPRINTABLE = re.compile("[\ud800-\udfff]")

_BIGGEST_SOURCE = 2_000_000  # bytes; a bigger file is not read for its lines


class SourceTree:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._has_linked_folders = False

    @cached_property
    def files(self) -> dict[Names, str]:
        """Every file by its names, with its path; that of a symbolic link is the file that it leads to."""
        return dict(self._walk())

    def find_file(self, names: Names) -> str | None:
        """Find a file, also below folders that are symbolic links; None when there is none."""
        found = self.files.get(names)
        if found is None and self._has_linked_folders and _SKIPPED.isdisjoint(names):
            return self._resolve("/".join(names))
        return found

    def find_folder(self, path: str) -> Names | None:
        """Find a folder, as its names; None when there is none below the root."""
        try:
            folder = (self._root / path).resolve()
            return folder.relative_to(self._root).parts if folder.is_dir() else None
        except (OSError, ValueError, RuntimeError):
            return None

    def has_repository(self, folder: str) -> bool:
        """Whether a folder is the root of a Git repository."""
        return (self._root / folder / ".git").exists()

    def list_files(self, folder: str = "") -> list[str]:
        """List the files below a folder, sorted; a file that two links lead to is listed twice."""
        prefix = f"{folder}/" if folder else ""
        return sorted(path for path in map("/".join, self.files) if path.startswith(prefix))

    def read(self, file: str) -> bytes:
        """Read a file; b"" when it is too big or cannot be read."""
        try:
            with open(f"{self._root}/{file}", "rb") as opened:  # noqa: PTH123 - thousands of files
                return opened.read() if os.fstat(opened.fileno()).st_size <= _BIGGEST_SOURCE else b""
        except OSError:
            return b""

    def _walk(self) -> Iterator[tuple[Names, str]]:
        for place, folders, names in os.walk(self._root):
            prefix = os.path.relpath(place, self._root).split("/") if place != str(self._root) else []
            if prefix and _ENVIRONMENT in names:
                folders.clear()
                continue
            folders[:] = [name for name in folders if name not in _SKIPPED and not _UNPRINTABLE.search(name)]
            self._has_linked_folders |= any(os.path.islink(f"{place}/{name}") for name in folders)  # noqa: PTH114 - thousands
            for name in names:
                path = "/".join([*prefix, name])
                file = self._resolve(path) if os.path.islink(f"{place}/{name}") else path  # noqa: PTH114 - thousands
                if file and not _UNPRINTABLE.search(path):
                    yield (*prefix, name), file

    def _resolve(self, path: str) -> str | None:
        """Follow the symbolic links of a path to a file of the checkout; None when there is none, or outside of it."""
        try:
            target = (self._root / path).resolve()
            inside = target.relative_to(self._root)
        except (OSError, ValueError, RuntimeError):  # outside, unreadable, or a loop of links
            return None
        if not _SKIPPED.isdisjoint(inside.parts) or _UNPRINTABLE.search(inside.as_posix()):
            return None
        return inside.as_posix() if target.is_file() else None
