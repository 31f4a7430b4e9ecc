"""One cause is one finding: what is grouped, in which order, under which fingerprint, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dms_airflow.core.findings import (
    Finding,
    Rule,
    annotate,
    count_causes,
    describe_affected,
    group,
    remove_changing_parts,
)
from dms_airflow.core.result import Annotation, Level

TRACEBACK = """Traceback (most recent call last):
  File "/opt/airflow/dags/lib/region.py", line 12, in find
KeyError: 'region'
"""


def fail(dag_file: str, file: str | None = "dags/lib/region.py", line: int | None = 12, **fields: Any) -> Finding:
    finding = Finding(
        rule=Rule.IMPORT_ERROR,
        level=Level.ERROR,
        title="DAG import error: KeyError",
        message="KeyError: 'region'",
        file=file,
        line=line,
        affects=(dag_file,),
        details=TRACEBACK,
    )
    return replace(finding, **fields)


FORTY = [fail(f"dags/sales_{number:02}.py") for number in range(40)]
OTHER = fail("dags/etl.py", "dags/etl.py", 3, title="DAG import error: NameError", message="NameError: name 'x' is not defined")


# --- grouping -------------------------------------------------------------------------------------------------------------


def test_forty_files_broken_by_one_helper_and_one_other_error_are_two_findings() -> None:
    one, other = group([OTHER, *FORTY])

    assert (one.place, one.message, len(one.affects)) == ("dags/lib/region.py:12", "KeyError: 'region'", 40)
    assert one.affects[:2] == ("dags/sales_00.py", "dags/sales_01.py")
    assert other == replace(OTHER, fingerprint=other.fingerprint)
    assert count_causes([one, other]) == "2 causes, 41 DAG files"


def test_the_annotation_says_what_is_wrong_then_ten_dag_files_then_one_traceback() -> None:
    (finding,) = group(FORTY)

    assert annotate(finding) == Annotation(
        level=Level.ERROR,
        title="DAG import error: KeyError",
        message="KeyError: 'region'\n"
        "40 DAG files: dags/sales_00.py, dags/sales_01.py, dags/sales_02.py, dags/sales_03.py, dags/sales_04.py, "
        "dags/sales_05.py, dags/sales_06.py, dags/sales_07.py, dags/sales_08.py, dags/sales_09.py and 30 more\n"
        "Traceback (most recent call last):\n"
        '  File "/opt/airflow/dags/lib/region.py", line 12, in find\n'
        "KeyError: 'region'",
        file="dags/lib/region.py",
        line=12,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"file": "dags/lib/other.py"},
        {"line": 13},
        {"message": "KeyError: 'zone'"},
        {"message": "IndexError: 'region'"},
        {"rule": Rule.SERIALIZATION_ERROR},
        {"file": None, "line": None, "instance_path": "/opt/airflow/dags/a.py"},
    ],
    ids=str,
)
def test_another_place_message_or_rule_is_another_cause(change: dict[str, Any]) -> None:
    assert len(group([fail("dags/a.py"), fail("dags/b.py", **change)])) == 2


def test_what_changes_in_a_message_is_no_other_cause() -> None:
    before, after = "OSError: no /tmp/tmp3k_9x2ab/keys, pid 12", "OSError: no /tmp/tmpzz81qq07/keys, pid 99"

    (finding,) = group([fail("dags/a.py", message=before), fail("dags/b.py", message=after)])

    assert (finding.message, finding.affects) == (before, ("dags/a.py", "dags/b.py"))


def test_a_cause_is_new_and_fails_the_step_when_one_of_its_errors_does() -> None:
    known: dict[str, Any] = {"new": False, "level": Level.WARNING}

    (partly,) = group([fail("dags/a.py", **known), fail("dags/b.py"), fail("dags/c.py", **known)])
    (wholly,) = group([fail("dags/a.py", **known), fail("dags/b.py", **known)])

    assert (partly.new, partly.level, partly.affects) == (True, Level.ERROR, ("dags/a.py", "dags/b.py", "dags/c.py"))
    assert (wholly.new, wholly.level) == (False, Level.WARNING)


def test_a_cause_names_everything_once() -> None:
    (finding,) = group([fail("dags/a.py", out_of_service=("a", "b")), fail("dags/a.py", out_of_service=("b", "c"))])

    assert (finding.affects, finding.out_of_service) == (("dags/a.py",), ("a", "b", "c"))


def test_without_a_checkout_the_place_is_the_instances() -> None:
    nowhere: dict[str, Any] = {"file": None, "line": None, "instance_path": "/opt/airflow/dags/lib/region.py"}

    (finding,) = group([fail("/opt/airflow/dags/a.py", **nowhere), fail("/opt/airflow/dags/b.py", **nowhere)])

    assert finding.place == "/opt/airflow/dags/lib/region.py (on the instance)"
    assert annotate(finding).message.startswith(
        "KeyError: 'region'\n"
        "On the instance, in /opt/airflow/dags/lib/region.py; no file of the checkout maps to it.\n"
        "2 DAG files: /opt/airflow/dags/a.py, /opt/airflow/dags/b.py\n"
    )


# --- order ----------------------------------------------------------------------------------------------------------------


def test_first_what_fails_the_step_then_the_new_then_what_affects_most_then_by_path() -> None:
    warning: dict[str, Any] = {"level": Level.WARNING}
    expected = [
        fail("1", "dags/z.py"),
        fail("2", "dags/b.py", affects=("1", "2"), new=False),
        fail("3", "dags/a.py", 4, new=False),
        fail("4", "dags/a.py", 5, new=False),
        fail("5", "dags/b.py", 1, new=False),
        fail("6", "dags/z.py", 9, **warning),
        fail("7", "dags/y.py", **warning, new=False),
        fail("8", "dags/a.py", **warning, rule=Rule.DEPRECATION),
        fail("9", "dags/b.py", **warning, rule=Rule.DEPRECATION),
    ]

    assert [finding.affects[-1] for finding in group(reversed(expected))] == ["1", "2", "3", "4", "5", "6", "7", "8", "9"]


# --- fingerprints -----------------------------------------------------------------------------------------------------------


def test_the_fingerprint_does_not_change_when_lines_move_or_other_files_break() -> None:
    (before,) = group([fail("dags/a.py")])
    (after,) = group([fail("dags/b.py", line=99, details="", new=False, level=Level.WARNING), fail("dags/c.py", line=99)])

    assert before.fingerprint == after.fingerprint
    assert len(before.fingerprint) == 32


def test_equal_causes_on_two_lines_of_a_file_have_two_fingerprints_in_the_order_of_lines() -> None:
    first, second = group([fail("dags/b.py", line=30), fail("dags/a.py", line=20)])
    moved_first, moved_second = group([fail("dags/a.py", line=120), fail("dags/b.py", line=130)])

    assert first.fingerprint != second.fingerprint
    assert (first.line, second.line) == (20, 30)
    assert [first.fingerprint, second.fingerprint] == [moved_first.fingerprint, moved_second.fingerprint]


# --- changing parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "lasting"),
    [
        ("no file /tmp/tmp3k_9x2ab/keys.json", "no file /tmp/tmp<random>/keys.json"),
        ("no file /tmp/tmp3k_9x2ab.json", "no file /tmp/tmp<random>.json"),
        ("no file '/var/tmp/airflowtmpab12cd_3'", "no file '/var/tmp/airflowtmp<random>'"),
        ("/tmp/venv0a1b2c3d/bin/python is missing", "/tmp/venv<random>/bin/python is missing"),
        ("no file /tmp/template_of_mine", "no file /tmp/template_of_mine"),
        ("no file /tmp/tmp/config.json", "no file /tmp/tmp/config.json"),
        ("no file /tmp/tmpABCDEFGH", "no file /tmp/tmpABCDEFGH"),
        ("<Pool at 0x7f3a>,  process 12", "<Pool at <address>>, process <pid>"),
        ("invalid syntax (etl.py, line 3)", "invalid syntax (etl.py, line <number>)"),
    ],
)
def test_changing_parts_of_a_message_are_taken_out(message: str, lasting: str) -> None:
    assert remove_changing_parts(message) == lasting


# --- words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ([fail("dags/a.py")], "1 cause, 1 DAG file"),
        ([fail("dags/a.py"), fail("dags/a.py", line=1)], "2 causes, 1 DAG file"),
        ([fail("etl.load[0]", affects=("etl.load[0]", "etl.load[1]"), rule=Rule.TASK_FAILED)], "1 cause, 2 task instances"),
        ([fail("", affects=(), rule=Rule.DEPRECATION)], "1 cause"),
    ],
)
def test_the_headline_counts_causes_and_what_they_affect(findings: list[Finding], words: str) -> None:
    assert count_causes(findings) == words


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (fail("dags/a.py", "dags/a.py"), ""),
        (fail("/opt/a.py", None, instance_path="/opt/a.py"), ""),
        (fail("dags/a.py"), "DAG file: dags/a.py"),
        (fail("", affects=("etl.load[0]", "etl.load[1]"), rule=Rule.TASK_FAILED), "2 task instances: etl.load[0], etl.load[1]"),
        (fail("", affects=()), ""),
    ],
)
def test_what_is_affected_is_named_where_the_place_does_not_say_it(finding: Finding, words: str) -> None:
    assert describe_affected(finding) == words


def test_an_annotation_ends_with_what_is_out_of_service_the_traceback_and_the_log() -> None:
    finding = fail("dags/a.py", "dags/a.py", out_of_service=("a", "b"), details="Traceback\n", url="https://x/log")

    assert annotate(finding).message == (
        "KeyError: 'region'\nOut of service until this is fixed: a, b.\nTraceback\nLog: https://x/log"
    )


def test_the_output_holds_one_object_a_cause() -> None:
    (finding,) = group([fail("dags/a.py"), fail("dags/b.py")])

    assert finding.to_json() == {
        "rule": "import-error",
        "level": "error",
        "title": "DAG import error: KeyError",
        "message": "KeyError: 'region'",
        "file": "dags/lib/region.py",
        "line": 12,
        "affects": ["dags/a.py", "dags/b.py"],
        "fingerprint": finding.fingerprint,
        "new": True,
    }
