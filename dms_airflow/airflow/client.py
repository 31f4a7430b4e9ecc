"""REST requests and CLI commands of one instance: all of them go through this client."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

from dms_airflow.airflow.responses import HINT_FORBIDDEN, HINT_GATEWAY, HINT_STATUS, Page, describe_problem, parse_page
from dms_airflow.airflow.session import AirflowSession
from dms_airflow.airflow.version import AIRFLOW_2, AIRFLOW_3, Version, is_api_path, parse_version
from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import (
    ActionError,
    AnswerError,
    AnswerLostError,
    AnswerTimeoutError,
    Cancelled,
    NetworkError,
    UnknownHostError,
)
from dms_airflow.core.http.exchange import Response, Transport
from dms_airflow.core.http.parallel import CONCURRENCY, map_parallel
from dms_airflow.core.http.retry import TRIES, is_transient_status, parse_retry_after, retry
from dms_airflow.core.log import Log

T = TypeVar("T")
R = TypeVar("R")

READ_TIMEOUT = 60.0  # seconds, of a REST request
POLL_TIMEOUT = 30.0  # seconds, of one that is sent once because the caller polls
VERSION_TIMEOUT = 20.0  # seconds

PAGE_SIZE = 100  # Airflow's highest `limit`; a larger one is reduced silently
MOST_ENTRIES = 100_000  # of a list; no more pages are requested, whatever the instance reports

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class _BusyError(ActionError):
    """A response that may be different a moment later."""

    def __init__(self, name: str, response: Response) -> None:
        super().__init__(f"{name} answered {response.status}.", "", retry_after=parse_retry_after(response.headers))
        self.response = response


class AirflowClient:
    """Sends requests to one instance, with a session that is open."""

    def __init__(self, *, session: AirflowSession, transport: Transport, clock: Clock, log: Log) -> None:
        self._session = session
        self._transport = transport
        self._clock = clock
        self._log = log
        self.redact = log.redact
        """Masks secrets in a text of the instance that is to be cut."""
        self._version_lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(CONCURRENCY)
        self._is_closed = threading.Event()
        self.command_path = ""
        """The path for commands, known after the first command."""
        self.deadline = math.inf
        """On the clock: no request is waited for longer."""
        self.server_time: datetime | None = None
        """The server's clock at its last response."""

    @property
    def url(self) -> str:
        """The instance's base URL, without a trailing slash."""
        return self._session.host

    def until(self, deadline: float) -> Self:
        """Return a client of the same session with a deadline on the clock."""
        limited = copy.copy(self)
        limited.deadline = deadline
        return limited

    def close(self) -> None:
        """Let no thread start another change: the workflow was cancelled."""
        self._is_closed.set()

    def require_open(self) -> None:
        """Raise Cancelled after `close`."""
        if self._is_closed.is_set():
            raise Cancelled

    # --- version ---------------------------------------------------------------------------------------------------------

    @property
    def known_version(self) -> Version | None:
        """The instance's version if it was fetched already, else None."""
        return None if self._session.version is None else parse_version(self._session.version) or self._guess_version()

    @property
    def version(self) -> Version:
        """The instance's version: fetched once, and stored with the session. If it is not reported, it is assumed."""
        with self._version_lock:
            return self.known_version or self._fetch_version()

    def _guess_version(self) -> Version:
        return AIRFLOW_3 if self._session.has_jwt else AIRFLOW_2

    def _fetch_version(self) -> Version:
        guess = self._guess_version()
        for candidate in (guess, AIRFLOW_2 if guess is AIRFLOW_3 else AIRFLOW_3):
            response = self.request("GET", f"{candidate.api}/version", timeout=VERSION_TIMEOUT)
            number = response.parse_object().get("version") if response.status == HTTPStatus.OK else None
            version = parse_version(number) if isinstance(number, str) else None
            if version:
                self._session.keep_version(version.number)
                self._log.info(f"This is Airflow {version.number}; its REST API is {version.api}.")
                return version
        self._session.keep_version("")
        self._log.info(f"The instance does not report its version; the action assumes the REST API {guess.api}.")
        return guess

    def keep_version(self, number: str) -> None:
        """Keep a version that a command printed."""
        if not self._session.version and parse_version(number):
            self._session.keep_version(number)

    def locate(self, path: str) -> str:
        """Return the complete path of one below the API's base. This needs the version."""
        return path if is_api_path(path) else f"{self.version.api}{path}"

    # --- one request -----------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: str | None = None,
        timeout: float | None = None,
        repeatable: bool | None = None,
        tries: int = TRIES,
        accept: str = "application/json",
    ) -> Response:
        """Send one request, renewing the session once, and again after a pause where that can do no harm.

        Args:
            method: Upper case.
            path: Encoded, as `query` is; below the API's base, e.g. ``/dags``, or with it, e.g. ``/api/v1/dags``.
            query: Without the question mark.
            body: JSON.
            timeout: Seconds until the whole response must be there, further tries included; by default READ_TIMEOUT.
            repeatable: It changes nothing when it is sent twice; by default GET, HEAD and OPTIONS.
            tries: How often it may be sent; 1 for a caller that polls.
            accept: The media type to request.

        Raises:
            ActionError: No response, or one that only says that the session is gone. A status of 400 or more is a response.
        """
        path = self.locate(path)
        is_safe = method in SAFE_METHODS if repeatable is None else repeatable
        deadline = self._find_deadline(timeout or (POLL_TIMEOUT if tries == 1 else READ_TIMEOUT))
        headers = {"Accept": accept} | ({} if body is None else {"Content-Type": "application/json"})
        content = None if body is None else body.encode()

        def exchange(proof: Mapping[str, str]) -> Response:
            with self._slots:
                remaining = deadline - self._clock.monotonic()
                return self._transport.exchange(
                    method, self.url, path, query=query, headers={**headers, **proof}, body=content, timeout=remaining
                )

        def send() -> Response:
            response = self._session.send(exchange, method, path)
            # 429 proves that nothing happened; the others prove it for no request that changes something.
            if response.status == HTTPStatus.TOO_MANY_REQUESTS or (is_safe and is_transient_status(response.status)):
                raise _BusyError(f"{method} {path}", response)
            return response

        may_retry = partial(_may_retry, is_safe=is_safe)
        try:
            response = retry(send, clock=self._clock, log=self._log, deadline=deadline, tries=tries, may_retry=may_retry)
        except _BusyError as error:
            response = error.response
        with suppress(ValueError):  # a server without a clock leaves the time before
            self.server_time = parsedate_to_datetime(response.headers.get("Date", ""))
        return response

    def _find_deadline(self, timeout: float) -> float:
        now = self._clock.monotonic()
        if now >= self.deadline:
            raise AnswerTimeoutError(f"Nothing more was sent to {self.url}: the time ran out.", "Allow more time with timeout.")
        return min(now + timeout, self.deadline)

    # --- resources -------------------------------------------------------------------------------------------------------

    def fetch_object(self, path: str, *, tries: int = TRIES) -> dict[str, Any] | None:
        """Fetch a JSON object; None where Airflow responds that it does not exist, an ActionError for any other response."""
        response = self.request("GET", path, tries=tries)
        content = response.parse_object()
        # A gateway's 404 says nothing about the object.
        if response.status == HTTPStatus.NOT_FOUND and content:
            return None
        if response.status != HTTPStatus.OK or not content:
            raise self.make_error(response, f"GET {self.locate(path)}")
        return content

    def fetch_list(
        self, path: str, query: Iterable[tuple[str, Any]] = (), *, most: int = MOST_ENTRIES, tries: int = TRIES
    ) -> list[dict[str, Any]]:
        """Fetch all entries of a list, as `fetch_pages` does; an ActionError where a response cannot be read as a page."""
        responses = self.fetch_pages(path, query, most=most, tries=tries)
        return [row for response in responses for row in self._parse_page(response, path).rows]

    def fetch_pages(
        self, path: str, query: Iterable[tuple[str, Any]] = (), *, most: int = MOST_ENTRIES, tries: int = TRIES
    ) -> list[Response]:
        """Fetch the response to each page of a list, CONCURRENCY at once; only the first where that is not a page.

        No further page is fetched after `most` entries.
        """

        def fetch(offset: int) -> Response:
            return self._request_page(path, query, limit=size, offset=offset, tries=tries)

        first = self._request_page(path, query, limit=PAGE_SIZE, tries=tries)
        page = parse_page(first)
        size = len(page.entries) if page else 0  # Airflow may cut `limit`
        offsets = range(size, min(page.total, most), size) if page and size else range(0)
        return [first, *(self.map(fetch, offsets) if offsets else ())]

    def fetch_page(
        self, path: str, query: Iterable[tuple[str, Any]] = (), *, limit: int = PAGE_SIZE, tries: int = TRIES
    ) -> Page:
        """Fetch the first page of a list; an ActionError where the response is none."""
        return self._parse_page(self._request_page(path, query, limit=limit, tries=tries), path)

    def _request_page(
        self, path: str, query: Iterable[tuple[str, Any]], *, limit: int, tries: int, offset: int = 0
    ) -> Response:
        return self.request("GET", path, query=encode_query([*query, ("limit", limit), ("offset", offset)]), tries=tries)

    def _parse_page(self, response: Response, path: str) -> Page:
        page = parse_page(response)
        if page is None:
            raise self.make_error(response, f"GET {self.locate(path)}")
        return page

    def map(self, function: Callable[[T], R], things: Iterable[T]) -> list[R]:
        """Call a function for several things, as `map_parallel` does, until the deadline."""
        return map_parallel(function, things, timeout=self.deadline - self._clock.monotonic(), whom=self.url)

    def make_error(self, response: Response, name: str, hint: str = HINT_STATUS) -> AnswerError:
        """Make the error for a response that is not what was requested; `hint` is for a status that says no more."""
        status = response.status
        hint = HINT_FORBIDDEN if status == HTTPStatus.FORBIDDEN else HINT_GATEWAY if is_transient_status(status) else hint
        message = f"{name} at {self.url} answered {status}: {describe_problem(response, self.redact)}"
        return AnswerError(message, hint, status=status, retry_after=parse_retry_after(response.headers))


def _may_retry(error: ActionError, *, is_safe: bool) -> bool:
    """Whether another try of a request does no harm and may succeed."""
    if isinstance(error, NetworkError):  # it was not sent; an unknown host is transient: it was known before
        return error.is_transient or isinstance(error, UnknownHostError)
    return isinstance(error, _BusyError) or (is_safe and isinstance(error, AnswerLostError) and error.is_transient)


def encode_query(pairs: Iterable[tuple[str, Any]]) -> str:
    """Encode a query; a blank becomes %20."""
    return urlencode(list(pairs), quote_via=quote)
