"""Exchanges a login token for a session, detects that the session has expired, and logs in again.

https://help.aliyun.com/zh/dms/ documents the flow: `GET {host}/login?token=…` responses 302 with the `session` cookie.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from dms_airflow.airflow.session_store import SessionFile, StoredSession
from dms_airflow.airflow.version import AIRFLOW_3
from dms_airflow.core.errors import AnswerLostError, AnswerTimeoutError, LoginError, TokenError
from dms_airflow.core.http.retry import is_transient_status, parse_retry_after, retry
from dms_airflow.core.http.urls import check_host

if TYPE_CHECKING:
    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.login_token import LoginToken
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.exchange import Response, Transport
    from dms_airflow.core.log import Log

LOGIN_TIMEOUT = 30.0  # seconds; a login without a response is tried again with a new token

# Of Airflow, or of a gateway of Alibaba Cloud in front of it.
_LOGIN_FORM = re.compile(
    rb"<(?:form|input|a|title|script)\b[^>]*>?[^<]*(?:log[ -]?in|sign[ -]?in|password|%s)" % "登录".encode(), re.IGNORECASE
)

HINT_LOGIN = (
    "The token came from Alibaba Cloud, but the instance's host did not accept it. Check in DMS's console that the instance "
    "in instance-id is running, and not being deployed; then run the step again, which gets a new token."
)
_REDIRECTS = range(HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.BAD_REQUEST)

# Airflow's own cookies, which prove the session; another cookie is a secret if it has at least this many characters.
_PROOFS = frozenset({"session", "_token"})
SHORTEST_PROOF = 16

# A JSON Web Token, by which Airflow 3 knows its users.
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


class AirflowSession:
    """The session with one instance, proved by a cookie, and on Airflow 3 by a bearer token too.

    Logging in has three steps, `obtain_keys`, `fetch_token` and `log_in`; `open` does all of them.

    `is_endpoint_given`: the author named the OpenAPI, so that its response may name any https host. `store` has the sessions of
    earlier steps; without one, nothing is kept.
    """

    def __init__(
        self,
        *,
        obtain_keys: Callable[[], Keys],
        fetch_token: Callable[[Keys], LoginToken],
        transport: Transport,
        clock: Clock,
        log: Log,
        is_endpoint_given: bool = False,
        store: SessionFile | None = None,
    ) -> None:
        self.obtain_keys = obtain_keys
        self.fetch_token = fetch_token
        self._transport = transport
        self._clock = clock
        self._log = log
        self._is_endpoint_given = is_endpoint_given
        self._store = store
        self._renewal = threading.Lock()
        self._cookie = ""
        self._bearer = ""
        self.host = ""
        """The instance's base URL; empty before `open`."""
        self.version: str | None = None
        """Airflow's version; empty if it reports none, None before the request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that prove the session. A cookie jar would not send a `Secure` cookie to an http host."""
        return {"Cookie": self._cookie} | ({"Authorization": f"Bearer {self._bearer}"} if self._bearer else {})

    @property
    def has_jwt(self) -> bool:
        """Whether the login gave a JSON Web Token, which only Airflow 3 does."""
        return _JWT.fullmatch(self._bearer) is not None

    def keep_version(self, number: str) -> None:
        """Keep Airflow's version, for later steps too."""
        if number != self.version:
            self.version = number
            self._keep()

    def open(self) -> None:
        """Use the session of an earlier step; without one, and when it is called again, log in."""
        if not self.host and self._restore():
            self._log.info(f"Using the session that an earlier step opened at {self.host}.")
            return
        started = self._clock.monotonic()
        obtain_keys = cache(self.obtain_keys)
        # A token works once, so that each try to log in has its own; the keys are good for all of them.
        retry(lambda: self.log_in(self.fetch_token(obtain_keys())), clock=self._clock, log=self._log)
        self._log.info(f"Logged in to {self.host} after {self._clock.monotonic() - started:.1f} s.")

    def log_in(self, token: LoginToken) -> None:
        """Make a session of a token by one request; an ActionError where there is none."""
        self._log.mask(token.token)
        host = check_host(token.host, is_endpoint_given=self._is_endpoint_given)
        query = f"token={quote(token.token, safe='')}"
        try:
            response = self._transport.exchange("GET", host, "/login", query=query, timeout=LOGIN_TIMEOUT)
        except (AnswerLostError, AnswerTimeoutError) as error:
            # Whether it happened does not matter: a token works once, and the next try has its own.
            raise LoginError(error.message, HINT_LOGIN, is_transient=error.is_transient) from None
        cookies = {name: value for name, value in response.cookies.items() if value}
        for value in _list_secrets(cookies):
            self._log.mask(value)
        _check_login(response, host, has_session="session" in cookies)
        self.host = host
        self._cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        # Airflow 3's cookie for its token; 3.0 and 3.1 accept it as a bearer token only.
        self._bearer = jwt if _JWT.fullmatch(jwt := cookies.get("_token", "")) else ""
        if self._bearer:
            self._log.info("The login returned a token of Airflow 3, too, which is sent as a bearer token.")
        self._keep()

    def send(self, exchange: Callable[[Mapping[str, str]], Response], method: str, path: str) -> Response:
        """Send a request with the headers that prove the session; log in again when it is gone, once.

        Raises:
            LoginError: A new session is not accepted either.
        """
        used = self.headers
        response = exchange(used)
        if not self.is_rejected(response):
            return response
        # A rejected request did not reach Airflow, so it may be sent again, whatever it does.
        with self._renewal:
            if self.headers == used:  # else another thread has renewed it already
                self._log.info("The session was rejected; logging in again.")
                self.open()
            used = self.headers
        response = exchange(used)
        if response.status == HTTPStatus.UNAUTHORIZED and path.startswith(f"{AIRFLOW_3.api}/"):
            response = self._send_with_bearer(exchange, used, response)
        # A second 403 is Airflow's own: the identity lacks a right.
        if response.status != HTTPStatus.FORBIDDEN and self.is_rejected(response):
            raise LoginError(
                f"{method} {path} at {self.host} was sent to the login page twice, the second time with a new session.",
                "The instance accepts the login but not its session. Run the step again; if it fails again, restart the "
                "instance.",
            )
        return response

    def _send_with_bearer(
        self, exchange: Callable[[Mapping[str, str]], Response], used: Mapping[str, str], rejection: Response
    ) -> Response:
        """Send the session cookie's value as a bearer token too, which Airflow 3 may want; try that once."""
        with self._renewal:
            if self.headers != used:  # another thread has tried it
                return exchange(self.headers)
            value = _parse_cookies(self._cookie).get("session", "")
            if self._bearer or not value:
                return rejection
            self._bearer = value
            response = exchange(self.headers)
            # A 403 may be about what the identity may do, or about the token itself.
            is_forbidden = response.status == HTTPStatus.FORBIDDEN and "JWT" not in response.text
            if not is_forbidden and self.is_rejected(response):
                self._bearer = ""
                return rejection
            self._log.info("The session was accepted as a bearer token.")
            self._keep()
            return response

    def is_rejected(self, response: Response) -> bool:
        """Whether a response means that the session is gone.

        That may be 401, 403, a redirect to a login page or to another host, or the login page itself with status 200: Airflow's
        own API answers 401 and never redirects (docs/architecture.md), a gateway in front of it may do the rest.
        """
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return True
        if response.status in _REDIRECTS:
            location = urlsplit(urljoin(self.host, response.headers.get("Location", "")))
            return location.netloc != urlsplit(self.host).netloc or _is_login_page(location.path)
        is_page = response.status == HTTPStatus.OK and response.content_type == "text/html"
        return is_page and _LOGIN_FORM.search(response.body) is not None

    def _keep(self) -> None:
        if self._store and self.host:
            kept = StoredSession(host=self.host, cookie=self._cookie, bearer=self._bearer, version=self.version or "")
            self._store.write(kept)

    def _restore(self) -> bool:
        kept = self._store.read() if self._store else None
        if kept is None:
            return False
        for value in (*_list_secrets(_parse_cookies(kept.cookie)), *filter(None, [kept.bearer])):
            self._log.mask(value)
        try:
            self.host = check_host(kept.host, is_endpoint_given=self._is_endpoint_given)
        except TokenError:
            return False
        self._cookie, self._bearer, self.version = kept.cookie, kept.bearer, kept.version or None
        return True


def _parse_cookies(header: str) -> dict[str, str]:
    """Parse the cookies of a header by their names."""
    return {name: value for name, _, value in (cookie.partition("=") for cookie in header.split("; "))}


def _list_secrets(cookies: Mapping[str, str]) -> list[str]:
    """List what must be masked. A gateway's cookie may contain an everyday word, such as a language, which is not a secret."""
    return [value for name, value in cookies.items() if name in _PROOFS or len(value) >= SHORTEST_PROOF]


def _check_login(response: Response, host: str, *, has_session: bool) -> None:
    location = urlsplit(urljoin(f"{host}/login", response.headers.get("Location", "")))
    elsewhere = location.netloc != urlsplit(host).netloc
    if response.status in _REDIRECTS:
        if elsewhere:
            raise LoginError(f"The login at {host} was redirected to another host, {location.netloc}.", HINT_LOGIN)
        if has_session and not _is_login_page(location.path):
            return
        raise LoginError(f"The login at {host} led back to the login page, without a session.", HINT_LOGIN)
    raise LoginError(
        f"The login at {host} answered {response.status} where a redirect with a session cookie was expected.",
        HINT_LOGIN,
        is_transient=is_transient_status(response.status),
        retry_after=parse_retry_after(response.headers),
    )


def _is_login_page(path: str) -> bool:
    return "login" in path.rstrip("/").rpartition("/")[2].lower()
