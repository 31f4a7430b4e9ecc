"""`fail-on: new` as a whole process: what counts, what a person sees first, what is resolved, and the two examples."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = "dags list-import-errors"
PAGE = f"https://github.com/octo-org/dags/blob/{'0' * 40}"
CRASH = 'Traceback (most recent call last):\n  File "/usr/local/bin/airflow", line 8, in <module>\nOSError: disk full\n'
SUMMARY_LIMIT = 1024 * 1024  # bytes


def write_row(name: str, module: str, line: int, home: str = "/opt/airflow") -> dict[str, str]:
    """Give the row of a DAG file whose line "import this" imports a module which is not there."""
    path = f"{home}/dags/{name}.py"
    return {
        "filepath": path,
        "error": f'Traceback (most recent call last):\n  File "{path}", line {line}, in <module>\n    import this\n'
        f"ModuleNotFoundError: No module named '{module}'\n",
    }


def break_dags(dms: FakeDms, *rows: Mapping[str, str]) -> None:
    """Let the instance list these import errors."""
    dms.airflow.commands[COMMAND] = (json.dumps(rows) + "\n", "")


def list_places(step: Step) -> list[tuple[str, str | None]]:
    """Give the level and file of each annotation, in order."""
    return [(one.name, one.properties.get("file")) for one in step.annotations]


@pytest.fixture
def checkout(workspace: Path) -> Path:
    """A team's repository with DAG files of nine lines."""
    (workspace / "dags").mkdir()
    for name in ("etl", "report", "export", "sound"):
        (workspace / "dags" / f"{name}.py").write_text("import this\n" * 9, encoding="utf-8")
    return workspace


def test_only_new_errors_count_and_come_first(dms: FakeDms, run: Run, checkout: Path) -> None:
    break_dags(dms, write_row("etl", "pandsa", 4, "/srv/old"), write_row("sound", "gone", 1, "/srv/old"))
    before = run({"operation": COMMAND, "fail-on": "none"})
    break_dags(dms, write_row("etl", "pandsa", 6), write_row("export", "nmupy", 2), write_row("report", "x", 3))

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": before.outputs["import-errors"]})

    assert checkout.is_dir()
    assert before.exit_code == 0
    assert step.exit_code == 1
    assert list_places(step) == [("error", "dags/export.py"), ("error", "dags/report.py"), ("warning", "dags/etl.py")]
    assert step.outputs["import-error-count"] == "3"
    assert step.outputs["new-import-error-count"] == "2"
    assert [(error["file"], error["line"], error["new"]) for error in step.read_json("import-errors")] == [
        ("dags/export.py", 2, True),
        ("dags/report.py", 3, True),
        ("dags/etl.py", 6, False),
    ]
    assert "dags/etl.py:6  ModuleNotFoundError: No module named 'pandsa'  (known)" in step.log
    assert "Resolved since the baseline: dags/sound.py:1  ModuleNotFoundError: No module named 'gone'" in step.log
    assert "Import errors: 3 causes, 3 DAG files, 1 cause known from the baseline, 1 resolved" in html.unescape(step.summary)
    _, new, known, resolved = step.summary.split("#### ")
    assert f'<a href="{PAGE}/dags/export.py#L2">' in new
    assert f'<a href="{PAGE}/dags/report.py#L3">' in new
    assert f'<a href="{PAGE}/dags/etl.py#L6">' in known
    assert f'<a href="{PAGE}/dags/sound.py">' in resolved
    assert [part.partition("\n")[0] for part in (new, known, resolved)] == [
        "New import errors",
        "Known import errors",
        "Resolved since the baseline",
    ]


def test_known_errors_alone_pass(dms: FakeDms, run: Run, checkout: Path) -> None:
    break_dags(dms, write_row("etl", "pandsa", 4))
    run({"operation": COMMAND, "result-file": "known.json"})

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": "known.json"})

    assert (checkout / "known.json").is_file()
    assert step.exit_code == 0
    assert step.outputs["status"] == "success"
    assert list_places(step) == [("warning", "dags/etl.py")]
    assert step.outputs["new-import-error-count"] == "0"


def test_without_import_errors_the_resolved_ones_are_told(dms: FakeDms, run: Run, checkout: Path) -> None:
    break_dags(dms, write_row("etl", "pandsa", 4), write_row("report", "x", 1))
    before = run({"operation": COMMAND, "fail-on": "none"})
    (checkout / "dags" / "report.py").unlink()
    break_dags(dms)

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": before.outputs["import-errors"]})

    assert step.exit_code == 0
    assert step.annotations == []
    assert step.outputs["import-errors"] == "[]"
    assert "No import errors, 2 resolved" in step.summary
    resolved = step.summary.partition("#### Resolved since the baseline")[2]
    assert f'<a href="{PAGE}/dags/etl.py">' in resolved
    assert "| dags&#47;report&#46;py&#58;1 |" in resolved
    assert f"{PAGE}/dags/report.py" not in step.summary


def test_a_command_that_crashed_resolves_nothing(dms: FakeDms, run: Run, checkout: Path) -> None:
    break_dags(dms, write_row("etl", "pandsa", 4), write_row("export", "x", 1))
    before = run({"operation": COMMAND, "fail-on": "none"})
    listed = json.dumps([write_row("etl", "pandsa", 4)])
    dms.airflow.commands[COMMAND] = (listed + "\n", CRASH)

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": before.outputs["import-errors"]})

    assert checkout.is_dir()
    assert step.exit_code == 1
    assert list_places(step) == [("error", None), ("warning", "dags/etl.py")]
    assert "esolved" not in step.log + step.summary


def test_a_look_at_one_file_resolves_nothing_elsewhere(dms: FakeDms, run: Run, checkout: Path) -> None:
    break_dags(dms, write_row("etl", "pandsa", 4), write_row("export", "x", 1))
    before = run({"operation": COMMAND, "fail-on": "none"})
    break_dags(dms)

    arguments = "--subdir /opt/airflow/dags/export.py"
    step = run({"operation": COMMAND, "arguments": arguments, "fail-on": "new", "baseline": before.outputs["import-errors"]})

    assert checkout.is_dir()
    assert step.exit_code == 0
    assert "esolved" not in step.log + step.summary


def test_with_fail_on_any_a_baseline_only_orders(dms: FakeDms, run: Run, checkout: Path) -> None:
    break_dags(dms, write_row("etl", "pandsa", 4))
    before = run({"operation": COMMAND, "fail-on": "none"})
    break_dags(dms, write_row("etl", "pandsa", 4), write_row("report", "x", 3))

    step = run({"operation": COMMAND, "baseline": before.outputs["import-errors"]})

    assert checkout.is_dir()
    assert step.exit_code == 1
    assert list_places(step) == [("error", "dags/report.py"), ("error", "dags/etl.py")]
    assert step.outputs["new-import-error-count"] == "1"


@pytest.mark.parametrize(
    ("baseline", "why"),
    [
        ("nowhere.json", 'the file "nowhere.json" cannot be read: No such file or directory'),
        ('[{"file": "dags/etl.py"}]', "entry 1 is not an import error: instance_path is missing or not a text"),
        ("[\x85", "it is not JSON: Expecting value: line 1 column 2 (char 1)"),
        ("", "fail-on is new, but baseline is empty"),
    ],
)
def test_a_baseline_that_cannot_be_read_makes_every_error_count(
    dms: FakeDms, run: Run, checkout: Path, baseline: str, why: str
) -> None:
    break_dags(dms, write_row("etl", "pandsa", 4))

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": baseline})

    assert checkout.is_dir()
    assert step.exit_code == 1
    error, warning = step.annotations
    assert error.properties["file"] == "dags/etl.py"
    assert (warning.name, warning.properties["title"]) == ("warning", "Baseline not readable")
    assert why in warning.data
    assert step.outputs["new-import-error-count"] == "1"
    assert "Baseline not readable" in step.summary


def test_a_baseline_that_cannot_be_read_fails_nothing_by_itself(dms: FakeDms, run: Run) -> None:
    break_dags(dms)

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": "nowhere.json"})

    assert step.exit_code == 0
    assert [one.properties["title"] for one in step.annotations] == ["Baseline not readable"]


def test_a_baseline_of_many_lines_with_control_characters_is_one(dms: FakeDms, run: Run) -> None:
    break_dags(dms)
    entry = {"instance_path": "/opt/airflow/dags/etl.py", "exception": "ValueError", "message": "red \x7f and \x85"}

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": json.dumps([entry], indent=2, ensure_ascii=False)})

    assert (step.exit_code, step.annotations) == (0, [])
    assert "No import errors, 1 resolved" in step.summary


def test_five_thousand_errors(dms: FakeDms, run: Run, workspace: Path) -> None:
    names = [f"team_{number % 50}/dag_{number:04}" for number in range(5000)]
    for name in names:
        file = workspace / "dags" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import this\n" * 9, encoding="utf-8")
    break_dags(dms, *(write_row(name, "pandsa", 4) for name in names[:4990]))
    run({"operation": COMMAND, "fail-on": "none", "result-file": "before.json"})
    break_dags(dms, *(write_row(name, "pandsa", 5) for name in names))

    step = run({"operation": COMMAND, "fail-on": "new", "baseline": "before.json", "result-file": "after.json"})

    assert step.exit_code == 1
    assert step.outputs["import-error-count"] == "5000"
    assert step.outputs["new-import-error-count"] == "10"
    assert [one.name for one in step.annotations] == ["error"] * 10 + ["warning"] * 10
    assert all(len(one.data) <= 4096 for one in step.annotations)
    assert len(step.summary.encode()) < SUMMARY_LIMIT
    assert f"{PAGE}/dags/team_49/dag_4999.py#L5" in step.summary
    assert re.search(r"\d+ more did not fit here", step.summary)
    whole = json.loads((workspace / "after.json").read_text(encoding="utf-8"))["outputs"]["import-errors"]
    assert len(whole) == 5000
    assert {error["file"] for error in whole} <= set(re.findall(r"(\S+):5  ", step.log))


# --- the examples ---------------------------------------------------------------------------------------------------------


def read_steps(name: str, dms: FakeDms) -> list[dict[str, str]]:
    """Give the inputs of an example's steps, connected to the fake DMS."""
    workflow = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    [job] = workflow["jobs"].values()
    steps: list[dict[str, Any]] = [step["with"] for step in job["steps"] if "dms-airflow" in step.get("uses", "")]
    return [{**inputs, **dms.inputs} for inputs in steps]


def test_the_example_of_two_steps(dms: FakeDms, run: Run, checkout: Path) -> None:
    first, second = read_steps("only-new-errors.yml", dms)
    break_dags(dms, write_row("etl", "pandsa", 4))

    before = run(first)
    unchanged = run(second)
    break_dags(dms, write_row("etl", "pandsa", 5), write_row("export", "x", 1))
    broken = run(second)

    assert checkout.is_dir()
    assert (before.exit_code, before.annotations, before.summary) == (0, [], "")
    assert (unchanged.exit_code, list_places(unchanged)) == (0, [("warning", "dags/etl.py")])
    assert (broken.exit_code, list_places(broken)) == (1, [("error", "dags/export.py"), ("warning", "dags/etl.py")])


def test_the_example_of_a_committed_file(dms: FakeDms, run: Run, checkout: Path) -> None:
    [inputs] = read_steps("committed-baseline.yml", dms)
    break_dags(dms, write_row("etl", "pandsa", 4))

    first = run(inputs)
    written = json.loads((checkout / "import-errors.json").read_text(encoding="utf-8"))["outputs"]["import-errors"]
    # What the example's jq command makes of it.
    trimmed = [{name: value for name, value in error.items() if name not in ("stack_trace", "new")} for error in written]
    (checkout / ".github").mkdir()
    (checkout / inputs["baseline"]).write_text(json.dumps(trimmed), encoding="utf-8")
    second = run(inputs)

    assert (first.exit_code, list_places(first)) == (1, [("error", "dags/etl.py"), ("warning", None)])
    assert (second.exit_code, list_places(second)) == (0, [("warning", "dags/etl.py")])
