"""Responses of 50 MB, the whole process: peak memory is reported, no limit is promised.

Floor: the response itself, and Python's text of it, with as many bytes a character as its widest one needs.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks import stand_in
from benchmarks.measure import run
from sandbox.runner import Runner

SIZE = 50_000_000  # characters

TEXTS = {
    "lines of text": "digraph etl {\n" + f"{'x' * 99}\n" * (SIZE // 100),
    "lines of text, one of them with an emoji": "digraph etl {\n\N{GRINNING FACE}\n" + f"{'x' * 99}\n" * (SIZE // 100),
    "rows of JSON": json.dumps([{"dag_id": f"dag_{number}", "fileloc": "y" * 480} for number in range(SIZE // 520)]),
}


def main() -> None:
    """Print wall time and peak memory of each."""
    print(f"a command that prints {SIZE // 10**6} MB")
    for name, text in TEXTS.items():
        with stand_in.serve(text) as dms, tempfile.TemporaryDirectory() as folder:
            runner = Runner(workspace=Path(folder), temp=Path(folder))
            operation = (
                {"operation": "dags list", "arguments": "-o json"} if text.startswith("[") else {"operation": "dags show"}
            )
            cost = run(runner.command, runner.prepare({**dms.inputs, "result-file": "r.json", **operation})[0])
            print(f"  {name:42}{cost.wall:6.1f} s{cost.memory:8.0f} MB")


if __name__ == "__main__":
    main()
