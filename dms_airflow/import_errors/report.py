"""Import errors judged by `fail-on` and `baseline`, and what a step reports of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.airflow.commands.run import TimedParams
from dms_airflow.airflow.dags import strip_member
from dms_airflow.core.inputs import given, parse_choice, parse_text
from dms_airflow.core.result import Annotation, Folded, Level, Link, Table
from dms_airflow.import_errors.baseline import Baseline, compare, read_baseline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dms_airflow.ci.github import Runner
    from dms_airflow.import_errors.parse import DagImportError
    from dms_airflow.operations.context import Context


@dataclass(frozen=True, kw_only=True)
class ImportErrorParams(TimedParams):
    """The inputs that say which import errors fail a step, and where the DAG files are."""

    fail_on: str = given(parse_choice("any", "new", "none"), default="any")
    baseline: str = given(str.strip, default="")  # whatever it holds, it never stops a step
    dags_path: str = given(parse_text, default="")

    def counts(self, error: DagImportError) -> bool:
        """Tell whether an error fails the step."""
        return self.fail_on == "any" or (self.fail_on == "new" and error.new)


@dataclass(frozen=True, kw_only=True)
class ErrorReport:
    """What a step says of its import errors.

    Args:
        counted: How many of them fail the step.
        headline: One line.
        outputs: Those of import errors.
        annotations: Most important first; a warning when the baseline could not be read.
        tables: Of the summary: the new, the known and the resolved ones.
        stack_traces: Of the summary, behind everything that is short.
    """

    counted: int
    headline: str
    outputs: Mapping[str, Any]
    annotations: tuple[Annotation, ...]
    tables: tuple[Table, ...]
    stack_traces: tuple[Folded, ...]


def report_errors(
    errors: Sequence[DagImportError],
    params: ImportErrorParams,
    context: Context,
    *,
    complete: bool = True,
    notes: Mapping[str, str] | None = None,
) -> ErrorReport:
    """Judge import errors by `fail-on` and `baseline`, print them to the log, and say what the step reports of them.

    Args:
        errors: All of the step, located.
        params: The policy.
        context: Where the checkout is, which change this is, and the log.
        complete: No error can be missing from `errors`. Else none of the baseline is said to be resolved.
        notes: What else to say of an error, by the instance's path of its file.
    """
    baseline = _read_known(params, context.runner)
    compared = compare(errors, baseline.errors)
    ordered = sorted(compared.errors, key=lambda error: _rank(error, params))
    resolved = compared.resolved if complete else ()
    for error in ordered:
        context.log.info(f"{_place(error)}  {_summarize(error)}{'' if error.new else '  (known)'}")
    for error in resolved:
        context.log.info(f"Resolved since the baseline: {_place(error)}  {_summarize(error)}")
    return ErrorReport(
        counted=sum(map(params.counts, ordered)),
        headline=_sum_up(ordered, len(resolved)),
        outputs={
            "import-errors": [error.to_json() for error in ordered],
            "import-error-count": len(ordered),
            "new-import-error-count": sum(error.new for error in ordered),
        },
        annotations=(
            *_warn(baseline),
            *(_annotate(error, params, (notes or {}).get(strip_member(error.instance_path), "")) for error in ordered),
        ),
        tables=tuple(_tabulate(ordered, resolved, context.runner)),
        stack_traces=tuple(map(_fold, ordered)),
    )


def _read_known(params: ImportErrorParams, runner: Runner) -> Baseline:
    if params.baseline:
        return read_baseline(params.baseline, runner.workspace)
    # An earlier step's output is empty when that step could not tell.
    return Baseline(problem="fail-on is new, but baseline is empty" if params.fail_on == "new" else "")


def _rank(error: DagImportError, params: ImportErrorParams) -> tuple[Any, ...]:
    place = error.file or error.instance_path
    return (not params.counts(error), not error.new, place, error.line or 0)


def _sum_up(errors: Sequence[DagImportError], resolved: int) -> str:
    count = {0: "No import errors", 1: "1 import error"}.get(len(errors), f"{len(errors)} import errors")
    known = sum(not error.new for error in errors)
    parts = (count, f"{known} known from the baseline" if known else "", f"{resolved} resolved" if resolved else "")
    return ", ".join(filter(None, parts))


def _warn(baseline: Baseline) -> Iterator[Annotation]:
    if baseline.problem:
        yield Annotation(
            level=Level.WARNING,
            title="Baseline not readable",
            message=f"Every import error counts as new, since the baseline cannot be read: {baseline.problem}.\n"
            "Give the output import-errors of an earlier step, or the path of a file in the workspace that holds it.",
        )


def _annotate(error: DagImportError, params: ImportErrorParams, note: str) -> Annotation:
    where = "" if error.file else f"\nOn the instance, in {error.instance_path}; no file of the checkout is this one."
    where += f"\n{note}" if note else ""
    return Annotation(
        level=Level.ERROR if params.counts(error) else Level.WARNING,
        title=f"DAG import error: {error.exception or 'unknown'}",
        message=f"{_describe(error)}{where}\n{error.stack_trace}".rstrip(),
        file=error.file,
        line=error.line,
    )


def _describe(error: DagImportError) -> str:
    return ": ".join(filter(None, (error.exception, error.message)))


def _summarize(error: DagImportError) -> str:
    return _describe(error).partition("\n")[0]


def _place(error: DagImportError) -> str:
    if error.file is None:
        return f"{error.instance_path} (on the instance)"
    return f"{error.file}:{error.line}" if error.line else error.file


def _tabulate(errors: Sequence[DagImportError], resolved: Sequence[DagImportError], runner: Runner) -> Iterator[Table]:
    new = [error for error in errors if error.new]
    known = [error for error in errors if not error.new]
    tables = (
        ("New import errors" if known else "Import errors", "where to fix it", new, _link),
        ("Known import errors", "where to fix it", known, _link),
        ("Resolved since the baseline", "where it was", resolved, _link_resolved),
    )
    for heading, where, told, link in tables:
        if told:
            rows = tuple((link(error, runner), _summarize(error), error.instance_path) for error in told)
            yield Table(heading=heading, columns=(where, "what is wrong", "file on the instance"), rows=rows)


def _link(error: DagImportError, runner: Runner) -> str | Link:
    """Lead to the file and line at this commit on GitHub, or name the place where there is no such page."""
    page = runner.name_page(error.file, error.line)
    return Link(text=_place(error), url=page) if page else _place(error)


def _link_resolved(error: DagImportError, runner: Runner) -> str | Link:
    """Lead to the file where it is still there, and to no line: the baseline's is of an older commit."""
    try:
        exists = bool(error.file) and (runner.workspace / str(error.file)).is_file()
    except (OSError, ValueError):  # a baseline may hold any text
        exists = False
    return _link(replace(error, line=None), runner) if exists else _place(error)


def _fold(error: DagImportError) -> Folded:
    return Folded(heading=f"{_place(error)}  {_summarize(error)}", text=error.stack_trace)
