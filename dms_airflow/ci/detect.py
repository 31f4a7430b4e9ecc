"""Which CI system is around the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from dms_airflow.ci.github import Forgejo, GitHub
from dms_airflow.ci.gitlab import GitLab
from dms_airflow.ci.runner import Runner, System
from dms_airflow.ci.system import CiSystem

# What each sets to true, in this order: Forgejo also says that it is Gitea, and both that they are GitHub.
_SIGNS = {
    System.FORGEJO: "FORGEJO_ACTIONS",
    System.GITEA: "GITEA_ACTIONS",
    System.GITHUB: "GITHUB_ACTIONS",
    System.GITLAB: "GITLAB_CI",
}

_CLASSES: Mapping[System, type[CiSystem]] = {
    System.GITHUB: GitHub,
    System.FORGEJO: Forgejo,
    System.GITEA: Forgejo,
    System.GITLAB: GitLab,
}


def detect_system(environ: Mapping[str, str]) -> System:
    """Find the CI system by the word in `DMS_AIRFLOW_CI`, else by what it sets; a word that is none of them means none."""
    word = environ.get("DMS_AIRFLOW_CI", "").strip().lower()
    found = (one for one, sign in _SIGNS.items() if (one == word if word else environ.get(sign) == "true"))
    return next(found, System.PLAIN)


def make_ci_system(environ: Mapping[str, str], stdout: TextIO) -> CiSystem:
    """Find the CI system by the variables that it sets. A wrong `DMS_AIRFLOW_CI` is reported with the inputs."""
    system = detect_system(environ)
    runner = Runner.from_environ(environ, system, is_terminal=stdout.isatty())
    return _CLASSES.get(system, CiSystem)(runner, stdout)
