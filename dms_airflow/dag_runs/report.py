"""DAG runs that were waited for, reported: findings for failed tasks, their logs, tables, and a Gantt chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.dag_runs import SUCCESS, DagRun, format_run_url
from dms_airflow.airflow.dags import fetch_upstream
from dms_airflow.airflow.task_instances import FAILED, FINISHED, TaskInstance, fetch_log, join_names
from dms_airflow.airflow.task_logs import TaskLog
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.checkout.source_lines import place_failure
from dms_airflow.core.errors import ActionError, Cancelled
from dms_airflow.core.findings import Finding, Rule, group
from dms_airflow.core.log import find_or_log
from dms_airflow.core.result import Annotation, Check, Diagram, Ending, Folded, Level, Link, Result, Table
from dms_airflow.core.text import count, cut_middle, cut_tail, format_elapsed
from dms_airflow.dag_runs.gantt import LEGEND, render_gantt
from dms_airflow.dag_runs.wait import WatchedRun

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

# The logs of at most so many failed tasks are fetched, to find those with the same cause.
LOGS = 100

LOGS_AT_ONCE = 2

LOG_TAIL = 20_000  # bytes of a failed task's log in the log and in the summary

# An exception may contain the complete response of some service, and the summary has a limit of one megabyte.
LONGEST_MESSAGE = 20_000  # bytes

# If runs ended in several ways, the first of these is the step's.
_ENDINGS = (Ending.CANCELLED, Ending.FAILURE, Ending.TIMEOUT, Ending.SUCCESS)

UNKNOWN_CAUSE = "Why it failed is not known"


def make_outputs(run: DagRun, airflow: AirflowClient) -> dict[str, str]:
    """Make the outputs of a DAG run."""
    url = format_run_url(airflow, run)
    return {"dag-id": run.dag_id, "run-id": run.run_id, "run-state": run.state, "run-url": url}


def report_runs(watches: Sequence[WatchedRun], dags_path: str, context: Context) -> Result:
    """Report DAG runs, without outputs; if the workflow is cancelled meanwhile, as cancelled, and without further requests.

    `dags_path` is the checkout's DAG folder, empty if it is searched. The headline is about the first run.
    """
    try:
        return _report(watches, dags_path, context)
    except Cancelled:
        cancelled = [replace(one, ending=Ending.CANCELLED, fate=one.fate or f"Its state: {one.run.state}.") for one in watches]
        return _report(cancelled, dags_path, context)


def _report(watches: Sequence[WatchedRun], dags_path: str, context: Context) -> Result:
    airflow = context.airflow
    finished = [one for one in watches if one.ending is not Ending.CANCELLED]
    checkout = Checkout(context.runner.workspace, dags_path or None)
    failures = _find_failures(finished, checkout, airflow)
    findings = group(finding for finding, _ in failures)
    # One log of each cause is enough.
    by_task = {finding.affects[0]: log for finding, log in failures}
    logs = [log for finding in findings if (log := by_task[finding.affects[0]])]
    for log in logs:
        context.log.fold(log.heading, log.text)
    upstream = find_or_log(lambda: _fetch_upstream(finished, airflow), {}, "Critical paths", context.log)
    problems = [_annotate_run(one, airflow) for one in watches]
    illustrations = [block for one in watches for block in _illustrate(one, upstream.get(one.run.dag_id, {}), airflow)]
    return Result(
        ending=min((one.ending for one in watches), key=_ENDINGS.index),
        headline=describe_run(watches[0]),
        findings=findings,
        annotations=tuple(filter(None, problems)),
        blocks=(_tabulate_runs(watches, airflow), *illustrations, *logs),
        checks=tuple(check for one, problem in zip(watches, problems, strict=True) for check in _list_checks(one, problem)),
    )


def describe_run(watch: WatchedRun) -> str:
    """Say in one line how a DAG run ended."""
    run, instances = watch.run, watch.instances
    name = f"DAG run {run.run_id} of {run.dag_id}"
    after = "" if run.seconds is None else f" after {_format_seconds(run.seconds)}"
    if watch.error:
        return f"{watch.error.title}: {watch.error.message}"
    if watch.ending is Ending.SUCCESS:
        return f"{name} succeeded{after}: {count(len(instances), 'task instance')}"
    if watch.ending is Ending.FAILURE and run.state == SUCCESS:
        return f"{name} ended without any task instance"
    progress = watch.progress or run.state
    if watch.ending is Ending.FAILURE:
        failed = join_names(instances, {FAILED})
        return f"{name} failed{after}" + (f": {failed}" if failed else f", but none of its tasks did: {progress}")
    if watch.ending is Ending.CANCELLED:
        return f"Cancelled while {name} was waited for: {progress}"
    return f"{name} did not end in time: {progress}"


# --- failed tasks ---------------------------------------------------------------------------------------------------------


def _find_failures(
    watches: Sequence[WatchedRun], checkout: Checkout, airflow: AirflowClient
) -> list[tuple[Finding, Folded | None]]:
    """Make a finding of each failed task instance, with the end of its log if it was fetched."""
    failed = [(one, instance) for one in watches for instance in one.instances if instance.state == FAILED]
    # Each may have many megabytes until all but its end is dropped.
    few = BoundedSemaphore(LOGS_AT_ONCE)

    def read(failure: tuple[WatchedRun, TaskInstance]) -> tuple[Finding, Folded | None]:
        watch, instance = failure
        finding = _make_finding(*failure, airflow)
        try:
            with few:
                log = fetch_log(airflow, watch.run, instance)
        except ActionError as error:
            message = f"{UNKNOWN_CAUSE}, since its log could not be fetched: {error.title}"
            return replace(finding, message=message, details=error.message), None
        file, line = place_failure(log.stack_trace, watch.path, checkout)
        # Texts are redacted before they are cut.
        message = cut_middle(airflow.redact(explain_failure(instance, log)), LONGEST_MESSAGE)
        finding = replace(finding, message=message, file=file, line=line, details=airflow.redact(log.stack_trace))
        # Only this is shown, and a log may have many megabytes.
        text = cut_tail(airflow.redact(log.text), LOG_TAIL)
        return finding, Folded(heading=f"Log of {finding.affects[0]}, try {instance.try_number}", text=text)

    unread = f"{UNKNOWN_CAUSE}: no more than {LOGS} logs of failed tasks are fetched"
    rest = [(replace(_make_finding(*failure, airflow), message=unread), None) for failure in failed[LOGS:]]
    return [*airflow.map(read, failed[:LOGS]), *rest]


def _make_finding(watch: WatchedRun, instance: TaskInstance, airflow: AirflowClient) -> Finding:
    """Make the finding of a failed task instance, without its cause."""
    return Finding(
        rule=Rule.TASK_FAILED,
        # A DAG run that succeeds although a task failed is what its author wants: reported, but not as an error.
        level=Level.WARNING if watch.ending is Ending.SUCCESS else Level.ERROR,
        title=f"Task failed: {instance.name}",
        message="",
        affects=(f"{watch.run.dag_id}.{instance.name}",),
        url=format_run_url(airflow, watch.run, instance.task_id, instance.map_index),
    )


def explain_failure(instance: TaskInstance, log: TaskLog) -> str:
    """Say why a task instance failed, which may span lines."""
    if reason := f"{log.exception}: {log.message}".strip(": "):
        return reason
    if instance.start_date is None:
        return "It never started: its DAG file did not import on the worker, or the worker was lost"
    return "Its log ends without a reason: its process or its worker was killed or lost"


# --- the runs themselves --------------------------------------------------------------------------------------------------


def _annotate_run(watch: WatchedRun, airflow: AirflowClient) -> Annotation | None:
    """Annotate a run that did not succeed for a reason that no failed task shows."""
    run, instances = watch.run, watch.instances
    what, page = f"{describe_run(watch)}.", f"Its page: {format_run_url(airflow, run)}"
    if watch.error:
        (annotation,) = watch.error.to_result().annotations
        message = f"{annotation.message} {page}" if run.run_id else f"{run.dag_id}: {annotation.message}"
        return replace(annotation, message=message)
    if watch.ending is Ending.FAILURE and run.state == SUCCESS:
        why = "Is its logical date before the DAG's start_date, or has the DAG no tasks?"
        return Annotation(level=Level.ERROR, title="DAG run without tasks", message=f"{what}\n{why} {page}")
    if watch.ending is Ending.FAILURE and not any(one.state == FAILED for one in instances):
        why = "Somebody ended it, it ran longer than its dagrun_timeout, or none of its tasks could run."
        return Annotation(level=Level.ERROR, title="DAG run failed", message=f"{what}\n{why} {page}")
    if watch.ending is Ending.TIMEOUT:
        waiting = join_names(instances, {one.state for one in instances} - FINISHED)
        unfinished = f"Not ended yet: {waiting}." if waiting else "None of its tasks has started."
        stall = f"Why: {watch.stall}.\n" if watch.stall else ""
        why = f"{unfinished} {watch.fate}\n{stall}Check it in Airflow, or allow more time with timeout."
        return Annotation(level=Level.ERROR, title="Time ran out", message=f"{what}\n{why} {page}")
    if watch.ending is Ending.CANCELLED:
        return Annotation(level=Level.WARNING, title="Cancelled", message=f"{what}\n{watch.fate} {page}")
    return None


def _list_checks(watch: WatchedRun, problem: Annotation | None) -> Iterator[Check]:
    """List the DAG run and its task instances, as the JUnit report has them."""
    run, is_cancelled = watch.run, watch.ending is Ending.CANCELLED
    failure = problem.message if problem else describe_run(watch)
    failure = "" if is_cancelled or watch.ending is Ending.SUCCESS else failure
    yield Check(suite=run.dag_id, name="DAG run", seconds=run.seconds, skipped=is_cancelled, failure=failure)
    for one in watch.instances:
        is_skipped = one.state not in (SUCCESS, FAILED)
        yield Check(suite=run.dag_id, name=one.name, seconds=one.duration, skipped=is_skipped)


def _tabulate_runs(watches: Sequence[WatchedRun], airflow: AirflowClient) -> Table:
    rows = tuple(
        (
            one.run.dag_id,
            Link(text=one.run.run_id, url=format_run_url(airflow, one.run)) if one.run.run_id else "",
            one.run.state,
            _format_seconds(one.run.seconds),
            one.progress.partition(", ")[2],
        )
        for one in watches
    )
    return Table(heading="DAG runs", columns=("DAG", "run", "state", "duration", "tasks"), rows=rows)


# --- charts and tables of task instances ----------------------------------------------------------------------------------


def _fetch_upstream(watches: Sequence[WatchedRun], airflow: AirflowClient) -> dict[str, dict[str, frozenset[str]]]:
    """Fetch which tasks each task waits for, by DAG: charts have critical paths then."""
    dag_ids = [one.run.dag_id for one in watches if one.run.run_id]
    # In threads: a login during a request has no time limit.
    return dict(zip(dag_ids, airflow.map(partial(fetch_upstream, airflow), dag_ids), strict=True))


def _illustrate(watch: WatchedRun, upstream: Mapping[str, frozenset[str]], airflow: AirflowClient) -> Iterator[Table | Diagram]:
    """Show the task instances of a run as a Gantt chart and as a table."""
    dag_id, now = watch.run.dag_id, airflow.server_time or datetime.now(UTC)
    if chart := render_gantt(watch.instances, upstream, now, airflow.redact):
        yield Diagram(heading=f"What ran when in {dag_id}", source=chart, legend=LEGEND)
    if watch.instances:
        # By their starts, those that never started last.
        ordered = sorted(
            watch.instances, key=lambda one: (not one.try_number, one.start_date or now, one.task_id, one.map_index)
        )
        yield Table(
            heading=f"Task instances of {dag_id}",
            columns=("task", "state", "tries", "duration", "log"),
            rows=tuple(_make_row(one, watch, airflow) for one in ordered),
            rest="the run's page has them",
            is_detail=True,
        )


def _make_row(instance: TaskInstance, watch: WatchedRun, airflow: AirflowClient) -> tuple[str | Link, ...]:
    name, state = instance.name, instance.state or "none"
    if not instance.try_number:
        return name, state, "", "", ""
    page = format_run_url(airflow, watch.run, instance.task_id, instance.map_index)
    tries = f"{instance.try_number} of {instance.max_tries + 1}"
    return name, state, tries, _format_seconds(instance.duration), Link(text="log", url=page)


def _format_seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 60 else format_elapsed(seconds)  # noqa: PLR2004
