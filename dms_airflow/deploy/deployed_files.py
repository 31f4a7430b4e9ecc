"""Step 1 of the deploy gate: the files of the checkout on the instance, and what Airflow keeps of their sources."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dms_airflow.airflow.dags import (
    Dag,
    Report,
    add_known_dags,
    fetch_sources,
    find_dags_folder,
    list_slowest,
    parse_report,
    strip_member,
)
from dms_airflow.checkout.dag_files import Expected, always_defines_dag, choose_files, find_root
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core.findings import Finding, Rule, group
from dms_airflow.core.result import Level
from dms_airflow.deploy.dag_comparison import DagComparison
from dms_airflow.deploy.manifest import hash_similar
from dms_airflow.import_errors.instance_reader import InstanceReader
from dms_airflow.import_errors.parse import DagImportError

HINT_ARRIVAL = "Check that the deploy ended well and reaches this instance, and that its scheduler runs. "
HINT_OLD_TIMES = (
    "Airflow's stored source stays behind when a deploy keeps old modification times (rsync -t, cp -p): let it set new ones, "
    "or set verify-source: false. "
)
HINT_NOT_DEPLOYED = "A file that is not deployed belongs outside of dags-path, or into .airflowignore."


@dataclass(kw_only=True)
class DeployedFiles:
    """The DAG files of a checkout on an instance, as `fetch` found them last.

    Args:
        instance: The instance.
        checkout: The author's files.
        verify_source: Compare the sources too.
        comparison: Learns what the DAGs are like before files of another version are parsed again.
        report: What the instance parses; None when Airflow gave no report.
        slowest: The files that took longest to parse, with their times.
        hangs: Whether no response came to the request for it.
        dags: What Airflow's database has.
        folder: The absolute path of the instance's DAG folder; None while no file shows it.
        checkout_folder: The folder of the checkout that is deployed.
        expected: The files of the checkout that the instance must have.
        changed: Absolute paths of files that had another source than the checkout's at any time, or have one that is not
            compared.
        unread: Absolute paths of files of which Airflow has no source yet, or, while they are broken, an older one.
    """

    instance: InstanceReader
    checkout: Checkout
    verify_source: bool
    comparison: DagComparison
    report: Report | None = None
    slowest: tuple[tuple[str, str], ...] = ()
    hangs: bool = False
    dags: tuple[Dag, ...] = ()
    folder: str | None = None
    checkout_folder: str = ""
    expected: Expected = field(default_factory=lambda: Expected(awaited={}, doubtful=()))
    changed: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()

    # --- paths -----------------------------------------------------------------------------------------------------------

    def locate(self, path: str) -> str:
        """Return the instance's absolute path of a file below the DAG folder."""
        return f"{self.folder or ''}{path}"

    def find_file(self, path: str) -> str | None:
        """Find the checkout's file of an absolute path."""
        return self.expected.awaited.get(path.removeprefix(self.folder or ""))

    @property
    def paths(self) -> set[str]:
        """The absolute paths of the files that the instance parses."""
        return {self.locate(path) for path in self.report or ()} if self.folder is not None else set()

    @property
    def hint(self) -> str:
        """What to check when files do not come to the instance."""
        times = HINT_OLD_TIMES if self.instance.airflow.version.keeps_old_sources else ""
        return HINT_ARRIVAL + times + HINT_NOT_DEPLOYED

    # --- waiting ---------------------------------------------------------------------------------------------------------

    def await_all(self) -> Sequence[str]:
        """Wait until the instance parses every DAG file of the checkout from the checkout's source; return what is missing.

        A file in which Airflow finds no DAG is not compared: Airflow keeps no new source of a broken file. Step 2 finds those.
        """
        return self.instance.poll(lambda: (None, self.fetch()))[1]

    def fetch(self) -> Sequence[str]:
        """Fetch what the instance parses, and return what of the checkout is not there yet."""
        execution = self.instance.run("dags report", "-o", "json")
        dags = self.instance.list_dags()
        rows = execution.outcome.records or [] if execution and execution.outcome.succeeded else None
        report = parse_report(rows) if rows is not None else None
        self.slowest = list_slowest(rows or ())
        self.hangs = execution is None
        self._read(report, dags)
        awaited = self.expected.awaited
        if report is None:
            return ()
        if not report and any(dag.is_active for dag in dags):
            return ("airflow dags report to name a file: the DAG folder is empty, or a file in it ends Airflow early",)
        if not awaited:
            return () if self.expected.doubtful or not self.verify_source else ("any DAG file of the checkout",)
        missing = [f"{file} (not on the instance)" for path, file in awaited.items() if path not in report]
        other = self._find_other_versions() if self.verify_source else {}
        if not self.comparison.has_before:
            self.comparison.read_before(dags, other)
            self.comparison.keep_before(self._find_other_versions(other))  # what was parsed meanwhile is not the former version
        self.instance.request_parse(dags, other)
        unchecked = map(self.locate, awaited) if not self.verify_source and self.folder is not None else ()
        self.changed |= {*other, *unchecked}
        return (*missing, *(f"{file} (another version)" for file in other.values()), *self._list_unlisted())

    def _read(self, report: Report | None, dags: tuple[Dag, ...]) -> None:
        """Put together what the instance parses and what of the checkout it must parse."""
        paths = [*report] if report is not None else [dag.path for dag in dags]
        root = find_root(paths, self.checkout)
        self.dags = dags
        self.checkout_folder = root.checkout if root else ""
        self.expected = choose_files(root, self.checkout, paths) if root else Expected(awaited={}, doubtful=())
        self.folder = find_dags_folder(dags, report or {})
        version = self.instance.airflow.version
        is_extended = report is not None and not version.cli_import_is_reliable
        self.report = add_known_dags(report or {}, dags, self.folder or "") if is_extended else report
        # Of a broken file an Airflow that takes its DAGs out of service keeps the source of an older version.
        with_source = {dag.path for dag in dags if not dag.has_import_errors or version.keeps_broken_dags}
        self.unread = frozenset(path for path in self._list_with_dag() if path not in with_source)

    def _list_with_dag(self) -> dict[str, str]:
        """List the awaited files in which Airflow finds DAGs: by their absolute paths, the checkout's."""
        found = {path for path, dag_ids in (self.report or {}).items() if dag_ids}
        return {self.locate(path): file for path, file in self.expected.awaited.items() if path in found}

    def _find_other_versions(self, among: Collection[str] | None = None) -> dict[str, str]:
        """Find the files, of all or of these, whose stored source is another one: by their absolute paths, the checkout's."""
        with_source = {path: file for path, file in self._list_with_dag().items() if path not in self.unread}
        files = {path: file for path, file in with_source.items() if among is None or path in among}
        return {path: files[path] for path, is_same in self.compare_sources(files).items() if not is_same}

    def compare_sources(self, files: Mapping[str, str]) -> dict[str, bool]:
        """Compare Airflow's copies with these files of the checkout, by path; what it has no copy of is left out."""
        # Of a file with several DAGs that of an active one: the copies of others are old.
        dags = sorted(self.dags, key=lambda dag: dag.is_active)
        places = {dag.path: dag.source for dag in dags if dag.path in files and dag.source}
        sources = fetch_sources(self.instance.airflow, places)
        return {path: is_same_source(source, self.checkout.read(files[path])) for path, source in sources.items()}

    def _list_unlisted(self) -> list[str]:
        """List new files that only the dag-processor's next listing of its folder brings to the database, sound or broken."""
        if self.instance.airflow.version.cli_import_is_reliable:
            return []
        stored = {*(dag.path for dag in self.dags), *(error.path for error in self.instance.list_stored_errors())}
        seen = {strip_member(path).removeprefix(self.folder or "") for path in stored}
        return [
            f"{file} (not yet seen by the dag-processor)"
            for path, file in sorted(self.expected.awaited.items())
            if path not in seen and (self.locate(path) in self.unread or always_defines_dag(self.checkout.read(file)))
        ]

    # --- what the files show ---------------------------------------------------------------------------------------------

    def list_empty(self, broken: Iterable[str]) -> tuple[str, ...]:
        """List files that define a DAG in the checkout and none on the instance: an older version, or a part of the file.

        Airflow keeps no source of a file without a DAG, so that nothing else shows which version it is. `broken` files, by the
        instance's absolute paths, define no DAG for another reason.
        """
        without = {path for path, dag_ids in (self.report or {}).items() if not dag_ids and self.verify_source}
        known = tuple(map(strip_member, broken))
        return tuple(
            f"{file} (the instance's version defines no DAG)"
            for path, file in sorted(self.expected.awaited.items())
            if path in without and not any(one.endswith(path) for one in known) and always_defines_dag(self.checkout.read(file))
        )

    def list_unverified(self) -> dict[str, str]:
        """List what no view of Airflow can verify of the checkout's files, and why."""
        unverified = {}
        if self.report is None:
            unverified["which DAG files the instance parses"] = "airflow dags report gave no usable output"
        without = {path for path, dag_ids in (self.report or {}).items() if not dag_ids}
        for path, file in self.expected.awaited.items() if self.verify_source else ():
            if path in without:
                unverified[file] = "defines no DAG, so Airflow stores no source of it"
            elif self.locate(path) in self.unread:
                unverified[file] = "Airflow stores no source of it yet"
        maybe = "Airflow may parse it or not (.airflowignore, a zip, a folder that the instance has not)"
        return unverified | dict.fromkeys(self.expected.doubtful, maybe)

    def find_vanished(self, errors: Iterable[DagImportError]) -> tuple[Finding, ...]:
        """Find the DAGs that are active in Airflow's database and that no file of the instance defines any more.

        The DAGs of files with `errors` have not vanished.
        """
        if self.report is None or self.folder is None:
            return ()
        defined = {dag_id for dag_ids in self.report.values() for dag_id in dag_ids}
        broken, there = {strip_member(error.instance_path) for error in errors}, self.paths
        found: list[Finding] = []
        for dag in self.dags:
            path = strip_member(dag.path)
            if not dag.is_active or dag.dag_id in defined or path in broken or not path.startswith(f"{self.folder}/"):
                continue
            why = "no longer defines it" if path in there else "no longer exists"
            file = self.find_file(path)
            finding = Finding(
                rule=Rule.VANISHED_DAG,
                level=Level.WARNING,
                title=f"DAG vanished: {dag.dag_id}",
                message=f"The DAG {dag.dag_id} was active before this deploy; its file {path} {why}. It will not run again.\n"
                "Airflow ignores files without the words dag and airflow, and a function under @dag that is not called.",
                file=file and self.checkout.relate(file),
                instance_path=path,
                affects=(dag.dag_id,),
            )
            found.append(finding)
        return group(found)


def is_same_source(stored: str, content: bytes) -> bool:
    """Compare Airflow's copy of a source with the checkout's file: line ends and a byte order mark mean nothing."""
    return hash_similar(stored) == hash_similar(content.decode("utf-8", "replace"))
