"""The Gantt diagram of a DAG run, as Mermaid source. Pure.

Only what Mermaid 9 to 12 all know is used: https://mermaid.js.org/syntax/gantt.html
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from dms_airflow.airflow.dag_runs import SUCCESS
from dms_airflow.airflow.task_instances import FAILED, RUNNING, UPSTREAM_FAILED
from dms_airflow.core.text import format_elapsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dms_airflow.airflow.task_instances import TaskInstance

# Commas only: the summary shows other punctuation as code.
LEGEND = (
    "✓ green is success, ✗ red is failed, ▶ blue is running, ○ blue is anything else, ◆ marks the critical path, "
    "on which each task waited for the one before, a bar is the last try"
)

MOST_ROWS = 60
# More instances of one mapped task than this share a row.
MOST_MAPPED = 8
# Width of a bar's text, in Latin characters. A longer one would fit neither inside its bar nor next to it, on a page of 900
# pixels.
LONGEST_LABEL = 48

# Mermaid knows "done", "active", and bars without a kind; "crit" gives an edge to any, and a fill of its own to the last. No
# theme is named and no colour of text, since GitHub's theme is light for some readers and dark for others; black and white can
# both be read on these fills. Failed ones are not "active": the dark theme of Mermaid 11.13 and later writes the name beside a
# short "active" bar in black.
_SETTINGS = (
    "%%{init: {'themeVariables': {"
    "'taskBkgColor': '#da3633', 'taskBorderColor': '#da3633', "
    "'doneTaskBkgColor': '#238636', 'doneTaskBorderColor': '#238636', "
    "'activeTaskBkgColor': '#1f6feb', 'activeTaskBorderColor': '#1f6feb', "
    "'critBkgColor': '#da3633', 'critBorderColor': '#e3b341'"
    "}, 'gantt': {'leftPadding': 48}}}%%"
)
_KINDS = {FAILED: ("✗", ""), RUNNING: ("▶", "active"), SUCCESS: ("✓", "done")}
_OTHER_KIND = ("○", "active")
_CRITICAL = "◆"

# The characters that Airflow allows in a task id, and the brackets of a map index. Others could have a meaning in Mermaid.
_STRANGE = re.compile(r"[^\w.\-\[\]]")

# Bars are given as time since the first start, on a day without a change to or from summer time: Mermaid reads and shows
# moments in the reader's own time zone.
_ZERO = datetime(2000, 1, 1, tzinfo=UTC)
_AXES = (
    (timedelta(seconds=10), "%-S.%L", "Seconds"),
    (timedelta(hours=1), "%-M:%S", "Minutes and seconds"),
    (timedelta(days=1), "%-H:%M", "Hours and minutes"),
    (timedelta.max, "day %-j %-Hh", "Days and hours"),
)
# A bar gets at least this part of the diagram's width, else it could not be seen.
_NARROWEST = 1 / 300
# A diagram without any width would show no bar.
_SHORTEST = timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One bar: a task instance, or all instances of a mapped task.

    Args:
        name: Harmless to Mermaid.
        task_id: Its task.
        states: How many task instances are in which state.
        start: The first start.
        end: The last end.
    """

    name: str
    task_id: str
    states: Counter[str]
    start: datetime
    end: datetime

    @property
    def state(self) -> str:
        """The state that matters most."""
        others = (state for state in self.states if state != SUCCESS)
        return next((state for state in (FAILED, RUNNING) if self.states[state]), next(others, SUCCESS))


def render_gantt(instances: Sequence[TaskInstance], upstream: Mapping[str, frozenset[str]], now: datetime) -> str:
    """Draw when the task instances of a DAG run ran.

    Many instances of a mapped task share a bar. Of more than `MOST_ROWS` bars those that matter most are drawn.

    Args:
        instances: All that the run has.
        upstream: Which tasks each task waits for. Without it no critical path is claimed.
        now: Where the bars of running ones end.

    Returns:
        Mermaid source without a fence; empty when nothing has run. In a line that draws a bar, what a DAG's author chose is
        before the first `` :``. At most 10,000 characters; Mermaid takes 50,000.
    """
    all_rows = _draw_rows([one for one in instances if _has_run(one)], now)
    if not all_rows:
        return ""
    path = _find_critical_path(all_rows, upstream)
    rows = _choose_rows(all_rows, path)
    left_out = f", {len(all_rows) - len(rows)} bars left out" if len(rows) < len(all_rows) else ""
    zero = min(row.start for row in rows)
    width = max(row.end for row in rows) - zero
    axis, unit = next((axis, unit) for limit, axis, unit in _AXES if width < limit)
    lines = [
        _SETTINGS,
        "gantt",
        f"title {unit} since {zero.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{left_out}",
        "dateFormat YYYY-MM-DDTHH:mm:ss.SSS",
        f"axisFormat {axis}",
        "todayMarker off",
        *(_write_bar(row, zero=zero, width=width, critical=_is_critical(row, path)) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _has_run(instance: TaskInstance) -> bool:
    # Airflow sets the end and the start to the same moment for a task that it skips or fails without running it.
    skipped = instance.state == "skipped" and instance.start_date == instance.end_date
    return instance.start_date is not None and instance.state != UPSTREAM_FAILED and not skipped


def _draw(instance: TaskInstance, now: datetime) -> _Row:
    start = instance.start_date or now
    end = instance.end_date if instance.end_date and instance.state != RUNNING else start if instance.is_finished else now
    return _Row(
        name=_disarm(instance.name),
        task_id=instance.task_id,
        states=Counter([_disarm(str(instance.state))]),
        start=start,
        end=max(start, end),
    )


def _disarm(name: str) -> str:
    return _STRANGE.sub("·", name)


# --- critical path --------------------------------------------------------------------------------------------------------


def _find_critical_path(rows: Iterable[_Row], upstream: Mapping[str, frozenset[str]]) -> dict[str, datetime]:
    """Go back from the task that ended last, always to that task upstream which ended last.

    Returns:
        The end of each task on the path.
    """
    starts: dict[str, datetime] = {}
    ends: dict[str, datetime] = {}
    for row in rows:
        starts[row.task_id] = min(starts.get(row.task_id, row.start), row.start)
        ends[row.task_id] = max(ends.get(row.task_id, row.end), row.end)
    path: dict[str, datetime] = {}
    current = max(ends, key=lambda one: ends[one]) if upstream else None
    while current is not None:
        path[current] = ends[current]
        start = starts[current]
        above = [one for one in _find_upstream(current, upstream, ends.keys()) if one not in path and starts[one] <= start]
        # With some trigger rules a task starts while another one upstream still runs.
        waited_for = [one for one in above if ends[one] <= start] or above
        current = max(waited_for, key=lambda one: ends[one], default=None)
    return path


def _find_upstream(task_id: str, upstream: Mapping[str, frozenset[str]], known: Iterable[str]) -> list[str]:
    """Find the nearest tasks upstream that have a bar, through those that have none."""
    drawn = frozenset(known)
    found: set[str] = set()
    seen = {task_id}
    pending = [task_id]
    while pending:
        above = upstream.get(pending.pop(), frozenset()) - seen
        seen |= above
        found |= above & drawn
        pending.extend(above - drawn)
    return sorted(found)


def _is_critical(row: _Row, path: Mapping[str, datetime]) -> bool:
    # Of a mapped task only the instance that ended last held up the run.
    return row.task_id in path and row.end >= path[row.task_id]


# --- rows -----------------------------------------------------------------------------------------------------------------


def _draw_rows(instances: Sequence[TaskInstance], now: datetime) -> list[_Row]:
    """Make a bar of each task instance, and one of all instances of a mapped task with many of them."""
    by_task: defaultdict[str, list[_Row]] = defaultdict(list)
    for one in instances:
        by_task[one.task_id].append(_draw(one, now))
    rows: list[_Row] = []
    for task_id, own in by_task.items():
        if len(own) <= MOST_MAPPED:
            rows += own
            continue
        rows.append(
            _Row(
                name=_disarm(task_id),
                task_id=task_id,
                states=sum((row.states for row in own), Counter()),
                start=min(row.start for row in own),
                end=max(row.end for row in own),
            )
        )
    return rows


def _choose_rows(rows: Sequence[_Row], path: Mapping[str, datetime]) -> list[_Row]:
    """Choose the bars that matter most, in the order of their starts: critical, failed or running, long ones."""

    def rank(row: _Row) -> tuple[bool, bool, timedelta]:
        return _is_critical(row, path), row.state in (FAILED, RUNNING), row.end - row.start

    return sorted(sorted(rows, key=rank, reverse=True)[:MOST_ROWS], key=lambda row: (row.start, row.end))


# --- text -----------------------------------------------------------------------------------------------------------------


def _write_bar(row: _Row, *, zero: datetime, width: timedelta, critical: bool) -> str:
    mark, kind = _KINDS.get(row.state, _OTHER_KIND)
    tags = [tag for tag in (kind, "crit" if critical else "") if tag]
    counts = ", ".join(f"{number} {state[:20]}" for state, number in row.states.most_common(3))
    several = f" ({counts})" if row.states.total() > 1 else ""
    ending = f"{several} {_format_span(row.end - row.start)}{f' {_CRITICAL}' if critical else ''}"
    name = _shorten(row.name, max(16, LONGEST_LABEL - len(mark) - 1 - len(ending)))
    end = max(row.end, row.start + max(width * _NARROWEST, _SHORTEST))
    times = [_format_moment(moment - zero) for moment in (row.start, end)]
    # The mark also keeps Mermaid from taking a name for one of its keywords.
    return f"{mark} {name}{ending} :{', '.join([*tags, *times])}"


def _shorten(name: str, limit: int) -> str:
    if _measure(name) <= limit:
        return name
    head = _take(name, limit // 2)
    return f"{head}…{_take(name[::-1], limit - 1 - _measure(head))[::-1]}"


def _take(text: str, room: int) -> str:
    widths = accumulate(map(_measure, text))
    return "".join(letter for letter, width in zip(text, widths, strict=True) if width <= room)


def _measure(text: str) -> int:
    """Measure how wide a text is; a Chinese character is as wide as two Latin ones."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _format_moment(since: timedelta) -> str:
    return (_ZERO + since).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _format_span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f}s" if seconds < 10 else format_elapsed(seconds)  # noqa: PLR2004 - where tenths stop to matter
