"""How each Airflow tells its import errors, and where what it tells is not the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import has_option
from dms_airflow.airflow.commands.run import CommandLine, execute
from dms_airflow.airflow.dags import is_left_behind, read_report
from dms_airflow.airflow.version import DEFAULT_BUNDLE
from dms_airflow.core.errors import ActionError
from dms_airflow.core.result import Annotation, Level
from dms_airflow.core.text import join
from dms_airflow.import_errors.instance import Instance
from dms_airflow.import_errors.parse import names_dag, read_ending, read_list, read_reserialize
from dms_airflow.import_errors.parse_log import names_folder, read_bundles
from dms_airflow.import_errors.reparse import follow

if TYPE_CHECKING:
    from dms_airflow.airflow.commands.run import Execution
    from dms_airflow.airflow.version import Dialect
    from dms_airflow.import_errors.parse import DagImportError
    from dms_airflow.operations.context import Context

# How long to wait for the dag-processor: it parses each file every 30 s by default, one after the other.
PROCESSOR_LIMIT = 120.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a command told of import errors, and why that may not be the truth."""

    execution: Execution
    errors: tuple[DagImportError, ...]
    warnings: tuple[Annotation, ...] = ()


def list_import_errors(line: CommandLine, timeout: float, context: Context) -> Told:
    """Run `dags list-import-errors` in the way in which this Airflow tells the truth.

    Airflow 2 imports the files, and with `-v` its log says so: that is the proof, without a request. Airflow 3 reads its
    database without further options, which harms nothing.
    """
    # JSON is the only form of the answer that is never ambiguous; -v adds whole tracebacks in place of two frames.
    if not has_option(line.arguments, "-o", "--output"):
        line = line.add("-o", "json")
    if not has_option(line.arguments, "-v", "--verbose"):
        line = line.add("-v")
    known = context.airflow.known_dialect
    asks_to_import = has_option(line.arguments, "--local")  # an option of Airflow 3
    if asks_to_import or (known and known.import_now() != ()):
        return _list_as_airflow_3(line, timeout, context)
    execution = execute(line, timeout, context)
    if known or names_folder(execution.stdout) or context.airflow.dialect.import_now() == ():
        return Told(execution=execution, errors=read_list(execution.outcome.answer or [], execution.stdout))
    context.log.info("This Airflow listed what it had stored.")
    return _list_as_airflow_3(line, timeout, context)


def _list_as_airflow_3(line: CommandLine, timeout: float, context: Context) -> Told:
    dialect = context.airflow.learn_version()
    local = has_option(line.arguments, "--local")
    if dialect.import_now() is None and not local:
        return _list_stored(line, timeout, context)
    bundled = has_option(line.arguments, "-B", "--bundle-name")

    def run(*bundles: str) -> Execution:
        options = dialect.import_now(bundles) or ()  # --local, and the bundles
        missing = (*(() if local else options[:1]), *(() if bundled else options[1:]))
        return execute(line.add(*missing), timeout, context)

    execution = run()
    bundles = read_bundles(execution.stdout)
    if not bundled and bundles and set(bundles) != {DEFAULT_BUNDLE}:
        execution = run(*bundles)
    errors = read_list(execution.outcome.answer or [], execution.stdout)
    return Told(execution=execution, errors=errors, warnings=_doubt(line, dialect))


def _list_stored(line: CommandLine, timeout: float, context: Context) -> Told:
    """List what the dag-processor stored, where only that is true: after it has parsed again what it knows of."""
    with Instance(context, timeout=min(timeout, PROCESSOR_LIMIT), poll_interval=None) as instance:
        before = instance.view()
        active = {dag.path for dag in before.dags if dag.is_active}
        _, awaited = follow(instance, before, active | {error.path for error in before.errors}, active)
        folders = instance.folders
    execution = execute(line, timeout, context)
    rows = execution.outcome.answer or []
    own = [row for row in rows if not is_left_behind(str(row.get("filepath")))]
    if len(own) < len(rows):
        context.log.info(f"Left out: {len(rows) - len(own)} import errors that dags reserialize stored on this Airflow.")
    old = Annotation(
        level=Level.WARNING,
        title="Import errors may be old",
        message=f"Within {PROCESSOR_LIMIT:.0f} s Airflow's dag-processor did not parse again what it knows of. Still awaited: "
        f"{join(awaited, 20)}.\nLook whether the dag-processor runs; a file that was deleted is awaited until it notices.",
    )
    errors = read_list(own, execution.stdout, folders)
    outcome = execution.outcome
    if outcome.lists_errors and not own:
        outcome = replace(outcome, succeeded=True, reason="", lists_errors=False, answer=[])
    return Told(execution=replace(execution, outcome=outcome), errors=errors, warnings=(old,) if awaited else ())


def reserialize(line: CommandLine, timeout: float, context: Context) -> Told:
    """Run `dags reserialize`, whose log names the import errors."""
    execution = execute(line, timeout, context)
    # Airflow 3 names its bundles before it does anything else.
    warnings = _doubt(line, context.airflow.learn_version()) if read_bundles(execution.stdout) else ()
    errors = read_reserialize(execution.stdout)
    if names_dag(execution.stderr):
        errors += read_ending(execution.stderr, _find_files(timeout, context))
    return Told(execution=execution, errors=errors, warnings=warnings)


def _find_files(timeout: float, context: Context) -> dict[str, str]:
    """Ask which file defines which DAG, where an error names the DAG only; nothing when Airflow does not tell."""
    try:
        report = execute(CommandLine(name="dags report", arguments=("-o", "json")), timeout, context).outcome.answer
    except ActionError as error:
        context.log.info(f"The DAG's file is not known: {error.message}")
        return {}
    return {dag_id: file.path for file in read_report(report or []) for dag_id in file.dag_ids}


def _doubt(line: CommandLine, dialect: Dialect) -> tuple[Annotation, ...]:
    """Warn of an Airflow whose command line does not import files as the scheduler does."""
    if dialect.import_now() is not None:
        return ()
    harm = ""
    if line.name == "dags reserialize":
        harm = " It has stored them, and such DAGs are out of service until the dag-processor parses their files again."
    message = (
        f"On Airflow {dialect.version} this command imports DAG files without the DAG folder's own modules: a sound DAG that "
        f"imports a helper is told with a ModuleNotFoundError.{harm}\n"
        "dags list-import-errors without --local, and deploy-gate, ask the dag-processor instead."
    )
    return (Annotation(level=Level.WARNING, title="Import errors may be false", message=message),)
