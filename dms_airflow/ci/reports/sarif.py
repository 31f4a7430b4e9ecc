"""Findings as SARIF 2.1.0, for GitHub code scanning and every other tool that reads it. Pure.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
What GitHub reads of it, and its limits: https://docs.github.com/code-security/reference/code-scanning/sarif-files/sarif-support
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from dms_airflow.core.findings import Finding, Rule, describe
from dms_airflow.core.text import cut_middle

HOME = "https://github.com/dms-airflow/dms-airflow"

# GitHub refuses a file with more results, and a file of more than 10 MB after gzip.
MOST_RESULTS = 25_000
MOST_COMPRESSED = 9_000_000  # bytes
LONGEST_MESSAGE = 10_000  # bytes

# What is wrong, in general, then what it means and what to do about it.
_HELP = {
    Rule.IMPORT_ERROR: (
        "A DAG file does not import. Its DAGs are out of service, or go on as an older version. "
        "Fix the line that the finding is at; the log and the summary of the step have the traceback."
    ),
    Rule.SERIALIZATION_ERROR: (
        "A DAG does not serialize. The file imports, but Airflow cannot store its DAG, so the scheduler does not see it. "
        "Give DAGs and operators only arguments that can be written as JSON."
    ),
    Rule.DUPLICATE_DAG_ID: (
        "Two DAG files define the same DAG id. Airflow keeps one of the two DAGs, and not always the same. "
        "Give one of them another dag_id."
    ),
    Rule.TASK_FAILED: "A task failed. This was its last try; its log shows why it failed.",
    Rule.DEPRECATION: (
        "Python or Airflow warns of a line. It was executed while Airflow imported the DAG files; "
        "mostly it uses what a later version removes. Change it as the warning says."
    ),
    Rule.MISSING_CONNECTION: "A task uses a connection that the instance lacks, and fails. Create it, or correct its id.",
    Rule.MISSING_VARIABLE: "A task uses a variable that the instance lacks, and fails. Create it, or correct its key.",
    Rule.MISSING_TRIGGERER: "A task is deferrable, and waits for ever without a healthy triggerer. Start one, or do not defer.",
    Rule.MISSING_POOL: (
        "A task uses a pool that the instance does not have. The scheduler never starts such a task. "
        "Create the pool on the instance, or correct its name."
    ),
    Rule.ASSET_CONFLICT: "Two definitions of an asset contradict each other. Airflow uses only one of them. Define it once.",
    Rule.RUNTIME_VARYING_VALUE: (
        "An argument of a DAG or a task changes with every parse. Airflow stores a new version of the DAG each time. "
        "Use a constant, or a template that is filled in when the task runs."
    ),
    Rule.VANISHED_DAG: (
        "A DAG was active, and no DAG file defines it any more. It will not run again. "
        "Where that was not intended, look for a renamed id, a deleted file, or a function under @dag that is not called."
    ),
}


def render_sarif(findings: Sequence[Finding], version: str) -> str:
    """Write findings as a SARIF file.

    A finding without a place in the checkout becomes a notification of the run: GitHub refuses a result without a location.

    Args:
        findings: Most important first. Where not all fit, the last are left out, and a notification counts them.
        version: Of this action.
    """
    placed = [finding for finding in findings if finding.file]
    results = list(_take_what_fits(map(_write_result, placed[:MOST_RESULTS])))
    notifications: list[dict[str, Any]] = [
        {"level": str(one.level), "message": {"text": _write_text(one)}, "associatedRule": {"id": one.rule.id}}
        for one in findings
        if not one.file
    ][:MOST_RESULTS]
    if left := len(placed) - len(results):
        notifications.append({"level": "warning", "message": {"text": f"{left} more findings did not fit into this file."}})
    driver = {
        "name": "dms-airflow",
        "semanticVersion": version,
        "informationUri": HOME,
        "rules": [_write_rule(rule) for rule in Rule],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notifications}],
        "results": [],
    }
    whole = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    head, tail = json.dumps(whole).rsplit("[]", 1)
    return f"{head}[{','.join(results)}]{tail}\n"


def _take_what_fits(results: Iterable[str]) -> Iterator[str]:
    compressor, size = zlib.compressobj(1), 0  # gzip, at any higher level, makes it smaller
    for result in results:
        size += len(compressor.compress(result.encode()))
        if size > MOST_COMPRESSED:
            return
        yield result


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


def _write_result(finding: Finding) -> str:
    region = {"startLine": finding.line or 1}
    file = {"uri": quote(str(finding.file), errors="replace"), "uriBaseId": "%SRCROOT%"}
    result = {
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
    return json.dumps(result)


def _write_text(finding: Finding) -> str:
    # In a SARIF message `[text](place)` is a link.
    return cut_middle(describe(finding), LONGEST_MESSAGE).replace("](", "] (")
