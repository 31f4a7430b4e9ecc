"""A stack trace as Python prints it -> the exception, its message and its frames.

The formats are those of Python 3.8 to 3.13 (tests/captures/airflow-2.10.4/tracebacks) and Airflow's own one-line form
`AirflowDagCycleException: …` for what it finds after a file was imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

# Each stack trace of a run is parsed several times.
MOST_REMEMBERED = 20_000

_CALLS = "(most recent call last):"
HEADER = f"Traceback {_CALLS}"
_GROUP_HEADER = f"  + Exception Group Traceback {_CALLS}"

# What Python prints between two exceptions of a chain, each between two blank lines.
HANDLING = "During handling of the above exception, another exception occurred:"
CAUSED = "The above exception was the direct cause of the following exception:"

# Whose frame is outermost in a whole traceback of an import: that of Airflow's module that caught the exception; the second
# is 3.2's.
_CATCHER = re.compile(
    r'(?:  \|)? {2,3}File ".*/airflow/(?:\w+/dagbag|dag_processing/importers/python_importer)\.py", line \d+, in .*'
)

# At most nine digits: int() refuses very long numbers, and no file has a thousand million lines.
_FRAME_START = '\n  File "'
_FRAME = re.compile(r'(?P<file>.+)", line (?P<line>\d{1,9})(?:, in (?P<function>.*))?')
_MARKERS = re.compile(r"[\s~^]*|\s*\.\.\.<\d+ lines>\.\.\.")
_MARGIN = re.compile(r"\n(?=\S)")
# Without the module path, and the `unusual_prefix_<sha1>_` that Airflow puts before a DAG file's module.
_CLASS = re.compile(r"(?:[^\s:]*\.)?+(?P<name>[^\s:]++)(?:: ?(?P<message>.*))?")
# The name of a class has several words or is `Exception`; the first word of a sentence such as `Variable: …` has not.
_BARE = re.compile(r"(?:[^\s:]*\.)?+(?P<name>Exception|(?=[A-Z]\w*[A-Z])(?=\w*[a-z])\w++): (?P<message>.*)", re.DOTALL)


class Frame(NamedTuple):
    """One `File …, line …` of a traceback; a syntax error's own line has no function."""

    file: str
    line: int
    function: str | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class Traceback:
    """The last exception of a chain: the one that ended the import.

    `exception` is the class's bare name, empty where the text does not say it (Airflow's
    `dagbag_import_error_tracebacks = False` leaves only the message). `frames` are outermost first.
    """

    exception: str
    message: str
    frames: tuple[Frame, ...] = ()


@lru_cache(MOST_REMEMBERED)
def parse(text: str) -> Traceback:
    """Read a stack trace. Accepts any text: one that is not a traceback becomes a message without frames."""
    text = text.strip("\r\n").replace("\r\n", "\n")
    block = text if text.find(_CALLS, len(_GROUP_HEADER)) < 0 else _last_of_chain(text)
    head, _, rest = block.partition("\n")
    if head == _GROUP_HEADER:
        return _parse_block(_unbox(rest))
    return _parse_block(rest) if head == HEADER else _parse_message(block)


def _last_of_chain(text: str) -> str:
    """Cut the last exception out of a chain.

    A header alone does not start an exception, since messages quote tracebacks too: it counts at the text's start and
    behind a chain's sentence. A message may quote a whole chain: in a whole traceback Airflow's own frame tells where the
    last exception starts.
    """
    lines = text.split("\n")
    starts = [0] + [
        index
        for index in range(3, len(lines))
        if lines[index] in (HEADER, _GROUP_HEADER)
        and lines[index - 2] in (HANDLING, CAUSED)
        and not lines[index - 1]
        and not lines[index - 3]
    ]
    caught = [start for start in starts if start + 1 < len(lines) and _CATCHER.fullmatch(lines[start + 1])]
    return "\n".join(lines[(caught or starts)[-1] :])


def _unbox(text: str) -> str:
    """Take the `  | ` off an exception group's own lines; the boxes of its members are left out."""
    own: list[str] = []
    for line in text.split("\n"):
        if line.startswith("  +"):
            break
        own.append(line[4:] if line.startswith("  | ") else line.removeprefix("  |"))
    return "\n".join(own)


def _parse_block(text: str) -> Traceback:
    """Read what follows the header: indented frames, then the exception at the margin, and its message to the end."""
    text = f"\n{text}"
    margin = _MARGIN.search(text)
    shown = text[: margin.start()] if margin else text
    frames = tuple(filter(None, map(_read_frame, shown.split(_FRAME_START)[1:])))
    if margin is None:
        return Traceback(exception="", message="", frames=frames)
    end = text[margin.end() :]
    last, _, further = end.partition("\n")
    match = _CLASS.fullmatch(last)
    exception, message = (match["name"], match["message"] or "") if match else ("", last)
    return Traceback(exception=exception, message=f"{message}\n{further}".strip("\n"), frames=frames)


@lru_cache(MOST_REMEMBERED)  # most frames are Airflow's and Python's own, the same in each traceback
def _read_frame(text: str) -> Frame | None:
    """Read a frame and the lines that it shows, without what each frame begins with."""
    line, _, shown = text.partition("\n")
    match = _FRAME.fullmatch(line)
    if match is None:
        return None
    file, number, function = match.groups()
    return Frame(file=file, line=int(number), function=function, source=_read_source(shown.partition("\n")[0]))


def _read_source(line: str) -> str | None:
    source = line.strip() if line.startswith("    ") else ""
    return None if not source or (source[0] in "~^." and _MARKERS.fullmatch(source)) else source


def _parse_message(text: str) -> Traceback:
    """Read a text without a traceback: `Class: message` as Airflow writes it, else a bare message."""
    match = _BARE.fullmatch(text)
    return Traceback(exception=match["name"], message=match["message"]) if match else Traceback(exception="", message=text)
