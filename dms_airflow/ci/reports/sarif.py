"""Findings as SARIF 2.1.0, for GitHub code scanning and every other tool that reads it. Pure.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
What GitHub reads of it, and its limits: https://docs.github.com/code-security/reference/code-scanning/sarif-files/sarif-support
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from dms_airflow import __version__
from dms_airflow.core.findings import Finding, Rule, describe
from dms_airflow.core.text import cut_middle

HOME = "https://github.com/dms-airflow/dms-airflow"

# Code scanning shows no more, and refuses a file of more than 10 MB after gzip: as many results of this length have less.
MOST_RESULTS = 5_000
LONGEST_MESSAGE = 2_000  # bytes

# What is wrong, in general, then what to do about it.
_HELP = {
    Rule.IMPORT_ERROR: "A DAG file does not import. Fix this line; the log and the summary of the step have the traceback.",
    Rule.SERIALIZATION_ERROR: "A DAG does not serialize. Give DAGs and operators only arguments that can be written as JSON.",
    Rule.DUPLICATE_DAG_ID: "Two DAG files define the same DAG id. Airflow keeps one of the two: give one another dag_id.",
    Rule.TASK_FAILED: "A task failed. This was its last try; its log shows why it failed.",
    Rule.DEPRECATION: "Python or Airflow warns of a line. Mostly a later version removes what it uses: do as the warning says.",
    Rule.MISSING_CONNECTION: "A task uses a connection that the instance lacks, and fails. Create it, or correct its id.",
    Rule.MISSING_VARIABLE: "A task uses a variable that the instance lacks, and fails. Create it, or correct its key.",
    Rule.MISSING_TRIGGERER: "A task is deferrable, and waits for ever without a healthy triggerer. Start one, or do not defer.",
    Rule.MISSING_POOL: "A task uses a pool that the instance lacks, and never starts. Create it, or correct its name.",
    Rule.ASSET_CONFLICT: "Two definitions of an asset contradict each other. Airflow uses only one of them. Define it once.",
    Rule.RUNTIME_VARYING_VALUE: "An argument of a DAG or a task changes with every parse. Use a constant, or a template.",
    Rule.VANISHED_DAG: "A DAG was active, and no DAG file defines it any more. Look for a renamed id, or a deleted file.",
}


def render_sarif(findings: Sequence[Finding]) -> str:
    """Write findings, most important first, as a SARIF file; of too many the last are left out, and counted.

    A finding without a place in the checkout becomes a notification of the run: GitHub refuses a result without a location.
    """
    shown = findings[:MOST_RESULTS]
    notifications: list[dict[str, Any]] = [
        {"level": str(one.level), "message": {"text": _write_text(one)}, "associatedRule": {"id": one.rule.id}}
        for one in shown
        if not one.file
    ]
    if left := len(findings) - len(shown):
        notifications.append({"level": "warning", "message": {"text": f"{left} more findings did not fit into this file."}})
    driver = {
        "name": "dms-airflow",
        "semanticVersion": __version__,
        "informationUri": HOME,
        "rules": [_write_rule(rule) for rule in Rule],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notifications}],
        "results": [_write_result(one) for one in shown if one.file],
    }
    whole = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return f"{json.dumps(whole)}\n"


def _write_rule(rule: Rule) -> dict[str, Any]:
    summary, _, explanation = _HELP[rule].partition(". ")
    short = {"text": f"{summary}."}
    return {
        "id": rule.id,
        "name": rule.id.title().replace("-", ""),
        "shortDescription": short,
        "fullDescription": short,
        "help": {"text": explanation},
        "helpUri": f"{HOME}/blob/main/docs/troubleshooting.md",
        "defaultConfiguration": {"level": str(rule.level)},
    }


def _write_result(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.line or 1}
    file = {"uri": quote(str(finding.file), errors="replace"), "uriBaseId": "%SRCROOT%"}
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": list(Rule).index(finding.rule),
        "level": str(finding.level),
        "message": {"text": _write_text(finding)},
        "locations": [{"physicalLocation": {"artifactLocation": file, "region": region}}],
        # The action upload-sarif adds the one that GitHub compares, and warns of any that it would compute otherwise:
        # https://github.com/github/codeql-action/blob/main/src/fingerprints.ts
        "partialFingerprints": {"dmsAirflowFinding/v1": finding.fingerprint},
        **({} if finding.new else {"baselineState": "unchanged"}),
    }


def _write_text(finding: Finding) -> str:
    # In a SARIF message `[text](place)` is a link.
    return cut_middle(describe(finding), LONGEST_MESSAGE).replace("](", "] (")
