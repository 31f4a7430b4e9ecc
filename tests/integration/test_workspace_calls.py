"""The sandbox's workspace API understands what the real SDK sends, and answers so that the SDK understands it.

It tests nothing of the action, but what tests of a deploy rely on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from alibabacloud_dms20250414 import models
from alibabacloud_dms20250414.client import Client
from alibabacloud_tea_openapi.exceptions import ThrottlingException
from alibabacloud_tea_openapi.utils_models import Config

from sandbox.openapi import INSTANCE_ID, WORKSPACE_ID
from sandbox.workspace import lost, refused, throttled, unsuccessful
from sandbox.workspace.forms import phase, phase_text
from tests.integration.fake_dms import KEY

if TYPE_CHECKING:
    from tests.integration.fake_dms import FakeDms

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

DAG = "/Workspace/code/default/dags/orders.py"


@pytest.fixture
def client(dms: FakeDms) -> Client:
    """The SDK's client with the right key."""
    config = Config(
        access_key_id=KEY.access_key_id,
        access_key_secret=KEY.access_key_secret,
        endpoint=dms.endpoint.removeprefix("http://"),
        protocol="http",
    )
    return Client(config)


def save(client: Client, content: str, path: str = DAG, **given: Any) -> Any:
    request = models.SaveWorkspaceCodeRequest(workspace_id=WORKSPACE_ID, path=path, content=content, **given)
    return client.save_workspace_code(request).body


def get(client: Client, path: str = DAG) -> Any:
    return client.get_workspace_code(models.GetWorkspaceCodeRequest(workspace_id=WORKSPACE_ID, path=path))


def list_folder(client: Client, path: str) -> Any:
    return client.list_workspace_code(models.ListWorkspaceCodeRequest(workspace_id=WORKSPACE_ID, path=path)).body


def delete(client: Client, path: str = DAG, **given: Any) -> Any:
    request = models.DeleteWorkspaceCodeRequest(workspace_id=WORKSPACE_ID, path=path, **given)
    return client.delete_workspace_code(request).body


def publish(client: Client, **config: Any) -> Any:
    request = models.WorkspaceCodePublishRequest(workspace_id=WORKSPACE_ID, config=json.dumps(config))
    return client.workspace_code_publish(request).body


def poll(client: Client, key: str) -> Any:
    request = models.WorkspaceActionStatusRequest(workspace_id=WORKSPACE_ID, key=key)
    return client.workspace_action_status(request).body


def test_airflow__is_described(client: Client) -> None:
    body = client.get_airflow(models.GetAirflowRequest(airflow_id=INSTANCE_ID, workspace_id=WORKSPACE_ID)).body

    assert body.success is True
    assert (body.root.airflow_id, body.root.workspace_id) == (INSTANCE_ID, WORKSPACE_ID)
    assert (body.root.status, body.root.deploy_error_msg) == ("DEPLOYED", "Deployed")
    assert (body.root.dags_dir, body.root.requirement_file) == ("default/dags", "default/requirements.txt")


@pytest.mark.parametrize("content", ["print(1)\n", "", "\ufeffa = 'ä 中 🎉'\r\n\tb = '+ & = %41'\r\n", "no newline at the end"])
def test_saved__is_read_as_it_was(client: Client, dms: FakeDms, content: str) -> None:
    body = save(client, content)
    response = get(client)

    assert (body.success, body.data) == (True, "1")
    assert response.body.data == content
    assert dms.workspace.store.files() == {DAG: content.encode()}
    assert response.headers["x-dms-mtime"] == "2026-01-01T10:11:12Z"


def test_save__with_the_modification_time_that_was_read_is_guarded(client: Client, dms: FakeDms) -> None:
    save(client, "a = 1\n")
    mtime = get(client).headers["x-dms-mtime"]
    dms.workspace.store.edit(DAG, "somebody = 'else'\n")

    conflict = save(client, "a = 2\n", mtime=mtime)
    assert (conflict.success, conflict.error_code) == (False, "FileModified")
    assert get(client).body.data == "somebody = 'else'\n"

    assert save(client, "a = 2\n", mtime=get(client).headers["x-dms-mtime"]).success is True
    assert save(client, "a = 3\n", mtime=mtime, force=True).success is True
    assert get(client).body.data == "a = 3\n"


def test_list__shows_files_folders_and_links(client: Client, dms: FakeDms) -> None:
    save(client, "a = 1\n")
    save(client, "b = 1\n", "/Workspace/code/default/dags/shop/orders.py")
    (dms.workspace.store.dags / "link.py").symlink_to("orders.py")

    lines = [(line.name, line.is_dir, line.size, line.mtime, line.symlink) for line in list_folder(client, DAG[:-10]).data.list]

    assert lines == [
        ("link.py", False, 6, "2026-01-01T10:11:12Z", "orders.py"),
        ("orders.py", False, 6, "2026-01-01T10:11:12Z", None),
        ("shop", True, 0, None, None),
    ]
    assert [line.name for line in list_folder(client, "/Workspace/code").data.list] == ["default"]


def test_delete__of_file_and_link(client: Client, dms: FakeDms) -> None:
    save(client, "a = 1\n")
    link = dms.workspace.store.dags / "link.py"
    link.symlink_to("orders.py")

    assert delete(client, f"{DAG[:-10]}/link.py").error_code == "InvalidParameter"
    assert delete(client, f"{DAG[:-10]}/link.py", symlink=True).success is True
    assert not link.is_symlink()
    assert delete(client).success is True
    assert dms.workspace.store.files() == {}
    assert delete(client).error_code == "PathNotExist"


def test_missing__is_an_error(client: Client) -> None:
    for body in (get(client).body, list_folder(client, "/Workspace/code/none")):
        assert (body.success, body.error_code, body.data) == (False, "PathNotExist", None)


def test_publish__changes_the_published_copy(client: Client, dms: FakeDms) -> None:
    save(client, "a = 1\n")
    published = dms.workspace.publisher.dags / "orders.py"
    assert not published.exists()

    body = publish(client, repos=[], exclude=[])
    first, second, third = (poll(client, body.data.key).data for _ in range(3))

    assert published.read_text() == "a = 1\n"
    assert [one.status for one in (first, second, third)] == ["RUNNING", "SUCCESS", "SUCCESS"]
    assert (first.end_time, second.end_time) == (None, "2026-01-01T18:11:14.000000000+08:00")
    request = models.WorkspaceActionLogRequest(workspace_id=WORKSPACE_ID, key=body.data.key)
    assert client.workspace_action_log(request).body.data == "published\n"


def test_status__as_a_dict_reaches_the_caller_as_one(client: Client, dms: FakeDms) -> None:
    dms.workspace.behaviour = dms.workspace.behaviour.but(statuses=(phase("Created"), phase_text("Failed", "disk full"), None))

    key = publish(client, repos=[], exclude=[]).data.key

    assert [poll(client, key).data.status for _ in range(3)] == [
        {"phase": "Created", "latestExecError": {}},
        "{'phase': 'Failed', 'latestExecError': {'message': 'disk full'}}",
        None,
    ]


def test_setting__has_no_success(client: Client, dms: FakeDms) -> None:
    dms.workspace.publisher.setting.exclude.append("/.dms")

    request = models.GetWorkspaceCodePublishSettingRequest(workspace_id=WORKSPACE_ID)
    body = client.get_workspace_code_publish_setting(request).body

    assert body.code == "200"
    assert (body.data.exclude, body.data.lock_repo_branch, body.data.repos) == (["/.dms"], False, [])


def test_faults__take_the_place_of_a_response(client: Client, dms: FakeDms) -> None:
    save(client, "a = 1\n")
    dms.workspace.fail("SaveWorkspaceCode", unsuccessful("InvalidTid"))
    assert save(client, "a = 2\n").error_code == "InvalidTid"

    dms.workspace.fail("SaveWorkspaceCode", throttled(retry_after_seconds=3))
    with pytest.raises(ThrottlingException, match="user flow control") as caught:
        save(client, "a = 2\n")
    error: Any = caught.value
    assert (error.status_code, error.code, error.retry_after) == (429, "Throttling.User", 3)

    dms.workspace.fail("", refused("Forbidden.RAM"), spared=1)
    assert get(client).body.data == "a = 1\n"
    with pytest.raises(Exception, match=r"Forbidden\.RAM") as caught_other:
        save(client, "a = 2\n")
    error = caught_other.value
    assert (error.status_code, error.code) == (403, "Forbidden.RAM")
    assert dms.workspace.store.files() == {DAG: b"a = 1\n"}


@pytest.mark.parametrize(("after_effect", "content"), [(False, b"a = 1\n"), (True, b"a = 2\n")])
def test_lost_response__with_and_without_the_effect(client: Client, dms: FakeDms, after_effect: bool, content: bytes) -> None:
    save(client, "a = 1\n")
    dms.workspace.fail("SaveWorkspaceCode", lost(after_effect=after_effect))

    with pytest.raises(Exception, match="Connection aborted"):
        save(client, "a = 2\n")

    assert dms.workspace.store.files() == {DAG: content}
