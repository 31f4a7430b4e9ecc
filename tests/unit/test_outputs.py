"""Outputs and annotations keep GitHub's limits, and say what they leave out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dms_airflow.ci.report import fit_annotations, render_outputs
from dms_airflow.core.findings import Finding, Rule, annotate
from dms_airflow.core.result import Annotation, Level


def test_outputs_are_text_or_json() -> None:
    written, warnings = render_outputs({"status": "success", "import-errors": [{"line": 3}], "status-code": 200, "json": ""})

    assert written == {"status": "success", "import-errors": '[{"line": 3}]', "status-code": "200", "json": ""}
    assert warnings == ()


def test_long_outputs_are_cut_or_left_out_and_told() -> None:
    written, warnings = render_outputs({"stdout": "a" * 90_000 + "é" * 20_000, "json": '"' + "x" * 400_000 + '"'})

    assert len(written["stdout"].encode()) <= 100_000
    assert "[… 30000 bytes left out …]" in written["stdout"]
    assert written["json"] == ""
    assert [(one.level, "result-file" in one.message) for one in warnings] == [(Level.WARNING, True)]


@pytest.mark.parametrize(("count", "what"), [(50, "has no stack traces."), (5000, "and lacks its last ")])
def test_a_list_that_is_too_long_stays_a_list(count: int, what: str) -> None:
    errors = [{"file": f"dags/{number}.py", "message": "é" * 100, "stack_trace": "x" * 10_000} for number in range(count)]

    written, (warning,) = render_outputs({"import-errors": errors})

    kept = json.loads(written["import-errors"])
    assert len(written["import-errors"].encode()) <= 400_000
    assert kept[0] == {"file": "dags/0.py", "message": "é" * 100, "stack_trace": ""}
    assert len(kept) == 50 or 1000 < len(kept) < 5000
    assert what in warning.message


def test_ten_annotations_of_a_kind_the_tenth_counts_the_rest() -> None:
    errors = [Annotation(level=Level.ERROR, title=f"e{number}", message="m") for number in range(25)]
    warning = Annotation(level=Level.WARNING, title="w", message="m")

    fitted = fit_annotations([warning, *errors])

    assert [one.title for one in fitted] == [*(f"e{number}" for number in range(9)), "16 more", "w"]
    assert fitted[9].message == "16 more causes: see the job summary or the log of this step."


def test_exactly_ten_annotations_stay() -> None:
    errors = [Annotation(level=Level.ERROR, title=f"e{number}", message="m") for number in range(10)]

    assert list(fit_annotations(errors)) == errors


def test_a_long_message_is_cut_at_4096_characters() -> None:
    (fitted,) = fit_annotations([Annotation(level=Level.ERROR, title="t", message="错" * 5000)])

    assert len(fitted.message) == 4096
    assert fitted.message.endswith("[… cut; the job summary has the whole text]")


@pytest.mark.parametrize(("length", "is_whole"), [(399_985, True), (399_986, False)])
def test_a_list_is_an_output_up_to_the_limit(length: int, *, is_whole: bool) -> None:
    # `[{"a": "…"}, {}]` has 15 bytes around its text.
    outputs, warnings = render_outputs({"import-errors": [{"a": "x" * length}, {}]})

    assert (outputs["import-errors"] == '[{"a": "' + "x" * length + '"}, {}]') is is_whole
    assert (not warnings) is is_whole


def test_findings_follow_and_the_tenth_annotation_counts_the_causes_that_are_left() -> None:
    problem = Annotation(level=Level.ERROR, title="Deploy not verified", message="m")
    broken = Finding(
        rule=Rule.IMPORT_ERROR, level=Level.ERROR, title="DAG import error: KeyError", message="m", affects=("a", "b")
    )
    known = replace(broken, level=Level.WARNING, title="known", new=False)
    old = Finding(rule=Rule.DEPRECATION, level=Level.WARNING, title="old", message="m")

    fitted = fit_annotations([problem, *map(annotate, [*[broken] * 300, known, *[old] * 12])])

    assert [(one.title, one.message) for one in fitted[:2]] == [
        ("Deploy not verified", "m"),
        (broken.title, "m\n2 DAG files: a, b"),
    ]
    assert [one.title for one in fitted] == [
        "Deploy not verified",
        *["DAG import error: KeyError"] * 8,
        "292 more",
        "known",
        *["old"] * 8,
        "4 more",
    ]
    assert [one.message for one in fitted if one.title.endswith("more")] == [
        "292 more causes: see the job summary or the log of this step.",
        "4 more warnings: see the job summary or the log of this step.",
    ]
