"""What the instance warns of in the author's files: Python's warnings, and what the scheduler stored about DAGs.

A line of a log is read here, since it is never a verdict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands import output as command_output
from dms_airflow.checkout.dag_files import might_define_dag
from dms_airflow.checkout.dag_source import Dag, list_dags
from dms_airflow.checkout.literal_ids import find_pool
from dms_airflow.checkout.source_lines import split_lines
from dms_airflow.core.findings import Finding, Rule
from dms_airflow.core.log import find_or_log
from dms_airflow.core.result import Level

if TYPE_CHECKING:
    from dms_airflow.checkout.mapping import Checkout
    from dms_airflow.operations.context import Context

# A record of Airflow 3's log, whose message may span lines:
# `2026-11-28T21:23:30.251861Z [warning  ] The attribute is deprecated. [py.warnings] category=UserWarning filename=… lineno=5`
_RECORD = re.compile(r"\d{4}-\d\d-\d\d[T ]\S+ \[(?P<level>[a-z]+) *\] (?P<message>.*)")
_END = re.compile(
    r"(?P<event>.*?) *\[py\.warnings\] category=(?P<category>\w+) filename=(?P<quote>['\"]?)(?P<filename>.+?)(?P=quote) "
    r"lineno=(?P<lineno>\d{1,9})\b.*"
)

# What Airflow 2 prints on stderr, or Python itself: `/opt/airflow/dags/etl.py:9 DeprecationWarning: …`
_PRINTED = re.compile(r"(?P<filename>/.+\.py):(?P<lineno>\d{1,9}):? (?P<category>\w*Warning): (?P<event>.*)")

LONGEST = 20  # lines of a message

# The types of `GET /dagWarnings` (airflow/models/dagwarning.py of 2.10.4 and 3.2.2)
_POOLS = "references non-existent pools: "
_POOL = re.compile(r"""(?P<quote>['"])(?P<name>.+?)(?P=quote)""")
_VARYING = re.compile(r"Line (?P<line>\d{1,9}), Col \d{1,9}\nCode: (?P<code>.*)\nIssue: (?P<issue>.*)")

_Place = tuple[str, int | None]  # a file of the checkout, and a line


def find_warnings(
    printed: Sequence[str], context: Context, checkout: Checkout, dag_files: Iterable[str], paths: Mapping[str, str]
) -> list[Finding]:
    """Find the instance's warnings about files of the checkout. They are not grouped yet.

    `printed` is what a command that imported the DAG files printed, by stream; `dag_files` are the instance's DAG files and
    `paths` those of DAGs, by id, as far as they are known.
    """
    fetch = partial(context.airflow.fetch_list, "/dagWarnings", [("order_by", "dag_id")])
    rows = find_or_log(fetch, [], "Warnings of the scheduler", context.log)
    found = [
        *find_python_warnings(parse_python_warnings(*printed), checkout, dag_files),
        *find_dag_warnings(rows, checkout, paths),
    ]
    return sorted(found, key=lambda finding: (finding.file or "", finding.line or 0, finding.message, finding.affects))


# --- Python's warnings -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PythonWarning:
    """A warning that Python printed: the instance's file and the line, the class, and the text."""

    path: str
    line: int
    category: str
    message: str


def parse_python_warnings(*outputs: str) -> tuple[PythonWarning, ...]:
    """Parse the warnings in what a command printed on stdout and stderr, each once."""
    found: list[PythonWarning] = []
    for output in outputs:
        if "py.warnings" in output:
            found += _parse_records(command_output.split_lines(output))
        if "Warning: " in output:
            found += _parse_printed(command_output.split_lines(output))
    return tuple(dict.fromkeys(found))


def _parse_records(lines: Iterable[str]) -> Iterator[PythonWarning]:
    """Parse the records of Airflow 3's log, as text or as JSON."""
    message: list[str] | None = None
    for line in lines:
        if line.startswith('{"') and '"py.warnings"' in line:
            with suppress(ValueError, RecursionError):
                yield from _make(json.loads(line))
        record = _RECORD.match(line)
        text = record["message"] if record else line
        if record:
            message = [] if record["level"] == "warning" else None
        if message is None or len(message) == LONGEST:
            continue
        if end := _END.fullmatch(text):
            yield from _make({**end.groupdict(), "event": "\n".join((*message, end["event"]))})
            message = None
        else:
            message.append(text)


def _parse_printed(lines: Iterable[str]) -> Iterator[PythonWarning]:
    """Parse the warnings that Airflow 2 prints; the lines after one belong to its message, except the indented line of code."""
    found: dict[str, Any] | None = None
    for line in lines:
        if match := _PRINTED.fullmatch(line):
            yield from _make(found or {})
            found = match.groupdict()
        elif found and line.strip() and not line.startswith(("  ", "Traceback (")) and found["event"].count("\n") < LONGEST:
            found["event"] += f"\n{line}"
        else:
            yield from _make(found or {})
            found = None
    yield from _make(found or {})


def _make(values: Mapping[str, Any]) -> Iterator[PythonWarning]:
    path, line, event = values.get("filename"), str(values.get("lineno")), values.get("event")
    if isinstance(path, str) and line.isdecimal() and isinstance(event, str):
        yield PythonWarning(path=path, line=int(line), category=str(values.get("category") or "Warning"), message=event)


def find_python_warnings(
    warnings: Iterable[PythonWarning], checkout: Checkout, dag_files: Iterable[str] = ()
) -> Iterator[Finding]:
    """Make a finding of each warning on a line of the checkout.

    `dag_files` are the instance's DAG files, if they are known: they show which folder of the checkout is deployed.
    """
    warnings = tuple(warnings)
    files = checkout.map_paths([*dag_files, *(warning.path for warning in warnings)])
    for warning in warnings:
        file = files.get(warning.path)
        if file and 0 < warning.line <= len(split_lines(checkout.read(file))):
            yield Finding(
                rule=Rule.DEPRECATION,
                level=Level.WARNING,
                title=f"Python warning: {warning.category}",
                message=warning.message,
                file=checkout.relate(file),
                line=warning.line,
            )


# --- the scheduler's -------------------------------------------------------------------------------------------------------


def find_dag_warnings(rows: Sequence[Mapping[str, Any]], checkout: Checkout, paths: Mapping[str, str]) -> Iterator[Finding]:
    """Make findings of the rows of `GET /dagWarnings` whose DAGs are defined in the checkout.

    `paths` are the instance's paths of the files of DAGs, by id, if they are known.
    """
    if not rows:
        return
    files = checkout.map_paths(paths.values())
    names = [file for file in checkout.list_files(checkout.dags_folder or "") if file.endswith(".py")]
    sources = {file: checkout.read(file) for file in names}
    dags = [(file, dag) for file, source in sources.items() if might_define_dag(source) for dag in list_dags(source)]
    for row in rows:
        dag_id, kind, message = str(row.get("dag_id")), str(row.get("warning_type")), str(row.get("message") or "")
        if place := _find_dag(dag_id, dags, files.get(paths.get(dag_id, ""))):
            for finding in _parse_row(kind, message, place, sources):
                yield replace(finding, file=checkout.relate(finding.file or ""), affects=(dag_id,))


def _find_dag(dag_id: str, dags: Sequence[tuple[str, Dag]], known: str | None) -> _Place | None:
    """Find the definition of a DAG; None where the checkout has none, or several files have one. `known` is its file."""
    exact = [(file, dag.line) for file, dag in dags if dag.dag_id == dag_id]
    alike = [(file, dag.line) for file, dag in dags if dag.pattern and re.fullmatch(dag.pattern, dag_id)]
    places = [place for place in exact or alike if known in (None, place[0])]
    if known and not places:
        return known, None
    return places[0] if len({file for file, _ in places}) == 1 else None


def _parse_row(kind: str, message: str, place: _Place, sources: Mapping[str, bytes]) -> Iterator[Finding]:
    (file, line), level = place, Level.WARNING
    if kind == "non-existent pool":
        for pool in (match["name"] for match in _POOL.finditer(message.partition(_POOLS)[2])):
            text = f"The instance has no pool {pool}: tasks that use it never start. Create it in Airflow, or correct the name."
            file, line = _find_pool(pool, place, sources)
            yield Finding(rule=Rule.MISSING_POOL, level=level, title="Pool missing", message=text, file=file, line=line)
    elif kind == "runtime varying value":
        rule = Rule.RUNTIME_VARYING_VALUE
        for match in _VARYING.finditer(message):
            text, line = f"{match['issue']}\nCode: {match['code']}", int(match["line"])
            line = line if line <= len(split_lines(sources.get(file, b""))) else None
            yield Finding(rule=rule, level=level, title="Value changes with every parse", message=text, file=file, line=line)
    elif kind == "asset conflict":
        yield Finding(rule=Rule.ASSET_CONFLICT, level=level, title="Assets in conflict", message=message, file=file, line=line)


def _find_pool(pool: str, dag: _Place, sources: Mapping[str, bytes]) -> _Place:
    """Find the line with a pool's name: in the DAG's file, else in the only other file with it, else the DAG's line."""
    places = [(file, line) for file, source in sources.items() if (line := find_pool(source, pool))]
    own = [place for place in places if place[0] == dag[0]]
    return own[0] if own else places[0] if len(places) == 1 else dag
