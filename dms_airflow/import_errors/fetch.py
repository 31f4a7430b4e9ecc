"""Which DAG files do not import now, and which DAGs do not serialize, by commands that give a true result on each Airflow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import CommandLine, has_option, list_values, option_value, show
from dms_airflow.airflow.commands.run import execute
from dms_airflow.airflow.commands.send import Execution, run_command
from dms_airflow.airflow.commands.verdict import Verdict
from dms_airflow.airflow.dags import Dag, list_dags, strip_member, was_stored_by_reserialize
from dms_airflow.airflow.version import AIRFLOW_2, DEFAULT_BUNDLE, Version
from dms_airflow.core import tracebacks
from dms_airflow.core.errors import AnswerError
from dms_airflow.core.log import find_or_log
from dms_airflow.core.result import Annotation, Level
from dms_airflow.core.text import join
from dms_airflow.import_errors.instance_reader import InstanceReader
from dms_airflow.import_errors.parse import DagImportError, add_tracebacks, locate, read_ending, read_list
from dms_airflow.import_errors.reparse import (
    DatabaseChange,
    compare_snapshots,
    find_unserialized,
    wait_for_reparse,
    was_rolled_back,
)

if TYPE_CHECKING:
    from dms_airflow.checkout.mapping import Checkout
    from dms_airflow.operations.context import Context

# How long to wait for the dag-processor: it parses each file every 30 s by default, one after the other.
PROCESSOR_LIMIT = 120.0  # seconds
RESERIALIZE_ATTEMPTS = 3

LIST = "dags list-import-errors"
_OUTPUT, _VERBOSE, _LOCAL = ("-o", "--output"), ("-v", "--verbose"), ("-l", "--local")
_FOLDER, _BUNDLE = ("-S", "--subdir"), ("-B", "--bundle-name")

_DEPRECATION = " DeprecationWarning: "
_UNKNOWN_BUNDLES = re.compile(r"Bundles not found: (?P<names>.+)")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The import errors that a command found.

    Args:
        execution: The author's command, with the output that may be shown.
        errors: What it found, not yet located in the checkout.
        imported: The command that imported the files, with all that it printed, which may contain secrets; None without one.
        dags: What Airflow's database has of the instance's DAGs, if it was read.
        warnings: Why the list may be wrong.
    """

    execution: Execution
    errors: tuple[DagImportError, ...] = ()
    imported: Execution | None = None
    dags: tuple[Dag, ...] = ()
    warnings: tuple[Annotation, ...] = ()


def list_import_errors(line: CommandLine, timeout: float, context: Context) -> Listing:
    """Run `dags list-import-errors` so that it imports the files now.

    Airflow 2 always does. Airflow 3.2 does with `--local` and the names of its DAG bundles, which REST knows. What 3.0 and 3.1
    import with `--local` is not what the scheduler imports: there the dag-processor parses the files again first.
    `-o json` is added where the author chose no form: only JSON is never ambiguous. `timeout` is for each command.

    Raises:
        ActionError: The output of the command, or Airflow's database, could not be read.
    """
    if not has_option(line.arguments, *_OUTPUT):
        line = line.add("-o", "json")
    version = context.airflow.version
    if not version.cli_import_is_reliable and not has_option(line.arguments, *_LOCAL):
        return _list_stored(line, timeout, context)
    if not version.imports_by_default:
        return _list_bundles(line, timeout, context)
    execution = execute(line, timeout, context)
    errors = read_list(execution.outcome.records or [], execution.stdout)
    return Listing(execution=execution, errors=errors, imported=execution)


def _list_bundles(line: CommandLine, timeout: float, context: Context) -> Listing:
    """List the import errors of all DAG bundles, or of those that the author chose."""
    instance = InstanceReader(context, timeout=timeout, poll_interval=None)
    view = instance.view()
    is_hidden = option_value(line.arguments, *_OUTPUT) == "json" and not has_option(line.arguments, *_LOCAL, *_VERBOSE)
    if not has_option(line.arguments, *_LOCAL):
        line = line.add("--local")

    def import_bundles(bundles: Iterable[str]) -> tuple[Execution, Execution]:
        sent = line.add(*(word for name in bundles for word in ("-B", name)))
        if is_hidden and (executions := _run_hidden(sent, timeout, context)):
            return executions
        return (execute(sent, timeout, context),) * 2

    names = dict.fromkeys(dag.bundle for dag in view.dags if dag.is_active) | dict.fromkeys(row.bundle for row in view.errors)
    chosen = has_option(line.arguments, *_BUNDLE)
    bundles = [] if chosen else [name for name in names if name] or [DEFAULT_BUNDLE]
    shown, imported = import_bundles(bundles)
    # The database still has bundles that were removed from Airflow's configuration.
    unknown = _UNKNOWN_BUNDLES.match(imported.outcome.reason)
    if unknown and (left := [name for name in bundles if name not in unknown["names"].split(", ")]):
        shown, imported = import_bundles(left)
    return Listing(
        execution=shown,
        errors=read_list(imported.outcome.records or [], imported.stdout, instance.folders),
        imported=imported,
        dags=tuple(view.dags),
        warnings=_warn_of_false_errors(context.airflow.version),
    )


def _run_hidden(line: CommandLine, timeout: float, context: Context) -> tuple[Execution, Execution] | None:
    """Run the command with `-v`: it gives the errors, their whole tracebacks, and Python's warnings.

    With `-v` every library logs, too, what may contain secrets: of what it prints only the result is shown.

    Returns:
        The command as it may be shown, and with all that it printed; None without a result.
    """
    line = line.add("-v")
    context.log.info(f"$ airflow {show(line)}  (only its result is shown)")
    try:
        execution = run_command(context.airflow, line, timeout=timeout)
    except AnswerError as error:  # with `-v` the response may be longer than the action reads
        context.log.info(error.message)
        return None
    if execution.outcome.records is None and not _UNKNOWN_BUNDLES.match(execution.outcome.reason):
        return None
    result = f"{execution.outcome.json}\n"
    context.log.fold("stdout", result)
    return replace(execution, stdout=result, stderr=""), execution


def _list_stored(line: CommandLine, timeout: float, context: Context) -> Listing:
    """List what the dag-processor stored, where only that is true: after it has parsed again what it knows of."""
    limit = min(timeout, PROCESSOR_LIMIT)
    instance = InstanceReader(context, timeout=limit, poll_interval=None)
    before = instance.view()
    active = {dag.path for dag in before.dags if dag.is_active}
    _, awaited = wait_for_reparse(instance, before, active | {error.path for error in before.errors}, active)
    folders = instance.folders
    execution = execute(line, timeout, context)
    rows = execution.outcome.records or []
    own = [row for row in rows if not was_stored_by_reserialize(str(row.get("filepath")))]
    if len(own) < len(rows):
        context.log.info(f"Left out: {len(rows) - len(own)} import errors that dags reserialize stored on this Airflow.")
    old = Annotation(
        level=Level.WARNING,
        title="Import errors may be old",
        message=f"Within {limit:.0f} s Airflow's dag-processor did not parse all files again. Still waiting for: "
        f"{join(awaited, 20)}.\nCheck that the dag-processor runs; for a deleted file, the wait ends when it notices the "
        "deletion.",
    )
    errors = read_list(own, execution.stdout, folders)
    outcome = execution.outcome
    if outcome.lists_errors and not own:
        outcome = replace(outcome, verdict=Verdict.SUCCEEDED, reason="", records=[])
    return Listing(
        execution=replace(execution, outcome=outcome),
        errors=errors,
        dags=tuple(before.dags),
        warnings=(old,) if awaited else (),
    )


def reserialize(line: CommandLine, timeout: float, context: Context) -> Listing:
    """Run `dags reserialize`, and then check what it did: it ends with 0 whatever is broken, and prints no result.

    The files are imported again, by `dags list-import-errors`. The database then shows which DAGs were parsed, and which
    of them do not serialize: Airflow 2 no longer has a version of such a DAG, Airflow 3 has a new import error.

    Raises:
        ActionError: As `list_import_errors`; where the database cannot be read, nothing was run.
    """
    if has_option(line.arguments, "--clear-only", "-h", "--help"):
        return Listing(execution=execute(line, timeout, context))
    instance = InstanceReader(context, timeout=timeout, poll_interval=None)
    left = RESERIALIZE_ATTEMPTS
    while True:
        before = instance.view()
        execution = execute(line, timeout, context)
        if not was_rolled_back(execution, before, instance):
            break
        left -= 1
        context.log.info("It met another writer of the database, and wrote nothing.")
        if not left:
            reason = f"{execution.outcome.reason}; {RESERIALIZE_ATTEMPTS} times it met another writer of the database"
            advice = "As a rule that is the scheduler, which stores a new DAG at the same moment. Run the step again."
            return Listing(execution=_conclude(execution, Verdict.FAILED, reason, advice))
    ending = read_ending(execution.stderr, {dag.dag_id: dag.path for dag in before.dags})
    if execution.outcome.verdict is Verdict.FAILED and ending is None:
        return Listing(execution=execution)
    listing = list_import_errors(CommandLine(name=LIST, arguments=_copy_folders(line)), timeout, context)
    listed = listing.execution.outcome
    if not (listed.succeeded or listed.lists_errors):
        reason = f"`{LIST}` gave no result afterwards: {listed.reason}"
        return Listing(execution=_conclude(execution, Verdict.UNKNOWN, reason, listed.advice))
    if ending is not None:
        return replace(listing, execution=execution, errors=(*ending, *listing.errors))
    change = compare_snapshots(before, instance.view(), {strip_member(error.instance_path) for error in listing.errors})
    errors = (*listing.errors, *find_unserialized(change, instance, execution))
    warnings = (*listing.warnings, *_warn_of_false_errors(instance.airflow.version))
    return replace(listing, execution=_judge_change(execution, change, errors), errors=errors, warnings=warnings)


def _judge_change(execution: Execution, change: DatabaseChange, errors: Sequence[DagImportError]) -> Execution:
    if errors:
        return _conclude(execution, Verdict.LISTED_ERRORS, f"import errors: {len(errors)}")
    if change.unwritten and not change.written:
        reason = f"{execution.outcome.reason}; it wrote none of the {len(change.unwritten)} DAGs"
        return _conclude(execution, Verdict.UNKNOWN, reason, execution.outcome.advice)
    return _conclude(execution, Verdict.SUCCEEDED)


def _conclude(execution: Execution, verdict: Verdict, reason: str = "", advice: str = "") -> Execution:
    return replace(execution, outcome=replace(execution.outcome, verdict=verdict, reason=reason, advice=advice))


def _copy_folders(line: CommandLine) -> tuple[str, ...]:
    """Give the options with which the author chose folders or DAG bundles."""
    options = ((names[0], value) for names in (_FOLDER, _BUNDLE) for value in list_values(line.arguments, *names))
    return tuple(word for option in options for word in option)


def find_places(
    listing: Listing, checkout: Checkout, timeout: float, context: Context, *, with_warnings: bool = False
) -> tuple[tuple[DagImportError, ...], tuple[str, ...]]:
    """Find the file and line of the checkout for each error.

    Airflow cuts a traceback to its last two frames. Where neither is of the checkout, its whole traceback comes from the log
    of the same command with `-v`, and so do warnings. Nothing else of that log is used or shown.

    Returns:
        The errors, and all that was printed while the files were imported, for the warnings in it.
    """
    dags = listing.dags
    if listing.errors and not dags:  # their files show how the instance's paths are those of the checkout
        dags = find_or_log(lambda: list_dags(context.airflow, only_active=False), (), "The instance's DAG files", context.log)
    files = [dag.path for dag in dags]
    errors = locate(listing.errors, checkout, files)
    execution, imported, version = listing.execution, listing.imported, context.airflow.version
    if imported is None:
        return errors, (execution.stdout, execution.stderr)
    printed = (execution.stdout, execution.stderr, imported.stdout, imported.stderr)
    is_placed = all(error.line or not error.stack_trace.startswith(tracebacks.HEADER) for error in errors)
    # Without `-v` Airflow prints the warnings of its own modules only. On Airflow 2 they show whether the owner wants any.
    # `dags reserialize` prints all warnings.
    has_warnings = version.cli_import_is_reliable if version.major > AIRFLOW_2.major else _DEPRECATION in imported.stderr
    lacks_warnings = with_warnings and execution.line.name == LIST and has_warnings
    if (is_placed and not lacks_warnings) or has_option(imported.line.arguments, *_VERBOSE):
        return errors, printed
    line = imported.line.add("-v")
    what = "warnings" if is_placed else "whole tracebacks"
    context.log.info(f"$ airflow {show(line)}  (for {what}; its output is not shown)")
    verbose = find_or_log(lambda: run_command(context.airflow, line, timeout=timeout), None, what.capitalize(), context.log)
    if verbose is None:
        return errors, printed
    if not is_placed:
        errors = locate(add_tracebacks(listing.errors, f"{verbose.stdout}\n{verbose.stderr}"), checkout, files)
    return errors, (verbose.stdout, verbose.stderr)


def _warn_of_false_errors(version: Version) -> tuple[Annotation, ...]:
    """Warn of an Airflow whose command line does not import files as the scheduler does."""
    if version.cli_import_is_reliable:
        return ()
    message = (
        f"On Airflow {version.number} this command imports DAG files without the DAG folder's own modules: a DAG without "
        "errors that imports a helper gets a ModuleNotFoundError.\n"
        f"Leave out --local and dags reserialize: {LIST} and deploy-gate use what the dag-processor found."
    )
    return (Annotation(level=Level.WARNING, title="Import errors may be false", message=message),)
