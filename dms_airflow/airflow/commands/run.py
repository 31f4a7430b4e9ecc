"""One CLI command, run for its author: sent, shown in the log, and judged.

`dags test`, `dags backfill` and `backfill create` write how they went only to Airflow's log, in whatever form the instance's
owner has chosen; `tasks clear` prints nothing when it worked. What such a command did is found in Airflow's database: an
observer reads what that holds before the command, and returns a function that concludes how the command ended, where its output
leaves that open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dms_airflow.airflow.client import MOST_ENTRIES, PAGE_SIZE
from dms_airflow.airflow.commands.arguments import CommandLine, has_option, option_value, read_positionals, show
from dms_airflow.airflow.commands.send import Execution, run_command
from dms_airflow.airflow.commands.verdict import ADVICE_CONFIRM, Outcome, Verdict
from dms_airflow.core.errors import AnswerError, AnswerTimeoutError
from dms_airflow.core.inputs import input_field, parse_duration
from dms_airflow.core.text import join

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

    Conclude = Callable[[Outcome], Outcome]
    Row = Mapping[str, Any]

# How long a command may take when `timeout` is empty: a backfill runs until its work is done.
LONGEST_COMMAND = 1800.0  # seconds

# How long a command may take that asks a question: without a terminal Airflow ends it at once, with an open pipe never.
LONGEST_QUESTION = 120.0  # seconds

# Ends as early as any other command that imports DAG files, and changes nothing.
PROBE = CommandLine(name="dags list-import-errors", arguments=("-o", "json"))
PROBE_TIMEOUT = 600.0  # seconds

# No such DAG, or no such date: the command itself says so.
_NOTHING_THERE = (400, 404, 422)

NO_PROBE = (
    "A second command, `dags list-import-errors`, gave no result either, so something ends Airflow's command line: a DAG file "
    "that calls `sys.exit()` when it is imported, lack of memory, or a time limit."
)
LOOK_AT_RUN = "The DAG run's page in Airflow has the logs of its tasks."


@dataclass(frozen=True, kw_only=True)
class TimedParams:
    """The input of everything that runs commands."""

    timeout: float = input_field(parse_duration, default=LONGEST_COMMAND)

    def list_secrets(self) -> Sequence[str]:
        """List what must be masked: nothing."""
        return ()


def execute(line: CommandLine, timeout: float, context: Context) -> Execution:
    """Send the command, show what it printed, judge it."""
    conclude = observe(line, context)
    context.log.info(f"$ airflow {show(line)}")
    if line.needs_confirmation:
        timeout = min(timeout, LONGEST_QUESTION)
    try:
        execution = run_command(context.airflow, line, timeout=timeout)
    except AnswerTimeoutError as error:
        if not line.needs_confirmation:
            raise
        raise AnswerTimeoutError(error.message, f"{ADVICE_CONFIRM} {error.hint}") from None
    if line.command.secret_output:
        context.log.mask_in_log(execution.stdout.strip())
    else:
        context.log.fold("stdout", execution.stdout)
    context.log.fold("stderr", execution.stderr)
    if line.name == "version" and execution.outcome.succeeded:
        context.airflow.keep_version(execution.stdout.strip().rpartition("\n")[2].strip())
    return replace(execution, outcome=conclude(execution.outcome))


# --- what a command did ---------------------------------------------------------------------------------------------------


def observe(line: CommandLine, context: Context) -> Conclude:
    """Read what a command is going to change, and return what concludes, afterwards, from the changes whether it worked.

    Raises:
        ActionError: Airflow's database could not be read. Nothing was run.
    """
    name = f"{line.name} --clear-only" if has_option(line.arguments, "--clear-only") else line.name
    if has_option(line.arguments, "-h", "--help") or name not in _OBSERVERS:
        return lambda outcome: outcome
    conclude = _OBSERVERS[name](line, context)
    return lambda outcome: conclude(outcome) if outcome.verdict is Verdict.UNKNOWN else outcome


def _succeed(outcome: Outcome) -> Outcome:
    return replace(outcome, verdict=Verdict.SUCCEEDED, reason="", advice="")


# --- DAG runs ------------------------------------------------------------------------------------------------------------


def _observe_runs(line: CommandLine, context: Context) -> Conclude:
    """`dags test` and `dags backfill` make DAG runs, in place of those of the same dates, too, and wait for them."""
    is_backfill = line.name == "dags backfill"
    is_pattern = has_option(line.arguments, "--treat-dag-id-as-regex", "--treat-dag-as-regex")
    dag_id = "~" if is_pattern else "".join(read_positionals(line.command, line.arguments)[:1])
    start, end = option_value(line.arguments, "-s", "--start-date"), option_value(line.arguments, "-e", "--end-date")

    def fetch() -> dict[tuple[str, ...], Row]:
        path = f"/dags/{quote(dag_id, safe='~')}/dagRuns"
        if is_backfill:
            runs = _fetch(context, path, _make_range(start or end or "", end or start or ""), most=MOST_ENTRIES)
            return {_identify(run): run for run in runs if run.get("run_type") == "backfill"}
        runs = _fetch(context, path, [("order_by", "-id")])
        return {_identify(run): run for run in runs if str(run.get("dag_run_id")).startswith("manual__")}

    before = fetch()

    def conclude(outcome: Outcome) -> Outcome:
        new = [run for identity, run in fetch().items() if identity not in before]
        # The scheduler may make some while the command makes its own, which is the newest.
        return _conclude_from_runs(outcome, new if is_backfill else new[:1], dag_id)

    return conclude


def _make_range(start: str, end: str) -> list[tuple[str, str]]:
    """Make the part of a query that leaves out the DAG runs of other dates; empty where Airflow may read the dates otherwise.

    Without a time zone they are in the instance's, which is not known: a day more at both ends holds them in any.
    """
    try:
        first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
        range_ = (("execution_date_gte", first - timedelta(days=1)), ("execution_date_lte", last + timedelta(days=1)))
        return [(name, moment.isoformat()) for name, moment in range_]
    except (ValueError, OverflowError):
        return []


def _conclude_from_runs(outcome: Outcome, runs: Sequence[Row], dag_id: str) -> Outcome:
    failed = [str(run.get("dag_run_id")) for run in runs if run.get("state") == "failed"]
    unfinished = [str(run.get("dag_run_id")) for run in runs if run.get("state") not in ("failed", "success")]
    if failed:
        return replace(outcome, verdict=Verdict.FAILED, reason=f"DAG run failed: {join(failed)}", advice=LOOK_AT_RUN)
    if unfinished:
        return replace(outcome, reason=f"the command ended before its DAG run did: {join(unfinished)}", advice=LOOK_AT_RUN)
    if not runs:
        return replace(outcome, reason=f"{outcome.reason}; no DAG run of {dag_id} was made")
    return _succeed(outcome)


def _identify(run: Row) -> tuple[str, ...]:
    """What distinguishes a DAG run from one of the same id that was there before."""
    return tuple(str(run.get(key)) for key in ("dag_id", "dag_run_id", "start_date", "end_date", "state"))


def _observe_backfill_create(line: CommandLine, context: Context) -> Conclude:
    """`backfill create` makes a backfill, which the scheduler runs."""
    dag_id = option_value(line.arguments, "--dag-id") or ""

    def fetch_newest() -> object:
        rows = _fetch(context, "/backfills", [("dag_id", dag_id), ("order_by", "-id")])
        return rows[0].get("id") if rows else None

    before = fetch_newest()

    def conclude(outcome: Outcome) -> Outcome:
        if fetch_newest() != before:
            return _succeed(outcome)
        return replace(outcome, reason=f"{outcome.reason}; no backfill of {dag_id} was made")

    return conclude


def _fetch(context: Context, path: str, query: list[tuple[str, str]], most: int = PAGE_SIZE) -> Sequence[Row]:
    """Fetch so many entries of a list, by default its first page; none where Airflow does not have the list."""
    try:
        return context.airflow.fetch_list(path, query, most=most)
    except AnswerError as error:
        if error.status in _NOTHING_THERE:
            return []
        raise


# --- without a result ----------------------------------------------------------------------------------------------------


def _observe_silence(_line: CommandLine, context: Context) -> Conclude:
    """A command that printed nothing has worked, unless something ends every command of this Airflow before it is done."""

    def conclude(outcome: Outcome) -> Outcome:
        context.log.info(f"$ airflow {show(PROBE)}  (the command above printed nothing: does Airflow's command line work?)")
        probe = run_command(context.airflow, PROBE, timeout=PROBE_TIMEOUT).outcome
        return _succeed(outcome) if probe.succeeded or probe.lists_errors else replace(outcome, advice=NO_PROBE)

    return conclude


_OBSERVERS: Mapping[str, Callable[[CommandLine, Context], Conclude]] = {
    "backfill create": _observe_backfill_create,
    **dict.fromkeys(("dags backfill", "dags test"), _observe_runs),
    **dict.fromkeys(("dags reserialize --clear-only", "tasks clear", "tasks render"), _observe_silence),
}
