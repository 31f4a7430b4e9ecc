"""Step 1 of the deploy gate: the files of the checkout on the instance, and what Airflow keeps of their sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from dms_airflow.airflow.dags import add_known_dags, find_dags_folder, parse_report, strip_member
from dms_airflow.checkout.dag_files import Expected, always_defines_dag, choose_files, find_root

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from dms_airflow.airflow.dags import Dag, ParsedFile
    from dms_airflow.checkout.mapping import Checkout
    from dms_airflow.deploy.dag_watch import DagWatch
    from dms_airflow.import_errors.instance import Instance

NOTHING_EXPECTED = "any DAG file of the checkout"
NOTHING_REPORTED = (
    "airflow dags report to name a file: it names none, though Airflow has active DAGs. Either the DAG folder is empty now, "
    "or a DAG file prints [] and ends Airflow when it is imported"
)

NO_DAG = "defines no DAG, so Airflow stores no source of it"
NO_COPY = "Airflow stores no source of it yet"
NO_REPORT = "airflow dags report gave no usable output"
MAYBE = "Airflow may parse it or not (.airflowignore, a zip, a folder that the instance has not)"


class Doubt(NamedTuple):
    """What could not be verified, mostly a file of the checkout, and why."""

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What step 1 found.

    `report` is None when Airflow gave none; it `hangs` when no answer came at all. `checkout_folder` is deployed. `changed` are
    absolute paths of the instance: files that were seen with another source than the checkout's. `unread` are paths below the
    DAG folder of which Airflow has no source yet, or, broken as they were, an older one.
    """

    report: tuple[ParsedFile, ...] | None
    hangs: bool = False
    expected: Expected = Expected(awaited={}, doubtful=())  # noqa: RUF009 - frozen
    folder: str | None = None
    checkout_folder: str = ""
    dags: tuple[Dag, ...] = ()
    changed: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()

    def list_files(self) -> set[str]:
        """Give the absolute paths of the files that the instance parses."""
        return {f"{self.folder}{file.path}" for file in self.report or ()} if self.folder is not None else set()

    def list_tokens(self, paths: Iterable[str]) -> dict[str, str]:
        """Give the file tokens of absolute paths that have one."""
        wanted = set(paths)
        return {dag.path: dag.file_token for dag in self.dags if dag.path in wanted and dag.file_token}

    def list_sources(self, paths: Iterable[str]) -> dict[str, str]:
        """Give where the API has the sources of absolute paths: of a DAG that is active, since those of others are old."""
        wanted = set(paths)
        dags = sorted(self.dags, key=lambda dag: dag.is_active)
        return {dag.path: dag.source for dag in dags if dag.path in wanted and dag.source}


class Arrivals:
    """Looks whether the files of a checkout have arrived on an instance.

    Args:
        instance: Where to look.
        checkout: What to look for.
        verify_source: Compare the sources too.
        watch: Told what the DAGs are like before files of another version are parsed again.
    """

    def __init__(self, instance: Instance, checkout: Checkout, *, verify_source: bool, watch: DagWatch) -> None:
        self._instance = instance
        self._checkout = checkout
        self._verify_source = verify_source
        self._watch = watch

    def await_files(self) -> tuple[Arrival, Sequence[str]]:
        """Wait until the instance parses every DAG file of the checkout, from the checkout's source.

        A file in which Airflow finds no DAG is not compared: Airflow keeps no new source of a broken file. Step 2 tells.
        """
        changed: set[str] = set()

        def fetch_state() -> tuple[Arrival, Sequence[str]]:
            arrival, awaited = self.fetch_state()
            changed.update(arrival.changed)
            return replace(arrival, changed=frozenset(changed)), awaited

        return self._instance.poll(fetch_state)

    def fetch_state(self) -> tuple[Arrival, Sequence[str]]:
        """Look once: what the instance parses, and what of the checkout is not there yet."""
        execution = self._instance.run("dags report", "-o", "json")
        dags = self._instance.list_dags()
        report = parse_report(execution.outcome.records or []) if execution and execution.outcome.succeeded else None
        arrival = replace(self._read_arrival(report, dags), hangs=execution is None)
        if report is None:
            return arrival, ()
        if not report and any(dag.is_active for dag in dags):
            return arrival, (NOTHING_REPORTED,)
        if not arrival.expected.awaited:
            return arrival, () if arrival.expected.doubtful or not self._verify_source else (NOTHING_EXPECTED,)
        parsed = {file.path for file in report}
        missing = [f"{file} (not on the instance)" for path, file in arrival.expected.awaited.items() if path not in parsed]
        other = self._compare(arrival) if self._verify_source else {}
        if not self._watch.has_before:
            self._watch.note_before(arrival.dags, other)
            self._watch.keep_before(self._compare(arrival, other))  # what was parsed meanwhile is not the former version
        tokens = arrival.list_tokens(other)
        self._instance.request_parse(tokens[path] for path in other if path in tokens)
        unchecked = arrival.expected.awaited if not self._verify_source and arrival.folder is not None else {}
        arrival = replace(arrival, changed=frozenset({*other, *(f"{arrival.folder}{path}" for path in unchecked)}))
        differing = [f"{file} (another version)" for file in other.values()]
        return arrival, (*missing, *differing, *self._list_unlisted(arrival))

    def list_empty(self, arrival: Arrival, broken: Iterable[str]) -> tuple[str, ...]:
        """List files that define a DAG in the checkout and none on the instance: an older version, or a part of the file.

        Airflow keeps no source of a file without a DAG, so that nothing else shows which version it is.

        Args:
            arrival: What the instance parses.
            broken: The instance's absolute paths of files with import errors, which define no DAG for that reason.
        """
        if not self._verify_source or arrival.report is None:
            return ()
        without = {file.path for file in arrival.report if not file.dag_ids}
        known = tuple(broken)
        return tuple(
            f"{file} (the instance's version defines no DAG)"
            for path, file in sorted(arrival.expected.awaited.items())
            if path in without
            and not any(strip_member(one).endswith(path) for one in known)
            and always_defines_dag(self._checkout.read(file))
        )

    def _list_unlisted(self, arrival: Arrival) -> list[str]:
        """Name new files that only the dag-processor's next listing of its folder brings to the database, sound or broken."""
        if self._instance.version.cli_import_is_reliable:
            return []
        stored = {*(dag.path for dag in arrival.dags), *(error.path for error in self._instance.list_stored_errors())}
        seen = {strip_member(path).removeprefix(arrival.folder or "") for path in stored}
        return [
            f"{file} (not yet seen by the dag-processor)"
            for path, file in sorted(arrival.expected.awaited.items())
            if path not in seen and (path in arrival.unread or always_defines_dag(self._checkout.read(file)))
        ]

    def _read_arrival(self, report: tuple[ParsedFile, ...] | None, dags: tuple[Dag, ...]) -> Arrival:
        """Put together what the instance parses and what of the checkout it must parse."""
        paths = [file.path for file in report] if report is not None else [dag.path for dag in dags]
        root = find_root(paths, self._checkout)
        expected = choose_files(root, self._checkout, paths) if root else Expected(awaited={}, doubtful=())
        folder = find_dags_folder(dags, report or ())
        if report is not None and not self._instance.version.cli_import_is_reliable:
            report = add_known_dags(report, dags, folder or "")
        # Of a broken file an Airflow that takes its DAGs out of service keeps the source of an older version.
        told = [dag for dag in dags if not dag.has_import_errors or self._instance.version.keeps_broken_dags]
        with_row = {dag.path.removeprefix(folder) for dag in told} if folder is not None else set()
        with_dag = {file.path for file in report or () if file.dag_ids}
        return Arrival(
            report=report,
            expected=expected,
            folder=folder,
            checkout_folder=root.checkout if root else "",
            dags=dags,
            unread=frozenset(path for path in expected.awaited if path in with_dag and path not in with_row),
        )

    def _compare(self, arrival: Arrival, paths: Collection[str] | None = None) -> dict[str, str]:
        """List the absolute paths, of all or of these, of files whose stored source is another one, with the checkout's names.

        Airflow 2 takes a new copy only when the modification time is newer than that of
        the last (docs/operations/deploy-gate.md).
        """
        if arrival.folder is None:
            return {}
        with_dag = {f"{arrival.folder}{file.path}" for file in arrival.report or () if file.dag_ids}
        files = {f"{arrival.folder}{path}": file for path, file in arrival.expected.awaited.items()}
        unread = {f"{arrival.folder}{path}" for path in arrival.unread}
        wanted = [path for path in files if path in with_dag and path not in unread and (paths is None or path in paths)]
        sources = self._instance.fetch_sources(arrival.list_sources(wanted))
        contents = {path: self._checkout.read(files[path]) for path in sources}
        return {path: files[path] for path, source in sources.items() if not is_same_source(source, contents[path])}

    def list_doubts(self, arrival: Arrival) -> Iterator[Doubt]:
        """Name what no view can verify of the checkout's files. What is broken is told by its error."""
        if arrival.report is None:
            yield Doubt("which DAG files the instance parses", NO_REPORT)
        without = {file.path for file in arrival.report or () if not file.dag_ids}
        for path, file in arrival.expected.awaited.items():
            if self._verify_source and path in without:
                yield Doubt(file, NO_DAG)
            elif self._verify_source and path in arrival.unread:
                yield Doubt(file, NO_COPY)
        for file in arrival.expected.doubtful:
            yield Doubt(file, MAYBE)


def is_same_source(stored: str, content: bytes) -> bool:
    """Compare Airflow's copy of a source with the checkout's file: line ends and a byte order mark mean nothing."""
    return _unify(stored) == _unify(content.decode("utf-8", "replace"))


def _unify(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
