"""Findings as a Code Quality report of GitLab, which shows them on merge requests. Pure.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from dms_airflow.core.findings import Finding, describe_affected
from dms_airflow.core.result import Level
from dms_airflow.core.text import count, cut_middle

LONGEST_DESCRIPTION = 1000  # bytes; GitLab shows it as one line

_SEVERITIES = {Level.ERROR: "critical", Level.WARNING: "minor"}


def render_code_quality(findings: Sequence[Finding]) -> str:
    """Write findings as a report. GitLab takes only those that have a place in the checkout."""
    entries = [
        {
            "description": cut_middle(" ".join(_describe(finding).split()), LONGEST_DESCRIPTION),
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
    if not describe_affected(finding):
        return finding.headline
    return f"{finding.headline} ({count(len(finding.affects), finding.rule.affected)})"
