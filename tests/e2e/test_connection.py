"""The connection to a real Airflow: as a role without stored keys, check by check, and with one session for two steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.installation import wanted_version
from sandbox.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox
    from sandbox.runner import Step

pytestmark = pytest.mark.e2e

MAJOR = wanted_version().partition(".")[0]


@pytest.fixture
def runner(workspace: Path, tmp_path: Path) -> Runner:
    """A runner whose job has `id-token: write`, and no keys."""
    temp = tmp_path / "job"
    temp.mkdir()
    return Runner(workspace=workspace, temp=temp)


def run(sandbox: Sandbox, runner: Runner, **inputs: str) -> Step:
    """Run a step of that job."""
    connection = {"endpoint": sandbox.endpoint, "instance-id": sandbox.instance_id, **sandbox.cloud.inputs}
    named = {name.replace("_", "-"): value for name, value in inputs.items()}
    return runner.run({**connection, **named}, sandbox.cloud.environ)


def test_every_check_passes(sandbox: Sandbox, runner: Runner) -> None:
    step = run(sandbox, runner, operation="doctor")

    assert step.exit_code == 0
    checks = {check["check"]: check for check in step.read_json("json")}
    assert {check["state"] for check in checks.values()} == {"ok"}
    path, version = {"2": ("/api/v1", "2.10.4"), "3": ("/api/v2", "3.2.2")}[MAJOR]
    assert checks["REST"]["detail"].startswith(f"{path}, ")
    assert checks["CLI"]["detail"] == f"airflow version: {version}"
    assert checks["scheduler"]["detail"].startswith("metadatabase healthy; scheduler healthy, last heartbeat ")
    assert step.outputs["airflow-version"] == version


def test_two_steps_share_a_session_until_it_ends(sandbox: Sandbox, runner: Runner) -> None:
    before = sandbox.requests

    steps = [run(sandbox, runner, operation="rest", arguments="GET /dags?limit=1", reuse_session="true") for _ in range(2)]
    sandbox.expire_sessions()
    steps.append(run(sandbox, runner, operation="rest", arguments="GET /dags?limit=1", reuse_session="true"))

    assert [step.exit_code for step in steps] == [0, 0, 0]
    kinds = [(entry["kind"], entry["status"]) for entry in sandbox.journal(since=before)]
    assert kinds == [
        ("token", 200),
        ("login", 302),
        *{"2": [], "3": [("proxy", 404)]}[MAJOR],  # Airflow 3 has nothing below /api/v1
        ("proxy", 200),  # the version, which is kept with the session
        ("proxy", 200),
        ("proxy", 200),
        ("proxy", 401),
        ("token", 200),
        ("login", 302),
        ("proxy", 200),
    ]
