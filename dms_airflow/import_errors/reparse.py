"""Who parses the instance's DAG files, asked and followed: the scheduler, or its dag-processor, from Airflow 3 on apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.airflow.deployment import Standing, judge_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dms_airflow.airflow.deployment import ErrorRow, View
    from dms_airflow.import_errors.instance import Instance


def follow(
    instance: Instance, before: View, paths: Iterable[str], must_be_parsed: Iterable[str]
) -> tuple[tuple[ErrorRow, ...], Sequence[str]]:
    """Ask for files to be parsed, and follow them until what became of each is stored, or time is up.

    An answer counts when two looks in a row give it: a zip's errors come and go.

    Args:
        instance: Where they are.
        before: What it stored until now.
        paths: Absolute paths of the instance.
        must_be_parsed: Those of which no error is news only once a DAG of theirs was parsed again; a file without a DAG
            in `before` has nothing to tell it by.

    Returns:
        The errors of those that are broken, and what is still awaited.
    """
    followed = sorted(set(paths))
    tokens = {dag.path: dag.file_token for dag in before.dags if dag.file_token}
    instance.ask_to_parse(tokens[path] for path in followed if path in tokens)
    parsed = tokens.keys() & set(must_be_parsed)
    last: dict[str, Standing] = {}

    def look() -> tuple[tuple[ErrorRow, ...], Sequence[str]]:
        now = instance.view()
        standing = {path: judge_file(path, before, now, must_be_parsed=path in parsed) for path in followed}
        awaited = [path for path in followed if standing[path] is Standing.AWAITED or standing[path] is not last.get(path)]
        last.update(standing)
        broken = [path for path in followed if standing[path] is Standing.BROKEN]
        rows = tuple(row for path in broken for row in now.list_errors(path))
        return rows, tuple(f"the scheduler's word on {path}" for path in awaited)

    return instance.poll(look)
