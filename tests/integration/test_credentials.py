"""The other ways to credentials, through the real SDK: environment, files, a server of credentials, an ECS instance."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from sandbox.cloud import write_credentials
from tests.integration.fake_dms import HTML, KEY, TEMPORARY_KEY, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.fake_cloud import FakeCloud
    from tests.integration.fake_dms import FakeDms
    from tests.unit.fakes import FakeClock

    Run = Callable[..., Step]

WITHOUT = {"operation": "version", "access-key-id": "", "access-key-secret": ""}
KEYS = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": TEMPORARY_KEY.access_key_id,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": TEMPORARY_KEY.access_key_secret,
    "ALIBABA_CLOUD_SECURITY_TOKEN": TEMPORARY_KEY.security_token,
}
INI = f"""
[default]
type = access_key
access_key_id = {KEY.access_key_id}
access_key_secret = {KEY.access_key_secret}

[broken]
type = access_key
"""
JSON = {
    "current": "temporary",
    "profiles": [
        {
            "name": "temporary",
            "mode": "StsToken",
            "access_key_id": TEMPORARY_KEY.access_key_id,
            "access_key_secret": TEMPORARY_KEY.access_key_secret,
            "sts_token": TEMPORARY_KEY.security_token,
        },
        {"name": "static", "mode": "AK", "access_key_id": KEY.access_key_id, "access_key_secret": KEY.access_key_secret},
    ],
}


@pytest.fixture(autouse=True)
def script(dms: FakeDms) -> None:
    """Let the command of these tests work."""
    dms.airflow.commands["version"] = ("2.10.4\n", "")


def name_signer(dms: FakeDms) -> str:
    """Tell whose key signed the call."""
    return dms.received[0].headers["Authorization"].partition("Credential=")[2].partition(",")[0]


def test_what_the_ecosystems_credentials_action_exports(dms: FakeDms, run: Run) -> None:
    names = {name: name.replace("ALIBABA_CLOUD_", prefix) for name in KEYS for prefix in ("ALICLOUD_", "ALIBABACLOUD_")}

    step = run(WITHOUT, {**KEYS, **{names[name]: value for name, value in KEYS.items()}})

    assert step.exit_code == 0
    assert name_signer(dms) == TEMPORARY_KEY.access_key_id
    assert "the variables ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET" in step.log


def test_the_inputs_come_first(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    step = run({"operation": "version", **cloud.inputs}, {**KEYS, **cloud.environ})

    assert step.exit_code == 0
    assert name_signer(dms) == KEY.access_key_id
    assert "role-to-assume is ignored" in step.log
    assert cloud.received == []


def test_a_role_comes_before_the_environment(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    step = run({**WITHOUT, **cloud.inputs}, {**KEYS, **cloud.environ})

    assert step.exit_code == 0
    assert name_signer(dms) == cloud.sts.given_out[0].access_key_id


def test_a_role_that_is_refused_is_not_replaced_by_other_keys(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    step = run({**WITHOUT, **cloud.inputs}, KEYS)

    assert [one.properties["title"] for one in step.annotations] == ["No id-token"]
    assert dms.received == []


@pytest.mark.parametrize("is_named", [True, False])
def test_a_credentials_file(dms: FakeDms, run: Run, tmp_path: Path, *, is_named: bool) -> None:
    file = tmp_path / ".alibabacloud" / "credentials.ini"
    file.parent.mkdir()
    file.write_text(INI)

    step = run(WITHOUT, {"ALIBABA_CLOUD_CREDENTIALS_FILE": str(file)} if is_named else {"HOME": str(tmp_path)})

    assert step.exit_code == 0
    assert name_signer(dms) == KEY.access_key_id
    assert ("(ALIBABA_CLOUD_CREDENTIALS_FILE)" if is_named else "the file ~/.alibabacloud/credentials.ini") in step.log


@pytest.mark.parametrize(("profile", "key"), [("", TEMPORARY_KEY.access_key_id), ("static", KEY.access_key_id)])
def test_the_file_of_the_command_line(dms: FakeDms, run: Run, tmp_path: Path, profile: str, key: str) -> None:
    file = tmp_path / ".aliyun" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(JSON))

    step = run(WITHOUT, {"HOME": str(tmp_path), "ALIBABA_CLOUD_PROFILE": profile})

    assert step.exit_code == 0
    assert name_signer(dms) == key


def write_role_profile(cloud: FakeCloud, tmp_path: Path, suffix: str) -> dict[str, str]:
    """Write a profile that names a role, for which STS must be asked, and give the variables that lead to it."""
    token = tmp_path / "token"
    token.write_text(cloud.issuer.issue("sts.aliyuncs.com"))
    role = {"oidc_provider_arn": cloud.sts.provider.arn, "role_session_name": "nightly"}
    file = tmp_path / f"credentials{suffix}"
    if suffix == ".json":
        profile = {"name": "role", "mode": "OIDC", "ram_role_arn": cloud.sts.role.arn, "oidc_token_file": str(token), **role}
        file.write_text(json.dumps({"current": "role", "profiles": [profile]}))
    else:
        given = {"type": "oidc_role_arn", "role_arn": cloud.sts.role.arn, "oidc_token_file_path": str(token), **role}
        file.write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in given.items()))
    return {
        "ALIBABA_CLOUD_CREDENTIALS_FILE": str(file),
        "HTTPS_PROXY": cloud.proxy,
        "REQUESTS_CA_BUNDLE": cloud.ca_file,
        "NO_PROXY": "127.0.0.1",
    }


@pytest.mark.parametrize("suffix", [".json", ".ini"])
def test_a_profile_that_needs_sts_trusts_the_same_authorities(
    dms: FakeDms, cloud: FakeCloud, run: Run, tmp_path: Path, suffix: str
) -> None:
    step = run(WITHOUT, write_role_profile(cloud, tmp_path, suffix))

    assert step.exit_code == 0
    assert name_signer(dms) == cloud.sts.given_out[0].access_key_id


def test_a_profile_whose_sts_is_not_reached_says_so(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    step = run(WITHOUT, {**write_role_profile(cloud, tmp_path, ".json"), "REQUESTS_CA_BUNDLE": ""})

    (annotation,) = step.annotations
    assert "gave no credentials: https://sts.aliyuncs.com: its TLS certificate is not trusted." in annotation.data
    assert "set REQUESTS_CA_BUNDLE" in annotation.data


def test_a_profile_whose_role_is_refused_says_by_which_code(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    cloud.fail("sts", answer(403, b'{"Code": "NoPermission", "Message": "You are not authorized"}'))

    step = run(WITHOUT, write_role_profile(cloud, tmp_path, ".json"))

    (annotation,) = step.annotations
    assert "gave no credentials (https://sts.aliyuncs.com answered 403, NoPermission)." in annotation.data
    assert "trusts the profile's identity" in annotation.data


@pytest.mark.parametrize(
    ("text", "profile"), [(INI, "nosuch"), (INI, "broken"), ("no section", ""), ("[default]\ntype = strange", "")]
)
def test_a_credentials_file_without_credentials(dms: FakeDms, run: Run, tmp_path: Path, text: str, profile: str) -> None:
    file = tmp_path / "credentials.ini"
    file.write_text(text)

    step = run(WITHOUT, {"ALIBABA_CLOUD_CREDENTIALS_FILE": str(file), "ALIBABA_CLOUD_PROFILE": profile})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "No credentials"
    assert f"The file {file} (ALIBABA_CLOUD_CREDENTIALS_FILE)" in annotation.data
    assert "gave" in annotation.data
    assert dms.received == []


def test_a_credentials_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    step = run(WITHOUT, {"ALIBABA_CLOUD_CREDENTIALS_FILE": str(tmp_path / "nosuch.ini")})

    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]


@contextmanager
def serve_credentials(status: int, text: str) -> Iterator[str]:
    """Run a server that hands credentials out, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_asked = self.path == "/keys?secret=s3cr3t-of-the-uri"
            self.send_response(status if is_asked else 404)
            self.end_headers()
            self.wfile.write(text.encode() if is_asked else b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys?secret=s3cr3t-of-the-uri"
        finally:
            server.shutdown()
            thread.join()


def test_a_server_of_credentials(dms: FakeDms, run: Run) -> None:
    with serve_credentials(200, json.dumps(write_credentials(TEMPORARY_KEY))) as uri:
        step = run(WITHOUT, {"ALIBABA_CLOUD_CREDENTIALS_URI": uri}, "s3cr3t-of-the-uri")

    assert step.exit_code == 0
    assert name_signer(dms) == TEMPORARY_KEY.access_key_id
    assert "the server 127.0.0.1 (ALIBABA_CLOUD_CREDENTIALS_URI)" in step.log


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (403, "no", " answered 403)"),
        (200, "{", "gave no credentials"),
        (200, json.dumps({**write_credentials(TEMPORARY_KEY), "Code": "Failed"}), "gave no credentials"),
        (
            200,
            json.dumps({**write_credentials(TEMPORARY_KEY), "AccessKeySecret": ""}),
            "gave no credentials",
        ),
    ],
)
def test_a_server_without_credentials(dms: FakeDms, run: Run, status: int, text: str, words: str) -> None:
    with serve_credentials(status, text) as uri:
        step = run(WITHOUT, {"ALIBABA_CLOUD_CREDENTIALS_URI": uri}, "s3cr3t-of-the-uri")

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "No credentials"
    assert "The server 127.0.0.1 (ALIBABA_CLOUD_CREDENTIALS_URI) gave no credentials" in annotation.data
    assert words in annotation.data
    assert dms.received == []


def test_a_server_that_is_not_there_is_asked_again(run_here: Run, clock: FakeClock) -> None:
    step = run_here(WITHOUT, {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:1/keys"})

    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("role", ["EcsDeployRole", ""])
def test_the_role_of_an_ecs_instance(dms: FakeDms, cloud: FakeCloud, run: Run, role: str) -> None:
    cloud.ecs_credential = TEMPORARY_KEY
    environ = {"HTTP_PROXY": cloud.proxy, "NO_PROXY": "127.0.0.1", "RUNNER_ENVIRONMENT": "self-hosted"}

    step = run(WITHOUT, {**environ, "ALIBABA_CLOUD_ECS_METADATA": role})

    assert step.exit_code == 0
    assert name_signer(dms) == TEMPORARY_KEY.access_key_id
    assert f"the ECS instance's RAM role{f' {role}' if role else ''}." in step.log


def test_an_ecs_instance_without_a_role(cloud: FakeCloud, run: Run) -> None:
    cloud.fail("metadata", answer(404, b"", HTML), times=4)

    step = run(WITHOUT, {"HTTP_PROXY": cloud.proxy, "NO_PROXY": "127.0.0.1", "RUNNER_ENVIRONMENT": "self-hosted"})

    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]
    assert "The ECS instance's RAM role gave no credentials (http://100.100.100.200 answered 404)" in step.log
    assert "attach a RAM role to it" in step.log


def test_githubs_own_runners_do_not_look_for_an_ecs_instance(run: Run) -> None:
    step = run(WITHOUT)

    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]
    assert "Neither the inputs nor the environment have credentials for Alibaba Cloud." in step.log
