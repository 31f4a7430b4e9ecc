"""Publishing: each form that a setting and a status may have, and each way in which an action may end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.core.errors import ActionError, DeployError, WorkspaceDeniedError
from dms_airflow.deploy.publish import Destination, Repository, is_below, parse_destination, parse_status, publish
from sandbox.workspace import Behaviour, lost, refused, unsuccessful
from tests.unit.fake_workspace import FakeWorkspace

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "/Workspace/code/default/dags"
NOTHING = Destination(folder=FOLDER, airflow={}, repositories=(), excluded=(), is_locked=False)
DICT_TEXT = "{'phase': 'Created', 'latestExecError': {'message': 'no branch'}}"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("SUCCESS", ("SUCCESS", "")),
        (" success ", ("SUCCESS", "")),
        ("Running", ("RUNNING", "")),
        (None, ("", "")),
        ("", ("", "")),
        ({"phase": "Success"}, ("SUCCESS", "")),
        (DICT_TEXT, ("CREATED", '{"message": "no branch"}')),
        ('{"phase": "ERROR", "latestExecError": null}', ("ERROR", "")),
        ("{not a dict", ("{NOT A DICT", "")),
    ],
)
def test_a_status_is_a_word_whatever_its_form(status: Any, expected: tuple[str, str]) -> None:
    assert parse_status(status) == expected


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/Workspace/code/default/dags", "/default", True),
        ("/Workspace/code/default/dags", "default/dags/", True),
        ("/Workspace/code/default/dags", "/Workspace/code/default", True),
        ("/Workspace/code/default2", "/default", False),
        ("/Workspace/code/default/dags", "", False),
        ("/Workspace/code/default/dags", "/", False),
    ],
)
def test_a_folder_is_below_another_by_whole_names(path: str, folder: str, expected: bool) -> None:
    assert is_below(path, folder) is expected


def test_a_setting_is_sent_back_as_it_came_but_for_the_branch() -> None:
    data = {
        "Exclude": ['["/.dms", "/user"]', "/luna-public/"],
        "LockRepoBranch": False,
        "Repos": [{"Repo": "a/dags", "Path": "/default", "Branch": "main"}, {"Repo": "b/lib", "Path": "/lib", "Branch": "x"}],
    }

    setting = parse_destination(FOLDER, {}, data).choose_branch("release")

    assert json.loads(setting.render()) == {
        "repos": [{"repo": "a/dags", "branch": "release"}, {"repo": "b/lib", "branch": "x"}],
        "exclude": ["/.dms", "/user", "/luna-public/"],
    }


def test_a_branch_is_refused_where_it_would_be_ignored() -> None:
    repository = Repository(name="a/dags", folder="/default", branch="main")
    locked = replace(NOTHING, repositories=(repository,), is_locked=True)

    assert locked.choose_branch("main") == locked
    with pytest.raises(DeployError, match="lock a/dags to branch main, not release"):
        locked.choose_branch("release")
    with pytest.raises(DeployError, match=r"is not in a Git repository of the workspace \(bound: a/dags in /default\)"):
        replace(locked, folder="/Workspace/code/other").choose_branch("main")


def run(folder: Path, behaviour: Behaviour) -> FakeWorkspace:
    """Publish once."""
    workspace = FakeWorkspace(folder, behaviour)
    publish(workspace, NOTHING)
    return workspace


@pytest.mark.parametrize(
    "statuses",
    [("SUCCESS",), ("RUNNING", "success"), (None, {"phase": "Created"}, DICT_TEXT, {"phase": "SUCCESS"}), ("", "", "SUCCESS")],
)
def test_every_way_to_say_success_is_success(tmp_path: Path, statuses: tuple[Any, ...]) -> None:
    assert run(tmp_path, Behaviour(statuses=statuses)).log.lines[-1] == "Published."


@pytest.mark.parametrize("word", ["ERROR", "TIMEOUT", "CANCEL", "Failed", "cancelled", {"phase": "ERROR"}, "WEIRD"])
def test_every_other_end_fails_with_the_action_its_error_and_its_log(tmp_path: Path, word: Any) -> None:
    workspace = FakeWorkspace(tmp_path, Behaviour(statuses=("RUNNING", word), action_error="no space", action_log="line\n"))

    with pytest.raises(ActionError) as caught:
        publish(workspace, NOTHING)

    assert "ws-" in caught.value.message
    assert caught.value.message.endswith("no space")
    assert [text for _, text in workspace.log.folds] == ["line\n"]


def test_an_action_without_a_log_fails_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="Its log could not be read"):
        run(tmp_path, Behaviour(statuses=("ERROR",), action_log=None))


def test_an_action_that_never_ends_fails_after_ten_minutes(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path, Behaviour(statuses=("RUNNING",), has_end_time=False))

    with pytest.raises(ActionError, match=r"is RUNNING after 600 s"):
        publish(workspace, NOTHING)

    assert 1600 <= workspace.clock.now < 1632


def test_a_key_that_is_not_known_at_first_is_asked_for_again(tmp_path: Path) -> None:
    run(tmp_path / "some", Behaviour(unknown_key_polls=3))

    with pytest.raises(ActionError, match="ended as unknown"):
        run(tmp_path / "more", Behaviour(unknown_key_polls=9))


def test_a_publish_that_is_refused_while_another_runs_is_repeated(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path)
    workspace.dms.fail("WorkspaceCodePublish", unsuccessful("PublishRunning"), times=3)

    publish(workspace, NOTHING)

    assert workspace.count("WorkspaceCodePublish") == 4


def test_a_lost_publish_is_repeated_once_and_said(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path)
    workspace.dms.fail("WorkspaceCodePublish", lost(after_effect=True))

    publish(workspace, NOTHING)

    assert workspace.count("WorkspaceCodePublish") == 2
    assert "lost. Trying again in 1 s." in workspace.log.lines[0]
    workspace.dms.fail("WorkspaceCodePublish", lost(after_effect=True), times=2)
    with pytest.raises(ActionError):
        publish(workspace, NOTHING)


def test_a_publish_without_the_right_is_not_repeated(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path)
    workspace.dms.fail("WorkspaceCodePublish", refused("Forbidden.RAM"), times=9)

    with pytest.raises(WorkspaceDeniedError):
        publish(workspace, NOTHING)

    assert workspace.count("WorkspaceCodePublish") == 1
