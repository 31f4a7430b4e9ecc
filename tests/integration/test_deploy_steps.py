"""Writing and taking back, with a second writer, lost responses and kills anywhere between the calls of a deploy."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.core.errors import ActionError, ConflictError, DeployError
from dms_airflow.core.result import Ending, Result
from dms_airflow.deploy.plan import make_plan
from dms_airflow.deploy.publish import find_destination, publish
from dms_airflow.deploy.rollout import Fate, Outcome, Rollout
from dms_airflow.deploy.write import Target
from sandbox.workspace import Behaviour, Missing, Unguarded, lost, refused, throttled, unsuccessful
from tests.unit.fake_workspace import TARGET, FakeWorkspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.workspace import Call, Fault

DAG = "from airflow import DAG\n"
OLD = {"changed.py": DAG + "# old\n", "helper.py": "x = 'old'\n", "deleted.py": DAG, "same.py": DAG}
NEW = {
    "changed.py": DAG + "# new\n",
    "helper.py": "x = 'new'\n",
    "created.py": DAG,
    "sub/created.sql": "select 1\n",
    "same.py": DAG,
}
GREEN = Result(ending=Ending.SUCCESS, headline="green")
RED = Result(ending=Ending.FAILURE, headline="red")
SLOW = Result(ending=Ending.TIMEOUT, headline="slow")

NO_TIMES = Behaviour(mtime_header="", lists_mtime=False)


class KilledError(BaseException):
    """The runner is gone."""


def deploy(
    workspace: FakeWorkspace, texts: Mapping[str, str], verdict: Result | Callable[[], Result] = GREEN, **options: Any
) -> Outcome:
    """Deploy as the operation does, with this verdict of the gate."""
    made = make_plan(workspace.target, texts)
    if made.conflicts:
        raise DeployError(f"conflicts: {made.conflicts}", "")
    rollout = Rollout(made, commit="abc", run="https://ci/1")
    destination = find_destination(workspace, "")
    return rollout.run(
        lambda: publish(workspace, destination),
        lambda: verdict if isinstance(verdict, Result) else verdict(),
        may_take_back=options.get("may_take_back", True),
    )


def published(workspace: FakeWorkspace) -> dict[str, str]:
    """Give the files of the published copy but for the manifest."""
    dags = workspace.dms.publisher.dags
    files = {str(path.relative_to(dags)): path.read_text() for path in dags.rglob("*") if path.is_file()}
    files.pop("dms-airflow-deploy.json", None)
    return files


@cache
def deploy_old() -> dict[str, str]:
    """Deploy OLD somewhere, and give what is in the target then."""
    with TemporaryDirectory() as folder:
        workspace = FakeWorkspace(Path(folder))
        assert deploy(workspace, OLD).fate is Fate.VERIFIED
        return workspace.files


def start(folder: Path, behaviour: Behaviour | None = None) -> FakeWorkspace:
    """Give a workspace to which OLD was deployed."""
    workspace = FakeWorkspace(folder, behaviour)
    workspace.put(deploy_old())
    workspace.dms.publisher.copy_now()
    return workspace


# --- how a deploy ends ----------------------------------------------------------------------------------------------------


def test_a_green_deploy_is_in_both_copies(tmp_path: Path) -> None:
    workspace = start(tmp_path)

    outcome = deploy(workspace, NEW)

    assert (outcome.fate, outcome.problems) == (Fate.VERIFIED, {})
    assert workspace.own_files == published(workspace) == NEW


def test_a_red_deploy_is_taken_back_in_both_copies_and_its_manifest_too(tmp_path: Path) -> None:
    workspace = start(tmp_path)
    before = workspace.files

    outcome = deploy(workspace, NEW, RED)

    assert (outcome.fate, outcome.result, outcome.problems) == (Fate.TAKEN_BACK, RED, {})
    assert workspace.files == before
    assert published(workspace) == OLD


def test_a_red_first_deploy_leaves_nothing(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path)
    workspace.put({"theirs.py": "x\n"})

    assert deploy(workspace, NEW, RED).fate is Fate.TAKEN_BACK
    assert workspace.files == {"theirs.py": "x\n"}


def test_an_empty_file_that_a_red_deploy_deleted_comes_back(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path)
    files = {**OLD, "shop/__init__.py": ""}
    assert deploy(workspace, files).fate is Fate.VERIFIED

    assert deploy(workspace, OLD, RED).fate is Fate.TAKEN_BACK
    assert workspace.own_files == files


def test_a_red_deploy_stays_when_its_author_says_so(tmp_path: Path) -> None:
    workspace = start(tmp_path)

    assert deploy(workspace, NEW, RED, may_take_back=False).fate is Fate.STAYS
    assert workspace.own_files == NEW


def test_a_gate_that_proves_nothing_takes_nothing_back(tmp_path: Path) -> None:
    def fail() -> Result:
        raise ActionError("no answer", "")

    ActionError.title = "Test"
    workspace = start(tmp_path)

    assert deploy(workspace, NEW, SLOW).fate is Fate.STAYS
    assert deploy(workspace, NEW, fail).fate is Fate.STAYS
    assert workspace.own_files == NEW
    # The next red one goes back to what was verified last.
    assert deploy(workspace, {**NEW, "created.py": "broken\n"}, RED).fate is Fate.TAKEN_BACK
    assert workspace.own_files == published(workspace) == OLD


def test_one_of_500_changed_is_three_saves_and_the_same_commit_none(tmp_path: Path) -> None:
    texts = {f"team_{number % 5}/dag_{number}.py": DAG for number in range(500)}
    workspace = FakeWorkspace(tmp_path)
    deploy(workspace, texts)
    workspace.dms.calls.clear()

    deploy(workspace, {**texts, "team_0/dag_0.py": DAG + "# 2\n"})
    saves = workspace.count("SaveWorkspaceCode")
    workspace.dms.calls.clear()
    made = make_plan(workspace.target, {**texts, "team_0/dag_0.py": DAG + "# 2\n"})

    assert saves == 3
    assert made.changes == ()
    assert workspace.dms.actions().count("GetWorkspaceCode") == 1


# --- a second writer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        Behaviour(mtime_header=""),
        Behaviour(unguarded=Unguarded.REFUSED),
        NO_TIMES,
        NO_TIMES.but(unguarded=Unguarded.REFUSED),
        Behaviour(missing_file=Missing.EMPTY, missing_folder=Missing.EMPTY, lists_dot_files=False),
    ],
)
def test_every_kind_of_server_takes_a_deploy_and_gives_it_back(tmp_path: Path, behaviour: Behaviour) -> None:
    workspace = start(tmp_path, behaviour)

    assert deploy(workspace, NEW, RED).fate is Fate.TAKEN_BACK
    assert workspace.own_files == OLD
    assert deploy(workspace, NEW).fate is Fate.VERIFIED
    assert workspace.own_files == NEW


def test_an_edit_in_mid_run_stays_and_the_rest_is_taken_back(tmp_path: Path) -> None:
    workspace = start(tmp_path)

    def edit(call: Call) -> None:
        if call.action == "SaveWorkspaceCode" and call.path.endswith("/changed.py"):
            workspace.dms.before = None
            workspace.put({"changed.py": "theirs\n"})

    workspace.dms.before = edit
    outcome = deploy(workspace, NEW)

    assert outcome.fate is Fate.IN_BETWEEN
    assert "was changed by somebody else" in outcome.result.headline
    assert outcome.problems == {"changed.py": "somebody else changed it in the meantime; their version was kept"}
    assert workspace.own_files == {**OLD, "changed.py": "theirs\n"}


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(mtime_header=""), NO_TIMES])
def test_no_edit_of_a_second_writer_is_lost(tmp_path: Path, behaviour: Behaviour) -> None:
    """334 interleavings with each kind of server: 1,002 in all.

    DMS has no guard for a deletion, nor for a save without a modification time. An edit in the one moment between the last
    read of that file and such a call is lost, as docs/operations/deploy.md says; nothing else may be.
    """
    paths = ["changed.py", "helper.py", "deleted.py", "same.py", "created.py", "sub/created.sql", "theirs.py"]
    edits = 0
    for seed in range(334):
        chance = random.Random(seed)
        workspace = start(tmp_path / str(seed), behaviour)
        workspace.order = threading.Lock()
        events: list[tuple[str, str]] = []  # what happened to which file, in order
        workspace.dms.before = lambda call: interfere(call, workspace, chance, events, paths)  # noqa: B023
        with suppress(DeployError):  # an edit before the plan
            deploy(workspace, NEW, chance.choice([GREEN, RED]))
        workspace.dms.before = None
        for path in paths:
            history = [kind for kind, name in events if name == path]
            if "edit" not in history:
                continue
            edits += 1
            last = len(history) - 1 - history[::-1].index("edit")
            if history[last - 1 : last + 2] != ["read", "edit", "unguarded"]:
                assert workspace.files.get(path) == f"theirs {last}\n", f"seed {seed}: {history}"
    assert edits > 300


def interfere(
    call: Call, workspace: FakeWorkspace, chance: random.Random, events: list[tuple[str, str]], paths: list[str]
) -> None:
    """Note a call, and edit a file before it in one of twenty cases."""
    if chance.random() < 0.05:
        path = chance.choice(paths)
        events.append(("edit", path))
        number = sum(name == path for _, name in events) - 1
        workspace.put({path: f"theirs {number}\n"})
    is_unguarded = call.action == "DeleteWorkspaceCode" or (
        call.action == "SaveWorkspaceCode" and "Mtime" not in call.parameters
    )
    kind = "unguarded" if is_unguarded else "read" if call.action == "GetWorkspaceCode" else "guarded"
    if call.path:
        events.append((kind, call.path.removeprefix(f"{TARGET}/")))


# --- killed ---------------------------------------------------------------------------------------------------------------


def kill_at(workspace: FakeWorkspace, number: int, *, has_happened: bool) -> None:
    """Let the runner be gone at a call: before it, or when it has happened."""

    def kill(call: Call) -> Fault | None:
        if call.number >= number:
            raise KilledError
        return None

    if has_happened:
        workspace.dms.after = kill
    else:
        workspace.dms.before = kill


@pytest.mark.parametrize("has_happened", [False, True])
@pytest.mark.parametrize("first", [GREEN, RED])
@pytest.mark.parametrize("second", [GREEN, RED])
def test_killed_at_any_call_the_next_deploy_ends_old_or_new(
    tmp_path: Path, first: Result, second: Result, *, has_happened: bool
) -> None:
    number = 0
    while True:
        number += 1
        workspace = start(tmp_path / str(number))
        kill_at(workspace, number, has_happened=has_happened)
        try:
            deploy(workspace, NEW, first)
        except KilledError:
            pass
        else:
            break
        workspace.dms.before = workspace.dms.after = None

        outcome = deploy(workspace, NEW, second)

        was_verified = first is GREEN and outcome.result is second and workspace.count("SaveWorkspaceCode") == 0
        wanted = NEW if second is GREEN or was_verified else OLD
        if second is RED and workspace.own_files == NEW:
            # Killed after the manifest said that the new version is verified: that one is "before" now.
            assert has_happened
            assert first is GREEN
            wanted = NEW
        assert workspace.own_files == wanted, f"killed at call {number}"
        assert published(workspace) == wanted, f"killed at call {number}"
    assert number > 25


def test_killed_twice_with_another_commit_each_time_the_last_verified_one_comes_back(tmp_path: Path) -> None:
    for number in range(8, 19):  # the calls that write
        workspace = start(tmp_path / str(number))
        for texts in (NEW, {**NEW, "changed.py": DAG + "# third\n", "created.py": DAG + "# third\n"}):
            workspace.dms.calls.clear()
            kill_at(workspace, number, has_happened=True)
            with pytest.raises(KilledError):
                deploy(workspace, texts)
            workspace.dms.after = None

        outcome = deploy(workspace, {"changed.py": "fourth\n"}, RED)

        assert outcome.fate is Fate.TAKEN_BACK, f"killed at call {number}"
        assert workspace.own_files == published(workspace) == OLD, f"killed at call {number}"


# --- lost responses and refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["SaveWorkspaceCode", "DeleteWorkspaceCode", "WorkspaceCodePublish"])
@pytest.mark.parametrize("after_effect", [True, False])
@pytest.mark.parametrize("behaviour", [Behaviour(), NO_TIMES])
def test_a_lost_response_is_settled_by_reading(
    tmp_path: Path, action: str, behaviour: Behaviour, *, after_effect: bool
) -> None:
    for spared in range(6 if action == "SaveWorkspaceCode" else 1):
        workspace = start(tmp_path / str(spared), behaviour)
        workspace.dms.fail(action, lost(after_effect=after_effect), spared=spared)

        assert deploy(workspace, NEW).fate is Fate.VERIFIED
        assert workspace.own_files == published(workspace) == NEW


@pytest.mark.parametrize("fault", [throttled(), throttled(status=200), throttled(status=503)])
def test_throttling_in_the_middle_is_waited_out(tmp_path: Path, fault: Fault) -> None:
    workspace = start(tmp_path)
    workspace.dms.fail("SaveWorkspaceCode", fault, times=2, spared=2)

    assert deploy(workspace, NEW).fate is Fate.VERIFIED
    assert workspace.own_files == NEW


@pytest.mark.parametrize("fault", [refused("Forbidden.RAM"), unsuccessful("InvalidTid")])
@pytest.mark.parametrize("number", range(4))
def test_a_save_that_is_refused_takes_everything_back(tmp_path: Path, fault: Fault, number: int) -> None:
    workspace = start(tmp_path)
    path = ["changed.py", "helper.py", "created.py", "sub/created.sql"][number]
    workspace.dms.fail(
        "SaveWorkspaceCode", lambda call: fault if call.parameters["Content"] == NEW.get(path) else None, times=99
    )

    outcome = deploy(workspace, NEW)

    assert (outcome.fate, outcome.problems) == (Fate.TAKEN_BACK, {})
    assert workspace.own_files == OLD


def test_a_manifest_that_cannot_be_saved_stops_before_anything_is_written(tmp_path: Path) -> None:
    workspace = start(tmp_path)
    workspace.dms.fail("SaveWorkspaceCode", refused("Forbidden.RAM"))

    assert deploy(workspace, NEW).fate is Fate.NOT_BEGUN
    assert workspace.own_files == OLD


def test_a_text_that_is_not_kept_is_an_error_and_taken_back(tmp_path: Path) -> None:
    workspace = start(tmp_path)
    workspace.dms.behaviour = Behaviour(stores=lambda text: text if text.startswith("{") else text.upper())

    outcome = deploy(workspace, NEW)

    assert "differs from what was written" in outcome.result.headline
    assert outcome.fate is Fate.IN_BETWEEN  # this server keeps no former text either
    assert set(outcome.problems) >= {"changed.py", "helper.py"}


def test_two_deploys_at_once_are_noticed(tmp_path: Path) -> None:
    workspace = start(tmp_path)

    def other(call: Call) -> None:
        if call.action == "SaveWorkspaceCode" and call.path.endswith("/created.py"):
            workspace.dms.before = None
            assert deploy(workspace, {**NEW, "changed.py": DAG + "# other\n"}).fate is Fate.VERIFIED

    workspace.dms.before = other
    outcome = deploy(workspace, NEW)

    assert outcome.fate is Fate.IN_BETWEEN
    assert "Another deploy has started" in outcome.problems[""]
    assert workspace.own_files["changed.py"] == DAG + "# other\n"


def test_force_overwrites_what_the_server_does_not_let_go(tmp_path: Path) -> None:
    workspace = start(tmp_path)
    workspace.dms.fail(
        "SaveWorkspaceCode", lambda call: None if "Force" in call.parameters else unsuccessful("FileModified"), times=50
    )
    plan = make_plan(workspace.target, {**OLD, "changed.py": "2\n"})

    with pytest.raises(ActionError, match="FileModified"):
        workspace.target.apply(plan.changes[0])
    assert workspace.own_files == OLD

    Target(workspace, TARGET, force=True).apply(plan.changes[0])
    assert workspace.own_files == {**OLD, "changed.py": "2\n"}


def test_a_conflict_is_not_overwritten_with_force_either(tmp_path: Path) -> None:
    workspace = start(tmp_path)
    plan = make_plan(workspace.target, {**OLD, "changed.py": "2\n"})
    workspace.put({"changed.py": "theirs\n"})

    with pytest.raises(ConflictError):
        Target(workspace, TARGET, force=True).apply(plan.changes[0])
