"""What the tests look for leaks with finds them, in every form."""

from __future__ import annotations

import base64
import html
import json
import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from tests.leaks import find_leaks

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "p/ss+w%rd='\"<&>\\ é\N{GRINNING FACE}"

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL": quote,
    "query": lambda text: quote(text, safe=""),
    "query in small letters": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%3C", "%3c"),
    "form": quote_plus,
    "URL in a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in a URL": lambda text: quote(json.dumps(text)),
    "shell": shlex.quote,
    "shell in JSON": lambda text: json.dumps(shlex.quote(text)),
    "Python": repr,
    "Python of bytes": ascii,
    "HTML": html.escape,
    "references": lambda text: "".join(one if one.isascii() and one.isalnum() else f"&#{ord(one)};" for one in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind a byte": lambda text: base64.b64encode(b"x" + text.encode() + b"yz").decode(),
    "base64 behind two": lambda text: base64.b64encode(b"xy" + text.encode() + b"z").decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "base64 in lines of 64": lambda text: wrap(base64.b64encode(b"head " * 20 + text.encode() + b" tail").decode(), 64, "\n"),
    "base64 in lines of 76": lambda text: wrap(base64.b64encode(b"header " * 7 + text.encode()).decode(), 76, "\r\n"),
    "base64 in short lines": lambda text: wrap(base64.urlsafe_b64encode(text.encode()).decode(), 10, "\n    "),
    "base64 in lines in JSON": lambda text: json.dumps(wrap(base64.b64encode(b"xy" + text.encode()).decode(), 10, "\r\n")),
    "base64 in lines in JSON in JSON": lambda text: json.dumps(
        json.dumps(wrap(base64.b64encode(text.encode()).decode(), 7, "\n"))
    ),
    "base64 in lines in a URL": lambda text: quote(wrap(base64.b64encode(text.encode()).decode(), 9, "\n"), safe=""),
    "hex": lambda text: wrap(text.encode().hex(), 10_000, ""),
    "HEX": lambda text: text.encode().hex().upper(),
    "hex with colons": lambda text: text.encode().hex(":"),
    "hex with blanks": lambda text: text.encode().hex(" "),
    "hex in lines": lambda text: wrap(text.encode().hex(), 60, "\n"),
    "hex in C": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "hex in Python": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "hex in Python in JSON": lambda text: json.dumps("".join(f"\\x{byte:02X}" for byte in text.encode())),
    "every byte in a URL": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "zero-width spaces": lambda text: wrap(text, 1, "\N{ZERO WIDTH SPACE}"),
    "soft hyphens": lambda text: text[:3] + "\N{SOFT HYPHEN}" + text[3:],
    "byte order mark": lambda text: text[:4] + "\N{ZERO WIDTH NO-BREAK SPACE}" + text[4:],
    "zero-width spaces in JSON": lambda text: json.dumps(wrap(text, 1, "\N{ZERO WIDTH SPACE}")),
    "colours": lambda text: "".join(f"\x1b[1;31m{one}\x1b[0m" for one in text),
    "colours in JSON": lambda text: json.dumps(text[:5] + "\x1b[31m" + text[5:]),
    "wrapped": lambda text: wrap(text, 5, "\n"),
    "wrapped and indented": lambda text: wrap(text, 6, "\r\n      "),
    "wrapped in JSON": lambda text: json.dumps(wrap(text, 5, "\n")),
}


# These put in between what a secret may hold itself.
DISGUISES = {form for form in FORMS if form.startswith(("zero", "soft", "byte order", "colour", "wrapped"))}


def wrap(text: str, width: int, line_break: str) -> str:
    """Break a text into lines of a width, as encoders and terminals do."""
    return line_break.join(text[start : start + width] for start in range(0, len(text), width))


@pytest.mark.parametrize("form", FORMS)
def test_a_leak_is_found(form: str) -> None:
    assert find_leaks({"the log": f"before {FORMS[form](SECRET)} after"}, [SECRET]) == [("the log", SECRET)]


def test_a_leak_of_one_line_is_found() -> None:
    assert find_leaks({"the log": "MIIEowIBAAKCAQEA"}, ["-----BEGIN-----\nMIIEowIBAAKCAQEA\n"]) != []


def test_what_is_masked_is_no_leak() -> None:
    assert find_leaks({"the log": "*** and p/ss+", "outputs": ""}, [SECRET, "abc"]) == []
