"""Result → the files that the inputs name in the workspace: the whole result as JSON, and the report files. Pure."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.ci.reports.junit import render_junit
from dms_airflow.ci.reports.sarif import render_sarif
from dms_airflow.core.findings import Finding, Rule, annotate, describe_affected
from dms_airflow.core.result import Level, Result
from dms_airflow.core.text import count, cut_middle

if TYPE_CHECKING:
    from dms_airflow.config import Config

LONGEST_DESCRIPTION = 1000  # bytes; GitLab shows it as one line

_SEVERITIES = {Level.ERROR: "critical", Level.WARNING: "minor"}


def render_file(name: str, result: Result, config: Config) -> Iterable[str]:
    """Write what the file of an input holds, piece by piece."""
    findings = result.findings or ()
    match name:
        case "sarif-file":
            return [render_sarif(findings)]
        case "junit-file":
            return [render_junit(findings, result.checks)]
        case "code-quality-file":
            return [render_code_quality(findings)]
    return _render_result(result, config)


def _render_result(result: Result, config: Config) -> Iterator[str]:
    """Write the whole result as JSON, whatever its size."""
    answer = result.outputs.get("json")
    # The answer may have many megabytes: it is written as it came, never read again.
    mark = f"<{secrets.token_hex(16)}>"
    # The tracebacks of import errors are in the output `import-errors`.
    findings = (one if one.rule is Rule.TASK_FAILED else replace(one, details="") for one in result.findings or ())
    whole: dict[str, Any] = {
        "operation": config.operation,
        "instance-id": config.instance_id,
        "headline": result.headline,
        "outputs": {**result.outputs, "json": mark} if answer else dict(result.outputs),
        "annotations": [asdict(one) for one in (*result.annotations, *map(annotate, findings))],
    }
    for text in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(whole):
        yield str(answer) if text == f'"{mark}"' else text
    yield "\n"


def render_code_quality(findings: Sequence[Finding]) -> str:
    """Write findings as a Code Quality report of GitLab, which takes only those that have a place in the checkout.

    https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
    """
    entries = [
        {
            "description": _describe(finding),
            "check_name": finding.rule.id,
            "fingerprint": finding.fingerprint,
            "severity": _SEVERITIES[finding.level],
            "location": {"path": finding.file, "lines": {"begin": finding.line or 1}},
        }
        for finding in findings
        if finding.file
    ]
    return f"{json.dumps(entries)}\n"


def _describe(finding: Finding) -> str:
    affected = f" ({count(len(finding.affects), finding.rule.affected)})" if describe_affected(finding) else ""
    return cut_middle(f"{finding.headline}{affected}", LONGEST_DESCRIPTION)
