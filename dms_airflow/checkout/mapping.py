"""The author's checkout: which of its files an instance path means.

A wrong place is worse than none: whatever is ambiguous maps to nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

from dms_airflow.checkout.tree import SourceTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# A folder as its names. An instance's folder begins with "/" when it is absolute and with "" when it is relative.
_Names = tuple[str, ...]

# Python's own library and installed packages, wherever they lie on the instance.
_LIBRARY = re.compile(r"(?:^|/)(?:site-packages|dist-packages|lib(?:32|64)?/(?:python|pypy)\d[^/]*)/")

# Surrogates: what is no Unicode text cannot be written to a workflow command. No path holds NUL.
_IMPOSSIBLE = re.compile("[\ud800-\udfff\0]")

_LONGEST_PATH = 4096  # characters: Linux's PATH_MAX
_MOST_NAMESAKES = 20  # a file that fits more places than this says nothing about where the DAG folder is


class _File(NamedTuple):
    """A file of the instance."""

    folder: _Names
    name: str


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


class _Target(NamedTuple):
    """Where in the checkout a folder of the instance lies: "dags/team/", "" for its root."""

    folder: str
    rank: _Rank


class Checkout:
    """The files below `root`, walked once, when first asked.

    `dags_path` is the folder, relative to `root`, that is deployed as the instance's DAG folder; None: found by itself.
    """

    def __init__(self, root: Path, dags_path: str | None = None) -> None:
        self._tree = SourceTree(root)
        self._dags_path = dags_path

    def map_paths(self, dag_files: Iterable[str], helpers: Iterable[str] = ()) -> dict[str, str]:
        """Map instance paths to paths relative to the checkout, with `/`; what maps nowhere is left out.

        Hand in all files of a run at once: together they show which folder of the checkout is the DAG folder.

        Args:
            dag_files: paths of DAG files, absolute or relative to the DAG bundle. A member of a zip maps to the zip.
            helpers: paths that tracebacks name. They decide only between places that the DAG files leave open, and map
                only when absolute and below a folder that the DAG files show.
        """
        dags = {path: file for path in dag_files if (file := _read_path(path))}
        frames = {path: file for path in dict.fromkeys(helpers) if (file := _read_path(path)) and file.folder[0] == "/"}
        dags = _with_bundle_root(dags, frames.values())
        roots = self._find_roots(set(dags.values()), set(frames.values()).difference(dags.values()))
        wanted = {**frames, **dags}
        targets: dict[_Names, _Target | None] = {}
        places: dict[_File, tuple[str, _Rank]] = {}
        for file in wanted.values():
            if file.folder not in targets:
                targets[file.folder] = _find_target(file.folder, roots)
            target = targets[file.folder]
            if target and (place := self._tree.find_file(target.folder, file.name)):
                places[file] = place, target.rank
        unique = _drop_doubles(places)
        return {path: unique[file] for path, file in wanted.items() if file in unique}

    @property
    def dags_folder(self) -> str | None:
        """The folder that `dags_path` names, "" for the root; None when none was named, or it is no folder."""
        return "/".join(self._dags_folder) if self._dags_path and self._dags_folder is not None else None

    def list_files(self, folder: str = "") -> list[str]:
        """List the files below a folder, sorted; a file that two links lead to stands twice."""
        return self._tree.list_files(folder)

    def read(self, file: str) -> bytes:
        """Read a file that `map_paths` found; b"" when it is too big or cannot be read."""
        return self._tree.read(file)

    @cached_property
    def _dags_folder(self) -> _Names | None:
        """`dags_path` as names; None when it is no folder of the checkout."""
        return self._tree.find_folder(self._dags_path or "")

    def _find_roots(self, dags: set[_File], helpers: set[_File]) -> dict[_Names, _Root]:
        """Find which folders of the instance are which of the checkout.

        Each DAG file votes for the places where its longest suffix exists; helpers, then longer suffixes break ties.
        """
        votes: Counter[_Pair] = Counter()
        depth: Counter[_Pair] = Counter()
        namesakes = self._find_namesakes({file.name for file in dags})
        for (pair, length), count in Counter(vote for file in dags for vote in self._candidates(file, namesakes)).items():
            votes[pair] += count
            depth[pair] = max(depth[pair], length)
        votes = self._leave_out_doubtful(votes, dags)
        by_instance: dict[_Names, list[_Pair]] = {}
        for pair in votes:
            by_instance.setdefault(pair.instance, []).append(pair)
        seconds = Counter(
            pair
            for file in helpers
            for folder in _folders(file.folder)
            for pair in by_instance.get(folder, ())[:_MOST_NAMESAKES]
            if self._tree.find_file(_join(pair.checkout + file.folder[len(folder) :]), file.name)
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

    def _leave_out_doubtful(self, votes: Counter[_Pair], dags: set[_File]) -> Counter[_Pair]:
        """Leave out the folder pairs that go against custom, unless nothing else is there and most files speak for one."""
        if self._dags_path:
            return votes
        usual = Counter({pair: count for pair, count in votes.items() if not _contradicts(pair)})
        if usual:
            return usual
        below = Counter(folder for file in dags for folder in _folders(file.folder))
        return Counter({pair: count for pair, count in votes.items() if count > 1 and 2 * count > below[pair.instance]})

    def _candidates(self, file: _File, namesakes: Mapping[str, Sequence[str]]) -> list[tuple[_Pair, int]]:
        """List the folder pairs that a DAG file's longest suffix in the checkout speaks for, and its length."""
        if self._dags_path:
            folder = self._dags_folder
            for start in range(1, len(file.folder) + 1):
                if folder is not None and self._tree.find_file(_join(folder + file.folder[start:]), file.name):
                    return [(_widen(_Pair(file.folder[:start], folder)), len(file.folder) + 1 - start)]
            return []
        pairs = [_pair(file.folder, folder) for folder in _find_nearest(file, namesakes[file.name])]
        if pairs and pairs[0][1] == 1 and file.name == "__init__.py":  # every package has one
            return []
        return pairs

    def _find_namesakes(self, names: set[str]) -> dict[str, list[str]]:
        """Find the folders of the files of some names, written backwards: sorted, those of a common suffix are neighbours."""
        return {name: sorted(map(_reverse, folders)) for name, folders in self._tree.find_folders(names).items()}


def _find_nearest(file: _File, folders: Sequence[str]) -> Sequence[str]:
    """Choose the folders, written backwards, that share the longest suffix with a file's; none when they are too many."""
    if len(folders) < 2:  # noqa: PLR2004 - nothing to choose from
        return folders
    wanted = _reverse(_join(file.folder[1:]))
    position = bisect_left(folders, wanted)
    neighbours = folders[max(position - 1, 0) : position + 1]
    suffix = max((_common_prefix(wanted, folder) for folder in neighbours), key=len)
    start = bisect_left(folders, suffix)
    stop = bisect_left(folders, suffix + "\U0010ffff", lo=start)
    return folders[start:stop] if stop - start <= _MOST_NAMESAKES else ()


@cache
def _read_path(path: str) -> _File | None:
    """Split an instance path into folder and name; None when it can be no file of the author's."""
    place = path.rfind("/") + 1
    name = path[place:]
    if name in {"", ".", ".."}:
        names = _read_folder(path)
        return _File(names[:-1], names[-1]) if names and len(names) > 1 else None
    folder = _read_folder(path[:place])
    if folder is None or len(path) > _LONGEST_PATH or path.startswith("<") or _IMPOSSIBLE.search(name):
        return None
    if folder[-1].lower().endswith(".zip"):
        return _File(folder[:-1], folder[-1])
    return _File(folder, name)


@cache
def _read_folder(path: str) -> _Names | None:
    """Split an instance's folder into names, up to the first zip; None when it can hold no file of the author's."""
    if len(path) > _LONGEST_PATH or path.startswith("<") or _IMPOSSIBLE.search(path) or _LIBRARY.search(path):
        return None
    names = ["/" if path.startswith("/") else "", *(name for name in path.split("/") if name not in {"", "."})]
    if ".." in names:
        return None
    zips = (index for index, name in enumerate(names) if name.lower().endswith(".zip"))
    return tuple(names[: next(zips, len(names)) + 1])


def _with_bundle_root(dags: dict[str, _File], frames: Iterable[_File]) -> dict[str, _File]:
    """Make relative DAG files (Airflow 3's form) absolute, by the folder that most tracebacks show before them."""
    relative = {(file.folder[1:], file.name) for file in dags.values() if not file.folder[0]}
    if not relative:
        return dags
    roots: Counter[_Names] = Counter()
    for folder, name in set(frames):
        roots.update(folder[:start] for start in range(1, len(folder) + 1) if (folder[start:], name) in relative)
    best = roots.most_common(2)
    if not best or (len(best) > 1 and best[0][1] == best[1][1]):
        return dags
    root = best[0][0]
    return {path: file if file.folder[0] else _File(root + file.folder[1:], file.name) for path, file in dags.items()}


def _find_target(folder: _Names, roots: Mapping[_Names, _Root]) -> _Target | None:
    """Map a folder by the best ranked of the folders that it lies below; None when two of them are equal."""
    covering = [(roots[above], above) for above in _folders(folder) if above in roots]
    if not covering:
        return None
    highest = max(root.rank for root, _ in covering)
    (root, above), *others = [(root, above) for root, above in covering if root.rank == highest]
    if others or root.checkout is None:
        return None
    return _Target(_join(root.checkout + folder[len(above) :]), highest)


def _folders(folder: _Names) -> Iterator[_Names]:
    """Give a folder and those that it lies below, from the outermost."""
    return (folder[:end] for end in range(1, len(folder) + 1))


def _contradicts(pair: _Pair) -> bool:
    """Tell that a pair goes against the custom of naming the DAG folder `dags`: the instance has another one.

    So dags/etl.py is not taken for /opt/airflow/dags/other_team/etl.py, which comes from another repository.
    """
    return pair.checkout[-1:] == ("dags",) and "dags" in pair.instance


def _drop_doubles(places: Mapping[_File, tuple[str, _Rank]]) -> dict[_File, str]:
    """A file is deployed once: of several instance paths that map to one file, only the best founded may keep it."""
    claims: dict[tuple[str, str], list[_Rank]] = {}
    for file, (place, rank) in places.items():
        claims.setdefault((file.folder[0], place), []).append(rank)
    unique: dict[_File, str] = {}
    for file, (place, rank) in places.items():
        ranks = claims[file.folder[0], place]
        if len(ranks) == 1 or (rank == max(ranks) and ranks.count(rank) == 1):
            unique[file] = place
    return unique


def _widen(pair: _Pair) -> _Pair:
    """Take off the names at the end that both sides share: /opt/airflow/dags is dags, so /opt/airflow is the root."""
    length = _common_length(pair.instance[1:], pair.checkout)
    return _Pair(pair.instance[: len(pair.instance) - length], pair.checkout[: len(pair.checkout) - length])


@cache  # the files of a folder share it
def _pair(instance: _Names, backwards: str) -> tuple[_Pair, int]:
    """Pair the folders of two namesakes, without the names that they share at their ends; count those, and the file's."""
    folder = _split(backwards)[::-1]
    length = _common_length(instance[1:], folder)
    return _Pair(instance[: len(instance) - length], folder[: len(folder) - length]), length + 1


def _common_length(one: _Names, other: _Names) -> int:
    """Count the names that two paths have in common at their ends."""
    length = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        length += 1
    return length


def _common_prefix(one: str, other: str) -> str:
    """Cut what two folders, written backwards, begin with alike, in whole names."""
    length = _common_length(_split(one)[::-1], _split(other)[::-1])
    return _join(_split(one)[:length])


def _split(folder: str) -> _Names:
    return tuple(folder.split("/")[:-1])


def _join(names: _Names) -> str:
    return "".join(f"{name}/" for name in names)


@cache
def _reverse(folder: str) -> str:
    return _join(_split(folder)[::-1])
