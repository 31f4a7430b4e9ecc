"""The sandbox's DMS workspace: each knob of `Behaviour` and each fault does what it says, and nothing else.

Files are written to a temporary folder: the workspace is one.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from sandbox.workspace import (
    Behaviour,
    Missing,
    Repository,
    Unguarded,
    Workspace,
    forms,
    lost,
    refused,
    throttled,
    unsuccessful,
)
from sandbox.workspace.calls import BODY, PARAMETERS, QUERY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox.workspace import Call, Reply

DAGS = "/Workspace/code/default/dags"
DAG = f"{DAGS}/orders.py"
FORM = "application/x-www-form-urlencoded"


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at 0."""
    return Clock()


@pytest.fixture
def workspace(tmp_path: Path, clock: Clock) -> Workspace:
    """An empty workspace, in which each save comes a second after the one before, from 2026-01-01T10:11:12Z on."""
    times = itertools.count(1_767_262_272_345_678_901, 10**9)
    return Workspace(tmp_path, workspace_id="123", airflow_id="af-1", clock_ns=times.__next__, clock=clock)


def send(workspace: Workspace, action: str, **parameters: str) -> Reply | None:
    """Send a call with its parameters where the SDK puts them."""
    given = {"WorkspaceId": "123", **parameters}
    parts: dict[str, dict[str, str]] = {QUERY: {}, BODY: {}}
    for name, value in given.items():
        parts[PARAMETERS[action][name][0]][name] = value
    return workspace.answer(action, urlencode(parts[QUERY]), urlencode(parts[BODY]).encode(), FORM)


def call(workspace: Workspace, action: str, **parameters: str) -> Mapping[str, Any]:
    """Give the body of the response to a call."""
    reply = send(workspace, action, **parameters)
    assert reply is not None
    return reply.body


def save(workspace: Workspace, text: str, path: str = DAG, **given: str) -> str:
    """Save a file; give the error's code, empty when it is saved."""
    body = call(workspace, "SaveWorkspaceCode", Path=path, Content=text, **given)
    return "" if body.get("Success") else body.get("ErrorCode") or body["Code"]


def read(workspace: Workspace, path: str = DAG) -> tuple[Any, dict[str, str]]:
    """Read a file: its text or None, and the headers."""
    reply = send(workspace, "GetWorkspaceCode", Path=path)
    assert reply is not None
    return reply.body.get("Data"), dict(reply.headers)


def names(workspace: Workspace, path: str = DAGS) -> list[str]:
    """Give the names in a folder."""
    return [line["Name"] for line in call(workspace, "ListWorkspaceCode", Path=path)["Data"]["List"]]


def publish(workspace: Workspace, **config: Any) -> Mapping[str, Any]:
    """Publish; give the response's body."""
    return call(workspace, "WorkspaceCodePublish", Config=json.dumps(config))


def poll(workspace: Workspace, key: str) -> Mapping[str, Any]:
    """Poll an action; give the response's Data."""
    data: Mapping[str, Any] = call(workspace, "WorkspaceActionStatus", Key=key)["Data"]
    return data


def published(workspace: Workspace) -> dict[str, str]:
    """Give the published copy of the DAG folder."""
    folder = workspace.publisher.dags
    return {str(file.relative_to(folder)): file.read_text() for file in sorted(folder.rglob("*")) if file.is_file()}


def turn(workspace: Workspace, **knobs: Any) -> None:
    """Turn knobs."""
    workspace.behaviour = workspace.behaviour.but(**knobs)


# --- parameters ----------------------------------------------------------------------------------------------------------


def test_parameters__count_in_their_own_position_only(workspace: Workspace) -> None:
    everything = urlencode({"WorkspaceId": "123", "Path": DAG, "Content": "a"})

    in_the_query = workspace.answer("SaveWorkspaceCode", everything, b"", FORM)
    no_form = workspace.answer("SaveWorkspaceCode", "WorkspaceId=123", everything.encode(), "application/json")

    for reply in (in_the_query, no_form):
        assert reply is not None
        assert (reply.status, reply.body["Code"]) == (400, "MissingPath")


def test_workspace_id__must_be_the_right_one(workspace: Workspace) -> None:
    body = call(workspace, "ListWorkspaceCode", Path=DAGS, WorkspaceId="124")

    assert (body["Success"], body["ErrorCode"]) == (False, "WorkspaceNotExist")


@pytest.mark.parametrize(
    "path", ["/Workspace/other/x.py", "/Workspace/code/../x.py", "default/dags/x.py", "/Workspace/code/x.py "]
)
def test_path__must_be_below_the_code(workspace: Workspace, path: str) -> None:
    assert save(workspace, "a", path) == "InvalidPath"
    assert workspace.store.files() == {}


# --- modification times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (forms.in_seconds, "2026-01-01T10:11:12Z"),
        (forms.in_milliseconds, "2026-01-01T10:11:12.345Z"),
        (forms.in_nanoseconds, "2026-01-01T18:11:12.345678901+08:00"),
        (forms.in_epoch_milliseconds, "1767262272345"),
        (forms.in_http_date, "Thu, 01 Jan 2026 10:11:12 GMT"),
    ],
)
def test_mtime__in_each_form_guards_the_next_save(workspace: Workspace, form: Callable[[int], str], text: str) -> None:
    turn(workspace, mtime_header="Last-Modified", mtime_format=form)
    save(workspace, "a")

    assert read(workspace) == ("a", {"Last-Modified": text})
    assert save(workspace, "b", Mtime=text) == ""
    assert save(workspace, "c", Mtime=text) == "FileModified"
    assert read(workspace)[0] == "b"


def test_mtime__to_the_second_does_not_see_a_save_within_the_second(workspace: Workspace) -> None:
    workspace.store.clock_ns = lambda: 1_767_262_272_000_000_000
    save(workspace, "a")
    workspace.store.edit(DAG, "somebody else's")

    assert save(workspace, "b", Mtime="2026-01-01T10:11:12Z") == ""


def test_mtime__may_be_missing_everywhere(workspace: Workspace) -> None:
    turn(workspace, mtime_header="", lists_mtime=False)
    save(workspace, "a")

    assert read(workspace) == ("a", {})
    assert call(workspace, "ListWorkspaceCode", Path=DAGS)["Data"]["List"] == [{"Name": "orders.py", "IsDir": False, "Size": 1}]


def test_mtime__of_the_list_guards_too_unless_another_form_is_expected(workspace: Workspace) -> None:
    turn(workspace, mtime_format=forms.in_nanoseconds)
    save(workspace, "a")
    [line] = call(workspace, "ListWorkspaceCode", Path=DAGS)["Data"]["List"]
    assert line["Mtime"] == "2026-01-01T10:11:12Z"
    assert save(workspace, "b", Mtime=line["Mtime"]) == ""

    turn(workspace, expected_mtime=forms.in_epoch_milliseconds, conflict_code="InvalidTid")
    assert save(workspace, "c", Mtime="2026-01-01T10:11:13Z") == "InvalidTid"
    assert save(workspace, "c", Mtime="1767262273345") == ""


def test_mtime__of_a_file_that_is_gone_is_a_conflict(workspace: Workspace) -> None:
    save(workspace, "a")
    workspace.store.edit(DAG, None)

    assert save(workspace, "b", Mtime="2026-01-01T10:11:12Z") == "FileModified"
    assert save(workspace, "b") == ""


def test_unguarded__save_overwrites_or_is_refused(workspace: Workspace) -> None:
    save(workspace, "a")
    assert save(workspace, "b") == ""

    turn(workspace, unguarded=Unguarded.REFUSED)
    assert save(workspace, "c") == "FileExists"
    assert save(workspace, "c", Force="True") == ""
    assert save(workspace, "d", Mtime="2026-01-01T10:11:14Z") == ""
    assert save(workspace, "d", f"{DAGS}/new.py") == ""


# --- files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sent", "kept"),
    [
        (forms.without_bom, "\ufeffa\n", "a\n"),
        (forms.with_bom, "a\n", "\ufeffa\n"),
        (forms.with_lf, "a\r\nb\r\n", "a\nb\n"),
        (forms.with_crlf, "a\nb\n", "a\r\nb\r\n"),
        (forms.without_final_newline, "a\n\n", "a"),
        (forms.with_final_newline, "a", "a\n"),
        (forms.half, "abcd", "ab"),
    ],
)
def test_text__is_changed_when_it_is_saved(workspace: Workspace, change: Callable[[str], str], sent: str, kept: str) -> None:
    turn(workspace, stores=change)

    assert save(workspace, sent) == ""
    assert workspace.store.files() == {DAG: kept.encode()}


def test_content__that_is_no_text_or_too_long_is_refused(workspace: Workspace) -> None:
    assert save(workspace, "PK\x03\x04\x00") == "InvalidContent"
    turn(workspace, refuses_control_characters=False, largest_file=5)

    assert save(workspace, "PK\x03\x04\x00") == ""
    assert save(workspace, "中中") == "ContentTooLarge"


def test_content__that_is_no_utf_8_is_read_in_each_way(workspace: Workspace) -> None:
    (workspace.store.dags / "orders.py").write_bytes(b"\xff\xfe")
    assert read(workspace)[0] == "\ufffd\ufffd"

    turn(workspace, decodes=forms.as_utf_8)
    assert call(workspace, "GetWorkspaceCode", Path=DAG)["ErrorCode"] == "InvalidContent"


def test_folders__are_created_or_missing(workspace: Workspace) -> None:
    turn(workspace, creates_folders=False)
    assert save(workspace, "a", f"{DAGS}/shop/x.py") == "PathNotExist"

    turn(workspace, creates_folders=True)
    assert save(workspace, "a", f"{DAGS}/shop/x.py") == ""
    assert save(workspace, "a", f"{DAGS}/shop") == "InvalidPath"


@pytest.mark.parametrize(
    ("missing", "of_a_folder", "of_a_file"),
    [
        (Missing.ERROR, (False, None), (False, None)),
        (Missing.EMPTY, (True, {"List": []}), (True, "")),
        (Missing.NO_DATA, (True, None), (True, None)),
    ],
)
def test_missing__is_answered_in_each_way(workspace: Workspace, missing: Missing, of_a_folder: Any, of_a_file: Any) -> None:
    turn(workspace, missing_folder=missing, missing_file=missing)

    folder = call(workspace, "ListWorkspaceCode", Path=f"{DAGS}/none")
    file = call(workspace, "GetWorkspaceCode", Path=f"{DAGS}/none.py")

    assert (folder["Success"], folder.get("Data")) == of_a_folder
    assert (file["Success"], file.get("Data")) == of_a_file


def test_error__with_an_http_status_has_the_gateways_form(workspace: Workspace) -> None:
    turn(workspace, error_status=404)

    reply = send(workspace, "GetWorkspaceCode", Path=DAG)

    assert reply is not None
    assert (reply.status, reply.body) == (404, {"Code": "PathNotExist", "Message": f"{DAG} does not exist."})


def test_delete__of_a_missing_file_is_an_error_or_a_success(workspace: Workspace) -> None:
    assert call(workspace, "DeleteWorkspaceCode", Path=DAG)["ErrorCode"] == "PathNotExist"

    turn(workspace, deletes_missing=True)
    assert call(workspace, "DeleteWorkspaceCode", Path=DAG)["Success"] is True


def test_delete__of_a_folder_takes_all_that_is_in_it_but_never_the_root(workspace: Workspace) -> None:
    save(workspace, "a", f"{DAGS}/shop/x.py")
    save(workspace, "a")

    assert call(workspace, "DeleteWorkspaceCode", Path=f"{DAGS}/shop")["Success"] is True
    assert list(workspace.store.files()) == [DAG]
    assert call(workspace, "DeleteWorkspaceCode", Path="/Workspace/code")["ErrorCode"] == "InvalidPath"


def test_list__hides_cuts_and_gives_paths_as_set(workspace: Workspace) -> None:
    for name in (".manifest.json", "a.py", "b.py"):
        save(workspace, "a", f"{DAGS}/{name}")
    assert names(workspace) == [".manifest.json", "a.py", "b.py"]

    turn(workspace, lists_dot_files=False, longest_list=1, lists_paths=True)
    assert names(workspace) == [f"{DAGS}/a.py"]


def test_list__of_a_file_is_that_file(workspace: Workspace) -> None:
    save(workspace, "a")

    assert names(workspace, DAG) == ["orders.py"]


def test_links__are_listed_followed_and_written_through(workspace: Workspace) -> None:
    save(workspace, "a")
    (workspace.store.dags / "link.py").symlink_to("orders.py")
    (workspace.store.dags / "nowhere.py").symlink_to("none.py")
    (workspace.store.dags / "folder").symlink_to("..")

    lines = {line["Name"]: line for line in call(workspace, "ListWorkspaceCode", Path=DAGS)["Data"]["List"]}

    assert {name: (line["IsDir"], line.get("Symlink")) for name, line in lines.items()} == {
        "orders.py": (False, None),
        "link.py": (False, "orders.py"),
        "nowhere.py": (False, "none.py"),
        "folder": (True, ".."),
    }
    assert save(workspace, "b", f"{DAGS}/link.py") == ""
    assert read(workspace)[0] == "b"
    assert (workspace.store.dags / "link.py").is_symlink()
    assert call(workspace, "DeleteWorkspaceCode", Path=f"{DAGS}/link.py")["ErrorCode"] == "InvalidParameter"
    assert call(workspace, "DeleteWorkspaceCode", Path=DAG, Symlink="True")["ErrorCode"] == "InvalidParameter"
    assert call(workspace, "DeleteWorkspaceCode", Path=f"{DAGS}/nowhere.py", Symlink="True")["Success"] is True
    assert workspace.store.files() == {DAG: b"b", f"{DAGS}/link.py": b"b"}


def test_dag_folder__may_be_one_that_exists(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "orders.py").write_text("a")
    workspace = Workspace(tmp_path / "dms", workspace_id="123", airflow_id="af-1", dags_folder=dags)

    assert names(workspace, "/Workspace/code/default") == ["dags"]
    assert save(workspace, "b") == ""
    assert save(workspace, "c", "/Workspace/code/default/requirements.txt") == ""
    assert (dags / "orders.py").read_text() == "b"
    assert list(workspace.store.files()) == [DAG, "/Workspace/code/default/requirements.txt"]


# --- publishing ----------------------------------------------------------------------------------------------------------


def test_publish__copies_what_is_new_and_removes_what_was_deleted(workspace: Workspace) -> None:
    save(workspace, "a")
    save(workspace, "b", f"{DAGS}/shop/x.py")
    assert published(workspace) == {}

    publish(workspace, repos=[], exclude=[])
    assert published(workspace) == {"orders.py": "a", "shop/x.py": "b"}

    workspace.store.edit(DAG, None)
    turn(workspace, removes_deleted=False)
    publish(workspace)
    assert published(workspace) == {"orders.py": "a", "shop/x.py": "b"}

    turn(workspace, removes_deleted=True)
    publish(workspace)
    assert published(workspace) == {"shop/x.py": "b"}


def test_publish__takes_the_files_of_its_own_moment_and_shows_them_after_the_delay(workspace: Workspace, clock: Clock) -> None:
    turn(workspace, copies_after=5.0)
    save(workspace, "a")
    publish(workspace)
    save(workspace, "later")

    clock.now = 4.9
    assert published(workspace) == {}
    clock.now = 5.0
    assert published(workspace) == {"orders.py": "a"}


def test_publish__leaves_what_is_excluded_as_it_is(workspace: Workspace) -> None:
    save(workspace, "a")
    publish(workspace, exclude=["/default"])
    assert published(workspace) == {}

    publish(workspace, exclude=[])
    save(workspace, "b")
    publish(workspace, exclude=["/default/dags"])
    assert published(workspace) == {"orders.py": "a"}


def test_publish__that_fails_copies_nothing_or_does(workspace: Workspace) -> None:
    save(workspace, "a")
    turn(workspace, publish_works=False, action_error="disk full", action_log=None)

    key = publish(workspace)["Data"]["Key"]

    assert [poll(workspace, key)["Status"] for _ in range(3)] == ["RUNNING", "ERROR", "ERROR"]
    assert poll(workspace, key)["Data"] == "disk full"
    assert call(workspace, "WorkspaceActionLog", Key=key)["ErrorCode"] == "LogNotExist"
    assert published(workspace) == {}

    turn(workspace, copies_when_failed=True)
    publish(workspace)
    assert published(workspace) == {"orders.py": "a"}


def test_publish__with_a_config_that_is_no_json_object_is_refused(workspace: Workspace) -> None:
    for config in ("", "[]", "{"):
        assert call(workspace, "WorkspaceCodePublish", Config=config)["ErrorCode"] == "InvalidParameter"


def test_publish__while_another_runs_is_refused_until_that_ends(workspace: Workspace, clock: Clock) -> None:
    turn(workspace, publishes_at_once=False, statuses=("RUNNING", "SUCCESS"), action_seconds=30.0)
    key = publish(workspace)["Data"]["Key"]
    poll(workspace, key)
    assert publish(workspace)["ErrorCode"] == "ActionRunning"

    poll(workspace, key)
    assert publish(workspace)["Success"] is True
    assert publish(workspace)["ErrorCode"] == "ActionRunning"  # nobody polls that one, whose response may be lost

    clock.now = 30.0
    assert publish(workspace)["Success"] is True


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        (("SUCCESS",), ["SUCCESS", "SUCCESS"]),
        (("RUNNING",), ["RUNNING", "RUNNING"]),
        ((None, "TIMEOUT"), ["nothing", "TIMEOUT"]),
        (
            (forms.phase("Created"), forms.phase("Failed", "no disk")),
            [
                {"phase": "Created", "latestExecError": {}},
                {"phase": "Failed", "latestExecError": {"message": "no disk"}},
            ],
        ),
        (
            (forms.phase_text("Created"), forms.phase_text("Success")),
            ["{'phase': 'Created', 'latestExecError': {}}", "{'phase': 'Success', 'latestExecError': {}}"],
        ),
    ],
)
def test_status__comes_in_each_form(workspace: Workspace, statuses: Any, shown: list[Any]) -> None:
    turn(workspace, statuses=statuses)

    key = publish(workspace)["Data"]["Key"]

    assert [poll(workspace, key).get("Status", "nothing") for _ in range(2)] == shown


def test_status__of_a_key_that_is_not_known_yet_and_of_none(workspace: Workspace) -> None:
    turn(workspace, unknown_key_polls=1, statuses=("RUNNING", "SUCCESS"), has_end_time=False)
    key = publish(workspace)["Data"]["Key"]

    assert call(workspace, "WorkspaceActionStatus", Key=key)["ErrorCode"] == "PathNotExist"
    assert [poll(workspace, key)["Status"] for _ in range(2)] == ["RUNNING", "SUCCESS"]
    assert "EndTime" not in poll(workspace, key)
    assert call(workspace, "WorkspaceActionStatus", Key="ws-none")["ErrorCode"] == "PathNotExist"


# --- bound repositories --------------------------------------------------------------------------------------------------


@pytest.fixture
def bound(workspace: Workspace) -> Workspace:
    """A workspace whose DAG folder is a Git repository with two branches."""
    branches = {"main": {"orders.py": "of main"}, "next": {"orders.py": "of next"}}
    workspace.publisher.bind(Repository(repo="Team/dags", path="/default/dags", branch="main", branches=branches))
    save(workspace, "edited", f"{DAGS}/orders.py")
    return workspace


@pytest.mark.parametrize(
    "repo",
    [
        "Team/dags",
        "git@codeup.aliyun.com:team/dags.git",
        "https://user@git.example:8443/team/dags.git",
        "ssh://git@x/team/dags",
    ],
)
def test_branch__is_published_in_place_of_the_files(bound: Workspace, repo: str) -> None:
    publish(bound, repos=[{"repo": repo, "branch": "next"}], exclude=[])

    assert published(bound) == {"orders.py": "of next"}
    assert bound.store.files() == {DAG: b"edited"}
    assert bound.publisher.setting.repositories[0].branch == "main"


def test_branch__is_checked_out_and_stored_when_so_set(bound: Workspace) -> None:
    turn(bound, checks_out=True, updates_setting=True)

    publish(bound, repos=[{"repo": "team/dags", "branch": "next"}], exclude=["/.dms"])

    assert bound.store.files() == {DAG: b"of next"}
    setting = call(bound, "GetWorkspaceCodePublishSetting")["Data"]
    assert setting == {
        "Exclude": ["/.dms"],
        "LockRepoBranch": False,
        "Repos": [{"Repo": "Team/dags", "Path": "/default/dags", "Branch": "next"}],
    }


def test_branch__that_is_locked_is_published_whatever_the_config_says(bound: Workspace) -> None:
    bound.publisher.setting.is_locked = True

    publish(bound, repos=[{"repo": "team/dags", "branch": "next"}])

    assert published(bound) == {"orders.py": "of main"}


def test_branch__that_is_missing_or_unknown(bound: Workspace) -> None:
    assert publish(bound, repos=[], exclude=[])["Message"] == "The branch of repo Team/dags is empty."
    assert publish(bound, repos=[{"repo": "team/other", "branch": "main"}])["ErrorCode"] == "RepoNotExist"

    key = publish(bound, repos=[{"repo": "team/dags", "branch": "none"}])["Data"]["Key"]
    poll(bound, key)
    assert (poll(bound, key)["Status"], poll(bound, key)["Data"]) == ("ERROR", "branch of Team/dags not found")

    turn(bound, needs_every_branch=False)
    publish(bound, repos=[])
    assert published(bound) == {"orders.py": "of main"}


def test_repository__may_refuse_saves(bound: Workspace) -> None:
    turn(bound, saves_in_repositories=False)

    assert save(bound, "b") == "RepoReadOnly"
    assert save(bound, "b", "/Workspace/code/default/dags-other/x.py") == ""


def test_setting__in_its_other_forms(workspace: Workspace) -> None:
    workspace.publisher.setting.exclude = ["/a", "/b"]
    turn(workspace, excludes_as_text=True, setting_code="Success")

    body = call(workspace, "GetWorkspaceCodePublishSetting")

    assert (body["Code"], body["Data"]["Exclude"], "Success" in body) == ("Success", ['["/a", "/b"]'], False)


# --- the instance --------------------------------------------------------------------------------------------------------


def test_airflow__is_described_as_set(workspace: Workspace) -> None:
    turn(workspace, airflow_status="DEPLOYING", airflow_workspace_id="124", airflow_dags_dir="/default/dags/", noise="")

    body = call(workspace, "GetAirflow", AirflowId="af-1")

    root = body["Root"]
    assert (root["Status"], root["WorkspaceId"], root["DagsDir"]) == ("DEPLOYING", "124", "/default/dags/")
    assert "ErrorCode" not in body
    assert call(workspace, "GetAirflow", AirflowId="af-2")["ErrorCode"] == "InvalidAirflow.NotFound"


# --- faults and hooks ----------------------------------------------------------------------------------------------------


def test_faults__meet_the_calls_that_they_are_meant_for(workspace: Workspace) -> None:
    workspace.fail("SaveWorkspaceCode", throttled(status=503), spared=1, times=2)
    workspace.fail("GetWorkspaceCode", lambda call: refused("NoPermission") if "orders" in call.path else None, times=9)

    assert [save(workspace, text) for text in "abcd"] == ["", "Throttling.User", "Throttling.User", ""]
    assert read(workspace, DAG)[0] is None
    save(workspace, "e", f"{DAGS}/x.py")
    assert read(workspace, f"{DAGS}/x.py")[0] == "e"


@pytest.mark.parametrize("action", PARAMETERS)
def test_faults__are_possible_at_every_call(workspace: Workspace, action: str) -> None:
    workspace.fail(action, unsuccessful("InternalError", "sorry"))
    workspace.fail(action, refused("UserNotExist"), spared=1)
    workspace.fail(action, lost(after_effect=False), spared=2)

    unsuccessful_reply, refusal, silence = (workspace.answer(action, "", b"", FORM) for _ in range(3))

    assert unsuccessful_reply is not None
    assert (unsuccessful_reply.status, unsuccessful_reply.body["Success"]) == (200, False)
    assert refusal is not None
    assert (refusal.status, refusal.body["Code"]) == (403, "UserNotExist")
    assert silence is None


def test_lost__with_and_without_the_effect(workspace: Workspace) -> None:
    workspace.fail("SaveWorkspaceCode", lost(after_effect=True))
    workspace.fail("SaveWorkspaceCode", lost(after_effect=False), spared=1)

    assert send(workspace, "SaveWorkspaceCode", Path=DAG, Content="a") is None
    assert send(workspace, "SaveWorkspaceCode", Path=DAG, Content="b") is None
    assert workspace.store.files() == {DAG: b"a"}


@pytest.mark.parametrize(("after_effect", "content"), [(False, b"a"), (True, b"b")])
def test_die_at__leaves_everything_as_it_is(workspace: Workspace, after_effect: bool, content: bytes) -> None:
    save(workspace, "a")
    workspace.die_at(2, after_effect=after_effect)

    assert read(workspace)[0] == "a"
    assert [send(workspace, "SaveWorkspaceCode", Path=DAG, Content=text) for text in "bc"] == [None, None]
    assert workspace.store.files() == {DAG: content}


def test_hooks__run_before_the_effect_and_after_it(workspace: Workspace) -> None:
    seen: list[tuple[str, int, bytes | None]] = []

    def note(when: str, call: Call) -> None:
        seen.append((when, call.number, workspace.store.files().get(DAG)))

    def edit(call: Call) -> None:
        note("before", call)
        workspace.store.edit(DAG, "somebody else's")

    save(workspace, "a")
    workspace.before = edit
    workspace.after = lambda call: note("after", call)
    assert save(workspace, "b", Mtime="2026-01-01T10:11:12Z") == "FileModified"

    assert seen == [("before", 2, b"a"), ("after", 2, b"somebody else's")]
    assert workspace.actions() == ["SaveWorkspaceCode", "SaveWorkspaceCode"]


def test_behaviour__but_turns_only_those_knobs() -> None:
    assert Behaviour().but(lists_paths=True) == Behaviour(lists_paths=True)
