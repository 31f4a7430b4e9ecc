"""Is this commit what the instance runs? Pure decisions about files, their sources and what Airflow tells of them.

Three kinds of path meet here: a file of the checkout (`dags/etl.py`), a path below the instance's DAG folder as
`dags report` prints it (`/etl.py`), and the instance's absolute path, Airflow's `fileloc` (`/opt/airflow/dags/etl.py`).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dms_airflow.checkout import Checkout

IGNORE_FILE = ".airflowignore"

# The custom where nothing else shows which folder is deployed.
CUSTOMARY_FOLDER = "dags"

_DURATION = re.compile(r"(?:(?P<days>\d+) days?, )?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?)")


# --- what the instance tells ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ParsedFile:
    """A file that the instance parses; no DAG ids when it is broken, or a helper that looks like a DAG file."""

    path: str
    """Below the DAG folder, with a slash in front."""
    seconds: float
    dag_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DagRow:
    """A DAG as Airflow's database has it."""

    dag_id: str
    path: str
    """The instance's absolute path of its file."""
    file_token: str
    last_parsed_time: str
    """By the server's clock; only compared with itself."""
    is_active: bool
    has_import_errors: bool


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """An import error as the scheduler stored it."""

    path: str
    stack_trace: str
    timestamp: str
    """By the server's clock; rewritten whenever the file is parsed and fails again."""


def read_report(answer: Iterable[Mapping[str, Any]]) -> tuple[ParsedFile, ...]:
    """Read the answer of `dags report -o json` (tests/captures/airflow-2.10.4/cli/dags/report__json.json)."""
    return tuple(
        ParsedFile(
            path=str(row.get("file") or ""),
            seconds=_read_seconds(str(row.get("duration") or "")),
            dag_ids=_read_ids(row.get("dags")),
        )
        for row in answer
    )


def _read_seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if not match:
        return 0.0
    days, hours, minutes = (int(match[name] or 0) for name in ("days", "hours", "minutes"))
    return 86400.0 * days + 3600 * hours + 60 * minutes + float(match["seconds"])


def _read_ids(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def read_dag(entry: Mapping[str, Any]) -> DagRow:
    """Read an entry of `GET /dags`."""
    return DagRow(
        dag_id=str(entry.get("dag_id") or ""),
        path=str(entry.get("fileloc") or ""),
        file_token=str(entry.get("file_token") or ""),
        last_parsed_time=str(entry.get("last_parsed_time") or ""),
        is_active=entry.get("is_active") is not False,
        has_import_errors=entry.get("has_import_errors") is True,
    )


def read_stored_error(entry: Mapping[str, Any]) -> ErrorRow:
    """Read an entry of `GET /importErrors`."""
    return ErrorRow(
        path=str(entry.get("filename") or ""),
        stack_trace=str(entry.get("stack_trace") or ""),
        timestamp=str(entry.get("timestamp") or ""),
    )


def find_dags_folder(dags: Iterable[DagRow], report: Iterable[ParsedFile]) -> str | None:
    """Find the absolute path of the instance's DAG folder; None when no file of the report is in the database yet."""
    namesakes: dict[str, list[str]] = {}
    for file in report:
        namesakes.setdefault(file.path.rpartition("/")[2], []).append(file.path)
    folders = Counter(
        dag.path.removesuffix(path)
        for dag in dags
        for path in namesakes.get(dag.path.rpartition("/")[2], ())
        if dag.path.endswith(path)
    )
    return folders.most_common(1)[0][0] if folders else None


# --- which files of the checkout the instance must have -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Root:
    """The folder of the checkout that is deployed, and the folder of the instance where it is.

    `instance` is "" for the top of what the paths handed to `find_root` are relative to; `checkout` is "" for the
    checkout's root. `sure` is False when the folder was found by itself.
    """

    instance: str
    checkout: str
    sure: bool

    def place(self, file: str) -> str:
        """Give the instance's path of a file of the checkout's folder."""
        return f"{self.instance}/{self.relate(file)}"

    def relate(self, file: str) -> str:
        """Give the path of a file below the checkout's folder."""
        return file.removeprefix(f"{self.checkout}/") if self.checkout else file


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The DAG files of the checkout.

    `awaited` maps the instance's path to the file of the checkout. `doubtful` are files that Airflow may parse or not:
    nobody waits for them.
    """

    awaited: Mapping[str, str]
    doubtful: tuple[str, ...]


def find_root(paths: Iterable[str], checkout: Checkout) -> Root | None:
    """Find which folder of the checkout the instance's DAG files come from; None when nothing shows it.

    Args:
        paths: The instance's DAG files, all absolute or all below the DAG folder with a slash in front.
        checkout: The checkout, which knows `dags-path`.
    """
    chosen = checkout.dags_folder
    files = checkout.map_paths(paths)
    votes = Counter(_split(path, file, chosen) for path, file in files.items())
    if votes:
        (instance, folder), _ = votes.most_common(1)[0]
        return Root(instance=instance, checkout=folder, sure=chosen is not None)
    if chosen is not None:
        return Root(instance="", checkout=chosen, sure=True)
    if checkout.list_files(CUSTOMARY_FOLDER):
        return Root(instance="", checkout=CUSTOMARY_FOLDER, sure=False)
    return None


def _split(path: str, file: str, chosen: str | None) -> tuple[str, str]:
    """Take off what two paths end with alike: as much as there is, or down to the folder that was chosen."""
    if chosen is not None:
        below = file.removeprefix(f"{chosen}/") if chosen else file
        return path.removesuffix(f"/{below}"), chosen
    instance, names = path.split("/"), file.split("/")
    while instance and names and instance[-1] == names[-1]:
        instance.pop()
        names.pop()
    return "/".join(instance), "/".join(names)


def choose_files(root: Root, checkout: Checkout, parsed: Iterable[str]) -> Expected:
    """Choose the files of the checkout that Airflow parses, by its own rule: `.py`, both words in it, not ignored.

    https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#loading-dags

    Args:
        root: What is deployed.
        checkout: The checkout.
        parsed: The instance's paths of the files that it parses: these are no longer in doubt.
    """
    there = set(parsed)
    known_folders = {path.removeprefix(f"{root.instance}/").split("/")[0] for path in there}
    files = checkout.list_files(root.checkout)
    rules = [rule for file in files if file.rpartition("/")[2] == IGNORE_FILE for rule in _read_rules(file, root, checkout)]
    awaited: dict[str, str] = {}
    doubtful: list[str] = []
    for file in files:
        path, below = root.place(file), root.relate(file)
        if file.endswith(".py") and might_define_dag(checkout.read(file)):
            # A whole checkout that turns out to be the DAG folder holds tests and scripts, too, which nobody deploys.
            strange = not root.sure and not root.checkout and "/" in below and below.split("/")[0] not in known_folders
            readings = {rule.matches_expression(below, root) for rule in rules if rule.covers(below)} | {False}
            globs = {rule.matches_glob(below) for rule in rules if rule.covers(below)} | {False}
            ignored = (True in readings, True in globs)
            if path in there or not (strange or any(ignored)):
                awaited[path] = file
            elif strange or not all(ignored):
                doubtful.append(file)
        elif file.lower().endswith(".zip"):
            doubtful.append(file)
    return Expected(awaited=awaited, doubtful=tuple(doubtful))


def might_define_dag(content: bytes) -> bool:
    """Tell whether Airflow's safe mode reads a file: both words are in it, in any case."""
    lowered = content.lower()
    return b"dag" in lowered and b"airflow" in lowered


@dataclass(frozen=True, kw_only=True)
class _IgnoreRule:
    """A line of an `.airflowignore`, which Airflow reads as a regular expression (2.x) or as a glob, by configuration."""

    folder: str
    pattern: str

    def covers(self, below: str) -> bool:
        return not self.folder or below.startswith(f"{self.folder}/")

    def matches_expression(self, below: str, root: Root) -> bool:
        """Search the path below the DAG folder, and each folder on the way, as Airflow does."""
        try:
            expression = re.compile(self.pattern)
        except re.error:
            return False
        names = f"{root.instance}/{below}".strip("/").split("/")
        return any(expression.search("/".join(names[:end])) for end in range(1, len(names) + 1))

    def matches_glob(self, below: str) -> bool:
        """Match as a line of `.gitignore` does; exceptions (`!`) and character classes are not known here."""
        path = below.removeprefix(f"{self.folder}/") if self.folder else below
        pattern = self.pattern
        anywhere = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
        inside = "/.*" if pattern.endswith("/") else "(?:/.*)?"
        translated = "".join(_translate(part) for part in re.split(r"(\*\*/|/\*\*$|\*|\?)", pattern.strip("/")))
        return re.fullmatch(anywhere + translated + inside, path) is not None


def _translate(part: str) -> str:
    return {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part)


def _read_rules(file: str, root: Root, checkout: Checkout) -> Iterator[_IgnoreRule]:
    folder = root.relate(file).rpartition("/")[0]
    for line in checkout.read(file).decode("utf-8", "replace").splitlines():
        pattern = re.sub(r"\s*#.*", "", line).strip()
        if pattern:
            yield _IgnoreRule(folder=folder, pattern=pattern)


# --- is it the same source? -----------------------------------------------------------------------------------------------


def is_same_source(stored: str, content: bytes) -> bool:
    """Compare Airflow's copy of a source with the checkout's file: line ends and a byte order mark mean nothing."""
    return _unify(stored) == _unify(content.decode("utf-8", "replace"))


def _unify(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def find_new_words(stored: str, content: bytes) -> set[str]:
    """List the names and texts that only the checkout's version has: DAG ids, task ids, descriptions, tags."""
    return _read_words(content.decode("utf-8", "replace")) - _read_words(stored)


def _read_words(source: str) -> set[str]:
    try:
        nodes = list(ast.walk(ast.parse(_unify(source))))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts | {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def list_shown_words(details: Mapping[str, Any], tasks: Mapping[str, Any]) -> set[str]:
    """List the author's own words among what Airflow shows of a DAG: ids, descriptions, tags; no defaults of Airflow's.

    Args:
        details: The answer of `GET /dags/{dag_id}/details`.
        tasks: The answer of `GET /dags/{dag_id}/tasks`.
    """
    rows = [details, *_read_rows(tasks.get("tasks")), *_read_rows(details.get("tags"))]
    words = {row.get(key) for row in rows for key in ("dag_id", "task_id", "description", "doc_md", "name")}
    return {word for word in words if isinstance(word, str)}


def _read_rows(value: object) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


# --- does the scheduler agree? --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class View:
    """What Airflow's database holds at one moment: the DAGs first, the errors a moment later."""

    dags: Sequence[DagRow]
    errors: Sequence[ErrorRow]

    def list_parse_times(self, path: str) -> set[str]:
        """When the DAGs of a file were last parsed."""
        return {dag.last_parsed_time for dag in self.dags if dag.path == path and dag.last_parsed_time}

    def list_errors(self, path: str) -> list[ErrorRow]:
        """The errors of a file; those of a zip's members are the zip's."""
        return [error for error in self.errors if strip_member(error.path) == path]


class Standing(Enum):
    """What the scheduler made of a file."""

    SOUND = auto()
    BROKEN = auto()
    AWAITED = auto()


def judge_file(path: str, before: View, now: View, *, must_be_parsed: bool) -> Standing:
    """Tell what the scheduler made of a file since an earlier view, by the server's own time stamps.

    An error that was stored again is real. One that was not, beside a newer parse, is being removed. Without an error a
    file that must be parsed is sound as soon as one of its DAGs was parsed since.
    """
    known = {(error.path, error.timestamp) for error in before.list_errors(path)}
    errors = now.list_errors(path)
    if any((error.path, error.timestamp) not in known for error in errors):
        return Standing.BROKEN
    if errors:
        return Standing.AWAITED
    parsed = bool(now.list_parse_times(path) - before.list_parse_times(path))
    return Standing.SOUND if parsed or not must_be_parsed else Standing.AWAITED


def strip_member(path: str) -> str:
    """Give the zip of a zip member, and any other path as it is."""
    match = re.match(r"(?P<zip>.*?\.zip)/", path, re.IGNORECASE)
    return match["zip"] if match else path
