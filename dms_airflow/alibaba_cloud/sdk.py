"""Keeps Alibaba Cloud's SDK from its own ways: to print, show URLs, follow redirects, read without end, import much."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.exceptions import RequestException
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from dms_airflow.alibaba_cloud.credentials import Keys
from dms_airflow.core.errors import ActionError, AnswerError, NetworkError, UnknownHostError
from dms_airflow.core.http.exchange import make_careful, read_body
from dms_airflow.core.http.network_errors import HINT_LOST, HINT_REFUSED, name_fault
from dms_airflow.core.http.retry import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from requests import PreparedRequest, Response
    from requests.adapters import BaseAdapter

    from dms_airflow.core.clock import Clock

CONNECT_TIMEOUT = 10_000  # milliseconds, as the SDK wants them
READ_TIMEOUT = 30_000  # milliseconds

HINT_STRANGER = (
    "What answered is not Alibaba Cloud: look at HTTPS_PROXY and NO_PROXY in the job's environment, and at endpoint if it is "
    "given. Nothing was changed by the call."
)

# What the SDK imports for what is never done here: asynchronous requests, RSA keys, refreshing keys in the background. It takes
# these names from them when it is imported. Together they would be almost half of the SDK's import time (docs/performance.md).
_UNUSED = {
    "aiohttp": ("ClientResponse", "ClientSession"),
    "apscheduler.schedulers.background": ("BackgroundScheduler",),
    "cryptography.hazmat.primitives": ("hashes",),
    "cryptography.hazmat.primitives.asymmetric": ("padding",),
    "cryptography.hazmat.primitives.serialization": ("load_pem_private_key",),
}


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What an error code of Alibaba Cloud means to who reads it.

    Args:
        pattern: Looked for in ``code: message``.
        words: What happened.
        hint: What to do.
        may_pass: It may be over a moment later.
    """

    pattern: re.Pattern[str]
    words: str
    hint: str
    may_pass: bool = False


@contextmanager
def spare_imports() -> Iterator[None]:
    """Import the SDK without packages that it never uses here: empty modules stand in for them meanwhile."""
    absent = {name: ModuleType(name) for name in _UNUSED if name not in sys.modules}
    for name, module in absent.items():
        vars(module).update(dict.fromkeys(_UNUSED[name]))
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


class _Messages(ModuleType):
    """The messages of a generated client, each imported when it is asked for.

    The package `models` of such a client imports all of them, a module each: four hundred for DMS, of which one call is made.
    """

    def __init__(self, name: str, source: Path) -> None:
        super().__init__(name)
        self.__path__ = [str(source.parent)]
        self._imports = source.read_text(encoding="utf-8")

    def __getattr__(self, name: str) -> Any:
        found = re.search(rf"(?m)^from \.(\w+) import {name}$", self._imports)
        if not found:
            raise AttributeError(name)
        return getattr(import_module(f"{self.__name__}.{found[1]}"), name)


def import_client(package: str) -> tuple[Any, Any]:
    """Import a generated client of the SDK.

    Args:
        package: Its name.

    Returns:
        The class of the client, and the module of its messages.
    """
    name = f"{package}.models"
    if name not in sys.modules:
        found = find_spec(name)
        if not found or not found.origin:
            raise ModuleNotFoundError(name)
        sys.modules[name] = _Messages(name, Path(found.origin))
    with spare_imports():
        return import_module(f"{package}.client").Client, sys.modules[name]


@dataclass
class Heard(threading.local):
    """What this thread heard last while the SDK was at work: its own exceptions keep little of it.

    Args:
        url: Where the request went, without user, path and query.
        status: HTTP status of the answer.
        retry_after: Seconds that the other side asked to wait.
        fault: What kept the answer from coming, or from being read.
    """

    url: str = ""
    status: int | None = None
    retry_after: float = 0.0
    fault: Exception | None = None


class _CarefulSession(requests.Session):
    """What the SDK sends its requests by: as the action's own go, by the same proxies, authorities and limits.

    Left alone it follows redirects with the security token in a header, trusts the system's authorities besides those that the
    environment names, knows no ALL_PROXY and no NO_PROXY, and reads an answer without end.
    """

    def __init__(self, clock: Clock, heard: Heard) -> None:
        super().__init__()
        self._clock = clock
        self._heard = heard
        make_careful(self)
        self._own = dict(self.adapters)

    def get_adapter(self, url: str | bytes) -> BaseAdapter:
        """Give the action's own adapter in place of the SDK's."""
        scheme = urlsplit(str(url)).scheme
        return self._own[f"{scheme}://"]

    def close(self) -> None:
        """Close all connections."""
        for adapter in self._own.values():
            adapter.close()

    def send(self, request: PreparedRequest, **options: Any) -> Response:
        """Send a request, and read its answer within LONGEST_ANSWER and the time-out of the SDK."""
        heard, url = self._heard, request.url or ""
        parts = urlsplit(url)
        heard.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        heard.status, heard.retry_after, heard.fault = None, 0.0, None
        options |= {"allow_redirects": False, "stream": True, "proxies": get_environ_proxies(url)}
        deadline = self._clock.monotonic() + options["timeout"][1]
        try:
            with super().send(request, **options) as response:
                heard.status = response.status_code
                heard.retry_after = parse_retry_after(response.headers)
                content = read_body(response, self._clock, deadline, f"{request.method} / at {heard.url}")
        except (RequestException, HTTPError, ActionError, ValueError, OSError) as error:
            heard.fault = error
            raise RequestException from None  # the SDK knows what to do with it, and it holds no URL
        response.raw = BytesIO(content)
        return response


@contextmanager
def tame(clock: Clock) -> Iterator[Heard]:
    """Let the SDK talk, without harm.

    ``DEBUG=sdk`` makes it print signed requests and tokens (`do_action` of darabonba/core.py and Tea/core.py), and its log
    holds URLs with id-tokens (`_handle_fetched_failure` of alibabacloud_credentials/provider/refreshable.py). Both modules keep
    sessions of requests for ever; here they get careful ones, which end with the talk.
    """
    heard = Heard()
    sessions: list[_CarefulSession] = []

    def open_session() -> _CarefulSession:
        sessions.append(_CarefulSession(clock, heard))
        return sessions[-1]

    threshold = logging.root.manager.disable
    debug = os.environ.pop("DEBUG", None)
    try:
        logging.disable(logging.CRITICAL)
        with ExitStack() as stack:
            for name, core in (("darabonba.core", "DaraCore"), ("Tea.core", "TeaCore")):
                if module := sys.modules.get(name):
                    stack.enter_context(_replaced(module, "Session", open_session))
                    stack.enter_context(_replaced(getattr(module, core), "_sessions", {}))
            yield heard
    finally:
        for session in sessions:
            session.close()
        if debug is not None:
            os.environ["DEBUG"] = debug
        logging.disable(threshold)


@contextmanager
def _replaced(holder: object, name: str, value: object) -> Iterator[None]:
    """Let something have another value for a while."""
    former = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, former)


def ask_provider(provider: Any, ca_bundle: str) -> Keys:
    """Let a provider of the credentials SDK give its keys.

    Args:
        provider: What it raises may hold secrets, and must not be shown.
        ca_bundle: Certificate authorities to trust in place of certifi's; empty for those. The providers take none, but hand
            their options on to what takes one (`do_action` of Tea/core.py).
    """
    trust(provider, ca_bundle)
    credentials = provider.get_credentials()
    return Keys(
        access_key_id=credentials.get_access_key_id() or "",
        access_key_secret=credentials.get_access_key_secret() or "",
        security_token=credentials.get_security_token() or "",
    )


def trust(provider: Any, ca_bundle: str) -> None:
    """Let a provider of the credentials SDK trust these certificate authorities; empty for certifi's."""
    options = getattr(provider, "_runtime_options", None)
    if ca_bundle and isinstance(options, dict):
        options["ca"] = ca_bundle


def name_network_failure(heard: Heard, what: str) -> NetworkError | AnswerError | None:
    """Say what kept a call from being answered; None when it was answered.

    Args:
        heard: What was heard of it.
        what: The call's name. It can be repeated without harm, so that it does not matter whether it left.
    """
    if heard.fault is None:
        return None
    fault = heard.fault if isinstance(heard.fault, ActionError) else name_fault(heard.fault, what, heard.url)
    if isinstance(fault, AnswerError):
        return AnswerError(fault.message, HINT_STRANGER)
    hint = fault.hint.removesuffix(HINT_LOST).strip() or HINT_REFUSED
    kind = UnknownHostError if isinstance(fault, UnknownHostError) else NetworkError
    failure = kind(fault.message, hint)
    failure.may_pass = fault.may_pass
    return failure


def find_meaning(meanings: Sequence[Meaning], code: str, message: str) -> Meaning | None:
    """Find the first meaning that fits."""
    return next((meaning for meaning in meanings if meaning.pattern.search(f"{code}: {message}")), None)
