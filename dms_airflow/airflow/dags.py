"""Is this commit what the instance runs? Pure decisions about sources, and about what Airflow tells of its files.

Two kinds of path meet here: below the instance's DAG folder, as `dags report` prints them (`/etl.py`), and absolute ones,
Airflow's `fileloc` (`/opt/airflow/dags/etl.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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
    source: str = ""
    """Where the API has Airflow's copy of its source, below the API's base; empty where it has none."""
    bundle: str = ""
    """The DAG bundle it is of; empty before Airflow 3."""
    bundle_folder: str = ""
    """The instance's absolute path of the bundle; empty where it is not known."""


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """An import error as the scheduler stored it."""

    path: str
    """The instance's absolute path; below the bundle where the bundle's folder is not known."""
    stack_trace: str
    timestamp: str
    """By the server's clock; rewritten whenever the file is parsed and fails again."""
    bundle: str = ""
    """The DAG bundle that the file is of; empty before Airflow 3."""


def read_report(answer: Iterable[Mapping[str, Any]]) -> tuple[ParsedFile, ...]:
    """Read the answer of `dags report -o json` (dags/report__json.json in tests/captures); 3.2 leaves the first slash out."""
    return tuple(
        ParsedFile(
            path=f"/{str(row.get('file') or '').removeprefix('/')}",
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


def read_dag(entry: Mapping[str, Any], *, is_active: bool, source: str = "") -> DagRow:
    """Read an entry of `GET /dags`; whether it is active and where its source is are for the Airflow's dialect to say."""
    path, below = str(entry.get("fileloc") or ""), f"/{entry.get('relative_fileloc') or ''}"
    return DagRow(
        dag_id=str(entry.get("dag_id") or ""),
        path=path,
        source=source,
        bundle=str(entry.get("bundle_name") or ""),
        bundle_folder=path.removesuffix(below) if below != "/" and path.endswith(below) else "",
        file_token=str(entry.get("file_token") or ""),
        last_parsed_time=str(entry.get("last_parsed_time") or ""),
        is_active=is_active,
        has_import_errors=entry.get("has_import_errors") is True,
    )


def read_stored_error(entry: Mapping[str, Any], folders: Mapping[str, str]) -> ErrorRow:
    """Read an entry of `GET /importErrors`; from Airflow 3 on its path is below a bundle, whose folder makes it absolute."""
    path, bundle = str(entry.get("filename") or ""), str(entry.get("bundle_name") or "")
    folder = folders.get(bundle)
    return ErrorRow(
        path=f"{folder}/{path}" if folder and not path.startswith("/") else path,
        stack_trace=str(entry.get("stack_trace") or ""),
        timestamp=str(entry.get("timestamp") or ""),
        bundle=bundle,
    )


def is_left_behind(filename: str) -> bool:
    """Tell an import error that `dags reserialize` of Airflow 3.0 stored: with an absolute path, and nobody removes it.

    The dag-processor's own are below the bundle, but for the members of a zip, which are always absolute
    (tests/captures/airflow-3.2.2/other/3.0.6/import_errors_db.json).
    """
    return filename.startswith("/") and strip_member(filename) == filename


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


def add_known_dags(report: Iterable[ParsedFile], dags: Iterable[DagRow], folder: str) -> tuple[ParsedFile, ...]:
    """Add the DAGs that the database has of each file, for an Airflow whose report comes of another import than its own."""
    known: dict[str, set[str]] = {}
    for dag in dags:
        if dag.is_active and not dag.has_import_errors:
            known.setdefault(dag.path, set()).add(dag.dag_id)
    return tuple(
        replace(file, dag_ids=tuple(sorted({*file.dag_ids, *known.get(f"{folder}{file.path}", ())}))) for file in report
    )


# --- is it the same source? -----------------------------------------------------------------------------------------------


# --- does the scheduler agree? --------------------------------------------------------------------------------------------


def strip_member(path: str) -> str:
    """Give the zip of a zip member, and any other path as it is."""
    match = re.match(r"(?P<zip>.*?\.zip)/", path, re.IGNORECASE)
    return match["zip"] if match else path
