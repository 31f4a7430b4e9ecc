"""What a deploy changed of the DAGs: which are new, removed or renamed, and what of their schedule, tasks and edges. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from dms_airflow.airflow.responses import parse_date
from dms_airflow.core.result import Diagram, Table
from dms_airflow.core.text import count, join

MOST_DETAILS = 10  # of a DAG, in the log and the summary; the output has all
MOST_DIAGRAMS = 5
MOST_TASKS = 30  # of a diagram

STARTS_RUNS = "catchup is on and the start date is in the past: Airflow starts runs"


@dataclass(frozen=True, kw_only=True)
class DagShape:
    """What is compared of a DAG, as a person reads it: facts by name, and the facts of each task; edges are pairs of task ids.

    `catches_up_from` is where Airflow starts runs from, None where it catches up with nothing. `loaded` is when Airflow's web
    server loaded the DAG.
    """

    facts: Mapping[str, str]
    tags: tuple[str, ...]
    tasks: Mapping[str, Mapping[str, str]]
    edges: frozenset[tuple[str, str]]
    catches_up_from: datetime | None
    loaded: datetime | None

    def starts_runs(self, now: datetime | None) -> bool:
        """Whether Airflow starts runs of the past."""
        return self.catches_up_from is not None and now is not None and self.catches_up_from < now


class Kind(StrEnum):
    """What became of a DAG, as the output `dag-changes` has it."""

    REMOVED = "removed"
    RENAMED = "renamed"
    ADDED = "added"
    CHANGED = "changed"
    UNKNOWN = "not known"


@dataclass(frozen=True, kw_only=True)
class DagChange:
    """What became of a DAG: `details` are changes, each in a few words; `before` and `after` as far as they are known."""

    dag_id: str
    kind: Kind
    details: tuple[str, ...] = ()
    before: DagShape | None = None
    after: DagShape | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the output `dag-changes` lists it."""
        return {"dag_id": self.dag_id, "change": str(self.kind), "details": list(self.details)}


def parse_shape(details: Mapping[str, Any], tasks: Mapping[str, Any]) -> DagShape:
    """Parse what `GET /dags/{id}/details` and `GET /dags/{id}/tasks` give."""
    rows = [row for row in tasks.get("tasks") or () if isinstance(row, dict)]
    starts = [date for date in (parse_date(row.get("start_date")) for row in rows) if date]
    assets = details.get("asset_expression") or details.get("dataset_expression")
    # Airflow 3 has a text; Airflow 2 an object: a cron expression, or a span as Python's timedelta or dateutil's relativedelta.
    interval = details.get("timetable_summary") or details.get("schedule_interval")
    schedule = _render_interval(interval) if isinstance(interval, dict) else str(interval or "none")
    is_timed = schedule not in ("none", "@once", "@continuous", "Dataset", "Asset")
    schedule += f" ({_render_assets(assets)})" if assets else ""
    start = parse_date(details.get("start_date")) or min(starts, default=None)
    catchup, is_paused = details.get("catchup") is True, details.get("is_paused") is True
    return DagShape(
        facts={
            "schedule": schedule,  # without its time zone: Airflow 2 and 3 give the default one of the instance as `timezone`
            "catchup": "on" if catchup else "off",
            "start date": f"{start:%Y-%m-%d %H:%M}" if start else "none",
            "paused": "yes" if is_paused else "no",
            "owner": ", ".join(sorted({str(row.get("owner")) for row in rows})) or "none",
        },
        tags=tuple(sorted(str(tag.get("name")) for tag in details.get("tags") or () if isinstance(tag, dict))),
        tasks={str(row.get("task_id")): _parse_task(row) for row in rows},
        edges=frozenset(
            (str(row.get("task_id")), str(below)) for row in rows for below in row.get("downstream_task_ids") or ()
        ),
        catches_up_from=start if catchup and is_timed and not is_paused else None,
        loaded=parse_date(details.get("last_parsed")),
    )


def _parse_task(row: Mapping[str, Any]) -> dict[str, str]:
    facts = {"operator": row.get("operator_name"), "mapped": "yes" if row.get("is_mapped") else "no", "pool": row.get("pool")}
    return {**{name: str(fact) for name, fact in facts.items()}, "retries": f"{float(row.get('retries') or 0):g}"}


def _render_interval(interval: Mapping[str, Any]) -> str:
    span = {unit: value for unit, value in interval.items() if value and unit != "__type"}
    if interval.get("__type") == "TimeDelta":
        return str(timedelta(**span))  # as Airflow 3 writes it
    return str(interval["value"] or "none") if "value" in interval else ", ".join(f"{span[unit]} {unit}" for unit in span)


def _render_assets(expression: object) -> str:
    """Write a condition of assets: `all(a, any(b, c))`, where Airflow 2 has URIs and Airflow 3 objects."""
    if isinstance(expression, list):
        return ", ".join(map(_render_assets, expression))
    if isinstance(expression, dict):
        if name := expression.get("uri") or expression.get("name"):
            return str(name)
        parts = [(key, _render_assets(value)) for key, value in expression.items()]
        return ", ".join(f"{key}({text})" if key in ("all", "any") else text for key, text in parts)
    return str(expression)


def compare_dags(
    before: Mapping[str, DagShape | None],
    after: Mapping[str, DagShape | None],
    *,
    unknown: Collection[str],
    now: datetime | None,
) -> tuple[DagChange, ...]:
    """List what changed of the DAGs that may have, by id: removed ones and schedules first. None is what could not be read.

    Those in `unknown` may have changed before anything was read. `now` is the server's time.
    """
    removed, added = before.keys() - after.keys(), after.keys() - before.keys()
    renamed = _find_renamed({one: before[one] for one in removed}, {one: after[one] for one in added})
    changes = [DagChange(dag_id=one, kind=Kind.UNKNOWN) for one in set(unknown) - before.keys() - after.keys()]
    changes += [DagChange(dag_id=one, kind=Kind.REMOVED, before=before[one]) for one in removed - renamed.keys()]
    for one in added - set(renamed.values()):
        details = tuple(_describe(after[one], now))
        changes.append(DagChange(dag_id=one, kind=Kind.ADDED, details=details, after=after[one]))
    for old_id, new_id in {**renamed, **{one: one for one in before.keys() & after.keys()}}.items():
        old, new = before[old_id], after[new_id]
        if old is None or new is None:
            changes.append(DagChange(dag_id=new_id, kind=Kind.UNKNOWN))
            continue
        kind = Kind.RENAMED if old_id in renamed else Kind.CHANGED
        details = (*([f"was {old_id}"] if old_id in renamed else ()), *_list_differences(old, new, now))
        if details:
            changes.append(DagChange(dag_id=new_id, kind=kind, details=details, before=old, after=new))
    return tuple(sorted(changes, key=_rank))


def _rank(change: DagChange) -> tuple[bool, int, str]:
    has_schedule = any(detail.startswith("schedule ") for detail in change.details) and change.kind is not Kind.ADDED
    return not (change.kind is Kind.REMOVED or has_schedule), list(Kind).index(change.kind), change.dag_id


def _find_renamed(removed: Mapping[str, DagShape | None], added: Mapping[str, DagShape | None]) -> dict[str, str]:
    """Find the DAGs that have the same tasks and edges under another id, if there is but one such pair."""

    def group(shapes: Mapping[str, DagShape | None]) -> dict[Any, list[str]]:
        same: defaultdict[Any, list[str]] = defaultdict(list)
        for dag_id, shape in shapes.items():
            if shape and shape.tasks:
                same[frozenset((one, task["operator"]) for one, task in shape.tasks.items()), shape.edges].append(dag_id)
        return same

    old, new = group(removed), group(added)
    return {old[key][0]: new[key][0] for key in old.keys() & new.keys() if len(old[key]) == len(new[key]) == 1}


def _describe(shape: DagShape | None, now: datetime | None) -> Iterator[str]:
    if shape:
        yield f"schedule {shape.facts['schedule']}"
        yield count(len(shape.tasks), "task")
        yield from ["paused"] if shape.facts["paused"] == "yes" else []
        yield from [STARTS_RUNS] if shape.starts_runs(now) else []


def _list_differences(old: DagShape, new: DagShape, now: datetime | None) -> Iterator[str]:
    changed = [name for name in new.facts if old.facts[name] != new.facts[name]]
    yield from (f"{name} {old.facts[name]} → {new.facts[name]}" for name in changed)
    if new.starts_runs(now) and set(changed) - {"owner"}:
        yield STARTS_RUNS
    yield from _list_set_changes("tag", old.tags, new.tags)
    yield from _list_set_changes("task", sorted(old.tasks), sorted(new.tasks))
    alike: defaultdict[str, list[str]] = defaultdict(list)  # one line for all tasks that changed alike
    for task_id in sorted(old.tasks.keys() & new.tasks.keys()):
        for name, value in new.tasks[task_id].items():
            if old.tasks[task_id][name] != value:
                alike[f"{name} {old.tasks[task_id][name]} → {value}"].append(task_id)
    yield from (f"{'task' if len(tasks) == 1 else 'tasks'} {join(tasks)}: {what}" for what, tasks in alike.items())
    edges = [sorted(f"{above} → {below}" for above, below in shape.edges) for shape in (old, new)]
    yield from _list_set_changes("edge", *edges)


def _list_set_changes(thing: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    yield from (f"{thing} {one} added" for one in new if one not in old)
    yield from (f"{thing} {one} removed" for one in old if one not in new)


def sum_up(changes: Iterable[DagChange]) -> str:
    """Count the changes of each kind."""
    kinds = Counter(change.kind for change in changes)
    return ", ".join(f"{kinds[kind]} {kind}" for kind in Kind if kinds[kind]) or "none"


def list_lines(changes: Sequence[DagChange]) -> list[str]:
    """List the changes for the log, one line a DAG; those that are not known together."""
    lines = [f"  {change.dag_id}: {_render(change)}" for change in changes if change.kind is not Kind.UNKNOWN]
    if unknown := [change.dag_id for change in changes if change.kind is Kind.UNKNOWN]:
        lines.append(f"  Not known, since one of their versions could not be read: {join(unknown)}")
    return lines


def _render(change: DagChange) -> str:
    return f"{change.kind}: {join(change.details, MOST_DETAILS)}" if change.details else str(change.kind)


def list_blocks(changes: Sequence[DagChange], redact: Callable[[str], str]) -> Iterator[Table | Diagram]:
    """List the blocks of the job summary: a table, and graphs of small DAGs whose tasks changed, without secrets."""
    if changes:
        rows = tuple((one.dag_id, _render(one)) for one in changes)
        yield Table(heading=f"DAG changes: {sum_up(changes)}", columns=("DAG", "change"), rows=rows)
    graphs = ((one, _draw(one.before, one.after, redact)) for one in changes if one.before and one.after)
    for change, source in [(one, source) for one, source in graphs if source][:MOST_DIAGRAMS]:
        legend = "A thick edge is new, a dotted one is removed"
        yield Diagram(heading=f"Tasks of {change.dag_id}", source=source, legend=legend)


def _draw(old: DagShape, new: DagShape, redact: Callable[[str], str]) -> str:
    """Draw the graph of a DAG before and after in one, as Mermaid source; empty where it is the same, or too big."""
    tasks = sorted(old.tasks.keys() | new.tasks.keys())
    if len(tasks) > MOST_TASKS or (old.tasks, old.edges) == (new.tasks, new.edges):
        return ""
    names = {task_id: f"t{number}" for number, task_id in enumerate(tasks)}
    lines = ["flowchart LR"]
    for task_id, name in names.items():
        one, other = old.tasks.get(task_id), new.tasks.get(task_id)
        style = "" if one == other else "new" if one is None else "removed" if other is None else "changed"
        # What Airflow lets a task id hold. Anything else could mean something to Mermaid, as "- " at the start does: a list.
        label = re.sub(r"[^\w.\-]", "·", redact(task_id))
        lines.append(f'{name}["{label} ({style})"]:::{style}' if style else f'{name}["{label}"]')
    for edge in sorted(old.edges | new.edges):
        arrow = "==>" if edge not in old.edges else "-.->" if edge not in new.edges else "-->"
        lines += [f"{names[edge[0]]} {arrow} {names[edge[1]]}"] if names.keys() >= set(edge) else []
    fills = {"new": "#238636", "removed": "#da3633", "changed": "#9e6a03"}
    return "\n".join([*lines, *(f"classDef {style} fill:{fill},color:#ffffff" for style, fill in fills.items())]) + "\n"
