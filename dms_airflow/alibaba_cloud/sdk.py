"""What the action changes in Alibaba Cloud's SDK, and why.

- It imports packages that it never uses here: empty modules replace them (`stub_imports`).
- A generated client imports every message of its API: here only those that a call uses (`import_client`).
- It prints requests and logs URLs that hold tokens, follows redirects with the security token, ignores NO_PROXY, reads a
  response without end, and its providers of credentials take no bundle of certificate authorities: its requests go through
  the action's own session (`guard_sdk`).
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.exceptions import RequestException
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from dms_airflow.alibaba_cloud.error_codes import Refusal
from dms_airflow.core.errors import ActionError, AnswerError, NetworkError, UnknownHostError
from dms_airflow.core.http.exchange import read_body, restrict_session
from dms_airflow.core.http.network_errors import HINT_LOST, HINT_REFUSED, explain_fault
from dms_airflow.core.http.retry import parse_retry_after
from dms_airflow.core.text import load_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from requests import PreparedRequest, Response

    from dms_airflow.core.clock import Clock

T = TypeVar("T")

CONNECT_TIMEOUT = 10_000  # milliseconds, as the SDK wants them
READ_TIMEOUT = 30_000  # milliseconds

HINT_NOT_ALIBABA_CLOUD = (
    "The response is not from Alibaba Cloud: check HTTPS_PROXY and NO_PROXY in the job's environment, and endpoint if it is "
    "given. Nothing was changed by the call."
)

# The SDK's imports for features that are never used here: asynchronous requests, RSA keys, refreshing keys in the background.
# It takes these names from them when it is imported. Together they would be almost half of the SDK's import time
# (docs/development/performance.md).
_UNUSED = {
    "aiohttp": ("ClientResponse", "ClientSession"),
    "apscheduler.schedulers.background": ("BackgroundScheduler",),
    "cryptography.hazmat.primitives": ("hashes",),
    "cryptography.hazmat.primitives.asymmetric": ("padding",),
    "cryptography.hazmat.primitives.serialization": ("load_pem_private_key",),
}

# The classes of the SDK that keep sessions of requests: for the clients of APIs, and for the providers of credentials.
CLIENTS = ("darabonba.core", "DaraCore")
PROVIDERS = ("Tea.core", "TeaCore")


@contextmanager
def stub_imports() -> Iterator[None]:
    """Replace packages that the SDK imports but never uses here by empty modules, while it is imported."""
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
    """The messages of a generated client, each imported when it is used: its package `models` imports a module for each."""

    def __init__(self, name: str, source: Path) -> None:
        super().__init__(name)
        self.__path__ = [str(source.parent)]
        self._imports = source.read_text(encoding="utf-8")

    def __getattr__(self, name: str) -> Any:
        found = re.search(rf"(?m)^from \.(\w+) import {name}$", self._imports)
        if not found:
            raise AttributeError(name)
        return getattr(import_module(f"{self.__name__}.{found[1]}"), name)


def import_client() -> tuple[Any, Any]:
    """Import the SDK's client of DMS: its class, and the module of its messages."""
    name = "alibabacloud_dms20250414.models"
    if name not in sys.modules:
        found = find_spec(name)
        if not found or not found.origin:
            raise ModuleNotFoundError(name)
        sys.modules[name] = _Messages(name, Path(found.origin))
    with stub_imports():
        return import_module("alibabacloud_dms20250414.client").Client, sys.modules[name]


@dataclass
class LastExchange(threading.local):
    """This thread's last request and response while the SDK was at work: the SDK's own exceptions keep little of it.

    `url` is without user, path and query; `status` is 0 without a response, and `fault` is what kept it from coming, or from
    being read; `retry_after` is in seconds.
    """

    url: str = ""
    status: int = 0
    body: bytes = b""
    retry_after: float = 0.0
    fault: ActionError | None = None

    def forget(self) -> None:
        """Begin another one."""
        self.url, self.status, self.body, self.retry_after, self.fault = "", 0, b"", 0.0, None


class _CarefulSession(requests.Session):
    """Sends the SDK's requests like the action's own: with the same proxies, certificate authorities and limits."""

    def __init__(self, clock: Clock, ca_bundle: str, last: LastExchange) -> None:
        super().__init__()
        self._clock = clock
        self._ca_bundle = ca_bundle
        self._last = last
        restrict_session(self)

    def send(self, request: PreparedRequest, **options: Any) -> Response:
        """Send a request, and read its response within LONGEST_ANSWER and the time-out of the SDK."""
        last, url = self._last, request.url or ""
        last.forget()
        parts = urlsplit(url)
        last.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        options |= {"allow_redirects": False, "stream": True, "proxies": get_environ_proxies(url)}
        options["verify"] = self._ca_bundle or True
        deadline = self._clock.monotonic() + options["timeout"][1]
        try:
            with super().send(request, **options) as response:
                last.status = response.status_code
                last.retry_after = parse_retry_after(response.headers)
                last.body = read_body(response, self._clock, deadline, f"{request.method} / at {last.url}")
        except (RequestException, HTTPError, ActionError, ValueError, OSError) as error:
            last.fault = error if isinstance(error, ActionError) else explain_fault(error, f"{request.method} /", last.url)
            raise RequestException from None  # the SDK handles it, and it contains no URL
        response.raw = BytesIO(last.body)
        return response


@contextmanager
def guard_sdk(users: tuple[str, str], clock: Clock, ca_bundle: str) -> Iterator[LastExchange]:
    """Let the SDK's clients or its providers, which are imported by now, make calls without showing secrets.

    ``DEBUG=sdk`` makes it print signed requests and tokens (`do_action` of darabonba/core.py and Tea/core.py), and its log
    holds URLs with id-tokens (`_handle_fetched_failure` of alibabacloud_credentials/provider/refreshable.py). Both modules keep
    sessions of requests for ever; here they get one that is closed at the end of the block.
    """
    last = LastExchange()
    threshold = logging.root.manager.disable
    debug = os.environ.pop("DEBUG", None)
    core = getattr(sys.modules[users[0]], users[1])
    former = core._get_session  # noqa: SLF001 - nothing public opens a session
    try:
        logging.disable(logging.CRITICAL)
        with _CarefulSession(clock, ca_bundle, last) as session:
            core._get_session = lambda **_: session  # noqa: SLF001 - as above
            yield last
    finally:
        core._get_session = former  # noqa: SLF001 - as above
        if debug is not None:
            os.environ["DEBUG"] = debug
        logging.disable(threshold)


def attempt(call: Callable[[], T], last: LastExchange) -> T | None:
    """Call the SDK; None where it raised something, of which only what `last` keeps is known then.

    An error that is raised outside of an except clause shows no traceback of the SDK's: that may hold requests and answers.
    """
    last.forget()
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the SDK raises what its libraries raise
        # Of Alibaba Cloud's own header x-acs-retry-after, in milliseconds.
        last.retry_after = (getattr(error, "retry_after", None) or 0) / 1000 or last.retry_after
        return None


def parse_refusal(last: LastExchange, groups: tuple[str, ...]) -> Refusal | None:
    """Parse why Alibaba Cloud refused a call, with or without an HTTP error; None when its response does not say that."""
    try:
        body = load_json(last.body)
    except ValueError:
        return None
    if not isinstance(body, dict) or body.get("Success") is True or not {"Success", "ErrorCode", "Code"} & body.keys():
        return None
    return Refusal(
        code=str(body.get("ErrorCode") or body.get("Code") or "no error code"),
        message=str(body.get("Message") or ""),
        request_id=str(body.get("RequestId") or ""),
        groups=groups,
        status=last.status,
        retry_after=last.retry_after,
    )


def explain_network_failure(last: LastExchange) -> NetworkError | AnswerError | None:
    """Explain why a call, which can be repeated without harm, got no response; None when it got one."""
    fault = last.fault
    if fault is None:
        return None
    if isinstance(fault, AnswerError):
        return AnswerError(fault.message, HINT_NOT_ALIBABA_CLOUD)
    hint = fault.hint.removesuffix(HINT_LOST).strip() or HINT_REFUSED
    kind = UnknownHostError if isinstance(fault, UnknownHostError) else NetworkError
    return kind(fault.message, hint, is_transient=fault.is_transient)
