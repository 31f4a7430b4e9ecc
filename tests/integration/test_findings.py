"""One cause is one finding, in the annotations, the log, the summary, the outputs and the report files of the whole action."""

from __future__ import annotations

import html
import json
import os
from typing import TYPE_CHECKING, Any

import jsonschema
import junitparser
import pytest

from tests.integration.scripted_runs import ScriptedDag, ScriptedRuns
from tests.unit.test_report_files import JUNIT, SARIF

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

COMMAND = "dags list-import-errors"
FILES = {"sarif-file": "out/a.sarif", "junit-file": "out/a.xml", "code-quality-file": "out/a.json"}
HOME = "/opt/airflow/dags"


def write_trace(*frames: tuple[str, int], error: str) -> str:
    shown = "".join(f'  File "{HOME}/{file}", line {line}, in <module>\n    import this\n' for file, line in frames)
    return f"Traceback (most recent call last):\n{shown}{error}\n"


def break_files(dms: FakeDms, errors: dict[str, str]) -> None:
    """Let the instance list these import errors, by DAG file."""
    rows = [{"filepath": f"{HOME}/{file}", "error": error} for file, error in errors.items()]
    dms.airflow.commands[COMMAND] = (json.dumps(rows) + "\n", "")


@pytest.fixture
def checkout(workspace: Path) -> Path:
    """A repository with a helper, 40 DAG files that import it, and two more."""
    (workspace / "dags" / "lib").mkdir(parents=True)
    for file in ("lib/region.py", "etl.py", "sound.py", *(f"sales_{number:02}.py" for number in range(40))):
        (workspace / "dags" / file).write_text("import this\n" * 20 + "# airflow DAG\n", encoding="utf-8")
    return workspace


@pytest.fixture
def broken_helper(dms: FakeDms) -> dict[str, str]:
    """40 DAG files that fail by one line of the helper, and another error in another file."""
    errors = {
        f"sales_{number:02}.py": write_trace(
            (f"sales_{number:02}.py", 1 + number % 9), ("lib/region.py", 12), error="KeyError: 'eu'"
        )
        for number in range(40)
    }
    errors["etl.py"] = write_trace(("etl.py", 3), error="NameError: name 'x' is not defined")
    break_files(dms, errors)
    return errors


def list_findings(step: Step) -> list[tuple[str, str, str, int, bool]]:
    return [
        (one["level"], f"{one['file']}:{one['line']}", one["message"], len(one["affects"]), one["new"])
        for one in step.read_json("findings")
    ]


@pytest.mark.usefixtures("broken_helper")
def test_forty_files_broken_by_one_helper_and_one_other_error(run_here: Run, checkout: Path) -> None:
    step = run_here({"operation": COMMAND, **FILES})

    assert step.exit_code == 1
    ten = ", ".join(f"dags/sales_{number:02}.py" for number in range(10))
    assert [(one.name, one.properties["file"], one.properties["line"]) for one in step.annotations] == [
        ("error", "dags/lib/region.py", "12"),
        ("error", "dags/etl.py", "3"),
    ]
    assert step.annotations[0].data.startswith(f"KeyError: 'eu'\n40 DAG files: {ten} and 30 more\nTraceback")
    assert step.annotations[1].data.startswith("NameError: name 'x' is not defined\nTraceback")
    # The log: both causes, with all their DAG files.
    lines = step.stdout.splitlines()
    start = lines.index("dags/lib/region.py:12  KeyError: 'eu'")
    assert lines[start + 1] == f"::group::40 DAG files: {ten} and 30 more"
    assert lines[start + 2 : start + 42] == [f"dags/sales_{number:02}.py" for number in range(40)]
    assert lines[start + 43] == "dags/etl.py:3  NameError: name 'x' is not defined"
    assert "Import errors: 2 causes, 41 DAG files (failure after " in step.log
    # The summary: two rows, one traceback a cause.
    table = step.summary.partition("#### Import errors\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    assert [html.unescape(row.split(" | ")[1]) for row in table] == ["KeyError: 'eu'", "NameError: name 'x' is not defined"]
    assert step.summary.count("<details><summary>Traceback") == 2
    assert "**Import errors&#58; 2 causes, 41 DAG files**" in step.summary
    # The outputs: one finding a cause, one import error for each of Airflow's.
    assert list_findings(step) == [
        ("error", "dags/lib/region.py:12", "KeyError: 'eu'", 40, True),
        ("error", "dags/etl.py:3", "NameError: name 'x' is not defined", 1, True),
    ]
    assert (step.outputs["import-error-count"], len(step.read_json("import-errors"))) == ("41", 41)
    # The report files.
    whole = json.loads((checkout / FILES["sarif-file"]).read_bytes())
    jsonschema.validate(whole, SARIF.schema)
    assert [result["ruleId"] for result in whole["runs"][0]["results"]] == ["import-error", "import-error"]
    text = (checkout / FILES["junit-file"]).read_text(encoding="utf-8")
    JUNIT.validate(text)
    (suite,) = junitparser.JUnitXml.fromstring(text.encode())
    # lib/region.py and sound.py, which Airflow reads too, are sound.
    assert (suite.tests, suite.failures, suite.skipped) == (43, 41, 0)
    entries = json.loads((checkout / FILES["code-quality-file"]).read_bytes())
    assert [entry["description"] for entry in entries] == [
        "KeyError: 'eu' (40 DAG files)",
        "NameError: name 'x' is not defined",
    ]


@pytest.mark.usefixtures("checkout")
def test_three_hundred_causes(dms: FakeDms, run_here: Run, workspace: Path) -> None:
    errors = {}
    for number in range(300):
        (workspace / "dags" / f"d{number:03}.py").write_text("import this\n" * 9, encoding="utf-8")
        errors[f"d{number:03}.py"] = write_trace((f"d{number:03}.py", 4), error=f"KeyError: 'k{number}'")
    break_files(dms, errors)

    step = run_here({"operation": COMMAND})

    assert [one.properties.get("file") for one in step.annotations] == [*(f"dags/d00{number}.py" for number in range(9)), None]
    assert step.annotations[9].properties["title"] == "291 more"
    assert step.annotations[9].data == "291 more causes: see the job summary or the log of this step."
    assert len(step.read_json("findings")) == 300
    assert step.summary.count("/blob/") == 300
    assert step.log.count("  KeyError: 'k") == 300
    assert "Import errors: 300 causes, 300 DAG files" in step.log


def test_a_cause_that_is_known_in_part_is_new(
    dms: FakeDms, run_here: Run, checkout: Path, broken_helper: dict[str, str]
) -> None:
    known = {file: error for file, error in broken_helper.items() if file != "sales_07.py"}
    break_files(dms, known)
    run_here({"operation": COMMAND, "fail-on": "none", "result-file": "before.json"})
    break_files(dms, broken_helper)

    step = run_here({"operation": COMMAND, "fail-on": "new", "baseline": "before.json"})

    assert checkout.is_dir()
    assert step.exit_code == 1
    assert list_findings(step) == [
        ("error", "dags/lib/region.py:12", "KeyError: 'eu'", 40, True),
        ("warning", "dags/etl.py:3", "NameError: name 'x' is not defined", 1, False),
    ]
    # The new one comes first.
    assert step.read_json("findings")[0]["affects"][:2] == ["dags/sales_07.py", "dags/sales_00.py"]
    assert [one.name for one in step.annotations] == ["error", "warning"]
    assert (step.outputs["import-error-count"], step.outputs["new-import-error-count"]) == ("41", "1")
    assert "Import errors: 2 causes, 41 DAG files, 1 cause known from the baseline" in step.log


def test_without_a_checkout_a_cause_is_still_one(dms: FakeDms, run_here: Run, broken_helper: dict[str, str]) -> None:
    assert len(broken_helper) == 41
    library = 'Traceback (most recent call last):\n  File "/usr/lib/python3.11/site-packages/x.py", line 1, in f\nOSError: no\n'
    break_files(dms, {**broken_helper, "a.py": library, "b.py": library})

    step = run_here({"operation": COMMAND, **FILES})

    assert [(one["file"], one["line"], one["message"], len(one["affects"])) for one in step.read_json("findings")] == [
        (None, None, "KeyError: 'eu'", 40),
        (None, None, "OSError: no", 1),
        (None, None, "OSError: no", 1),
        (None, None, "NameError: name 'x' is not defined", 1),
    ]
    assert (
        "\nOn the instance, in /opt/airflow/dags/lib/region.py; no file of the checkout maps to it.\n"
        in step.annotations[0].data
    )
    assert json.loads((step.workspace / FILES["code-quality-file"]).read_bytes()) == []


def test_sixty_mapped_tasks_that_fail_alike_are_one_finding(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    log = "[2026-11-22T12:00:02.000+0000] {taskinstance.py:3313} ERROR - Task failed with exception\n" + write_trace(
        ("etl.py", 5), error="ValueError: no rows"
    )
    tasks: dict[str, str | None] = {f"load[{number}]": "failed" for number in range(60)}
    tasks |= {"extract": "success", "report": "upstream_failed"}
    dms.airflow = dms.instance = ScriptedRuns(  # type: ignore[assignment]
        dags={"etl": ScriptedDag(steps=(("failed", tasks),), logs={"load": log})}
    )

    step = run_here({"operation": "smoke-test", "arguments": "etl", **FILES})

    (annotation,) = step.annotations
    assert annotation.properties == {"title": "Task failed: load[0]", "file": "dags/etl.py", "line": "5"}
    ten = ", ".join(f"etl.load[{number}]" for number in range(10))
    assert annotation.data.startswith(f"ValueError: no rows\n60 task instances: {ten} and 50 more\nTraceback")
    assert annotation.data.rpartition("\n")[2].startswith("Log: http")
    (finding,) = step.read_json("findings")
    assert (finding["rule"], finding["affects"]) == ("task-failed", [f"etl.load[{number}]" for number in range(60)])
    assert step.summary.count("<details><summary>Log of ") == 1
    assert step.stdout.count("::group::Log of ") == 1
    text = (checkout / FILES["junit-file"]).read_text(encoding="utf-8")
    JUNIT.validate(text)
    (suite,) = junitparser.JUnitXml.fromstring(text.encode())
    # The run itself is a test case, too.
    assert (suite.name, suite.tests, suite.failures, suite.skipped) == ("etl", 63, 61, 1)


def test_a_step_that_finds_nothing_out_writes_no_report_files(dms: FakeDms, run_here: Run, workspace: Path) -> None:
    dms.airflow.commands[COMMAND] = ("", "Traceback (most recent call last):\nOSError: disk full\n")

    step = run_here({"operation": COMMAND, **FILES})

    assert step.exit_code == 1
    assert not (workspace / "out").exists()
    assert "sarif-file is not written: nothing was found out about the DAG files." in step.log
    assert "findings" not in step.outputs


def test_without_import_errors_the_report_files_say_so(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    break_files(dms, {})

    step = run_here({"operation": COMMAND, "dags-path": "dags", **FILES})

    assert step.exit_code == 0
    assert json.loads((checkout / FILES["sarif-file"]).read_bytes())["runs"][0]["results"] == []
    (suite,) = junitparser.JUnitXml.fromstring((checkout / FILES["junit-file"]).read_bytes())
    assert (suite.tests, suite.failures) == (43, 0)
    assert step.outputs["findings"] == "[]"


def test_report_files_and_their_folder_belong_to_the_workspaces_owner(dms: FakeDms, run_here: Run, workspace: Path) -> None:
    if os.geteuid() == 0:
        os.chown(workspace, 1001, 1002)
    break_files(dms, {})

    run_here({"operation": COMMAND, **FILES})

    owner = workspace.stat()
    for path in (workspace / "out", *(workspace / name for name in FILES.values())):
        assert (path.stat().st_uid, path.stat().st_gid) == (owner.st_uid, owner.st_gid)


def test_a_report_file_that_cannot_be_written_is_no_success(dms: FakeDms, run_here: Run, workspace: Path) -> None:
    break_files(dms, {})
    (workspace / "file").write_text("", encoding="utf-8")

    step = run_here({"operation": COMMAND, "sarif-file": "file/a.sarif"})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["File not written"]
    assert step.annotations[0].data.startswith("sarif-file file/a.sarif could not be written: ")


@pytest.mark.parametrize("name", list(FILES))
def test_no_report_file_is_written_outside_of_the_workspace(run_here: Run, name: str, tmp_path: Path) -> None:
    step = run_here({"operation": COMMAND, name: str(tmp_path / "x")})

    assert step.exit_code == 2
    assert [one.properties["title"] for one in step.annotations] == [f"Wrong input: {name}"]
    assert not (tmp_path / "x").exists()


def test_report_files_hold_no_secrets(dms: FakeDms, run_here: Run, checkout: Path) -> None:
    secret = dms.inputs["access-key-secret"]
    break_files(dms, {"etl.py": write_trace(("etl.py", 3), error=f"KeyError: '{secret}'")})

    run_here({"operation": COMMAND, **FILES})

    for name in FILES.values():
        text = (checkout / name).read_text(encoding="utf-8")
        assert secret not in text
        assert "KeyError: '***'" in html.unescape(text)


def test_several_commands_have_one_list(dms: FakeDms, run_here: Run, broken_helper: dict[str, str], checkout: Path) -> None:
    dms.airflow.commands["version"] = ("2.10.4\n", "")

    step = run_here({"operation": "cli", "arguments": f"version\n{COMMAND}", **FILES})

    assert len(broken_helper) == 41
    assert (checkout / FILES["sarif-file"]).is_file()
    assert [entry[3] for entry in list_findings(step)] == [40, 1]
    assert dms.commands()[0] == ["version"]


def test_findings_do_not_depend_on_the_order_of_airflows_answer(
    dms: FakeDms, run_here: Run, checkout: Path, broken_helper: dict[str, str]
) -> None:
    first: Any = run_here({"operation": COMMAND}).read_json("findings")
    break_files(dms, dict(reversed(broken_helper.items())))
    second: Any = run_here({"operation": COMMAND}).read_json("findings")

    assert checkout.is_dir()
    assert first == second
