"""Commands, lists and sources of an instance, within one time limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from dms_airflow.airflow.commands.arguments import CommandLine, show
from dms_airflow.airflow.commands.send import Execution, run_command
from dms_airflow.airflow.dags import Dag, StoredImportError, list_dags, list_stored_errors, locate_dag, strip_member
from dms_airflow.airflow.responses import parse_date
from dms_airflow.core.errors import AnswerError, AnswerTimeoutError
from dms_airflow.core.polling import poll
from dms_airflow.core.text import join

if TYPE_CHECKING:
    from dms_airflow.core.http.exchange import Response
    from dms_airflow.operations.context import Context


T = TypeVar("T")

# A command gets this share of the time at most, so that a DAG file that hangs leaves time to find it.
COMMAND_SHARE = 1 / 3
SHORTEST_LIMIT = 30.0  # seconds: Airflow needs up to ten of them to start on a busy machine

# How long Airflow 2's web server may serve a DAG that it loaded before (CACHE_SECONDS by default), and between two polls.
CACHE_LIMIT = 60.0  # seconds
CACHE_INTERVAL = 2.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The content of Airflow's database at one moment: the DAGs first, the errors a moment later."""

    dags: Sequence[Dag]
    errors: Sequence[StoredImportError]

    def list_errors(self, path: str) -> list[StoredImportError]:
        """The errors of a file; errors of a zip's members belong to the zip."""
        return [error for error in self.errors if strip_member(error.path) == path]


class InstanceReader:
    """Reads the state of one instance, within `timeout` seconds for everything together.

    `poll_interval` is in seconds; None: soon at first, then rarer.
    """

    def __init__(self, context: Context, *, timeout: float, poll_interval: float | None) -> None:
        self.airflow = context.airflow
        self._context = context
        self._limit = max(SHORTEST_LIMIT, timeout * COMMAND_SHARE)
        self._deadline = context.clock.monotonic() + timeout
        self._poll_interval = poll_interval
        self.commands = 0
        """How many were run."""
        self.folders: dict[str, str] = {}
        """The absolute paths of the DAG bundles, as shown by the listed DAGs; empty before Airflow 3."""

    @property
    def remaining(self) -> float:
        """Seconds until time is up; negative afterwards."""
        return self._deadline - self._context.clock.monotonic()

    # --- commands --------------------------------------------------------------------------------------------------------

    def run(self, name: str, *arguments: str, limit: float | None = None) -> Execution | None:
        """Run a command and judge it; None when no answer came in time.

        Nothing is sent a second time: a command that hangs continues to hang on the instance.

        Raises:
            ActionError: Its stdout and stderr are not known.
        """
        line = CommandLine(name=name, arguments=arguments)
        self._context.log.info(f"$ airflow {show(line)}")
        self.commands += 1
        try:
            return run_command(self.airflow, line, timeout=limit or self._limit, repeatable=False)
        except (AnswerTimeoutError, AnswerError) as error:
            if isinstance(error, AnswerError) and error.status != HTTPStatus.GATEWAY_TIMEOUT:
                raise
            self._context.log.info(error.message)
            return None

    # --- REST ------------------------------------------------------------------------------------------------------------

    def view(self) -> Snapshot:
        """Fetch the DAGs, then the import errors: the error of a parse is stored a moment after the DAGs."""
        return Snapshot(dags=self.list_dags(), errors=self.list_stored_errors())

    def list_dags(self) -> tuple[Dag, ...]:
        """List every DAG of the database, inactive ones too."""
        dags = list_dags(self.airflow, only_active=False)
        self.folders.update({dag.bundle: dag.bundle_folder for dag in dags if dag.bundle and dag.bundle_folder})
        return dags

    def list_stored_errors(self) -> tuple[StoredImportError, ...]:
        """List every import error that the scheduler stored; their paths are absolute where the DAGs show the folder."""
        return list_stored_errors(self.airflow, self.folders)

    def list_unserialized(self, dags: Iterable[Dag]) -> list[Dag]:
        """List those of the DAGs without a serialized version in Airflow 2: it lists them, but has no details of them.

        Its web server serves a DAG from its memory for seconds, without a look at the database. So a DAG that was loaded before
        it was parsed is fetched again. The DAGs are as they are listed after they were parsed.

        Raises:
            ActionError: The details of a DAG are not known.
        """
        airflow, clock = self.airflow, self._context.clock
        left, missing = {dag.dag_id: dag for dag in dags}, list[Dag]()

        def fetch_details() -> tuple[None, Sequence[str]]:
            details = airflow.map(airflow.fetch_object, [f"{locate_dag(dag_id)}/details" for dag_id in left])
            for dag, found in zip(tuple(left.values()), details, strict=True):
                if found is None:
                    missing.append(dag)
                if found is None or not _was_loaded_before(found, dag):
                    del left[dag.dag_id]
            return None, [f"Airflow's web server to read DAG {dag_id} again" for dag_id in left]

        deadline = min(self._deadline, clock.monotonic() + CACHE_LIMIT)
        _, awaited = poll(fetch_details, clock=clock, log=self._context.log, deadline=deadline, interval=CACHE_INTERVAL)
        if awaited:
            raise AnswerError(
                f"Whether DAG {join([*left])} serializes is not known: Airflow's web server serves what it loaded before.",
                "Run the step again. If it fails again, look at the instance's min_serialized_dag_fetch_interval.",
            )
        return missing

    def request_parse(self, dags: Iterable[Dag], paths: Iterable[str]) -> None:
        """Request that files are parsed next, by the tokens of their DAGs; where Airflow refuses, each waits for its turn.

        The first refusal is the last request: a user may lack the right, and each further one would log in again.
        """

        def request(token: str) -> Response:
            # Requested twice it is parsed once: Airflow answers that it is a duplicate.
            return self.airflow.request("PUT", f"/parseDagFile/{quote(token, safe='')}", repeatable=True)

        wanted = {*paths}
        tokens = sorted({dag.path: dag.file_token for dag in dags if dag.file_token and dag.path in wanted}.values())
        if tokens and request(tokens[0]).status not in (HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED):
            self.airflow.map(request, tokens[1:])

    # --- waiting ---------------------------------------------------------------------------------------------------------

    def poll(self, fetch_state: Callable[[], tuple[T, Sequence[str]]]) -> tuple[T, Sequence[str]]:
        """Call a function until it awaits nothing or time is up."""
        clock, log = self._context.clock, self._context.log
        return poll(fetch_state, clock=clock, log=log, deadline=self._deadline, interval=self._poll_interval)


def _was_loaded_before(details: Mapping[str, Any], dag: Dag) -> bool:
    """Whether the web server loaded a DAG, which its details call parsed, before the DAG was parsed."""
    loaded, parsed = parse_date(details.get("last_parsed")), parse_date(dag.last_parsed_time)
    return loaded is not None and parsed is not None and loaded < parsed
