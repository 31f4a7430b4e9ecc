"""The plan of a deploy: what is read, what is refused, and what is whose. Against the sandbox's workspace, in process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.core.errors import DeployError, WorkspaceDeniedError
from dms_airflow.core.result import Ending, Result
from dms_airflow.deploy.manifest import Manifest, parse_manifest
from dms_airflow.deploy.plan import Plan, find_secrets, make_plan, read_checkout, render_diff
from dms_airflow.deploy.rollout import Fate, Rollout
from dms_airflow.deploy.write import FileChange, Target
from sandbox.workspace import Behaviour, Missing, refused
from tests.unit.fake_workspace import TARGET, FakeWorkspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DAG = "from airflow import DAG\n"
GREEN = Result(ending=Ending.SUCCESS, headline="green")
RED = Result(ending=Ending.FAILURE, headline="red")


@pytest.fixture
def workspace(tmp_path: Path) -> FakeWorkspace:
    """Give a workspace with an empty DAG folder."""
    return FakeWorkspace(tmp_path)


def plan(workspace: FakeWorkspace, texts: Mapping[str, str], **options: Any) -> Plan:
    """Plan a deploy."""
    target = Target(workspace, TARGET, force=options.pop("force", False))
    return make_plan(target, texts, **options)


def deploy(workspace: FakeWorkspace, texts: Mapping[str, str], commit: str = "c1") -> Plan:
    """Deploy without a gate."""
    made = plan(workspace, texts)
    rollout = Rollout(made, commit=commit, run="run")
    assert rollout.run(lambda: None, lambda: GREEN, may_take_back=False).fate is Fate.VERIFIED
    return made


# --- the checkout ---------------------------------------------------------------------------------------------------------


def test_everything_of_the_folder_is_read_but_git_bytecode_and_a_manifest(tmp_path: Path) -> None:
    for path, text in {
        "etl.py": DAG,
        "sql/a.sql": "select 'é'\r\n",
        "__pycache__/etl.py": "",
        "x.pyc": "",
        ".git/HEAD": "",
        "dms-airflow-deploy.json": "{}",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    (tmp_path / "again.py").symlink_to("etl.py")
    (tmp_path / "more").symlink_to("sql")

    texts = read_checkout(tmp_path, tmp_path, lambda path: path == "more/a.sql")

    assert texts == {"again.py": DAG, "etl.py": DAG, "sql/a.sql": "select 'é'\r\n"}


def test_all_files_that_cannot_be_deployed_are_told_at_once(tmp_path: Path) -> None:
    dags = tmp_path / "checkout" / "dags"
    dags.mkdir(parents=True)
    (tmp_path / "secret.py").write_text("x")
    (dags / "out.py").symlink_to(tmp_path / "secret.py")
    (dags / "nowhere.py").symlink_to("missing.py")
    (dags / "circle").symlink_to(".")
    (dags / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    (dags / "latin.py").write_bytes(b"# \xe9")
    (dags / "back\\slash.py").write_text("")
    (dags / "big.sql").write_bytes(b"x" * (1024 * 1024 + 1))

    with pytest.raises(DeployError) as caught:
        read_checkout(dags, tmp_path / "checkout", lambda _: False)

    assert caught.value.message.splitlines() == [
        "These files cannot be deployed:",
        "back\\slash.py: its name has a control character, a backslash or bytes that are not UTF-8",
        "big.sql: 1048577 bytes, more than 1 MiB",
        "circle: neither a file nor a folder, or a link that leads nowhere",
        "latin.py: not a UTF-8 text; the workspace stores only such texts",
        "logo.png: not a UTF-8 text; the workspace stores only such texts",
        "nowhere.py: neither a file nor a folder, or a link that leads nowhere",
        "out.py: a link that leads out of the checkout",
    ]


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="has no files"):
        read_checkout(tmp_path, tmp_path, lambda _: False)


def test_secrets_are_found_by_place_and_kind() -> None:
    texts = {
        "keys/id_rsa": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n",
        "etl.py": "a = 1\nkey = 'LTAI5tUnitTestKey0001'\n",
        "fine.py": "LTAI is a prefix; BEGIN PUBLIC KEY\n",
    }

    assert find_secrets(texts) == [
        ("etl.py", 2, "an AccessKey id of Alibaba Cloud"),
        ("keys/id_rsa", 1, "a private key"),
    ]


# --- the target -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", Missing)
def test_a_first_deploy_into_a_missing_folder_creates_everything(tmp_path: Path, missing: Missing) -> None:
    workspace = FakeWorkspace(tmp_path, Behaviour(missing_file=missing, missing_folder=missing))
    workspace.dms.store.dags.rmdir()
    texts = {"etl.py": DAG, "lib/helper.py": "x = 1\n"}

    made = deploy(workspace, texts)

    assert made.to_json() == {
        "created": ["etl.py", "lib/helper.py"],
        "changed": [],
        "deleted": [],
        "unchanged": [],
        "foreign": [],
    }
    assert workspace.own_files == texts


def test_a_refused_listing_is_not_a_missing_folder(workspace: FakeWorkspace) -> None:
    workspace.dms.fail("ListWorkspaceCode", refused("Forbidden.RAM"))

    with pytest.raises(WorkspaceDeniedError):
        plan(workspace, {"etl.py": DAG})


def test_a_second_deploy_of_the_same_files_reads_no_file_but_the_manifest(workspace: FakeWorkspace) -> None:
    deploy(workspace, {"etl.py": DAG, "lib/helper.py": "x = 1\n"})
    workspace.dms.calls.clear()

    made = plan(workspace, {"etl.py": DAG, "lib/helper.py": "x = 1\n"})

    assert made.summary == "0 created, 0 changed, 0 deleted, 2 unchanged, 0 not ours"
    assert workspace.dms.actions() == ["ListWorkspaceCode", "GetWorkspaceCode", "ListWorkspaceCode"]


def test_changed_deleted_and_renamed_files_are_told(workspace: FakeWorkspace) -> None:
    deploy(workspace, {"etl.py": DAG, "old.py": DAG, "same.py": DAG})
    workspace.put({"theirs.py": "x\n", "their_folder/y.py": "y\n"})

    made = plan(workspace, {"etl.py": DAG + "# 2\n", "new.py": DAG, "same.py": DAG})

    assert made.to_json() == {
        "created": ["new.py"],
        "changed": ["etl.py"],
        "deleted": ["old.py"],
        "unchanged": ["same.py"],
        "foreign": ["their_folder/", "theirs.py"],
    }
    assert made.conflicts == ()


def test_helpers_come_first_then_dag_files_then_deletions(workspace: FakeWorkspace) -> None:
    deploy(workspace, {"aa.py": DAG})

    made = plan(workspace, {"a_dag.py": DAG, "helper.py": "x = 1\n", "query.sql": "-- airflow dag\n"})

    assert [change.path for change in made.changes] == ["helper.py", "query.sql", "a_dag.py", "aa.py"]


def test_what_no_deploy_wrote_is_a_conflict_unless_it_is_the_same(workspace: FakeWorkspace) -> None:
    workspace.put({"by_hand.py": "theirs\n", "same.py": DAG})

    made = plan(workspace, {"by_hand.py": "ours\n", "same.py": DAG})

    assert made.conflicts == ("by_hand.py",)
    assert made.unchanged == ("same.py",)


def test_a_file_of_ours_that_somebody_changed_is_a_conflict_and_is_not_deleted(workspace: FakeWorkspace) -> None:
    deploy(workspace, {"edited.py": DAG, "gone.py": DAG})
    workspace.put({"edited.py": "theirs\n", "gone.py": "theirs\n"})

    made = plan(workspace, {"edited.py": DAG + "# 2\n"})
    forced = plan(workspace, {"edited.py": DAG + "# 2\n"}, force=True)

    assert (made.conflicts, made.foreign, made.to_json()["deleted"]) == (("edited.py",), ("gone.py",), [])
    assert forced.to_json()["deleted"] == ["gone.py"]


def test_prune_deletes_what_the_checkout_lacks_but_what_is_excluded(workspace: FakeWorkspace) -> None:
    workspace.put({"theirs.py": "x\n", "folder/deep.py": "y\n", "local/kept.py": "z\n"})

    made = plan(workspace, {"etl.py": DAG}, keep=lambda path: path.startswith("local/"))

    assert made.to_json()["deleted"] == ["folder/deep.py", "theirs.py"]
    assert made.foreign == ("local/kept.py",)


def test_links_and_folders_in_the_way_are_refused(workspace: FakeWorkspace) -> None:
    workspace.put({"real/x.py": "x\n", "a_folder.py/x": "x\n", "a_file": "x\n"})
    dags = workspace.dms.store.dags
    (dags / "linked").symlink_to("real")
    (dags / "link.py").symlink_to("real/x.py")

    with pytest.raises(DeployError) as caught:
        plan(workspace, {"linked/new.py": "1", "link.py": "2", "a_folder.py": "3", "a_file/new.py": "4", "fine.py": "5"})

    assert caught.value.message.splitlines()[1:] == [
        "a_file",
        "a_folder.py/",
        "link.py",
        "linked/",
    ]


@pytest.mark.parametrize(
    "behaviour", [Behaviour(lists_dot_files=False), Behaviour(longest_list=1), Behaviour(lists_paths=True)]
)
def test_a_listing_that_is_cut_or_hides_files_changes_nothing(tmp_path: Path, behaviour: Behaviour) -> None:
    workspace = FakeWorkspace(tmp_path, behaviour)
    texts = {".airflowignore": "x\n", "aa_dag.py": DAG, "etl.py": DAG}
    deploy(workspace, texts)

    assert plan(workspace, texts).summary == "0 created, 0 changed, 0 deleted, 3 unchanged, 0 not ours"
    assert plan(workspace, {"etl.py": DAG}).to_json()["deleted"] == [".airflowignore", "aa_dag.py"]


def test_a_server_that_changes_line_ends_gets_the_file_once(tmp_path: Path) -> None:
    workspace = FakeWorkspace(tmp_path, Behaviour(stores=lambda text: text.replace("\r\n", "\n"), lists_mtime=False))
    texts = {"etl.py": "a = 1\r\nb = 2\r\n"}
    deploy(workspace, texts)

    assert plan(workspace, texts).unchanged == ("etl.py",)
    changed = plan(workspace, {"etl.py": "a = 1\nb = 2\n"})
    assert (changed.unchanged, changed.conflicts) == (("etl.py",), ())
    assert plan(workspace, {"etl.py": "a = 3\r\n"}).conflicts == ()


def test_a_manifest_that_cannot_be_read_owns_nothing_and_warns(workspace: FakeWorkspace) -> None:
    deploy(workspace, {"etl.py": DAG, "old.py": DAG})
    workspace.put({"dms-airflow-deploy.json": '{"version": 99}'})

    made = plan(workspace, {"etl.py": DAG + "# 2\n"})

    assert (made.conflicts, made.foreign) == (("etl.py",), ("old.py",))
    assert "cannot be read, so the files" in made.manifest.warning


def test_a_deploy_that_did_not_end_is_named(workspace: FakeWorkspace) -> None:
    made = plan(workspace, {"etl.py": DAG})
    Rollout(made, commit="abc", run="https://ci/1").run(lambda: None, lambda: RED, may_take_back=False)

    assert "commit abc, https://ci/1" in plan(workspace, {"etl.py": DAG}).manifest.warning


# --- the manifest and the diff --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"version": 1}', '{"version": 1, "about": "", "files": [1], "commit": ""}']
)
def test_what_is_no_manifest_has_no_files(text: str) -> None:
    assert parse_manifest(text, "t") == Manifest(text=text or None, mtime="t")


def test_a_pending_manifest_comes_back_whole() -> None:
    manifest = Manifest(
        commit="a",
        run="r",
        written={"x.py": ["1", "2"]},
        former={"x.py": None, "y.py": "é\r\n"},
    )

    text = manifest.render()
    assert parse_manifest(text, "t") == replace(manifest, text=text, mtime="t")


def test_a_diff_is_unified_and_left_out_when_it_is_long() -> None:
    assert render_diff(FileChange("a.py", "one\ntwo\n", "one\n2\n")).splitlines() == [
        "--- a/a.py",
        "+++ b/a.py",
        "@@ -1,2 +1,2 @@",
        " one",
        "-two",
        "+2",
    ]
    assert render_diff(FileChange("a.py", None, "x\n" * 1001)) == ""
