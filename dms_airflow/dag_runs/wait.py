"""Waiting for DAG runs: soon at first, then rarer, one request a look while nothing changes, through minutes of silence.

While a task instance is at work its DAG run cannot have ended, and while none is, nothing but the run's own state is news. So
a look asks for the one or for the other, by turns where both may change. How long the DAG's last runs took says when the end
is likely, and looks are kept for then: without that, who notices an end within five seconds has to look every five.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import QUEUED, DagRun
from dms_airflow.airflow.task_instances import ACTIVE, RUNNING, describe_progress
from dms_airflow.core.errors import ActionError, AnswerError, AnswerTimeoutError, RunGoneError, UnknownHostError
from dms_airflow.core.retry import may_pass
from dms_airflow.dag_runs.stalls import explain_stall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.airflow.dag_run_client import DagRunClient
    from dms_airflow.airflow.task_instances import TaskInstance
    from dms_airflow.operations.context import Context

# Seconds between two looks, by the share of the time that has passed: the end of a short run is noticed soon, a long one is
# not asked for more often than needed.
SHORTEST_PAUSE = 1.0
PAUSE_SHARE = 0.25
# After so many seconds a pause may be so long.
LONGEST_PAUSES = ((900.0, 5.0), (1800.0, 10.0), (float("inf"), 15.0))

# What is known of the DAG's last runs is asked for when it begins to matter. The end is likely between these shares of the
# shortest of them.
HISTORY_AFTER = 20.0  # seconds
LIKELY_FROM = 0.9
LIKELY_UNTIL = 1.25
UNLIKELY_PAUSE = 10.0  # seconds, while the end is not likely: a run that fails early is noticed later by so much at most

# A run of this many task instances or fewer is read whole with one request.
SMALL_RUN = 100

# How long faults may last that do not pass by themselves: no right, no login.
FAULT_PATIENCE = 120.0  # seconds
# How long Airflow may say that there is no such run: a database's copy may lag behind, a deleted run stays away.
GONE_AFTER = 20.0  # seconds

# The look at the end of the time may take so long.
LAST_LOOK = 1.0  # seconds

# A run that does nothing is explained after so many seconds, and again when the reason may have changed.
STALL_SECONDS = (10.0, 60.0, 300.0)


@dataclass
class Watch:
    """One DAG run as it was seen last.

    Args:
        run: Its state.
        instances: Its task instances.
        stall: Why it does nothing, where that was found out.
        error: What ended the wait for it, where that was not its end.
        usual: Seconds that the shortest of the DAG's last successful runs took; None where that is not known.
    """

    run: DagRun
    instances: tuple[TaskInstance, ...] = ()
    stall: str = ""
    news: list[str] = field(default_factory=list)
    error: ActionError | None = None
    usual: float | None = None
    _asks_tasks: bool = False
    _missing: float | None = None
    _explained: int = 0
    _moved: float | None = None
    _silent: float | None = None
    _told: str = ""
    retry_after: float = 0.0
    """Seconds that the last answer asked to wait."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be learnt of it. A run that had ended before the first look was not seen yet."""
        return self.error is not None or (self.run.is_finished and self._moved is not None)

    def learn(self, client: DagRunClient) -> None:
        """Learn how long such a run usually takes, where Airflow tells."""
        with suppress(ActionError):
            self.usual = min(client.list_durations(self.run.dag_id), default=None)

    def look(self, client: DagRunClient, now: float) -> None:
        """Look once, and keep what is new as lines to tell."""
        before = (self.run.state, self.instances)
        self.retry_after = 0.0
        try:
            self._ask(client, now)
        except RunGoneError as error:
            self.error = error
            return
        except ActionError as error:
            self._bear(error, now)
            return
        if self._silent is not None:
            self.news.append(f"Airflow answers again after {now - self._silent:.0f} s.")
            self._silent = None
        if (self.run.state, self.instances) != before or self._moved is None:
            self._moved, self._explained, self.stall = now, 0, ""
        progress = describe_progress(self.run.state, self.instances)
        if progress != self._told:
            self._told = progress
            self.news.append(progress)
        self._explain(client, now)

    def _ask(self, client: DagRunClient, now: float) -> None:
        ids = self.run.dag_id, self.run.run_id
        if self._asks_tasks:
            if len(self.instances) <= SMALL_RUN or self._are_others_active(client):
                self.instances = client.list_task_instances(*ids, tries=1)
            if self._are_finished or not self.instances:  # then the run may have ended meanwhile
                self.run = client.get_run(*ids, tries=1) or self.run
        else:
            run = client.get_run(*ids, tries=1)
            self._missing = None if run else now if self._missing is None else self._missing
            if self._missing is not None and now - self._missing >= GONE_AFTER:
                raise RunGoneError(
                    f"The DAG run {self.run.run_id} of {self.run.dag_id} does not exist any more.",
                    "Somebody deleted it, or its DAG, while it was waited for.",
                )
            if run and (run.is_finished or run.state != self.run.state):
                self.instances = client.list_task_instances(*ids, tries=1)
            self.run = run or self.run
        # While it is queued, and when all tasks are done, only the run's own state is news.
        self._asks_tasks = not (self._asks_tasks or self.run.state == QUEUED or self._are_finished)

    def _are_others_active(self, client: DagRunClient) -> bool:
        """Tell whether other task instances are at work than at the last look; their order means nothing."""
        known = _list_active(self.instances)
        shown, total = client.list_active(self.run.dag_id, self.run.run_id)
        return total != len(known) or not set(shown) <= set(known)

    @property
    def _are_finished(self) -> bool:
        return bool(self.instances) and all(one.is_finished for one in self.instances)

    def _bear(self, error: ActionError, now: float) -> None:
        """Take a look that failed for one more silence, unless it has lasted too long."""
        self.retry_after = error.retry_after
        passes = (
            error.may_pass
            or isinstance(error, UnknownHostError)
            or (isinstance(error, AnswerError) and (error.status is None or may_pass(error.status)))
        )
        if self._silent is None:
            self._silent = now
            self.news.append(f"{error.message} Still waiting.")
        elif not passes and now - self._silent >= FAULT_PATIENCE:
            self.error = error

    def _explain(self, client: DagRunClient, now: float) -> None:
        """Find out why nothing happens."""
        moves = any(one.state == RUNNING for one in self.instances)
        if self.run.is_finished or moves or self._moved is None or self._explained == len(STALL_SECONDS):
            return
        if now - self._moved < STALL_SECONDS[self._explained]:
            return
        self._explained += 1
        try:
            reason = explain_stall(self.run, self.instances, client)
        except ActionError:
            return
        if reason != self.stall:
            self.stall = reason
            self.news.append(f"{self.run.state}, nothing new for {now - self._moved:.0f} s: {reason}")


def _list_active(instances: Sequence[TaskInstance]) -> tuple[TaskInstance, ...]:
    return tuple(one for one in instances if one.state in ACTIVE)


def wait_for_runs(
    watches: Sequence[Watch], client: DagRunClient, context: Context, *, deadline: float, poll_interval: float | None
) -> None:
    """Look at DAG runs until all have ended or time is up. What was seen of them stands in the watches then.

    Args:
        watches: The runs.
        client: Asks.
        context: The clock and the log.
        deadline: On the clock.
        poll_interval: Seconds between two looks; None: soon at first, then rarer.
    """
    clock = context.clock
    began = clock.monotonic()
    client.limit(deadline + LAST_LOOK)
    while unfinished := [watch for watch in watches if not watch.is_over]:
        elapsed = clock.monotonic() - began
        left = deadline - clock.monotonic()
        if left <= 0:
            return
        asked = max(watch.retry_after for watch in unfinished)
        pause = poll_interval or min(choose_pause(elapsed, watch.usual) for watch in unfinished)
        clock.sleep(min(left, max(asked, pause)))
        now = clock.monotonic()
        try:
            if elapsed < HISTORY_AFTER <= now - began and not poll_interval:
                client.map(partial(Watch.learn, client=client), unfinished)
            client.map(partial(Watch.look, client=client, now=now), unfinished)
        except AnswerTimeoutError:
            return
        for watch in unfinished:
            whose = f"{watch.run.dag_id}: " if len(watches) > 1 else ""
            for line in watch.news:
                context.log.info(f"{tell_elapsed(now - began):>8}  {whose}{line}")
            watch.news.clear()


def choose_pause(elapsed: float, usual: float | None = None) -> float:
    """Choose how long to wait before the next look.

    Args:
        elapsed: Seconds since the waiting began.
        usual: Seconds that such a run takes at least, where that is known.
    """
    longest = next(pause for until, pause in LONGEST_PAUSES if elapsed < until)
    if usual is not None and elapsed < usual * LIKELY_UNTIL:
        until_likely = usual * LIKELY_FROM - elapsed
        longest = max(longest / 2, min(until_likely, max(longest, UNLIKELY_PAUSE)))
    return min(longest, max(SHORTEST_PAUSE, elapsed * PAUSE_SHARE))


def tell_elapsed(seconds: float) -> str:
    """Write a time span as people read it: 12s, 3m05s, 1h02m."""
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole}s"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
