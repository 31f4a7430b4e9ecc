"""Explains errors of the network: what an exception means for the request, and whether it is transient."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Sequence

from requests import exceptions as http_errors
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ProxySchemeUnknown,
    ReadTimeoutError,
)

from dms_airflow.core.errors import ActionError, AnswerLostError, AnswerTimeoutError, NetworkError, UnknownHostError
from dms_airflow.core.http.retry import is_transient_status

CONNECT_TIMEOUT = 10.0  # seconds

HINT_DNS = (
    "The name server does not know this name: check region, instance-id and endpoint; a VPC endpoint resolves only inside "
    "its network."
)
HINT_TLS = "Check this machine's clock. If a proxy has its own certificate authority, set REQUESTS_CA_BUNDLE."
HINT_PROXY = (
    "Check HTTPS_PROXY, ALL_PROXY and NO_PROXY in the job's environment. A proxy that answers 407 requires a user: "
    "http://USER:PASSWORD@HOST:PORT, from a secret."
)
HINT_REFUSED = "Check the endpoint, and that this machine's network can reach it (whitelists, security groups, proxy)."
HINT_LOST = "Check in Airflow whether it happened before you run the step again."


class HandshakeError(NewConnectionError):
    """The connection broke while it was made: nothing was sent."""


_CONNECT_TIMEOUTS = (http_errors.ConnectTimeout, ConnectTimeoutError)
_READ_TIMEOUTS = (http_errors.ReadTimeout, ReadTimeoutError)
_NEVER_SENT = (
    http_errors.InvalidURL,
    http_errors.InvalidHeader,
    http_errors.InvalidSchema,
    LocationParseError,
    ProxySchemeUnknown,
)

# What an exception of requests, or its cause, means for the request. The first row that matches counts. Whatever may come
# up after the request left does not prove that it did not: a TLS alert, a proxy that hangs up.
_FAULTS: tuple[tuple[tuple[type[BaseException], ...], type[ActionError], str, str], ...] = (
    ((NameResolutionError,), UnknownHostError, "no such host", HINT_DNS),
    ((HandshakeError,), NetworkError, "the connection broke before anything was sent", f"{HINT_REFUSED} {HINT_TLS}"),
    ((NewConnectionError,), NetworkError, "the connection was refused", HINT_REFUSED),
    ((ssl.SSLCertVerificationError,), NetworkError, "its TLS certificate is not trusted", HINT_TLS),
    (_CONNECT_TIMEOUTS, NetworkError, f"no connection within {CONNECT_TIMEOUT:g} s", HINT_REFUSED),
    (_READ_TIMEOUTS, AnswerTimeoutError, "{what} was sent, but no response came in time", HINT_LOST),
    (_NEVER_SENT, NetworkError, "the request could not be sent", f"{HINT_PROXY} SOCKS proxies are not supported."),
    ((Exception,), AnswerLostError, "{what} was sent, but the connection broke before the response was complete", HINT_LOST),
)

# These faults stay whatever is tried again.
_LASTING = (ssl.SSLCertVerificationError, *_NEVER_SENT)


def explain_fault(error: BaseException, what: str, base: str) -> ActionError:
    """Turn an exception of requests, of urllib3 or of the system into the error that says what it means for the request."""
    chain = list(_unfold(error))
    if certain := _find_proxy_fault(chain, what, base):
        return certain
    _, meaning, words, hint = next(row for row in _FAULTS if any(isinstance(one, row[0]) for one in chain))
    is_transient = False if any(isinstance(one, _LASTING) for one in chain) else None
    if any(isinstance(one, socket.gaierror) and one.errno == socket.EAI_AGAIN for one in chain):
        is_transient = True
    return meaning(f"{base}: {words.format(what=what)}.", hint, is_transient=is_transient)


def _find_proxy_fault(chain: Sequence[BaseException], what: str, base: str) -> NetworkError | None:
    """Recognise a proxy that was not reached, or did not let the request through: it never got to the host."""
    for one in chain:
        if tunnel := re.search(r"Tunnel connection failed: (\d{3})", str(one)):
            status = int(tunnel[1])
            message = f"{base}: the proxy did not let {what} through; it answered {status}."
            return NetworkError(message, HINT_PROXY, is_transient=is_transient_status(status))
    is_proxy = any(isinstance(one, (http_errors.ProxyError, ProxyError)) for one in chain)
    if is_proxy and any(isinstance(one, (NewConnectionError, ConnectTimeoutError)) for one in chain):
        return NetworkError(f"{base}: the proxy was not reached.", HINT_PROXY)
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
