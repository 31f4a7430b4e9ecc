"""Airflow's side: REST calls and CLI commands of one instance, through one choke point."""

from __future__ import annotations

import shlex
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from dms_airflow.errors import AnswerError, AnswerLostError, LoginError, NetworkError
from dms_airflow.transport import read_retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dms_airflow.clock import Clock
    from dms_airflow.log import Log
    from dms_airflow.transport import Answer, Transport

API = "/api/v1"

# DMS's own addition to Airflow's API (docs/how-it-works.md).
COMMAND_PATH = f"{API}/command"

READ_TIMEOUT = 60.0  # seconds, of a REST call
PAGE = 100  # Airflow's highest `limit`; a larger one is cut silently

# Seconds between the tries of a request that may be repeated.
PAUSES = (1.0, 2.0, 4.0, 8.0)

_PASSING = (429, 502, 503, 504)

HINT_FORBIDDEN = (
    "The session is valid, but the RAM identity lacks the right in Airflow. Ask the instance's administrator for a role "
    "that has it."
)
HINT_GATEWAY = (
    "DMS's gateway or the instance is busy or restarting; look at the instance in DMS's console, and run the step again later."
)
HINT_COMMAND = "Check that the instance is running and that its Airflow version offers commands over HTTP."


class Session(Protocol):
    """What the client needs of a session."""

    @property
    def host(self) -> str:
        """The instance's base URL."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What proves the session."""
        ...

    def open(self) -> None:
        """Log in, or log in again."""
        ...


@dataclass(frozen=True, kw_only=True)
class CommandAnswer:
    """What DMS tells of a CLI command: never its exit status."""

    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One request as it is sent, once or again."""

    method: str
    path: str
    query: str
    body: str | None
    accept: str

    @property
    def name(self) -> str:
        """What may be printed of it."""
        return f"{self.method} {self.path}"


class AirflowClient:
    """Talks to one instance.

    Args:
        session: Proves who we are; opened already.
        is_bounced: Tells an answer that means the session is gone.
        transport: Sends one request.
        clock: For the pauses between tries.
        log: Says when something is tried again.
    """

    def __init__(
        self,
        *,
        session: Session,
        is_bounced: Callable[[Answer], bool],
        transport: Transport,
        clock: Clock,
        log: Log,
    ) -> None:
        self._session = session
        self._is_bounced = is_bounced
        self._transport = transport
        self._clock = clock
        self._log = log
        self._renewal = threading.Lock()

    @property
    def url(self) -> str:
        """The instance's base URL, without a slash at its end."""
        return self._session.host

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: str | None = None,
        timeout: float = READ_TIMEOUT,
        repeatable: bool | None = None,
        tries: int = len(PAUSES) + 1,
        accept: str = "application/json",
    ) -> Answer:
        """Send one REST request, renewing the session once, and again after a pause where that can do no harm.

        Args:
            method: Upper case.
            path: Encoded, with the API's base, e.g. ``/api/v1/dags``.
            query: Encoded, without the question mark.
            body: JSON.
            timeout: Seconds until the whole answer must be there, further tries included.
            repeatable: It changes nothing; by default GET, HEAD and OPTIONS.
            tries: How often it may be sent; 1 for who looks again anyway.
            accept: The media type to ask for.

        Raises:
            ActionError: No answer, or one that only says that the session is gone. An HTTP status of 400 or more is an answer.
        """
        safe = method in ("GET", "HEAD", "OPTIONS") if repeatable is None else repeatable
        request = _Request(method=method, path=path, query=query, body=body, accept=accept)
        deadline = self._clock.monotonic() + timeout
        for standard in PAUSES[: tries - 1]:
            pause = standard
            try:
                answer = self._request_as_user(request, deadline - self._clock.monotonic())
            except (NetworkError, AnswerLostError) as error:
                # What never left may be sent again whatever it asks for.
                may_repeat = safe or isinstance(error, NetworkError)
                if not may_repeat or self._clock.monotonic() + pause >= deadline:
                    raise
                reason = error.message
            else:
                pause = read_retry_after(answer.headers, standard)
                # 429 proves that nothing happened; the others prove it for no request that changes something.
                may_repeat = answer.status == 429 or (safe and answer.status in _PASSING)  # noqa: PLR2004
                if not may_repeat or self._clock.monotonic() + pause >= deadline:
                    return answer
                reason = f"{request.name} answered {answer.status}."
            self._log.info(f"{reason} Trying again in {pause:g} s.")
            self._clock.sleep(pause)
        return self._request_as_user(request, deadline - self._clock.monotonic())

    def _request_as_user(self, request: _Request, timeout: float) -> Answer:
        used = self._session.headers
        answer = self._send(request, timeout)
        if not self._is_bounced(answer):
            return answer
        # A bounced request did not reach Airflow, so it may be sent again whatever it asks for.
        with self._renewal:
            if self._session.headers == used:  # else another thread has renewed it already
                self._log.info("The session was not accepted; logging in again.")
                self._session.open()
        answer = self._send(request, timeout)
        if answer.status != 403 and self._is_bounced(answer):  # noqa: PLR2004 - a second 403 is Airflow's own word
            raise LoginError(
                f"{request.name} at {self.url} was sent to the login page twice, the second time with a new session.",
                "The instance takes the login but not its session. Run the step again; if it stays so, restart the instance.",
            )
        return answer

    def _send(self, request: _Request, timeout: float) -> Answer:
        headers = {"Accept": request.accept, **self._session.headers}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        content = None if request.body is None else request.body.encode()
        return self._transport.exchange(
            request.method, self.url, request.path, query=request.query, headers=headers, body=content, timeout=timeout
        )

    def run_command(self, words: Sequence[str], *, repeatable: bool, timeout: float) -> CommandAnswer:
        """Run a CLI command on the instance.

        Args:
            words: The command without ``airflow``, each word as Airflow shall see it.
            repeatable: It changes nothing.
            timeout: Seconds until it must have ended.

        Raises:
            ActionError: The command's stdout and stderr are not known.
        """
        # quote, not quote_plus: whoever decodes it, %20 is a blank.
        query = urlencode({"command": shlex.join(words)}, quote_via=quote)
        answer = self.request("POST", COMMAND_PATH, query=query, timeout=timeout, repeatable=repeatable)
        if answer.status >= 400:  # noqa: PLR2004
            raise self.refuse(answer, f"POST {COMMAND_PATH}")
        try:
            told = answer.parse()  # whatever its label: how DMS labels it is not documented
        except ValueError:
            told = None
        if not isinstance(told, dict) or not {"stdout", "stderr"} & told.keys():
            raise AnswerError(
                f"{self.url} answered the command with status {answer.status}, but without stdout and stderr. "
                f"The answer begins: {show_beginning(answer)}",
                f"Whether the command ran is not known. {HINT_COMMAND}",
            )
        return CommandAnswer(stdout=_as_text(told.get("stdout")), stderr=_as_text(told.get("stderr")))

    def refuse(self, answer: Answer, what: str) -> AnswerError:
        """Make the error for an answer whose status says that the request failed."""
        message = f"{what} at {self.url} answered {answer.status}: {describe_problem(answer)}"
        if answer.status == 403:  # noqa: PLR2004
            return AnswerError(message, HINT_FORBIDDEN, status=answer.status)
        return AnswerError(message, HINT_GATEWAY if answer.status in _PASSING else HINT_COMMAND, status=answer.status)

    def iterate_pages(self, path: str, query: Sequence[tuple[str, str]]) -> Iterator[Answer]:
        """Give the answer to each page of a list, until all entries were seen or an answer is not such a page.

        Airflow cuts `limit` silently at 100, so that the entries really given move the offset.
        """
        offset = 0
        while True:
            page = [*query, ("limit", str(PAGE)), ("offset", str(offset))]
            answer = self.request("GET", path, query=urlencode(page, quote_via=quote))
            yield answer
            listed = read_page(answer)
            if listed is None or not listed.entries:
                return
            offset += len(listed.entries)
            if offset >= listed.total:
                return


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a list: the name of the list in the answer, what it holds, and how many entries there are in all."""

    key: str
    entries: list[object]
    total: int


def read_page(answer: Answer) -> Page | None:
    """Read an answer as a page of a list: an object with one list in it, and `total_entries`."""
    told = answer.parse_object() if answer.status == 200 else {}  # noqa: PLR2004
    if not isinstance(told.get("total_entries"), int):
        return None
    lists = [(key, value) for key, value in told.items() if isinstance(value, list)]
    if len(lists) != 1:
        return None
    return Page(key=lists[0][0], entries=lists[0][1], total=told["total_entries"])


def describe_problem(answer: Answer) -> str:
    """Say in one line what an error answer says: Airflow's `title` and `detail`, else how the answer begins."""
    parts = [answer.parse_object().get(key) for key in ("title", "detail", "error", "message")]
    words = [" ".join(part.split()) for part in parts if isinstance(part, str) and part.strip()]
    return ": ".join(dict.fromkeys(words)) if words else show_beginning(answer)


def show_beginning(answer: Answer) -> str:
    """Quote the first 300 characters of an answer on one line, with its content type."""
    text = " ".join(answer.text[:2000].split())[:300]
    return f"({answer.content_type or 'no content type'}) {text or 'nothing'}"


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
