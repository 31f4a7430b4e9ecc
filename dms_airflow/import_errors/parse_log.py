"""What Airflow logs while it imports DAG files: which files, from which folders and bundles, and what failed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.output import LogRecord, parse_log_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# With what Airflow logs a traceback (reserialize__broken.json and reserialize__serialize.json in tests/captures); only
# reserializing says the last two. The words without a colon are those of 3.2.
_FAILURE = re.compile(
    r"(?:(?:Failed to import|Failed to bag_dag|Failed to write serialized DAG): |Error bagging DAG from "
    r"|Failed to write serialized DAG dag_id=\S* fileloc=)(?P<path>.+)"
)

# 3.2 logs this after each failed import, and alone for a file that it did not start to import.
_NOT_LOADED = re.compile(r"Error loading DAG from (?P<path>.+?): (?P<text>.*)")

_IMPORT = re.compile(r"Importing (?P<path>/.+)")
_BUNDLES = re.compile(r"DAG bundles loaded: (?P<names>.+)")

# Before each line at the margin. A log is read by these: most of its lines are indented ones of tracebacks.
_MARGIN = re.compile(r"\n(?! )")

# The answer of `-o json`, which may follow a traceback directly.
_JSON_LINE = re.compile(r'\[\{"(?:filepath|error|bundle_name)": ')

# How a record begins: with its time, in a bracket or not, or with a colour.
_RECORD_STARTS = frozenset("[0123456789\x1b{")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failure in the log: the path that it names, and the lines that follow it."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ImportLog:
    """What a command logged."""

    records: tuple[LogRecord, ...]
    failures: tuple[Failure, ...]


def read_bundles(stdout: str) -> tuple[str, ...]:
    """Parse the names of the instance's DAG bundles, which Airflow 3 logs with `-v` before it reads them."""
    names = [match["names"] for record in read_log(stdout).records if (match := _BUNDLES.fullmatch(record.message))]
    return tuple(names[0].split(", ")) if names else ()


def read_dag_files(stdout: str) -> tuple[str, ...]:
    """List the DAG files, sound or broken, that Airflow says it imports: Airflow 2 with `-v` only, and zip members not."""
    records = [record for record in read_log(stdout).records if record.level == "debug"]
    return tuple(match["path"] for record in records if (match := _IMPORT.fullmatch(record.message.rstrip())))


@lru_cache(1)  # the log of one command is parsed for several purposes
def read_log(stdout: str) -> ImportLog:
    """Read a command's log. What follows a record is its own, until the next record or the command's JSON answer."""
    entries: list[tuple[LogRecord, list[str]]] = []
    chunks: list[str] = []  # before the first record
    for chunk in _MARGIN.split(stdout):
        line, _, indented = chunk.partition("\n")
        record = parse_log_record(line) if line[:1] in _RECORD_STARTS else None
        if record is None and not _JSON_LINE.match(line):
            chunks.append(chunk)
            continue
        chunks = [indented] if indented else []
        if record is not None:
            entries.append((record, chunks))
    return ImportLog(records=tuple(record for record, _ in entries), failures=tuple(_find_failures(entries)))


def _find_failures(entries: Iterable[tuple[LogRecord, list[str]]]) -> Iterator[Failure]:
    paths: list[str] = []  # of failures
    known: set[str] = set()  # some of these paths, and what follows each of their slashes
    for record, chunks in entries:
        if record.level != "error":
            continue
        message = record.message.rstrip()
        if failure := _FAILURE.fullmatch(message):
            path, lines = failure["path"], chunks
        elif not_loaded := _NOT_LOADED.fullmatch(message):
            path, lines = not_loaded["path"], [not_loaded["text"], *chunks]
            known.update(end for one in paths for end in _list_ends(one))
            paths.clear()
            if path in known:
                continue
        else:
            continue
        paths.append(path)
        yield Failure(path=path, text="\n".join(lines).rstrip("\n"))


def _list_ends(path: str) -> Iterator[str]:
    """Give a path, and what follows each of its slashes: 3.2 names a file below its DAG bundle, too."""
    yield path
    yield from (path[index + 1 :] for index, sign in enumerate(path) if sign == "/")
