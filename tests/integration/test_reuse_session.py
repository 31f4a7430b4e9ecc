"""A session for all steps of a job: kept in private, taken up without a token exchange, replaced when it is of no use."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sandbox.openapi import PREFIX
from sandbox.runner import PROJECT, Runner
from sandbox.sts import Role
from tests.integration.fake_dms import HTML, JSON, LOGIN_PAGE, TEMPORARY_KEY, answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.front import Answer
    from sandbox.runner import Step
    from tests.integration.fake_cloud import FakeCloud
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

REUSE = {"operation": "version", "reuse-session": "true"}
ONE_STEP = ["POST /", "GET /login", "POST /api/v1/command"]
TAKEN_UP = ["POST /api/v1/command"]

# Runs the action, then tells on stderr what of the SDK was imported.
TELL_IMPORTS = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
from dms_airflow.main import main
code = main(os.environ, sys.stdout)
of_the_sdk = ("alibabacloud", "Tea", "darabonba", "aiohttp")
print([name for name in sys.modules if name.partition("_")[0] in of_the_sdk], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(autouse=True)
def script(dms: FakeDms) -> None:
    """Let the command of these tests work."""
    dms.airflow.commands["version"] = ("2.10.4\n", "")


def find_file(tmp_path: Path) -> Path:
    """Find the one kept session."""
    (file,) = (tmp_path / "runner" / "dms-airflow-sessions").iterdir()
    return file


def test_the_second_step_sends_one_request(dms: FakeDms, run: Run) -> None:
    first, second = run(REUSE), run(REUSE)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert dms.paths == [*ONE_STEP, *TAKEN_UP]
    assert "Logged in to" in first.log
    assert f"Using the session that an earlier step opened at {dms.endpoint}{PREFIX}." in second.log
    assert second.outputs["airflow-url"] == f"{dms.endpoint}{PREFIX}"


def test_nothing_is_kept_unless_asked_for(dms: FakeDms, run: Run, tmp_path: Path) -> None:
    run({"operation": "version"})

    assert not (tmp_path / "runner" / "dms-airflow-sessions").exists()
    run(REUSE)
    run({"operation": "version"})
    assert dms.paths == ONE_STEP * 3


def test_the_file_is_private(run: Run, tmp_path: Path) -> None:
    run(REUSE)

    assert find_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert find_file(tmp_path).parent.stat().st_mode & 0o777 == 0o700


def test_the_cookie_is_masked_before_anything_else_is_said(run: Run, tmp_path: Path) -> None:
    run(REUSE)
    cookie = json.loads(find_file(tmp_path).read_text())["cookie"].partition("=")[2]

    second = run(REUSE)

    assert cookie in second.masks
    lines = second.stdout.splitlines()
    said = next(number for number, line in enumerate(lines) if "Using the session" in line)
    assert lines.index(f"::add-mask::{cookie}") < said


def test_the_sdk_is_not_even_imported(dms: FakeDms, cloud: FakeCloud, workspace: Path, tmp_path: Path) -> None:
    temp = tmp_path / "runner"
    temp.mkdir()
    runner = Runner(workspace=workspace, temp=temp, command=(sys.executable, "-c", TELL_IMPORTS))
    inputs = {**dms.inputs, **REUSE, **cloud.role_inputs}

    first, second = runner.run(inputs, cloud.environ), runner.run(inputs, cloud.environ)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "alibabacloud_dms20250414" in first.stderr
    assert "aiohttp" not in first.stderr
    assert second.stderr == "[]\n"
    assert cloud.kinds == ["id-token", "sts"]
    assert dms.paths == [*ONE_STEP, *TAKEN_UP]


@pytest.mark.parametrize(
    "fault",
    [
        answer(401, b'{"title": "Unauthorized"}', JSON),
        answer(403, b"", HTML),
        answer(302, b"", ("Location", f"{PREFIX}/login/")),
        answer(302, b"", ("Location", "https://signin.aliyun.com/oauth2/v1/auth?client_id=1")),
        answer(200, LOGIN_PAGE, HTML),
        answer(200, "<title>DMS - 登录</title><div id=root></div>".encode(), HTML),
    ],
)
def test_a_session_that_is_gone_is_replaced(dms: FakeDms, run: Run, fault: Answer) -> None:
    run(REUSE)
    dms.expire_sessions()
    dms.fail("command", fault)

    second, third = run(REUSE), run(REUSE)

    assert (second.exit_code, third.exit_code) == (0, 0)
    assert second.annotations == []
    assert dms.paths == [*ONE_STEP, *TAKEN_UP, *ONE_STEP, *TAKEN_UP]


def test_a_session_that_ends_in_the_middle_is_renewed_and_kept(dms: FakeDms, run: Run) -> None:
    dms.fail("command", lambda _: None)
    dms.fail("command", answer(401, b"", HTML))

    first = run({**REUSE, "operation": "cli", "arguments": "version\nversion"})
    second = run(REUSE)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert dms.paths == [*ONE_STEP, *TAKEN_UP, *ONE_STEP, *TAKEN_UP]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("{"),
        lambda file: file.write_text(""),
        lambda file: file.chmod(0o644),
        lambda file: file.parent.chmod(0o755),
        lambda file: file.write_text(file.read_text().replace("http://127.0.0.1", "http://attacker.example.com")),
        lambda file: file.write_text(file.read_text().replace("session=", "session=\u6f22")),
    ],
    ids=["broken", "empty", "open to others", "folder open to others", "another host", "no header takes it"],
)
def test_a_file_of_no_use_is_replaced_in_silence(
    dms: FakeDms, run: Run, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    run(REUSE)
    spoil(find_file(tmp_path))

    second = run(REUSE)

    assert second.exit_code == 0
    assert second.annotations == []
    assert dms.paths == ONE_STEP * 2


def test_a_link_is_not_followed(dms: FakeDms, run: Run, tmp_path: Path) -> None:
    run(REUSE)
    file, target = find_file(tmp_path), tmp_path / "target"
    file.rename(target)
    file.symlink_to(target)

    second = run(REUSE)

    assert second.exit_code == 0
    assert dms.paths == ONE_STEP * 2
    assert not find_file(tmp_path).is_symlink()


def test_another_identity_does_not_get_the_session(dms: FakeDms, run: Run) -> None:
    run(REUSE)

    run(
        {
            **REUSE,
            "access-key-id": TEMPORARY_KEY.access_key_id,
            "access-key-secret": TEMPORARY_KEY.access_key_secret,
            "security-token": TEMPORARY_KEY.security_token,
        }
    )

    assert dms.paths == ONE_STEP * 2


def test_another_role_does_not_get_the_session(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    run({**REUSE, **cloud.role_inputs}, cloud.environ)
    cloud.sts.role = replace(cloud.sts.role, arn="acs:ram::1234567890123456:role/other")

    run({**REUSE, **cloud.role_inputs}, cloud.environ)

    assert dms.paths == ONE_STEP * 2
    assert cloud.sts.role != Role()


def test_without_credentials_there_is_no_session_either(dms: FakeDms, run: Run) -> None:
    run(REUSE)

    step = run({**REUSE, "access-key-id": "", "access-key-secret": ""})

    assert [one.properties["title"] for one in step.annotations] == ["No credentials"]
    assert dms.paths == ONE_STEP


def test_without_a_folder_for_it_the_step_works_all_the_same(dms: FakeDms, run: Run) -> None:
    step = run(REUSE, {"RUNNER_TEMP": ""})

    assert step.exit_code == 0
    assert dms.paths == ONE_STEP
