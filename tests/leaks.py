"""Looks for secrets in whatever a step left behind, by undoing what programs do to a text.

It shares no code with dms_airflow.redaction: that writes down what a secret may look like, this reads what is there.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# A text of fewer characters is in any log.
SHORTEST = 4
# In fewer characters of base64 two texts are alike by chance.
SHORTEST_ENCODED = 8

_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\U[0-9a-fA-F]{8}|\\."
)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")


def find_leaks(texts: Mapping[str, str], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Give the place and the secret of each leak.

    Args:
        texts: What was left, by its place.
        secrets: Each of them, and each line of each that is long enough, must not be in any text.
    """
    wanted = {line.strip() for secret in secrets for line in (secret, *re.split(r"\r\n|\r|\n", secret))}
    wanted = {secret for secret in wanted if len(secret) >= SHORTEST}
    found: list[tuple[str, str]] = []
    for place, text in texts.items():
        readings = set(read(text))
        contents = b"\0".join(decode_base64(readings)) if any(len(one) >= SHORTEST_ENCODED for one in wanted) else b""
        for secret in wanted:
            raw = secret.encode("utf-8", "surrogateescape")
            if any(secret in reading for reading in readings) or (len(secret) >= SHORTEST_ENCODED and raw in contents):
                found.append((place, secret))
    return found


def read(text: str) -> Iterator[str]:
    """Give a text as it is, and with each kind of escapes taken back, one kind after another too."""
    yield text
    undoings: tuple[Callable[[str], str], ...] = (unquote, unquote_plus, html.unescape, unescape, join_shell)
    for undo in undoings:
        once = undo(text)
        if once != text:
            yield once
            yield from (twice for then in undoings if (twice := then(once)) != once)


def unescape(text: str) -> str:
    """Take back what JSON and Python escape."""

    def plain(match: re.Match[str]) -> str:
        code = match[0]
        if code[1] not in "uUx":
            return _LETTERS.get(code[1], code[1])
        if len(code) == 12:
            high, low = int(code[2:6], 16), int(code[8:], 16)
            return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        number = int.from_bytes(bytes.fromhex(code[2:]))
        return chr(number) if number <= 0x10FFFF else code

    return _ESCAPE.sub(plain, text)


def join_shell(text: str) -> str:
    """Take back how shells put a single quote into a quoted word."""
    return text.replace("""'"'"'""", "'").replace("'\\''", "'")


def decode_base64(texts: Iterable[str]) -> Iterator[bytes]:
    """Give what base64 in these texts may say, whichever byte it began at."""
    for run in {run for text in texts for run in _BASE64.findall(text)}:
        plain = run.replace("-", "+").replace("_", "/")
        for start in range(4):
            part = plain[start:]
            part = part[: len(part) - (len(part) % 4 == 1)]
            try:
                yield base64.b64decode(part + "=" * (-len(part) % 4))
            except binascii.Error:
                continue
