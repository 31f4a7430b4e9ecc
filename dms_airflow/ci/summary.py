"""Result → job summary, within GitHub's limits. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dms_airflow.core.findings import NAMES_SHOWN, Finding, Rule, describe_affected
from dms_airflow.core.result import Annotation, Diagram, Folded, Level, Link, Result, Table
from dms_airflow.core.text import count, cut_middle, join

if TYPE_CHECKING:
    from dms_airflow.config import Config


# The runner uploads no summary above 1024 KiB:
# https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits
SUMMARY_LIMIT = 1000 * 1024  # bytes; the rest is left to what other tools of the same step may add
FOLDED_LIMIT = 100 * 1024  # bytes of one folded text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Every ASCII punctuation mark but the comma, and the hyphen inside of a word, which mean nothing there.
_PUNCTUATION = re.compile(r"[!-+./:-@\[-`{-~]|^-")
# What GitHub makes links or pictures of: mentions, URLs, #1, GH-1, a repository's own TICKET-1, the id of a commit, :bug:.
# https://docs.github.com/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls
_REFERENCE = re.compile(r"[@#]|://|www\.|-\d|\b[0-9A-Fa-f]{7,40}\b|:[\w+-]+:", re.IGNORECASE)


def render_summary(
    result: Result, config: Config, redact: Callable[[str], str], name_page: Callable[[str | None, int | None], str]
) -> str:
    """Write the job summary as Markdown in which no text of the result has a meaning of its own.

    `redact` takes secrets out of a text before it is escaped, `name_page` gives the URL of a file of the checkout and of a line
    in it, or nothing.
    """
    writer = Writer(redact, SUMMARY_LIMIT)
    writer.add(
        f"### {result.ending.mark} {writer.cell(config.operation or 'dms-airflow')} "
        f"on {writer.cell(config.instance_id or '?')}\n\n"
        f"**{writer.cell(result.headline)}**\n\n{describe_step(result, config, writer)}\n\n"
    )
    writer.add_annotations(result.annotations, FOLDED_LIMIT)
    findings = result.findings or ()
    # The log of a failed task, which has its traceback, is a block of its own.
    tracebacks = [
        Folded(heading=f"Traceback: {one.place} {one.headline}", text=one.details)
        for one in findings
        if one.details and one.rule is not Rule.TASK_FAILED
    ]
    blocks = (*tabulate(findings, name_page), *tracebacks, *result.blocks)
    for block in sorted(blocks, key=lambda one: isinstance(one, Folded)):
        writer.add_block(block)
    return writer.finish()


def describe_step(result: Result, config: Config, writer: Writer) -> str:
    """Say in a sentence how long it took, and where."""
    name = f"Airflow {result.outputs.get('airflow-version', '')}".strip()
    url = result.outputs.get("airflow-url")
    airflow = f" on {writer.cell(Link(text=name, url=url))}" if url else ""
    region = f" in {writer.cell(config.region)}" if config.region else ""
    return f"{result.ending.words} after {result.outputs.get('duration', 0)} s{airflow}{region}."


def tabulate(findings: Sequence[Finding], name_page: Callable[[str | None, int | None], str]) -> Iterator[Table]:
    """Make a table of each kind of finding: a row for each cause, with a link to the line to fix."""
    errors = [one for one in findings if one.rule.level is Level.ERROR and one.rule is not Rule.TASK_FAILED]
    tasks = [one for one in findings if one.rule is Rule.TASK_FAILED]
    warnings = [one for one in findings if one.rule.level is Level.WARNING and one.is_shown]
    known = [one for one in errors if not one.new]
    kinds = (
        ("New import errors" if known else "Import errors", [one for one in errors if one.new]),
        ("Known import errors", known),
        ("Failed tasks", tasks),
        ("Warnings of the instance", warnings),
    )
    for heading, same in kinds:
        if same:
            rows = [_make_row(one, name_page) for one in same]
            shown = 3 if any(affected for *_, affected in rows) else 2
            columns = ("Where to fix it", "What is wrong", "What it affects")
            yield Table(heading=heading, columns=columns[:shown], rows=tuple(row[:shown] for row in rows))


def _make_row(finding: Finding, name_page: Callable[[str | None, int | None], str]) -> tuple[str | Link, str, str]:
    page = name_page(finding.file, finding.line)
    stopped = f"Out of service: {join(finding.out_of_service, NAMES_SHOWN)}" if finding.out_of_service else ""
    affected = ". ".join(filter(None, (describe_affected(finding), stopped)))
    return (Link(text=finding.place, url=page) if page else finding.place), finding.headline, affected


class Writer:
    """Writes Markdown up to a limit in bytes, without secrets."""

    def __init__(self, redact: Callable[[str], str], limit: int) -> None:
        self._redact = redact
        self._parts: list[str] = []
        self._left = 0
        self.room = limit

    def add(self, text: str) -> None:
        """Add Markdown."""
        self._parts.append(text)
        self.room -= len(text.encode())

    def add_annotations(self, annotations: Sequence[Annotation], reserve: int) -> None:
        """Add a list of annotations, as far as so many bytes stay free for what comes after it."""
        for number, annotation in enumerate(annotations):
            if self.room < reserve:
                left = len(annotations) - number
                self.add(f"- {left} more did not fit here; the file that the input result-file names has everything.\n")
                break
            self.add(f"- **{self.cell(annotation.title)}**: {self.cell(annotation.message)}\n")
        self.add("\n" if annotations else "")

    def add_block(self, block: Table | Folded | Diagram) -> None:
        """Add as much of a block as fits."""
        if isinstance(block, Table):
            # At most half of the room: thousands of import errors shall not crowd out the tables after them.
            text = self._render_table(block, self.room // 2)
        elif isinstance(block, Diagram):
            text = self._render_diagram(block)
        else:
            text = self._render_folded(block)
        self._left += not text
        self.add(text)

    def finish(self) -> str:
        """Return everything, with a count of what did not fit."""
        if self._left:
            left = count(self._left, "more text")
            self._parts.append(f"{left} did not fit here; the file that the input result-file names has everything.\n")
        return "".join(self._parts)

    def cell(self, content: str | Link) -> str:
        """Write a text, or a link, in which nothing has a meaning of its own."""
        if isinstance(content, Link):
            return f'<a href="{html.escape(self._redact(content.url))}">{_escape_inline(self._redact(content.text))}</a>'
        return _escape_inline(self._redact(content))

    def _render_table(self, table: Table, room: int) -> str:
        columns = " | ".join(map(self.cell, table.columns))
        head = f"#### {self.cell(table.heading)}\n\n| {columns} |\n|{'---|' * len(table.columns)}\n"
        room -= len(head.encode()) + 200  # for the line that says what was left out
        if room < 0:
            return ""
        lines: list[str] = []
        for row in table.rows:
            line = f"| {' | '.join(map(self.cell, row))} |\n"
            room -= len(line.encode())
            if room < 0:
                left = f"{len(table.rows) - len(lines)} more did not fit here; {table.rest}."
                return f"{head}{''.join(lines)}\n{left}\n\n"
            lines.append(line)
        return f"{head}{''.join(lines)}\n"

    def _render_diagram(self, diagram: Diagram) -> str:
        # Redacting a whole line could take out a date or a keyword that happens to be a secret, and leave no diagram.
        named = (line.partition(" :") for line in diagram.source.splitlines())
        source = "\n".join((self._redact(text) if colon else text) + colon + data for text, colon, data in named)
        head = f"#### {self.cell(diagram.heading)}\n\n"
        legend = f"{self.cell(diagram.legend)}\n\n" if diagram.legend else ""
        if len((head + source + legend).encode()) + 100 > self.room:
            return ""
        fence = _choose_fence(source)
        return f"{head}{fence}mermaid\n{source}\n{fence}\n\n{legend}"

    def _render_folded(self, folded: Folded) -> str:
        """Write a folded text, shortened where it must be; "" when there is no room for any of it."""
        text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", self._redact(folded.text).replace("\r\n", "\n").replace("\r", "\n"))
        heading = self.cell(folded.heading)
        frame = 200 + len(heading.encode())
        if self.room < 2 * frame:
            return ""
        text = cut_middle(text, min(FOLDED_LIMIT, self.room - frame)).rstrip("\n")
        fence = _choose_fence(text)
        return f"<details><summary>{heading}</summary>\n\n{fence}{folded.language}\n{text}\n{fence}\n\n</details>\n\n"


def _choose_fence(text: str) -> str:
    # One longer than the longest row of backticks inside, it cannot be closed by the text.
    return "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))


def _escape_inline(text: str) -> str:
    """Write a text so that Markdown, HTML, mentions and references in it are letters only.

    In CommonMark a character reference never has a structural meaning, and a ``<code>`` element is where GitHub looks for no
    mentions and references: https://spec.commonmark.org/0.31.2/#entity-and-numeric-character-references
    Only the words that could be such a reference are set as code, so that a sentence is read as one.
    """
    return " ".join(map(_escape_word, _CONTROL.sub(" ", text).split()))


def _escape_word(word: str) -> str:
    escaped = _PUNCTUATION.sub(lambda match: f"&#{ord(match[0])};", word)
    return f"<code>{escaped}</code>" if _REFERENCE.search(word) else escaped
