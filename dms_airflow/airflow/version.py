"""What differs between Airflow 2 and Airflow 3, each in one object: whoever asks or reads asks the object. Pure.

Airflow 2: https://airflow.apache.org/docs/apache-airflow/2.10.4/stable-rest-api-ref.html
Airflow 3: https://airflow.apache.org/docs/apache-airflow/3.2.2/stable-rest-api-ref.html, and answers of it in
tests/captures/airflow-3.2.2.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from dms_airflow.airflow.task_logs import TaskLog
    from dms_airflow.core.http import Answer

_NOT_FOUND, _NOT_ALLOWED = 404, 405

# What Airflow 3 answers to any GET below /api/v1 (tests/captures/airflow-3.2.2/rest/meta).
_REMOVED = "has been removed in Airflow 3"
# What it answers to a path or a method that no route takes, and nothing else is beside it.
_NO_ROUTE = ({"detail": "Method Not Allowed"}, {"detail": "Not Found"}, {"error": "API route not found"})

# The DAG bundle that an Airflow 3 has which is given no others.
DEFAULT_BUNDLE = "dags-folder"

_IMPORTS_HELPERS = 2  # the first minor version of Airflow 3 whose command line does

_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.\S*)?")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One REST request, whole: path with the API's base, and query encoded."""

    method: str
    path: str
    query: str = ""
    body: str | None = None
    accept: str = "application/json"

    @property
    def name(self) -> str:
        """What may be printed of it."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True)
class Dialect(ABC):
    """How one version of Airflow is spoken to.

    Args:
        version: As Airflow tells it, e.g. ``2.10.4``; only ``3`` or ``2`` where no more of it is known.
    """

    version: str

    @property
    def release(self) -> tuple[int, int | None]:
        """Major and minor version; without a minor one where it is not known."""
        match = _VERSION.fullmatch(self.version)
        return (int(match[1]), None if match[2] is None else int(match[2])) if match else (0, None)

    @property
    def major(self) -> int:
        """The major version."""
        return self.release[0]

    @property
    def is_exact(self) -> bool:
        """Whether more than the major version is known."""
        return self.release[1] is not None

    # --- REST ------------------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def api(self) -> str:
        """The base of the REST API."""

    @property
    @abstractmethod
    def health_path(self) -> str:
        """Where Airflow tells how it is, below the API's base."""

    def locate(self, path: str) -> str:
        """Give the whole path of one below the API's base; one that names its API is whole."""
        return path if re.match(r"/api(?:/|$)", path) else f"{self.api}{path}"

    def get(self, path: str, query: Sequence[tuple[str, Any]] = ()) -> Call:
        """Make a call that reads what lies at a path below the API's base."""
        return Call(method="GET", path=self.locate(path), query=urlencode(query, quote_via=quote))

    @abstractmethod
    def list_dags(self, page: Sequence[tuple[str, Any]], *, only_active: bool, fields: str) -> Call:
        """Make a call for one page of the DAGs, in the order of their ids.

        Args:
            page: ``limit`` and ``offset``.
            only_active: Leave out those whose file is gone or broken.
            fields: What the caller reads of each, separated by commas, for an Airflow that then leaves out the rest.
        """

    @abstractmethod
    def is_active(self, dag: Mapping[str, Any]) -> bool:
        """Tell whether a DAG, as the API gives it, can run. What is not told stands in nobody's way."""

    @abstractmethod
    def locate_source(self, dag: Mapping[str, Any]) -> str:
        """Give the path, below the API's base, of Airflow's copy of a DAG's source."""

    @abstractmethod
    def create_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any], logical_date: datetime) -> Call:
        """Make the call that asks for a DAG run.

        Args:
            dag_id: The DAG.
            run_id: The run's id.
            conf: Its configuration.
            logical_date: Now, for an Airflow that does not date a run by itself.
        """

    @abstractmethod
    def read_log(self, path: str, map_index: int) -> Call:
        """Make the call that reads a task's log.

        Args:
            path: Of the log, below the API's base.
            map_index: Of a mapped task; -1 when it is not mapped.
        """

    @abstractmethod
    def parse_log(self, answer: Answer) -> TaskLog:
        """Read what `read_log` is answered."""

    # --- command line ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def date_run(self, logical_date: datetime) -> tuple[str, ...]:
        """Give the words that `dags trigger` needs to date its run by this moment; none where Airflow does so by itself."""

    @abstractmethod
    def import_now(self, bundles: Sequence[str] = ()) -> tuple[str, ...] | None:
        """Give the options with which `dags list-import-errors` imports every file now, as the scheduler would.

        None where no options do that: only what the scheduler's processor of DAG files stored is true there.

        Args:
            bundles: The instance's DAG bundles; by default the one that Airflow 3 comes with.
        """

    @abstractmethod
    def import_alone(self, path: str) -> tuple[str, ...] | None:
        """Give the options with which `dags list-import-errors` imports one file; None where it cannot."""

    @property
    @abstractmethod
    def minors_differ(self) -> bool:
        """Whether minor versions import DAG files differently, so that it takes the whole version to know how."""

    @property
    @abstractmethod
    def keeps_broken_dags(self) -> bool:
        """Whether the last good version of a DAG stays in service while its file is broken."""

    @property
    @abstractmethod
    def keeps_old_sources(self) -> bool:
        """Whether Airflow's copy of a source stays behind when a file came with an old modification time."""

    @property
    @abstractmethod
    def stores_serialization_errors(self) -> bool:
        """Whether `dags reserialize` stores an import error for a DAG that does not serialize; else it drops its version."""

    # --- pages for people ------------------------------------------------------------------------------------------------

    @abstractmethod
    def write_run_url(self, airflow_url: str, dag_id: str, run_id: str, task_id: str = "", map_index: int = -1) -> str:
        """Name the page of a DAG run, or of the log of one of its task instances."""


@dataclass(frozen=True, kw_only=True)
class Airflow2(Dialect):
    """Airflow 2: everything below ``/api/v1``."""

    version: str = "2"

    @property
    def api(self) -> str:
        """The stable REST API."""
        return "/api/v1"

    @property
    def health_path(self) -> str:
        """Beside the lists."""
        return "/health"

    def list_dags(self, page: Sequence[tuple[str, Any]], *, only_active: bool, fields: str) -> Call:
        """``only_active`` is true when it is left out."""
        asked = [("only_active", str(only_active).lower()), ("order_by", "dag_id"), ("fields", fields)]
        return self.get("/dags", [*asked, *page])

    def is_active(self, dag: Mapping[str, Any]) -> bool:
        """A DAG whose file is gone is kept, inactive."""
        return dag.get("is_active") is not False

    def locate_source(self, dag: Mapping[str, Any]) -> str:
        """By a token that names the file."""
        return f"/dagSources/{quote(str(dag.get('file_token') or ''), safe='')}"

    def create_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any], logical_date: datetime) -> Call:
        """Airflow 2 dates a run by the moment at which it makes it."""
        del logical_date
        return _post_run(self, dag_id, {"dag_run_id": run_id, "conf": conf})

    def read_log(self, path: str, map_index: int) -> Call:
        """As text. As JSON it would be the repr of a Python list."""
        return replace(_get_log(self, path, map_index), accept="text/plain")

    def parse_log(self, answer: Answer) -> TaskLog:
        """Lines of text."""
        from dms_airflow.airflow.task_logs import read_long_log  # noqa: PLC0415 - only who waits reads logs, and each step would pay

        return read_long_log(answer.body)

    def date_run(self, logical_date: datetime) -> tuple[str, ...]:
        """By itself."""
        del logical_date
        return ()

    def import_now(self, bundles: Sequence[str] = ()) -> tuple[str, ...] | None:
        """It always does."""
        del bundles
        return ()

    def import_alone(self, path: str) -> tuple[str, ...] | None:
        """By the file's path."""
        return ("-S", path)

    @property
    def minors_differ(self) -> bool:
        """All of them import as the scheduler does."""
        return False

    @property
    def keeps_broken_dags(self) -> bool:
        """Until `dags reserialize`."""
        return True

    @property
    def keeps_old_sources(self) -> bool:
        """A new copy is taken only when the time is newer than that of the last copy."""
        return True

    @property
    def stores_serialization_errors(self) -> bool:
        """It stores no import errors at all."""
        return False

    def write_run_url(self, airflow_url: str, dag_id: str, run_id: str, task_id: str = "", map_index: int = -1) -> str:
        """A view of the DAG's grid."""
        url = f"{airflow_url}/dags/{quote(dag_id, safe='')}/grid?dag_run_id={quote(run_id, safe='')}"
        if not task_id:
            return url
        place = "" if map_index < 0 else f"&map_index={map_index}"
        return f"{url}&task_id={quote(task_id, safe='')}{place}&tab=logs"


@dataclass(frozen=True, kw_only=True)
class Airflow3(Dialect):
    """Airflow 3: everything below ``/api/v2``."""

    version: str = "3"

    @property
    def api(self) -> str:
        """The stable REST API."""
        return "/api/v2"

    @property
    def health_path(self) -> str:
        """In a folder of its own."""
        return "/monitor/health"

    def list_dags(self, page: Sequence[tuple[str, Any]], *, only_active: bool, fields: str) -> Call:
        """``exclude_stale`` is true when it is left out. There is no ``fields``."""
        del fields
        return self.get("/dags", [("exclude_stale", str(only_active).lower()), ("order_by", "dag_id"), *page])

    def is_active(self, dag: Mapping[str, Any]) -> bool:
        """A DAG whose file is gone or broken is kept, stale."""
        return dag.get("is_stale") is not True

    def locate_source(self, dag: Mapping[str, Any]) -> str:
        """By the DAG's id."""
        return f"/dagSources/{quote(str(dag.get('dag_id') or ''), safe='')}"

    def create_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any], logical_date: datetime) -> Call:
        """Without a date `ds` and its kin are undefined in the run's templates, and tasks fail."""
        return _post_run(self, dag_id, {"dag_run_id": run_id, "conf": conf, "logical_date": logical_date.isoformat()})

    def read_log(self, path: str, map_index: int) -> Call:
        """As JSON. There is no text: Airflow answers 406."""
        return _get_log(self, path, map_index)

    def parse_log(self, answer: Answer) -> TaskLog:
        """Records."""
        from dms_airflow.airflow.structured_logs import read_structured_log  # noqa: PLC0415 - as above
        from dms_airflow.airflow.task_logs import read_task_log  # noqa: PLC0415 - as above

        content = answer.parse_object().get("content")
        return read_structured_log(content) if isinstance(content, list) else read_task_log(answer.text)

    def date_run(self, logical_date: datetime) -> tuple[str, ...]:
        """As by REST, and to the microsecond: of one date there is one run, and the command line would cut it to the second."""
        return ("--logical-date", logical_date.isoformat(), "--no-replace-microseconds")

    def import_now(self, bundles: Sequence[str] = ()) -> tuple[str, ...] | None:
        """By default it reads the database. With these it imports; in 3.0 and 3.1 without the DAG folder's own modules.

        There a sound DAG that imports a helper is listed with a `ModuleNotFoundError`
        (tests/captures/airflow-3.2.2/other/3.1.0/import_errors_local_bundle.json).
        """
        minor = self.release[1]
        if minor is not None and minor < _IMPORTS_HELPERS:
            return None
        return ("--local", *(word for bundle in bundles or (DEFAULT_BUNDLE,) for word in ("-B", bundle)))

    def import_alone(self, path: str) -> tuple[str, ...] | None:
        """Only whole bundles."""
        del path
        return None

    @property
    def minors_differ(self) -> bool:
        """From 3.2 on the command line imports as the dag-processor does."""
        return True

    @property
    def keeps_broken_dags(self) -> bool:
        """Its DAGs are stale from the next parse on: nothing runs them, and nobody can trigger them."""
        return False

    @property
    def keeps_old_sources(self) -> bool:
        """Each parse takes a copy."""
        return False

    @property
    def stores_serialization_errors(self) -> bool:
        """As for a file that does not import."""
        return True

    def write_run_url(self, airflow_url: str, dag_id: str, run_id: str, task_id: str = "", map_index: int = -1) -> str:
        """A page of its own."""
        url = f"{airflow_url}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
        if not task_id:
            return url
        place = "" if map_index < 0 else f"/mapped/{map_index}"
        return f"{url}/tasks/{quote(task_id, safe='')}{place}"


AIRFLOW_2 = Airflow2()
AIRFLOW_3 = Airflow3()

# Where an Airflow tells its version to anybody, in the order in which it is asked for.
VERSION_PATHS = tuple(f"{dialect.api}/version" for dialect in (AIRFLOW_2, AIRFLOW_3))

# Where DMS takes commands: the path that its documentation names, and what it may be called on Airflow 3, in this order.
COMMAND_PATHS = tuple(f"{dialect.api}/command" for dialect in (AIRFLOW_2, AIRFLOW_3))


def find_dialect(version: str) -> Dialect | None:
    """Choose how an Airflow of this version is spoken to; None when that is no version."""
    match = _VERSION.fullmatch(version)
    if not match or int(match[1]) < 2:  # noqa: PLR2004 - Airflow 1 has no such API
        return None
    return Airflow2(version=version) if int(match[1]) == 2 else Airflow3(version=version)  # noqa: PLR2004


def recognise(path: str, answer: Answer) -> Dialect | None:
    """Tell from an answer which Airflow gave it; None when it does not tell.

    Args:
        path: Of the request, with the API's base. DMS's own command endpoint tells nothing by an answer.
        answer: To it.
    """
    if path in COMMAND_PATHS:
        return AIRFLOW_3 if is_unknown_route(answer) and path == COMMAND_PATHS[0] else None
    told = answer.parse_object()
    is_of_the_api = bool(told)
    if path.startswith(f"{AIRFLOW_2.api}/"):
        if is_unknown_route(answer):
            return AIRFLOW_3
        # The lists and things of Airflow 2, and its errors, which have a title (RFC 7807).
        is_good = answer.status < 400 or {"title", "status"} <= told.keys()  # noqa: PLR2004
        return AIRFLOW_2 if is_of_the_api and is_good else None
    is_3 = path.startswith(f"{AIRFLOW_3.api}/") and is_of_the_api and answer.status < 400  # noqa: PLR2004
    return AIRFLOW_3 if is_3 else None


def is_unknown_route(answer: Answer) -> bool:
    """Tell an answer by which Airflow 3 says that it has nothing at a path: what was asked for was not done."""
    if not is_missing(answer):
        return False
    told = answer.parse_object()
    return told in _NO_ROUTE or _REMOVED in str(told.get("error"))


def is_missing(answer: Answer) -> bool:
    """Tell an answer whose status says that there is no such thing, or nothing that takes this method."""
    return answer.status in (_NOT_FOUND, _NOT_ALLOWED)


def _get_log(dialect: Dialect, path: str, map_index: int) -> Call:
    return dialect.get(path, [("map_index", map_index)] if map_index >= 0 else [])


def _post_run(dialect: Dialect, dag_id: str, body: Mapping[str, Any]) -> Call:
    path = dialect.locate(f"/dags/{quote(dag_id, safe='')}/dagRuns")
    return Call(method="POST", path=path, body=json.dumps(body))
