"""What an operation hands back: data only, rendered and printed elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dms_airflow.core.findings import Finding


class Ending(Enum):
    """How a step ends: the word of the `status` output, the exit code, the mark and the words of the summary."""

    SUCCESS = ("success", 0, "✅", "Succeeded")
    FAILURE = ("failure", 1, "❌", "Failed")
    TIMEOUT = ("timeout", 1, "⏱️", "Timed out")
    CANCELLED = ("cancelled", 130, "🚫", "Cancelled")
    REFUSED = ("failure", 2, "❌", "Failed")

    def __init__(self, status: str, exit_code: int, mark: str, words: str) -> None:
        self.status = status
        self.exit_code = exit_code
        self.mark = mark
        self.words = words


class Level(StrEnum):
    """The kinds of annotation that the action makes."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One thing for a person to see on the run's page, at a file's line where there is one.

    Args:
        level: How grave it is.
        title: The bold line.
        message: Self-sufficient: GitHub's log shows neither title nor file.
        file: Path in the checkout, with `/`.
        line: Line in that file, from 1.
    """

    level: Level
    title: str
    message: str
    file: str | None = None
    line: int | None = None


DAG_FILES = "DAG files"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that a step checked: a test case of the JUnit report.

    Args:
        suite: `DAG_FILES`, or the id of a DAG whose run was waited for.
        name: The DAG file as findings write it, or the task instance.
        seconds: How long it took, where that is known.
        skipped: It was not run.
        failure: Why it failed, where no finding says so.
    """

    suite: str
    name: str
    seconds: float | None = None
    skipped: bool = False
    failure: str = ""

    @property
    def subject(self) -> str:
        """What findings call it in `affects`."""
        return self.name if self.suite == DAG_FILES else f"{self.suite}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A text that leads to a page; the URL is made by the action, and never comes from Airflow."""

    text: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the job summary. Cells are plain text; rendering makes them harmless.

    Args:
        heading: Above it.
        columns: Their names.
        rows: As many cells each.
        rest: Where the rows are that did not fit.
        is_detail: It is about how the step did it: for the job summary, not for the comment of a pull request.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Link, ...], ...]
    rest: str = "the outputs and the result file have them"
    is_detail: bool = False


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A long text of the job summary, folded."""

    heading: str
    text: str
    language: str = "text"


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """A Mermaid diagram of the job summary.

    Args:
        heading: Plain text.
        source: Without a fence. Texts of others are in lines of the form ``text :data``, before the first `` :``.
        legend: Plain text for below.
    """

    heading: str
    source: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How an operation went.

    Args:
        ending: Success or not.
        headline: One line for the log and the top of the summary.
        outputs: By the names in action.yml. Text is written as it is, anything else as JSON.
        findings: What the author has to fix, most important first; None where nothing was found out about the files.
        annotations: What else a person must see, most important first.
        blocks: Tables, diagrams and folded texts of the summary, in order.
        checks: What was checked, for the JUnit report.
    """

    ending: Ending
    headline: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] | None = None
    annotations: tuple[Annotation, ...] = ()
    blocks: tuple[Table | Folded | Diagram, ...] = ()
    checks: tuple[Check, ...] = ()
