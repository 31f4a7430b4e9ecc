"""`deploy`: the checkout's DAG folder is written to the instance's workspace, published, and verified, or taken back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dms_airflow.airflow.commands.arguments import CommandLine
from dms_airflow.airflow.dags import strip_member
from dms_airflow.checkout.dag_files import CUSTOMARY_FOLDER
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.checkout.parts import Parts
from dms_airflow.core.errors import ActionError, Cancelled, DeployError, WorkspaceDeniedError, WorkspaceError
from dms_airflow.core.inputs import (
    InputValueError,
    input_field,
    parse_boolean,
    parse_choice,
    parse_lines,
    parse_text,
    quote_value,
)
from dms_airflow.core.result import Annotation, Ending, Folded, Level, Result, Table
from dms_airflow.core.text import join
from dms_airflow.deploy.dag_watch import DagWatch, try_to
from dms_airflow.deploy.manifest import NAME
from dms_airflow.deploy.plan import HINT_CONFLICTS, find_secrets, make_plan, read_checkout, render_diff
from dms_airflow.deploy.publish import is_below, parse_setting, publish
from dms_airflow.deploy.rollout import Fate, Rollout
from dms_airflow.deploy.workspace import ROOT, Workspace, find_folder, read_file
from dms_airflow.deploy.write import Writer
from dms_airflow.import_errors.fetch import list_import_errors
from dms_airflow.import_errors.instance import Instance
from dms_airflow.operations import deploy_gate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dms_airflow.deploy.plan import Plan
    from dms_airflow.deploy.publish import PublishSetting
    from dms_airflow.deploy.rollout import Outcome
    from dms_airflow.import_errors.snapshots import Snapshot
    from dms_airflow.operations.context import Context

OUTPUTS = deploy_gate.OUTPUTS | {"plan", "rolled-back"}

RESTORED_LIMIT = 120.0  # seconds until Airflow must have the former files again
MOST_LINES = 50  # of the plan, in the log
MOST_DIFFS = 20  # in the summary

WRITE_ACTIONS = (
    "dms:SaveWorkspaceCode, dms:DeleteWorkspaceCode, dms:WorkspaceCodePublish, dms:WorkspaceActionStatus and "
    "dms:WorkspaceActionLog"
)

HINT_FOLDER = "Set dags-path to the folder of the checkout that has the DAG files, and run actions/checkout before this step."
HINT_EXCLUDED = (
    "Nothing was written. Take the folder out of the exclusions in the workspace's publish settings, or set deploy-to."
)
HINT_AGAIN = (
    "Run the step again: the next deploy completes this one or takes it back, as the manifest in the target says. To do it "
    "yourself: compare these files in DMS's console with the repository, and publish the workspace."
)


def parse_target(text: str) -> str:
    """A folder below the root of the workspace's code."""
    path = parse_text(text).rstrip("/")
    if not path.startswith(f"{ROOT}/") or {"", ".", ".."} & set(path.split("/")[1:]):
        raise InputValueError(f"must be a folder below {ROOT}, such as {ROOT}/default/dags, not {quote_value(path)}")
    return path


def parse_workspace_id(text: str) -> str:
    """The id of a workspace."""
    word = parse_text(text)
    if not re.fullmatch("[A-Za-z0-9_-]+", word):
        raise InputValueError(f"must be the id of a workspace, not {quote_value(word)}")
    return word


@dataclass(frozen=True, kw_only=True)
class Params(deploy_gate.Params):
    """The inputs of a deploy, and those of its gate."""

    deploy_to: str = input_field(parse_target, default="")
    deploy_branch: str = input_field(parse_text, default="")
    deploy_exclude: str = input_field(parse_lines, default="")
    workspace_id: str = input_field(parse_workspace_id, default="")
    dry_run: bool = input_field(parse_boolean, default=False)
    prune: bool = input_field(parse_boolean, default=False)
    force: bool = input_field(parse_boolean, default=False)
    on_failure: str = input_field(parse_choice("rollback", "leave"), default="rollback")

    def open_checkout(self, root: Path) -> Checkout:
        """Open the checkout without what is not deployed."""
        is_excluded = parse_exclusions(self.deploy_exclude)
        return Checkout(root, self.dags_path, lambda file: is_excluded(file.removeprefix(f"{self.dags_path}/")))


def run(params: Params, context: Context) -> Result:
    """Deploy."""
    with context.open_workspace(find_workspace_id(params.workspace_id, context)) as calls:
        workspace = Workspace(calls, context.config.instance_id)
        airflow = fetch_ready(workspace)
        setting = parse_setting(workspace.fetch_publish_setting())
        target = find_target(params.deploy_to, airflow, setting)
        params = replace(params, dags_path=_find_folder(params, context))
        if params.deploy_branch:
            return _deploy_branch(workspace, setting.choose_branch(target, params.deploy_branch), params, context)
        if repository := setting.find_repository(target):
            hint = f"Nothing was written. Set deploy-branch: {repository.branch} to publish the branch, or deploy-to."
            raise DeployError(f"{target} is in the Git repository {repository.name} of the workspace.", hint)
        files = _FileDeploy(
            workspace=workspace, airflow=airflow, setting=setting, target=target, params=params, context=context
        )
        return files.run()


def check_rights(workspace_id: str, context: Context) -> str:
    """Make the calls of a deploy that only read, and describe the result.

    Raises:
        ActionError: One of them failed.
    """
    with context.open_workspace(find_workspace_id(workspace_id, context)) as calls:
        workspace = Workspace(calls, context.config.instance_id)
        setting = parse_setting(workspace.fetch_publish_setting())
        target = find_target("", fetch_ready(workspace), setting)
        find_folder(workspace, target)
        for call in (partial(read_file, workspace, f"{target}/{NAME}"), partial(workspace.fetch_status, "none")):
            try:
                call()
            except WorkspaceDeniedError:
                raise
            except WorkspaceError:
                continue  # the file may not exist, and the action does not
    return f"{target} can be read; whether it can be written and published is known only after a deploy ({WRITE_ACTIONS})"


def find_workspace_id(given_id: str, context: Context) -> str:
    """Find the workspace's id in the instance's address: `/airflow/<tenant>/<workspace>/<instance>`.

    https://help.aliyun.com/zh/dms/automated-workflow-management-through-the-airflow-rest-api-and-cli

    Raises:
        DeployError: The address does not have it, and it was not given.
    """
    *_, workspace_id, instance_id = ("", "", *urlsplit(context.session.host).path.strip("/").split("/"))
    if given_id or (workspace_id and instance_id == context.config.instance_id):
        return given_id or workspace_id
    raise DeployError(f"The address of the instance, {context.session.host}, lacks its workspace.", "Set workspace-id.")


def fetch_ready(workspace: Workspace) -> Mapping[str, object]:
    """Fetch the instance, which must be deployed.

    Raises:
        DeployError: It is not.
    """
    airflow = workspace.fetch_airflow()
    if (status := str(airflow.get("Status"))) != "DEPLOYED":
        hint = "Wait until DMS's console shows the instance as running, then run the step again."
        raise DeployError(f"The instance is {status}: {airflow.get('DeployErrorMsg') or 'DMS gives no reason'}.", hint)
    return airflow


def find_target(deploy_to: str, airflow: Mapping[str, object], setting: PublishSetting) -> str:
    """Find the folder to write to.

    Raises:
        DeployError: The instance has no DAG folder, or the folder is never published.
    """
    folder = str(airflow.get("DagsDir") or "").removeprefix(ROOT).strip("/")
    if not (deploy_to or folder):
        raise DeployError("DMS does not say which folder the instance's DAG folder is.", "Set deploy-to.")
    target = deploy_to or f"{ROOT}/{folder}"
    if excluded := next((one for one in setting.excluded if is_below(target, one)), None):
        raise DeployError(f"{target} is excluded from publishing, as part of {excluded}.", HINT_EXCLUDED)
    return target


def _find_folder(params: Params, context: Context) -> str:
    if params.dags_path or (context.runner.workspace / CUSTOMARY_FOLDER).is_dir():
        return params.dags_path or CUSTOMARY_FOLDER
    raise DeployError(f"The checkout has no folder {CUSTOMARY_FOLDER}, and dags-path is empty.", HINT_FOLDER)


def _deploy_branch(workspace: Workspace, setting: PublishSetting, params: Params, context: Context) -> Result:
    branches = join([f"{one.name} ({one.branch})" for one in setting.repositories], 20)
    if params.dry_run:
        return Result(ending=Ending.SUCCESS, headline=f"Would publish the workspace with these branches: {branches}")
    context.log.info(f"Publishing the workspace with these branches: {branches}.")
    publish(workspace, setting, clock=context.clock, log=context.log)
    result = deploy_gate.run(params, context)
    return replace(result, headline=f"Branch {params.deploy_branch} published; {result.headline}")


@dataclass(frozen=True, kw_only=True)
class _FileDeploy:
    """One deploy of files."""

    workspace: Workspace
    airflow: Mapping[str, object]
    setting: PublishSetting
    target: str
    params: Params
    context: Context
    warnings: list[Annotation] = field(default_factory=list)

    def run(self) -> Result:
        """Plan; then, except in a dry run, write, publish, verify, and take back a deploy that fails."""
        params, context = self.params, self.context
        is_excluded = parse_exclusions(params.deploy_exclude)
        root = context.runner.workspace
        texts = read_checkout(root / params.dags_path, root, is_excluded)
        secrets = find_secrets(texts)
        for path, line, what in secrets:
            file = f"{params.dags_path}/{path}"
            message = f"{file}, line {line}, looks like {what}. It is deployed in spite of that."
            self._warn(Annotation(level=Level.WARNING, title="Secret in a file", message=message, file=file, line=line))
        plan = make_plan(
            self.workspace,
            self.target,
            texts,
            keep=is_excluded if params.prune else None,
            force=params.force,
            warn=lambda message: self._warn(Annotation(level=Level.WARNING, title="Manifest", message=message)),
        )
        outputs = {"plan": plan.to_json(), "rolled-back": False}
        blocks = self._show(plan, {path for path, _, _ in secrets})
        if plan.conflicts and not params.force:
            message = "\n".join(("These files of the target differ, and no deploy wrote them:", *plan.conflicts))
            if not params.dry_run:
                raise DeployError(message, HINT_CONFLICTS, outputs=outputs, blocks=blocks)
            message = f"{message}\n{HINT_CONFLICTS}"
            self._warn(Annotation(level=Level.WARNING, title=DeployError.title, message=message))
        if params.dry_run:
            self.context.log.info(f"A dry run reads only. The deploy itself also needs {WRITE_ACTIONS}.")
            return self._finish(Result(ending=Ending.SUCCESS, headline=f"Plan: {plan.summary}"), outputs, blocks)
        return self._roll_out(plan, texts, outputs, blocks)

    def _roll_out(
        self, plan: Plan, texts: Mapping[str, str], outputs: dict[str, object], blocks: tuple[Table | Folded, ...]
    ) -> Result:
        params, context = self.params, self.context
        writer = Writer(self.workspace, self.target, clock=context.clock, log=self.context.log, force=params.force)
        runner = context.runner
        rollout = Rollout(plan, texts, writer, commit=runner.sha, run=runner.run_url)
        watch = DagWatch(context)
        if not rollout.is_needed:
            watch.note_before((), (), others_are_known=True)
            result = deploy_gate.run(params, context, watch)
            return self._finish(replace(result, headline=f"Nothing to deploy; {result.headline}"), outputs, blocks)
        instance = Instance(context, timeout=params.timeout, poll_interval=params.poll_interval)
        view = instance.view()
        self._note_before(watch, plan, view)
        try:
            outcome = rollout.run(
                lambda: publish(self.workspace, self.setting, clock=context.clock, log=context.log),
                lambda: deploy_gate.run(params, context, watch),
                may_take_back=params.on_failure == "rollback",
            )
        except Cancelled:
            raise Cancelled(outputs, f"The deploy to {self.target} was under way. {HINT_AGAIN}") from None
        if outcome.fate is Fate.TAKEN_BACK:
            outputs["rolled-back"] = True
            self._wait_for_former_version(view)
        return self._finish(self._report(outcome, plan), outputs, blocks)

    def _note_before(self, watch: DagWatch, plan: Plan, view: Snapshot) -> None:
        """Read what the DAGs are like of which the plan changes the file, or something that it is made of."""
        changed = {change.path for change in plan.changes}
        parts = partial(Parts, self.params.open_checkout(self.context.runner.workspace), self.params.dags_path, changed)
        what, log = "DAGs that use the changed files", self.context.log
        users, unused = try_to(lambda: parts().find_users(changed), (changed, changed), what, log)
        if unused:
            log.info(f"Which DAGs use these files is not known: {join(sorted(unused))}")
        # What a deploy before this one wrote, and nobody has verified, may not be parsed yet.
        is_clear = not unused and not plan.found.manifest.is_pending
        created = tuple(f"/{change.path}" for change in plan.changes if change.before is None)
        dags = [dag for dag in view.dags if not dag.path.endswith(created)]  # those are left from a file that was deleted
        watch.note_before(dags, (f"/{path}" for path in users), others_are_known=is_clear)

    def _wait_for_former_version(self, before: Snapshot) -> None:
        """Wait until, after a deploy was taken back, the former files import and the former DAGs can run."""
        dag_ids = [dag.dag_id for dag in before.dags if dag.is_active and not dag.has_import_errors]
        broken = {strip_member(error.path) for error in before.errors}
        instance = Instance(self.context, timeout=RESTORED_LIMIT, poll_interval=None)

        def fetch_state() -> tuple[None, Sequence[str]]:
            dags = {dag.dag_id: dag for dag in instance.list_dags()}
            out = [one for one in dag_ids if one not in dags or not dags[one].is_active or dags[one].has_import_errors]
            instance.request_parse(dags[one].file_token for one in out if one in dags and dags[one].file_token)
            listing = list_import_errors(CommandLine(name="dags list-import-errors"), RESTORED_LIMIT, self.context)
            paths = {strip_member(error.instance_path) for error in listing.errors}
            return None, [*(f"DAG {one}" for one in out), *(f"{path} (import error)" for path in sorted(paths - broken))]

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
        """Report the result of the deploy."""
        result, fate = outcome.result, outcome.fate
        what = f"{len(plan.changes)} files of {self.target}"
        details = "\n".join(f"{path}: {problem}" if path else problem for path, problem in sorted(outcome.problems.items()))
        if fate is Fate.VERIFIED and details:
            message = f"The deploy is verified; that could not be written to the manifest: {details}"
            self._warn(Annotation(level=Level.WARNING, title="Manifest", message=message))
        if fate is Fate.TAKEN_BACK:
            message = f"The former version of {what} is back in place and published. {details}".strip()
            self._warn(Annotation(level=Level.WARNING, title="Deploy taken back", message=message))
        if fate is Fate.STAYS:
            message = f"The new version of {what} is in place, published, and not verified. {HINT_AGAIN}"
            self._warn(Annotation(level=Level.WARNING, title="Deploy not verified", message=message))
        if fate is Fate.IN_BETWEEN:
            message = f"The former version of {what} is not back in full.\n{details}\n{HINT_AGAIN}"
            error = Annotation(level=Level.ERROR, title="Deploy not taken back", message=message)
            result = replace(result, annotations=(error, *result.annotations))
        beginning = {
            Fate.VERIFIED: f"Deployed: {plan.summary}. ",
            Fate.TAKEN_BACK: "Taken back: ",
            Fate.IN_BETWEEN: "Not taken back: ",
        }
        return replace(result, headline=f"{beginning.get(fate, '')}{result.headline}")

    def _finish(self, result: Result, outputs: Mapping[str, object], blocks: tuple[Table | Folded, ...]) -> Result:
        return replace(
            result,
            outputs={**result.outputs, **outputs},
            annotations=(*result.annotations, *self.warnings),
            blocks=(*blocks, *result.blocks),
        )

    def _warn(self, warning: Annotation) -> None:
        self.context.log.info(f"{warning.title}: {warning.message}")
        self.warnings.append(warning)

    def _show(self, plan: Plan, secret: set[str]) -> tuple[Table | Folded, ...]:
        """Print the plan, and return it as blocks of the summary; no text of a file is logged."""
        marks = {"created": "+", "changed": "~", "deleted": "-"}
        lines = [f"  {mark} {path}" for kind, mark in marks.items() for path in plan.to_json()[kind]]
        more = [f"  and {len(lines) - MOST_LINES} more, in the output plan"] if len(lines) > MOST_LINES else []
        self.context.log.info("\n".join((f"Plan for {plan.target}: {plan.summary}.", *lines[:MOST_LINES], *more)))
        for name in ("RequirementFile", "PluginsDir", "StartupFile"):
            place = str(self.airflow.get(name) or "")
            used = [change.path for change in plan.changes if place and is_below(f"{plan.target}/{change.path}", place)]
            if used:
                message = f"{join(used)} takes effect when the instance is redeployed in DMS's console ({name}). It was not."
                self._warn(Annotation(level=Level.WARNING, title="Instance must be redeployed", message=message))
        rows = tuple((kind, path) for kind in (*marks, "foreign") for path in plan.to_json()[kind])
        diffs = [(change.path, render_diff(change)) for change in plan.changes if change.path not in secret]
        folded = [Folded(heading=f"Changes of {path}", text=text, language="diff") for path, text in diffs if text]
        table = Table(heading=f"Plan: {plan.summary}", columns=("change", "file"), rows=rows)
        return (table, *folded[:MOST_DIFFS])


def parse_exclusions(text: str) -> Callable[[str], bool]:
    """Parse patterns as in `.gitignore`: whether they match a path below the DAG folder."""
    if not text:
        return lambda _: False
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - most deploys have no such input

    return GitIgnoreSpec.from_lines(text.splitlines()).match_file
