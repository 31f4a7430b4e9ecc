"""`deploy-gate`: after a deploy, the instance runs this commit, and every DAG file of it imports and serializes.

Each step is a function that returns what it found; docs/operations/deploy-gate.md says what each costs and cannot see. The gate
never makes a bad deploy worse: `dags reserialize` runs only when no view of Airflow knows of anything broken, and never on an
Airflow (3.0, 3.1) whose `dags reserialize` itself stores errors that are none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.verdict import Verdict
from dms_airflow.airflow.dags import strip_member
from dms_airflow.airflow.health import await_health
from dms_airflow.checkout.dag_files import might_define_dag
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.checkout.source_lines import contradicts, split_lines
from dms_airflow.core import tracebacks
from dms_airflow.core.inputs import input_field, parse_boolean, parse_duration, parse_names
from dms_airflow.core.result import DAG_FILES, Check, Ending, Result
from dms_airflow.core.text import first_line, join
from dms_airflow.deploy.culprit import Culprits
from dms_airflow.deploy.dag_watch import DagWatch, try_to
from dms_airflow.deploy.deployed_files import Arrival, Arrivals, Doubt
from dms_airflow.deploy.missing import find_missing
from dms_airflow.deploy.report import Findings, Problem, find_vanished, report_gate
from dms_airflow.import_errors.baseline import compare
from dms_airflow.import_errors.instance import Instance
from dms_airflow.import_errors.instance_warnings import find_warnings
from dms_airflow.import_errors.parse import locate, read_bundles, read_dag_files, read_ending, read_error, read_list
from dms_airflow.import_errors.report import ERROR_OUTPUTS, ImportErrorParams, read_known
from dms_airflow.import_errors.snapshots import compare_snapshots, find_unserialized, wait_for_reparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dms_airflow.airflow.commands.send import Execution
    from dms_airflow.core.findings import Finding
    from dms_airflow.import_errors.parse import DagImportError
    from dms_airflow.import_errors.snapshots import Snapshot
    from dms_airflow.operations.context import Context

OUTPUTS = ERROR_OUTPUTS | {"dag-changes"}

GATE_TIMEOUT = 600.0  # seconds

QUESTIONS = (
    "Is the instance healthy?",
    "Are the files there?",
    "Does every DAG file import?",
    "Does the scheduler know of errors?",
    "Does every DAG serialize?",
    "Does the scheduler agree?",
    "Are the expected DAGs there?",
)
HINT_ARRIVAL = "Check that the deploy ended well and reaches this instance, and that its scheduler runs. "
HINT_OLD_TIMES = (
    "Airflow's stored source stays behind when a deploy keeps old modification times (rsync -t, cp -p): let it set new ones, "
    "or set verify-source: false. "
)
HINT_NOT_DEPLOYED = "A file that is not deployed belongs outside of dags-path, or into .airflowignore."
HINT_SCHEDULER = "Look at the scheduler in Airflow (its heartbeat, its log); a long queue of files needs a longer timeout."
HINT_CHECKOUT = "Put actions/checkout before this step, and name the folder that is deployed as dags-path."

# What SQLAlchemy raises when the scheduler stores the same new DAG at that moment. The whole transaction is rolled back then,
# as if reserialize had not run, and every DAG of it is logged as not written.
CLASH = re.compile(
    r"^(?:sqlalchemy\.[\w.]+\.)?(?:PendingRollbackError|IntegrityError|InternalError|StaleDataError)\b", re.MULTILINE
)

DUPLICATE = "AirflowDagDuplicatedIdException"

NOT_SERIALIZED = Doubt(
    "whether every DAG serializes",
    "dags reserialize was left out, since it would drop the last good versions of what is broken",
)
NOT_SERIALIZED_3 = NOT_SERIALIZED._replace(reason="dags reserialize is left out while anything is broken")
NOT_ASKED = "not asked: the dag-processor's word is the only true one on this Airflow"


@dataclass(frozen=True, kw_only=True)
class Params(ImportErrorParams):
    """The inputs of the gate."""

    timeout: float = input_field(parse_duration, default=GATE_TIMEOUT)
    poll_interval: float | None = input_field(parse_duration)
    verify_source: bool = input_field(parse_boolean, default=True)
    expect_dags: tuple[str, ...] = input_field(parse_names, default=())

    def open_checkout(self, root: Path) -> Checkout:
        """Open the checkout that the instance is compared with."""
        return Checkout(root, self.dags_path or None)

    def list_secrets(self) -> Sequence[str]:
        """Name what must be masked: nothing."""
        return ()


def run(params: Params, context: Context, watch: DagWatch | None = None) -> Result:
    """Hold the instance against the checkout.

    Args:
        params: The inputs.
        context: The instance and the checkout.
        watch: Knows the DAGs before the deploy; else what they are like at the first look.
    """
    instance = Instance(context, timeout=params.timeout, poll_interval=params.poll_interval)
    gate = _Gate(params, context, instance, watch or DagWatch(context))
    return report_gate(gate.pass_through(), params, context, gate.baseline)


class _Gate:
    """One passage: what every step needs, and what the steps cost."""

    def __init__(self, params: Params, context: Context, instance: Instance, watch: DagWatch) -> None:
        self._params = params
        self._context = context
        self._instance = instance
        self.baseline = read_known(params, context.runner)
        self._checkout = params.open_checkout(context.runner.workspace)
        self._watch = watch
        self._arrivals = Arrivals(instance, self._checkout, verify_source=params.verify_source, watch=watch)
        self._culprits = Culprits(instance, self._checkout)
        self._imported: Execution | None = None  # the last command that imported the files
        self._steps: list[tuple[str, ...]] = []
        self._cost = (0, 0, context.clock.monotonic())

    def pass_through(self) -> Findings:
        """Take the steps in their order, up to the first that fails the gate."""
        findings = Findings()
        steps = (
            self.see_health,
            self.see_files,
            self.see_imports,
            self.see_stored_errors,
            self.see_serialization,
            self.see_scheduler,
            self.see_expected,
        )
        for number, step in enumerate(steps):
            self._context.log.info(f"{number}. {QUESTIONS[number]}")
            findings = step(findings)
            if findings.problems or self._counts(findings.errors):
                break
        else:
            vanished = [dag_id for finding in findings.vanished for dag_id in finding.affects]
            findings = replace(findings, changes=self._watch.find_changes(findings.arrival, vanished))
        return replace(
            findings,
            steps=tuple(self._steps),
            out_of_service=self._list_out_of_service(findings),
            warnings=self._find_warnings(findings.arrival) if self._params.warnings and findings.arrival.report else (),
            checks=tuple(self._list_checks(findings.arrival)),
        )

    def _list_checks(self, arrival: Arrival) -> Iterator[Check]:
        """List the DAG files that the instance parses, by their names in the checkout."""
        for file in arrival.report or ():
            if file.dag_ids:
                name = arrival.expected.awaited.get(file.path, f"{arrival.folder or ''}{file.path}")
                yield Check(suite=DAG_FILES, name=self._checkout.relate(name), seconds=file.seconds)

    def _find_warnings(self, arrival: Arrival) -> tuple[Finding, ...]:
        paths = {dag.dag_id: dag.path for dag in arrival.dags}
        printed = (self._imported.stdout, self._imported.stderr) if self._imported else ()
        found = find_warnings(printed, self._context, self._checkout, arrival.list_files(), paths)
        lacking = partial(find_missing, self._instance, self._context, self._checkout, arrival, self._watch.changed)
        return (*found, *try_to(lacking, (), "What the instance lacks", self._context.log))

    def _list_out_of_service(self, findings: Findings) -> Mapping[str, Sequence[str]]:
        """Name the DAGs that each broken file takes out of service at once; not all Airflows do that.

        Only the command line knows of duplicate ids: they take nothing out of service.
        """
        if not findings.errors or self._instance.version.keeps_broken_dags:
            return {}
        broken = {strip_member(error.instance_path) for error in findings.errors if error.exception != DUPLICATE}
        dags = [dag for dag in findings.arrival.dags if dag.is_active or dag.has_import_errors]
        return {path: ids for path in broken if (ids := sorted(dag.dag_id for dag in dags if strip_member(dag.path) == path))}

    def _close(self, result: str) -> None:
        """Note what a step found and cost."""
        commands, requests, since = self._cost
        self._cost = (self._instance.commands, self._instance.requests, self._context.clock.monotonic())
        costs = (self._cost[0] - commands, self._cost[1] - requests, f"{self._cost[2] - since:.1f} s")
        self._steps.append((QUESTIONS[len(self._steps)], result, *map(str, costs)))
        self._context.log.info(f"   {result} ({costs[0]} CLI starts, {costs[1]} requests, {costs[2]})")

    def _counts(self, errors: Iterable[DagImportError]) -> bool:
        """Tell whether any of the errors fails the gate."""
        return any(map(self._params.counts, compare(tuple(errors), self.baseline.errors).errors))

    def see_health(self, findings: Findings) -> Findings:
        """Step 0: without a scheduler, or a dag-processor, nothing of what follows would ever be settled.

        Raises:
            UnhealthyError: It proves nothing about the files. A failure would make `deploy` take them back.
        """
        consequence = "Whether the instance runs this commit was not checked."
        context, interval = self._context, self._params.poll_interval
        health = await_health(context.airflow, context.clock, context.log, interval=interval, consequence=consequence)
        self._close(str(health))
        return findings

    def see_files(self, findings: Findings) -> Findings:
        """Step 1: the instance parses the files of the checkout."""
        folder = self._checkout.dags_folder or ""
        names = [file for file in self._checkout.list_files(folder) if file.endswith(".py")]
        if self._params.verify_source and not any(might_define_dag(self._checkout.read(file)) for file in names):
            return replace(findings, problems=(Problem(message=f"The checkout holds no DAG file.\n{HINT_CHECKOUT}"),))
        arrival, awaited = self._arrivals.await_files()
        self._close(join(awaited) or ("all there" if arrival.report is not None else "Airflow gave no report"))
        return self._add_arrival(findings, arrival, awaited)

    def _add_arrival(self, findings: Findings, arrival: Arrival, awaited: Sequence[str]) -> Findings:
        problems = (_run_out(awaited, self._hint_arrival),) if awaited else ()
        return replace(findings, arrival=arrival, doubts=tuple(self._arrivals.list_doubts(arrival)), problems=problems)

    def see_imports(self, findings: Findings) -> Findings:
        """Step 2: nothing is broken for whoever reads the files now."""
        before = self._instance.commands
        errors, problem = self.find_import_errors(findings.arrival)
        findings = replace(findings, errors=errors, complete=problem is None, problems=(problem,) if problem else ())
        if not problem and (self._instance.commands > before + 1 or findings.arrival.report is None):
            # A broken version was waited out: only now does Airflow keep a source of the file, or give a report.
            findings = self._add_arrival(findings, *self._arrivals.await_files())
            if findings.arrival.report is None:
                findings = replace(
                    findings, problems=(Problem(message=f"airflow dags report gave no usable output.\n{self._culprits.hint}"),)
                )
        # Before step 3 makes it final. On an Airflow whose command line imports in another way the report proves nothing.
        if self._instance.version.cli_import_is_reliable:
            findings = replace(findings, vanished=find_vanished(findings.arrival, errors, self._checkout.relate))
        self._close(first_line(findings.problems[0].message) if findings.problems else _count(errors))
        return findings

    def see_stored_errors(self, findings: Findings) -> Findings:
        """Before step 3: what only the scheduler knows to be broken would lose its last good version there."""
        return self._settle_into(findings, changed=frozenset())

    def see_serialization(self, findings: Findings) -> Findings:
        """Step 3: every DAG serializes, and new DAGs are in the database."""
        if not self._instance.version.cli_import_is_reliable:
            findings = self._compare_unread(findings)
            self._close(first_line(findings.problems[0].message) if findings.problems else NOT_ASKED)
            return findings
        if findings.errors:
            doubt = NOT_SERIALIZED if self._instance.version.keeps_broken_dags else NOT_SERIALIZED_3
            self._close(f"not checked: {doubt.reason}")
            return replace(findings, doubts=(doubt, *findings.doubts))
        errors, problem = self.reserialize(findings.arrival)
        findings = replace(findings, errors=errors, problems=(problem,) if problem else ())
        findings = self._compare_unread(findings)
        self._close(first_line(findings.problems[0].message) if findings.problems else _count(errors))
        return findings

    def _compare_unread(self, findings: Findings) -> Findings:
        """Compare the sources of what Airflow had no source of in step 1."""
        before = findings.arrival
        if not before.unread or findings.problems or findings.errors:
            return findings
        arrival, awaited = self._arrivals.await_files()
        unread = {f"{arrival.folder}{path}" for path in before.unread}
        arrival = replace(arrival, changed=arrival.changed | before.changed | unread)
        return self._add_arrival(findings, arrival, awaited)

    def see_scheduler(self, findings: Findings) -> Findings:
        """Step 4: the scheduler agrees."""
        return self._settle_into(findings, changed=findings.arrival.changed)

    def _settle_into(self, findings: Findings, changed: frozenset[str]) -> Findings:
        known = {error.instance_path for error in findings.errors}
        stored = self._find_stored(findings.arrival, known)
        errors, awaited = self.settle(stored, changed - known, findings.arrival) if stored or changed - known else ((), ())
        self._close(join(awaited) or (_count(errors) if stored or changed - known else "nothing to wait for"))
        problems = (_run_out(awaited, HINT_SCHEDULER),) if awaited else ()
        return replace(findings, errors=(*findings.errors, *errors), problems=problems)

    def see_expected(self, findings: Findings) -> Findings:
        """Step 5: what must be there is there."""
        problems = self.check_expected(findings.arrival) if self._params.expect_dags else ()
        self._close(f"{len(self._params.expect_dags) - len(problems)} of {len(self._params.expect_dags)}")
        return replace(findings, problems=problems)

    # --- 2 ---------------------------------------------------------------------------------------------------------------

    def find_import_errors(self, arrival: Arrival) -> tuple[tuple[DagImportError, ...], Problem | None]:
        """Let Airflow import every file now; wait while an error is that of an older version of its file."""
        if not self._instance.version.cli_import_is_reliable:
            return self._find_processed(arrival)
        executions: list[Execution | None] = []
        seen = arrival

        def fetch_state() -> tuple[tuple[DagImportError, ...], Sequence[str]]:
            nonlocal seen
            # Where the report hung, this would hang as long.
            execution = None if arrival.hangs else self._import_now(arrival)
            executions.append(execution)
            if execution is None:
                return (), ()
            errors = read_list(execution.outcome.records or [], execution.stdout, self._instance.folders)
            located = locate(errors, self._checkout, read_dag_files(execution.stdout))
            stale = [error for error in located if self._params.verify_source and self._is_stale(error, arrival)]
            is_usable = execution.outcome.succeeded or execution.outcome.lists_errors
            empty = self._arrivals.list_empty(seen, (error.instance_path for error in located)) if is_usable else ()
            if empty:
                # Before the next import, so that an error is never older than the report.
                seen, _ = self._arrivals.fetch_state()
            return located, (*(f"{error.file} (an error of another version)" for error in stale), *empty)

        errors, awaited = self._instance.poll(fetch_state)
        execution = self._imported = executions[-1]
        if awaited:
            return errors, _run_out(awaited, self._hint_arrival)
        if execution is None or not (execution.outcome.succeeded or execution.outcome.lists_errors):
            return errors, self._culprits.find(execution, arrival)
        return errors, None

    def _import_now(self, arrival: Arrival) -> Execution | None:
        """Run `dags list-import-errors` over all DAG bundles: those with DAGs, unless Airflow says that there are others."""
        bundles = tuple(dict.fromkeys(dag.bundle for dag in arrival.dags if dag.bundle and dag.is_active))
        options = self._instance.version.list_import_options(bundles)
        execution = self._instance.run("dags list-import-errors", *options, "-o", "json", "-v")
        there = read_bundles(execution.stdout) if execution else ()
        if there and set(there) != {options[index + 1] for index, word in enumerate(options) if word == "-B"}:
            options = self._instance.version.list_import_options(there)
            execution = self._instance.run("dags list-import-errors", *options, "-o", "json", "-v")
        return execution

    def _find_processed(self, arrival: Arrival) -> tuple[tuple[DagImportError, ...], Problem | None]:
        """Let the dag-processor import every file that is there, where the command line does so in another way."""
        there = arrival.list_files() - {f"{arrival.folder}{path}" for path in arrival.unread}
        errors, awaited = self.settle(self._find_stored(arrival, set()), frozenset(there), arrival)
        return errors, _run_out(awaited, HINT_SCHEDULER) if awaited else None

    def _is_stale(self, error: DagImportError, arrival: Arrival) -> bool:
        """Tell whether the traceback shows lines that the checkout's file has not."""
        file = {f"{arrival.folder}{path}": file for path, file in arrival.expected.awaited.items()}.get(error.instance_path)
        frames = [frame for frame in tracebacks.parse(error.stack_trace).frames if frame.file == error.instance_path]
        shown = [(frame.line, frame.source) for frame in frames if frame.source]
        lines = split_lines(self._checkout.read(file)) if file is not None else []
        return file is not None and any(contradicts(lines, number, text) for number, text in shown)

    @property
    def _hint_arrival(self) -> str:
        times = HINT_OLD_TIMES if self._instance.version.keeps_old_sources else ""
        return HINT_ARRIVAL + times + HINT_NOT_DEPLOYED

    # --- 3 ---------------------------------------------------------------------------------------------------------------

    def reserialize(self, arrival: Arrival) -> tuple[tuple[DagImportError, ...], Problem | None]:
        """Write every DAG to the database anew. Never with options: each of them drops DAGs that are sound."""
        if not any(file.dag_ids for file in arrival.report or ()):
            return (), None  # it would write nothing, and delete all

        def fetch_state() -> tuple[tuple[Execution | None, bool, tuple[DagImportError, ...]], Sequence[str]]:
            before = self._instance.view()
            execution = self._instance.run("dags reserialize")
            if execution is None:
                return (None, False, ()), ()
            is_written, errors = self._read_reserialize(execution, before, arrival)
            if not is_written and CLASH.search(f"{execution.stdout}\n{execution.outcome.reason}"):
                return (execution, False, ()), ("dags reserialize, which met another writer of the database",)
            return (execution, is_written, errors), ()

        (execution, is_written, errors), awaited = self._instance.poll(fetch_state)
        if awaited:
            return errors, _run_out(awaited, HINT_SCHEDULER)
        if execution is None:
            return (), Problem(message=f"airflow dags reserialize did not answer in time.\n{HINT_SCHEDULER}")
        if errors or is_written:
            return errors, None
        return (), Problem(message=f"airflow dags reserialize failed: {execution.outcome.reason}\n{self._culprits.hint}")

    def _read_reserialize(
        self, execution: Execution, before: Snapshot, arrival: Arrival
    ) -> tuple[bool, tuple[DagImportError, ...]]:
        """Tell whether it wrote DAGs, and which of them do not serialize."""
        if execution.outcome.verdict is Verdict.FAILED:
            files = {dag_id: f"{arrival.folder or ''}{file.path}" for file in arrival.report or () for dag_id in file.dag_ids}
            errors = read_ending(execution.stderr, files)
            return False, locate(errors, self._checkout, arrival.list_files())
        change = compare_snapshots(before, self._instance.view(), ())
        errors = find_unserialized(change, self._instance, execution)
        return bool(change.written), locate(errors, self._checkout, arrival.list_files())

    # --- 4 ---------------------------------------------------------------------------------------------------------------

    def _find_stored(self, arrival: Arrival, known: set[str]) -> frozenset[str]:
        """List files that the scheduler has an error of and step 2 has not. Of deleted files the rows linger: left out."""
        paths = {strip_member(error.path) for error in self._instance.list_stored_errors()}
        there = arrival.list_files()
        return frozenset(path for path in paths if path not in known and (path in there or arrival.folder is None))

    def settle(
        self, stored: frozenset[str], changed: frozenset[str], arrival: Arrival
    ) -> tuple[tuple[DagImportError, ...], Sequence[str]]:
        """Ask the scheduler to parse files, and wait until it has stored what became of each."""
        rows, awaited = wait_for_reparse(self._instance, self._instance.view(), stored | changed, changed)
        errors = tuple(read_error(row.path, row.stack_trace) for row in rows)
        return locate(errors, self._checkout, arrival.list_files()), awaited

    # --- 5 ---------------------------------------------------------------------------------------------------------------

    def check_expected(self, arrival: Arrival) -> tuple[Problem, ...]:
        """Say which expected DAGs are not there, are not active, or have import errors."""
        defined = {dag_id for file in arrival.report or () for dag_id in file.dag_ids}

        def fetch_state() -> tuple[dict[str, str], Sequence[str]]:
            dags = {dag.dag_id: dag for dag in self._instance.list_dags()}
            wrong: dict[str, str] = {}
            for dag_id in self._params.expect_dags:
                if dag_id not in defined:
                    nearest = get_close_matches(dag_id, defined, n=1)
                    hint = f" Did you mean {nearest[0]}?" if nearest else ""
                    wrong[dag_id] = f"no DAG file of the instance defines it.{hint}"
                elif dag_id not in dags or not dags[dag_id].is_active:
                    wrong[dag_id] = "the scheduler has not taken it up yet."
                elif dags[dag_id].has_import_errors:
                    wrong[dag_id] = "its file has import errors."
            return wrong, tuple(f"DAG {dag_id}" for dag_id in wrong if dag_id in defined)

        wrong, awaited = self._instance.poll(fetch_state)
        ending = Ending.TIMEOUT if awaited else Ending.FAILURE
        return tuple(Problem(message=f"Expected DAG {dag_id}: {why}", ending=ending) for dag_id, why in wrong.items())


def _count(errors: Sequence[DagImportError]) -> str:
    return "1 error" if len(errors) == 1 else f"{len(errors)} errors"


def _run_out(awaited: Sequence[str], hint: str) -> Problem:
    return Problem(message=f"Still waiting for {join(awaited, 20)} when time ran out.\n{hint}", ending=Ending.TIMEOUT)
