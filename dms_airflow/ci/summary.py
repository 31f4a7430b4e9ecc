"""Result → job summary, outputs and annotations within GitHub's limits. Pure."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, Self

from dms_airflow.core.result import Annotation, Diagram, Ending, Folded, Level, Link, Result, Table
from dms_airflow.core.text import count_bytes, cut_middle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dms_airflow.config import Config

# The runner uploads no summary above 1024 KiB:
# https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits
SUMMARY_LIMIT = 1000 * 1024  # bytes; the rest is left to what other tools of the same step may add
FOLDED_LIMIT = 100 * 1024  # bytes of one folded text
TEXT_OUTPUT_LIMIT = 100_000  # bytes of `stdout` and `stderr`
JSON_OUTPUT_LIMIT = 400_000  # bytes of `json`

# https://github.com/actions/runner/blob/main/src/Runner.Worker/ExecutionContext.cs keeps ten issues of a kind a step, and
# 4096 characters of each.
ANNOTATIONS_OF_A_KIND = 10
ANNOTATION_LIMIT = 4096

_MARKS = {
    Ending.SUCCESS: "✅",
    Ending.FAILURE: "❌",
    Ending.TIMEOUT: "⏱️",
    Ending.CANCELLED: "🚫",
    Ending.REFUSED: "❌",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Every ASCII punctuation mark but the comma and the hyphen, which mean nothing inside a line.
_PUNCTUATION = re.compile(r"[!-+./:-@\[-`{-~]")
# What GitHub makes links of without any: GH-1, a repository's own TICKET-1, and the id of a commit:
# https://docs.github.com/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
_REFERENCE = re.compile(r"-\d|\b[0-9A-Fa-f]{7,40}\b")


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What the summary says besides the result."""

    operation: str
    instance_id: str
    region: str
    airflow_url: str
    airflow_version: str
    duration: float  # seconds

    @classmethod
    def of(cls, config: Config, *, airflow_url: str, airflow_version: str, duration: float) -> Self:
        """Name the occasion by the step's inputs."""
        return cls(
            operation=config.operation,
            instance_id=config.instance_id,
            region=config.region,
            airflow_url=airflow_url,
            airflow_version=airflow_version,
            duration=duration,
        )


# --- outputs --------------------------------------------------------------------------------------------------------------


def render_outputs(outputs: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Annotation, ...]]:
    """Write each output as text, and warn of what is too long for one."""
    written: dict[str, str] = {}
    warnings: list[Annotation] = []
    for name, value in outputs.items():
        if name in ("stdout", "stderr"):
            written[name] = cut_middle(str(value), TEXT_OUTPUT_LIMIT)
            continue
        text = _write_output(value)
        if text is None:
            text, what = _shorten_list(value) if isinstance(value, list) else ("", "was left empty")
            warnings.append(
                Annotation(
                    level=Level.WARNING,
                    title=f"Output {name} is too long",
                    message=f"The output {name} is too long for one and {what}. "
                    "Set result-file to have the whole answer in a file.",
                )
            )
        written[name] = text
    return written, tuple(warnings)


def _write_output(value: Any) -> str | None:
    """Write an output as text; None when it is too long for one. A list is written no further than that."""
    if isinstance(value, list):
        texts, room = [], JSON_OUTPUT_LIMIT - len("[]") + len(", ")
        for entry in value:
            texts.append(json.dumps(entry, ensure_ascii=False))
            room -= count_bytes(texts[-1]) + len(", ")
            if room < 0:
                return None
        return f"[{', '.join(texts)}]"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if count_bytes(text) <= JSON_OUTPUT_LIMIT else None


def _shorten_list(entries: list[dict[str, Any]]) -> tuple[str, str]:
    """Write a list of objects without their stack traces and, if that is not enough, without its last entries."""
    texts = [
        json.dumps({**entry, "stack_trace": ""} if "stack_trace" in entry else entry, ensure_ascii=False) for entry in entries
    ]
    room = JSON_OUTPUT_LIMIT - len("[]")
    kept = list(takewhile(lambda end: end <= room, accumulate(len(text.encode("utf-8", "replace")) + 2 for text in texts)))
    left = len(texts) - len(kept)
    what = "has no stack traces" + (f", and lacks its last {left} entries" if left else "")
    return f"[{', '.join(texts[: len(kept)])}]", what


# --- annotations ----------------------------------------------------------------------------------------------------------


def fit_annotations(annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
    """Keep what GitHub shows: ten of each kind, the tenth saying how many more there are; 4096 characters of each."""
    kept: list[Annotation] = []
    everything = tuple(annotations)
    for level in Level:
        same = [one for one in everything if one.level is level]
        if len(same) > ANNOTATIONS_OF_A_KIND:
            left = len(same) - (ANNOTATIONS_OF_A_KIND - 1)
            more = Annotation(
                level=level,
                title=f"{left} more",
                message=f"{left} more of this kind stand in the step's job summary and the log.",
            )
            same = [*same[: ANNOTATIONS_OF_A_KIND - 1], more]
        kept.extend(same)
    return tuple(replace(one, message=_cut_message(one.message)) for one in kept)


def _cut_message(message: str) -> str:
    # The runner counts UTF-16 units.
    if len(message.encode("utf-16-le", "replace")) // 2 <= ANNOTATION_LIMIT:
        return message
    tail = "\n[… cut; the whole text stands in the job summary]"
    room = 2 * (ANNOTATION_LIMIT - len(tail))
    return message.encode("utf-16-le", "replace")[:room].decode("utf-16-le", "ignore") + tail


# --- summary --------------------------------------------------------------------------------------------------------------


def render_summary(result: Result, occasion: Occasion, redact: Callable[[str], str]) -> str:
    """Write the job summary as Markdown in which no text of the result has a meaning of its own.

    Args:
        result: What to tell.
        occasion: What it was about.
        redact: Takes secrets out of a text before it is escaped.
    """

    def cell(content: str | Link) -> str:
        if isinstance(content, Link):
            return f'<a href="{html.escape(redact(content.url))}">{_escape_inline(redact(content.text))}</a>'
        return _escape_inline(redact(content))

    airflow = Link(text=occasion.airflow_url, url=occasion.airflow_url) if occasion.airflow_url else ""
    facts = [("Instance", occasion.instance_id), ("Region", occasion.region), ("Airflow", airflow)]
    parts = [
        f"### {_MARKS[result.ending]} {cell(occasion.operation or 'dms-airflow')} on {cell(occasion.instance_id or '?')}\n\n",
        f"{cell(result.headline)}\n\n",
        "| | |\n|---|---|\n",
        *(f"| {name} | {cell(value)} |\n" for name, value in facts if value),
        f"| Result | {result.ending.status} after {occasion.duration:.1f} s |\n\n",
    ]
    remaining = SUMMARY_LIMIT - sum(len(part.encode()) for part in parts)
    for annotation in result.annotations:
        if annotation.title.startswith(("DAG import error", "Task failed")):
            continue  # they have tables of their own
        parts.append(f"- **{cell(annotation.title)}** {cell(annotation.message)}\n")
        remaining -= len(parts[-1].encode())
        if remaining < FOLDED_LIMIT:
            break
    parts.append("\n")
    left = 0
    for block in result.blocks:
        if isinstance(block, Table):
            # At most half of the room: thousands of import errors shall not crowd out the tables behind them.
            rendered = _render_table(block, cell, remaining // 2)
        elif isinstance(block, Diagram):
            rendered = _render_diagram(block, cell, redact, remaining)
        else:
            rendered = _render_folded(block, redact, remaining)
        left += not rendered
        remaining -= len(rendered.encode())
        parts.append(rendered)
    if left:
        parts.append(f"Folded texts that did not fit here: {left}; the file that result-file names holds them all.\n")
    return "".join(parts)


def _render_table(table: Table, cell: Callable[[str | Link], str], room: int) -> str:
    head = f"#### {cell(table.heading)}\n\n| {' | '.join(map(cell, table.columns))} |\n|{'---|' * len(table.columns)}\n"
    room -= len(head.encode()) + 200  # for the line that says what was left out
    lines: list[str] = []
    for row in table.rows:
        line = f"| {' | '.join(map(cell, row))} |\n"
        room -= len(line.encode())
        if room < 0:
            left = f"{len(table.rows) - len(lines)} more did not fit here; {table.rest}."
            return f"{head}{''.join(lines)}\n{left}\n\n"
        lines.append(line)
    return f"{head}{''.join(lines)}\n"


def _render_diagram(diagram: Diagram, cell: Callable[[str], str], redact: Callable[[str], str], room: int) -> str:
    # Redacting a whole line could take out a date or a keyword that happens to be a secret, and leave no diagram.
    named = (line.partition(" :") for line in diagram.source.splitlines())
    source = "\n".join((redact(text) if colon else text) + colon + data for text, colon, data in named)
    head = f"#### {cell(diagram.heading)}\n\n"
    legend = f"{cell(diagram.legend)}\n\n" if diagram.legend else ""
    if len((head + source + legend).encode()) + 100 > room:
        return f"{head}The diagram did not fit here.\n\n" if room > 2 * len(head.encode()) + 100 else ""
    fence = _choose_fence(source)
    return f"{head}{fence}mermaid\n{source}\n{fence}\n\n{legend}"


def _render_folded(folded: Folded, redact: Callable[[str], str], room: int) -> str:
    """Write a folded text, shortened where it must be; "" when there is no room for any of it."""
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", redact(folded.text).replace("\r\n", "\n").replace("\r", "\n"))
    frame = 200 + len(folded.heading)
    if room < 2 * frame:
        return ""
    text = cut_middle(text, min(FOLDED_LIMIT, room - frame)).rstrip("\n")
    fence = _choose_fence(text)
    heading = _escape_inline(redact(folded.heading))
    return f"<details><summary>{heading}</summary>\n\n{fence}{folded.language}\n{text}\n{fence}\n\n</details>\n\n"


def _choose_fence(text: str) -> str:
    # One longer than the longest row of backticks inside, it cannot be closed by the text.
    return "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))


def _escape_inline(text: str) -> str:
    """Write a text so that Markdown, HTML, mentions and issue references in it are letters only.

    In CommonMark a character reference never has a structural meaning, and a ``<code>`` element is where GitHub looks for no
    mentions and references: https://spec.commonmark.org/0.31.2/#entity-and-numeric-character-references
    """
    flat = " ".join(_CONTROL.sub(" ", text).split())
    if not _PUNCTUATION.search(flat) and not _REFERENCE.search(flat):
        return flat
    return f"<code>{_PUNCTUATION.sub(lambda match: f'&#{ord(match[0])};', flat)}</code>"
