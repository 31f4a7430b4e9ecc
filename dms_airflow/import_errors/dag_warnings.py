"""Warnings that the scheduler stored about DAGs, as `GET /dagWarnings` returns them. Pure."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dms_airflow.checkout.dag_files import might_define_dag
from dms_airflow.checkout.dag_source import list_dags
from dms_airflow.checkout.literal_ids import find_pool
from dms_airflow.checkout.source_lines import split_lines
from dms_airflow.core.findings import Finding, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dms_airflow.checkout.mapping import Checkout

# The types of `GET /dagWarnings` (airflow/models/dagwarning.py of 2.10.4 and 3.2.2)
_POOLS = re.compile(r"references non-existent pools: (?P<pools>\[.*\])")
_VARYING = re.compile(r"Line (?P<line>\d{1,9}), Col (?P<column>\d{1,9})\nCode: (?P<code>.*)\nIssue: (?P<issue>.*)")

_Place = tuple[str, int | None]  # a file of the checkout, and a line


def find_dag_warnings(rows: Iterable[Mapping[str, Any]], checkout: Checkout, paths: Mapping[str, str]) -> Iterator[Finding]:
    """Make findings of the rows of `GET /dagWarnings` whose DAGs are defined in the checkout.

    Args:
        rows: Of all pages.
        checkout: The author's files.
        paths: The instance's paths of the files of DAGs, by id, if they are known.
    """
    places: _Places | None = None
    for row in rows:
        places = places or _Places(checkout, paths)
        dag_id, kind, message = str(row.get("dag_id")), str(row.get("warning_type")), str(row.get("message") or "")
        if place := places.find_dag(dag_id):
            for finding in _read_row(kind, message, place, places):
                yield replace(finding, file=checkout.relate(finding.file or ""), affects=(dag_id,))


def _read_row(kind: str, message: str, place: _Place, places: _Places) -> Iterator[Finding]:
    if kind == "non-existent pool":
        for pool in _list_pools(message):
            text = f"The instance has no pool {pool}: tasks that use it never start. Create it in Airflow, or correct the name."
            yield _warn(Rule.MISSING_POOL, "Pool missing", text, places.find_pool(pool, place))
    elif kind == "runtime varying value":
        for match in _VARYING.finditer(message):
            line, column = int(match["line"]), int(match["column"])
            is_there = places.has_line(place[0], line)
            text = f"{match['issue']}\nCode: {match['code']}"
            finding = _warn(Rule.RUNTIME_VARYING_VALUE, "Value changes with every parse", text, (place[0], None))
            yield replace(finding, line=line, column=column) if is_there else finding
    elif kind == "asset conflict":
        yield _warn(Rule.ASSET_CONFLICT, "Assets in conflict", message, place)


def _warn(rule: Rule, title: str, message: str, place: _Place) -> Finding:
    return Finding(rule=rule, level=rule.level, title=title, message=message, file=place[0], line=place[1])


def _list_pools(message: str) -> list[str]:
    match = _POOLS.search(message)
    try:
        pools = ast.literal_eval(match["pools"]) if match else []
    except (ValueError, SyntaxError):
        return []
    return [str(pool) for pool in pools]


class _Places:
    """Finds DAGs and pools in the DAG files of a checkout.

    Args:
        checkout: The checkout.
        paths: The instance's paths of the files of DAGs, by id, if they are known.
    """

    def __init__(self, checkout: Checkout, paths: Mapping[str, str]) -> None:
        files = checkout.map_paths(paths.values())
        self._known = {dag_id: files[path] for dag_id, path in paths.items() if path in files}
        names = [file for file in checkout.list_files(checkout.dags_folder or "") if file.endswith(".py")]
        self._sources = {file: checkout.read(file) for file in names}
        self._dags = [
            (file, dag) for file, source in self._sources.items() if might_define_dag(source) for dag in list_dags(source)
        ]

    def find_dag(self, dag_id: str) -> _Place | None:
        """Find the definition of a DAG; None where the checkout has none, or several files have one."""
        known = self._known.get(dag_id)
        exact = [(file, dag.line) for file, dag in self._dags if dag.dag_id == dag_id]
        alike = [(file, dag.line) for file, dag in self._dags if dag.pattern and re.fullmatch(dag.pattern, dag_id)]
        places = [place for place in exact or alike if known in (None, place[0])]
        if known and not places:
            return known, None
        return places[0] if len({file for file, _ in places}) == 1 else None

    def find_pool(self, pool: str, dag: _Place) -> _Place:
        """Find the line with a pool's name: in the DAG's file, else in the only other file with it, else the DAG's line."""
        if line := find_pool(self._sources.get(dag[0], b""), pool):
            return dag[0], line
        others = [(file, line) for file, source in self._sources.items() if (line := find_pool(source, pool))]
        return others[0] if len(others) == 1 else dag

    def has_line(self, file: str, line: int) -> bool:
        """Whether a file has so many lines."""
        return line <= len(split_lines(self._sources.get(file, b"")))
