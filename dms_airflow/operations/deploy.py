"""`deploy`: the checkout's DAG folder is written to the instance's workspace, published, and verified, or taken back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from dms_airflow.checkout.dag_files import CUSTOMARY_FOLDER
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.core.errors import DeployError
from dms_airflow.core.inputs import (
    InputValueError,
    input_field,
    parse_boolean,
    parse_choice,
    parse_lines,
    parse_text,
    quote_value,
)
from dms_airflow.core.result import Ending, Result
from dms_airflow.core.text import join
from dms_airflow.deploy.file_deploy import FileDeploy
from dms_airflow.deploy.gate import Gate
from dms_airflow.deploy.plan import HINT_FOLDER
from dms_airflow.deploy.publish import find_destination, find_workspace_id, publish
from dms_airflow.deploy.write import ROOT
from dms_airflow.operations import deploy_gate

if TYPE_CHECKING:
    from dms_airflow.operations.context import Context

OUTPUTS = deploy_gate.OUTPUTS | {"plan", "rolled-back"}


def parse_target(text: str) -> str:
    """A folder below the root of the workspace's code."""
    path = parse_text(text).rstrip("/")
    if not path.startswith(f"{ROOT}/") or {"", ".", ".."} & set(path.split("/")[1:]):
        raise InputValueError(f"must be a folder below {ROOT}, such as {ROOT}/default/dags, not {quote_value(path)}")
    return path


@dataclass(frozen=True, kw_only=True)
class Params(deploy_gate.Params):
    """The inputs of a deploy, and those of its gate."""

    deploy_to: str = input_field(parse_target, default="")
    deploy_branch: str = input_field(parse_text, default="")
    deploy_exclude: str = input_field(parse_lines, default="")
    workspace_id: str = input_field(parse_text, default="")
    dry_run: bool = input_field(parse_boolean, default=False)
    prune: bool = input_field(parse_boolean, default=False)
    force: bool = input_field(parse_boolean, default=False)
    on_failure: str = input_field(parse_choice("rollback", "leave"), default="rollback")

    @cached_property
    def excluded(self) -> GitIgnoreSpec:
        """Matches the files that are not deployed, by their paths below the DAG folder."""
        return GitIgnoreSpec.from_lines(self.deploy_exclude.splitlines())

    def open_checkout(self, root: Path) -> Checkout:
        """Open the checkout without what is not deployed."""
        folder = f"{self.dags_path}/"
        return Checkout(root, self.dags_path, lambda file: self.excluded.match_file(file.removeprefix(folder)))


def run(params: Params, context: Context) -> Result:
    """Deploy files, or a branch of a Git repository that is bound to the workspace."""
    with context.open_workspace(find_workspace_id(params.workspace_id, context)) as workspace:
        destination = find_destination(workspace, params.deploy_to)
        params = replace(params, dags_path=params.dags_path or CUSTOMARY_FOLDER)
        if not (context.runner.workspace / params.dags_path).is_dir():
            raise DeployError(f"The checkout has no folder {params.dags_path}.", HINT_FOLDER)
        if params.deploy_branch:
            destination = destination.choose_branch(params.deploy_branch)
            branches = join([f"{one.name} ({one.branch})" for one in destination.repositories], 20)
            if params.dry_run:
                headline = f"Would publish the workspace with these branches: {branches}"
                return Result(ending=Ending.SUCCESS, headline=headline)
            context.log.info(f"Publishing the workspace with these branches: {branches}.")
            publish(workspace, destination)
            result = Gate(params, context).run()
            return replace(result, headline=f"Branch {params.deploy_branch} published; {result.headline}")
        if repository := destination.repository:
            hint = f"Nothing was written. Set deploy-branch: {repository.branch} to publish the branch, or deploy-to."
            raise DeployError(f"{destination.folder} is in the Git repository {repository.name} of the workspace.", hint)
        return FileDeploy(params=params, context=context, workspace=workspace, destination=destination).run()
