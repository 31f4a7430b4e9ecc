"""DAGs, their files, sources and import errors, as REST and `dags report` return them.

What sends a request raises ActionError where its result is not known.

Two kinds of path meet here: below the instance's DAG folder, as `dags report` prints them (`/etl.py`), and absolute ones,
Airflow's `fileloc` (`/opt/airflow/dags/etl.py`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.version import Version

# What `parse_dag` reads, for an Airflow that then leaves out the rest.
FIELDS = "dag_id,fileloc,file_token,has_import_errors,last_parsed_time,is_active,is_paused,max_active_runs"

# The web server of Airflow 2 serves a DAG that it has loaded for so many seconds without a look at the database:
# https://airflow.apache.org/docs/apache-airflow/2.10.4/configurations-ref.html#min-serialized-dag-fetch-interval
CACHE_SECONDS = 10.0  # by default
SLOWEST = 5  # files to list

# The DAG ids of each file that the instance parses, by its path below the DAG folder, with a slash in front. A file is without
# DAG ids if it is broken, or a helper that looks like a DAG file.
Report = Mapping[str, tuple[str, ...]]

# Airflow shows this in place of an error to users who cannot read every DAG of the file.
_REDACTED = "REDACTED - you do not have read permission"


@dataclass(frozen=True, kw_only=True)
class Dag:
    """A DAG as Airflow's database has it. What a response does not say counts as if nothing were wrong.

    Args:
        path: The instance's absolute path of its file.
        is_active: Its file exists and defines it. On Airflow 3 also true for a broken file's DAG.
        max_active_runs: How many of its runs may run at once; None where that is not known.
        file_token: Identifies the file in a request to parse it.
        last_parsed_time: By the server's clock; only compared with itself.
        source: Where the API has Airflow's copy of its source, below the API's base; empty where it has none.
        bundle: The DAG bundle it is of; empty before Airflow 3.
        bundle_folder: The instance's absolute path of the bundle; empty where it is not known.
    """

    dag_id: str
    path: str = ""
    is_active: bool = True
    is_paused: bool = False
    has_import_errors: bool = False
    max_active_runs: int | None = None
    file_token: str = ""
    last_parsed_time: str = ""
    source: str = ""
    bundle: str = ""
    bundle_folder: str = ""


@dataclass(frozen=True, kw_only=True)
class StoredImportError:
    """An import error as the scheduler stored it."""

    path: str
    """The instance's absolute path; below the bundle where the bundle's folder is not known."""
    stack_trace: str
    timestamp: str
    """By the server's clock; rewritten whenever the file is parsed and fails again."""
    bundle: str = ""
    """The DAG bundle that the file is of; empty before Airflow 3."""


def parse_report(rows: Iterable[Mapping[str, Any]]) -> Report:
    """Parse what `dags report -o json` prints (dags/report__json.json in tests/captures); 3.2 leaves the first slash out."""
    report: dict[str, tuple[str, ...]] = {}
    for row in rows:
        path, dag_ids = f"/{str(row.get('file') or '').removeprefix('/')}", row.get("dags")
        # DAG bundles may have files of the same name.
        report[path] = (*report.get(path, ()), *map(str, dag_ids if isinstance(dag_ids, list) else ()))
    return report


def list_slowest(rows: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """List the files of `dags report -o json` that took longest to parse, and the times as Airflow writes them."""
    times = [(str(row.get("file")), str(row.get("duration") or "")) for row in rows]
    return tuple(sorted(times, key=itemgetter(1), reverse=True)[:SLOWEST])


# --- requests -------------------------------------------------------------------------------------------------------------


def fetch_dag(airflow: AirflowClient, dag_id: str) -> Dag | None:
    """Fetch a DAG; None if it does not exist."""
    content = airflow.fetch_object(locate_dag(dag_id))
    return None if content is None else parse_dag(content, airflow.version)


def list_dags(airflow: AirflowClient, *, only_active: bool) -> tuple[Dag, ...]:
    """List DAGs in the order of their ids, or only those whose file is there and not broken."""
    version = airflow.version
    query = [(version.active_filter, str(only_active).lower()), ("order_by", "dag_id")]
    query += [("fields", FIELDS)] if version.can_select_fields else []
    return tuple(parse_dag(row, version) for row in airflow.fetch_list("/dags", query))


def unpause_dag(airflow: AirflowClient, dag_id: str) -> None:
    """Unpause a DAG. Nothing more happens when it is requested twice.

    Raises:
        ActionError: It may be paused still.
        Cancelled: The workflow was cancelled before.
    """
    airflow.require_open()
    path, body = locate_dag(dag_id), json.dumps({"is_paused": False})
    response = airflow.request("PATCH", path, query="update_mask=is_paused", body=body, repeatable=True)
    if response.parse_object().get("is_paused") is not False:
        raise airflow.make_error(response, f"PATCH {airflow.locate(path)}")


def fetch_upstream(airflow: AirflowClient, dag_id: str) -> dict[str, frozenset[str]]:
    """Fetch which tasks each task of a DAG waits for; empty where Airflow does not say."""
    return parse_upstream(airflow.fetch_object(f"{locate_dag(dag_id)}/tasks") or {})


def fetch_sources(airflow: AirflowClient, places: Mapping[str, str]) -> dict[str, str]:
    """Fetch Airflow's copies of files' sources, by path, from where the API has them; what it has no copy of is left out."""

    def fetch(place: str) -> Any:
        response = airflow.request("GET", place)
        return response.parse_object().get("content") if response.status == HTTPStatus.OK else None

    contents = dict(zip(places, airflow.map(fetch, places.values()), strict=True))
    return {path: content for path, content in contents.items() if isinstance(content, str)}


def list_stored_errors(airflow: AirflowClient, folders: Mapping[str, str]) -> tuple[StoredImportError, ...]:
    """List the import errors that the scheduler or dag-processor stored.

    `folders` has the absolute path of each DAG bundle that is known: since Airflow 3, paths are below a bundle.
    """
    rows = airflow.fetch_list("/importErrors", [("order_by", "import_error_id")])
    if not airflow.version.cli_import_is_reliable:
        rows = [row for row in rows if not was_stored_by_reserialize(str(row.get("filename") or ""))]
    return tuple(parse_import_error(row, folders) for row in rows)


# --- parsing --------------------------------------------------------------------------------------------------------------


def locate_dag(dag_id: str) -> str:
    """Return the path of a DAG, below the API's base."""
    return f"/dags/{quote(dag_id, safe='')}"


def parse_dag(row: Mapping[str, Any], version: Version) -> Dag:
    """Parse a DAG of `GET /dags`. Without a sound file Airflow 2 has ``is_active: false``, Airflow 3 ``is_stale: true``."""
    path, below = str(row.get("fileloc") or ""), f"/{row.get('relative_fileloc') or ''}"
    limit = row.get("max_active_runs")
    source = str(row.get(version.source_key) or "")
    return Dag(
        dag_id=str(row.get("dag_id") or ""),
        path=path,
        is_active=row.get("is_active") is not False and row.get("is_stale") is not True,
        is_paused=row.get("is_paused") is True,
        has_import_errors=row.get("has_import_errors") is True,
        max_active_runs=limit if isinstance(limit, int) else None,
        file_token=str(row.get("file_token") or ""),
        last_parsed_time=str(row.get("last_parsed_time") or ""),
        source=f"/dagSources/{quote(source, safe='')}" if source and row.get("file_token") else "",
        bundle=str(row.get("bundle_name") or ""),
        bundle_folder=path.removesuffix(below) if below != "/" and path.endswith(below) else "",
    )


def parse_upstream(content: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Parse from a DAG's list of tasks which tasks each one waits for."""
    upstream: dict[str, set[str]] = {}
    tasks = content.get("tasks")
    for task in tasks if isinstance(tasks, list) else []:
        if not isinstance(task, dict):
            continue
        upstream.setdefault(str(task.get("task_id")), set())
        for below in task.get("downstream_task_ids") or []:
            upstream.setdefault(str(below), set()).add(str(task.get("task_id")))
    return {task_id: frozenset(above) for task_id, above in upstream.items()}


def parse_import_error(row: Mapping[str, Any], folders: Mapping[str, str]) -> StoredImportError:
    """Parse an entry of `GET /importErrors`; its path becomes absolute where its bundle's folder is known."""
    path, bundle = str(row.get("filename") or ""), str(row.get("bundle_name") or "")
    folder, text = folders.get(bundle), str(row.get("stack_trace") or "")
    if text.startswith(_REDACTED):
        text = f"{text}. Give the RAM identity a role in Airflow with permission to read these DAGs, for example Viewer"
    return StoredImportError(
        path=f"{folder}/{path}" if folder and not path.startswith("/") else path,
        stack_trace=text,
        timestamp=str(row.get("timestamp") or ""),
        bundle=bundle,
    )


def was_stored_by_reserialize(filename: str) -> bool:
    """Whether `dags reserialize` of Airflow 3.0 stored an import error: it has an absolute path, and Airflow never removes it.

    The paths of the dag-processor are below the bundle, except for members of a zip, which are always absolute
    (tests/captures/airflow-3.2.2/other/3.0.6/import_errors_db.json).
    """
    return filename.startswith("/") and strip_member(filename) == filename


def find_dags_folder(dags: Iterable[Dag], report: Report) -> str | None:
    """Find the absolute path of the instance's DAG folder; None when no file of the report is in the database yet."""
    namesakes: dict[str, list[str]] = {}
    for path in report:
        namesakes.setdefault(path.rpartition("/")[2], []).append(path)
    folders = Counter(
        dag.path.removesuffix(path)
        for dag in dags
        for path in namesakes.get(dag.path.rpartition("/")[2], ())
        if dag.path.endswith(path)
    )
    return folders.most_common(1)[0][0] if folders else None


def add_known_dags(report: Report, dags: Iterable[Dag], folder: str) -> Report:
    """Add the DAGs that the database has of each file, for an Airflow whose report comes of another import than its own."""
    known: dict[str, set[str]] = {}
    for dag in dags:
        if dag.is_active and not dag.has_import_errors:
            known.setdefault(dag.path, set()).add(dag.dag_id)
    return {path: tuple(sorted({*dag_ids, *known.get(f"{folder}{path}", ())})) for path, dag_ids in report.items()}


def strip_member(path: str) -> str:
    """Return the zip of a zip member, and any other path as it is."""
    match = re.match(r"(?P<zip>.*?\.zip)/", path, re.IGNORECASE)
    return match["zip"] if match else path
