"""One HTTP exchange, and the faults of the network in words.

No redirect is followed, no `.netrc` is read, nothing is repeated here, and no exception leaves that holds a URL: a query may
hold the login token or a password.
"""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests import exceptions as http_errors
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ProxySchemeUnknown,
    ReadTimeoutError,
)
from urllib3.util import Retry

from dms_airflow import __version__
from dms_airflow.errors import (
    ActionError,
    AnswerError,
    AnswerLostError,
    AnswerTimeoutError,
    NetworkError,
    UnknownHostError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from requests import PreparedRequest
    from requests.structures import CaseInsensitiveDict

    from dms_airflow.clock import Clock
    from dms_airflow.log import Log

CONNECT_TIMEOUT = 10.0  # seconds

# Far above any honest answer; an endless one must not fill the runner's memory.
LONGEST_ANSWER = 128 * 1024 * 1024  # bytes

_CHUNK = 256 * 1024  # bytes

HINT_DNS = (
    "The name is not known here: check region, instance-id and endpoint; a VPC endpoint resolves only inside its network."
)
HINT_TLS = "Check the runner's clock, and, behind a proxy with a certificate authority of its own, set REQUESTS_CA_BUNDLE."
HINT_BUNDLE = (
    "REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE) must name a file that is there inside the action's container, which sees the "
    "workspace and RUNNER_TEMP, but not the runner's own disk, and hold certificates in PEM form."
)
HINT_PROXY = "Check HTTPS_PROXY, ALL_PROXY and NO_PROXY in the job's environment."
HINT_PROXY_USER = "The proxy wants a user: HTTPS_PROXY takes http://USER:WORD@HOST:PORT, from a secret."
HINT_REFUSED = "Check the endpoint, and that the runner's network may reach it (whitelists, security groups, proxy)."
HINT_LOST = "Look in Airflow whether it happened before you run the step again."


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes
    cookies: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """The media type, without parameters, in lower case."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether the answer says that it is JSON."""
        return self.content_type == "application/json" or self.content_type.endswith("+json")

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def parse(self) -> Any:
        """Read the body as JSON.

        Raises:
            ValueError: It is none.
        """
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def parse_object(self) -> dict[str, Any]:
        """Read the body as a JSON object; empty when it is none, or does not claim to be JSON."""
        try:
            told = self.parse() if self.is_json else None
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON value")


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
        http.auth = _keep_as_is
        make_careful(http)
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
    ) -> Answer:
        """Send one request and read its answer.

        Args:
            method: Upper case.
            base: Scheme, host and the path under which the instance lives.
            path: Encoded, begins with a slash; printed.
            query: Encoded, without the question mark; never printed.
            headers: Never printed.
            body: Never printed.
            timeout: Seconds until the whole answer must be there.

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
            failure = name_fault(error, what, base)
        else:
            elapsed = round(1000 * (self._clock.monotonic() - started))
            self._log.debug(f"{what} -> {response.status_code} in {elapsed} ms")
            return Answer(
                status=response.status_code,
                headers=response.headers,
                body=content,
                cookies={cookie.name: cookie.value or "" for cookie in response.cookies},
            )
        # Outside of the except clause, so that no traceback shows the library's exception, which holds the URL.
        self._log.debug(f"{what} -> {failure.title}")
        raise failure


class HandshakeError(NewConnectionError):
    """The connection broke while it was made: nothing was sent."""


class _Connection(HTTPSConnection):
    """Tells a handshake that failed from an answer that was lost."""

    def connect(self) -> None:
        """Connect, and shake hands."""
        try:
            super().connect()
        except (ssl.SSLCertVerificationError, ssl.CertificateError):
            raise
        except (ConnectionError, ssl.SSLError) as error:
            if getattr(error, "library", "") == "X509":
                raise  # the bundle of authorities
            self.close()
            raise HandshakeError(self, "handshake failed") from error
        if getattr(self.sock, "version", str)() is None:  # reset so soon that Python did not even try to shake hands
            self.close()
            raise HandshakeError(self, "no handshake")


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Let connections that are made directly tell."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _Pool}

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Let connections through a proxy tell."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _Pool}
        return manager


def make_careful(http: requests.Session) -> None:
    """Let a session tell what never left, and look for no redirect.

    Even where it is to follow none, it would read the whole body of one, however long and slow.
    """
    http.get_redirect_target = _find_no_target  # type: ignore[method-assign]
    http.mount("https://", _Adapter())


def _find_no_target(resp: requests.Response) -> None:
    """Stand where requests would look where a redirect leads."""


def read_body(response: requests.Response, clock: Clock, deadline: float, what: str) -> bytes:
    """Read the body of a streamed answer, as far as time and memory go.

    Args:
        response: The answer.
        clock: Tells when time is up.
        deadline: On the clock.
        what: The request, and where it went.

    Raises:
        AnswerError: It is longer than LONGEST_ANSWER.
        AnswerTimeoutError: It was still coming when time ran out.
        RequestException: As urllib3's HTTPError and OSError: it broke off.
    """
    # It hands over its content without a copy.
    content = io.BytesIO()
    # read1 hands over what has come: a server that sends byte by byte cannot hold the step beyond its time.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        if content.tell() + len(chunk) > LONGEST_ANSWER:
            raise AnswerError(
                f"The answer to {what} is longer than {LONGEST_ANSWER // 1024**2} MB.",
                "Ask for less, e.g. with limit= in the query. If it was to change something, it may have: look in Airflow.",
            )
        if clock.monotonic() > deadline:
            raise AnswerTimeoutError(f"The answer to {what} was still coming when time ran out.", HINT_LOST)
        content.write(chunk)
    return content.getvalue()


def may_pass(status: int) -> bool:
    """Tell whether an HTTP status may be another one a moment later."""
    return status in (408, 429) or status >= 500  # noqa: PLR2004


def read_retry_after(headers: Mapping[str, str], otherwise: float = 0.0) -> float:
    """Read the seconds that `Retry-After` asks to wait.

    Args:
        headers: Of the answer.
        otherwise: What counts where there is no such header, or none that can be read.
    """
    try:
        return max(0.0, Retry().parse_retry_after(headers["Retry-After"]))
    except Exception:  # noqa: BLE001 - urllib3 raises InvalidHeader or ValueError for what is no such value
        return otherwise


def _keep_as_is(request: PreparedRequest) -> PreparedRequest:
    """Stand where requests would otherwise take a password from `.netrc`."""
    return request


# What an exception of requests, or one behind it, means for the request. The first row that fits counts. Whatever may come
# up after the request left does not prove that it did not: a TLS alert, a proxy that hangs up.
_FAULTS: tuple[tuple[tuple[type[BaseException], ...], type[ActionError], str, str], ...] = (
    ((NameResolutionError,), UnknownHostError, "{base}: no such host.", HINT_DNS),
    (
        (HandshakeError,),
        NetworkError,
        "{base}: the connection broke before anything was sent.",
        f"{HINT_REFUSED} {HINT_TLS}",
    ),
    ((NewConnectionError,), NetworkError, "{base}: the connection was refused.", HINT_REFUSED),
    ((ssl.SSLCertVerificationError,), NetworkError, "{base}: its TLS certificate is not trusted.", HINT_TLS),
    (
        (http_errors.ConnectTimeout, ConnectTimeoutError),
        NetworkError,
        f"{{base}}: no connection within {CONNECT_TIMEOUT:g} s.",
        HINT_REFUSED,
    ),
    (
        (http_errors.ReadTimeout, ReadTimeoutError),
        AnswerTimeoutError,
        "{what} at {base} was sent, but no answer came in time.",
        HINT_LOST,
    ),
    (
        (http_errors.SSLError, ssl.SSLError),
        AnswerLostError,
        "{what} at {base}: the TLS connection failed before the answer was whole.",
        f"{HINT_TLS} {HINT_LOST}",
    ),
    (
        (http_errors.ProxyError,),
        AnswerLostError,
        "{what} at {base}: the proxy broke off before the answer was whole.",
        f"{HINT_PROXY} {HINT_LOST}",
    ),
    (
        (http_errors.ConnectionError, http_errors.ChunkedEncodingError, ProtocolError, DecodeError),
        AnswerLostError,
        "{what} at {base} was sent, but the connection broke before its answer was whole.",
        HINT_LOST,
    ),
    (
        (http_errors.InvalidURL, http_errors.InvalidHeader, http_errors.InvalidSchema, LocationParseError, ProxySchemeUnknown),
        NetworkError,
        "{base}: {what} could not be sent.",
        f"{HINT_PROXY} SOCKS proxies are not supported.",
    ),
    ((Exception,), AnswerLostError, "{what} at {base} went wrong before its answer was whole.", HINT_LOST),
)


# These faults stay whatever is tried again.
_LASTING = (
    ssl.SSLCertVerificationError,
    http_errors.InvalidURL,
    http_errors.InvalidHeader,
    http_errors.InvalidSchema,
    LocationParseError,
    ProxySchemeUnknown,
)


def name_fault(error: BaseException, what: str, base: str) -> ActionError:
    """Turn an exception of requests, of urllib3 or of the system into the error that says what it means for the request."""
    chain = list(_unfold(error))
    if certain := _name_bundle(chain, base) or _name_proxy(chain, what, base):
        return certain
    _, meaning, text, hint = next(row for row in _FAULTS if any(isinstance(one, row[0]) for one in chain))
    fault = meaning(text.format(base=base, what=what), hint)
    if any(isinstance(one, _LASTING) for one in chain):
        fault.may_pass = False
    if any(isinstance(one, socket.gaierror) and one.errno == socket.EAI_AGAIN for one in chain):
        fault.may_pass = True
    return fault


def _name_bundle(chain: Sequence[BaseException], base: str) -> NetworkError | None:
    """Recognise a bundle that the environment names and nobody finds or can read: no library has an exception for it."""
    if any(isinstance(one, NewConnectionError) for one in chain):
        return None  # a firewall of the machine says "permission denied", too
    for one in chain:
        missing = re.search(r"CA certificate bundle, invalid path: (.+)", str(one))
        if missing or getattr(one, "library", "") == "X509" or isinstance(one, (PermissionError, IsADirectoryError)):
            found = f"there is no file {missing[1]} with" if missing else "the file that the environment names holds no"
            failure = NetworkError(f"{base}: {found} certificate authorities.", HINT_BUNDLE)
            failure.may_pass = False
            return failure
    return None


def _name_proxy(chain: Sequence[BaseException], what: str, base: str) -> NetworkError | None:
    """Recognise a proxy that was not reached, or did not let the request through: it never got to the host."""
    for one in chain:
        if tunnel := re.search(r"Tunnel connection failed: (\d{3})", str(one)):
            status = int(tunnel[1])
            hint = HINT_PROXY_USER if status == 407 else HINT_PROXY  # noqa: PLR2004
            failure = NetworkError(f"{base}: the proxy did not let {what} through; it answered {status}.", hint)
            failure.may_pass = may_pass(status)
            return failure
    is_proxy = any(isinstance(one, (http_errors.ProxyError, ProxyError)) for one in chain)
    if is_proxy and any(isinstance(one, (NewConnectionError, ConnectTimeoutError)) for one in chain):
        return NetworkError(f"{base}: the proxy on the way there was not reached.", HINT_PROXY)
    return None


def _unfold(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and those that it wraps: libraries keep them as `reason`, as an argument, or as the cause."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending += [getattr(one, "reason", None), *one.args, one.__cause__]
