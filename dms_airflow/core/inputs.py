"""The border: variables become frozen, typed dataclasses, or a complete list of what is wrong with them.

A dataclass names its inputs by its fields (`on_paused` reads ``DMS_AIRFLOW_ON_PAUSED``, else ``INPUT_ON-PAUSED``), each
declared with `input_field`. What an author reads of it is in contract.py; a contract test holds the two together. An empty
string means "not given", as GitHub passes it for an expression without a value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dms_airflow.core.errors import InputProblem
from dms_airflow.core.text import load_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_OR_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DURATION = re.compile(r"(?:(?P<h>[0-9]{1,6})h)?(?:(?P<m>[0-9]{1,6})m)?(?:(?P<s>[0-9]{1,6})s)?", re.IGNORECASE)
_BARE_SECONDS = re.compile(r"[0-9]{1,6}")

# A backslash before a line's end joins lines as in a shell, except inside single quotes.
_QUOTED_OR_JOINED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\\n|\\.", re.DOTALL)
_ESCAPED = re.compile(r"\\.", re.DOTALL)


class InputValueError(ValueError):
    """A value that an input cannot have. The message says what was expected."""


T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a dataclass field is parsed from its input."""

    parse: Callable[[str], Any]
    required: bool
    secret: bool

    def parse_input(self, text: str) -> Any:
        """Parse what the author wrote.

        Raises:
            InputValueError: The value cannot be; Python reads a byte of the environment that is not UTF-8 as half a surrogate.
        """
        if not text:
            raise InputValueError("is required")
        if _SURROGATE.search(text):
            raise InputValueError("holds a byte that is not UTF-8; save the file that the value is read from as UTF-8")
        return self.parse(text)


def input_field(parse: Callable[[str], Any], *, default: Any = None, required: bool = False, secret: bool = False) -> Any:
    """Declare a dataclass field that is read from the input of the same name.

    Args:
        parse: Turns the author's text into the value, or raises InputValueError with what was expected.
        default: The value when the input is empty; equal to what action.yml's default parses to.
        required: An empty input is a problem.
        secret: The value is never shown, not even in a message about itself.
    """
    source = Source(parse=parse, required=required, secret=secret)
    return field(default=default, repr=not secret, metadata={"source": source})


def list_inputs(cls: type[DataclassInstance]) -> dict[str, Source]:
    """List the inputs that a dataclass reads, by the names in action.yml."""
    return {one.name.replace("_", "-"): one.metadata["source"] for one in fields(cls) if "source" in one.metadata}


def list_variables(name: str) -> tuple[str, str]:
    """List the variables of an input, the first that is not empty counts: that of a shell, and that of GitHub's runner."""
    return f"DMS_AIRFLOW_{name.upper().replace('-', '_')}", f"INPUT_{name.upper()}"


def read_input(environ: Mapping[str, str], name: str) -> str:
    """Read one input; empty when it is not given."""
    return next((text for one in list_variables(name) if (text := environ.get(one, "")).strip()), "")


def load(cls: type[T], environ: Mapping[str, str], problems: list[InputProblem]) -> T:
    """Read a dataclass from its inputs.

    Args:
        cls: A dataclass whose fields are declared with `input_field`. Its method `check`, if it has one, yields a problem for
            each combination of values that cannot be.
        environ: The process's environment.
        problems: Every wrong input is appended here. The dataclass is to be used only if there were none.
    """
    values: dict[str, Any] = {}
    wrong: set[str] = set()
    for name, source in list_inputs(cls).items():
        text = read_input(environ, name)
        if not text and not source.required:
            continue
        try:
            values[name.replace("-", "_")] = source.parse_input(text)
        except InputValueError as error:
            problems.append(InputProblem(name, str(error)))
            wrong.add(name)
    loaded = cls(**values)
    check = cast("Callable[[], Iterable[InputProblem]] | None", getattr(loaded, "check", None))
    if check:
        problems.extend(problem for problem in check() if problem.name not in wrong)
    return loaded


def quote_value(text: str) -> str:
    """Show a value in a message, on one line. It is not cut: the runner could not mask half of a secret in it."""
    return f'"{_CONTROL_OR_BREAK.sub("?", text)}"'


# --- parsers: the author's text -> value ---------------------------------------------------------------------------------


def parse_text(text: str) -> str:
    """One line of text, without the blanks around it."""
    text = text.strip()
    if _CONTROL_OR_BREAK.search(text):
        raise InputValueError("must be one line without control characters")
    return text


def parse_lines(text: str) -> str:
    """Text that may span lines, without the blanks around it; CRLF becomes LF."""
    return _unify_lines(text).strip()


def _unify_lines(text: str) -> str:
    text = text.replace("\r\n", "\n")
    if _CONTROL.search(text):
        raise InputValueError("holds a control character; only line feeds and tabs are allowed")
    return text


def parse_boolean(text: str) -> bool:
    """A boolean word of YAML 1.2, in any case. https://yaml.org/spec/1.2.2/#10212-boolean."""
    return parse_choice("true", "false")(text) == "true"


def parse_pattern(pattern: str, expected: str) -> Callable[[str], str]:
    """One line of text that matches a regular expression as a whole."""

    def parse(text: str) -> str:
        word = parse_text(text)
        if not re.fullmatch(pattern, word):
            raise InputValueError(f"must be {expected}, not {quote_value(word)}")
        return word

    return parse


def parse_choice(*choices: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in choices:
            raise InputValueError(f"must be one of {', '.join(choices)}, not {quote_value(text)}")
        return word

    return parse


def parse_duration(text: str) -> float:
    """A time span such as 90, 90s, 15m or 1h30m, in seconds."""
    word = text.strip()
    if _BARE_SECONDS.fullmatch(word):
        seconds = int(word)
    elif match := _DURATION.fullmatch(word):
        seconds = int(match["h"] or 0) * 3600 + int(match["m"] or 0) * 60 + int(match["s"] or 0)
    else:
        raise InputValueError(f"must be a time span such as 90, 90s, 15m or 1h30m, not {quote_value(text)}")
    if seconds <= 0:
        raise InputValueError(f"must be longer than zero, not {quote_value(text)}")
    return float(seconds)


def parse_whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number within limits."""

    def parse(text: str) -> int:
        word = text.strip()
        if not re.fullmatch("[0-9]{1,9}", word) or not lowest <= int(word) <= highest:
            raise InputValueError(f"must be a whole number from {lowest} to {highest}, not {quote_value(text)}")
        return int(word)

    return parse


def parse_words(text: str) -> tuple[str, ...]:
    """Words quoted as in a shell; a backslash at a line's end joins lines, any other line break separates words."""

    def join(match: re.Match[str]) -> str:
        found = match[0]
        # Inside double quotes there may be an escaped backslash before the end of a line, which belongs to the value.
        return _ESCAPED.sub(lambda pair: "" if pair[0] == "\\\n" else pair[0], found) if found[0] in '"\\' else found

    try:
        return tuple(shlex.split(_QUOTED_OR_JOINED.sub(join, parse_lines(text))))
    except ValueError as error:
        # shlex says "No closing quotation" or "No escaped character".
        raise InputValueError(f"cannot be split into words: {str(error).lower()}") from None


def parse_names(text: str) -> tuple[str, ...]:
    """Names separated by blanks, commas or lines, each once."""
    return tuple(dict.fromkeys(word for word in re.split(r"[\s,]+", parse_lines(text)) if word))


def parse_json(text: str) -> str:
    """JSON of any kind, unchanged except for line breaks, which have no meaning between its tokens."""
    text = parse_lines(text)
    try:
        load_json(text)
    except ValueError as error:
        raise InputValueError(f"is not JSON: {error}") from None
    return text.replace("\n", " ")


def parse_json_object(text: str) -> str:
    """As `parse_json`, and it must be an object."""
    text = parse_json(text)
    if not text.startswith("{"):
        raise InputValueError('must be a JSON object such as {"key": "value"}')
    return text


def iterate_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines that say something, with their numbers from 1: blank lines and comments are left out."""
    for number, line in enumerate(_unify_lines(text).split("\n"), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def parse_operation(text: str) -> str:
    """Read an operation's name; blanks between its words count once."""
    return " ".join(parse_text(text).split())
