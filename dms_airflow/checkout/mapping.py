"""Which files of the author's checkout the paths of an instance mean.

A wrong place is worse than none: whatever is ambiguous maps to nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from dms_airflow.checkout.tree import Names, SourceTree

# An instance path is a tuple of names, too, whose first one is "/" when it is absolute and "" when it is relative.

# Python's own library and installed packages, wherever they are on the instance.
LIBRARY = re.compile(r"(?:^|/)(?:site-packages|dist-packages|lib(?:32|64)?/(?:python|pypy)\d[^/]*)/")

# Surrogates: what is not Unicode text cannot be written to a workflow command. No path contains NUL.
_IMPOSSIBLE = re.compile("[\ud800-\udfff\0]")

_LONGEST_PATH = 4096  # characters: Linux's PATH_MAX
_MOST_NAMESAKES = 20  # a file that fits more places than this says nothing about where the DAG folder is


class _Pair(NamedTuple):
    """A folder of the instance, and the folder of the checkout that is deployed there."""

    instance: Names
    checkout: Names


class _Votes(NamedTuple):
    """How much speaks for a pair; the first difference decides."""

    dag_files: int
    helpers: int
    depth: int  # names of the longest suffix


class Checkout:
    """The files below `root`, walked once, at the first question.

    `dags_path` is the folder, relative to `root`, that is deployed as the instance's DAG folder; None: found by votes.
    `is_excluded` says of a file below `root` whether it is not deployed.
    """

    def __init__(self, root: Path, dags_path: str | None = None, is_excluded: Callable[[str], bool] = lambda _: False) -> None:
        self._tree = SourceTree(root)
        self._dags_path = dags_path
        self._is_excluded = is_excluded

    def map_paths(self, dag_files: Iterable[str], helpers: Iterable[str] = ()) -> dict[str, str]:
        """Map instance paths to paths relative to the checkout, with `/`; what maps nowhere is left out.

        Pass all files of a step at once: together they show which folder of the checkout is the DAG folder.

        Args:
            dag_files: Paths of DAG files, absolute or relative to the DAG bundle. A member of a zip maps to the zip.
            helpers: Paths that tracebacks name. They decide only between places that the DAG files leave open, and map
                only when absolute and below a folder that the DAG files show.
        """
        dags = {path: file for path in dag_files if (file := _parse_path(path))}
        frames = {path: file for path in dict.fromkeys(helpers) if (file := _parse_path(path)) and file[0] == "/"}
        dags = _with_bundle_root(dags, set(frames.values()))
        pairs = self._find_pairs(set(dags.values()), set(frames.values()).difference(dags.values()))
        wanted = {**frames, **dags}
        places = {file: place for file in set(wanted.values()) if (place := self._find_place(file, pairs))}
        unique = _drop_duplicates(places)
        return {path: unique[file] for path, file in wanted.items() if file in unique}

    @property
    def dags_folder(self) -> str | None:
        """The folder that `dags_path` names, "" for the root; None when none was named, or it is not a folder."""
        return "/".join(self._dags_folder) if self._dags_path and self._dags_folder is not None else None

    def relate(self, file: str) -> str:
        """Give the path of a file relative to the root of the Git repository that it is in, by `.git` in a folder above it."""
        folder = file
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if self._tree.has_repository(folder):
                return file.removeprefix(f"{folder}/")
        return file

    def list_files(self, folder: str = "") -> list[str]:
        """List the files below a folder, sorted; a file that two links lead to is listed twice."""
        return [file for file in self._tree.list_files(folder) if not self._is_excluded(file)]

    def read(self, file: str) -> bytes:
        """Read a file that `map_paths` found; b"" when it is too big or cannot be read."""
        return self._tree.read(file)

    @cached_property
    def _dags_folder(self) -> Names | None:
        return self._tree.find_folder(self._dags_path or "")

    def _find_pairs(self, dags: set[Names], helpers: set[Names]) -> dict[Names, dict[_Pair, _Votes]]:
        """Find which folders of the checkout each folder of the instance may be: the best two, which show a tie.

        Each DAG file votes for the places where its longest suffix exists; helpers, then longer suffixes break ties.
        """
        votes: Counter[_Pair] = Counter()
        depth: Counter[_Pair] = Counter()
        suffixes = self._index_suffixes({file[-1] for file in dags})
        for file in dags:
            for pair, length in self._list_candidates(file, suffixes):
                votes[pair] += 1
                depth[pair] = max(depth[pair], length)
        if not self._dags_path:
            votes = _drop_ambiguous(votes, dags)
        helping = self._count_helpers(votes, helpers)
        ranked = sorted(((_Votes(votes[pair], helping[pair], depth[pair]), pair) for pair in votes), reverse=True)
        if self._dags_path:  # one folder, deployed at one place
            ranked = [(found, pair) for found, pair in ranked if found == ranked[0][0]]
        best: dict[Names, dict[_Pair, _Votes]] = {}
        for found, pair in ranked:
            rivals = best.setdefault(pair.instance, {})
            if len(rivals) < 2:  # noqa: PLR2004
                rivals[pair] = found
        return best

    def _index_suffixes(self, names: set[str]) -> dict[Names, list[Names]]:
        """Index the files of some names by each suffix of their paths."""
        index: dict[Names, list[Names]] = {}
        for file in self._tree.files:
            if file[-1] in names:
                for start in range(len(file)):
                    index.setdefault(file[start:], []).append(file)
        return index

    def _list_candidates(self, file: Names, suffixes: Mapping[Names, list[Names]]) -> list[tuple[_Pair, int]]:
        """List the pairs of folders that a DAG file votes for, each with the length of the suffix in names."""
        for start in range(1, len(file)):
            suffix = file[start:]
            if self._dags_path:
                folder = self._dags_folder
                if folder is not None and self._tree.find_file(folder + suffix):
                    return [(_shorten(_Pair(file[:start], folder)), len(suffix))]
            elif found := suffixes.get(suffix):
                if len(found) > _MOST_NAMESAKES or suffix == ("__init__.py",):  # every package has one
                    return []
                return [(_Pair(file[:start], one[: len(one) - len(suffix)]), len(suffix)) for one in found]
        return []

    def _count_helpers(self, pairs: Collection[_Pair], helpers: set[Names]) -> Counter[_Pair]:
        by_instance: dict[Names, list[_Pair]] = {}
        for pair in pairs:
            by_instance.setdefault(pair.instance, []).append(pair)
        return Counter(
            pair
            for file in helpers
            for folder in _list_parents(file)
            for pair in by_instance.get(folder, ())[:_MOST_NAMESAKES]
            if self._tree.find_file(pair.checkout + file[len(folder) :])
        )

    def _find_place(self, file: Names, pairs: Mapping[Names, Mapping[_Pair, _Votes]]) -> tuple[str, _Votes] | None:
        """Find a file by the pair with the most votes of those above it; None when two of them have as many."""
        above = {pair: votes for folder in _list_parents(file) for pair, votes in pairs.get(folder, {}).items()}
        most = max(above.values(), default=None)
        best = [pair for pair, votes in above.items() if votes == most]
        place = self._tree.find_file(best[0].checkout + file[len(best[0].instance) :]) if len(best) == 1 else None
        return (place, most) if place and most else None


def _parse_path(path: str) -> Names | None:
    """Split an instance path into names, up to the first zip; None when it cannot be a file of the author's."""
    if len(path) > _LONGEST_PATH or path.startswith("<") or _IMPOSSIBLE.search(path) or LIBRARY.search(path):
        return None
    names = ("/" if path.startswith("/") else "", *(name for name in path.split("/") if name not in {"", "."}))
    if ".." in names or len(names) == 1:
        return None
    zips = (index for index, name in enumerate(names) if name.lower().endswith(".zip"))
    return names[: next(zips, len(names)) + 1]


def _with_bundle_root(dags: dict[str, Names], frames: Iterable[Names]) -> dict[str, Names]:
    """Make relative DAG files (Airflow 3's form) absolute, by the folder that most tracebacks show before them."""
    relative = {file[1:] for file in dags.values() if not file[0]}
    if not relative:
        return dags
    roots = Counter(folder for frame in frames for folder in _list_parents(frame) if frame[len(folder) :] in relative)
    best = roots.most_common(2)
    if not best or (len(best) > 1 and best[0][1] == best[1][1]):
        return dags
    root = best[0][0]
    return {path: file if file[0] else root + file[1:] for path, file in dags.items()}


def _drop_ambiguous(votes: Counter[_Pair], dags: set[Names]) -> Counter[_Pair]:
    """Leave out pairs that contradict the convention, unless there is nothing else and most files vote for one.

    The convention is a DAG folder called `dags`. A pair contradicts it when the checkout's is called so and the instance
    has another one: dags/etl.py is not /opt/airflow/dags/other_team/etl.py, which comes from another repository.
    """
    usual = {pair: count for pair, count in votes.items() if pair.checkout[-1:] != ("dags",) or "dags" not in pair.instance}
    if usual:
        return Counter(usual)
    below = Counter(folder for file in dags for folder in _list_parents(file))
    return Counter({pair: count for pair, count in votes.items() if count > 1 and 2 * count > below[pair.instance]})


def _drop_duplicates(places: Mapping[Names, tuple[str, _Votes]]) -> dict[Names, str]:
    """Keep one instance path for each file of the checkout: the one with the most votes, none when two have as many."""
    claims: dict[tuple[str, str], list[_Votes]] = {}
    for file, (place, votes) in places.items():
        claims.setdefault((file[0], place), []).append(votes)
    return {
        file: place
        for file, (place, votes) in places.items()
        if (rivals := claims[file[0], place]) and votes == max(rivals) and rivals.count(votes) == 1
    }


def _list_parents(file: Names) -> Iterator[Names]:
    """List the folders above a file, from the outermost."""
    return (file[:end] for end in range(1, len(file)))


def _shorten(pair: _Pair) -> _Pair:
    """Take off the names at the end that both sides share: /opt/airflow/dags is dags, so /opt/airflow is the root."""
    instance, checkout = pair
    while len(instance) > 1 and checkout and instance[-1] == checkout[-1]:
        instance, checkout = instance[:-1], checkout[:-1]
    return _Pair(instance, checkout)
