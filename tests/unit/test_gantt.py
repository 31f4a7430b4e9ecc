"""The Gantt diagram: which bars it has, what is critical, and that no name means anything to Mermaid."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.airflow.task_instances import TaskInstance
from dms_airflow.dag_runs.gantt import render_gantt

START = datetime(2026, 11, 22, 17, 3, 2, tzinfo=UTC)
NOW = START + timedelta(seconds=60)


def ran(name: str, start: float, end: float | None, state: str = "success", map_index: int = -1) -> TaskInstance:
    return TaskInstance(
        task_id=name,
        map_index=map_index,
        state=state,
        start_date=START + timedelta(seconds=start),
        end_date=None if end is None else START + timedelta(seconds=end),
    )


def draw(*instances: TaskInstance, **upstream: str) -> list[str]:
    """Give the lines of the bars; upstream as ``task="first second"``."""
    above = {task: frozenset(names.split()) for task, names in upstream.items()}
    return render_gantt(instances, above, NOW).splitlines()[6:]


def test_a_whole_diagram() -> None:
    source = render_gantt(
        [
            ran("transform", 3.5, 20, "failed"),
            ran("extract", 0, 3.25),
            ran("audit", 3.5, None, "running"),
            ran("defer", 4, 5.75, "deferred"),
        ],
        {"extract": frozenset(), "transform": frozenset({"extract"}), "audit": frozenset({"extract"})},
        NOW,
    )

    assert source == (
        "%%{init: {'themeVariables': {'taskBkgColor': '#da3633', 'taskBorderColor': '#da3633', 'doneTaskBkgColor': '#238636', "
        "'doneTaskBorderColor': '#238636', 'activeTaskBkgColor': '#1f6feb', 'activeTaskBorderColor': '#1f6feb', "
        "'critBkgColor': '#da3633', 'critBorderColor': '#e3b341'}, 'gantt': {'leftPadding': 48}}}%%\n"
        "gantt\n"
        "title Time since 2026-11-22 17:03:02 UTC\n"
        "dateFormat YYYY-MM-DDTHH:mm:ss.SSS\n"
        "axisFormat %H:%M:%S\n"
        "todayMarker off\n"
        "✓ extract 3.2s ◆ :done, crit, 2000-01-01T00:00:00.000, 2000-01-01T00:00:03.250\n"
        "✗ transform 16s :2000-01-01T00:00:03.500, 2000-01-01T00:00:20.000\n"
        "▶ audit 56s ◆ :active, crit, 2000-01-01T00:00:03.500, 2000-01-01T00:01:00.000\n"
        "○ defer 1.8s :active, 2000-01-01T00:00:04.000, 2000-01-01T00:00:05.750\n"
    )


def test_what_never_ran_is_not_drawn() -> None:
    never = (
        TaskInstance(task_id="scheduled", state="scheduled"),
        TaskInstance(task_id="none"),
        ran("after", 9, 9, "upstream_failed"),
        ran("branch", 9, 9, "skipped"),
    )

    assert render_gantt(never, {}, NOW) == ""
    assert render_gantt((), {}, NOW) == ""
    assert draw(*never, ran("skips_itself", 0, 2, "skipped")) == [
        "○ skips_itself 2.0s :active, 2000-01-01T00:00:00.000, 2000-01-01T00:00:02.000"
    ]


def test_what_runs_again_has_not_ended() -> None:
    assert draw(ran("a", 0, 5, "running")) == ["▶ a 1m00s :active, 2000-01-01T00:00:00.000, 2000-01-01T00:01:00.000"]


def test_a_bar_without_an_end_lasts_until_now_and_one_without_a_length_can_be_seen() -> None:
    bars = draw(
        ran("a", 0, None, "running"),
        ran("b", 30, 30),
        ran("c", 40, None, "deferred"),
        ran("d", 50, None),
        ran("e", 70, None, "running"),
    )

    assert bars == [
        "▶ a 1m00s :active, 2000-01-01T00:00:00.000, 2000-01-01T00:01:00.000",
        "✓ b 0.0s :done, 2000-01-01T00:00:30.000, 2000-01-01T00:00:30.233",
        "○ c 20s :active, 2000-01-01T00:00:40.000, 2000-01-01T00:01:00.000",
        "✓ d 0.0s :done, 2000-01-01T00:00:50.000, 2000-01-01T00:00:50.233",
        # Airflow's clock may be ahead.
        "▶ e 0.0s :active, 2000-01-01T00:01:10.000, 2000-01-01T00:01:10.233",
    ]


@pytest.mark.parametrize(
    ("seconds", "length"),
    [(3, "3.0s"), (9.99, "10.0s"), (10, "10s"), (600, "10m00s"), (9 * 3600 + 125, "9h02m"), (30 * 3600, "30h00m")],
)
def test_a_bar_says_how_long_it_took(seconds: float, length: str) -> None:
    (bar,) = draw(ran("a", 0, seconds))

    assert bar.startswith(f"✓ a {length} :done")


def test_a_failed_task_on_the_critical_path_has_an_edge() -> None:
    assert draw(ran("a", 0, 5, "failed"), a="nothing") == ["✗ a 5.0s ◆ :crit, 2000-01-01T00:00:00.000, 2000-01-01T00:00:05.000"]


def test_a_run_that_took_no_time_can_be_seen() -> None:
    assert draw(ran("a", 0, 0)) == ["✓ a 0.0s :done, 2000-01-01T00:00:00.000, 2000-01-01T00:00:00.001"]


def list_critical(bars: list[str]) -> list[str]:
    return [bar.split()[1] for bar in bars if " ◆ :" in bar]


def test_the_critical_path_goes_over_what_each_task_waited_for_last() -> None:
    bars = draw(ran("a", 0, 5), ran("b", 0, 9), ran("c", 10, 12), ran("d", 12, 30), ran("e", 10, 29), c="a b", d="c", e="a")

    assert list_critical(bars) == ["b", "c", "d"]


def test_a_task_that_began_early_did_not_wait_for_the_one_upstream_that_still_ran() -> None:
    bars = draw(ran("fast", 0, 5), ran("slow", 0, 20), ran("any", 6, 30), any="fast slow")

    assert list_critical(bars) == ["fast", "any"]


def test_what_began_later_was_not_waited_for() -> None:
    bars = draw(ran("cleared", 20, 25), ran("early", 0, 5), ran("last", 6, 30), last="cleared early")

    assert list_critical(bars) == ["early", "last"]
    assert list_critical(draw(ran("cleared", 20, 25), ran("last", 6, 30), last="cleared")) == ["last"]


def test_of_a_mapped_task_the_last_instance_is_critical() -> None:
    bars = draw(ran("m", 0, 5, map_index=0), ran("m", 0, 9, map_index=1), ran("z", 9, 10), z="m")

    assert list_critical(bars) == ["m[1]", "z"]


def test_no_critical_path_is_claimed_without_knowledge_and_a_circle_ends() -> None:
    assert list_critical(draw(ran("a", 0, 5), ran("b", 5, 9))) == []
    assert list_critical(draw(ran("a", 0, 0), ran("b", 0, 0), a="b", b="a")) == ["a", "b"]
    assert list_critical(draw(ran("a", 0, 5), a="b", b="c", c="b")) == ["a"]


def test_of_500_tasks_those_that_matter_are_drawn() -> None:
    instances = [ran(f"t{number}", number, number + 1) for number in range(498)]

    source = render_gantt([*instances, ran("broken", 3, 3, "failed"), ran("last", 499, 499)], {"last": frozenset({"t17"})}, NOW)

    bars = source.split("\n")[6:-1]
    assert len(bars) == 60
    assert {"broken", "last", "t17"} < {bar.split()[1] for bar in bars}
    assert source.split("\n")[2].endswith(" UTC, 440 bars left out")


@pytest.mark.parametrize(
    "name",
    [
        "a: crit, 2020-01-01, 1d",
        "a; click x href javascript:alert(1)",
        "%%{init: {'securityLevel': 'loose'}}%%",
        "section x",
        "<img src=x onerror=alert(1)>",
        "a\nclick a call b()",
        "a\u2028b\rc",
        '"#quot;`$$x$$',
        "done",
    ],
)
def test_a_name_is_a_name_only(name: str) -> None:
    (bar,) = draw(ran(name, 0, 2))

    assert re.fullmatch(r"✓ [\w.\-·…]+ 2\.0s :done, 2000-01-01T00:00:00\.000, 2000-01-01T00:00:02\.000", bar)


def test_a_long_name_is_cut_in_its_middle() -> None:
    (bar,) = draw(ran("first" + "x" * 200 + "last", 0, 2, map_index=17))

    assert bar.startswith("✓ firstxxxxxxxxxxxxx…xxxxxxxxxlast[17] 2.0s :done")


MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
INSTANCES = st.builds(
    TaskInstance,
    task_id=st.text(min_size=1) | st.sampled_from(["a", "b", "g.a", "g.b", "section", "x" * 250]),
    map_index=st.integers(-1, 500),
    state=st.none() | st.sampled_from(["success", "failed", "running", "deferred", "skipped", "upstream_failed"]) | st.text(),
    start_date=st.none() | MOMENTS,
    end_date=st.none() | MOMENTS,
)
MOMENT = r"2\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}"
NAME = r"[\w.\-\[\]·…]{1,36}"
TAGS = "(done|active|crit|done, crit|active, crit), "
BAR = re.compile(rf"[✓✗▶○] {NAME} [\d.hms]+( ◆)? :({TAGS})?{MOMENT}, {MOMENT}")


@given(st.lists(INSTANCES, max_size=80), st.dictionaries(st.sampled_from("ab"), st.frozensets(st.sampled_from("ab"))), MOMENTS)
def test_whatever_airflow_says_each_line_is_a_bar(
    instances: list[TaskInstance], upstream: dict[str, frozenset[str]], now: datetime
) -> None:
    source = render_gantt(instances, upstream, now)

    bars = source.split("\n")[6:-1]
    assert [bar for bar in bars if not BAR.fullmatch(bar)] == []
    assert len(bars) <= 60
    assert len(source) < 10_000


def test_500_of_the_longest_names_stay_within_mermaids_limit() -> None:
    instances = [ran(f"{number}{'语' * 250}", number, 900, "failed") for number in range(500)]

    source = render_gantt(instances, {}, NOW)

    assert Counter(source)["\n"] == 66
    assert len(source) < 10_000
