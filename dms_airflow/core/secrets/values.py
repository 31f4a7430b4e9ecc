"""Secret values inside the author's texts: values that JSON names as secret, passwords in URLs. Pure.

A value is secret by its key's name, by which Airflow's own masker judges too (airflow/utils/log/secrets_masker.py,
DEFAULT_SENSITIVE_FIELDS).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

MASK = "***"

_KEYS = r"access_token|api_?key|authorization|passphrase|passwd|password|private_key|secret|token|keyfile_dict|service_account"
_SECRET_KEY = re.compile(_KEYS, re.IGNORECASE)

# `password=…`, `'token': '…'`: almost JSON.
_ASSIGNED = re.compile(
    rf"""(?P<head>(?:{_KEYS})[\w.-]{{0,80}}["']?\s{{0,8}}[:=]\s{{0,8}})(?P<value>"[^"]*"|'[^']*'|[^\s"',;&}}\]]+)""",
    re.IGNORECASE,
)

# The `://` of a URL, also as JSON and URLs write it. The URL ends at a blank or a quote, but not at an escaped quote.
_URL = re.compile(r"(:|%(?:25)*3[aA])(?:\\{0,7}/|%(?:25)*2[fF]){2}")
_URL_END = re.compile(rf"""\s|(?<!\\)["']|\\[nrt]|{_URL.pattern}""")
_PORT = re.compile(r"\d{1,5}(?:[/?#\\]|%(?:25)*2[fF])")

# A shorter number is a port or a limit (`max_tokens`), and is everywhere.
_SHORTEST_NUMBER = 6  # digits


def is_secret_key(key: str) -> bool:
    """Whether Airflow would mask the value of a key."""
    return _SECRET_KEY.search(key) is not None


def find_secrets(text: str, is_secret: Callable[[str], bool] = is_secret_key) -> tuple[str, ...]:
    """Find the secret values in a text: in JSON, in text that looks like JSON, in URLs.

    Args:
        text: A word of a command, a configuration, a body.
        is_secret: Whether the value of a key is secret.
    """
    found: list[str] = []
    _mask(text, is_secret, found)
    return tuple(dict.fromkeys(filter(None, found)))


def mask_secrets(text: str) -> str:
    """Mask the secret values in a text, whatever their length."""
    return _mask(text, is_secret_key, [])


def mask_passwords(text: str) -> str:
    """Mask the passwords of the URLs in a text."""
    return mask_spans(text, _find_passwords(text))


def mask_spans(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Mask parts of a text, which may overlap: where each begins and ends."""
    pieces, done = [], 0
    for start, end in sorted(spans):
        if start >= done:
            pieces += [text[done:start], MASK]
        done = max(done, end)
    return "".join([*pieces, text[done:]]) if pieces else text


def _find_passwords(text: str) -> Iterator[tuple[int, int]]:
    """Find where the passwords of URLs begin and end: after the first colon, before the last ``@``; they may contain both."""
    for url in _URL.finditer(text):
        end = match.start() if (match := _URL_END.search(text, url.end())) else len(text)
        at = text.rfind("@" if url[1] == ":" else f"{url[1][:-2]}40", url.end(), end)
        user, found, password = text[url.end() : max(at, url.end())].partition(url[1])
        if found and password and "/" not in user and "%2f" not in user.lower() and not _PORT.match(password):
            yield at - len(password), at


def _mask(text: str, is_secret: Callable[[str], bool], found: list[str]) -> str:
    """Mask the secret values in a text, and add them to a list."""
    if text.lstrip().startswith(("{", "[")):
        before = len(found)
        try:
            masked = _mask_values(json.loads(text), is_secret, found)
        except (ValueError, RecursionError):
            pass  # not JSON, or not a configuration
        else:
            return json.dumps(masked, ensure_ascii=False) if len(found) > before else text
    for start, end in _find_passwords(text):
        found += [text[start:end], unquote(text[start:end])]
    found += [match["value"].strip("\"'") for match in _ASSIGNED.finditer(text)]
    return _ASSIGNED.sub(lambda match: match["head"] + MASK, mask_passwords(text))


def _mask_values(value: Any, is_secret: Callable[[str], bool], found: list[str], *, secret: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _mask_values(one, is_secret, found, secret=secret or is_secret(key)) for key, one in value.items()}
    if isinstance(value, list):
        return [_mask_values(one, is_secret, found, secret=secret) for one in value]
    if isinstance(value, str) and value:
        found += [value] if secret else []
        masked = _mask(value, is_secret, found)  # a connection's extra is often JSON inside JSON
        return MASK if secret else masked
    if secret and isinstance(value, int | float) and len(str(value)) >= _SHORTEST_NUMBER:  # false and true are shorter
        found.append(json.dumps(value))
        return MASK
    return value
