"""A deploy of files: planned, shown, written, published, verified, and taken back when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dms_airflow.airflow.commands.arguments import CommandLine
from dms_airflow.airflow.dags import strip_member
from dms_airflow.checkout.dependencies import Dependencies
from dms_airflow.core.errors import ActionError, Cancelled, DeployError
from dms_airflow.core.log import find_or_log
from dms_airflow.core.result import Annotation, Ending, Folded, Level, Result, Table
from dms_airflow.core.text import count, join
from dms_airflow.deploy.dag_comparison import DagComparison
from dms_airflow.deploy.gate import Gate
from dms_airflow.deploy.plan import HINT_CONFLICTS, Plan, find_secrets, make_plan, read_checkout, render_diff
from dms_airflow.deploy.publish import WRITE_ACTIONS, Destination, is_below, publish
from dms_airflow.deploy.rollout import Fate, Outcome, Rollout
from dms_airflow.deploy.write import Target
from dms_airflow.import_errors.fetch import LIST, list_import_errors
from dms_airflow.import_errors.instance_reader import InstanceReader, Snapshot

if TYPE_CHECKING:
    from dms_airflow.alibaba_cloud.workspace import Workspace
    from dms_airflow.operations.context import Context
    from dms_airflow.operations.deploy import Params

RESTORED_LIMIT = 120.0  # seconds until Airflow must have the former files again
MOST_DIFFS = 20  # in the summary

HINT_AGAIN = (
    "Run the step again: the next deploy completes this one or takes it back, as the manifest in the target says. To do it "
    "yourself: compare these files in DMS's console with the repository, and publish the workspace."
)


@dataclass(kw_only=True)
class FileDeploy:
    """One deploy of files; `params` have the checkout's DAG folder, `destination` is where in the workspace they go."""

    params: Params
    context: Context
    workspace: Workspace
    destination: Destination
    _annotations: list[Annotation] = field(default_factory=list)
    _outputs: dict[str, object] = field(default_factory=dict)
    _blocks: tuple[Table | Folded, ...] = ()

    def run(self) -> Result:
        """Plan; then, except in a dry run, write, publish, verify, and take back a deploy that fails."""
        result = self._run()
        return replace(
            result,
            outputs={**result.outputs, **self._outputs},
            annotations=(*result.annotations, *self._annotations),
            blocks=(*self._blocks, *result.blocks),
        )

    def _run(self) -> Result:
        params, context = self.params, self.context
        is_excluded, root = params.excluded.match_file, context.runner.workspace
        texts = read_checkout(root / params.dags_path, root, is_excluded)
        secrets = find_secrets(texts)
        for path, line, what in secrets:
            file = f"{params.dags_path}/{path}"
            message = f"{file}, line {line}, looks like {what}. It is deployed in spite of that."
            self._warn(Annotation(level=Level.WARNING, title="Secret in a file", message=message, file=file, line=line))
        target = Target(self.workspace, self.destination.folder, force=params.force)
        plan = make_plan(target, texts, keep=is_excluded if params.prune else None)
        if plan.manifest.warning:
            self._warn(Annotation(level=Level.WARNING, title="Manifest", message=plan.manifest.warning))
        self._outputs |= {"plan": plan.to_json(), "rolled-back": False}
        self._show(plan, {path for path, _, _ in secrets})
        if plan.conflicts and not params.force:
            message = "\n".join(("These files of the target differ, and no deploy wrote them:", *plan.conflicts))
            error = DeployError(message, HINT_CONFLICTS, outputs=self._outputs, blocks=self._blocks)
            if not params.dry_run:
                raise error
            self._warn(replace(error.to_result().annotations[0], level=Level.WARNING))
        if params.dry_run:
            context.log.info(f"A dry run reads only. The deploy itself also needs {WRITE_ACTIONS}.")
            return Result(ending=Ending.SUCCESS, headline=f"Plan: {plan.summary}")
        return self._roll_out(plan)

    def _show(self, plan: Plan, secret: set[str]) -> None:
        """Print the plan, and add it to the summary; no text of a file is logged."""
        marks, paths = {"created": "+", "changed": "~", "deleted": "-"}, plan.to_json()
        lines = [f"  {mark} {path}" for kind, mark in marks.items() for path in paths[kind]]
        self.context.log.info("\n".join((f"Plan for {plan.target.folder}: {plan.summary}.", *lines)))
        for name in ("RequirementFile", "PluginsDir", "StartupFile"):
            place = str(self.destination.airflow.get(name) or "")
            used = [one.path for one in plan.changes if place and is_below(f"{plan.target.folder}/{one.path}", place)]
            if used:
                message = f"{join(used)} takes effect when the instance is redeployed in DMS's console ({name}). It was not."
                self._warn(Annotation(level=Level.WARNING, title="Instance must be redeployed", message=message))
        rows = tuple((kind, path) for kind in (*marks, "foreign") for path in paths[kind])
        diffs = [(change.path, render_diff(change)) for change in plan.changes if change.path not in secret]
        folded = [Folded(heading=f"Changes of {path}", text=text, language="diff") for path, text in diffs if text]
        table = Table(heading=f"Plan: {plan.summary}", columns=("change", "file"), rows=rows)
        self._blocks = (table, *folded[:MOST_DIFFS])

    def _roll_out(self, plan: Plan) -> Result:
        params, context = self.params, self.context
        comparison = DagComparison(context)
        if not plan.changes and not plan.manifest.is_pending:
            comparison.read_before((), (), others_are_known=True)
            result = Gate(params, context, comparison).run()
            return replace(result, headline=f"Nothing to deploy; {result.headline}")
        view = InstanceReader(context, timeout=params.timeout, poll_interval=params.poll_interval).view()
        self._read_before(comparison, plan, view)
        try:
            outcome = Rollout(plan, commit=context.runner.sha, run=context.runner.run_url).run(
                lambda: publish(self.workspace, self.destination),
                lambda: Gate(params, context, comparison).run(),
                may_take_back=params.on_failure == "rollback",
            )
        except Cancelled:
            raise Cancelled(self._outputs, f"The deploy to {plan.target.folder} was under way. {HINT_AGAIN}") from None
        if outcome.fate is Fate.TAKEN_BACK:
            self._outputs["rolled-back"] = True
            self._wait_for_former_version(view)
        return self._report(outcome, plan)

    def _read_before(self, comparison: DagComparison, plan: Plan, view: Snapshot) -> None:
        """Read what the DAGs are like of which the plan changes the file, or something that it is made of."""
        changed = {change.path for change in plan.changes}
        checkout, folder = self.params.open_checkout(self.context.runner.workspace), self.params.dags_path
        what, log = "DAGs that use the changed files", self.context.log
        users, unused = find_or_log(
            lambda: Dependencies(checkout, folder, changed).find_users(changed), (changed, changed), what, log
        )
        if unused:
            log.info(f"Which DAGs use these files is not known: {join(sorted(unused))}")
        # What a deploy before this one wrote, and nobody has verified, may not be parsed yet.
        is_clear = not unused and not plan.manifest.is_pending
        created = tuple(f"/{change.path}" for change in plan.changes if change.before is None)
        dags = [dag for dag in view.dags if not dag.path.endswith(created)]  # those are left from a file that was deleted
        comparison.read_before(dags, (f"/{path}" for path in users), others_are_known=is_clear)

    def _wait_for_former_version(self, before: Snapshot) -> None:
        """Wait until, after a deploy was taken back, the former files import and the former DAGs can run."""
        former = {dag.dag_id: dag.path for dag in before.dags if dag.is_active and not dag.has_import_errors}
        broken = {strip_member(error.path) for error in before.errors}
        instance = InstanceReader(self.context, timeout=RESTORED_LIMIT, poll_interval=None)

        def fetch_state() -> tuple[None, Sequence[str]]:
            dags = instance.list_dags()
            out = former.keys() - {dag.dag_id for dag in dags if dag.is_active and not dag.has_import_errors}
            instance.request_parse(dags, (former[dag_id] for dag_id in out))
            listing = list_import_errors(CommandLine(name=LIST), RESTORED_LIMIT, self.context)
            paths = {strip_member(error.instance_path) for error in listing.errors} - broken
            return None, [*(f"DAG {one}" for one in sorted(out)), *(f"{path} (import error)" for path in sorted(paths))]

        try:
            _, awaited = instance.poll(fetch_state)
        except ActionError as error:
            awaited = [error.message]
        if awaited:
            message = f"The former files are back. Not confirmed yet: {join(awaited, 20)}."
            self._warn(Annotation(level=Level.WARNING, title="Former version not verified", message=message))
        else:
            self.context.log.info("The former files are back: every DAG file imports, and every former DAG can run.")

    def _report(self, outcome: Outcome, plan: Plan) -> Result:
        """Report how the deploy ended."""
        fate, result, beginning = outcome.fate, outcome.result, ""
        version = f"version of {count(len(plan.changes), 'file')} of {plan.target.folder}"
        details = "\n".join(f"{path}: {problem}" if path else problem for path, problem in sorted(outcome.problems.items()))
        if fate is Fate.VERIFIED:
            beginning = f"Deployed: {plan.summary}. "
        elif fate is Fate.STAYS:
            message = f"The new {version} is in place, published, and not verified. {HINT_AGAIN}"
            self._warn(Annotation(level=Level.WARNING, title="Deploy not verified", message=message))
        elif fate is Fate.TAKEN_BACK:
            beginning = "Taken back: "
            message = f"The former {version} is back in place and published."
            self._warn(Annotation(level=Level.WARNING, title="Deploy taken back", message=message))
        elif fate is Fate.IN_BETWEEN:
            beginning = "Not taken back: "
            message = f"The former {version} is not back in full.\n{details}\n{HINT_AGAIN}"
            error = Annotation(level=Level.ERROR, title="Deploy not taken back", message=message)
            result = replace(result, annotations=(error, *result.annotations))
        if details and fate is not Fate.IN_BETWEEN:
            message = f"How the deploy ended could not be written to the manifest: {details}"
            self._warn(Annotation(level=Level.WARNING, title="Manifest", message=message))
        return replace(result, headline=f"{beginning}{result.headline}")

    def _warn(self, warning: Annotation) -> None:
        self.context.log.info(f"{warning.title}: {warning.message}")
        self._annotations.append(warning)
