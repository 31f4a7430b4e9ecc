"""Rendering keeps GitHub's limits, loses nothing silently, and no text of a stranger has a meaning of its own."""

from __future__ import annotations

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.ci.summary import Occasion, fit_annotations, render_outputs, render_summary
from dms_airflow.core.result import Annotation, Diagram, Ending, Folded, Level, Link, Result, Table
from dms_airflow.core.text import cut_middle

OCCASION = Occasion(
    operation="dags list",
    instance_id="af-1",
    region="cn-hangzhou",
    airflow_url="https://h/airflow/1",
    airflow_version="",
    duration=1.26,
)


def summarize(**fields: object) -> str:
    result = Result(**{"ending": Ending.SUCCESS, "headline": "It worked", **fields})  # type: ignore[arg-type]
    return render_summary(result, OCCASION, lambda text: text.replace("hunter2", "***"))


def test_a_whole_summary() -> None:
    summary = summarize(
        blocks=(
            Table(heading="DAGs", columns=("id", "page"), rows=(("a|b", Link(text="open", url="https://h/x?a=1&b=2")),)),
            Folded(heading="stdout", text="one\ntwo\n"),
        )
    )

    assert summary == (
        "### ✅ dags list on <code>af-1</code>\n\n"
        "It worked\n\n"
        "| | |\n|---|---|\n"
        "| Instance | <code>af-1</code> |\n"
        "| Region | cn-hangzhou |\n"
        '| Airflow | <a href="https://h/airflow/1"><code>https&#58;&#47;&#47;h&#47;airflow&#47;1</code></a> |\n'
        "| Result | success after 1.3 s |\n\n"
        "\n"
        "#### DAGs\n\n| id | page |\n|---|---|\n"
        '| <code>a&#124;b</code> | <a href="https://h/x?a=1&amp;b=2">open</a> |\n\n'
        "<details><summary>stdout</summary>\n\n```text\none\ntwo\n```\n\n</details>\n\n"
    )


def test_annotations_are_told_but_for_import_errors() -> None:
    summary = summarize(
        ending=Ending.FAILURE,
        annotations=(
            Annotation(level=Level.ERROR, title="Login failed", message="why"),
            Annotation(level=Level.ERROR, title="DAG import error: KeyError", message="in the table"),
        ),
    )

    assert "- **Login failed** why\n" in summary
    assert "in the table" not in summary


def test_secrets_are_redacted_before_they_are_escaped() -> None:
    summary = summarize(headline="is hunter2", blocks=(Folded(heading="hunter2", text="hunter2"),))

    assert "hunter2" not in summary
    assert summary.count("***") == 1
    assert summary.count("&#42;&#42;&#42;") == 2


@given(st.text())
def test_an_inline_text_has_no_structure(text: str) -> None:
    summary = summarize(headline=text)

    headline = summary.split("\n\n")[1]
    assert "\n" not in headline
    inner = re.sub(r"</?code>", "", headline, count=2)
    assert not re.search(r"[|<>`*_\[\]@#!\\~&]", re.sub(r"&#\d+;", "", inner))
    # Nothing is lost but control characters and the number of blanks.
    assert html.unescape(inner).split() == re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", " ", text).split()


@pytest.mark.parametrize("text", ["GH-1", "see TICKET-12", "a 0a1b2c3", "0A1B2C3D", "before 2026"])
def test_a_reference_without_punctuation_is_no_link(text: str) -> None:
    headline = summarize(headline=text).split("\n\n")[1]

    assert headline == (text if text == "before 2026" else f"<code>{text}</code>")


@pytest.mark.parametrize("text", ["```\n</details>", "````", "a\n~~~\n`````"])
def test_a_fence_cannot_be_closed_from_inside(text: str) -> None:
    summary = summarize(blocks=(Folded(heading="stdout", text=text),))

    fence = re.search(r"^(`{3,})text$", summary, re.MULTILINE)
    assert fence
    assert fence[1] not in text


def test_five_thousand_rows_stay_under_a_mebibyte_and_are_counted() -> None:
    rows = tuple((f"dags/file_{number}.py", "x" * 300) for number in range(5000))
    table = Table(heading="Import errors", columns=("file", "error"), rows=rows)

    summary = summarize(blocks=(table, *(Folded(heading="stdout", text="y" * 300_000) for _ in range(20))))

    assert len(summary.encode()) < 1024 * 1024
    shown = summary.count("| <code>dags&#47;file")
    assert f"{5000 - shown} more did not fit here" in summary
    assert 1000 < shown < 5000
    assert "Folded texts that did not fit here: " in summary


def test_a_table_says_where_its_rest_stands() -> None:
    rows = (("x" * 400_000,), ("y" * 400_000,))
    table = Table(heading="tasks", columns=("task",), rows=rows, rest="the run's page has them")

    assert "\n1 more did not fit here; the run's page has them.\n" in summarize(blocks=(table,))


def test_a_long_table_leaves_room_for_those_behind_it_and_what_does_not_fit_is_counted_once() -> None:
    long = Table(heading="Import errors", columns=("file",), rows=tuple((f"{number} {'x' * 300}",) for number in range(5000)))
    short = Table(heading="Steps", columns=("question",), rows=tuple((f"step {number}",) for number in range(6)))
    stack_traces = tuple(Folded(heading=f"error {number}", text="y" * 30_000) for number in range(100))

    summary = summarize(blocks=(long, short, *stack_traces))

    assert len(summary.encode()) < 1024 * 1024
    assert all(f"| step {number} |" in summary for number in range(6))
    left = 100 - summary.count("<details>")
    assert 50 < left < 100
    assert summary.endswith(f"Folded texts that did not fit here: {left}; the file that result-file names holds them all.\n")


def test_a_diagram_is_fenced_and_loses_secrets_in_its_texts_only() -> None:
    source = "gantt\ntitle hunter2\n✓ hunter2 :done, hunter2\n"

    summary = summarize(blocks=(Diagram(heading="hunter2", source=source, legend="✓ is done"),))

    assert summary.endswith(
        "#### <code>&#42;&#42;&#42;</code>\n\n```mermaid\ngantt\ntitle hunter2\n✓ *** :done, hunter2\n```\n\n✓ is done\n\n"
    )


def test_a_diagrams_fence_cannot_be_closed_from_inside() -> None:
    assert "\n````mermaid\na\n```\n````\n" in summarize(blocks=(Diagram(heading="", source="a\n```"),))


def test_a_diagram_that_is_too_long_is_left_out_and_told() -> None:
    summary = summarize(blocks=(Diagram(heading="big", source="gantt\n" * 200_000), Folded(heading="small", text="stays")))

    assert "#### big\n\nThe diagram did not fit here.\n\n" in summary
    assert "mermaid" not in summary
    assert "stays" in summary


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


@given(st.text(), st.integers(min_value=60, max_value=200))
def test_a_cut_text_fits(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)

    assert len(cut.encode("utf-8", "replace")) <= limit
    assert cut == text or "bytes left out" in cut


def test_ten_annotations_of_a_kind_the_tenth_counts_the_rest() -> None:
    errors = [Annotation(level=Level.ERROR, title=f"e{number}", message="m") for number in range(25)]
    warning = Annotation(level=Level.WARNING, title="w", message="m")

    fitted = fit_annotations([warning, *errors])

    assert [one.title for one in fitted] == [*(f"e{number}" for number in range(9)), "16 more", "w"]
    assert fitted[9].message == "16 more of this kind stand in the step's job summary and the log."


def test_exactly_ten_annotations_stay() -> None:
    errors = [Annotation(level=Level.ERROR, title=f"e{number}", message="m") for number in range(10)]

    assert list(fit_annotations(errors)) == errors


def test_a_long_message_is_cut_at_4096_utf_16_units() -> None:
    (fitted,) = fit_annotations([Annotation(level=Level.ERROR, title="t", message="😀" * 3000)])

    assert len(fitted.message.encode("utf-16-le")) // 2 <= 4096
    assert fitted.message.endswith("stands in the job summary]")


@pytest.mark.parametrize(("length", "is_whole"), [(399_985, True), (399_986, False)])
def test_a_list_is_an_output_up_to_the_limit(length: int, *, is_whole: bool) -> None:
    # `[{"a": "…"}, {}]` has 15 bytes around its text.
    outputs, warnings = render_outputs({"import-errors": [{"a": "x" * length}, {}]})

    assert (outputs["import-errors"] == '[{"a": "' + "x" * length + '"}, {}]') is is_whole
    assert (not warnings) is is_whole
