"""DAG runs that were waited for, reported: findings for failed tasks, their logs, tables, and a Gantt chart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from dms_airflow.airflow.dag_runs import SUCCESS, format_run_url
from dms_airflow.airflow.dags import fetch_upstream
from dms_airflow.airflow.task_instances import FAILED, FINISHED, describe_progress, fetch_log, join_names
from dms_airflow.checkout.locate import place_failure
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core.errors import ActionError, Cancelled
from dms_airflow.core.findings import Finding, Rule, count, group
from dms_airflow.core.result import Annotation, Check, Diagram, Ending, Folded, Level, Link, Table
from dms_airflow.core.text import cut_middle, cut_tail
from dms_airflow.dag_runs.gantt import LEGEND, render_gantt
from dms_airflow.dag_runs.wait import format_elapsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dms_airflow.airflow.client import AirflowClient
    from dms_airflow.airflow.task_instances import TaskInstance
    from dms_airflow.airflow.task_logs import TaskLog
    from dms_airflow.dag_runs.completion import Completion
    from dms_airflow.operations.context import Context

# The logs of at most so many failed tasks are read, to find those with the same cause.
LOGS = 100

LOGS_AT_ONCE = 2

LOG_TAIL = 20_000  # bytes of a failed task's log in the log and in the summary

# An exception may contain the complete response of some service, and the summary has a limit of one megabyte.
LONGEST_MESSAGE = 20_000  # bytes


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What the step reports of one DAG run.

    Args:
        headline: One line.
        failures: A finding for each task instance that failed; `group_failures` groups those of several runs.
        annotations: Failures that no failed task explains.
        blocks: Of the summary.
        checks: The run, and its task instances.
    """

    headline: str
    failures: tuple[Finding, ...]
    annotations: tuple[Annotation, ...]
    blocks: tuple[Table | Folded | Diagram, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """A failed task instance, what its log says, and the place of the checkout that it leads to.

    Args:
        instance: The task instance.
        log: None where it was not read.
        fault: Why the log was not read.
        details: What else is known of that.
        file: None where the log leads to no file of the checkout.
        line: The same.
    """

    instance: TaskInstance
    log: TaskLog | None
    fault: str = ""
    details: str = ""
    file: str | None = None
    line: int | None = None

    @property
    def reason(self) -> str:
        """Why it failed, which may span lines."""
        said = f"{self.log.exception}: {self.log.message}".strip(": ") if self.log else self.fault
        if said:
            return said
        if self.instance.start_date is None:
            return "It never started: its DAG file did not import on the worker, or the worker was lost"
        return "Its log ends without a reason: its process or its worker was killed or lost"


def describe_completion(completion: Completion) -> str:
    """Say in one line how a DAG run ended."""
    run, instances = completion.run, completion.instances
    name = f"DAG run {run.run_id} of {run.dag_id}"
    if completion.error:
        return f"{completion.error.title}: {completion.error.message}"
    if completion.ending is Ending.SUCCESS:
        failed = sum(one.state == FAILED for one in instances)
        among = f", {failed} of them failed" if failed else ""
        return f"{name} succeeded{_format_duration(completion)}: {count(len(instances), 'task instance')}{among}"
    if completion.ending is Ending.FAILURE and run.state == SUCCESS:
        return f"{name} ended without any task instance"
    if completion.ending is Ending.FAILURE:
        return f"{name} failed{_format_duration(completion)}: {join_names(instances, {FAILED}) or 'none of its tasks did'}"
    what = "was cancelled" if completion.ending is Ending.CANCELLED else "did not end in time"
    return f"Waiting for {name} {what}: {describe_progress(completion.state, instances)}"


def tabulate_runs(completions: Sequence[Completion], airflow: AirflowClient) -> Table:
    """Give one line for each DAG run."""
    rows = tuple(
        (
            one.run.dag_id,
            Link(text=one.run.run_id, url=format_run_url(airflow, one.run)),
            one.run.state,
            "" if one.run.seconds is None else _format_seconds(one.run.seconds),
            describe_progress(one.run.state, one.instances).partition(", ")[2],
        )
        for one in completions
    )
    return Table(heading="DAG runs", columns=("DAG", "run", "state", "duration", "tasks"), rows=rows)


def report_runs(
    completions: Sequence[Completion], files: Mapping[str, str], dags_path: str, airflow: AirflowClient, context: Context
) -> tuple[tuple[Completion, ...], tuple[RunReport, ...]]:
    """Report DAG runs; if the workflow is cancelled in the meantime, as cancelled, and without further requests.

    Args:
        completions: What became of them.
        files: The instance's paths of the DAG files, by DAG.
        dags_path: The checkout's DAG folder; empty: it is searched.
        airflow: Fetches what `report_run` fetches.
        context: The checkout and the log.
    """

    def report(known: Sequence[Completion]) -> tuple[RunReport, ...]:
        return tuple(report_run(one, files[one.run.dag_id], dags_path, airflow, context) for one in known)

    try:
        return tuple(completions), report(completions)
    except Cancelled:
        cancelled = tuple(
            replace(one, ending=Ending.CANCELLED, fate=one.fate or f"Its state: {one.run.state}.") for one in completions
        )
        return cancelled, report(cancelled)


def report_run(completion: Completion, dag_file: str, dags_path: str, airflow: AirflowClient, context: Context) -> RunReport:
    """Tell one DAG run.

    Args:
        completion: What became of it.
        dag_file: The instance's path of its DAG file; empty when unknown.
        dags_path: The checkout's DAG folder; empty: it is searched.
        airflow: Fetches logs, and which task waits for which. Nothing is fetched once the workflow is cancelled.
        context: The checkout and the log.
    """
    is_cancelled = completion.ending is Ending.CANCELLED
    checkout = Checkout(context.runner.workspace, dags_path or None)
    failed = [] if is_cancelled else _find_failures(completion, dag_file, checkout, airflow, context.log.redact)
    failures = tuple(_find(one, completion, airflow) for one in failed)
    # One log of each cause is enough.
    first = {_name(failure.instance, completion): failure for failure in failed}
    logs = [(failure.instance, failure.log.text) for one in group(failures) if (failure := first[one.affects[0]]).log]
    for instance, text in logs:
        context.log.fold(f"Log of {instance.name}, try {instance.try_number}", text)
    further = _annotate_run(completion, airflow)
    upstream = {} if is_cancelled else _read_upstream(completion, airflow)
    return RunReport(
        headline=describe_completion(completion),
        failures=failures,
        annotations=(further,) if further else (),
        blocks=tuple(_illustrate(completion, logs, upstream, airflow, context.log.redact)),
        checks=tuple(_list_checks(completion, further)),
    )


def group_failures(reports: Iterable[RunReport]) -> tuple[Finding, ...]:
    """Make one finding of all task instances that failed by the same cause, in whatever run."""

    def count_tasks(finding: Finding) -> Finding:
        more = len(finding.affects) - 1
        return replace(finding, title=f"{finding.title} and {more} more") if more else finding

    return tuple(map(count_tasks, group(failure for report in reports for failure in report.failures)))


def _find_failures(
    completion: Completion, dag_file: str, checkout: Checkout, airflow: AirflowClient, redact: Callable[[str], str]
) -> list[_Failure]:
    failed = [one for one in completion.instances if one.state == FAILED]
    # Each may have many megabytes until all but its end is dropped.
    few = BoundedSemaphore(LOGS_AT_ONCE)

    def read(instance: TaskInstance) -> _Failure:
        try:
            with few:
                log = fetch_log(airflow, completion.run, instance)
        except ActionError as error:
            fault = f"Why it failed is not known, since its log could not be fetched: {error.title}"
            return _Failure(instance=instance, log=None, fault=fault, details=error.message)
        file, line = place_failure(log.stack_trace, dag_file, checkout)
        # Only this is shown, and a log may have many megabytes. It is redacted before it is cut.
        text = cut_tail(redact(log.text), LOG_TAIL)
        log = replace(log, text=text, message=redact(log.message), stack_trace=redact(log.stack_trace))
        return _Failure(instance=instance, log=log, file=file, line=line)

    fault = f"Why it failed is not known: no more than {LOGS} logs of failed tasks are fetched"
    rest = [_Failure(instance=one, log=None, fault=fault) for one in failed[LOGS:]]
    return [*airflow.map(read, failed[:LOGS]), *rest]


def _name(instance: TaskInstance, completion: Completion) -> str:
    return f"{completion.run.dag_id}.{instance.name}"


def _find(failure: _Failure, completion: Completion, airflow: AirflowClient) -> Finding:
    """Make a finding of a failed task: the exception, and the deepest line of the checkout that it came through."""
    instance = failure.instance
    return Finding(
        rule=Rule.TASK_FAILED,
        # A DAG run that succeeds although a task failed is what its author wants: reported, but not as an error.
        level=Level.WARNING if completion.ending is Ending.SUCCESS else Level.ERROR,
        title=f"Task failed: {instance.name}",
        message=cut_middle(failure.reason, LONGEST_MESSAGE),
        file=failure.file,
        line=failure.line,
        affects=(_name(instance, completion),),
        details=failure.log.stack_trace if failure.log else failure.details,
        url=format_run_url(airflow, completion.run, instance.task_id, instance.map_index),
    )


def _list_checks(completion: Completion, further: Annotation | None) -> Iterator[Check]:
    """List the DAG run and its task instances, as the JUnit report has them."""
    run, ending = completion.run, completion.ending
    failure = (
        "" if ending in (Ending.SUCCESS, Ending.CANCELLED) else further.message if further else describe_completion(completion)
    )
    is_skipped = ending is Ending.CANCELLED
    yield Check(suite=run.dag_id, name="DAG run", seconds=run.seconds, skipped=is_skipped, failure=failure)
    for one in completion.instances:
        is_skipped = one.state not in (SUCCESS, FAILED)
        yield Check(suite=run.dag_id, name=one.name, seconds=one.duration, skipped=is_skipped)


def _annotate_run(completion: Completion, airflow: AirflowClient) -> Annotation | None:
    """Annotate a run that did not succeed for a reason that no failed task shows."""
    run, instances = completion.run, completion.instances
    page = f"Its page: {format_run_url(airflow, run)}"
    name = f"DAG run {run.run_id} of {run.dag_id}"
    if completion.error:
        (annotation,) = completion.error.to_result().annotations
        return replace(annotation, message=f"{annotation.message} {page}")
    if completion.ending is Ending.FAILURE and run.state == SUCCESS:
        message = (
            f"{name} ended as success, but without any task instance: nothing ran.\n"
            f"Is its logical date before the DAG's start_date, or has the DAG no tasks? {page}"
        )
        return Annotation(level=Level.ERROR, title="DAG run without tasks", message=message)
    if completion.ending is Ending.FAILURE and not any(one.state == FAILED for one in instances):
        message = (
            f"{name} failed, but none of its tasks did: {describe_progress(run.state, instances)}.\n"
            f"Somebody ended it, it ran longer than its dagrun_timeout, or none of its tasks could run. {page}"
        )
        return Annotation(level=Level.ERROR, title="DAG run failed", message=message)
    if completion.ending is Ending.TIMEOUT:
        waiting = join_names(instances, {one.state for one in instances} - FINISHED)
        why = f"Why: {completion.stall}.\n" if completion.stall else ""
        message = (
            f"{name} did not end in time: {describe_progress(completion.state, instances)}.\n"
            f"{f'Not ended yet: {waiting}.' if waiting else 'None of its tasks has started.'} {completion.fate}\n"
            f"{why}Check it in Airflow, or allow more time with timeout. {page}"
        )
        return Annotation(level=Level.ERROR, title="Time ran out", message=message)
    if completion.ending is Ending.CANCELLED:
        message = (
            f"Cancelled while {name} was waited for: {describe_progress(completion.state, instances)}.\n"
            f"{completion.fate} {page}"
        )
        return Annotation(level=Level.WARNING, title="Cancelled", message=message)
    return None


def _read_upstream(completion: Completion, airflow: AirflowClient) -> dict[str, frozenset[str]]:
    try:
        # Not in this thread: a login during a request has no time limit.
        (upstream,) = airflow.map(partial(fetch_upstream, airflow), [completion.run.dag_id])
    except ActionError:
        return {}  # the chart is then without its critical path
    return upstream


def _illustrate(
    completion: Completion,
    logs: Sequence[tuple[TaskInstance, str]],
    upstream: dict[str, frozenset[str]],
    airflow: AirflowClient,
    redact: Callable[[str], str],
) -> Iterator[Table | Folded | Diagram]:
    run = completion.run
    # The chart cuts names, and half a secret would not be recognized afterwards.
    instances = [replace(one, task_id=redact(one.task_id)) for one in completion.instances]
    above = {redact(name): frozenset(map(redact, names)) for name, names in upstream.items()}
    chart = render_gantt(instances, above, airflow.server_time or datetime.now(UTC))
    if chart:
        yield Diagram(heading=f"What ran when in {run.dag_id}", source=chart, legend=LEGEND)
    if completion.instances:
        rows = tuple(_write_row(one, completion, airflow) for one in sorted(completion.instances, key=_get_start))
        columns = ("task", "state", "tries", "duration", "log")
        heading = f"Task instances of {run.dag_id}"
        yield Table(heading=heading, columns=columns, rows=rows, rest="the run's page has them", is_detail=True)
    for instance, text in logs:
        yield Folded(heading=f"Log of {_name(instance, completion)}, try {instance.try_number}", text=text)


def _get_start(instance: TaskInstance) -> tuple[bool, datetime, str, int]:
    """RunRequest task instances by their beginning, those that never began last."""
    began = instance.start_date if instance.try_number else None
    return began is None, began or datetime.max.replace(tzinfo=UTC), instance.task_id, instance.map_index


def _write_row(instance: TaskInstance, completion: Completion, airflow: AirflowClient) -> tuple[str | Link, ...]:
    run = completion.run
    name, state = instance.name, instance.state or "none"
    if not instance.try_number:
        return name, state, "", "", ""
    page = format_run_url(airflow, run, instance.task_id, instance.map_index)
    tries = f"{instance.try_number} of {instance.max_tries + 1}"
    return (
        name,
        state,
        tries,
        "" if instance.duration is None else _format_seconds(instance.duration),
        Link(text="log", url=page),
    )


def _format_duration(completion: Completion) -> str:
    seconds = completion.run.seconds
    return "" if seconds is None else f" after {_format_seconds(seconds)}"


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else format_elapsed(seconds)  # noqa: PLR2004
