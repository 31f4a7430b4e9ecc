"""The CI system: what it gives a step, and what it gets: summary with all tables, annotations, files, comment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from dms_airflow.ci.github import Forgejo, GitHub
from dms_airflow.ci.gitlab import GitLab
from dms_airflow.ci.runner import Runner, System, detect_system
from dms_airflow.ci.system import CiSystem

_CLASSES: Mapping[System, type[CiSystem]] = {
    System.GITHUB: GitHub,
    System.FORGEJO: Forgejo,
    System.GITEA: Forgejo,
    System.GITLAB: GitLab,
}


def make_ci_system(environ: Mapping[str, str], stdout: TextIO) -> CiSystem:
    """Find the CI system by the variables that it sets. A wrong `DMS_AIRFLOW_CI` is reported with the inputs."""
    system = detect_system(environ)
    runner = Runner.from_environ(environ, system, is_terminal=stdout.isatty())
    return _CLASSES.get(system, CiSystem)(runner, stdout)
