"""`deploy` as a whole step: the real SDK, the workspace's stand-in, and a model of an Airflow that reads its files.

Each test of the workspace itself is in test_deploy_steps.py, without HTTP.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.instance import WebResponse
from sandbox.workspace import Behaviour, Repository, lost, refused, throttled, unsuccessful
from tests.integration.fake_dms import JSON
from tests.integration.test_deploy_gate import File, Model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sandbox.instance import CommandResult
    from sandbox.runner import Step
    from sandbox.workspace import Fault
    from tests.integration.fake_dms import FakeDms

TARGET = "/Workspace/code/default/dags"
GOOD = 'from airflow import DAG\n\nDAG("{0}")  # {1}\n'
BROKEN = "from airflow import DAG\n\nx\n"
SECRET = "LTAI5tSecretInAFile99"
TRACEBACK = (
    "Traceback (most recent call last):\n  File \"{0}\", line 3, in <module>\n    x\nNameError: name 'x' is not defined\n"
)


@dataclass
class Reader(Model):
    """An Airflow whose files are those of a folder on this machine, and whose scheduler is quick."""

    dags: Path = None  # type: ignore[assignment]

    def read(self) -> None:
        """Look at the folder, and parse what is there."""
        found = {f"/{file.relative_to(self.dags)}": file.read_text() for file in sorted(self.dags.rglob("*.py"))}
        for path in self.files.keys() - found.keys():
            del self.files[path]
            self.errors.pop(f"/opt/airflow/dags{path}", None)
            for row in self.rows.values():
                if row["fileloc"] == f"/opt/airflow/dags{path}":
                    row["is_active"] = False
        for path, text in found.items():
            error = TRACEBACK.format(f"/opt/airflow/dags{path}") if "\nx\n" in text else ""
            ids = tuple(re.findall(r'DAG\("(\w+)"\)', text))
            if path not in self.files or self.files[path].source != text:
                self.files[path] = File(text, ids, error)
                self.parse(path)

    def run_command(self, arguments: Sequence[str]) -> CommandResult:
        """Answer as the CLI does, of the files that are there now."""
        self.read()
        return super().run_command(arguments)

    def request(self, method: str, target: str, headers: object, body: bytes) -> WebResponse:
        """Answer as REST does; a DAG has one task."""
        self.read()
        if target.endswith("/tasks"):
            content: Any = {"tasks": [{"task_id": "only", "downstream_task_ids": []}]}
            return WebResponse(status=200, headers=[JSON], body=json.dumps(content).encode())
        if match := re.search(r"/dags/(\w+)/details$", target):
            schedule = (
                self.files[self.rows[match[1]]["fileloc"].removeprefix("/opt/airflow/dags")].source.split("# ")[1].split()[0]
            )
            content = {"schedule_interval": {"__type": "CronExpression", "value": schedule}}
            return WebResponse(status=200, headers=[JSON], body=json.dumps(content).encode())
        return super().request(method, target, headers, body)


@pytest.fixture
def reader(dms: FakeDms) -> Reader:
    """An Airflow that reads the workspace itself."""
    reader = Reader(dags=dms.workspace.store.dags)
    dms.airflow.run_command = reader.run_command  # type: ignore[method-assign]
    dms.airflow.request = reader.request  # type: ignore[method-assign]
    return reader


@pytest.fixture
def checkout(workspace: Path) -> Callable[..., None]:
    """Write the DAG folder of the checkout anew."""

    def write(files: Mapping[str, str]) -> None:
        for file in [*workspace.rglob("*.py"), *workspace.rglob("*.sql")]:
            file.unlink()
        for path, text in files.items():
            (workspace / "dags" / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / "dags" / path).write_bytes(text.encode())

    return write


@pytest.fixture
def deploy(reader: Reader, run_here: Callable[..., Step]) -> Callable[..., Step]:
    """Run a deploy."""
    del reader

    def run(**inputs: str) -> Step:
        environ = {"GITHUB_REPOSITORY": "shop/dags", "GITHUB_SHA": "0123456789abcdef0123456789abcdef01234567"}
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        return run_here({"operation": "deploy", **named}, environ)

    return run


def own(dms: FakeDms) -> dict[str, str]:
    """Give the files of the target but for the manifest."""
    files = {path.removeprefix(f"{TARGET}/"): text.decode() for path, text in dms.workspace.store.files(TARGET).items()}
    files.pop("dms-airflow-deploy.json", None)
    return files


OLD = {"etl.py": GOOD.format("etl", "@daily"), "gone.py": GOOD.format("gone", "@once"), "lib/sql.sql": "select 1\n"}
NEW = {"etl.py": GOOD.format("etl", "@hourly"), "new.py": GOOD.format("new", "@once"), "lib/sql.sql": "select 1\n"}


# --- how a deploy ends ----------------------------------------------------------------------------------------------------


def test_a_first_deploy_then_a_change_then_nothing(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout(OLD)
    first = deploy()
    checkout(NEW)
    second = deploy()
    dms.workspace.calls.clear()
    third = deploy()

    assert (first.exit_code, second.exit_code, third.exit_code) == (0, 0, 0), first.log + second.log
    assert json.loads(second.outputs["plan"]) == {
        "created": ["new.py"],
        "changed": ["etl.py"],
        "deleted": ["gone.py"],
        "unchanged": ["lib/sql.sql"],
        "foreign": [],
    }
    assert json.loads(second.outputs["dag-changes"]) == [
        {"dag_id": "etl", "change": "changed", "details": ["schedule @daily → @hourly"]},
        {"dag_id": "new", "change": "renamed", "details": ["was gone"]},  # the same task
    ]
    assert second.outputs["rolled-back"] == "false"
    assert "Deployed: 1 created, 1 changed, 1 deleted, 1 unchanged, 0 not ours." in second.log
    assert '-DAG("etl")  # @daily' in second.summary
    assert "# @hourly" not in second.log  # a text of a file
    assert "etl: changed: schedule @daily → @hourly" in second.log
    assert own(dms) == NEW
    assert set(dms.workspace.actions()) == {
        "GetAirflow",
        "GetWorkspaceCodePublishSetting",
        "ListWorkspaceCode",
        "GetWorkspaceCode",
    }
    assert "Nothing to deploy" in third.log
    assert [path for path in dms.paths if "login" in path] == ["GET /login"] * 3


def test_the_same_commit_shows_no_change_however_often(checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout(OLD)
    assert [change["change"] for change in deploy().read_json("dag-changes")] == ["added", "added"]

    steps = [deploy() for _ in range(20)]

    assert {(step.exit_code, step.outputs["dag-changes"]) for step in steps} == {(0, "[]")}


def test_a_red_gate_is_taken_back_and_told_on_the_line(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout(OLD)
    deploy()
    checkout({**NEW, "etl.py": BROKEN})

    step = deploy()

    assert step.exit_code == 1
    assert step.outputs["rolled-back"] == "true"
    assert own(dms) == OLD
    assert [
        (one.properties["title"], one.properties["file"], one.properties["line"])
        for one in step.annotations
        if one.name == "error"
    ] == [("DAG import error: NameError", "dags/etl.py", "3")]
    assert [one.properties["title"] for one in step.annotations if one.name == "warning"] == ["Deploy taken back"]
    assert "every former DAG can run" in step.log


def test_one_file_that_is_taken_back_is_called_one_file(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout(OLD)
    deploy()
    checkout({**OLD, "etl.py": BROKEN})

    [warning] = [one for one in deploy().annotations if one.name == "warning"]

    assert warning.data.startswith("The former version of 1 file of /Workspace/code/")
    assert own(dms) == OLD


def test_the_next_deploy_after_a_red_one_stays(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout({**NEW, "etl.py": BROKEN})
    assert deploy().outputs["rolled-back"] == "true"
    assert own(dms) == {}
    checkout(NEW)

    assert deploy().exit_code == 0
    assert own(dms) == NEW


def test_on_failure_leave_leaves(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout({"etl.py": BROKEN})

    step = deploy(on_failure="leave")

    assert (step.exit_code, step.outputs["rolled-back"]) == (1, "false")
    assert own(dms) == {"etl.py": BROKEN}
    assert "Deploy not verified" in [one.properties["title"] for one in step.annotations]


def test_an_instance_that_reads_the_published_copy_gets_and_loses_it(
    dms: FakeDms, reader: Reader, checkout: Any, deploy: Callable[..., Step]
) -> None:
    reader.dags = dms.workspace.publisher.dags
    checkout(OLD)
    assert deploy().exit_code == 0
    checkout({**NEW, "etl.py": BROKEN})

    assert deploy().outputs["rolled-back"] == "true"
    assert (reader.dags / "etl.py").read_text() == OLD["etl.py"]
    assert not (reader.dags / "new.py").exists()


def test_a_deploy_that_airflow_never_sees_stays_as_time_runs_out(
    dms: FakeDms, reader: Reader, checkout: Any, deploy: Callable[..., Step]
) -> None:
    reader.dags = dms.workspace.publisher.dags
    checkout(OLD)
    deploy()
    checkout(NEW)
    dms.workspace.behaviour = Behaviour(copies_after=1e9)

    step = deploy()

    assert (step.exit_code, step.outputs["status"], step.outputs["rolled-back"]) == (1, "timeout", "false")
    assert own(dms) == NEW
    dms.workspace.behaviour = Behaviour()
    assert deploy().exit_code == 0  # completed without a change


def test_a_dead_scheduler_proves_nothing_and_the_deploy_stays(
    dms: FakeDms, reader: Reader, checkout: Any, deploy: Callable[..., Step]
) -> None:
    checkout(OLD)
    deploy()
    checkout(NEW)
    reader.health["scheduler"]["status"] = "unhealthy"

    step = deploy()

    assert (step.exit_code, step.outputs["rolled-back"]) == (1, "false")
    assert [one.properties["title"] for one in step.annotations] == ["Instance not healthy", "Deploy not verified"]
    assert own(dms) == NEW
    reader.health["scheduler"]["status"] = "healthy"
    assert deploy().exit_code == 0  # completed without a change


@pytest.mark.parametrize("status", ["ERROR", "CANCEL", {"phase": "TIMEOUT"}])
def test_a_publish_that_fails_is_taken_back_with_its_log(
    dms: FakeDms, checkout: Any, deploy: Callable[..., Step], status: Any
) -> None:
    checkout(OLD)
    deploy()
    checkout(NEW)
    dms.workspace.behaviour = Behaviour(statuses=("RUNNING", status), action_error="no space", action_log="the log\n")

    step = deploy()

    assert step.exit_code == 1
    assert "Not published" in [one.properties["title"] for one in step.annotations]
    assert "no space" in step.log
    assert "the log" in step.log
    assert own(dms) == OLD
    # The former state could not be published either, so that it is not said to be back.
    assert (step.outputs["rolled-back"], "Deploy not taken back" in [one.properties["title"] for one in step.annotations]) == (
        "false",
        True,
    )


# --- what is refused ------------------------------------------------------------------------------------------------------


def test_a_dry_run_reads_only_and_says_what_the_deploy_needs(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout(OLD)

    step = deploy(dry_run="true")

    assert step.exit_code == 0, step.log
    assert not {"SaveWorkspaceCode", "DeleteWorkspaceCode", "WorkspaceCodePublish"} & set(dms.workspace.actions())
    assert "dms:SaveWorkspaceCode" in step.log
    assert json.loads(step.outputs["plan"])["created"] == sorted(OLD)


def test_conflicts_are_refused_all_at_once_unless_forced(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    for name in ("etl.py", "gone.py"):
        dms.workspace.store.edit(f"{TARGET}/{name}", "by hand\n")
    checkout(OLD)

    dry = deploy(dry_run="true")
    refused_step = deploy()
    forced = deploy(force="true")

    assert (dry.exit_code, refused_step.exit_code, forced.exit_code) == (0, 1, 0), forced.log
    assert [(one.name, one.properties["title"]) for one in dry.annotations] == [("warning", "Deploy refused")]
    assert [(one.name, one.properties["title"]) for one in refused_step.annotations] == [("error", "Deploy refused")]
    assert "etl.py" in refused_step.annotations[0].data
    assert "gone.py" in refused_step.annotations[0].data
    assert json.loads(refused_step.outputs["plan"])["changed"] == ["etl.py", "gone.py"]
    assert own(dms) == OLD


def test_an_excluded_target_is_refused(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    dms.workspace.publisher.setting.exclude = ["/default"]
    checkout(OLD)

    step = deploy()

    assert step.exit_code == 1
    assert "is excluded from publishing, as part of /default" in step.log
    assert own(dms) == {}


def test_a_checkout_without_the_customary_folder_is_refused(deploy: Callable[..., Step]) -> None:
    step = deploy()

    assert (step.exit_code, step.annotations[0].properties["title"]) == (1, "Deploy refused")
    assert "The checkout has no folder dags." in step.log


def test_an_instance_that_is_not_ready_is_refused(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    dms.workspace.behaviour = Behaviour(airflow_status="DEPLOYING")
    checkout(OLD)

    step = deploy()

    assert (step.exit_code, step.annotations[0].properties["title"]) == (1, "Deploy refused")
    assert "The instance is DEPLOYING" in step.log


def test_wrong_inputs_are_told_by_name(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    checkout(OLD)

    step = deploy(deploy_to="/tmp", on_failure="retry", prune="yes")

    assert step.exit_code == 2
    assert sorted(one.properties["title"] for one in step.annotations) == [
        "Wrong input: deploy-to",
        "Wrong input: on-failure",
        "Wrong input: prune",
    ]
    assert dms.workspace.calls == []


@pytest.mark.parametrize("fault", [refused("Forbidden.RAM"), refused("UserNotExist"), unsuccessful("NoPermission")])
@pytest.mark.parametrize(
    "action",
    [
        "GetAirflow",
        "GetWorkspaceCodePublishSetting",
        "ListWorkspaceCode",
        "GetWorkspaceCode",
        "SaveWorkspaceCode",
        "DeleteWorkspaceCode",
        "WorkspaceCodePublish",
        "WorkspaceActionStatus",
    ],
)
def test_a_missing_right_names_the_call_its_action_and_the_membership(
    dms: FakeDms, checkout: Any, deploy: Callable[..., Step], action: str, fault: Fault
) -> None:
    checkout(OLD)
    deploy()
    checkout(NEW)
    dms.workspace.fail(action, fault, times=99)

    step = deploy()

    assert step.exit_code == 1
    text = "\n".join(one.data for one in step.annotations if one.name == "error")
    assert action in text
    assert f"dms:{action}" in text
    assert "member of the workspace" in text
    if action in ("GetAirflow", "ListWorkspaceCode", "GetWorkspaceCode", "SaveWorkspaceCode"):
        assert own(dms) == OLD


# --- the network and the rest ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["ListWorkspaceCode", "GetWorkspaceCode", "SaveWorkspaceCode", "WorkspaceCodePublish"])
@pytest.mark.parametrize("fault", [lost(after_effect=True), lost(after_effect=False), throttled(retry_after_seconds=7)])
def test_lost_and_throttled_calls_are_got_over(
    dms: FakeDms, checkout: Any, deploy: Callable[..., Step], action: str, fault: Fault
) -> None:
    checkout(OLD)
    dms.workspace.fail(action, fault, times=2 if action != "WorkspaceCodePublish" else 1)

    step = deploy()

    assert step.exit_code == 0, step.log
    assert own(dms) == OLD


def test_what_looks_like_a_secret_is_warned_of_and_shown_nowhere(
    dms: FakeDms, checkout: Any, deploy: Callable[..., Step]
) -> None:
    checkout({"etl.py": GOOD.format("etl", f"@daily key {SECRET}")})

    step = deploy()

    warning = next(one for one in step.annotations if one.properties["title"] == "Secret in a file")
    assert (warning.properties["file"], warning.properties["line"]) == ("dags/etl.py", "3")
    assert SECRET not in step.log + step.summary
    assert SECRET not in json.dumps(step.outputs)
    assert SECRET in own(dms)["etl.py"]


def test_excluded_files_stay_out_of_the_deploy_and_of_the_gate(
    dms: FakeDms, checkout: Any, deploy: Callable[..., Step]
) -> None:
    checkout({"etl.py": GOOD.format("etl", "@daily"), "tests/test_etl.py": GOOD.format("test", "@daily")})

    step = deploy(deploy_exclude="# not for production\ntests/\n")

    assert step.exit_code == 0, step.log
    assert sorted(own(dms)) == ["etl.py"]


def test_requirements_of_the_instance_are_written_and_said_to_need_a_redeploy(
    dms: FakeDms, reader: Reader, checkout: Any, workspace: Path, deploy: Callable[..., Step]
) -> None:
    reader.dags = dms.workspace.store.code / "default"
    checkout({"dags/etl.py": GOOD.format("etl", "@daily")})
    (workspace / "dags" / "requirements.txt").write_text("pandas\n")

    step = deploy(deploy_to="/Workspace/code/default")

    assert step.exit_code == 0, step.log
    assert [one.properties["title"] for one in step.annotations] == ["Instance must be redeployed"]
    assert "RedeployAirflow" not in dms.workspace.actions()


# --- a branch in place of files -------------------------------------------------------------------------------------------


def bind(dms: FakeDms, **fields: Any) -> Repository:
    """Bind a Git repository to the workspace that holds the DAG folder."""
    branches = {"main": {"dags/etl.py": OLD["etl.py"]}, "next": {"dags/etl.py": NEW["etl.py"]}}
    repository = Repository(repo="shop/dags", path="/default", branch="main", branches=branches, **fields)
    dms.workspace.publisher.bind(repository)
    return repository


def test_files_of_a_bound_repository_are_refused_with_the_way_out(
    dms: FakeDms, checkout: Any, deploy: Callable[..., Step]
) -> None:
    bind(dms)
    checkout(OLD)

    step = deploy()

    assert step.exit_code == 1
    assert "Set deploy-branch: main" in step.log


def test_a_branch_is_published_and_verified(dms: FakeDms, reader: Reader, checkout: Any, deploy: Callable[..., Step]) -> None:
    bind(dms)
    reader.dags = dms.workspace.publisher.dags
    checkout({"etl.py": NEW["etl.py"]})

    dry = deploy(deploy_branch="next", dry_run="true")
    step = deploy(deploy_branch="next")

    assert (dry.exit_code, step.exit_code) == (0, 0), step.log
    assert "Would publish the workspace with these branches: shop/dags (next)" in dry.log
    assert not {"SaveWorkspaceCode", "ListWorkspaceCode"} & set(dms.workspace.actions())


def test_a_locked_branch_is_refused(dms: FakeDms, checkout: Any, deploy: Callable[..., Step]) -> None:
    bind(dms)
    dms.workspace.publisher.setting.is_locked = True
    checkout(OLD)

    step = deploy(deploy_branch="next")

    assert step.exit_code == 1
    assert "lock shop/dags to branch main, not next" in step.log
    assert "WorkspaceCodePublish" not in dms.workspace.actions()
