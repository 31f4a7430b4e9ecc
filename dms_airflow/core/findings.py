"""The findings about the author's files: one cause is one finding, however many DAG files it breaks. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from typing import Any

from dms_airflow.core.result import Annotation, Level
from dms_airflow.core.text import count, first_line, join

NAMES_SHOWN = 10

# What changes from one parse to the next, or from one instance to another, and its replacement. In this order: a UUID or
# a time may contain what a later pattern matches.
_CHANGING_PARTS = (
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z| ?[+-]\d\d:?\d\d)?)?(?!\d)"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?(?!\d)"), "<time>"),
    (re.compile(r"\b(?:datetime|DateTime)\(\d{4}, \d[\d, ]*"), "<time>"),
    (re.compile(r"\b1[6-9]\d{8}(?:\d{3})?(?:\.\d+)?\b"), "<time>"),  # (milli)seconds since 1970: 2020 to 2033
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<address>"),
    # Airflow's module name of a DAG file: the SHA-1 is of the file's path on the instance
    # (tests/captures/airflow-2.10.4/dags/broken/custom_exception.py is one).
    (re.compile(r"\bunusual_prefix_[0-9a-f]{40}_"), ""),
    # A name that Python's tempfile made, with its own prefix or Airflow's: https://docs.python.org/3/library/tempfile.html
    (re.compile(r"(?<=/)(airflowtmp|tmp|venv)[a-z0-9_]{8}(?![A-Za-z0-9_])"), r"\1<random>"),
    (re.compile(r"\b(pid|process(?: id)?)([ :=#]{1,3})\d+\b", re.IGNORECASE), r"\1\2<pid>"),
    (re.compile(r"\b(lines?|column|char|position) \d+(?:-\d+)?\b"), r"\1 <number>"),
    (re.compile(r"(\.py):\d+(?::\d+)?\b"), r"\1:<number>"),
    (re.compile(r"\s+"), " "),
)


class Rule(Enum):
    """What a finding is about.

    Args:
        id: In outputs and report files.
        level: Of its findings; an error that does not fail the step is a warning.
        affected: What a finding affects, in the singular.
    """

    IMPORT_ERROR = ("import-error", Level.ERROR, "DAG file")
    SERIALIZATION_ERROR = ("serialization-error", Level.ERROR, "DAG file")
    DUPLICATE_DAG_ID = ("duplicate-dag-id", Level.ERROR, "DAG file")
    TASK_FAILED = ("task-failed", Level.ERROR, "task instance")
    DEPRECATION = ("deprecation", Level.WARNING, "DAG file")
    MISSING_CONNECTION = ("missing-connection", Level.WARNING, "DAG")
    MISSING_VARIABLE = ("missing-variable", Level.WARNING, "DAG")
    MISSING_TRIGGERER = ("missing-triggerer", Level.WARNING, "DAG")
    MISSING_POOL = ("missing-pool", Level.WARNING, "DAG")
    ASSET_CONFLICT = ("asset-conflict", Level.WARNING, "DAG")
    RUNTIME_VARYING_VALUE = ("runtime-varying-value", Level.WARNING, "DAG")
    VANISHED_DAG = ("vanished-dag", Level.WARNING, "DAG")

    def __init__(self, id: str, level: Level, affected: str) -> None:  # noqa: A002 - its name in reports
        self.id = id
        self.level = level
        self.affected = affected


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause, and everything that it affects.

    Args:
        rule: What it is about.
        level: An error fails the step.
        title: The bold line of its annotation, without what changes from step to step.
        message: What is wrong. For an exception its class and its message, which may span lines.
        file: The place to fix, in the checkout, with `/`; None where that is not known.
        line: In that file, from 1.
        instance_path: The place to fix on the instance, where it maps to no file of the checkout.
        affects: DAG files, as paths of the checkout where they map to it; or task instances, or DAGs.
        out_of_service: DAG ids that Airflow does not run until this is fixed.
        details: The traceback, or what else is known, of the first thing that it affects.
        url: The log of the first thing that it affects.
        new: Not known from a baseline.
        fingerprint: The same in every run, on every line of the file, and for no other finding of the run.
    """

    rule: Rule
    level: Level
    title: str
    message: str
    file: str | None = None
    line: int | None = None
    instance_path: str = ""
    affects: tuple[str, ...] = ()
    out_of_service: tuple[str, ...] = ()
    details: str = ""
    url: str = ""
    new: bool = True
    fingerprint: str = ""

    @property
    def headline(self) -> str:
        """What is wrong, in one line."""
        return first_line(self.message)

    @property
    def place(self) -> str:
        """Where to fix it, in one line."""
        if self.file:
            return f"{self.file}:{self.line}" if self.line else self.file
        return f"{self.instance_path} (on the instance)" if self.instance_path else ""

    @property
    def is_shown(self) -> bool:
        """Whether a person must see it: a warning that a baseline knows is only counted."""
        return self.new or self.rule.level is Level.ERROR

    def to_json(self) -> dict[str, Any]:
        """Return the finding as the output `findings` lists it."""
        return {
            "rule": self.rule.id,
            "level": str(self.level),
            "title": self.title,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "affects": list(self.affects),
            "fingerprint": self.fingerprint,
            "new": self.new,
        }


# --- grouping ---------------------------------------------------------------------------------------------------------------


def remove_changing_parts(message: str) -> str:
    """Take out of a message what differs although the cause is the same: times, addresses, numbers of lines."""
    for pattern, replacement in _CHANGING_PARTS:
        message = pattern.sub(replacement, message)
    return message.strip()


def group(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Make one finding of those with the same place and message, apart from its changing parts, and order them.

    A cause is new, and fails the step, when one of its findings does. First come those that fail the step, of these the new
    ones, of these those that affect most.

    Args:
        findings: One for each thing that is affected, without fingerprints. The first of a cause has its traceback.
    """
    causes: defaultdict[tuple[Rule, str, str], defaultdict[int, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in findings:
        identity = (finding.rule, finding.file or finding.instance_path, remove_changing_parts(finding.message))
        causes[identity][finding.line or 0].append(finding)
    merged = [
        replace(_merge(same), fingerprint=_compute_fingerprint(*identity, number))
        for identity, by_line in causes.items()
        for number, (_, same) in enumerate(sorted(by_line.items()))
    ]
    return tuple(sorted(merged, key=_rank))


def _merge(same: Sequence[Finding]) -> Finding:
    return replace(
        same[0],
        level=Level.ERROR if any(one.level is Level.ERROR for one in same) else same[0].level,
        affects=tuple(dict.fromkeys(name for one in same for name in one.affects)),
        out_of_service=tuple(dict.fromkeys(dag_id for one in same for dag_id in one.out_of_service)),
        new=any(one.new for one in same),
    )


def _compute_fingerprint(rule: Rule, place: str, message: str, number: int) -> str:
    """Hash the parts that do not change. Equal causes on several lines of a file are distinguished by their order."""
    parts = (rule.id, place, message, *((str(number),) if number else ()))
    return sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _rank(finding: Finding) -> tuple[Any, ...]:
    return (
        finding.level is not Level.ERROR,
        finding.rule.level is not Level.ERROR,
        not finding.new,
        -len(finding.affects),
        finding.file or finding.instance_path,
        finding.line or 0,
        finding.message,
    )


# --- words ------------------------------------------------------------------------------------------------------------------


def count_causes(findings: Sequence[Finding]) -> str:
    """Sum findings of one kind up: "2 causes, 41 DAG files"."""
    affected = {name for finding in findings for name in finding.affects}
    causes = count(len(findings), "cause")
    return f"{causes}, {count(len(affected), findings[0].rule.affected)}" if affected else causes


def describe_affected(finding: Finding) -> str:
    """Say in one line what a finding affects; empty where its place says it already."""
    names = finding.affects
    if not names or names == (finding.file or finding.instance_path,):
        return ""
    thing = finding.rule.affected
    what = f"{thing[0].upper()}{thing[1:]}" if len(names) == 1 else count(len(names), thing)
    return f"{what}: {join(names, NAMES_SHOWN)}"


def describe(finding: Finding) -> str:
    """Say what is wrong, and what it affects."""
    lines = [finding.message]
    if not finding.file and finding.instance_path:
        lines.append(f"On the instance, in {finding.instance_path}; no file of the checkout maps to it.")
    lines.append(describe_affected(finding))
    if finding.out_of_service:
        lines.append(f"Out of service until this is fixed: {join(finding.out_of_service, NAMES_SHOWN)}.")
    return "\n".join(filter(None, lines))


def annotate(finding: Finding) -> Annotation:
    """Write a finding as an annotation: what is wrong, what it affects, and one traceback."""
    parts = (describe(finding), finding.details.rstrip(), f"Log: {finding.url}" if finding.url else "")
    return Annotation(
        level=finding.level,
        title=finding.title,
        message="\n".join(filter(None, parts)),
        file=finding.file,
        line=finding.line,
    )
