"""The instance as the deploy gate looks at it: judged commands, lists and sources fetched side by side, and waiting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

from dms_airflow.airflow.client import CONCURRENCY, PAGE
from dms_airflow.airflow.commands.command_line import CommandLine, show
from dms_airflow.airflow.commands.run import Execution
from dms_airflow.airflow.commands.table import COMMANDS
from dms_airflow.airflow.commands.verdict import judge
from dms_airflow.airflow.dags import is_left_behind, read_dag, read_stored_error
from dms_airflow.airflow.pages import read_page
from dms_airflow.airflow.version import AIRFLOW_2
from dms_airflow.core.errors import AnswerError, AnswerTimeoutError
from dms_airflow.core.retry import poll
from dms_airflow.import_errors.reparse import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dms_airflow.airflow.client import MakePage
    from dms_airflow.airflow.dags import DagRow, ErrorRow
    from dms_airflow.airflow.version import Call, Dialect
    from dms_airflow.operations.context import Context

    Page = tuple[list[Any], int]


T = TypeVar("T")

# A command gets this share of the time at most, so that a DAG file that hangs leaves time to find it.
COMMAND_SHARE = 1 / 3
SHORTEST_LIMIT = 30.0  # seconds: Airflow needs up to ten of them to start on a busy machine

GATEWAY_TIMED_OUT = 504  # it gave up before we did

_DAG_FIELDS = "dag_id,fileloc,file_token,has_import_errors,last_parsed_time,is_active"
_OK = 200
_NOT_FOUND = 404
_REFUSED = (403, 405)


class Instance:
    """Looks at one instance, within a time limit, and counts what that costs.

    Args:
        context: The client, the clock and the log.
        timeout: Seconds for everything together.
        poll_interval: Seconds between two looks; None: soon at first, then rarer.
    """

    def __init__(self, context: Context, *, timeout: float, poll_interval: float | None) -> None:
        self._context = context
        self._limit = max(SHORTEST_LIMIT, timeout * COMMAND_SHARE)
        self._deadline = context.clock.monotonic() + timeout
        self._poll_interval = poll_interval
        self._pool = ThreadPoolExecutor(CONCURRENCY)
        self._may_ask = True
        self.commands = 0
        self.requests = 0
        self.folders: dict[str, str] = {}
        """The absolute paths of the DAG bundles, as far as the DAGs that were listed show them; empty before Airflow 3."""

    def __enter__(self) -> Self:
        """Keep the pool open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is still to be asked."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def dialect(self) -> Dialect:
        """Which Airflow this is; of Airflow 3 with the minor version, if it is told."""
        known = self._context.airflow.dialect
        return self._context.airflow.learn_version() if known.minors_differ else known

    @property
    def remaining(self) -> float:
        """Seconds until time is up; negative afterwards."""
        return self._deadline - self._context.clock.monotonic()

    # --- commands --------------------------------------------------------------------------------------------------------

    def run(self, name: str, *arguments: str, limit: float | None = None) -> Execution | None:
        """Run a command and judge it; None when no answer came in time.

        Nothing is sent a second time: a command that hangs goes on hanging on the instance.

        Raises:
            ActionError: Its stdout and stderr are not known.
        """
        line = CommandLine(name=name, arguments=arguments)
        self._context.log.info(f"$ airflow {show(line)}")
        self.commands += 1
        try:
            answer = self._context.airflow.run_command(line.words, repeatable=False, timeout=limit or self._limit)
        except (AnswerTimeoutError, AnswerError) as error:
            if isinstance(error, AnswerError) and error.status != GATEWAY_TIMED_OUT:
                raise
            self._context.log.info(error.message)
            return None
        outcome = judge(COMMANDS[name], arguments, answer.stdout, answer.stderr, self._context.log.redact)
        return Execution(line=line, stdout=answer.stdout, stderr=answer.stderr, outcome=outcome)

    # --- REST ------------------------------------------------------------------------------------------------------------

    def view(self) -> View:
        """Read the DAGs, then the import errors: an error that goes with a parse is stored a moment after it."""
        return View(dags=self.list_dags(), errors=self.list_stored_errors())

    def list_dags(self) -> tuple[DagRow, ...]:
        """Read every DAG of the database, inactive ones too."""

        def make(dialect: Dialect, page: Sequence[tuple[str, Any]]) -> Call:
            return dialect.list_dags(page, only_active=False, fields=_DAG_FIELDS)

        rows = list(self._list(make))
        dialect = self._context.airflow.dialect
        dags = tuple(read_dag(row, is_active=dialect.is_active(row), source=_locate(row, dialect)) for row in rows)
        self.folders.update({dag.bundle: dag.bundle_folder for dag in dags if dag.bundle and dag.bundle_folder})
        return dags

    def list_stored_errors(self) -> tuple[ErrorRow, ...]:
        """Read every import error that the scheduler stored; their paths are absolute where the DAGs show the folder."""

        def make(dialect: Dialect, page: Sequence[tuple[str, Any]]) -> Call:
            return dialect.get("/importErrors", [("order_by", "import_error_id"), *page])

        rows = list(self._list(make))
        if self.dialect.import_now() is None:
            rows = [row for row in rows if not is_left_behind(str(row.get("filename") or ""))]
        return tuple(read_stored_error(row, self.folders) for row in rows)

    def _list(self, make: MakePage) -> Iterator[Mapping[str, Any]]:
        entries, total = self._get_page(make, PAGE, 0)
        # Airflow may cut `limit`: what it really gave is the size of a page.
        offsets = range(len(entries), total, len(entries)) if entries else range(0)
        pages = self._pool.map(lambda offset: self._get_page(make, len(entries), offset), offsets)
        rows = chain(entries, *(page for page, _ in pages))
        return (entry for entry in rows if isinstance(entry, dict))

    def _get_page(self, make: MakePage, limit: int, offset: int) -> Page:
        self.requests += 1
        asked = (("limit", limit), ("offset", offset))
        airflow = self._context.airflow
        answer = airflow.ask(partial(make, page=asked))
        page = read_page(answer)
        if page is None:
            raise airflow.refuse(answer, make(airflow.known_dialect or AIRFLOW_2, page=asked).name)
        return page.entries, page.total

    def fetch_sources(self, places: Mapping[str, str]) -> dict[str, str]:
        """Fetch Airflow's copies of files' sources from where the API has them; what it has no copy of is left out."""
        answers = self._pool.map(self._get, places.values())
        contents = {path: told.get("content") for path, told in zip(places, answers, strict=True)}
        return {path: content for path, content in contents.items() if isinstance(content, str)}

    def fetch_objects(self, paths: Iterable[str]) -> list[dict[str, Any]]:
        """Fetch JSON objects side by side; an empty one for each that is refused."""
        return list(self._pool.map(self._get, paths))

    def _get(self, path: str) -> dict[str, Any]:
        self.requests += 1
        answer = self._context.airflow.request("GET", path)
        return answer.parse_object() if answer.status == _OK else {}

    def list_unserialized(self, dags: Iterable[DagRow]) -> list[DagRow]:
        """List those of some DAGs of which Airflow 2 has no serialized version: it knows them, and gives no details of them.

        Raises:
            ActionError: Airflow did not say it of all of them.
        """
        found = list(dags)
        serialized = self._pool.map(self._is_serialized, found)
        return [dag for dag, is_serialized in zip(found, serialized, strict=True) if not is_serialized]

    def _is_serialized(self, dag: DagRow) -> bool:
        self.requests += 1
        path = f"/dags/{quote(dag.dag_id, safe='')}/details"
        answer = self._context.airflow.request("GET", path)
        if answer.status not in (_OK, _NOT_FOUND):
            raise self._context.airflow.refuse(answer, f"GET {path}")
        return answer.status == _OK

    def ask_to_parse(self, tokens: Iterable[str]) -> None:
        """Ask the scheduler to parse files next; without that it parses each file in its turn.

        The first refusal is the last question: Airflow before 2.10 cannot be asked, and a user may lack the right.
        """
        first, *others = [*tokens] or [""]
        if first and self._may_ask and self._ask(first):
            list(self._pool.map(self._ask, others))

    def _ask(self, token: str) -> bool:
        self.requests += 1
        path = f"/parseDagFile/{quote(token, safe='')}"
        # Asking twice is asking once: Airflow answers that it is a duplicate.
        answer = self._context.airflow.request("PUT", path, repeatable=True)
        if answer.status in _REFUSED:
            self._may_ask = False
        return self._may_ask

    # --- waiting ---------------------------------------------------------------------------------------------------------

    def poll(self, look: Callable[[], tuple[T, Sequence[str]]]) -> tuple[T, Sequence[str]]:
        """Call a function until nothing is awaited any more or time is up, as `core.retry.poll` does."""
        clock, log = self._context.clock, self._context.log
        return poll(look, clock=clock, log=log, deadline=self._deadline, interval=self._poll_interval)


def _locate(row: Mapping[str, Any], dialect: Dialect) -> str:
    return dialect.locate_source(row) if row.get("file_token") else ""
