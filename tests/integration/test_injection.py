"""Whole runs with texts of strangers: no workflow command, no Markdown or HTML, no output of its own, no path outside."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.markdown import find_foreign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

# What means something to the runner, to Markdown, to HTML, to GitHub, to Mermaid, to files and shells.
PIECES = [
    "::error::", "::add-mask::", "::set-output name=x::", "::stop-commands::x", "::endgroup::", "##[error]",
    "##[add-mask]", "\r", "\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u200b", "\ufeff", "\x1b[31m",
    "\x1b]8;;x\x07", "\x00", " ", "\t", "```", "~~~~", "````\n", "|", "\n|---|\n", "<details>", "</details>",
    "</summary>", "<img src=x>", "![x](http://x)", "[x](y)", "<!--", "-->", "@octocat", "#123", "GH-1", "octo/repo#1",
    "0123456789abcdef", "https://x.y/z", "www.example.com", "\n# x\n", "\n- x\n", "\n> x\n", "    x", "<script>",
    "&lt;", "&#x3a;", "\\", "$x$", "%0A", "%25", ",", "=", ":", "x<<EOF\n", "EOF", "click a", "%%{init: {}}%%",
    "section x", ":done, 1s", "../", "/etc/passwd", "C:\\x", "../../../x.py", "\ud7ff", "*", "_", "a", "ß", "中",
    "[^1]", "\n===\n", "\n---\n", "&copy;", "<a href=x>", "<x@y.z>", "`", ":smile:", "$$", "[[x]]", "\\|", "\xa0",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(alphabet="ab:#[]<>|`@\n\r", max_size=4), max_size=12).map("".join)
WHOLE_RUNS = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
OUR_COMMANDS = {"add-mask", "group", "endgroup", "error", "warning"}
PROPERTIES = {"file", "line", "title"}


def check(step: Step, outputs: set[str]) -> None:
    """Nothing in the log, the outputs and the summary is what a stranger wrote."""
    assert {command.name for command in step.commands} <= OUR_COMMANDS
    assert all(set(command.properties) <= PROPERTIES for command in step.commands)
    groups = re.findall(r"(?m)^::(group|endgroup)::", step.stdout)
    assert groups == ["group", "endgroup"] * (len(groups) // 2)
    assert set(step.outputs) <= outputs
    assert find_foreign(step.summary) == []


OUTPUTS = {"airflow-version", "status", "duration", "airflow-url", "stdout", "stderr", "json", "status-code"}


@WHOLE_RUNS
@given(HOSTILE, HOSTILE)
@example("\n::error file=a,line=1::x\n", "a\x85::add-mask::x\u2028##[error]x")
@example("```\n</details>\n<img src=x>", "|x|\n|---|\n@octocat #123 GH-1")
def test_what_a_command_prints(dms: FakeDms, run_here: Run, out: str, err: str) -> None:
    dms.airflow.commands["dags show"] = (f"digraph {out}\n", err)

    step = run_here({"operation": "cli", "arguments": "dags show etl\nvariables delete x"}, {"RUNNER_DEBUG": "1"})

    check(step, OUTPUTS)


@WHOLE_RUNS
@given(HOSTILE, HOSTILE, st.sampled_from([200, 400]))
def test_what_rest_answers(dms: FakeDms, run_here: Run, key: str, text: str, status: int) -> None:
    dms.airflow.route("GET", "/api/v1/dags", {"title": text, "detail": key, "dags": [{"dag_id": text, key: text}]}, status)

    check(run_here({"operation": "rest", "arguments": "GET /dags"}, {"RUNNER_DEBUG": "1"}), OUTPUTS)


@WHOLE_RUNS
@given(HOSTILE, HOSTILE)
@example("", "GH-1")
@example("", "0a1b2c3")
@example("../../outside.py", "x")
@example("/opt/airflow/dags/../../outside.py", "\n::error file=/etc/passwd::")
@example("dags/link.py", "x")
@example("dags\\..\\..\\outside.py", "x\0")
def test_import_errors(dms: FakeDms, run_here: Run, workspace: Path, path: str, text: str) -> None:
    (workspace / "dags").mkdir(exist_ok=True)
    (workspace / "dags" / "x.py").write_text("import x\n")
    outside = workspace.parent / "outside.py"
    outside.write_text("import x\n")
    link = workspace / "dags" / "link.py"
    if not link.is_symlink():
        link.symlink_to(outside)
    trace = f'Traceback (most recent call last):\n  File "{path}", line 1, in <module>\n    import x\nValueError: {text}\n'
    rows = [{"filepath": path, "error": trace}, {"filepath": f"/opt/airflow/dags/{path}", "error": text}]
    dms.airflow.commands["dags list-import-errors"] = (f"{json.dumps(rows)}\n", "")

    step = run_here({"operation": "dags list-import-errors"})

    assert step.exit_code == 1
    check(step, {*OUTPUTS, "findings", "import-errors", "import-error-count", "new-import-error-count"})
    files = [one.properties["file"] for one in step.annotations if "file" in one.properties]
    assert [file for file in files if not (workspace / file).resolve().is_relative_to(workspace.resolve())] == []


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "link/x", "x\0y", "~/../../x"])
def test_no_result_outside_of_the_workspace(dms: FakeDms, run: Run, workspace: Path, name: str) -> None:
    (workspace / "link").symlink_to(workspace.parent)
    if "\0" in name:
        name = name.replace("\0", "\\0/../../x")

    run({"operation": "version", "result-file": name})

    assert not (workspace.parent / "x").exists()
    assert dms is not None
