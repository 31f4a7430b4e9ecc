"""Any bytes as a text of a stranger: what reaches the log, the outputs and the job summary must be text.

`python -m tests.fuzz.harness FOLDER` fuzzes with atheris (`pip install atheris`), which no test requires. What it found
stands in findings/, with its seeds, and tests/unit/test_fuzz_findings.py checks each of them.
"""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from dataclasses import replace
from io import StringIO
from pathlib import Path

from dms_airflow.ci.github import GitHub
from dms_airflow.ci.report import report
from dms_airflow.ci.runner import Runner
from dms_airflow.config import Config
from dms_airflow.core.findings import Finding, Rule
from dms_airflow.core.result import Annotation, Diagram, Ending, Folded, Level, Result, Table
from sandbox.runner import parse_command, read_outputs
from tests.leaks import find_leaks
from tests.markdown import find_foreign
from tests.unit.test_leaks import FORMS

SECRET = "qX~/s3 \"cr'et\\%41+é"
CONFIG = Config(operation="dags list", instance_id="af-1", region="cn-hangzhou")
# `SECRET` stands for it as it is, with a letter behind for one of its forms.
_MARK = re.compile(r"SECRET([A-Za-z0-9]?)")
FORM_NAMES = ["plain", *(name for name in FORMS if name != "plain")]
OURS = {"group", "endgroup", "error", "warning"}


def check(data: bytes, folder: Path) -> None:
    """Report a step in which every text is this one.

    Raises:
        AssertionError: Some of it is no text any more, or the secret is in it.
    """
    text = _MARK.sub(lambda mark: FORMS[FORM_NAMES[ord(mark[1] or "\0") % len(FORMS)]](SECRET), data.decode("utf-8", "replace"))
    log, output = StringIO(), folder / "output"
    output.write_text("")
    summary_file = folder / "summary"
    summary_file.write_text("")
    runner = Runner(workspace=folder, output_file=output, summary_file=summary_file)
    workflow = GitHub(runner, log)
    workflow.mask(SECRET)
    masks = log.tell()
    bar = " ".join(text.splitlines()).replace(":", "")  # as gantt.py does: what follows is ours
    annotation = Annotation(level=Level.ERROR, title=text, message=text, file=text, line=1)
    finding = Finding(
        rule=Rule.IMPORT_ERROR,
        level=Level.ERROR,
        title=text,
        message=text,
        file=text,
        line=1,
        affects=(text, "b"),
        details=text,
    )
    result = Result(
        ending=Ending.FAILURE,
        headline=text,
        findings=(finding,),
        annotations=(annotation,) * 11,
        outputs={
            "airflow-url": "https://h/a",
            "airflow-version": "2.10.4",
            "duration": 1.0,
            "stdout": text,
            "import-errors": [{"message": text}],
        },
        blocks=(
            Table(heading=text, columns=(text, "b"), rows=((text, text),)),
            Folded(heading=text, text=text),
            Diagram(heading="chart", source=f"gantt\n{bar} :done, 1s", legend=text),
        ),
    )
    workflow.info(text)
    workflow.fold(text, text)
    config = replace(CONFIG, result_file="r.json", sarif_file="r.sarif", junit_file="r.xml", code_quality_file="c.json")
    report(result, config, workflow)
    summary = summary_file.read_text(encoding="utf-8")
    printed = log.getvalue()[masks:]
    lines = printed.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    commands = [command for line in lines if (command := parse_command(line))]
    assert {command.name for command in commands} <= OURS
    assert all(set(command.properties) <= {"file", "line", "title"} for command in commands)
    names = {"status", "duration", "airflow-url", "airflow-version", "stdout", "import-errors", "findings"}
    assert set(read_outputs(output.read_text(encoding="utf-8"))) == names
    assert find_foreign(summary) == []
    left = {"log": printed, "summary": summary}
    left |= {file.name: file.read_text(encoding="utf-8") for file in (output, *folder.glob("*.*"))}
    assert find_leaks(left, [SECRET]) == []


def fuzz() -> None:
    """Hand atheris's bytes to `check` until it is stopped."""
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup(sys.argv, lambda data: check(data, Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    fuzz()
