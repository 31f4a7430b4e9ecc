"""The templates for other CI systems: their scripts run, with their variables, in a shell that finds the command on its path.

No such CI system runs here. What a template says to its CI system is read as that one's documentation says it is read.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.ci_environments import list_environments
from tests.integration.fake_dms import KEY
from tests.integration.test_deploy import BROKEN, GOOD, Reader
from tests.leaks import find_leaks
from tests.unit.test_report_files import JUNIT, SARIF

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., subprocess.CompletedProcess[str]]

PROJECT = Path(__file__).parents[2]
TEMPLATES = PROJECT / "templates"


@pytest.fixture
def run(dms: FakeDms, workspace: Path, tmp_path: Path) -> Run:
    """Run a script as a CI system does, in the folder of the checkout, and search for secrets in what it printed."""
    reader = Reader(dags=dms.workspace.store.dags)
    dms.airflow.run_command = reader.run_command  # type: ignore[method-assign]
    dms.airflow.request = reader.request  # type: ignore[method-assign]
    (workspace / "dags").mkdir()
    write_dag(workspace, GOOD.format("etl", "@daily"))
    programs = tmp_path / "bin"
    programs.mkdir()
    shim = f'#!/bin/sh\nexec {sys.executable} -Esu {PROJECT / "entrypoint.py"} "$@"\n'
    (programs / "dms-airflow").write_text(shim)
    (programs / "dms-airflow").chmod(0o755)

    def run_script(system: str, script: str, variables: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        environ = {
            **{
                name: text for name, text in list_environments(workspace, tmp_path)[system].items() if "DMS_AIRFLOW" not in name
            },
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY.access_key_secret,
            **variables,
            "DMS_AIRFLOW_ENDPOINT": dms.inputs["endpoint"],
            "DMS_AIRFLOW_WORKSPACE_ID": "98765432101234",
        }
        # A template says af-1a2b3c; the stand-in has another instance.
        script = script.replace("af-1a2b3c", dms.inputs["instance-id"])
        environ = {name: text.replace("af-1a2b3c", dms.inputs["instance-id"]) for name, text in environ.items()}
        ran = subprocess.run(
            ["/bin/sh", "-e", "-c", script],
            env=environ,
            cwd=workspace,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert find_leaks({"stdout": ran.stdout, "stderr": ran.stderr}, dms.secrets) == []
        return ran

    return run_script


def write_dag(workspace: Path, text: str) -> None:
    (workspace / "dags" / "etl.py").write_text(text)


def read_gitlab(**inputs: str) -> dict[str, Any]:
    """Read the component as GitLab does: its second document, with the inputs filled in."""
    spec, job = (TEMPLATES / "dms-airflow.yml").read_text(encoding="utf-8").split("\n---\n")
    declared = yaml.safe_load(spec)["spec"]["inputs"]
    values: dict[str, str] = {name: one.get("default", "") for name, one in declared.items()} | inputs
    assert set(re.findall(r"\$\[\[ inputs\.([a-z-]+) \]\]", job)) == set(values)
    filled = re.sub(r"\$\[\[ inputs\.([a-z-]+) \]\]", lambda match: values[match[1]], job)
    ((_, read),) = yaml.safe_load(filled).items()
    return dict(read)


GITLAB = {"image": "registry/dms-airflow:1", "region": "cn-hangzhou", "instance-id": "af-1a2b3c"}


@pytest.mark.parametrize(("text", "exit_code", "failures"), [(GOOD.format("etl", "@daily"), 0, 0), (BROKEN, 1, 1)])
def test_gitlab(run: Run, workspace: Path, text: str, exit_code: int, failures: int) -> None:
    job = read_gitlab(**GITLAB)
    write_dag(workspace, text)
    variables = {name: one if isinstance(one, str) else one["value"] for name, one in job["variables"].items()}

    ran = run("gitlab", "\n".join(job["script"]), variables)

    assert ran.returncode == exit_code, ran.stdout
    assert job["image"] == {"name": "registry/dms-airflow:1", "entrypoint": [""]}
    reports = {kind: (workspace / path).read_text() for kind, path in job["artifacts"]["reports"].items()}
    JUNIT.validate(reports["junit"])
    assert reports["junit"].count("<failure") == failures
    entries = json.loads(reports["codequality"])
    assert [(one["location"]["path"], one["severity"]) for one in entries] == [("dags/etl.py", "critical")] * failures
    assert f"DMS_AIRFLOW_OUTPUT_STATUS={'failure' if failures else 'success'}\n" in reports["dotenv"]
    assert json.loads((workspace / job["artifacts"]["paths"][0]).read_text())["operation"] == "deploy"


def test_gitlab_needs_no_quotes(dms: FakeDms, run: Run) -> None:
    job = read_gitlab(**GITLAB, operation="dags delete", arguments="'it''s $HOME `x`; exit 7' --yes")
    variables = {name: one if isinstance(one, str) else one["value"] for name, one in job["variables"].items()}

    run("gitlab", "\n".join(job["script"]), variables)

    assert ["dags", "delete", "its $HOME `x`; exit 7", "--yes"] in dms.commands()


def test_jenkins(run: Run, workspace: Path) -> None:
    text = (TEMPLATES / "Jenkinsfile").read_text(encoding="utf-8")
    variables = dict(re.findall(r"(?m)^    (DMS_AIRFLOW_\w+) = '([^']*)'$", text))
    (script,) = re.findall(r"(?m)^ +sh '([^']*)'$", text)
    write_dag(workspace, BROKEN)

    ran = run("jenkins", script, variables)

    assert ran.returncode == 1
    (junit,) = re.findall(r"testResults: '([^']*)'", text)
    (sarif,) = re.findall(r"sarif\(pattern: '([^']*)'\)", text)
    JUNIT.validate((workspace / junit).read_text())
    SARIF.validate(json.loads((workspace / sarif).read_text()))
    assert "dags/etl.py:3: error: DAG import error: NameError" in ran.stdout


def test_yunxiao(run: Run, workspace: Path) -> None:
    pipeline = yaml.safe_load((TEMPLATES / "yunxiao-flow.yml").read_text(encoding="utf-8"))
    ((_, step),) = pipeline["stages"]["deploy"]["jobs"]["dms_airflow"]["steps"].items()
    write_dag(workspace, BROKEN)

    ran = run("yunxiao", step["with"]["run"], {})

    assert (step["step"], ran.returncode) == ("Command", 1)
    JUNIT.validate((workspace / "dms-airflow" / "junit.xml").read_text())


@pytest.mark.parametrize(("ref", "is_planned"), [("refs/heads/main", True), ("refs/heads/feature", False)])
def test_the_hook(dms: FakeDms, run: Run, ref: str, is_planned: bool) -> None:
    refs = f"refs/heads/x {'1' * 40} refs/heads/other {'0' * 40}\nrefs/heads/x {'1' * 40} {ref} {'0' * 40}\n"
    variables = {"DMS_AIRFLOW_REGION": "cn-hangzhou", "DMS_AIRFLOW_INSTANCE_ID": "af-1a2b3c"}

    ran = run("terminal", shlex.quote(str(TEMPLATES / "pre-push")), variables, refs)

    assert ran.returncode == 0, ran.stdout
    assert ("Plan: " in ran.stdout) is is_planned
    assert bool(dms.paths) is is_planned
