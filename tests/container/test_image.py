"""What users really run: the image as GitHub's runner and act start it, in a checkout and a job that mean no good."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from dms_airflow import __version__
from tests.container.conftest import (
    HOSTILE_ENVIRONMENT,
    HOSTILE_MODULES,
    PROJECT,
    WORKFLOW,
    Connection,
    run,
    run_as_github,
)
from tests.integration.ci_environments import export_inputs, list_environments

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox

pytestmark = pytest.mark.container


def test_one_command_as_github_runs_it(lab: Path, image: str, workspace: Path, sandbox: Sandbox) -> None:
    before = sandbox.requests

    told = run_as_github(lab, image, workspace, {**Connection(sandbox=sandbox).inputs, "operation": "version"})

    assert told["outcome"] == "success"
    assert told["outputs"]["airflow-version"] == "2.10.4"
    assert "✅" in told["summary"]
    assert [entry["kind"] for entry in sandbox.journal(since=before)] == ["token", "login", "command"]
    assert sandbox.access_key_secret not in "\n".join(told["log"])
    assert "***" in told["summary"] or sandbox.access_key_id not in told["summary"]


def test_the_gate_fails_on_lines_of_the_checkout(lab: Path, image: str, workspace: Path, sandbox: Sandbox) -> None:
    if os.geteuid() == 0:
        os.chown(workspace, 1001, 1001)  # as the runner's

    told = run_as_github(
        lab,
        image,
        workspace,
        {**Connection(sandbox=sandbox).inputs, "operation": "dags list-import-errors", "result-file": "reports/report.json"},
        HOSTILE_ENVIRONMENT,
    )

    assert (told["outcome"], told["exit_code"]) == ("failure", 1)
    assert told["outputs"]["import-error-count"] == "5"
    places = {(one["file"], one.get("line")) for one in told["annotations"]}
    assert ("dags/returns.py", "11") in places
    assert all((workspace / file).is_file() for file, _ in places)
    report = workspace / "reports" / "report.json"
    assert json.loads(report.read_text())["outputs"]["import-error-count"] == 5
    # The container's root gave them to the runner, which deletes them.
    assert {one.stat().st_uid for one in (report, report.parent)} == {workspace.stat().st_uid}


def test_nothing_of_the_checkout_or_the_job_is_imported(image: str, workspace: Path, sandbox: Sandbox) -> None:
    # By hand: the lab's runner hands the host's own PATH to the container.
    inputs = {**Connection(sandbox=sandbox).inputs, "operation": "version"}
    variables = {**HOSTILE_ENVIRONMENT, **{f"INPUT_{name.upper()}": value for name, value in inputs.items()}}
    options = [f"-e{name}={value}" for name, value in variables.items()]

    ran = run("docker", "run", "--rm", "-v", f"{workspace}:/github/workspace", "-w", "/github/workspace", *options, image)

    assert "airflow version succeeded" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0
    assert ran.stderr == ""


LIST_BYTECODE_WITHOUT_SOURCE = """
from importlib.util import source_from_cache
from pathlib import Path
files = [file for folder in ("/app", "/usr") for file in Path(folder).rglob("*.pyc")]
print(len(files) > 100, [str(file) for file in files if not Path(source_from_cache(str(file))).exists()])
"""


def test_no_bytecode_is_left_of_what_is_not_there(image: str) -> None:
    ran = run("docker", "run", "--rm", "--entrypoint", "/usr/local/bin/python", image, "-c", LIST_BYTECODE_WITHOUT_SOURCE)

    assert ran.stdout == "True []\n", ran.stderr


def test_the_hostile_modules_would_do_harm(image: str, workspace: Path) -> None:
    careless = run(
        *("docker", "run", "--rm", "-v", f"{workspace}:/github/workspace", "-w", "/github/workspace"),
        *("--entrypoint", "/usr/local/bin/python", image, "-c", "import json"),
    )

    assert "a module of the checkout was imported" in careless.stderr


@pytest.mark.parametrize(
    "start", [("--entrypoint", "", "IMAGE", "bash", "-c", "dms-airflow --version"), ("IMAGE", "--version")]
)
def test_the_command_is_there_for_every_ci_system(image: str, start: tuple[str, ...]) -> None:
    ran = run("docker", "run", "--rm", *(image if word == "IMAGE" else word for word in start))

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"dms-airflow {__version__}\n", "")


def test_gitlabs_variables_and_script(image: str, workspace: Path, sandbox: Sandbox) -> None:
    # As GitLab's Docker executor: without the entry point, a shell in the image is fed the job's script.
    inputs = export_inputs({**Connection(sandbox=sandbox).inputs, "operation": "dags list-import-errors"})
    variables = {**list_environments(workspace, workspace)["gitlab"], **inputs, "CI_PROJECT_DIR": "/builds/acme/dags"}
    options = [f"-e{name}={value}" for name, value in variables.items()]
    folder = ("-v", f"{workspace}:/builds/acme/dags", "-w", "/builds/acme/dags")

    ran = run("docker", "run", "--rm", *folder, *options, "--entrypoint", "", image, "sh", "-c", "dms-airflow")

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "dags/returns.py:11: error: DAG import error" in ran.stdout
    assert "add-mask" not in ran.stdout
    assert sandbox.access_key_secret not in ran.stdout + ran.stderr


def test_wrong_inputs_end_with_2(lab: Path, image: str, workspace: Path) -> None:
    told = run_as_github(lab, image, workspace, {"operation": "dags lst"})

    assert told["exit_code"] == 2
    assert sorted(one["title"] for one in told["annotations"]) == [
        "Wrong input: instance-id",
        "Wrong input: operation",
        "Wrong input: region",
    ]


def test_process_1_ends_when_it_is_told_to(image: str, sandbox: Sandbox, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.touch()
    inputs = {**Connection(sandbox=sandbox).inputs, "operation": "dags test", "arguments": "daily_orders 2026-01-01"}
    options = [f"-eINPUT_{name.upper()}={value}" for name, value in inputs.items()]
    command = ["docker", "run", "--rm", "--name", "dms-airflow-cancel", "-v", f"{tmp_path}:/files", *options]
    command += ["-eGITHUB_ACTIONS=true", "-eGITHUB_OUTPUT=/files/outputs", "-eGITHUB_WORKSPACE=/files", image]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("$ airflow"):
                run("docker", "kill", "--signal", signal.SIGINT.name, "dms-airflow-cancel")
                break
        process.stdout.read()

    assert process.returncode == 130
    assert re.search(r"status<<(\S+)\ncancelled\n\1", outputs.read_text())


# What `docker build` reads, and action.yml.
NEEDED = (
    "Dockerfile",
    "LICENSE",
    "action.yml",
    "entrypoint.py",
    "requirements.txt",
    "requirements-build.txt",
    "dms_airflow",
)


def test_a_job_of_its_users_under_act(lab: Path, image: str, workspace: Path, sandbox: Sandbox) -> None:
    assert image  # act builds its own, from the layers of this one
    for name in run("git", "ls-files", *NEEDED).stdout.split():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, workspace / name)
    for name in HOSTILE_MODULES:
        (workspace / f"{name}.py").unlink()  # the lab's own tools run in the checkout, too: the job makes its own
    shutil.copy(WORKFLOW, workspace / "workflow.yml")
    run("git", "init", "-q", ".", cwd=workspace)
    connection = Connection(sandbox=sandbox).inputs

    ran = run(
        *(lab / "act-run", "-C", workspace, "-W", "workflow.yml"),
        *("--var", f"ENDPOINT={connection['endpoint']}", "--var", f"INSTANCE_ID={connection['instance-id']}"),
        *("-s", f"ACCESS_KEY_ID={connection['access-key-id']}", "-s", f"ACCESS_KEY_SECRET={connection['access-key-secret']}"),
    )

    log = ran.stdout + ran.stderr
    told = sorted(set(re.findall(r"\| told: (.*)$", log, re.MULTILINE)))
    assert told == [
        "file dags/ad_spend.py",
        "gate failure success failure 5",
        "refused failure failure",
        "report written",
        "rest success 200 5",
        "version success 2.10.4",
    ], log[-6000:]
    assert ran.returncode == 0, log[-3000:]
    assert connection["access-key-secret"] not in log
