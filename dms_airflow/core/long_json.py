"""JSON answers that are too long to be held as Python's objects or as wide text. Pure.

Python holds a text with as many bytes a character as its widest one needs: one emoji makes 200 MB of 50. In JSON each
character may also be written as an escape (RFC 8259, section 7), which leaves the text as narrow as its others.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# A shorter answer may take what it takes.
LONG = 8 * 1024 * 1024  # bytes

_PIECE = 1024 * 1024  # bytes

_WIDE = re.compile(r"[^\x00-\xff]")
_HALF = re.compile(r"\\u(?!00)[0-9a-fA-F]{2}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_WIDE_ESCAPE = re.compile(r"\\u(?!00)(?=[0-9a-fA-F]{4})")


def is_long(body: bytes) -> bool:
    """Tell whether a JSON text needs care; only one in UTF-8 can have it."""
    return len(body) > LONG and json.detect_encoding(body) == "utf-8"


def check(body: bytes) -> None:
    """Read a long JSON text without keeping what it says.

    Raises:
        ValueError: It is no JSON.
    """
    # Each byte as a character of its own, and each wide escape as another one: strings stay what they are, strings.
    narrow = "".join(_HALF.sub(r"\\u00", piece.decode("latin-1")) for piece in _split(body))
    parse(narrow, object_pairs_hook=_forget, parse_int=_forget, parse_float=_forget)


def write_narrow(body: bytes, errors: str = "surrogatepass") -> str:
    """Decode a long JSON text; characters beyond Latin-1 become escapes where that makes it shorter in memory.

    Args:
        body: In UTF-8.
        errors: What to do with what is none, as for `bytes.decode`.

    Raises:
        ValueError: It is no UTF-8.
    """
    if not _gains(body, errors):
        return body.decode("utf-8", errors)
    return "".join(_WIDE.sub(lambda match: json.dumps(match[0])[1:-1], piece) for piece in _decode(body, errors))


def write(value: object) -> str:
    """Write a value as JSON, as people read it; a long one with escapes for what is not ASCII."""
    text = json.dumps(value)
    return text if len(text) > LONG or "\\u" not in text else json.dumps(value, ensure_ascii=False)


def parse_narrow(body: bytes) -> tuple[Any, bool]:
    r"""Read a long JSON text of which the strings are long.

    Returns:
        What it says, and whether characters beyond Latin-1, where they are few, stand in it as escapes: six letters, `\u2713`.

    Raises:
        ValueError: It is no JSON.
    """
    text = write_narrow(body)
    # No JSON text has NUL in it: these stand for escaped backslashes meanwhile.
    escapes = text.count("\\u") - text.count("\\u00")
    width = 4 if _SURROGATE.search(text) else 2
    if not escapes or width * (len(text) - 5 * escapes) <= len(text) + escapes:
        return parse(text), False
    text = text.replace("\\\\", "\0")
    text, count = _WIDE_ESCAPE.subn("\0u", text)
    text = text.replace("\0", "\\\\")
    return parse(text), count > 0


def parse(text: str | bytes, **hooks: Any) -> Any:
    """Read a JSON text, strictly.

    Args:
        text: As text, or in UTF-8.
        hooks: As `json.loads` takes them.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse, **hooks)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _gains(body: bytes, errors: str) -> bool:
    length = wide = astral = 0
    for piece in _decode(body, errors):
        if not piece.isascii():
            above = len(piece.encode("utf-16-le", "surrogatepass")) // 2 - len(piece)
            astral += above
            wide += len(piece) - len(piece.encode("latin-1", "ignore")) - above
        length += len(piece)
    width = 4 if astral else 2 if wide else 1
    return width * length > length + 5 * wide + 11 * astral


def _decode(body: bytes, errors: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    yield from map(decoder.decode, _split(body))
    yield decoder.decode(b"", final=True)


def _split(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))


def _forget(_: object) -> None:
    """Keep nothing."""


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON value")
