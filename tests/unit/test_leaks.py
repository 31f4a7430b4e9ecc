"""What the tests look for leaks with finds them, in every form."""

from __future__ import annotations

import base64
import html
import json
import re
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
    "query in small letters": lambda text: re.sub("%..", lambda code: code[0].lower(), quote(text, safe="")),
    "form": quote_plus,
    "URL in a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in a URL": lambda text: quote(json.dumps(text)),
    "shell": shlex.quote,
    "shell in a URL": lambda text: quote(shlex.quote(text), safe=""),
    "shell of bash": lambda text: text.replace("'", "'\\''"),
    "SQL and YAML": lambda text: text.replace("'", "''"),
    "CSV": lambda text: text.replace('"', '""'),
    "shell in JSON": lambda text: json.dumps(shlex.quote(text)),
    "Python": repr,
    "Python of bytes": ascii,
    "HTML": html.escape,
    "HTML in a URL": lambda text: quote(html.escape(text), safe=""),
    "HTML in HTML": lambda text: html.escape(html.escape(text)),
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
    "hex": lambda text: wrap(text.encode().hex(), 10_000, ""),
    "HEX": lambda text: text.encode().hex().upper(),
    "hex in lines": lambda text: wrap(text.encode().hex(), 60, "\n"),
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

# In JSON again, or in Python's notation, these are written three times.
TWICE = {form for form in FORMS if " in " in form and form != "base64 in a URL"}

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
