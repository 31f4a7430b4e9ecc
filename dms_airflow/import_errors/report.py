"""Judges import errors by `fail-on` and `baseline`, and makes the step's report of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands.run import TimedParams
from dms_airflow.airflow.dags import strip_member
from dms_airflow.checkout.mapping import LIBRARY
from dms_airflow.core import tracebacks
from dms_airflow.core.findings import Finding, Rule, count_causes, group
from dms_airflow.core.inputs import input_field, parse_boolean, parse_choice, parse_text
from dms_airflow.core.result import Annotation, Ending, Level, Link, Result, Table
from dms_airflow.core.text import count
from dms_airflow.import_errors.baseline import Baseline, compare, read_baseline
from dms_airflow.import_errors.parse import DagImportError

if TYPE_CHECKING:
    from dms_airflow.ci.runner import Runner
    from dms_airflow.operations.context import Context

# What a step writes of its import errors.
ERROR_OUTPUTS = frozenset({"import-errors", "import-error-count", "new-import-error-count", "findings"})

_RULES = {"AirflowDagDuplicatedIdException": Rule.DUPLICATE_DAG_ID, "SerializationError": Rule.SERIALIZATION_ERROR}


@dataclass(frozen=True, kw_only=True)
class ImportErrorParams(TimedParams):
    """The inputs that say which import errors fail a step, and where the DAG files are."""

    fail_on: str = input_field(parse_choice("any", "new", "none"), default="any")
    baseline: str = input_field(str.strip, default="")  # a wrong one never stops a step
    dags_path: str = input_field(parse_text, default="")
    warnings: bool = input_field(parse_boolean, default=True)

    def counts(self, error: DagImportError) -> bool:
        """Whether an error fails the step."""
        return self.fail_on == "any" or (self.fail_on == "new" and error.new)


def report_errors(
    errors: Sequence[DagImportError],
    params: ImportErrorParams,
    context: Context,
    *,
    complete: bool = True,
    out_of_service: Mapping[str, Sequence[str]] | None = None,
    warnings: Iterable[Finding] = (),
    baseline: Baseline | None = None,
) -> Result:
    """Judge import errors by `fail-on` and `baseline`, and report them: one finding for each cause.

    `errors` are all of the step, located; unless they are `complete`, no error of the baseline counts as resolved.
    `out_of_service` has the DAG ids that a broken file takes out of service, by the instance's path of the file. `warnings` are
    those of the instance, which never fail the step; `baseline` is by default what `params` names.
    """
    baseline = baseline or read_known(params, context.runner)
    compared = compare(errors, baseline.errors)
    ordered = sorted(compared.errors, key=lambda error: _rank(error, params))
    resolved = [_find(error, params) for error in compared.resolved] if complete else []
    stopped = out_of_service or {}
    causes = group(_find(error, params, stopped.get(strip_member(error.instance_path), ())) for error in ordered)
    warned = [replace(one, new=one.fingerprint not in baseline.fingerprints) for one in group(warnings)]
    for finding in resolved:
        context.log.info(f"Resolved since the baseline: {finding.place}  {finding.headline}")
    return Result(
        ending=Ending.FAILURE if any(finding.level is Level.ERROR for finding in causes) else Ending.SUCCESS,
        headline=_sum_up(causes, len(resolved), warned),
        outputs={
            "import-errors": [error.to_json() for error in ordered],
            "import-error-count": len(ordered),
            "new-import-error-count": sum(error.new for error in ordered),
        },
        findings=group((*causes, *warned)),
        annotations=(_warn(baseline),) if baseline.problem else (),
        blocks=tuple(_tabulate_resolved(resolved, context.runner)),
    )


def read_known(params: ImportErrorParams, runner: Runner) -> Baseline:
    """Read the import errors that are known from before."""
    if params.baseline:
        return read_baseline(params.baseline, runner.workspace)
    # An earlier step's output is empty when that step could not find out.
    return Baseline(problem="fail-on is new, but baseline is empty" if params.fail_on == "new" else "")


def _find(error: DagImportError, params: ImportErrorParams, stopped: Sequence[str] = ()) -> Finding:
    return Finding(
        rule=_RULES.get(error.exception, Rule.IMPORT_ERROR),
        level=Level.ERROR if params.counts(error) else Level.WARNING,
        title=f"DAG import error: {error.exception or 'unknown'}",
        message=": ".join(filter(None, (error.exception, error.message))),
        file=error.file,
        line=error.line,
        instance_path="" if error.file else _find_place(error),
        affects=(error.dag_file or error.instance_path,),
        out_of_service=tuple(stopped),
        details=error.stack_trace,
        new=error.new,
    )


def _find_place(error: DagImportError) -> str:
    """Find the instance's file to fix: the deepest of the traceback that is of no library, else the DAG file."""
    files = [frame.file for frame in reversed(tracebacks.parse(error.stack_trace).frames)]
    own = (file for file in files if file.startswith("/") and not LIBRARY.search(file))
    return next(own, error.instance_path)


def _sum_up(causes: Sequence[Finding], resolved: int, warned: Sequence[Finding]) -> str:
    known, known_warnings = (sum(not finding.new for finding in findings) for findings in (causes, warned))
    warnings = count(len(warned), "warning") + (f" ({known_warnings} known)" if known_warnings else "")
    parts = (
        f"Import errors: {count_causes(causes)}" if causes else "No import errors",
        f"{count(known, 'cause')} known from the baseline" if known else "",
        f"{resolved} resolved" if resolved else "",
        warnings if warned else "",
    )
    return ", ".join(filter(None, parts))


def _warn(baseline: Baseline) -> Annotation:
    return Annotation(
        level=Level.WARNING,
        title="Baseline not readable",
        message=f"Every import error counts as new, since the baseline cannot be read: {baseline.problem}.\n"
        "Give the output import-errors of an earlier step, or the path of a file in the workspace that holds it.",
    )


def _rank(error: DagImportError, params: ImportErrorParams) -> tuple[Any, ...]:
    place = error.file or error.instance_path
    return not params.counts(error), not error.new, place, error.line or 0, error.instance_path


def _tabulate_resolved(resolved: Sequence[Finding], runner: Runner) -> Iterator[Table]:
    if resolved:
        rows = tuple((_link(finding, runner), finding.headline, *finding.affects) for finding in resolved)
        columns = ("Where it was", "What was wrong", "DAG file on the instance")
        yield Table(heading="Resolved since the baseline", columns=columns, rows=rows)


def _link(finding: Finding, runner: Runner) -> str | Link:
    """Link to the file where it still exists, and to no line: the baseline's is of an older commit."""
    try:
        exists = bool(finding.file) and (runner.workspace / str(finding.file)).is_file()
    except (OSError, ValueError):  # a baseline may contain any text
        exists = False
    page = runner.name_page(finding.file, None) if finding.file and exists else ""
    return Link(text=replace(finding, line=None).place, url=page) if page else finding.place
