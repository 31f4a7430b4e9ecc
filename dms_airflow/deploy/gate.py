"""The deploy gate: the instance runs this commit, and every DAG file of it imports and serializes.

Each step is a method that returns what it found; docs/operations/deploy-gate.md says what each costs and cannot see. The gate
never makes a bad deploy worse: `dags reserialize` runs only when no view of Airflow knows of anything broken, and never on an
Airflow (3.0, 3.1) whose `dags reserialize` itself stores false errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

from dms_airflow.airflow.dags import strip_member
from dms_airflow.airflow.health import await_health, fetch_health
from dms_airflow.checkout.dag_files import might_define_dag
from dms_airflow.core.findings import Finding
from dms_airflow.core.log import find_or_log
from dms_airflow.core.result import DAG_FILES, Check, Ending, Result, Table
from dms_airflow.core.text import count, first_line, join
from dms_airflow.deploy.dag_changes import DagChange, list_blocks
from dms_airflow.deploy.dag_comparison import DagComparison
from dms_airflow.deploy.deployed_files import DeployedFiles
from dms_airflow.deploy.import_check import HINT_EXIT, GateError, ImportCheck, end_waiting
from dms_airflow.deploy.missing_resources import find_missing
from dms_airflow.import_errors.baseline import compare
from dms_airflow.import_errors.instance_reader import InstanceReader
from dms_airflow.import_errors.instance_warnings import find_warnings
from dms_airflow.import_errors.report import read_known, report_errors

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context
    from dms_airflow.operations.deploy_gate import Params

HINT_CHECKOUT = "Put actions/checkout before this step, and name the folder that is deployed as dags-path."

DUPLICATE = "AirflowDagDuplicatedIdException"

NOT_SERIALIZED = "dags reserialize is left out while anything is broken"


class Gate:
    """One run of the gate. `comparison` knows the DAGs before the deploy; without it, those when the gate begins count."""

    def __init__(self, params: Params, context: Context, comparison: DagComparison | None = None) -> None:
        self._params = params
        self._context = context
        self._comparison = comparison or DagComparison(context)
        self._baseline = read_known(params, context.runner)
        self._checkout = params.open_checkout(context.runner.workspace)
        self._instance = InstanceReader(context, timeout=params.timeout, poll_interval=params.poll_interval)
        self._files = DeployedFiles(
            instance=self._instance, checkout=self._checkout, verify_source=params.verify_source, comparison=self._comparison
        )
        self._imports = ImportCheck(self._files)
        self._is_complete = False  # no import error can be missing from these
        self._problem: GateError | None = None
        self._unverified: dict[str, str] = {}  # what could not be verified, and why
        self._vanished: tuple[Finding, ...] = ()

    def run(self) -> Result:
        """Take the steps in their order, up to the first that fails the gate."""
        steps = {
            "Is the instance healthy?": self._check_health,
            "Are the files there?": self._check_files,
            "Does every DAG file import?": self._check_imports,
            # What only the scheduler knows to be broken would lose its last good version in the step after this one.
            "Does the scheduler know of errors?": self._imports.wait_for_scheduler,
            "Does every DAG serialize?": self._check_serialization,
            "Does the scheduler agree?": lambda: self._imports.wait_for_scheduler(self._files.changed),
            "Are the expected DAGs there?": self._check_expected,
        }
        for number, (question, check) in enumerate(steps.items()):
            self._context.log.info(f"{number}. {question}")
            began = self._context.clock.monotonic()
            try:
                result = check()
            except GateError as error:
                self._problem, result = error, first_line(error.message)
                if error.ending is Ending.TIMEOUT:
                    self._problem = replace(error, message=f"{error.message}{self._describe_faults()}")
            self._context.log.info(f"   {result} ({self._context.clock.monotonic() - began:.1f} s)")
            if self._problem or any(map(self._params.counts, compare(self._imports.errors, self._baseline.errors).errors)):
                return self._report(None)
        vanished = [dag_id for finding in self._vanished for dag_id in finding.affects]
        return self._report(self._comparison.find_changes(self._files, vanished))

    def _describe_faults(self) -> str:
        """Describe what is not healthy any more: what was awaited in vain may have died meanwhile."""
        airflow, log = self._context.airflow, self._context.log
        faults = find_or_log(lambda: fetch_health(airflow).faults, (), "The instance's health", log)
        return "".join(f"\nThe instance is not healthy now: {fault}." for fault in faults)

    # --- steps -----------------------------------------------------------------------------------------------------------

    def _check_health(self) -> str:
        """Step 0: without a scheduler, or a dag-processor, none of what follows would ever end.

        Raises:
            ActionError: It is not. That proves nothing about the files. A failure would make `deploy` take them back.
        """
        consequence = "Whether the instance runs this commit was not checked."
        context, interval = self._context, self._params.poll_interval
        return str(await_health(context.airflow, context.clock, context.log, interval=interval, consequence=consequence))

    def _check_files(self) -> str:
        """Step 1: the instance parses the files of the checkout."""
        names = [file for file in self._checkout.list_files(self._checkout.dags_folder or "") if file.endswith(".py")]
        if self._params.verify_source and not any(might_define_dag(self._checkout.read(file)) for file in names):
            raise GateError(message=f"The checkout holds no DAG file.\n{HINT_CHECKOUT}")
        self._await_files()
        return "all there" if self._files.report is not None else "Airflow gave no report"

    def _await_files(self) -> None:
        awaited = self._files.await_all()
        self._unverified = self._files.list_unverified()
        end_waiting(awaited, self._files.hint)

    def _check_imports(self) -> str:
        """Step 2: nothing is broken for a program that reads the files now."""
        before = self._instance.commands
        self._imports.find_errors()
        self._is_complete = True
        if self._instance.commands > before + 1 or self._files.report is None:
            # A broken version was waited out: only now does Airflow keep a source of the file, or give a report.
            self._await_files()
            if self._files.report is None:
                raise GateError(message=f"airflow dags report gave no usable output.\n{HINT_EXIT}")
        # Before step 3 makes it final. On an Airflow whose command line imports in another way the report proves nothing.
        if self._instance.airflow.version.cli_import_is_reliable:
            self._vanished = self._files.find_vanished(self._imports.errors)
        return count(len(self._imports.errors), "error")

    def _check_serialization(self) -> str:
        """Step 3: every DAG serializes, and new DAGs are in the database."""
        version = self._instance.airflow.version
        if version.cli_import_is_reliable and self._imports.errors:
            self._unverified = {"whether every DAG serializes": NOT_SERIALIZED, **self._unverified}
            return f"not checked: {NOT_SERIALIZED}"
        if version.cli_import_is_reliable:
            self._imports.reserialize()
        if self._files.unread and not self._imports.errors:
            # Now Airflow has a source of what it had none of in step 1.
            self._files.changed |= self._files.unread
            self._await_files()
        if not version.cli_import_is_reliable:
            return "not checked: on this Airflow only the dag-processor's result is true"
        return count(len(self._imports.errors), "error")

    def _check_expected(self) -> str:
        """Step 5: the expected DAGs exist, are active, and have no import errors."""
        expected = self._params.expect_dags
        if not expected:
            return "0 of 0"
        defined = {dag_id for dag_ids in (self._files.report or {}).values() for dag_id in dag_ids}

        def fetch_state() -> tuple[dict[str, str], Sequence[str]]:
            dags = {dag.dag_id: dag for dag in self._instance.list_dags()}
            wrong: dict[str, str] = {}
            for dag_id in expected:
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
        if wrong:
            message = "\n".join(f"Expected DAG {dag_id}: {why}" for dag_id, why in wrong.items())
            raise GateError(message=message, ending=Ending.TIMEOUT if awaited else Ending.FAILURE)
        return f"{len(expected)} of {len(expected)}"

    # --- the report ------------------------------------------------------------------------------------------------------

    def _report(self, changes: Sequence[DagChange] | None) -> Result:
        """Make the step's result; `changes` of DAGs are None where they are not known."""
        log, files, problem, errors = self._context.log, self._files, self._problem, self._imports.errors
        stopped = self._list_out_of_service()
        reported = report_errors(
            errors,
            self._params,
            self._context,
            complete=self._is_complete,
            out_of_service=stopped,
            warnings=self._find_warnings() if self._params.warnings and files.report else (),
            baseline=self._baseline,
        )
        ending, headline = reported.ending, reported.headline
        if problem:
            log.info(problem.message)
            ending, headline = problem.ending, first_line(problem.message)
        elif ending is Ending.SUCCESS:
            runs = f"The instance runs this commit: {count(len(files.report or ()), 'DAG file')}"
            headline = f"{runs}; {headline[:1].lower()}{headline[1:]}"
        if stopped:
            headline += f"; out of service until fixed: {join(sorted({one for ids in stopped.values() for one in ids}))}"
        broken = {files.find_file(error.instance_path) for error in errors}
        unverified = tuple((what, why) for what, why in self._unverified.items() if what not in broken)
        if unverified:
            log.info(f"Could not be verified: {join([what for what, _ in unverified], 20)}")
            headline += f"; {count(len(unverified), 'thing')} could not be verified"
        has_errors = bool(errors) or self._is_complete
        return replace(
            reported,
            ending=ending,
            headline=headline,
            outputs={
                **(reported.outputs if has_errors else {}),
                **({} if changes is None else {"dag-changes": [change.to_json() for change in changes]}),
            },
            findings=(*(reported.findings or ()), *self._vanished) if has_errors else None,
            annotations=(*([problem.to_annotation()] if problem else ()), *reported.annotations),
            blocks=(*reported.blocks, *list_blocks(changes or (), log.redact), *self._list_tables(unverified)),
            checks=tuple(self._list_checks()),
        )

    def _list_out_of_service(self) -> dict[str, list[str]]:
        """List the DAGs that each broken file takes out of service at once; not all Airflows do that.

        Only the command line knows of duplicate ids: they take nothing out of service.
        """
        if not self._imports.errors or self._instance.airflow.version.keeps_broken_dags:
            return {}
        broken = {strip_member(error.instance_path) for error in self._imports.errors if error.exception != DUPLICATE}
        dags = [dag for dag in self._files.dags if dag.is_active or dag.has_import_errors]
        return {path: ids for path in broken if (ids := sorted(dag.dag_id for dag in dags if strip_member(dag.path) == path))}

    def _find_warnings(self) -> tuple[Finding, ...]:
        paths = {dag.dag_id: dag.path for dag in self._files.dags}
        found = find_warnings(self._imports.printed, self._context, self._checkout, self._files.paths, paths)
        lacking = partial(find_missing, self._files, self._context, self._comparison.changed)
        return (*found, *find_or_log(lacking, (), "What the instance lacks", self._context.log))

    def _list_checks(self) -> Iterator[Check]:
        """List the DAG files that the instance parses, by their names in the checkout."""
        for path, dag_ids in (self._files.report or {}).items():
            if dag_ids:
                name = self._files.expected.awaited.get(path, self._files.locate(path))
                yield Check(suite=DAG_FILES, name=self._checkout.relate(name))

    def _list_tables(self, unverified: tuple[tuple[str, str], ...]) -> Iterator[Table]:
        if unverified:
            yield Table(heading="Could not be verified", columns=("what", "why"), rows=unverified)
        if slowest := self._files.slowest:
            columns = ("file on the instance", "time")
            yield Table(heading="Slowest DAG files to parse", columns=columns, rows=slowest, is_detail=True)
