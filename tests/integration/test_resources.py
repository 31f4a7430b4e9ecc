"""Memory stays under 300 MB, whatever Airflow answers: the whole action as a process, measured by the kernel."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox.runner import PROJECT, Runner
from tests.integration.fake_dms import JSON, answer
from tests.integration.scripted_runs import ScriptedDag, ScriptedRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

    Run = Callable[[Mapping[str, str]], tuple[Step, int]]

LIMIT = 300  # MB
ENTRYPOINT = (sys.executable, "-Esu", str(PROJECT / "entrypoint.py"))

# Runs what follows, and writes down the largest memory that it had, in kB.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


@pytest.fixture
def run(dms: FakeDms, workspace: Path, tmp_path: Path) -> Run:
    """Run the action, and tell how many MB it took at most."""
    temp = tmp_path / "runner"
    temp.mkdir()
    peak = tmp_path / "peak"
    runner = Runner(workspace=workspace, temp=temp, command=(sys.executable, "-c", MEASURE, str(peak), *ENTRYPOINT))

    def run_step(inputs: Mapping[str, str]) -> tuple[Step, int]:
        step = runner.run({**dms.inputs, "result-file": "result.json", **inputs})
        assert step.stderr == ""
        return step, int(peak.read_text()) // 1024

    return run_step


def write_traceback(number: int) -> str:
    lines = (
        f'  File "/opt/airflow/dags/pkg/module_{line}.py", line {line}, in f\n    call({"x" * 55})\n' for line in range(1, 39)
    )
    return f"Traceback (most recent call last):\n{''.join(lines)}ModuleNotFoundError: No module named 'missing_{number}'\n"


def test_an_answer_of_fifty_megabytes(dms: FakeDms, run: Run, workspace: Path) -> None:
    body = {"dags": [{"dag_id": f"dag_{number}", "text": "y" * 480} for number in range(100_000)], "total_entries": 100_000}
    dms.fail("rest", answer(200, json.dumps(body).encode(), JSON))

    step, peak = run({"operation": "rest", "arguments": "GET /dags"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert json.loads((workspace / "result.json").read_text())["outputs"]["json"] == body


EMOJI = "\N{GRINNING FACE}"
ESCAPED = r"\ud83d\ude00"


@pytest.mark.parametrize(("place", "ensure_ascii"), [(0, False), (99_999, True)])
def test_one_emoji_in_fifty_megabytes_of_rows(
    dms: FakeDms, run: Run, workspace: Path, place: int, *, ensure_ascii: bool
) -> None:
    body = {"dags": [{"dag_id": f"dag_{number}", "text": "y" * 480} for number in range(100_000)], "total_entries": 100_000}
    body["dags"][place]["text"] = EMOJI  # type: ignore[index]
    dms.fail("rest", answer(200, json.dumps(body, ensure_ascii=ensure_ascii).encode(), JSON))

    step, peak = run({"operation": "rest", "arguments": "GET /dags"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert json.loads((workspace / "result.json").read_text())["outputs"]["json"] == body


@pytest.mark.parametrize(("character", "ensure_ascii"), [(EMOJI, True), ("\u4e2d", False)])
def test_one_wide_character_in_a_text_of_fifty_megabytes(
    dms: FakeDms, run: Run, workspace: Path, character: str, *, ensure_ascii: bool
) -> None:
    body = {"content": "x" * 25_000_000 + character + "y" * 25_000_000}
    dms.fail("rest", answer(200, json.dumps(body, ensure_ascii=ensure_ascii).encode(), JSON))

    step, peak = run({"operation": "rest", "arguments": "GET /dags/etl"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert json.loads((workspace / "result.json").read_text())["outputs"]["json"] == body


def test_a_refusal_of_fifty_megabytes(dms: FakeDms, run: Run) -> None:
    body = [{"dag_id": f"dag_{number}", "text": "y" * 480} for number in range(100_000)]
    dms.fail("rest", answer(404, json.dumps(body).encode(), JSON))

    step, peak = run({"operation": "rest", "arguments": "GET /dags"})

    assert step.exit_code == 1
    assert peak < LIMIT
    assert "answered 404: (application/json) [{" in step.annotations[0].data


@pytest.mark.parametrize(("stream", "ensure_ascii"), [("stdout", False), ("stderr", True)])
def test_one_emoji_in_fifty_megabytes_of_a_command(
    dms: FakeDms, run: Run, workspace: Path, stream: str, *, ensure_ascii: bool
) -> None:
    half = f"{'x' * 99}\n" * 250_000
    said = {"stdout": "digraph etl {\n", "stderr": ""}
    said[stream] += f"{half}{EMOJI} é\n{half}"
    dms.fail("command", answer(200, json.dumps(said, ensure_ascii=ensure_ascii).encode(), JSON))

    step, peak = run({"operation": "dags show", "arguments": "etl"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert "few characters beyond Latin-1 are written as escapes" in step.stdout
    outputs = json.loads((workspace / "result.json").read_text())["outputs"]
    assert outputs[stream] == said[stream].replace(EMOJI, ESCAPED)


def test_one_emoji_in_fifty_megabytes_of_records(dms: FakeDms, run: Run, workspace: Path) -> None:
    rows = [{"dag_id": f"dag_{number}", "fileloc": "y" * 480} for number in range(95_000)]
    rows[-1]["fileloc"] = EMOJI
    printed = json.dumps(rows, ensure_ascii=False)
    dms.fail("command", answer(200, json.dumps({"stdout": printed, "stderr": ""}).encode(), JSON))

    step, peak = run({"operation": "dags list", "arguments": "-o json"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert json.loads((workspace / "result.json").read_text())["outputs"]["json"] == rows


@pytest.mark.parametrize("line", [f"{'x' * 99}\n", "line\n", "done: 10%\r", '[{"dag_id": "etl", "owner": "ops"}]\n'])
def test_a_command_that_prints_fifty_megabytes(dms: FakeDms, run: Run, line: str) -> None:
    printed = "digraph etl {\n" + line * (50_000_000 // len(line))
    dms.fail("command", answer(200, json.dumps({"stdout": printed, "stderr": ""}).encode(), JSON))

    step, peak = run({"operation": "dags show", "arguments": "etl"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert "bytes left out …]" in step.outputs["stdout"]


def test_a_command_that_prints_fifty_megabytes_of_warnings(dms: FakeDms, run: Run) -> None:
    warnings = "/opt/airflow/dags/etl.py:1 UserWarning: a\n  b\n" * 1_100_000
    dms.fail("command", answer(200, json.dumps({"stdout": "digraph etl {\n", "stderr": warnings}).encode(), JSON))

    step, peak = run({"operation": "dags show", "arguments": "etl"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert "bytes left out …]" in step.outputs["stderr"]


def test_five_thousand_import_errors(dms: FakeDms, run: Run, workspace: Path) -> None:
    rows = [{"filepath": f"/opt/airflow/dags/f{number}.py", "error": write_traceback(number)} for number in range(5000)]
    dms.airflow.commands["dags list-import-errors"] = (f"{json.dumps(rows)}\n", "")

    step, peak = run({"operation": "dags list-import-errors"})

    assert step.exit_code == 1
    assert step.outputs["import-error-count"] == "5000"
    assert peak < LIMIT
    assert len(json.loads((workspace / "result.json").read_text())["outputs"]["import-errors"]) == 5000


def test_forty_megabytes_of_import_errors_with_one_emoji(dms: FakeDms, run: Run, workspace: Path) -> None:
    rows = [{"filepath": f"/opt/airflow/dags/f{number}.py", "error": write_traceback(number)} for number in range(8000)]
    rows[5000]["error"] = rows[5000]["error"].replace("missing_5000", EMOJI)
    printed = f"{json.dumps(rows)}\n"
    dms.fail("command", answer(200, json.dumps({"stdout": printed, "stderr": ""}).encode(), JSON))

    step, peak = run({"operation": "dags list-import-errors"})

    assert step.exit_code == 1
    assert step.outputs["import-error-count"] == "8000"
    assert peak < LIMIT
    errors = json.loads((workspace / "result.json").read_text())["outputs"]["import-errors"]
    assert sum(f"No module named '{EMOJI}'" in error["message"] for error in errors) == 1


def test_ten_thousand_dags(dms: FakeDms, run: Run) -> None:
    fields = dict.fromkeys(("description", "fileloc", "file_token", "owner", "timetable"), "v" * 60)
    for offset in range(0, 10_000, 100):
        page = [{"dag_id": f"dag_{number}", **fields} for number in range(offset, offset + 100)]
        dms.airflow.route("GET", f"/api/v1/dags?limit=100&offset={offset}", {"dags": page, "total_entries": 10_000})

    step, peak = run({"operation": "rest", "arguments": "GET /dags --paginate"})

    assert step.exit_code == 0
    assert peak < LIMIT


def test_one_emoji_in_the_pages_of_fifty_megabytes(dms: FakeDms, run: Run, workspace: Path) -> None:
    dags = [{"dag_id": f"dag_{number}", "description": "y" * 5000} for number in range(10_000)]
    dags[5000]["description"] = EMOJI
    for offset in range(0, 10_000, 100):
        page = {"dags": dags[offset : offset + 100], "total_entries": 10_000}
        dms.airflow.route("GET", f"/api/v1/dags?limit=100&offset={offset}", page)

    step, peak = run({"operation": "rest", "arguments": "GET /dags --paginate"})

    assert step.exit_code == 0
    assert peak < LIMIT
    assert json.loads((workspace / "result.json").read_text())["outputs"]["json"]["dags"] == dags


def test_five_thousand_task_instances_and_ten_logs_of_twenty_megabytes(dms: FakeDms, run: Run) -> None:
    reason = (
        "[2026-11-22T09:44:17.719+0000] {taskinstance.py:3311} ERROR - Task failed with exception\n"
        "Traceback (most recent call last):\nValueError: the end\n"
    )
    log = "[2026-11-22T09:44:17.719+0000] {logging_mixin.py:190} INFO - é\n" * 300_000 + reason
    states = {f"task_{number}": "failed" if number < 10 else "success" for number in range(5000)}
    airflow = ScriptedRuns()
    airflow.dags["etl"] = ScriptedDag(
        steps=(("failed", dict(states)),), logs={name: log for name, state in states.items() if state == "failed"}
    )
    dms.airflow = dms.instance = airflow  # type: ignore[assignment]

    step, peak = run({"operation": "dags trigger", "arguments": "etl", "wait-for-completion": "true"})

    assert step.exit_code == 1
    assert "ValueError: the end" in step.annotations[0].data
    assert "lines before these left out …]" in step.summary
    assert peak < LIMIT
