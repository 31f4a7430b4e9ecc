"""Finds the DAG file that keeps Airflow from answering: the last imported one, one that hangs alone, or a changed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.checkout.dag_source import find_exit
from dms_airflow.core.text import join
from dms_airflow.deploy.deployed_files import is_same_source
from dms_airflow.deploy.report import Problem
from dms_airflow.import_errors.instance import SHORTEST_LIMIT
from dms_airflow.import_errors.parse import read_dag_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dms_airflow.airflow.commands.send import Execution
    from dms_airflow.checkout.mapping import Checkout
    from dms_airflow.deploy.deployed_files import Arrival
    from dms_airflow.import_errors.instance import Instance

CULPRIT_LIMIT = 45.0  # seconds for one file; Airflow itself gives up an import after 30 (dagbag_import_timeout)

HINT = "A DAG file must not call sys.exit() or os._exit(), and must not wait for anything, when it is imported."
UNTOUCHED = " The last good versions of all DAGs are untouched."


class Culprits:
    """Finds the DAG file that keeps `dags list-import-errors` from answering.

    Args:
        instance: The instance.
        checkout: The author's files.
    """

    def __init__(self, instance: Instance, checkout: Checkout) -> None:
        self._instance = instance
        self._checkout = checkout

    @property
    def hint(self) -> str:
        """What a DAG file must not do, and whether anything is lost."""
        return HINT + (UNTOUCHED if self._instance.version.keeps_broken_dags else "")

    def find(self, execution: Execution | None, arrival: Arrival) -> Problem:
        """Find the DAG file that kept Airflow from answering, or report that it is not known."""
        imports = read_dag_files(execution.stdout) if execution is not None else ()
        reason = "airflow dags list-import-errors did not answer in time"
        if execution is not None:
            reason = f"airflow dags list-import-errors gave no usable output: {execution.outcome.reason}"
        if imports:  # the last one ended the interpreter
            return self._report_culprit(
                imports[-1], f"{reason}\nThe last file that Airflow imported is {imports[-1]}.", arrival
            )
        changed, same = self._list_suspects(arrival)
        if not self._instance.version.can_import_one_file:
            return self._report_suspects(changed, reason, arrival)
        if execution is not None:
            return Problem(message=f"{reason}\n{self.hint}")
        suspects = [*changed, *same]
        for number, path in enumerate(suspects):
            if self._instance.remaining < 0:
                left = join(suspects[number:])
                return Problem(message=f"{reason}. {number} DAG files import alone; no time was left for {left}.\n{self.hint}")
            limit = min(CULPRIT_LIMIT, max(SHORTEST_LIMIT, self._instance.remaining))
            alone = self._instance.run("dags list-import-errors", "-S", path, "-o", "json", limit=limit)
            if alone is None or not (alone.outcome.succeeded or alone.outcome.lists_errors):
                said = f"no answer within {limit:.0f} s" if alone is None else alone.outcome.reason
                return self._report_culprit(path, f"{reason}\nAlone, {path} gives: {said}.", arrival)
        return Problem(message=f"{reason}, but each of the {len(suspects)} DAG files imports alone.\n{self.hint}")

    def _report_suspects(self, changed: Sequence[str], reason: str, arrival: Arrival) -> Problem:
        """Report new or changed files, if files cannot be imported one by one."""
        if len(changed) == 1:
            return self._report_culprit(
                changed[0], f"{reason}\nThe only DAG file that is new or changed is {changed[0]}.", arrival
            )
        suspected = f"New or changed DAG files: {join(changed, 20)}." if changed else "No DAG file is new or changed."
        return Problem(message=f"{reason}\n{suspected}\n{self.hint}")

    def _list_suspects(self, arrival: Arrival) -> tuple[list[str], list[str]]:
        """List the absolute paths of DAG files: those that may be new or changed, and the others."""
        # Without a report the paths are those of `fileloc`, or, where no DAG is known, below the DAG folder.
        folder = arrival.folder or ("" if arrival.report is None and arrival.dags else "DAGS_FOLDER")
        files = {f"{folder}{path}": file for path, file in arrival.expected.awaited.items()}
        sources = self._instance.fetch_sources(arrival.list_sources(files))
        same = {path for path, source in sources.items() if is_same_source(source, self._checkout.read(files[path]))}
        return sorted(files.keys() - same), sorted(same)

    def _report_culprit(self, path: str, message: str, arrival: Arrival) -> Problem:
        # The other files show where the DAG folder is.
        files = self._checkout.map_paths([path, *(dag.path for dag in arrival.dags)])
        file = files.get(path)
        line = find_exit(self._checkout.read(file)) if file else None
        return Problem(message=f"{message}\n{self.hint}", file=file and self._checkout.relate(file), line=line)
