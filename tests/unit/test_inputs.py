"""Every input parser says what it takes, what it refuses, and in which words; `load` reports all problems at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from dms_airflow.core import inputs
from dms_airflow.core.errors import InputProblem
from dms_airflow.core.inputs import InputValueError, input_field, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (inputs.parse_text, "  af-1 ", "af-1"),
        (inputs.parse_lines, "a\r\nb\tc\n", "a\nb\tc"),
        (inputs.parse_boolean, "True", True),
        (inputs.parse_boolean, "FALSE ", False),
        (inputs.parse_choice("fail", "ignore"), " Ignore", "ignore"),
        (inputs.parse_duration, "90", 90.0),
        (inputs.parse_duration, "90s", 90.0),
        (inputs.parse_duration, "15m", 900.0),
        (inputs.parse_duration, "1h30m", 5400.0),
        (inputs.parse_duration, "2H", 7200.0),
        (inputs.parse_whole_number(900, 43200), "3600", 3600),
        (inputs.parse_words, "etl --conf '{\"a\": 1}'", ("etl", "--conf", '{"a": 1}')),
        (inputs.parse_words, 'etl \\\n  --note "it\'s"', ("etl", "--note", "it's")),
        (inputs.parse_words, "a 'b \\\nc' \"d \\\ne\"", ("a", "b \\\nc", "d e")),
        (inputs.parse_words, "a\nb", ("a", "b")),
        (inputs.parse_words, "x\\\ny", ("xy",)),
        (inputs.parse_words, '"a\\\\\nb"', ("a\\\nb",)),
        (inputs.parse_words, "x 'two\nlines'", ("x", "two\nlines")),
        (inputs.parse_words, "a#b # c", ("a#b", "#", "c")),
        (inputs.parse_names, "a, b\nc  d b", ("a", "b", "c", "d")),
        (inputs.parse_json, '{"a":\n [1.10, "x"]}', '{"a":  [1.10, "x"]}'),
        (inputs.parse_json_object, ' {"a": 1}', '{"a": 1}'),
    ],
)
def test_accepted(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (inputs.parse_text, "a\nb", "one line"),
        (inputs.parse_text, "a\x00b", "one line"),
        (inputs.parse_lines, "a\x1b[0m", "control character"),
        (inputs.parse_lines, "a\rb", "control character"),
        (inputs.parse_boolean, "yes", 'must be one of true, false, not "yes"'),
        (inputs.parse_boolean, "1", "true, false"),
        (inputs.parse_choice("fail", "ignore"), "maybe", 'must be one of fail, ignore, not "maybe"'),
        (inputs.parse_duration, "soon", "such as 90, 90s, 15m or 1h30m"),
        (inputs.parse_duration, "1h30", "such as"),
        (inputs.parse_duration, "-5", "such as"),
        (inputs.parse_duration, "0", "longer than zero"),
        (inputs.parse_duration, "0h0m", "longer than zero"),
        (inputs.parse_whole_number(900, 43200), "899", "from 900 to 43200"),
        (inputs.parse_whole_number(900, 43200), "1e3", "whole number"),
        (inputs.parse_words, "a 'b", "no closing quotation"),
        (inputs.parse_words, "a \\", "no escaped character"),
        (inputs.parse_json, "{a: 1}", "is not JSON"),
        (inputs.parse_json, "NaN", "NaN is not a JSON value"),
        (inputs.parse_json, "[" * 100_000, "nested too deeply"),
        (inputs.parse_json_object, "[1]", "must be a JSON object"),
    ],
)
def test_refused(parse: Callable[[str], object], text: str, words: str) -> None:
    with pytest.raises(InputValueError) as error:
        parse(text)

    assert words in str(error.value)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Inputs of all kinds."""

    instance_id: str = input_field(inputs.parse_text, required=True, default="")
    wait: bool = input_field(inputs.parse_boolean, default=True)
    secret: str = input_field(inputs.parse_text, default="", secret=True)
    timeout: float | None = input_field(inputs.parse_duration)

    def check(self) -> Iterator[InputProblem]:
        """Two rules, one about an input that may be wrong by itself."""
        if self.timeout is None:
            yield InputProblem(name="timeout", message="is needed")
        if not self.secret:
            yield InputProblem(name="secret", message="is needed")


def test_load_reads_inputs_by_the_names_of_action_yml() -> None:
    problems: list[InputProblem] = []
    environ = {"INPUT_INSTANCE-ID": " af-1 ", "INPUT_WAIT": "", "INPUT_SECRET": "s", "INPUT_TIMEOUT": "5m", "INPUT_WAIT_": "no"}

    sample = load(Sample, environ, problems)

    assert sample == Sample(instance_id="af-1", wait=True, secret="s", timeout=300.0)
    assert problems == []
    assert "secret" not in repr(sample)


def test_load_reports_every_problem_once() -> None:
    problems: list[InputProblem] = []

    load(Sample, {"INPUT_WAIT": "si", "INPUT_TIMEOUT": "x"}, problems)

    assert [(problem.name, problem.message) for problem in problems] == [
        ("instance-id", "is required"),
        ("wait", 'must be one of true, false, not "si"'),
        ("timeout", 'must be a time span such as 90, 90s, 15m or 1h30m, not "x"'),
        ("secret", "is needed"),
    ]


def test_lines_that_say_something() -> None:
    assert list(inputs.iterate_lines("\n# no\n dags list \n\n  # no\nversion")) == [(3, "dags list"), (6, "version")]


@generated(st.text())
def test_words_are_split_or_refused(text: str) -> None:
    try:
        words = inputs.parse_words(text)
    except InputValueError:
        return

    assert not any("\x00" in word for word in words)
