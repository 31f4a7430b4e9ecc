"""What a step checked, as a JUnit report: GitLab, Jenkins and others show it, and compare it with earlier ones. Pure.

Each DAG file is a test case, also one without an error, so that counts and history mean something; so is each task instance of
a DAG run that was waited for. An error that does not fail the step is a skipped one, as pytest writes an expected failure.

What GitLab reads: https://docs.gitlab.com/ci/testing/unit_test_reports/#junit-xml-format-specification
What Jenkins' xUnit plugin accepts, the strictest reader:
https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from dms_airflow.core.findings import Finding, Rule, annotate
from dms_airflow.core.result import DAG_FILES, Check, Level
from dms_airflow.core.text import cut_middle

# GitLab takes no file of more than 30 MB, which holds ten thousand failures of this length.
LONGEST_TEXT = 1500  # bytes of a message, and of the text below it

# What XML cannot hold, not even as a reference: https://www.w3.org/TR/xml/#charsets
_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(findings: Sequence[Finding], checks: Sequence[Check]) -> str:
    """Write what was checked, and how it went.

    Args:
        findings: Most important first. A check fails by the first that affects it.
        checks: What was checked. The DAG files that findings affect need not be among them.
    """
    errors = [finding for finding in findings if finding.rule.level is Level.ERROR]
    found = {name: finding for finding in reversed(errors) for name in finding.affects}
    files = (name for finding in errors if finding.rule is not Rule.TASK_FAILED for name in finding.affects)
    there = {check.subject for check in checks}
    further = (Check(suite=DAG_FILES, name=name) for name in files if name not in there)
    root = Element("testsuites", name="dms-airflow")
    suites: dict[str, Element] = {}
    for check in dict.fromkeys((*checks, *further)):
        if check.suite not in suites:
            suites[check.suite] = SubElement(root, "testsuite", name=_clean(check.suite))
        _add_case(suites[check.suite], check, found.get(check.subject))
    for element in (*suites.values(), root):
        _count(element)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _add_case(suite: Element, check: Check, finding: Finding | None) -> None:
    case = SubElement(suite, "testcase", classname=_clean(check.suite), name=_clean(check.name))
    if check.seconds is not None:
        case.set("time", f"{check.seconds:.3f}")
    if finding and finding.level is Level.ERROR:
        failure = SubElement(case, "failure", type=finding.rule.id, message=_clean(finding.headline))
        failure.text = _clean(f"{finding.place}\n{annotate(finding).message}")
    elif check.failure:
        SubElement(case, "failure", message=_clean(check.failure)).text = _clean(check.failure)
    elif finding:
        SubElement(case, "skipped", message=_clean(f"Does not fail the step: {finding.headline}"))
    elif check.skipped:
        SubElement(case, "skipped")


def _clean(text: str) -> str:
    return cut_middle(_IMPOSSIBLE.sub("\N{REPLACEMENT CHARACTER}", text), LONGEST_TEXT)


def _count(element: Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    element.set("errors", "0")
    if element.tag == "testsuite":
        element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
