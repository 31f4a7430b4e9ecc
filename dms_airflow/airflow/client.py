"""Airflow's side: REST calls and CLI commands of one instance, through one choke point."""

from __future__ import annotations

import shlex
import threading
from collections import deque
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from dms_airflow.airflow.pages import describe_problem, read_page, show_beginning
from dms_airflow.airflow.version import (
    AIRFLOW_2,
    AIRFLOW_3,
    COMMAND_PATHS,
    VERSION_PATHS,
    Call,
    find_dialect,
    is_missing,
    is_unknown_route,
    recognise,
)
from dms_airflow.core.errors import ActionError, AnswerError, AnswerLostError, LoginError, NetworkError, UnknownHostError
from dms_airflow.core.retry import TRIES, may_pass, parse_retry_after, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from dms_airflow.airflow.pages import Page
    from dms_airflow.airflow.version import Dialect
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http import Answer, Transport
    from dms_airflow.core.log import Log

READ_TIMEOUT = 60.0  # seconds, of a REST call
PROBE_TIMEOUT = 20.0  # seconds, of a question for the version
CONCURRENCY = 8  # requests that are open at once
WAIT_SLICE = 0.2  # seconds
PAGE = 100  # Airflow's highest `limit`; a larger one is cut silently

# What only reads.
_SAFE = ("GET", "HEAD", "OPTIONS")

HINT_FORBIDDEN = (
    "The session is valid, but the RAM identity lacks the right in Airflow. Ask the instance's administrator for a role "
    "that has it."
)
HINT_GATEWAY = (
    "DMS's gateway or the instance is busy, restarting or failing; look at the instance in DMS's console. If it was to change "
    "something, look in Airflow whether it did; then run the step again."
)
HINT_COMMAND = "Check that the instance is running and that its Airflow version offers commands over HTTP."


class MakePage(Protocol):
    """Makes the request for one page of a list, which is given as `limit` and `offset`."""

    def __call__(self, dialect: Dialect, page: Sequence[tuple[str, Any]]) -> Call:
        """Make it as an Airflow wants it."""
        ...


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

    @property
    def version(self) -> str:
        """Airflow's version, as far as it is known."""
        ...

    def note_version(self, version: str) -> None:
        """Remember Airflow's version."""
        ...

    def open(self) -> None:
        """Log in, or log in again."""
        ...

    def bear_cookie(self) -> bool:
        """Prove the session by a bearer token, too; False when that is not possible."""
        ...

    def settle_bearer(self, *, works: bool) -> None:
        """Keep to the bearer token, or not."""
        ...


@dataclass(frozen=True, kw_only=True)
class CommandAnswer:
    """What DMS tells of a CLI command: never its exit status."""

    stdout: str
    stderr: str


class _BusyError(ActionError):
    """A response that may be another one a moment later."""

    def __init__(self, request: Call, answer: Answer) -> None:
        super().__init__(f"{request.name} answered {answer.status}.", "")
        self.retry_after = parse_retry_after(answer.headers)
        self.answer = answer


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
        self._command_path = ""
        self._asked_version = False

    @property
    def url(self) -> str:
        """The instance's base URL, without a slash at its end."""
        return self._session.host

    # --- which Airflow it is ---------------------------------------------------------------------------------------------

    @property
    def known_dialect(self) -> Dialect | None:
        """How this Airflow is spoken to, as far as an answer has told; None before."""
        return find_dialect(self._session.version)

    @property
    def dialect(self) -> Dialect:
        """How this Airflow is spoken to; asked for where no answer has told yet. For who must know before acting."""
        return self.known_dialect or self._ask_version() or AIRFLOW_2

    @property
    def version(self) -> str:
        """Airflow's version; empty where it is not known, or the major one only."""
        known = self.known_dialect
        return known.version if known and known.is_exact else ""

    def learn_version(self) -> Dialect:
        """Learn more of the version than the major one, for who needs that; it stays unknown where Airflow does not tell."""
        known = self.known_dialect
        return known if known and known.is_exact else self._ask_version() or known or AIRFLOW_2

    def _ask_version(self) -> Dialect | None:
        """Ask Airflow for its version, once a step. What it does not tell makes nothing fail."""
        if self._asked_version:
            return self.known_dialect
        self._asked_version = True
        known = self.known_dialect
        for path in [known.locate("/version")] if known else VERSION_PATHS:
            try:
                answer = self.request("GET", path, timeout=PROBE_TIMEOUT)
            except ActionError as error:
                self._log.debug(f"GET {path}: {error.message}")
                continue
            told = answer.parse_object().get("version") if answer.status == 200 else None  # noqa: PLR2004
            if isinstance(told, str) and find_dialect(told):
                self._note(told)
                return self.known_dialect
        if not self.known_dialect:
            self._log.debug("Airflow does not tell its version; it is spoken to as Airflow 2.")
        return self.known_dialect

    def locate(self, path: str) -> str:
        """Give the whole path of one below the API's base, as this Airflow has it, or as Airflow 2 where that is not known."""
        return (self.known_dialect or AIRFLOW_2).locate(path)

    def note_version(self, version: str) -> None:
        """Take note of a version that Airflow told beside; what it told before counts for more."""
        if not (self.known_dialect and self.known_dialect.is_exact) and find_dialect(version):
            self._note(version)

    def _note(self, version: str) -> None:
        before, found = self.known_dialect, find_dialect(version)
        self._session.note_version(version)
        if found and found.major > AIRFLOW_2.major and (not before or before.major != found.major):
            self._log.info(f"This is Airflow {version}: its REST API is {found.api}.")

    # --- REST ------------------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: str | None = None,
        timeout: float = READ_TIMEOUT,
        repeatable: bool | None = None,
        tries: int = TRIES,
        accept: str = "application/json",
    ) -> Answer:
        """Send one REST request that is the same for every Airflow but for the API's base.

        Args:
            method: Upper case.
            path: Encoded, below the API's base, e.g. ``/dags``; one that names its API (``/api/v1/dags``) is taken as it is.
            query: Encoded, without the question mark.
            body: JSON.
            timeout: As in `ask`.
            repeatable: As in `ask`.
            tries: As in `ask`.
            accept: The media type to ask for.

        Raises:
            ActionError: As in `ask`.
        """

        def make(dialect: Dialect) -> Call:
            return Call(method=method, path=dialect.locate(path), query=query, body=body, accept=accept)

        return self.ask(make, timeout=timeout, repeatable=repeatable, tries=tries)

    def ask(
        self,
        make: Callable[[Dialect], Call],
        *,
        timeout: float = READ_TIMEOUT,
        repeatable: bool | None = None,
        tries: int = TRIES,
    ) -> Answer:
        """Send a request as this Airflow wants it: where that is not known, as Airflow 2 does.

        Airflow 3 answers that with words that prove that nothing was done, and is then asked in its own way. After an answer
        to a request of either API it is known.

        Args:
            make: Makes the request.
            timeout: Seconds until the whole answer must be there, further tries included.
            repeatable: It changes nothing; by default GET, HEAD and OPTIONS.
            tries: How often it may be sent; 1 for who looks again anyway.

        Raises:
            ActionError: No answer, or one that only says that the session is gone. An HTTP status of 400 or more is an answer.
        """
        deadline = self._clock.monotonic() + timeout
        known = self.known_dialect
        call = make(known or AIRFLOW_2)
        answer = self._send_until_answered(call, timeout, repeatable=repeatable, tries=tries)
        found = recognise(call.path, answer)
        if known is None and found is None and is_missing(answer) and call.method in _SAFE and make(AIRFLOW_3) != call:
            found = self._ask_version()  # an answer to HEAD has no words, nor has a gateway's
        if found is None or (known and known.major >= found.major):
            return answer
        if not self.known_dialect or self.known_dialect.major < found.major:
            self._note(found.version)
        again = make(self.known_dialect or found)
        if again == call:
            return answer
        return self._send_until_answered(again, deadline - self._clock.monotonic(), repeatable=repeatable, tries=tries)

    def _send_until_answered(self, request: Call, timeout: float, *, repeatable: bool | None, tries: int) -> Answer:
        """Send one request, renewing the session once, and again after a pause where that can do no harm."""
        is_safe = request.method in _SAFE if repeatable is None else repeatable
        deadline = self._clock.monotonic() + timeout

        def send() -> Answer:
            answer = self._request_as_user(request, deadline - self._clock.monotonic())
            # 429 proves that nothing happened; the others prove it for no request that changes something.
            if answer.status == HTTPStatus.TOO_MANY_REQUESTS or (is_safe and may_pass(answer.status)):
                raise _BusyError(request, answer)
            return answer

        def may_retry(error: ActionError) -> bool:
            if isinstance(error, _BusyError):
                return True
            # What never left may be sent again whatever it asks for. An unknown host may pass: it was known before.
            does_no_harm = isinstance(error, NetworkError) or (is_safe and isinstance(error, AnswerLostError))
            return does_no_harm and (error.may_pass or isinstance(error, UnknownHostError))

        try:
            return retry(send, clock=self._clock, log=self._log, deadline=deadline, tries=tries, may_retry=may_retry)
        except _BusyError as error:
            return error.answer

    def _request_as_user(self, request: Call, timeout: float) -> Answer:
        used = self._session.headers
        answer = self._send(request, timeout)
        if not self._is_bounced(answer):
            return answer
        # A bounced request did not reach Airflow, so it may be sent again whatever it asks for.
        with self._renewal:
            if self._session.headers == used:  # else another thread has renewed it already
                self._log.info("The session was not accepted; logging in again.")
                self._session.open()
        used = self._session.headers
        answer = self._send(request, timeout)
        if answer.status == 401 and request.path.startswith(f"{AIRFLOW_3.api}/"):  # noqa: PLR2004
            answer = self._send_with_bearer(request, timeout, used, answer)
        if answer.status != 403 and self._is_bounced(answer):  # noqa: PLR2004 - a second 403 is Airflow's own word
            raise LoginError(
                f"{request.name} at {self.url} was sent to the login page twice, the second time with a new session.",
                "The instance takes the login but not its session. Run the step again; if it stays so, restart the instance.",
            )
        return answer

    def _send_with_bearer(self, request: Call, timeout: float, used: Mapping[str, str], refused: Answer) -> Answer:
        """Send the session's value as a bearer token, which Airflow 3 may want in the cookie's place; try that once."""
        with self._renewal:
            if self._session.headers != used:  # another thread has tried it
                return self._send(request, timeout)
            if not self._session.bear_cookie():
                return refused
            answer = self._send(request, timeout)
            # A 403 may be Airflow's word on what the identity may do; that the token is none is another one.
            works = not self._is_bounced(answer) or (answer.status == 403 and "JWT" not in answer.text)  # noqa: PLR2004
            self._session.settle_bearer(works=works)
            if works:
                self._log.info("The session was accepted as a bearer token.")
            return answer if works else refused

    def _send(self, request: Call, timeout: float) -> Answer:
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
        path = self._command_path or COMMAND_PATHS[0]
        answer = self.request("POST", path, query=query, timeout=timeout, repeatable=repeatable)
        if not self._command_path and is_unknown_route(answer):
            self._log.info(f"POST {path} is not known there, so nothing was run; trying {COMMAND_PATHS[1]}.")
            path = COMMAND_PATHS[1]
            answer = self.request("POST", path, query=query, timeout=timeout, repeatable=repeatable)
        if answer.status >= 400:  # noqa: PLR2004
            raise self.refuse(answer, f"POST {path}")
        self._command_path = path
        try:
            # Whatever its label: how DMS labels it is not documented.
            told = answer.parse()
        except ValueError:
            told = None
        if not isinstance(told, dict) or not {"stdout", "stderr"} & told.keys():
            raise AnswerError(
                f"{self.url} answered the command with status {answer.status}, but without stdout and stderr. "
                f"The answer begins: {show_beginning(answer, self._log.redact)}",
                f"Whether the command ran is not known. {HINT_COMMAND}",
            )
        return CommandAnswer(stdout=_as_text(told.get("stdout")), stderr=_as_text(told.get("stderr")))

    def refuse(self, answer: Answer, what: str) -> AnswerError:
        """Make the error for an answer whose status says that the request failed."""
        message = f"{what} at {self.url} answered {answer.status}: {describe_problem(answer, self._log.redact)}"
        if answer.status == 403:  # noqa: PLR2004
            return AnswerError(message, HINT_FORBIDDEN, status=answer.status)
        error = AnswerError(message, HINT_GATEWAY if may_pass(answer.status) else HINT_COMMAND, status=answer.status)
        error.retry_after = parse_retry_after(answer.headers)
        return error

    def iterate_pages(self, path: str, query: Sequence[tuple[str, str]]) -> Iterator[Answer]:
        """Give the answer to each page of a list, until all entries were seen or an answer is not such a page.

        Airflow cuts `limit` silently at 100, so that the entries really given move the offset.
        """

        def make(dialect: Dialect, page: Sequence[tuple[str, Any]]) -> Call:
            return dialect.get(path, [*query, *page])

        return self.ask_pages(make)

    def ask_pages(self, make: MakePage) -> Iterator[Answer]:
        """Give the answer to each page of a list that each Airflow is asked for in another way: in order, asked ahead."""

        def ask(offset: int) -> Answer:
            return self.ask(partial(make, page=(("limit", PAGE), ("offset", offset))))

        answer = ask(0)
        yield answer
        page: Page | None = read_page(answer)
        if page is None or not 0 < len(page.entries) < page.total:
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most steps read no second page

        pool = ThreadPoolExecutor(CONCURRENCY)
        ahead: deque[Future[Answer]] = deque()
        size = offset = asked = len(page.entries)
        try:
            while page is not None and page.entries and offset < page.total:
                while len(ahead) < CONCURRENCY and asked < page.total:
                    ahead.append(pool.submit(ask, asked))
                    asked += size
                answer = _await(ahead.popleft())
                yield answer
                page = read_page(answer)
                given = len(page.entries) if page else 0
                offset += given
                if given != size:  # then the pages behind it begin elsewhere than was asked ahead
                    while ahead:
                        ahead.pop().cancel()
                    size, asked = given, offset
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _await(future: Future[Answer]) -> Answer:
    """Wait by slices: a signal that comes just before Python begins to wait is seen only when it has waited."""
    from concurrent.futures import wait  # noqa: PLC0415 - as above

    while wait([future], timeout=WAIT_SLICE).not_done:
        pass
    return future.result()


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
