"""Looks for secrets in whatever a step left behind, by undoing what programs do to a text.

It shares no code with dms_airflow.redaction: that writes down what a secret may look like, this reads what is there.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import TYPE_CHECKING
from unicodedata import category
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
_HEX = re.compile(r"(?:(?:\\+x|\\+u00|0x|%)?[0-9a-fA-F]{2}(?:[\s:,;_-]|\\+[nr])*){4,}")
_HEX_PAIR = re.compile(r"(?:\\+x|\\+u00|0x|%)?([0-9a-fA-F])([0-9a-fA-F])")
# Terminals and encoders break lines, with or without an indentation, and JSON writes the break as letters.
_LINE_BREAKS = re.compile(r"(?:[\r\n]+|\\+[rn]|%(?:25)*0[aAdD])[ \t]*")
_COLOURS = re.compile(r"(?:\x1b|\\+u001[bB]|\\+x1[bB])\[[0-9;]*[A-Za-z]")
_UNSEEN_AS_ESCAPE = re.compile(r"\\+u(?:00ad|20[0-6][0-9a-f]|feff)", re.IGNORECASE)
# Format and control characters show as nothing, but for tabs and line ends.
_SHAPELESS = (one for one in map(chr, range(0x110000)) if category(one) in ("Cf", "Cc") and one not in "\t\n\r")
_UNSEEN = re.compile(f"[{re.escape(''.join(_SHAPELESS))}]")


def find_leaks(texts: Mapping[str, str], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Give the place and the secret of each leak.

    Args:
        texts: What was left, by its place.
        secrets: Each of them, and each line of each that is long enough, must not be in any text.
    """
    wanted = {line.strip() for secret in secrets for line in (secret, *re.split(r"\r\n|\r|\n", secret))}
    wanted = {secret for secret in wanted if len(secret) >= SHORTEST}
    places: dict[str, list[str]] = {}
    for place, text in texts.items():
        places.setdefault(text, []).append(place)
    found: list[tuple[str, str]] = []
    for text, where in places.items():
        readings = set(read(text))
        shown = {show(reading) for reading in readings}
        broken = {_LINE_BREAKS.sub("", reading) for reading in shown}
        is_long = any(len(one) >= SHORTEST_ENCODED for one in wanted)
        contents = b"\0".join((*decode_base64(readings | broken), *decode_hex(readings))) if is_long else b""
        for secret in wanted:
            raw = secret.encode("utf-8", "surrogateescape")
            seen = show(secret)
            is_plain = any(secret in reading for reading in readings)
            is_plain |= len(seen) >= SHORTEST_ENCODED and any(seen in reading for reading in shown)
            joined = _LINE_BREAKS.sub("", seen)
            in_pieces = len(joined) >= SHORTEST_ENCODED and any(joined in reading for reading in broken)
            if is_plain or in_pieces or (len(secret) >= SHORTEST_ENCODED and raw in contents):
                found.extend((place, secret) for place in where)
    return found


def read(text: str) -> Iterator[str]:
    """Give a text as it is, and with each kind of escapes taken back, one kind after another too."""
    yield text
    undoings: tuple[Callable[[str], str], ...] = (unquote, unquote_plus, html.unescape, unescape, join_shell, undouble)
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


def undouble(text: str) -> str:
    """Take back the doubling of quotes by SQL, YAML and CSV."""
    return text.replace("''", "'").replace('""', '"')


def show(text: str) -> str:
    """Leave out what nobody sees: colours, and characters without a shape; tabs and line ends are seen."""
    return _UNSEEN.sub("", _UNSEEN_AS_ESCAPE.sub("", _COLOURS.sub("", text)))


def decode_hex(texts: Iterable[str]) -> Iterator[bytes]:
    """Give what hexadecimal digits in these texts may say, whichever of them is a byte's first."""
    for run in {run for text in texts for run in _HEX.findall(text)}:
        digits = "".join(f"{first}{second}" for first, second in _HEX_PAIR.findall(run))
        yield bytes.fromhex(digits)
        yield bytes.fromhex(digits[1:-1])


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
