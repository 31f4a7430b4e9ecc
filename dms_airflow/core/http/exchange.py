"""One HTTP exchange.

No redirect is followed, no `.netrc` is read, nothing is repeated here, and no exception leaves that holds a URL: a query may
hold the login token or a password.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests import exceptions as http_errors
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError

from dms_airflow import __version__
from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import ActionError, AnswerError, AnswerTimeoutError
from dms_airflow.core.http.network_errors import CONNECT_TIMEOUT, HINT_LOST, HandshakeError, explain_fault
from dms_airflow.core.log import Log
from dms_airflow.core.text import load_json

# Far above any honest response; an endless one must not fill the runner's memory.
LONGEST_ANSWER = 64 * 1024 * 1024  # bytes

_CHUNK = 256 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Response:
    """An HTTP response, read to its end."""

    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    body: bytes
    cookies: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """The media type, without parameters, in lower case."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether the response says that it is JSON."""
        return self.content_type == "application/json" or self.content_type.endswith("+json")

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def parse(self) -> Any:
        """Parse the body as JSON.

        Raises:
            ValueError: It is not JSON.
        """
        return load_json(self.body)

    def parse_object(self) -> dict[str, Any]:
        """Read the body as a JSON object; empty when it is none, or does not claim to be JSON."""
        try:
            value = self.parse() if self.is_json else None
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Transport:
    """Sends requests to Airflow's host.

    Args:
        http: Kept for the whole step, so that connections are reused.
        clock: For time limits and milliseconds.
        log: Gets one debugging line an exchange: method, path, status, milliseconds.
        ca_bundle: Path of the certificate authorities to trust; empty for certifi's.
    """

    def __init__(self, *, http: requests.Session, clock: Clock, log: Log, ca_bundle: str = "") -> None:
        self._http = http
        self._clock = clock
        self._log = log
        http.headers["User-Agent"] = f"dms-airflow/{__version__}"
        http.auth = lambda request: request  # in place of a password from `.netrc`
        restrict_session(http)
        # A cookie goes where the caller says, never where its own Domain= would have it.
        http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        if ca_bundle:
            http.verify = ca_bundle

    def exchange(
        self,
        method: str,
        base: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float,
    ) -> Response:
        """Send one request and read its answer.

        `base` is scheme, host and the path under which the instance is, `timeout` the seconds until the whole answer must be
        there. `path` and `query` are encoded, without the question mark. Only method, base and path are ever printed.

        Raises:
            NetworkError: The request did not get there.
            AnswerTimeoutError: It may have, and time ran out.
            AnswerLostError: It may have, and the connection broke.
            AnswerError: The answer is longer than LONGEST_ANSWER.
        """
        what = f"{method} {path}"
        url = f"{base}{path}?{query}" if query else f"{base}{path}"
        started = self._clock.monotonic()
        failure: ActionError
        try:
            with self._http.request(
                method,
                url,
                headers=dict(headers or {}),
                data=body,
                timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                content = read_body(response, self._clock, started + timeout, f"{what} at {base}")
        except (http_errors.RequestException, HTTPError, ValueError, OSError) as error:
            failure = explain_fault(error, what, base)
        else:
            elapsed = round(1000 * (self._clock.monotonic() - started))
            self._log.debug(f"{what} -> {response.status_code} in {elapsed} ms")
            return Response(
                status=response.status_code,
                headers=response.headers,
                body=content,
                cookies={cookie.name: cookie.value or "" for cookie in response.cookies},
            )
        # Outside of the except clause, so that no traceback shows the library's exception, which holds the URL.
        self._log.debug(f"{what} -> {failure.title}")
        raise failure


class _SecureConnection(HTTPSConnection):
    """Tells a handshake that failed from a response that was lost."""

    def connect(self) -> None:
        """Connect, and shake hands."""
        try:
            super().connect()
        except (ssl.SSLCertVerificationError, ssl.CertificateError):
            raise
        except (ConnectionError, ssl.SSLError) as error:
            self.close()
            raise HandshakeError(self, "handshake failed") from error
        if getattr(self.sock, "version", str)() is None:  # reset so soon that Python did not even try to shake hands
            self.close()
            raise HandshakeError(self, "no handshake")


class _Adapter(HTTPAdapter):
    """Uses these connections, directly and through a proxy."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Get the pool of connections to a host."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _SecureConnection
        return pool


def restrict_session(http: requests.Session) -> None:
    """Let a session show what was never sent and what was cut off, and let it follow no redirect.

    Even a session that is to follow none would read the whole body of a redirect, however long and slow.
    """
    http.get_redirect_target = lambda _: None  # type: ignore[method-assign,assignment]
    http.mount("https://", _Adapter())


def read_body(response: requests.Response, clock: Clock, deadline: float, what: str) -> bytes:
    """Read the body of a streamed answer, until `deadline` on the clock. `what` is the request, and where it went.

    Raises:
        AnswerError: It is longer than LONGEST_ANSWER.
        AnswerTimeoutError: It was not complete when time ran out.
        HTTPError: It broke off: as well as requests' RequestException and OSError.
    """
    # It hands over its content without a copy.
    content = io.BytesIO()
    # read1 hands over what has come: a server that sends byte by byte cannot hold the step beyond its time.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        if content.tell() + len(chunk) > LONGEST_ANSWER:
            raise AnswerError(
                f"The answer to {what} is longer than {LONGEST_ANSWER // 1024**2} MB.",
                "Request less, e.g. with limit= in the query. If the request changes something, check in Airflow whether it "
                "did.",
            )
        if clock.monotonic() > deadline:
            raise AnswerTimeoutError(f"The answer to {what} was not complete when time ran out.", HINT_LOST)
        content.write(chunk)
    if not content.tell() and _must_have_body(response):
        raise ProtocolError("A response without a length ended before its body.")
    return content.getvalue()


def _must_have_body(response: requests.Response) -> bool:
    """Whether an empty body was cut off: only the end of the connection ends it, and there is something to say."""
    status, headers = response.status_code, response.headers
    may_be_empty = response.request.method == "HEAD" or status in (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT)
    has_length = "Content-Length" in headers or "Transfer-Encoding" in headers
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES and not may_be_empty and not has_length
