"""A traceback's line is found in a checkout of another version, or not at all: never a line that says something else."""

from __future__ import annotations

import pytest

from dms_airflow.checkout.source_lines import contradicts, find_shown_line, split_lines

LINES = ["import os", "", "def load(", "    path,", "):", "    return os.environ[path]", "", "load('a')", "load('a')", ")"]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (b"", []),
        (b"a\n", ["a"]),
        (b"a\n\n", ["a", ""]),
        (b"a\r\nb\rc\n", ["a", "b", "c"]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        ("a\x0c\x0b\x1c\u2028\u0085b\nc".encode(), ["a\x0c\x0b\x1c\u2028\u0085b", "c"]),
        (b"# coding: latin-1\n\xe9\n", ["# coding: latin-1", "é"]),
        (b"# coding: nosuch\n\xe9\n", ["# coding: nosuch", "\ufffd"]),
        (b"\xef\xbb\xbf# coding: latin-1\n\xe9\n", ["# coding: latin-1", "\ufffd"]),
    ],
)
def test_lines_are_those_of_python(source: bytes, lines: list[str]) -> None:
    assert split_lines(source) == lines


@pytest.mark.parametrize(
    ("number", "shown", "found"),
    [
        (6, "return os.environ[path]", 6),
        (6, "\treturn os.environ[path]  ", 6),
        (4, "return os.environ[path]", 6),  # lines were added above, on the instance or here
        (99, "return os.environ[path]", 6),
        (0, "import os", 1),
        (6, "return os.environ[name]", None),  # the line itself is another one
        (8, "load('a')", 8),
        (9, "load('a')", 9),
        (7, "load('a')", None),  # two of them: nothing tells which
        (5, "):", 5),
        (7, "):", None),  # one such line, but a bracket is no proof
        (6, None, 6),
        (10, None, 10),
        (11, None, None),
        (0, None, None),
    ],
)
def test_the_line_that_a_traceback_shows(number: int, shown: str | None, found: int | None) -> None:
    assert find_shown_line(LINES, number, shown) == found


# From Python 3.9 to 3.11 the syntax error of an f-string shows the field's expression instead of the line.
FSTRING = ["x = 1", 'y = f"hello {a b} there"', 'z = f"hello {c d}"']


@pytest.mark.parametrize(("number", "found"), [(1, None), (2, 2), (3, None)])
def test_the_expression_of_an_f_string(number: int, found: int | None) -> None:
    assert find_shown_line(FSTRING, number, "(a b)") == found


def test_a_log_that_lost_what_is_not_ascii() -> None:
    assert find_shown_line(["x = 1", "y = nope('日本')  # é"], 2, "y = nope('??')  # ?") is None
    assert find_shown_line(["x = 1", "y = nope('日本')  # é"], 2, "y = nope('\ufffd')  #") == 2
    assert find_shown_line(["", "x = 1"], 2, "日本") is None


@pytest.mark.parametrize(
    ("number", "shown", "other"),
    [(1, "import os", False), (6, "return os.environ[path]", False), (2, "import os", True), (99, "):", True), (0, ")", True)],
)
def test_a_line_of_another_version(number: int, shown: str, *, other: bool) -> None:
    assert contradicts(LINES, number, shown) is other
