"""What the deploy gate knows when it ends, and the step's report of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.dags import strip_member
from dms_airflow.core.findings import Finding, Rule, count, group
from dms_airflow.core.result import Annotation, Check, Ending, Level, Result, Table
from dms_airflow.core.text import first_line, join
from dms_airflow.deploy.dag_changes import list_blocks
from dms_airflow.deploy.deployed_files import Arrival, Doubt
from dms_airflow.import_errors.report import report_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dms_airflow.airflow.dags import ParsedFile
    from dms_airflow.deploy.dag_changes import DagChange
    from dms_airflow.import_errors.baseline import Baseline
    from dms_airflow.import_errors.parse import DagImportError
    from dms_airflow.import_errors.report import ImportErrorParams
    from dms_airflow.operations.context import Context

SLOWEST = 5  # files to name

NOTHING_YET = Arrival(report=None)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What fails the gate besides import errors."""

    message: str
    ending: Ending = Ending.FAILURE
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the gate knows when it ends.

    `complete`: every import error is among `errors`. `vanished`: one for each DAG that no file defines any more. `changes` are
    those of DAGs, None where they are not known. `out_of_service` are the DAG ids that nobody can run while their file is
    broken, by the instance's absolute path of the file.
    """

    arrival: Arrival = NOTHING_YET
    errors: tuple[DagImportError, ...] = ()
    vanished: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    complete: bool = False
    steps: tuple[tuple[str, ...], ...] = ()
    out_of_service: Mapping[str, Sequence[str]] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    checks: tuple[Check, ...] = ()
    changes: tuple[DagChange, ...] | None = None


def report_gate(findings: Findings, params: ImportErrorParams, context: Context, baseline: Baseline) -> Result:
    """Make the step's result of what the gate found."""
    reported = report_errors(
        findings.errors,
        params,
        context,
        complete=findings.complete,
        out_of_service=findings.out_of_service,
        warnings=findings.warnings,
        baseline=baseline,
    )
    for problem in findings.problems:
        context.log.info(problem.message)
    report = findings.arrival.report or ()
    ending, headline = reported.ending, reported.headline
    if findings.problems:
        ending = findings.problems[0].ending
        headline = first_line(findings.problems[0].message)
    elif ending is Ending.SUCCESS:
        headline = (
            f"The instance runs this commit: {count(len(report), 'DAG file')}; "
            f"{reported.headline[:1].lower()}{reported.headline[1:]}"
        )
    stopped = sorted({dag_id for ids in findings.out_of_service.values() for dag_id in ids})
    if stopped:
        headline += f"; out of service until fixed: {join(stopped)}"
    located = findings.arrival.expected.awaited
    broken = {located.get(error.instance_path.removeprefix(findings.arrival.folder or "")) for error in findings.errors}
    findings = replace(findings, doubts=tuple(doubt for doubt in findings.doubts if doubt.what not in broken))
    if findings.doubts:
        context.log.info(f"Could not be verified: {join([doubt.what for doubt in findings.doubts], 20)}")
        headline += f"; {count(len(findings.doubts), 'thing')} could not be verified"
    changes = {} if findings.changes is None else {"dag-changes": [change.to_json() for change in findings.changes]}
    return Result(
        ending=ending,
        headline=headline,
        outputs={**(reported.outputs if findings.errors or findings.complete else {}), **changes},
        findings=(*(reported.findings or ()), *findings.vanished) if findings.errors or findings.complete else None,
        annotations=(*map(_annotate, findings.problems), *reported.annotations),
        blocks=(*reported.blocks, *list_blocks(findings.changes or (), context.log.redact), *_tabulate(findings, report)),
        checks=findings.checks,
    )


def find_vanished(arrival: Arrival, errors: Sequence[DagImportError], relate: Callable[[str], str]) -> tuple[Finding, ...]:
    """Find the DAGs that are active in Airflow's database and that no file of the instance defines any more.

    Args:
        arrival: What the instance parses, and what the database has. Without a report nothing is known.
        errors: The import errors: a broken file still stands for its DAGs.
        relate: Makes a path of the checkout relative to its repository.
    """
    if arrival.report is None or arrival.folder is None:
        return ()
    defined = {dag_id for file in arrival.report for dag_id in file.dag_ids}
    broken = {strip_member(error.instance_path) for error in errors}
    there = arrival.list_files()
    found: list[Finding] = []
    for dag in arrival.dags:
        path = strip_member(dag.path)
        if not dag.is_active or dag.dag_id in defined or path in broken or not path.startswith(f"{arrival.folder}/"):
            continue
        why = "no longer defines it" if path in there else "no longer exists"
        finding = Finding(
            rule=Rule.VANISHED_DAG,
            level=Level.WARNING,
            title=f"DAG vanished: {dag.dag_id}",
            message=f"The DAG {dag.dag_id} was active before this deploy; its file {path} {why}. It will not run again.\n"
            "Airflow ignores files without the words dag and airflow, and a function under @dag that is not called.",
            file=relate(file) if (file := arrival.expected.awaited.get(path.removeprefix(arrival.folder))) else None,
            instance_path=path,
            affects=(dag.dag_id,),
        )
        found.append(finding)
    return group(found)


def _annotate(problem: Problem) -> Annotation:
    if problem.ending is Ending.TIMEOUT:
        return Annotation(level=Level.ERROR, title="Time ran out", message=problem.message)
    return Annotation(
        level=Level.ERROR, title="Deploy not verified", message=problem.message, file=problem.file, line=problem.line
    )


def _tabulate(findings: Findings, report: Sequence[ParsedFile]) -> Iterator[Table]:
    if findings.doubts:
        yield Table(heading="Could not be verified", columns=("what", "why"), rows=findings.doubts)
    columns = ("question", "found", "CLI starts", "requests", "time")
    yield Table(heading="Steps", columns=columns, rows=findings.steps, is_detail=True)
    slowest = sorted(report, key=lambda file: -file.seconds)[:SLOWEST]
    if slowest:
        rows = tuple((file.path, f"{file.seconds:.3f} s") for file in slowest)
        heading = "Slowest DAG files to parse"
        yield Table(heading=heading, columns=("file on the instance", "time"), rows=rows, is_detail=True)
