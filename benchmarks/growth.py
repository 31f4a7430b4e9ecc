"""How CPU time grows with what strangers wrote: each reader of remote text, on texts made to be slow, at n, 2n and 4n.

Goal: four times the text takes about four times as long. What grows with the square takes sixteen times as long.
"""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dms_airflow.airflow import task_logs as task_log
from dms_airflow.airflow.commands import output as console
from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.airflow.commands.verdict import judge
from dms_airflow.ci.report import fit_annotations
from dms_airflow.ci.summary import render_summary
from dms_airflow.config import Config
from dms_airflow.core import tracebacks
from dms_airflow.core.result import Annotation, Ending, Folded, Level, Result, Table
from dms_airflow.core.secrets.redaction import Redactor, disarm, show
from dms_airflow.core.secrets.values import mask_passwords, mask_secrets
from dms_airflow.core.text import cut_middle
from dms_airflow.import_errors import parse as import_errors

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 60_000  # characters, the smallest of three
WORST = 7.0  # times as long for four times as much
SHORTEST = 0.05  # seconds: what ends sooner says nothing

CONFIG = Config(operation="rest", instance_id="af-1", region="r")

# Long runs of what the patterns look for, without what would end it.
UNITS = (
    *("a", " ", "\t", "\n", "\r", "\r\n", "0", "\\", "\\\\u", "%25", "%0a", "&amp;", "::", ":", "`", "[", "[{", "{"),
    *("]", '"', "'", "(", "- ", "|", "+=", "=", "\x1b", "\x1b[", "\x1b]", "\u200b", "…", "[…", "#", "##[", "/"),
    *("://", "://a:", "@", "password=", "-1", "\\u000a", "\\\n", "\\n ", "41 ", "0x", "File ", '  File "'),
    *("Traceback (most recent call last):\n", "Error: ", "a.", "a: ", "airflow a "),
    *("During handling of the above exception, another exception occurred:\n", "x.py:1: Warning: \n", "[2026-01-01T"),
    *("2026-01-01 00:00:00 [info] ", " | ", "  | ", "  +-+---------------- 1 ----------------\n", "x=", "é"),
    *("\N{GRINNING FACE}", "LTAI5", "LTAI5tBenchmark…", "4c5441", "TFRBS", "ä\n", "[… 1 bytes left out …]\n", "\n "),
    *("\n\t\n", "^", "~", " ^"),
)


HEADER = "Traceback (most recent call last):\n"
FRAME = f'{HEADER}  File "/opt/airflow/dags/a.py", line 1, in f\n    call()\nValueError: '
FAILED = "[2026-11-22T09:44:17.719+0000] {taskinstance.py:3311} ERROR - Task failed with exception\n"
FAILED_IMPORT = "[2026-11-22T09:44:17.719+0000] {dagbag.py:387} ERROR - Failed to import: /opt/airflow/dags/a.py\n"

# Numbers of things, the smallest of three.
FEW = 1250


def name_page(file: str | None, line: int | None) -> str:
    """Name a page, as long as the names of GitHub are."""
    return f"https://github.com/octo-org/dags/blob/{'0' * 40}/{file}#L{line}"


def find_lists() -> dict[str, Callable[[int], object]]:
    """Name what reads as many things as it is told."""

    def render(number: int) -> str:
        rows = tuple((f"dag_{each}", "*failed*", FRAME) for each in range(number))
        annotations = tuple(Annotation(level=Level.ERROR, title=f"DAG {each}", message=FRAME) for each in range(number))
        table = Table(heading="t", columns=("a", "b", "c"), rows=rows)
        result = Result(ending=Ending.FAILURE, headline="h", blocks=(table,), annotations=fit_annotations(annotations))
        return render_summary(result, CONFIG, str, name_page)

    def read_errors(number: int) -> object:
        rows = [{"filepath": f"/opt/airflow/dags/f{each}.py", "error": f"{FRAME}{each}"} for each in range(number)]
        printed = "".join(FAILED_IMPORT.replace("a.py", f"f{each}.py") + FRAME + "\n" for each in range(number))
        return import_errors.read_list(rows, printed)

    def redact_matrix(number: int) -> object:
        secret = json.dumps([[each, each] for each in range(number)])
        redactor = Redactor()
        redactor.add(secret)
        return redactor.redact("".join(f"{text}\n" for text in (secret, json.dumps(secret), quote(secret), FRAME * number)))

    return {
        "import errors": read_errors,
        "secret of numbers": redact_matrix,
        "summary": render,
    }


def find_readers() -> dict[str, Callable[[str], object]]:
    """Name what reads remote text."""
    redactor = Redactor()
    redactor.add("LTAI5tBenchmarkKey01")
    redactor.add("ab/+c \\ d%25'&\n2nd line")
    redactor.add("xyz")

    def render(text: str) -> str:
        table = Table(heading="t", columns=("a",), rows=((text,),))
        result = Result(ending=Ending.FAILURE, headline=text, blocks=(Folded(heading="f", text=text), table))
        return render_summary(result, CONFIG, redactor.redact, name_page)

    readers: dict[str, Callable[[str], object]] = {
        "redact": redactor.redact,
        "mask_secrets": mask_secrets,
        "mask_passwords": mask_passwords,
        "show": lambda text: [disarm(line) for line in show(text).split("\n")],
        "cut_middle": partial(cut_middle, limit=1000),
        "summary": render,
        "split_lines": console.split_lines,
        "task log": task_log.parse_log,
        "traceback": lambda text: tracebacks.parse(HEADER + text),
        "frame": lambda text: tracebacks.parse(FRAME + text),
        "failed task": lambda text: task_log.parse_log(FAILED + FRAME + text),
        "import error": lambda text: import_errors.read_error("/opt/airflow/dags/a.py", FRAME + text),
        "import errors": lambda text: import_errors.read_list([], FAILED_IMPORT + FRAME + text),
        "import log": import_errors.read_dag_files,
    }
    for name, options in (("dags show", []), ("dags list", []), ("dags list", ["-o", "json"]), ("dags list", ["-o", "yaml"])):
        for place in ("stdout", "stderr"):
            readers[f"{name} {' '.join(options)} {place}"] = partial(_judge, name, options, place)
    for name in ("tasks test", "dags test", "dags backfill", "dags list-import-errors", "dags trigger", "dags reserialize"):
        readers[f"{name} both"] = partial(_judge, name, [], "both")
    return readers


def _judge(name: str, options: list[str], place: str, text: str) -> object:
    return judge(COMMANDS[name], options, text if place != "stderr" else "", text if place != "stdout" else "")


def measure(reader: Callable[[Any], object], given: str | int) -> float:
    """Give the CPU seconds of one reading."""
    began = time.process_time()
    reader(given)
    return time.process_time() - began


def main() -> None:
    """Print what grows faster than it should, and the slowest text of each reader."""
    print(f"CPU s of {FEW:,}, {2 * FEW:,} and {4 * FEW:,} things (DAGs: twice, rows: ten times as many)")
    for name, lister in find_lists().items():
        print(f"  {name:54}" + "".join(f"{measure(lister, number):8.3f}" for number in (FEW, 2 * FEW, 4 * FEW)), flush=True)
    print(f"CPU s of {SIZE:,}, {2 * SIZE:,} and {4 * SIZE:,} characters (slowest text; then all that grow over {WORST:g}x)")
    for name, reader in find_readers().items():
        slowest: tuple[float, str] = (0.0, "")
        for unit in UNITS:
            seconds = [measure(reader, (unit * (size // len(unit) + 1))[:size]) for size in (SIZE, 2 * SIZE, 4 * SIZE)]
            written = f"{name:28}{re.sub(r'[^ -~]', '?', repr(unit)[:24]):26}" + "".join(f"{each:8.3f}" for each in seconds)
            slowest = max(slowest, (seconds[-1], written))
            if seconds[-1] > SHORTEST and seconds[-1] > WORST * max(seconds[0], SHORTEST / 4):
                print(f"! {written}", flush=True)
        print(f"  {slowest[1]}", flush=True)


if __name__ == "__main__":
    main()
