"""5,000 import errors with whole tracebacks, some 20 MB, of a checkout of 50,000 files.

Floor: `json.loads` of the command's answer plus reading the files that the errors name; for the mapping alone, one `os.walk` of
the checkout.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.measure import Cost, compare, run
from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.airflow.commands.verdict import judge
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.import_errors.parse import locate, read_dag_files, read_list

ERRORS = 5_000
FILES = 50_000
ROUNDS = 3
LINE = 3  # of each file, to be mended
INSTANCE = "/opt/airflow/dags"

ARGUMENTS = ("-o", "json", "-v")


def name_file(number: int) -> str:
    """Name a DAG file below the DAG folder."""
    return f"team_{number % 40:02}/area_{number % 1000:03}/dag_{number:05}.py"


def write_source(number: int) -> str:
    """Write a DAG file with a wrong import."""
    return f"import os\n\nimport missing_{number}\n" + "# a line of the file\n" * 40


def write_traceback(number: int) -> str:
    """Write the traceback of one error: Airflow's frames, importlib's, the file's own, and a long message."""
    library = "/usr/local/lib/python3.12"
    frames = [
        f'  File "{library}/site-packages/airflow/models/dagbag.py", line 387, in parse\n    loader.exec_module(new_module)',
        *(
            f'  File "{library}/importlib/frame_{one}.py", line {one + 10}, in call_{one}\n    return call(one, two, three)'
            for one in range(26)
        ),
        f'  File "{INSTANCE}/{name_file(number)}", line 3, in <module>\n    import missing_{number}',
    ]
    return "\n".join(
        ["Traceback (most recent call last):", *frames, f"ModuleNotFoundError: No module named 'missing_{number}'"]
    )


def write_stdout() -> str:
    """Write what `dags list-import-errors -o json -v` prints."""
    log, rows = [], []
    for number in range(ERRORS):
        path, trace = f"{INSTANCE}/{name_file(number)}", write_traceback(number)
        stamp = "[2026-11-22T09:52:24.407+0000]"
        log.append(f"{stamp} {{dagbag.py:345}} DEBUG - Importing {path}")
        log.append(f"{stamp} {{dagbag.py:387}} ERROR - Failed to import: {path}\n{trace}")
        head, *lines = trace.split("\n")
        rows.append({"filepath": path, "error": "\n".join([head, *lines[-5:]])})
    return "\n".join(log) + "\n" + json.dumps(rows) + "\n"


def make_checkout(root: Path) -> None:
    """Make the checkout: the DAG files among ten times as many others."""
    for number in range(FILES):
        inside = f"dags/{name_file(number)}" if number < ERRORS else f"src/part_{number % 500:03}/module_{number:05}.py"
        file = root / inside
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(write_source(number), encoding="utf-8")


def read_answer(stdout: Path, root: Path) -> None:
    """Do what the action does of its own between the command's answer and the report."""
    text = json.loads(stdout.read_bytes())["stdout"]
    outcome = judge(COMMANDS["dags list-import-errors"], ARGUMENTS, text, "")
    errors = locate(read_list(outcome.records or (), text), Checkout(root), read_dag_files(text))
    assert len(errors) == ERRORS
    assert all(error.file and error.line == LINE for error in errors)


def read_floor(stdout: Path, root: Path) -> None:
    """Do the least: parse the answer, read the files that it names."""
    text = json.loads(stdout.read_bytes())["stdout"]
    assert text
    for number in range(ERRORS):
        (root / "dags" / name_file(number)).read_bytes()


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        root, answer = Path(folder, "checkout"), Path(folder, "answer.json")
        make_checkout(root)
        answer.write_text(json.dumps({"stdout": write_stdout(), "stderr": ""}), encoding="utf-8")
        print(f"answer: {answer.stat().st_size / 1e6:.1f} MB")

        def start(which: str) -> Cost:
            command = [sys.executable, "-m", "benchmarks.import_errors", which, str(answer), str(root)]
            return run(command, {**os.environ, "PYTHONPATH": str(Path.cwd())})

        compare("5,000 errors, a process each", lambda: start("read"), lambda: start("floor"), ROUNDS, "3x")
        compare_mapping(root)


def compare_mapping(root: Path) -> None:
    """Print the ratio of the mapping to one walk."""
    paths = [f"{INSTANCE}/{name_file(number)}" for number in range(ERRORS)]
    ratios = []
    for _ in range(6):
        began = time.process_time()
        mapped = Checkout(root).map_paths(paths)
        between = time.process_time()
        walked = sum(len(files) for _, _, files in os.walk(root))
        ended = time.process_time()
        assert len(mapped) == ERRORS
        assert walked == FILES
        ratios.append(((between - began), (ended - between)))
    ours, walk = (median(column) for column in zip(*ratios[1:], strict=True))
    print(f"mapping: {ours:.3f} s, one os.walk: {walk:.3f} s, {ours / walk:.2f}x (CPU; goal 2x)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"read": read_answer, "floor": read_floor}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
