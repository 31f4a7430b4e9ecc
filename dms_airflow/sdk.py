"""Keeps Alibaba Cloud's SDK from what it would do on its own: print, look around in the environment, show URLs."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.exceptions import RequestException
from requests.utils import get_environ_proxies

from dms_airflow.credentials import Keys
from dms_airflow.errors import NetworkError, UnknownHostError
from dms_airflow.transport import HINT_LOST, HINT_REFUSED, name_fault

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

CONNECT_TIMEOUT = 10_000  # milliseconds, as the SDK wants them
READ_TIMEOUT = 30_000  # milliseconds


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


_PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")


@contextmanager
def tame(url: str) -> Iterator[None]:
    """Let the SDK talk to one URL, without harm.

    ``DEBUG=sdk`` makes it print signed requests and tokens (`do_action` of darabonba/core.py and Tea/core.py), and its log
    holds URLs with id-tokens (`_handle_fetched_failure` of alibabacloud_credentials/provider/refreshable.py). It takes proxies
    from the environment without looking at NO_PROXY.
    """
    harmful = ("DEBUG",) if get_environ_proxies(url) else ("DEBUG", *_PROXIES)
    threshold = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    hidden = {name: os.environ.pop(name) for name in harmful if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
        logging.disable(threshold)


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


def find_host(error: Exception, otherwise: str) -> str:
    """Find the host, as a URL without path and query, that was asked when requests raised what the SDK handed on."""
    url = getattr(getattr(error.__context__, "request", None), "url", None)
    parts = urlsplit(url if isinstance(url, str) else otherwise)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def name_network_failure(error: Exception, what: str, url: str) -> NetworkError | None:
    """Say what kept a call from being answered; None when it was answered.

    Args:
        error: What the SDK raised; it keeps what requests raised as the context.
        what: The call's name. It can be repeated without harm, so that it does not matter whether it left.
        url: Where it was to go, without path and query.
    """
    cause = error.__context__ or error
    if not isinstance(cause, RequestException):
        return None
    fault = name_fault(cause, what, url)
    hint = fault.hint.removesuffix(HINT_LOST).strip() or HINT_REFUSED
    kind = UnknownHostError if isinstance(fault, UnknownHostError) else NetworkError
    failure = kind(fault.message, hint)
    failure.may_pass = fault.may_pass
    return failure


def find_meaning(meanings: Sequence[Meaning], code: str, message: str) -> Meaning | None:
    """Find the first meaning that fits."""
    return next((meaning for meaning in meanings if meaning.pattern.search(f"{code}: {message}")), None)
