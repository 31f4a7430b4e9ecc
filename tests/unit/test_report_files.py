"""The report files hold the findings, within the limits of their readers, in the formats that these publish."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import jsonschema
import junitparser
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st

from dms_airflow import __version__
from dms_airflow.ci.reports import sarif
from dms_airflow.ci.reports.files import render_code_quality, render_file
from dms_airflow.ci.reports.junit import render_junit
from dms_airflow.ci.reports.sarif import render_sarif
from dms_airflow.config import Config
from dms_airflow.core.findings import Finding, Rule, group
from dms_airflow.core.result import DAG_FILES, Annotation, Check, Ending, Level, Result

if TYPE_CHECKING:
    import pytest

SCHEMAS = Path(__file__).parents[1] / "schemas"
SARIF = jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text(encoding="utf-8")))
JUNIT = xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")

BROKEN = Finding(
    rule=Rule.IMPORT_ERROR,
    level=Level.ERROR,
    title="DAG import error: KeyError",
    message="KeyError: 'region'\nsecond line",
    file="dags/lib/my region.py",
    line=2,
    affects=("dags/a.py", "dags/b.py"),
    details="Traceback (most recent call last):\nKeyError: 'region'",
    fingerprint="0123456789abcdef0123456789abcdef",
)
KNOWN = replace(
    BROKEN, level=Level.WARNING, file="dags/c.py", line=None, affects=("dags/c.py",), new=False, fingerprint="c" * 32
)
UNPLACED = replace(BROKEN, file=None, line=None, instance_path="/opt/d.py", affects=("/opt/d.py",), fingerprint="d" * 32)
DEPRECATED = Finding(
    rule=Rule.DEPRECATION,
    level=Level.WARNING,
    title="Python warning: UserWarning",
    message="BashOperator moved",
    file="dags/e.py",
    line=3,
    fingerprint="e" * 32,
)
FINDINGS = (BROKEN, UNPLACED, KNOWN, DEPRECATED)


def read_sarif(text: str) -> Any:
    whole = json.loads(text)
    SARIF.validate(whole)
    assert not text.startswith("\ufeff")
    return whole["runs"][0]


def read_junit(text: str) -> junitparser.JUnitXml:
    JUNIT.validate(text)
    return junitparser.JUnitXml.fromstring(text.encode())


# --- SARIF ------------------------------------------------------------------------------------------------------------------


def test_sarif_has_one_result_for_each_finding_with_a_place() -> None:
    run = read_sarif(render_sarif(FINDINGS))

    assert run["results"] == [
        {
            "ruleId": "import-error",
            "ruleIndex": 0,
            "level": "error",
            "message": {"text": "KeyError: 'region'\nsecond line\n2 DAG files: dags/a.py, dags/b.py"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "dags/lib/my%20region.py", "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": 2},
                    }
                }
            ],
            "partialFingerprints": {"dmsAirflowFinding/v1": "0123456789abcdef0123456789abcdef"},
        },
        {
            "ruleId": "import-error",
            "ruleIndex": 0,
            "level": "warning",
            "message": {"text": "KeyError: 'region'\nsecond line"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "dags/c.py", "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": 1},
                    }
                }
            ],
            "partialFingerprints": {"dmsAirflowFinding/v1": "c" * 32},
            "baselineState": "unchanged",
        },
        {
            "ruleId": "deprecation",
            "ruleIndex": 4,
            "level": "warning",
            "message": {"text": "BashOperator moved"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "dags/e.py", "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": 3},
                    }
                }
            ],
            "partialFingerprints": {"dmsAirflowFinding/v1": "e" * 32},
        },
    ]


def test_a_finding_without_a_place_is_a_notification_of_the_run() -> None:
    run = read_sarif(render_sarif(FINDINGS))

    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "toolExecutionNotifications": [
                {
                    "level": "error",
                    "message": {
                        "text": "KeyError: 'region'\nsecond line\n"
                        "On the instance, in /opt/d.py; no file of the checkout maps to it."
                    },
                    "associatedRule": {"id": "import-error"},
                }
            ],
        }
    ]


def test_sarif_names_the_tool_and_explains_every_rule() -> None:
    driver = read_sarif(render_sarif(()))["tool"]["driver"]

    assert (driver["name"], driver["semanticVersion"]) == ("dms-airflow", __version__)
    assert [rule["id"] for rule in driver["rules"]] == [
        *("import-error", "serialization-error", "duplicate-dag-id", "task-failed"),
        *("deprecation", "missing-connection", "missing-variable", "missing-triggerer", "missing-pool"),
        *("asset-conflict", "runtime-varying-value", "vanished-dag"),
    ]
    # What GitHub requires: https://docs.github.com/code-security/reference/code-scanning/sarif-files/sarif-support
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"].endswith(".")
        assert len(rule["fullDescription"]["text"]) < 1024
        assert rule["help"]["text"].endswith(".")


def test_a_message_makes_no_link() -> None:
    (result,) = read_sarif(render_sarif([replace(BROKEN, message="see [here](https://x)", affects=())]))["results"]

    assert result["message"]["text"] == "see [here] (https://x)"


def test_no_more_results_are_written_than_github_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MOST_RESULTS", 7)
    findings = [replace(BROKEN, message=str(number), affects=()) for number in range(10)]

    run = read_sarif(render_sarif(findings))

    assert [result["message"]["text"] for result in run["results"]] == ["0", "1", "2", "3", "4", "5", "6"]
    assert run["invocations"][0]["toolExecutionNotifications"] == [
        {"level": "warning", "message": {"text": "3 more findings did not fit into this file."}}
    ]


def test_the_file_is_no_larger_than_github_takes() -> None:
    noise = Random(1)
    findings = [replace(BROKEN, message=b64encode(noise.randbytes(3000)).decode()) for _ in range(5_001)]

    text = render_sarif(findings)

    assert len(gzip.compress(text.encode())) < 10_000_000
    assert len(json.loads(text)["runs"][0]["results"]) == 5_000


# --- JUnit ------------------------------------------------------------------------------------------------------------------


def test_junit_has_a_test_case_for_each_dag_file_broken_known_or_sound() -> None:
    sound = Check(suite=DAG_FILES, name="dags/sound.py", seconds=0.25)
    checks = [sound, Check(suite=DAG_FILES, name="dags/a.py", seconds=1.5)]

    text = render_junit(FINDINGS, checks)

    read_junit(text)
    assert text == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<testsuites name="dms-airflow" tests="5" failures="3" errors="0" time="1.750">\n'
        '  <testsuite name="DAG files" tests="5" failures="3" errors="0" skipped="1" time="1.750">\n'
        '    <testcase classname="DAG files" name="dags/sound.py" time="0.250" />\n'
        '    <testcase classname="DAG files" name="dags/a.py" time="1.500">\n'
        '      <failure type="import-error" message="KeyError: \'region\'">dags/lib/my region.py:2\n'
        "KeyError: 'region'\n"
        "second line\n"
        "2 DAG files: dags/a.py, dags/b.py\n"
        "Traceback (most recent call last):\n"
        "KeyError: 'region'</failure>\n"
        "    </testcase>\n"
        '    <testcase classname="DAG files" name="dags/b.py">\n'
        '      <failure type="import-error" message="KeyError: \'region\'">dags/lib/my region.py:2\n'
        "KeyError: 'region'\n"
        "second line\n"
        "2 DAG files: dags/a.py, dags/b.py\n"
        "Traceback (most recent call last):\n"
        "KeyError: 'region'</failure>\n"
        "    </testcase>\n"
        '    <testcase classname="DAG files" name="/opt/d.py">\n'
        '      <failure type="import-error" message="KeyError: \'region\'">/opt/d.py (on the instance)\n'
        "KeyError: 'region'\n"
        "second line\n"
        "On the instance, in /opt/d.py; no file of the checkout maps to it.\n"
        "Traceback (most recent call last):\n"
        "KeyError: 'region'</failure>\n"
        "    </testcase>\n"
        '    <testcase classname="DAG files" name="dags/c.py">\n'
        "      <skipped message=\"Does not fail the step: KeyError: 'region'\" />\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n"
    )


def test_junit_has_the_task_instances_of_each_dag_run() -> None:
    failed = replace(BROKEN, rule=Rule.TASK_FAILED, affects=("nightly.sales.load[0]",), message="ValueError: no rows")
    checks = [
        Check(suite="nightly.sales", name="extract", seconds=3.0),
        Check(suite="nightly.sales", name="load[0]", seconds=1.0),
        Check(suite="nightly.sales", name="report", skipped=True),
        Check(suite="hourly", name="DAG run", failure="DAG run x of hourly did not end in time"),
    ]

    nightly, hourly = read_junit(render_junit([failed], checks))

    assert (nightly.name, nightly.tests, nightly.failures, nightly.skipped, nightly.time) == ("nightly.sales", 3, 1, 1, 4.0)
    assert [(case.classname, case.name, [type(result).__name__ for result in case.result]) for case in nightly] == [
        ("nightly.sales", "extract", []),
        ("nightly.sales", "load[0]", ["Failure"]),
        ("nightly.sales", "report", ["Skipped"]),
    ]
    (run,) = hourly
    assert [result.message for result in run.result] == ["DAG run x of hourly did not end in time"]


def test_junit_cuts_a_long_traceback() -> None:
    (suite,) = read_junit(render_junit([replace(BROKEN, affects=("a.py",), details="x" * 3000 + "end")], []))

    (case,) = suite
    assert 1490 < len(case.result[0].text) <= 1500
    assert case.result[0].text.endswith("xend")


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_text_gives_valid_files(name: str, text: str) -> None:
    finding = replace(BROKEN, message=text, file=name or None, affects=(name,), details=text)

    read_junit(render_junit([finding], [Check(suite=name, name=text, failure=text)]))
    read_sarif(render_sarif([finding]))
    json.loads(render_code_quality([finding])).copy()


# --- Code Quality -----------------------------------------------------------------------------------------------------------


def test_code_quality_has_one_entry_for_each_finding_with_a_place() -> None:
    assert json.loads(render_code_quality(FINDINGS)) == [
        {
            "description": "KeyError: 'region' (2 DAG files)",
            "check_name": "import-error",
            "fingerprint": "0123456789abcdef0123456789abcdef",
            "severity": "critical",
            "location": {"path": "dags/lib/my region.py", "lines": {"begin": 2}},
        },
        {
            "description": "KeyError: 'region'",
            "check_name": "import-error",
            "fingerprint": "c" * 32,
            "severity": "minor",
            "location": {"path": "dags/c.py", "lines": {"begin": 1}},
        },
        {
            "description": "BashOperator moved",
            "check_name": "deprecation",
            "fingerprint": "e" * 32,
            "severity": "minor",
            "location": {"path": "dags/e.py", "lines": {"begin": 3}},
        },
    ]


def test_no_findings_are_an_empty_report() -> None:
    assert render_code_quality([]) == "[]\n"


# --- result-file ------------------------------------------------------------------------------------------------------------


def test_the_result_file_has_each_traceback_once() -> None:
    failed = replace(BROKEN, rule=Rule.TASK_FAILED, affects=("etl.load",), fingerprint="f" * 32)
    warning = Annotation(level=Level.WARNING, title="t", message="m")
    errors = [{"file": "dags/a.py", "stack_trace": BROKEN.details}]
    result = Result(
        ending=Ending.FAILURE,
        headline="2 causes",
        outputs={"import-errors": errors, "json": '[ {"a":1}]'},
        annotations=(warning,),
        findings=(BROKEN, failed),
    )
    config = Config(operation="version", instance_id="af-1")

    whole = json.loads("".join(render_file("result-file", result, config)))

    assert {**whole, "annotations": [(one["title"], one["message"]) for one in whole["annotations"]]} == {
        "operation": "version",
        "instance-id": "af-1",
        "headline": "2 causes",
        "outputs": {"import-errors": errors, "json": [{"a": 1}]},
        "annotations": [
            ("t", "m"),
            ("DAG import error: KeyError", "KeyError: 'region'\nsecond line\n2 DAG files: dags/a.py, dags/b.py"),
            (
                "DAG import error: KeyError",
                f"KeyError: 'region'\nsecond line\nTask instance: etl.load\n{BROKEN.details}",
            ),
        ],
    }


# --- all --------------------------------------------------------------------------------------------------------------------


def test_the_files_of_very_many_errors_are_valid() -> None:
    trace = "".join(f'  File "/opt/airflow/dags/lib/m{number}.py", line {number}, in f\n    g()\n' for number in range(40))
    findings = group(
        replace(BROKEN, message=f"KeyError: {number!r}", affects=(f"dags/d{number}.py",), details=trace)
        for number in range(1000)
    )

    assert len(read_sarif(render_sarif(findings))["results"]) == 1000
    assert [suite.failures for suite in read_junit(render_junit(findings, []))] == [1000]
    assert len({entry["fingerprint"] for entry in json.loads(render_code_quality(findings))}) == 1000
