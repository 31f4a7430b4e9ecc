"""The DAGs before and after a deploy, read from the instance: off the path of the verdict, whatever comes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dms_airflow.airflow.dags import CACHE_SECONDS, Dag, list_dags, locate_dag
from dms_airflow.airflow.responses import parse_date
from dms_airflow.core.errors import ActionError
from dms_airflow.core.log import find_or_log
from dms_airflow.deploy.dag_changes import DagChange, DagShape, compare_dags, list_lines, parse_shape, sum_up
from dms_airflow.import_errors.instance_reader import InstanceReader
from dms_airflow.import_errors.reparse import wait_for_reparse

if TYPE_CHECKING:
    from dms_airflow.deploy.deployed_files import DeployedFiles
    from dms_airflow.operations.context import Context

LONGEST = 60.0  # seconds, each for before and after
MOST_COMPARED = 200  # DAGs: two requests each, before and after

# Airflow 3 serializes no DAG again within so many seconds (SerializedDagModel.write_dag of 3.2.2); schedule and tags are new.
KEPT = 30.0
LINGERING = timedelta(seconds=10)  # between the parses of DAGs of a file; parsed together, milliseconds are


class DagComparison:
    """Reads what the DAGs are like before a deploy, and compares.

    `changed` are the files that this deploy changes, below the DAG folder; None where any may be another.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._before: dict[str, Dag] = {}
        self._shapes: dict[str, DagShape | None] = {}
        self._endings: tuple[str, ...] = ()
        self.changed: tuple[str, ...] | None = None
        self._read_at = 0.0
        self.has_before = False

    def read_before(self, dags: Sequence[Dag], paths: Iterable[str], *, others_are_known: bool = False) -> None:
        """Read, once, what the DAGs of the files that this deploy changes are like; their paths end with these."""
        self.has_before = True
        active = [dag for dag in dags if dag.is_active]
        times = {dag.dag_id: parse_date(dag.last_parsed_time) or datetime.min.replace(tzinfo=UTC) for dag in active}
        last = {dag.path: times[dag.dag_id] for dag in sorted(active, key=lambda dag: times[dag.dag_id])}
        # A DAG that its file does not define any more is called active for minutes.
        self._before = {dag.dag_id: dag for dag in active if last[dag.path] - times[dag.dag_id] <= LINGERING}
        self._endings = tuple(paths)
        self.changed = self._endings if others_are_known else None
        found = [dag.dag_id for dag in self._before.values() if dag.path.endswith(self._endings)]
        shapes = find_or_log(lambda: self._fetch(found), None, "DAGs before the deploy", self._context.log)
        self._shapes = dict.fromkeys(found) | (shapes or {})
        self._read_at = self._context.clock.monotonic()

    def keep_before(self, paths: Collection[str]) -> None:
        """Keep what was read of these files only: others may have been parsed from the new version meanwhile."""
        self._shapes = {one: shape if self._before[one].path in paths else None for one, shape in self._shapes.items()}

    def find_changes(self, files: DeployedFiles, vanished: Iterable[str]) -> tuple[DagChange, ...] | None:
        """Find what changed, now that the instance has the new version; None where nothing is known."""
        log = self._context.log
        gone = {one for one in vanished if one in (self._before if self.changed is None else self._shapes)}
        changes = find_or_log(lambda: self._compare(files, gone), None, "DAG changes", log)
        if changes is not None:
            log.info("\n".join((f"DAG changes: {sum_up(changes)}", *list_lines(changes))))
        return changes

    def _compare(self, files: DeployedFiles, vanished: set[str]) -> tuple[DagChange, ...]:
        if self.changed == ():
            return ()
        awaited = files.expected.awaited
        own = {*map(files.locate, awaited)}
        defined = {one for path, dag_ids in (files.report or {}).items() if path in awaited for one in dag_ids}
        if not self._shapes and not vanished and defined <= self._before.keys():
            return compare_dags({}, {}, unknown=() if self.changed else defined, now=None)
        dags = list_dags(self._context.airflow, only_active=False)
        # Airflow may call DAGs active that no file defines any more.
        now = {dag.dag_id: dag for dag in dags if dag.is_active and dag.dag_id in defined and dag.path in own}
        new = now.keys() - self._before.keys()
        compared = [one for one, dag in now.items() if one in new | self._shapes.keys() or dag.path.endswith(self._endings)]
        before = self._shapes | {one: self._shapes.get(one) for one in (*compared, *vanished) if one in self._before}
        shapes = self._fetch_new({one: now[one].path for one in compared if one in new or before[one]})
        after: dict[str, DagShape | None] = {one: shapes.get(one) for one in compared}
        unknown = () if self.changed else now.keys() - before.keys()
        return compare_dags(before, after, unknown=unknown, now=self._context.airflow.server_time)

    def _fetch_new(self, paths: Mapping[str, str]) -> dict[str, DagShape]:
        """Fetch what DAGs are like now, past what may be their former version still; `paths` are those of their files."""
        clock, airflow = self._context.clock, self._context.airflow
        if airflow.version.caches_dags and any(self._shapes.values()):
            clock.sleep(max(0.0, self._read_at + CACHE_SECONDS - clock.monotonic()))
        since = airflow.server_time
        shapes = self._fetch(paths)
        doubtful = [one for one, shape in shapes.items() if self._may_be_former(one, shape, since)]
        if doubtful and airflow.version.caches_dags:
            clock.sleep(CACHE_SECONDS)
            return shapes | self._fetch(doubtful)
        if not doubtful:
            return shapes
        clock.sleep(max(0.0, self._read_at + KEPT - clock.monotonic()))
        instance, files = InstanceReader(self._context, timeout=LONGEST, poll_interval=None), {paths[one] for one in doubtful}
        errors, awaited = wait_for_reparse(instance, instance.view(), files, files)
        sure = {one: shape for one, shape in shapes.items() if one not in doubtful}
        return sure if errors or awaited else sure | self._fetch(doubtful)

    def _may_be_former(self, dag_id: str, shape: DagShape, since: datetime | None) -> bool:
        """Whether a DAG may be the former version, although the instance has parsed the new one."""
        if self._context.airflow.version.caches_dags:
            return since is not None and shape.loaded is not None and 0 < (since - shape.loaded).total_seconds() < CACHE_SECONDS
        former = self._shapes.get(dag_id)
        return former is not None and (former.tasks, former.edges) == (shape.tasks, shape.edges)

    def _fetch(self, dag_ids: Iterable[str]) -> dict[str, DagShape]:
        """Fetch what DAGs are like: two requests each. What is refused is left out."""
        airflow = self._context.airflow.until(self._context.clock.monotonic() + LONGEST)
        compared = sorted(dag_ids)[:MOST_COMPARED]

        def fetch(dag_id: str) -> DagShape | None:
            try:
                tasks, details = (airflow.fetch_object(f"{locate_dag(dag_id)}/{what}") for what in ("tasks", "details"))
            except ActionError:
                return None
            return parse_shape(details, tasks) if tasks and details else None

        return {dag_id: shape for dag_id, shape in zip(compared, airflow.map(fetch, compared), strict=True) if shape}
