"""The Gantt diagram of a DAG run, as Mermaid source. Pure.

Only what Mermaid 9 to 12 all know is used: https://mermaid.js.org/syntax/gantt.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from dms_airflow.airflow.dag_runs import SUCCESS
from dms_airflow.airflow.task_instances import FAILED, RUNNING, UPSTREAM_FAILED, TaskInstance
from dms_airflow.core.text import format_elapsed

# Commas only: the summary shows other punctuation as code.
LEGEND = (
    "✓ green is success, ✗ red is failed, ▶ blue is running, ○ blue is anything else, ◆ marks the critical path, "
    "on which each task waited for the one before, a bar is the last try"
)

MOST_BARS = 60
LONGEST_NAME = 36  # characters; a longer one would fit neither inside its bar nor next to it, on a page of 900 pixels

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

# The characters that Airflow allows in a task id, and the brackets of a map index. Others could have a meaning in Mermaid.
_STRANGE = re.compile(r"[^\w.\-\[\]]")

# Bars are given as time since the first start, on a day without a change to or from summer time: Mermaid reads and shows
# moments in the reader's own time zone.
_ZERO = datetime(2000, 1, 1)  # noqa: DTZ001 - of no time zone
# A bar gets at least this part of the diagram's width, else it could not be seen; a diagram without any width would show none.
_NARROWEST = 1 / 300
_SHORTEST = timedelta(milliseconds=1)


class _Bar(NamedTuple):
    instance: TaskInstance
    start: datetime
    end: datetime


def render_gantt(
    instances: Sequence[TaskInstance],
    upstream: Mapping[str, frozenset[str]],
    now: datetime,
    redact: Callable[[str], str] = str,
) -> str:
    """Draw when the task instances of a DAG run ran: of more than MOST_BARS the critical, failed, running and longest ones.

    `upstream` has which tasks each task waits for; without it no critical path is claimed. The bars of running ones end `now`.
    `redact` masks secrets in names before they are cut.

    Returns:
        Mermaid source without a fence; empty when nothing has run. In a line that draws a bar, what a DAG's author chose is
        before the first `` :``. At most 10,000 characters; Mermaid takes 50,000.
    """
    bars = [bar for one in instances if (bar := _draw(one, now))]
    if not bars:
        return ""
    path = _find_critical_path(bars, upstream)
    bars.sort(key=lambda bar: (bar in path, bar.instance.state in (FAILED, RUNNING), bar.end - bar.start), reverse=True)
    shown = sorted(bars[:MOST_BARS], key=lambda bar: (bar.start, bar.end))
    zero = shown[0].start
    shortest = max((max(bar.end for bar in shown) - zero) * _NARROWEST, _SHORTEST)
    left_out = f", {len(bars) - len(shown)} bars left out" if len(shown) < len(bars) else ""
    lines = [
        _SETTINGS,
        "gantt",
        f"title Time since {zero.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{left_out}",
        "dateFormat YYYY-MM-DDTHH:mm:ss.SSS",
        "axisFormat %H:%M:%S",
        "todayMarker off",
        *(_write_bar(bar, redact(bar.instance.name), zero, shortest, is_critical=bar in path) for bar in shown),
    ]
    return "\n".join(lines) + "\n"


def _draw(instance: TaskInstance, now: datetime) -> _Bar | None:
    start, end, state = instance.start_date, instance.end_date, instance.state
    # Airflow sets the end and the start to the same moment for a task that it skips or fails without running it.
    if not start or state == UPSTREAM_FAILED or (state == "skipped" and start == end):
        return None
    if not end or state == RUNNING:
        end = start if instance.is_finished else now
    return _Bar(instance, start, max(start, end))


def _find_critical_path(bars: Sequence[_Bar], upstream: Mapping[str, frozenset[str]]) -> list[_Bar]:
    """Go back from the task instance that ended last, always to the last of those upstream that had ended when it began."""
    path: list[_Bar] = []
    before = list(bars) if upstream else []
    while before:
        path.append(max(before, key=lambda bar: bar.end))
        above = upstream.get(path[-1].instance.task_id, frozenset())
        before = [one for one in bars if one.instance.task_id in above and one.end <= path[-1].start and one not in path]
    return path


def _write_bar(bar: _Bar, name: str, zero: datetime, shortest: timedelta, *, is_critical: bool) -> str:
    mark, kind = _KINDS.get(str(bar.instance.state), _OTHER_KIND)
    name = _STRANGE.sub("·", name)
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME // 2]}…{name[1 - LONGEST_NAME // 2 :]}"
    seconds = (bar.end - bar.start).total_seconds()
    span = f"{seconds:.1f}s" if seconds < 10 else format_elapsed(seconds)  # noqa: PLR2004 - where tenths stop to matter
    moments = [_ZERO + (moment - zero) for moment in (bar.start, max(bar.end, bar.start + shortest))]
    tags = [kind, "crit" if is_critical else "", *(moment.isoformat(timespec="milliseconds") for moment in moments)]
    # The mark also keeps Mermaid from taking a name for one of its keywords.
    return f"{mark} {name} {span}{' ◆' if is_critical else ''} :{', '.join(filter(None, tags))}"
