"""10,000 import errors, each of a cause of its own, with whole tracebacks: the whole step, with every report file.

Floor: the start of a step, and `json.loads` of the answer. Each file is checked as its readers would.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import junitparser
import xmlschema

from benchmarks import stand_in
from benchmarks.import_errors import INSTANCE, name_file, write_source, write_traceback
from benchmarks.measure import Cost, compare, run
from sandbox.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping

ERRORS = 10_000
ROUNDS = 3
FILES: Mapping[str, str] = {
    "sarif-file": "a.sarif",
    "junit-file": "a.xml",
    "code-quality-file": "a.json",
    "result-file": "r.json",
}
SARIF_LIMIT = 10_000_000  # bytes after gzip that GitHub takes
SARIF_RESULTS = 5_000  # that code scanning shows
JUNIT_LIMIT = 30_000_000  # bytes that GitLab takes
SCHEMAS = Path(__file__).parents[1] / "tests" / "schemas"


def check(folder: Path) -> None:
    """Check the files by the schemas of SARIF and of Jenkins' plugin, by junitparser, and by what GitLab and GitHub accept."""
    sarif, junit, code_quality, result = (folder / path for path in FILES.values())
    whole = json.loads(sarif.read_bytes())
    jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_bytes())).validate(whole)
    assert len(whole["runs"][0]["results"]) == min(ERRORS, SARIF_RESULTS)
    assert len(gzip.compress(sarif.read_bytes())) < SARIF_LIMIT
    xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd").validate(junit)
    assert [suite.failures for suite in junitparser.JUnitXml.fromfile(str(junit))] == [ERRORS]
    assert junit.stat().st_size < JUNIT_LIMIT
    entries = json.loads(code_quality.read_bytes())
    assert {frozenset(entry) for entry in entries} == {
        frozenset({"description", "check_name", "fingerprint", "severity", "location"})
    }
    assert len({entry["fingerprint"] for entry in entries}) == ERRORS
    outputs = json.loads(result.read_bytes())["outputs"]
    assert len(outputs["import-errors"]) == len(outputs["findings"]) == len(outputs["json"]) == ERRORS
    print("  all files are valid")


def main() -> None:
    """Print the ratios, and what each report file adds."""
    rows = [{"filepath": f"{INSTANCE}/{name_file(number)}", "error": write_traceback(number)} for number in range(ERRORS)]
    answer = json.dumps(rows) + "\n"
    print(f"answer: {len(answer) / 1e6:.1f} MB")
    with stand_in.serve(answer) as dms, tempfile.TemporaryDirectory() as folder:
        for number in range(ERRORS):
            file = Path(folder, "dags", name_file(number))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(write_source(number), encoding="utf-8")
        Path(folder, "answer").write_text(answer, encoding="utf-8")
        runner = Runner(workspace=Path(folder), temp=Path(folder))
        operation = {"operation": "dags list-import-errors", "warnings": "false"}

        def step(files: Mapping[str, str]) -> Cost:
            return run(runner.command, runner.prepare({**dms.inputs, **operation, **files})[0], exit_code=1)

        def parse() -> Cost:
            return run([sys.executable, "-c", f"import json; json.loads(open({str(Path(folder, 'answer'))!r}).read())"], {})

        compare("10,000 errors, no file", lambda: step({}), parse, ROUNDS, "reported")
        compare("10,000 errors, all files", lambda: step(FILES), parse, ROUNDS, "reported")
        check(Path(folder))
        for name, path in FILES.items():
            cost = step({name: path})
            written = Path(folder, path).stat().st_size / 1e6
            print(f"  with {name:20}{cost.wall:6.1f} s{cost.memory:8.0f} MB{written:8.1f} MB written")


if __name__ == "__main__":
    main()
