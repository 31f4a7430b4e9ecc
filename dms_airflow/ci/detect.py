"""Which CI system is around the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from dms_airflow.ci.github import Forgejo, GitHub
from dms_airflow.ci.gitlab import GitLab
from dms_airflow.ci.runner import Runner, System, detect_system
from dms_airflow.ci.system import CiSystem

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASSES: Mapping[System, type[CiSystem]] = {
    System.GITHUB: GitHub,
    System.FORGEJO: Forgejo,
    System.GITEA: Forgejo,
    System.GITLAB: GitLab,
}


def open_ci_system(environ: Mapping[str, str], stdout: TextIO) -> CiSystem:
    """Find the CI system by the variables that it sets. A wrong `DMS_AIRFLOW_CI` is reported with the inputs."""
    system = detect_system(environ)
    runner = Runner.from_environ(environ, system, is_terminal=stdout.isatty())
    return _CLASSES.get(system, CiSystem)(runner, stdout)
