"""The job summary keeps GitHub's limits, loses nothing silently, and no text of a stranger has a meaning of its own."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.ci.summary import SUMMARY_LIMIT, render_summary
from dms_airflow.config import Config
from dms_airflow.core.findings import Finding, Rule
from dms_airflow.core.result import Annotation, Diagram, Ending, Folded, Level, Link, Result, Table
from dms_airflow.core.text import cut_middle

CONFIG = Config(operation="dags list", instance_id="af-1", region="cn-hangzhou")
OUTPUTS = {"airflow-url": "https://h/airflow/1", "airflow-version": "2.10.4", "duration": 1.3}


def name_page(file: str | None, line: int | None) -> str:
    return f"https://h/{file}#L{line}" if file else ""


def summarize(**fields: object) -> str:
    result = Result(**{"ending": Ending.SUCCESS, "headline": "It worked", "outputs": OUTPUTS, **fields})  # type: ignore[arg-type]
    return render_summary(result, CONFIG, lambda text: text.replace("hunter2", "***"), name_page)


def test_a_whole_summary() -> None:
    summary = summarize(
        blocks=(
            Table(heading="DAGs of a_b", columns=("id", "page"), rows=(("a|b", Link(text="open", url="https://h/x?a=1&b=2")),)),
            Folded(heading="stdout", text="one\ntwo\n"),
        )
    )

    assert summary == (
        "### ✅ dags list on <code>af-1</code>\n\n"
        "**It worked**\n\n"
        'Succeeded after 1.3 s on <a href="https://h/airflow/1">Airflow 2&#46;10&#46;4</a> in cn-hangzhou.\n\n'
        "#### DAGs of a&#95;b\n\n| id | page |\n|---|---|\n"
        '| a&#124;b | <a href="https://h/x?a=1&amp;b=2">open</a> |\n\n'
        "<details><summary>stdout</summary>\n\n```text\none\ntwo\n```\n\n</details>\n\n"
    )


def test_a_step_that_did_not_come_to_airflow() -> None:
    result = Result(ending=Ending.REFUSED, headline="no", outputs={"airflow-url": "", "duration": 1.3})

    summary = render_summary(result, Config(), str, name_page)

    assert summary == "### ❌ dms-airflow on ?\n\n**no**\n\nFailed after 1.3 s.\n\n".replace("?", "&#63;")


def test_what_else_went_wrong_is_a_list() -> None:
    annotation = Annotation(level=Level.ERROR, title="Login failed", message="why\nand what now")

    summary = summarize(ending=Ending.TIMEOUT, annotations=(annotation,))

    assert "\nTimed out after 1.3 s on " in summary
    assert "\n\n- **Login failed**: why and what now\n\n" in summary


def test_annotations_that_do_not_fit_are_counted() -> None:
    annotation = Annotation(level=Level.ERROR, title="Task failed", message="x" * 3000)

    summary = summarize(annotations=(annotation,) * 400)

    assert len(summary.encode()) < SUMMARY_LIMIT
    assert summary.count("- **Task failed**: ") == 306
    assert "\n- 94 more did not fit here; the file that the input result-file names has everything.\n" in summary


def test_findings_are_tables_with_links_then_one_traceback_a_cause() -> None:
    broken = Finding(
        rule=Rule.IMPORT_ERROR,
        level=Level.ERROR,
        title="DAG import error: KeyError",
        message="KeyError: 'region'\nmore",
        file="dags/lib/region.py",
        line=12,
        affects=tuple(f"dags/d{number:02}.py" for number in range(40)),
        out_of_service=("a", "b"),
        details="Traceback hunter2",
    )
    known = replace(
        broken, file=None, line=None, instance_path="/opt/x.py", affects=("/opt/x.py",), out_of_service=(), new=False
    )
    failed = replace(
        broken, rule=Rule.TASK_FAILED, file=None, line=None, affects=("etl.load",), out_of_service=(), details="no"
    )
    warning = Finding(rule=Rule.DEPRECATION, level=Level.WARNING, title="t", message="old", file="dags/e.py", line=3)

    summary = summarize(
        findings=(broken, known, failed, warning, replace(warning, new=False, message="known")),
        blocks=(Folded(heading="stdout", text="out"), Table(heading="Steps", columns=("a",), rows=(("b",),))),
    )

    names = ", ".join(f"dags&#47;d{number:02}&#46;py" for number in range(10))
    assert summary.partition(" in cn-hangzhou.\n\n")[2] == (
        "#### New import errors\n\n| Where to fix it | What is wrong | What it affects |\n|---|---|---|\n"
        '| <a href="https://h/dags/lib/region.py#L12">dags&#47;lib&#47;region&#46;py&#58;12</a> '
        f"| KeyError&#58; &#39;region&#39; | 40 DAG files&#58; {names} and 30 more&#46; Out of service&#58; a, b |\n\n"
        "#### Known import errors\n\n| Where to fix it | What is wrong |\n|---|---|\n"
        "| &#47;opt&#47;x&#46;py &#40;on the instance&#41; | KeyError&#58; &#39;region&#39; |\n\n"
        "#### Failed tasks\n\n| Where to fix it | What is wrong | What it affects |\n|---|---|---|\n"
        "|  | KeyError&#58; &#39;region&#39; | Task instance&#58; etl&#46;load |\n\n"
        "#### Warnings of the instance\n\n| Where to fix it | What is wrong |\n|---|---|\n"
        '| <a href="https://h/dags/e.py#L3">dags&#47;e&#46;py&#58;3</a> | old |\n\n'
        "#### Steps\n\n| a |\n|---|\n| b |\n\n"
        "<details><summary>Traceback&#58; dags&#47;lib&#47;region&#46;py&#58;12 KeyError&#58; &#39;region&#39;</summary>\n\n"
        "```text\nTraceback ***\n```\n\n</details>\n\n"
        "<details><summary>Traceback&#58; &#47;opt&#47;x&#46;py &#40;on the instance&#41; "
        "KeyError&#58; &#39;region&#39;</summary>\n\n```text\nTraceback ***\n```\n\n</details>\n\n"
        "<details><summary>stdout</summary>\n\n```text\nout\n```\n\n</details>\n\n"
    )


def test_secrets_are_redacted_before_they_are_escaped() -> None:
    summary = summarize(headline="is hunter2", blocks=(Folded(heading="hunter2", text="hunter2"),))

    assert "hunter2" not in summary
    assert summary.count("***") == 1
    assert summary.count("&#42;&#42;&#42;") == 2


@given(st.text())
def test_an_inline_text_has_no_structure(text: str) -> None:
    summary = summarize(headline=text)

    headline = summary.split("\n\n")[1].removeprefix("**").removesuffix("**")
    assert "\n" not in headline
    inner = re.sub(r"</?code>", "", headline)
    assert not re.search(r"[|<>`*_\[\]@#!\\~&]", re.sub(r"&#\d+;", "", inner))
    # Nothing is lost but control characters and the number of blanks.
    assert html.unescape(inner).split() == re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", " ", text).split()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("GH-1", "<code>GH-1</code>"),
        ("see TICKET-12 there", "see <code>TICKET-12</code> there"),
        ("a 0a1b2c3", "a <code>0a1b2c3</code>"),
        ("0A1B2C3D", "<code>0A1B2C3D</code>"),
        ("a :bug:", "a <code>&#58;bug&#58;</code>"),
        ("by @octo", "by <code>&#64;octo</code>"),
        ("www.x.org", "<code>www&#46;x&#46;org</code>"),
        ("before 2026", "before 2026"),
        ("- no list", "&#45; no list"),
        ("a-b", "a-b"),
    ],
)
def test_only_what_could_be_a_reference_is_set_as_code(text: str, written: str) -> None:
    assert summarize(headline=text).split("\n\n")[1] == f"**{written}**"


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
    shown = summary.count("| dags&#47;file")
    assert f"{5000 - shown} more did not fit here" in summary
    assert 1000 < shown < 5000
    assert re.search(r"\n\d+ more texts did not fit here; ", summary)


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
    assert summary.endswith(f"{left} more texts did not fit here; the file that the input result-file names has everything.\n")


def test_a_diagram_is_fenced_and_loses_secrets_in_its_texts_only() -> None:
    source = "gantt\ntitle hunter2\n✓ hunter2 :done, hunter2\n"

    summary = summarize(blocks=(Diagram(heading="hunter2", source=source, legend="✓ is done"),))

    assert summary.endswith(
        "#### &#42;&#42;&#42;\n\n```mermaid\ngantt\ntitle hunter2\n✓ *** :done, hunter2\n```\n\n✓ is done\n\n"
    )


def test_a_diagrams_fence_cannot_be_closed_from_inside() -> None:
    assert "\n````mermaid\na\n```\n````\n" in summarize(blocks=(Diagram(heading="", source="a\n```"),))


def test_a_diagram_that_is_too_long_is_left_out_and_told() -> None:
    summary = summarize(blocks=(Diagram(heading="big", source="gantt\n" * 200_000), Folded(heading="small", text="stays")))

    assert summary.endswith("\n1 more text did not fit here; the file that the input result-file names has everything.\n")
    assert "mermaid" not in summary
    assert "stays" in summary


@given(st.text(), st.integers(min_value=60, max_value=200))
def test_a_cut_text_fits(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)

    assert len(cut.encode("utf-8", "replace")) <= limit
    assert cut == text or "bytes left out" in cut
