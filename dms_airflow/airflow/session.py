"""Token → cookie session: logs in, notices when the session is gone, logs in again.

https://help.aliyun.com/zh/dms/ documents the flow: `GET {host}/login?token=…` answers 302 with the `session` cookie.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urljoin, urlsplit

from dms_airflow.airflow.session_store import KeptSession
from dms_airflow.core.errors import AnswerLostError, AnswerTimeoutError, LoginError, TokenError
from dms_airflow.core.retry import may_pass, parse_retry_after, retry
from dms_airflow.core.urls import check_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http import Answer, Transport
    from dms_airflow.core.log import Log
    from dms_airflow.core.tokens import LoginToken

LOGIN_TIMEOUT = 60.0  # seconds

# Of Airflow, or of a gateway of Alibaba Cloud in front of it.
_LOGIN_FORM = re.compile(
    rb"<(?:form|input|a|title|script)\b[^>]*>?[^<]*(?:log[ -]?in|sign[ -]?in|password|%s)" % "登录".encode(), re.IGNORECASE
)

HINT_LOGIN = (
    "The token came from Alibaba Cloud, but the instance's host did not take it. Look in DMS's console whether the instance "
    "that instance-id names is running, and not just being deployed; then run the step again, which gets a new token."
)
# The cookies that prove the session, Airflow's own; another one is taken for a secret from so many characters on.
_PROOFS = frozenset({"session", "_token"})
SHORTEST_PROOF = 16

# A JSON Web Token, by which Airflow 3 knows its users.
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


class SessionStore(Protocol):
    """Where a session is kept between the steps of a job."""

    def read(self) -> KeptSession | None:
        """Give the session that an earlier step kept; None when there is none to be trusted."""
        ...

    def write(self, session: KeptSession) -> None:
        """Keep a session, in place of an older one."""
        ...


class AirflowSession:
    """The cookie session with one instance.

    The way to it has three steps, `obtain_keys`, `fetch_token` and `log_in`; `open` goes all of them.

    Args:
        obtain_keys: Gets keys of Alibaba Cloud.
        fetch_token: Asks Alibaba Cloud for a login token.
        transport: Sends the login.
        clock: For the pauses between tries.
        log: Learns each secret at the moment it is born.
        is_endpoint_given: The author named the OpenAPI, so that its answer may name any https host.
        store: Where sessions of earlier steps are; None to begin anew and keep nothing.
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
        store: SessionStore | None = None,
    ) -> None:
        self.obtain_keys = obtain_keys
        self.fetch_token = fetch_token
        self._transport = transport
        self._clock = clock
        self._log = log
        self._is_endpoint_given = is_endpoint_given
        self._store = store
        self._host = ""
        self._cookie = ""
        self._bearer = ""
        self._version = ""

    @property
    def host(self) -> str:
        """The instance's base URL; empty before `open`."""
        return self._host

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that prove the session. A cookie jar would hold back a `Secure` cookie from an http host."""
        return {"Cookie": self._cookie} | ({"Authorization": f"Bearer {self._bearer}"} if self._bearer else {})

    @property
    def version(self) -> str:
        """Airflow's version, as far as it is known; empty where nothing is."""
        return self._version

    def note_version(self, version: str) -> None:
        """Remember Airflow's version, for later steps too."""
        if version != self._version:
            self._version = version
            self._keep()

    def bear_cookie(self) -> bool:
        """Send the value of the session cookie as a bearer token, too; False when there is none, or another token already."""
        if self._bearer:
            return False
        self._bearer = _read_cookies(self._cookie).get("session", "")
        return bool(self._bearer)

    def settle_bearer(self, *, works: bool) -> None:
        """Go on with the bearer token of `bear_cookie`, or without one."""
        if works:
            self._keep()
        else:
            self._bearer = ""

    def open(self) -> None:
        """Take up the session of an earlier step; without one, and when it is called again, log in.

        Raises:
            ActionError: What kept it from logging in.
        """
        if not self._host and self._take_up():
            self._log.info(f"Using the session that an earlier step opened at {self._host}.")
            return
        started = self._clock.monotonic()
        obtain_keys = cache(self.obtain_keys)
        # A token works once, so that every try to log in has its own; the keys are good for all of them.
        retry(lambda: self.log_in(self.fetch_token(obtain_keys())), clock=self._clock, log=self._log)
        self._log.info(f"Logged in to {self._host} after {self._clock.monotonic() - started:.1f} s.")

    def log_in(self, token: LoginToken) -> None:
        """Make a session of a token: one request.

        Raises:
            ActionError: There is none.
        """
        self._log.mask(token.token)
        host = check_host(token.host, is_endpoint_given=self._is_endpoint_given)
        query = f"token={quote(token.token, safe='')}"
        try:
            answer = self._transport.exchange("GET", host, "/login", query=query, timeout=LOGIN_TIMEOUT)
        except (AnswerLostError, AnswerTimeoutError) as error:
            # Whether it happened is of no interest: a token works once, and the next try has its own.
            failure = LoginError(error.message, HINT_LOGIN)
            failure.may_pass = error.may_pass
            raise failure from None
        cookies = {name: value for name, value in answer.cookies.items() if value}
        for value in _list_secrets(cookies):
            self._log.mask(value)
        _check_login(answer, host, has_session="session" in cookies)
        bore_cookie = self._bearer and self._bearer == _read_cookies(self._cookie).get("session")
        self._host = host
        self._cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        # The cookie in which Airflow 3 keeps its token; 3.0 and 3.1 take it as a bearer token only.
        jwt = cookies.get("_token", "")
        is_airflow_3 = _JWT.fullmatch(jwt) is not None
        self._bearer = jwt if is_airflow_3 else cookies["session"] if bore_cookie else ""
        if is_airflow_3:
            self._version = self._version or "3"
            self._log.info("The login gave a token of Airflow 3, too, which goes along as a bearer token.")
        self._keep()

    def _keep(self) -> None:
        if self._store and self._host:
            kept = KeptSession(host=self._host, cookie=self._cookie, bearer=self._bearer, version=self._version)
            self._store.write(kept)

    def _take_up(self) -> bool:
        kept = self._store.read() if self._store else None
        if kept is None:
            return False
        for value in (*_list_secrets(_read_cookies(kept.cookie)), *filter(None, [kept.bearer])):
            self._log.mask(value)
        try:
            self._host = check_host(kept.host, is_endpoint_given=self._is_endpoint_given)
        except TokenError:
            return False
        self._cookie, self._bearer, self._version = kept.cookie, kept.bearer, kept.version
        return True


def _read_cookies(header: str) -> dict[str, str]:
    """Read the cookies of a header by their names."""
    return {name: value for name, _, value in (cookie.partition("=") for cookie in header.split("; "))}


def _list_secrets(cookies: Mapping[str, str]) -> list[str]:
    """List what must be masked. A gateway's cookie may hold an everyday word, such as a language, and prove nothing."""
    return [value for name, value in cookies.items() if name in _PROOFS or len(value) >= SHORTEST_PROOF]


def _check_login(answer: Answer, host: str, *, has_session: bool) -> None:
    location = urlsplit(urljoin(f"{host}/login", answer.headers.get("Location", "")))
    elsewhere = location.netloc != urlsplit(host).netloc
    if answer.status in (301, 302, 303, 307, 308):
        if elsewhere:
            raise LoginError(f"The login at {host} was sent on to another host, {location.netloc}.", HINT_LOGIN)
        if has_session and not _is_login_page(location.path):
            return
        raise LoginError(f"The login at {host} led back to the login page, without a session.", HINT_LOGIN)
    failure = LoginError(
        f"The login at {host} answered {answer.status} where a redirect with a session cookie was expected.", HINT_LOGIN
    )
    failure.may_pass = may_pass(answer.status)
    failure.retry_after = parse_retry_after(answer.headers)
    raise failure


def _is_login_page(path: str) -> bool:
    return "login" in path.rstrip("/").rpartition("/")[2].lower()


def is_bounced(answer: Answer, host: str) -> bool:
    """Tell whether an answer of a host means that the session is gone.

    It hides behind 401, 403, a redirect to a login page or to another host, or the login page itself with status 200:
    Airflow's own API answers 401 and never redirects (docs/how-it-works.md), a gateway in front of it may do the rest.
    """
    if answer.status in (401, 403):
        return True
    if answer.status in (301, 302, 303, 307, 308):
        location = urlsplit(urljoin(host, answer.headers.get("Location", "")))
        return location.netloc != urlsplit(host).netloc or _is_login_page(location.path)
    return answer.status == 200 and answer.content_type == "text/html" and _LOGIN_FORM.search(answer.body) is not None  # noqa: PLR2004
