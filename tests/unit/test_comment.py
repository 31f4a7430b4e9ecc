"""The comment of a pull request holds nothing but what we wrote, whatever text of a stranger is in it."""

from __future__ import annotations

import random
from dataclasses import replace
from urllib.parse import quote

import pytest

from dms_airflow.ci.reports.comment import State, make_key, parse_states, render_comment
from dms_airflow.config import Config
from dms_airflow.core.findings import Finding, Rule
from dms_airflow.core.result import Annotation, Diagram, Ending, Folded, Level, Link, Result, Table
from tests.markdown import find_foreign

CONFIG = Config(operation="deploy", instance_id="af-1", region="cn-hangzhou")
OUTPUTS = {"airflow-url": "https://h/airflow/1", "airflow-version": "2.10.4", "duration": 1.3}
COMMIT = "3fa9c1d" + "0" * 33
FINDING = Finding(
    rule=Rule.IMPORT_ERROR,
    level=Level.ERROR,
    title="DAG import error: KeyError",
    message="KeyError: 'region'\nmore",
    file="dags/a.py",
    line=3,
    details="Traceback",
    fingerprint="ab" * 16,
)


def render(result: Result, states: list[State] | None = None, commit: str = COMMIT) -> str:
    return render_comment(
        replace(result, outputs=OUTPUTS),
        CONFIG,
        commit,
        states or [],
        redact=lambda text: text.replace("hunter2", "***"),
        name_page=lambda file, line: f"https://h/{quote(file, errors='replace')}#L{line}" if file else "",
        run_url="https://h/run",
    )


def test_a_whole_comment() -> None:
    plan = Table(heading="Plan: 1 created", columns=("change", "file"), rows=(("created", "b.py"),))
    result = Result(
        ending=Ending.FAILURE,
        headline="1 cause with hunter2",
        findings=(FINDING,),
        annotations=(Annotation(level=Level.WARNING, title="Manifest", message="why"),),
        blocks=(
            plan,
            Table(heading="Steps", columns=("a",), rows=(("b",),), is_detail=True),
            Folded(heading="stdout", text="x"),
            Diagram(heading="graph", source="graph LR"),
        ),
    )

    assert render(result) == (
        "### ❌ Failed: 1 cause with &#42;&#42;&#42;\n\n"
        "deploy on <code>af-1</code> at <code>3fa9c1d</code>. "
        'Failed after 1.3 s on <a href="https://h/airflow/1">Airflow 2&#46;10&#46;4</a> in cn-hangzhou. '
        '<a href="https://h/run">Job</a>\n\n'
        "- **Manifest**: why\n\n"
        "#### Import errors\n\n| Where to fix it | What is wrong |\n|---|---|\n"
        '| <a href="https://h/dags/a.py#L3">dags&#47;a&#46;py&#58;3</a> | KeyError&#58; &#39;region&#39; |\n\n'
        "#### Plan&#58; 1 created\n\n| change | file |\n|---|---|\n| created | b&#46;py |\n\n"
        "<!-- dms-airflow 29103d80cb1e04252c3bc06e4fea390f 3fa9c1d:failure:1:abababab -->\n"
    )


@pytest.mark.parametrize("ending", [Ending.SUCCESS, Ending.FAILURE, Ending.TIMEOUT, Ending.REFUSED])
def test_a_state_is_read_back(ending: Ending) -> None:
    findings = tuple(replace(FINDING, fingerprint=f"{number:032x}"[::-1]) for number in range(400))

    [state] = parse_states(render(Result(ending=ending, headline="x", findings=findings)), make_key(CONFIG)) or []

    assert (state.commit, state.ending.status, state.total) == ("3fa9c1d", ending.status, 400)
    assert sorted(state.ids or ()) == sorted({f"{number:032x}"[::-1][:8] for number in range(400)})


def test_more_findings_than_are_kept_are_not_compared() -> None:
    findings = tuple(replace(FINDING, fingerprint=f"{number:032x}"[::-1]) for number in range(401))
    result = Result(ending=Ending.FAILURE, headline="x", findings=findings)
    states = parse_states(render(result), make_key(CONFIG)) or []

    assert states == [State(commit="3fa9c1d", ending=Ending.FAILURE, total=401, ids=None)]
    assert "since" not in render(result, states, "b" * 40)


def test_long_messages_fit() -> None:
    """Such as a deploy's list of all files that somebody else changed."""
    annotation = Annotation(level=Level.ERROR, title="Deploy refused", message="/Workspace/code/dags/_.py\n" * 9000)
    rows = tuple((f"dags/{number}.py", "_" * 300) for number in range(300))
    tables = tuple(Table(heading=f"{number} {'_' * 300}", columns=("a", "b"), rows=rows) for number in range(9))
    findings = tuple(replace(FINDING, fingerprint=f"{number:032x}"[::-1]) for number in range(400))
    result = Result(
        ending=Ending.FAILURE, headline="_" * 90_000, findings=findings, annotations=(annotation,) * 50, blocks=tables
    )
    ids = frozenset(f"{number:08x}" for number in range(400))
    states = [State(commit=f"{number:07x}", ending=Ending.FAILURE, total=400, ids=ids) for number in range(11)]

    comment = render(result, states)

    assert 57_000 < len(comment) <= 65_535
    assert " more did not fit here; the file that the input result-file names has everything.\n" in comment
    assert "more texts did not fit here" in comment


# --- text of strangers ----------------------------------------------------------------------------------------------------

PIECES = [
    "@octocat", "@acme/team", "#123", "GH-1", "acme/dags#1", "0123456789abcdef", "https://x.org/a?b=c", "www.x.org", ":bug:",
    "![x](http://x/y.png)", "[x](javascript:alert(1))", "<img src=x onerror=alert(1)>", "<script>", "<!--", "-->", "<!-- x -->",
    "</details>", "<details open>", "<summary>", "</a>", '<a href="//x">', "</code>", "<code>", "|", "\\|", "`", "```", "~~~",
    "\n", "\r\n", "\n\n", "\n# x", "\n- x", "\n> x", "\n    x", "\n***\n", "\n| a |\n|---|\n", "**", "__", "~~", "$x$", "&lt;",
    "&#64;o", "\x00", "\u202e", "\u200b", "\ud800", "é", "中文", "\U0001f600", " ", "a", "&", "\\", "[^1]", "[^1]: x", "<http://x>",
    "<o@x.org>",
    "<!-- dms-airflow 29103d80cb1e04252c3bc06e4fea390f 3fa9c1d:success:0: -->",
]  # fmt: skip


def test_ten_thousand_hostile_texts_have_no_effect() -> None:
    dice = random.Random(22)
    texts = ["".join(dice.choices(PIECES, k=dice.randint(1, 4))) for _ in range(10_000)]
    for start in range(0, len(texts), 80):
        one, two, three, four, *more = texts[start : start + 80]
        finding = replace(FINDING, title=one, message=two, file=three, affects=(four, one), out_of_service=(two,))
        result = Result(
            ending=Ending.FAILURE,
            headline=one,
            findings=(finding, replace(finding, file=None, instance_path=two)),
            annotations=(Annotation(level=Level.ERROR, title=three, message=four),),
            blocks=(
                Table(heading=one, columns=(two, "b"), rows=tuple(zip(more[::2], more[1::2], strict=True))),
                Table(heading=four, columns=("a",), rows=((Link(text=three, url="https://h/x"),),)),
            ),
        )

        comment = render(result, [State(commit="b0a61e2", ending=Ending.SUCCESS, total=0, ids=frozenset())])

        assert "did not fit" not in comment
        body, _, mark = comment.rpartition("<!--")
        assert "<!--" not in body
        assert "-->" not in body
        assert mark.count("-->") == 1
        assert find_foreign(body) == [], texts[start : start + 80]
        assert [one.commit for one in parse_states(comment, make_key(CONFIG)) or []] == ["3fa9c1d", "b0a61e2"]
