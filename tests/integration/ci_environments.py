"""The variables that each CI system gives a job, as its documentation has them; the inputs come as a shell exports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHA = "1d5f8e3c0b7a49f2a6d1c4e7b8093a5f6e2d1c0b"

ACTIONS = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTION": "__dms-airflow",
    "GITHUB_JOB": "deploy",
    "GITHUB_REPOSITORY": "acme/dags",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_RUN_ID": "4711",
    "GITHUB_SHA": SHA,
}


def list_environments(workspace: Path, temp: Path) -> Mapping[str, Mapping[str, str]]:
    """Give the variables of a job of each CI system."""
    actions = {
        **ACTIONS,
        "GITHUB_OUTPUT": str(temp / "output"),
        "GITHUB_STEP_SUMMARY": str(temp / "summary"),
        "GITHUB_WORKSPACE": str(workspace),
        "RUNNER_TEMP": str(temp),
    }
    return {
        "github": {**actions, "GITHUB_SERVER_URL": "https://github.com"},
        # https://code.forgejo.org/forgejo/runner: it says that it is Gitea and GitHub, too.
        "forgejo": {
            **actions,
            "GITHUB_SERVER_URL": "https://codeberg.org",
            "FORGEJO_ACTIONS": "true",
            "GITEA_ACTIONS": "true",
        },
        "gitea": {**actions, "GITHUB_SERVER_URL": "https://gitea.example.com", "GITEA_ACTIONS": "true"},
        # https://docs.gitlab.com/ci/variables/predefined_variables/
        "gitlab": {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": SHA,
            "CI_JOB_ID": "50411",
            "CI_JOB_NAME": "deploy dags",
            "CI_JOB_URL": "https://gitlab.example.com/acme/data/dags/-/jobs/50411",
            "CI_PIPELINE_ID": "1024",
            "CI_PROJECT_DIR": str(workspace),
            "CI_PROJECT_PATH": "acme/data/dags",
            "CI_SERVER_URL": "https://gitlab.example.com",
            "DMS_AIRFLOW_DOTENV": "dms-airflow.env",
        },
        # https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
        "jenkins": {
            "BUILD_ID": "17",
            "BUILD_NUMBER": "17",
            "BUILD_URL": "https://jenkins.example.com/job/dags/17/",
            "GIT_COMMIT": SHA,
            "JENKINS_URL": "https://jenkins.example.com/",
            "JOB_NAME": "acme/dags",
            "WORKSPACE": str(workspace),
            "WORKSPACE_TMP": str(temp),
        },
        # https://help.aliyun.com/zh/yunxiao/user-guide/environment-variables
        "yunxiao": {
            "BUILD_NUMBER": "8",
            "CI_COMMIT_SHA": SHA,
            "PIPELINE_ID": "314159",
            "PIPELINE_NAME": "deploy dags",
            "PROJECT_DIR": str(workspace),
        },
        "terminal": {},
    }


def export_inputs(inputs: Mapping[str, str]) -> Mapping[str, str]:
    """Write inputs as variables that any shell can export."""
    return {f"DMS_AIRFLOW_{name.upper().replace('-', '_')}": text for name, text in inputs.items()}
