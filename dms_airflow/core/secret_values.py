"""Secret words inside of the author's texts: values that JSON names as secret, passwords in URLs. Pure.

A value is secret by its key's name, by which Airflow's own masker judges too (airflow/utils/log/secrets_masker.py,
DEFAULT_SENSITIVE_FIELDS).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MASK = "***"

_KEYS = r"access_token|api_?key|authorization|passphrase|passwd|password|private_key|secret|token|keyfile_dict|service_account"
_SECRET_KEY = re.compile(_KEYS, re.IGNORECASE)

# `password=…`, `'token': '…'`: what is no JSON, but was meant to be.
_ASSIGNED = re.compile(
    rf"""(?P<head>(?:{_KEYS})[\w.-]{{0,80}}["']?\s{{0,8}}[:=]\s{{0,8}})(?P<value>"[^"]*"|'[^']*'|[^\s"',;&}}\]]+)""",
    re.IGNORECASE,
)

# Bounded, so that no text makes it slow.
_URL_PASSWORD = re.compile(r"""(?P<head>://[^\s/:@"'<>]{0,200}:)[^\s/@"'<>]{1,500}(?=@)""")

# A shorter number is a port or a limit (`max_tokens`), and stands everywhere.
_SHORTEST_NUMBER = 6  # digits


def is_secret_key(key: str) -> bool:
    """Whether Airflow would hide the value of a key."""
    return _SECRET_KEY.search(key) is not None


def find_secrets(text: str, is_secret: Callable[[str], bool] = is_secret_key) -> tuple[str, ...]:
    """Give the secret words inside of a text: of JSON, of what looks like it, of a URL.

    Args:
        text: A word of a command, a configuration, a body.
        is_secret: Tells by a key's name.
    """
    value = _parse(text)
    found = _find_in_text(text) if value is None else list(_walk(value, is_secret))
    return tuple(dict.fromkeys(filter(None, found)))


def hide_secrets(text: str) -> str:
    """Write a text without the secret words inside of it, whatever their length."""
    value = _parse(text)
    if value is not None:
        return json.dumps(_hide(value), ensure_ascii=False) if any(_walk(value, is_secret_key)) else text
    return _ASSIGNED.sub(lambda match: match["head"] + MASK, hide_passwords(text))


def hide_passwords(text: str) -> str:
    """Take the passwords out of the URLs in a text."""
    return _URL_PASSWORD.sub(lambda match: match["head"] + MASK, text)


def _parse(text: str) -> Any:
    """Read a JSON object or list; None when it is none."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _walk(value: Any, is_secret: Callable[[str], bool]) -> Iterator[str]:
    pending: list[tuple[Any, bool]] = [(value, False)]
    while pending:
        value, secret = pending.pop(0)
        if isinstance(value, dict):
            pending += [(inner, secret or is_secret(key)) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [(inner, secret) for inner in value]
        elif isinstance(value, str):
            # A connection's extra is often JSON inside JSON.
            yield from (value, *find_secrets(value, is_secret)) if secret else find_secrets(value, is_secret)
        elif secret and _is_long_number(value):
            yield json.dumps(value)


def _hide(value: Any, *, secret: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _hide(inner, secret=secret or is_secret_key(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hide(inner, secret=secret) for inner in value]
    if isinstance(value, str):
        return MASK if secret and value else hide_secrets(value)
    return MASK if secret and _is_long_number(value) else value


def _is_long_number(value: Any) -> bool:
    return isinstance(value, int | float) and len(str(value)) >= _SHORTEST_NUMBER  # false and true are shorter


def _find_in_text(text: str) -> Iterator[str]:
    yield from _find_uri_password(text)
    for match in _ASSIGNED.finditer(text):
        yield match["value"].strip("\"'")


def _find_uri_password(text: str) -> tuple[str, ...]:
    try:
        password = urlsplit(text).password
    except ValueError:
        return ()
    return (password, unquote(password)) if password else ()
