"""Steps 2 to 4 of the deploy gate: what Airflow's command line and its scheduler find when they import the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.send import Execution
from dms_airflow.airflow.commands.verdict import Verdict
from dms_airflow.airflow.dags import strip_member
from dms_airflow.checkout.dag_source import find_exit
from dms_airflow.checkout.source_lines import contradicts, split_lines
from dms_airflow.core import tracebacks
from dms_airflow.core.result import Annotation, Ending, Level
from dms_airflow.core.text import count, join
from dms_airflow.import_errors.fetch import LIST
from dms_airflow.import_errors.instance_reader import SHORTEST_LIMIT, Snapshot
from dms_airflow.import_errors.parse import (
    DagImportError,
    locate,
    read_bundles,
    read_dag_files,
    read_ending,
    read_error,
    read_list,
)
from dms_airflow.import_errors.reparse import compare_snapshots, find_unserialized, wait_for_reparse, was_rolled_back

if TYPE_CHECKING:
    from dms_airflow.deploy.deployed_files import DeployedFiles

CULPRIT_LIMIT = 45.0  # seconds for one file; Airflow itself gives up an import after 30 (dagbag_import_timeout)

HINT_EXIT = "A DAG file must not call sys.exit() or os._exit(), and must not wait for anything, when it is imported."
HINT_SCHEDULER = "Look at the scheduler in Airflow (its heartbeat, its log); a long queue of files needs a longer timeout."


@dataclass(eq=False, kw_only=True)
class GateError(Exception):
    """What fails the gate besides import errors."""

    message: str
    ending: Ending = Ending.FAILURE
    file: str | None = None
    line: int | None = None

    def to_annotation(self) -> Annotation:
        """Report it."""
        if self.ending is Ending.TIMEOUT:
            return Annotation(level=Level.ERROR, title="Time ran out", message=self.message)
        return Annotation(level=Level.ERROR, title="Deploy not verified", message=self.message, file=self.file, line=self.line)


def end_waiting(awaited: Sequence[str], hint: str) -> None:
    """Raise a GateError if something is still awaited when time is up."""
    if awaited:
        message = f"Still waiting for {join(awaited, 20)} when time ran out.\n{hint}"
        raise GateError(message=message, ending=Ending.TIMEOUT)


class ImportCheck:
    """Lets Airflow import and serialize the DAG files. A GateError is raised where its result is not complete."""

    def __init__(self, files: DeployedFiles) -> None:
        self._files = files
        self._instance = files.instance
        self._checkout = files.checkout
        self.errors: tuple[DagImportError, ...] = ()
        self.printed: tuple[str, ...] = ()
        """What the last command printed that imported all files, by stream."""

    # --- step 2 ----------------------------------------------------------------------------------------------------------

    def find_errors(self) -> None:
        """Let Airflow import every file now; wait while an error is that of an older version of its file."""
        if not self._instance.airflow.version.cli_import_is_reliable:  # the dag-processor imports in another way
            self.wait_for_scheduler(self._files.paths - self._files.unread)
            return

        def fetch_state() -> tuple[None, Sequence[str]]:
            # Where the report hung, this would hang as long.
            execution = None if self._files.hangs else self._import_now()
            if execution is not None:
                errors = read_list(execution.outcome.records or [], execution.stdout, self._instance.folders)
                self.errors = locate(errors, self._checkout, read_dag_files(execution.stdout))
                self.printed = execution.stdout, execution.stderr
            if execution is None or not _is_usable(execution):
                raise self._find_culprit(execution)
            stale = [f"{error.file} (an error of another version)" for error in self.errors if self._is_stale(error)]
            if empty := self._files.list_empty(error.instance_path for error in self.errors):
                # Before the next import, so that an error is never older than the report.
                self._files.fetch()
            return None, (*stale, *empty)

        end_waiting(self._instance.poll(fetch_state)[1], self._files.hint)

    def _import_now(self) -> Execution | None:
        """Run `dags list-import-errors` over all DAG bundles: those with DAGs, unless Airflow says that there are others."""
        bundles = tuple(dict.fromkeys(dag.bundle for dag in self._files.dags if dag.bundle and dag.is_active))
        options = self._instance.airflow.version.list_import_options(bundles)
        execution = self._instance.run(LIST, *options, "-o", "json", "-v")
        there = read_bundles(execution.stdout) if execution else ()
        if there and set(there) != {options[index + 1] for index, word in enumerate(options) if word == "-B"}:
            execution = self._instance.run(LIST, *self._instance.airflow.version.list_import_options(there), "-o", "json", "-v")
        return execution

    def _is_stale(self, error: DagImportError) -> bool:
        """Whether the traceback shows lines that the checkout's file does not have."""
        file = self._files.find_file(error.instance_path) if self._files.verify_source else None
        if file is None:
            return False
        frames = [frame for frame in tracebacks.parse(error.stack_trace).frames if frame.file == error.instance_path]
        lines = split_lines(self._checkout.read(file))
        return any(contradicts(lines, frame.line, frame.source) for frame in frames if frame.source)

    def _find_culprit(self, execution: Execution | None) -> GateError:
        """Find the DAG file that kept Airflow from answering: the last imported one, one that hangs alone, or a changed one."""
        reason = f"airflow {LIST} did not answer in time"
        if execution is not None:
            reason = f"airflow {LIST} gave no usable output: {execution.outcome.reason}"
            if imports := read_dag_files(execution.stdout):  # the last one ended the interpreter
                return self._fail(f"{reason}\nThe last file that Airflow imported is {imports[-1]}.", imports[-1])
        # Without a report the paths are those of `fileloc`, or, where no DAG is known, below the DAG folder.
        files = self._files
        folder = files.folder or ("" if files.report is None and files.dags else "DAGS_FOLDER")
        awaited = {f"{folder}{path}": file for path, file in files.expected.awaited.items()}
        same = sorted(path for path, is_same in files.compare_sources(awaited).items() if is_same)
        changed = sorted(awaited.keys() - same)
        if execution is not None or not self._instance.airflow.version.imports_by_default:
            message = f"{reason}\nNew or changed DAG files: {join(changed, 20) or 'none'}."
            return self._fail(message, changed[0] if len(changed) == 1 else "")
        return self._import_alone([*changed, *same], reason)

    def _import_alone(self, suspects: Sequence[str], reason: str) -> GateError:
        """Import files one by one, up to the first that keeps Airflow from answering."""
        for number, path in enumerate(suspects):
            if self._instance.remaining < 0:
                return self._fail(f"{reason}. {number} DAG files import alone; no time was left for {join(suspects[number:])}.")
            limit = min(CULPRIT_LIMIT, max(SHORTEST_LIMIT, self._instance.remaining))
            alone = self._instance.run(LIST, "-S", path, "-o", "json", limit=limit)
            if alone is None or not _is_usable(alone):
                said = f"no answer within {limit:.0f} s" if alone is None else alone.outcome.reason
                return self._fail(f"{reason}\nAlone, {path} gives: {said}.", path)
        return self._fail(f"{reason}, but each of the {len(suspects)} DAG files imports alone.")

    def _fail(self, message: str, culprit: str = "") -> GateError:
        # The other files show where the DAG folder is.
        file = self._checkout.map_paths([culprit, *(dag.path for dag in self._files.dags)]).get(culprit) if culprit else None
        line = find_exit(self._checkout.read(file)) if file else None
        return GateError(message=f"{message}\n{HINT_EXIT}", file=file and self._checkout.relate(file), line=line)

    # --- step 3 ----------------------------------------------------------------------------------------------------------

    def reserialize(self) -> None:
        """Write every DAG to the database. Never with options: each of them drops DAGs without errors."""
        if not any((self._files.report or {}).values()):
            return  # it would write nothing, and delete all

        def fetch_state() -> tuple[None, Sequence[str]]:
            before = self._instance.view()
            execution = self._instance.run("dags reserialize")
            if execution is None:
                raise GateError(message=f"airflow dags reserialize did not answer in time.\n{HINT_SCHEDULER}")
            if was_rolled_back(execution, before, self._instance):
                return None, ("dags reserialize, which met another writer of the database",)
            is_written, self.errors = self._read_reserialize(execution, before)
            if not is_written and not self.errors:
                raise self._fail(f"airflow dags reserialize failed: {execution.outcome.reason}")
            return None, ()

        end_waiting(self._instance.poll(fetch_state)[1], HINT_SCHEDULER)

    def _read_reserialize(self, execution: Execution, before: Snapshot) -> tuple[bool, tuple[DagImportError, ...]]:
        """Find out whether it wrote DAGs, and which of them do not serialize."""
        files = self._files
        if execution.outcome.verdict is Verdict.FAILED:
            places = {one: files.locate(path) for path, dag_ids in (files.report or {}).items() for one in dag_ids}
            return False, locate(read_ending(execution.stderr, places) or (), self._checkout, files.paths)
        change = compare_snapshots(before, self._instance.view(), ())
        errors = find_unserialized(change, self._instance, execution)
        return bool(change.written), locate(errors, self._checkout, files.paths)

    # --- step 4 ----------------------------------------------------------------------------------------------------------

    def wait_for_scheduler(self, changed: Iterable[str] = ()) -> str:
        """Let the scheduler parse changed files, and those of which only it has an error, and wait for the results.

        `changed` are absolute paths; files with an error that was found already are left out.
        """
        broken = {error.instance_path for error in self.errors}
        # The errors of deleted files stay in the database for a while: left out.
        there, everywhere = self._files.paths, self._files.folder is None
        rows = {strip_member(error.path) for error in self._instance.list_stored_errors()}
        stored = {path for path in rows if path in there or everywhere} - broken
        wanted = set(changed) - broken
        if not stored and not wanted:
            return "nothing to wait for"
        errors, awaited = wait_for_reparse(self._instance, self._instance.view(), stored | wanted, wanted)
        found = tuple(read_error(error.path, error.stack_trace) for error in errors)
        self.errors += locate(found, self._checkout, there)
        end_waiting(awaited, HINT_SCHEDULER)
        return count(len(found), "error")


def _is_usable(execution: Execution) -> bool:
    """Whether the list of import errors is complete."""
    return execution.outcome.succeeded or execution.outcome.lists_errors
