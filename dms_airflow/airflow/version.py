"""What differs between Airflow versions: a record of data for each major version, and a few methods on it. Pure.

Airflow 2: https://airflow.apache.org/docs/apache-airflow/2.10.4/stable-rest-api-ref.html
Airflow 3: https://airflow.apache.org/docs/apache-airflow/3.2.2/stable-rest-api-ref.html, and responses of it in
tests/captures/airflow-3.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

# The DAG bundle of an Airflow 3 without a configuration of bundles.
DEFAULT_BUNDLE = "dags-folder"

_NUMBER = re.compile(r"(?P<major>\d+)(?:\.(?P<minor>\d+))?(?:\.\S*)?")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of Airflow.

    Args:
        number: As Airflow reports it, e.g. ``2.10.4``; empty where it is not known.
        major: The major version.
        api: Base of the REST API.
        health_path: Where Airflow reports its health, below that base.
        active_filter: The parameter of ``GET /dags`` that leaves out DAGs whose file is gone or broken.
        can_select_fields: ``GET /dags`` accepts ``fields``.
        source_key: By which field of a DAG ``GET /dagSources`` finds its source.
        log_media_type: In which form a task's log is complete and readable.
        dates_runs: A DAG run without a logical date gets one. Without one `ds` and its kin are undefined in templates.
        imports_by_default: `dags list-import-errors` imports the files, and with ``-S PATH`` one of them; else it reads the
            database unless it gets ``--local``.
        cli_import_is_reliable: The command line imports DAG files as the scheduler does. In 3.0 and 3.1 it imports without the
            DAG folder's own modules: a sound DAG that imports a helper is listed with a `ModuleNotFoundError`
            (tests/captures/airflow-3.2.2/other/3.1.0/import_errors_local_bundle.json).
        keeps_broken_dags: The last good version of a DAG stays in service while its file is broken (until `dags reserialize`).
        keeps_old_sources: Airflow's copy of a source is renewed only when the file's modification time is newer than the
            copy's.
        caches_dags: The web server serves a DAG from its memory for some seconds.
        stores_serialization_errors: `dags reserialize` stores an import error for a DAG that does not serialize; else it drops
            its version.
    """

    number: str = ""
    major: int
    api: str
    health_path: str
    active_filter: str
    can_select_fields: bool
    source_key: str
    log_media_type: str
    dates_runs: bool
    imports_by_default: bool
    cli_import_is_reliable: bool
    keeps_broken_dags: bool
    keeps_old_sources: bool
    caches_dags: bool
    stores_serialization_errors: bool

    def list_import_options(self, bundles: Sequence[str] = ()) -> tuple[str, ...]:
        """List the options with which `dags list-import-errors` imports every file of some bundles, or of the default one."""
        if self.imports_by_default:
            return ()
        return ("--local", *(word for bundle in bundles or (DEFAULT_BUNDLE,) for word in ("-B", bundle)))

    def format_run_page(self, dag_id: str, run_id: str, task_id: str = "", map_index: int = -1) -> str:
        """Format the path of the page of a DAG run, or of the log of one of its task instances."""
        dag_id, run_id, task_id = (quote(one, safe="") for one in (dag_id, run_id, task_id))
        if self.major == 2:  # noqa: PLR2004
            task = f"&task_id={task_id}{f'&map_index={map_index}' if map_index >= 0 else ''}&tab=logs" if task_id else ""
            return f"/dags/{dag_id}/grid?dag_run_id={run_id}{task}"
        task = f"/tasks/{task_id}{f'/mapped/{map_index}' if map_index >= 0 else ''}" if task_id else ""
        return f"/dags/{dag_id}/runs/{run_id}{task}"


AIRFLOW_2 = Version(
    major=2,
    api="/api/v1",
    health_path="/health",
    active_filter="only_active",
    can_select_fields=True,
    source_key="file_token",
    log_media_type="text/plain",  # as JSON it is the repr of a Python list
    dates_runs=True,
    imports_by_default=True,
    cli_import_is_reliable=True,
    keeps_broken_dags=True,
    keeps_old_sources=True,
    caches_dags=True,
    stores_serialization_errors=False,
)

AIRFLOW_3 = Version(
    major=3,
    api="/api/v2",
    health_path="/monitor/health",
    active_filter="exclude_stale",
    can_select_fields=False,
    source_key="dag_id",
    log_media_type="application/json",  # to any other Airflow responds with 406
    dates_runs=False,
    imports_by_default=False,
    cli_import_is_reliable=True,
    keeps_broken_dags=False,
    keeps_old_sources=False,
    caches_dags=False,
    stores_serialization_errors=True,
)

_FIRST_RELIABLE_IMPORT = (3, 2)


def parse_version(number: str) -> Version | None:
    """Find what is known of a version of Airflow; None where the text is not a version that has such an API."""
    match = _NUMBER.fullmatch(number)
    major = int(match["major"]) if match else 0
    if not match or major < 2:  # noqa: PLR2004 - Airflow 1 has no stable REST API
        return None
    if major == 2:  # noqa: PLR2004
        return replace(AIRFLOW_2, number=number)
    is_reliable = match["minor"] is None or (major, int(match["minor"])) >= _FIRST_RELIABLE_IMPORT
    return replace(AIRFLOW_3, number=number, major=major, cli_import_is_reliable=is_reliable)


def is_api_path(path: str) -> bool:
    """Whether a path of the instance is one of its API, e.g. ``/api/v1/dags``."""
    return re.match(r"/api(?:/|$)", path) is not None
