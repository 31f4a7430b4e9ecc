"""The author's checkout: which of its files an instance path means.

A wrong place is worse than none: whatever is ambiguous maps to nothing.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# A path as its names. An instance path's first name is "/" when it is absolute and "" when it is relative.
_Names = tuple[str, ...]

# Folders that hold no source of the author's.
_SKIPPED = frozenset({".git", ".hg", ".svn", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__", "site-packages"})

# Python's own library and installed packages, wherever they lie on the instance.
_LIBRARY = re.compile(r"(?:^|/)(?:site-packages|dist-packages|lib(?:32|64)?/(?:python|pypy)\d[^/]*)/")

# Surrogates: what is no Unicode text cannot be written to a workflow command.
_UNPRINTABLE = re.compile("[\ud800-\udfff]")

_LONGEST_PATH = 4096  # characters: Linux's PATH_MAX
_MOST_NAMESAKES = 20  # a file that fits more places than this says nothing about where the DAG folder is
_BIGGEST_SOURCE = 2_000_000  # bytes; a bigger file is not read for its lines


class _Pair(NamedTuple):
    """A folder of the instance and the folder of the checkout that is deployed there."""

    instance: _Names
    checkout: _Names


class _Rank(NamedTuple):
    """How much speaks for a folder pair: DAG files, helpers, names of the longest suffix."""

    dags: int
    helpers: int
    depth: int


class _Root(NamedTuple):
    """The folder of the checkout that is deployed as a folder of the instance; None when two are as likely."""

    rank: _Rank
    checkout: _Names | None


@dataclass(frozen=True, kw_only=True)
class _Files:
    names: frozenset[str]
    namesakes: dict[str, list[str]]  # by the last name of their path
    links: dict[str, str]  # symbolic links to files of the checkout, and the files
    linked_folders: bool  # whether the walk met links that it did not follow


class Checkout:
    """The files below `root`. Walks them once, when first asked.

    `dags_path` is the folder, relative to `root`, that is deployed as the instance's DAG folder; None: found by itself.
    """

    def __init__(self, root: Path, dags_path: str | None = None) -> None:
        self._root = root.resolve()
        self._dags_path = dags_path

    def map_paths(self, dag_files: Iterable[str], helpers: Iterable[str] = ()) -> dict[str, str]:
        """Map instance paths to paths relative to the checkout, with `/`; what maps nowhere is left out.

        Hand in all files of a run at once: together they show which folder of the checkout is the DAG folder.

        Args:
            dag_files: paths of DAG files, absolute or relative to the DAG bundle. A member of a zip maps to the zip.
            helpers: paths that tracebacks name. They decide only between places that the DAG files leave open, and map
                only when absolute and below a folder that the DAG files show.
        """
        dags = {path: names for path in dag_files if (names := _read_path(path))}
        frames = {path: names for path in dict.fromkeys(helpers) if (names := _read_path(path)) and names[0] == "/"}
        dags = _with_bundle_root(dags, frames.values())
        roots = self._find_roots(set(dags.values()), set(frames.values()) - set(dags.values()))
        wanted = {**frames, **dags}
        places = {names: place for names in set(wanted.values()) if (place := self._place(names, roots))}
        unique = _drop_doubles(places)
        return {path: unique[names] for path, names in wanted.items() if names in unique}

    @property
    def dags_folder(self) -> str | None:
        """The folder that `dags_path` names, "" for the root; None when none was named, or it is no folder."""
        return "/".join(self._dags_folder) if self._dags_path and self._dags_folder is not None else None

    def list_files(self, folder: str = "") -> list[str]:
        """List the files below a folder, sorted; a file that two links lead to stands twice."""
        prefix = f"{folder}/" if folder else ""
        return sorted(name for name in self._files.names if name.startswith(prefix))

    def read(self, file: str) -> bytes:
        """Read a file that `map_paths` found; b"" when it is too big or cannot be read."""
        path = self._root / file
        try:
            return path.read_bytes() if path.stat().st_size <= _BIGGEST_SOURCE else b""
        except OSError:
            return b""

    @cached_property
    def _files(self) -> _Files:
        namesakes: dict[str, list[str]] = {}
        links: dict[str, str] = {}
        linked_folders = False
        folders = [("", self._root)]
        while folders:
            prefix, folder = folders.pop()
            for entry in _list_folder(folder):
                name = prefix + entry.name
                if entry.is_symlink():
                    target = self._resolve(name)
                    linked_folders |= target is None
                    if target is not None:
                        links[name] = target
                        namesakes.setdefault(entry.name, []).append(name)
                elif entry.is_dir():
                    if entry.name not in _SKIPPED:
                        folders.append((f"{name}/", folder / entry.name))
                elif name.isascii() or not _UNPRINTABLE.search(name):
                    namesakes.setdefault(entry.name, []).append(name)
        return _Files(
            names=frozenset(chain.from_iterable(namesakes.values())),
            namesakes=namesakes,
            links=links,
            linked_folders=linked_folders,
        )

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

    def _find_file(self, names: _Names) -> str | None:
        name = "/".join(names)
        if name in self._files.names:
            return self._files.links.get(name, name)
        return self._resolve(name) if self._files.linked_folders and not _SKIPPED.intersection(names) else None

    @cached_property
    def _dags_folder(self) -> _Names | None:
        """`dags_path` as names; None when it is no folder of the checkout."""
        try:
            folder = (self._root / (self._dags_path or "")).resolve()
            return folder.relative_to(self._root).parts if folder.is_dir() else None
        except (OSError, ValueError, RuntimeError):
            return None

    def _find_roots(self, dags: set[_Names], helpers: set[_Names]) -> dict[_Names, _Root]:
        """Find which folders of the instance are which of the checkout.

        Each DAG file votes for the places where its longest suffix exists; helpers, then longer suffixes break ties.
        """
        votes: Counter[_Pair] = Counter()
        depth: Counter[_Pair] = Counter()
        for names in dags:
            for pair, length in self._candidates(names):
                votes[pair] += 1
                depth[pair] = max(depth[pair], length)
        votes = self._leave_out_doubtful(votes, dags)
        by_instance: dict[_Names, list[_Pair]] = {}
        for pair in votes:
            by_instance.setdefault(pair.instance, []).append(pair)
        seconds = Counter(
            pair
            for names in helpers
            for folder in _folders(names)
            for pair in by_instance.get(folder, ())[:_MOST_NAMESAKES]
            if self._find_file(pair.checkout + names[len(folder) :])
        )
        roots: dict[_Names, _Root] = {}
        for pair, count in votes.items():
            rank = _Rank(count, seconds[pair], depth[pair])
            best = roots.get(pair.instance)
            if best is None or rank > best.rank:
                roots[pair.instance] = _Root(rank, pair.checkout)
            elif rank == best.rank:
                roots[pair.instance] = _Root(rank, None)
        if self._dags_path and roots:  # one folder, deployed at one place
            highest = max(root.rank for root in roots.values())
            roots = {folder: root for folder, root in roots.items() if root.rank == highest}
        return roots

    def _leave_out_doubtful(self, votes: Counter[_Pair], dags: set[_Names]) -> Counter[_Pair]:
        """Leave out the folder pairs that go against custom, unless nothing else is there and most files speak for one."""
        if self._dags_path:
            return votes
        usual = Counter({pair: count for pair, count in votes.items() if not _contradicts(pair)})
        below = Counter(folder for names in dags for folder in _folders(names))
        return usual or Counter(
            {pair: count for pair, count in votes.items() if count > 1 and 2 * count > below[pair.instance]}
        )

    def _candidates(self, names: _Names) -> list[tuple[_Pair, int]]:
        """List the folder pairs that a DAG file's longest suffix in the checkout speaks for, and its length."""
        if self._dags_path:
            folder = self._dags_folder
            for start in range(1, len(names)):
                if folder is not None and self._find_file(folder + names[start:]):
                    return [(_widen(_Pair(names[:start], folder)), len(names) - start)]
            return []
        files = self._find_namesakes(names)
        length = _common_length(names, files[0]) if files else 0
        if length == 1 and names[-1] == "__init__.py":  # every package has one
            return []
        return [(_Pair(names[:-length], file[:-length]), length) for file in files]

    @cache  # noqa: B019 - a checkout lives as long as the step
    def _reverse_namesakes(self, name: str) -> list[str]:
        """Write the paths that end with a name as "x.py/team/dags/", sorted: those with a common suffix are neighbours."""
        return sorted(map(_reverse, self._files.namesakes.get(name, ())))

    def _find_namesakes(self, names: _Names) -> list[_Names]:
        """List the files that share the longest suffix with a path; none when they are too many to tell anything."""
        entries = self._reverse_namesakes(names[-1])
        wanted = _reverse("/".join(names[1:]))
        position = bisect_left(entries, wanted)
        neighbours = entries[max(position - 1, 0) : position + 1]
        suffix = max((_common_prefix(wanted, entry) for entry in neighbours), key=len, default="")
        if not suffix:
            return []
        start = bisect_left(entries, suffix)
        stop = bisect_left(entries, suffix + "\U0010ffff", lo=start)
        if stop - start > _MOST_NAMESAKES:
            return []
        return [tuple(reversed(entry[:-1].split("/"))) for entry in entries[start:stop]]

    def _place(self, names: _Names, roots: dict[_Names, _Root]) -> tuple[str, _Rank] | None:
        """Map a path by the best ranked of the folders that it lies below; None when two of them are equal."""
        covering = [(roots[folder], folder) for folder in _folders(names) if folder in roots]
        if not covering:
            return None
        highest = max(root.rank for root, _ in covering)
        (root, folder), *others = [(root, folder) for root, folder in covering if root.rank == highest]
        if others or root.checkout is None:
            return None
        file = self._find_file(root.checkout + names[len(folder) :])
        return (file, highest) if file else None


def _read_path(path: str) -> _Names | None:
    """Split an instance path into names; None when it can be no file of the author's."""
    if len(path) > _LONGEST_PATH or path.startswith("<") or "\0" in path or _LIBRARY.search(path):
        return None
    names = [name for name in path.split("/") if name not in {"", "."}]
    if not names or ".." in names or _UNPRINTABLE.search(path):
        return None
    for index, name in enumerate(names):
        if name.lower().endswith(".zip"):
            del names[index + 1 :]
            break
    return ("/" if path.startswith("/") else "", *names)


def _with_bundle_root(dags: dict[str, _Names], frames: Iterable[_Names]) -> dict[str, _Names]:
    """Make relative DAG files (Airflow 3's form) absolute, by the folder that most tracebacks show before them."""
    relative = {names[1:] for names in dags.values() if not names[0]}
    roots: Counter[_Names] = Counter()
    for names in set(frames):
        roots.update(names[:start] for start in range(1, len(names)) if names[start:] in relative)
    best = roots.most_common(2)
    if not best or (len(best) > 1 and best[0][1] == best[1][1]):
        return dags
    return {path: names if names[0] else best[0][0] + names[1:] for path, names in dags.items()}


def _folders(names: _Names) -> Iterator[_Names]:
    return (names[:end] for end in range(1, len(names)))


def _contradicts(pair: _Pair) -> bool:
    """Tell that a pair goes against the custom of naming the DAG folder `dags`: the instance has another one.

    So dags/etl.py is not taken for /opt/airflow/dags/other_team/etl.py, which comes from another repository.
    """
    return pair.checkout[-1:] == ("dags",) and "dags" in pair.instance


def _drop_doubles(places: dict[_Names, tuple[str, _Rank]]) -> dict[_Names, str]:
    """A file is deployed once: of several instance paths that map to one file, only the best founded may keep it."""
    claims: dict[tuple[str, str], list[_Rank]] = {}
    for names, (file, rank) in places.items():
        claims.setdefault((names[0], file), []).append(rank)
    unique: dict[_Names, str] = {}
    for names, (file, rank) in places.items():
        ranks = claims[names[0], file]
        if rank == max(ranks) and ranks.count(rank) == 1:
            unique[names] = file
    return unique


def _widen(pair: _Pair) -> _Pair:
    """Take off the names at the end that both sides share: /opt/airflow/dags is dags, so /opt/airflow is the root."""
    length = _common_length(pair.instance[1:], pair.checkout)
    return _Pair(pair.instance[: len(pair.instance) - length], pair.checkout[: len(pair.checkout) - length])


def _common_length(one: _Names, other: _Names) -> int:
    """Count the names that two paths have in common at their ends."""
    length = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        length += 1
    return length


def _common_prefix(one: str, other: str) -> str:
    """Cut what two reversed paths begin with alike, in whole names."""
    names = one.split("/")
    length = _common_length(tuple(reversed(names)), tuple(reversed(other.split("/"))))
    return "".join(f"{name}/" for name in names[:length] if name)


def _reverse(name: str) -> str:
    return "/".join(reversed(name.split("/"))) + "/"


def _list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder; nothing when it cannot be read or is a virtual environment."""
    try:
        with os.scandir(folder) as entries:
            listing = list(entries)
    except OSError:
        return []
    return [] if any(entry.name == "pyvenv.cfg" for entry in listing) else listing
