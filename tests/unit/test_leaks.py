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
}


@pytest.mark.parametrize("form", FORMS)
def test_a_leak_is_found(form: str) -> None:
    assert find_leaks({"the log": f"before {FORMS[form](SECRET)} after"}, [SECRET]) == [("the log", SECRET)]


def test_a_leak_of_one_line_is_found() -> None:
    assert find_leaks({"the log": "MIIEowIBAAKCAQEA"}, ["-----BEGIN-----\nMIIEowIBAAKCAQEA\n"]) != []


def test_what_is_masked_is_no_leak() -> None:
    assert find_leaks({"the log": "*** and p/ss+", "outputs": ""}, [SECRET, "abc"]) == []
