"""Long JSON texts are judged and decoded as short ones are, in less memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.core.long_json import check, is_long, parse, parse_narrow, write, write_narrow

if TYPE_CHECKING:
    from collections.abc import Callable

EMOJI = "\N{GRINNING FACE}"
FILL = "x" * 2_000_000

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def measure(function: Callable[[bytes], Any], body: bytes) -> int:
    """Tell how many MB a call takes at most."""
    tracemalloc.start()
    try:
        function(body)
        return tracemalloc.get_traced_memory()[1] // 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": 1',
        b'{"a": NaN}',
        b"[-Infinity]",
        b'["\\x41"]',
        b'["\\u4e2"]',
        b'["\\u4e2g"]',
        b'["\\ud8"]',
        b'["\\\\\\"]',
        b'["a\nb"]',
        b"[" * 100_000,
        b'{"a": 1} x',
    ],
)
@pytest.mark.parametrize("function", [check, parse_narrow, parse])
def test_what_is_no_json(function: Callable[[bytes], Any], body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        function(body)


@pytest.mark.parametrize("function", [write_narrow, parse_narrow, parse])
def test_what_is_no_utf_8(function: Callable[[bytes], Any]) -> None:
    with pytest.raises(ValueError, match="decode"):
        function(b'["\xff"]')


def test_a_text_that_is_no_utf_8() -> None:
    assert write_narrow(b"caf\xe9", "replace") == "caf\N{REPLACEMENT CHARACTER}"


@given(value=VALUES, ensure_ascii=st.booleans())
def test_json_stays_what_it_is(value: Any, *, ensure_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=ensure_ascii).encode("utf-8", "surrogatepass")

    check(body)

    assert json.loads(write_narrow(body)) == json.loads(body) == value


@pytest.mark.parametrize(
    ("text", "narrow"),
    [
        (f'["{FILL} é"]', f'["{FILL} é"]'),
        (f'["{FILL}✓{EMOJI}"]', rf'["{FILL}\u2713\ud83d\ude00"]'),
        (f'["{EMOJI * 10}"]', f'["{EMOJI * 10}"]'),  # as escapes they would be longer
        (f'["{"中" * 10}"]', f'["{"中" * 10}"]'),
    ],
)
def test_rare_wide_characters_become_escapes(text: str, narrow: str) -> None:
    assert write_narrow(text.encode()) == narrow


@pytest.mark.parametrize(
    ("body", "value", "is_escaped"),
    [
        (f'["{FILL}✓{EMOJI}"]', rf"{FILL}\u2713\ud83d\ude00", True),
        (rf'["{FILL}\u2713\uD83D\uDE00"]', rf"{FILL}\u2713\uD83D\uDE00", True),
        (rf'["{FILL}\\\u2713"]', rf"{FILL}\\u2713", True),  # behind an escaped backslash
        (rf'["{FILL}\\\\u2713\u00e9\n"]', FILL + "\\\\u2713é\n", False),  # no escape at all
        (r'["\u2713\u2713"]', "✓✓", False),
        (f'["{EMOJI * 10}"]', EMOJI * 10, False),
    ],
)
def test_rare_wide_characters_of_long_strings(body: str, value: str, *, is_escaped: bool) -> None:
    assert parse_narrow(body.encode()) == ([value], is_escaped)


@pytest.mark.parametrize("emoji", [EMOJI, r"\ud83d\ude00"])
def test_memory(emoji: str) -> None:
    body = f'["{FILL}{FILL}{FILL}{FILL}{FILL}{emoji}"]'.encode()  # 10 MB

    assert measure(parse, body) > 45
    assert measure(check, body) < 35
    assert measure(write_narrow, body) < 35
    assert measure(parse_narrow, body) < 45


def test_a_value_is_written_as_people_read_it_unless_it_is_long() -> None:
    assert write({"a": "é \N{GRINNING FACE} \\u"}) == '{"a": "é \N{GRINNING FACE} \\\\u"}'
    assert write(["x" * 9_000_000, "\N{GRINNING FACE}"]) == f'["{"x" * 9_000_000}", "\\ud83d\\ude00"]'


def test_records_are_not_kept_to_be_checked() -> None:
    body = json.dumps([{"dag_id": str(number), "n": number, "f": 0.5} for number in range(100_000)]).encode()  # 4 MB

    assert measure(parse, body) > 30
    assert measure(check, body) < 12


def test_which_is_long() -> None:
    body = b" " * (8 * 1024 * 1024) + b"1"

    assert is_long(body)
    assert not is_long(body[1:])
    assert not is_long("[1]".encode("utf-16") * 8_000_000)
