"""What each CI system says of the job that a step is part of, by the variables that it sets.

GitHub, Forgejo and Gitea: https://docs.github.com/actions/reference/workflows-and-actions/variables
GitLab: https://docs.gitlab.com/ci/variables/predefined_variables/
Jenkins: https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
Yunxiao Flow: https://help.aliyun.com/zh/yunxiao/user-guide/environment-variables
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from dms_airflow.core.text import load_json


class System(StrEnum):
    """The CI systems that the action knows, by the words that `DMS_AIRFLOW_CI` takes."""

    GITHUB = "github"
    FORGEJO = "forgejo"
    GITEA = "gitea"
    GITLAB = "gitlab"
    PLAIN = "plain"


ALSO_PLAIN = ("jenkins", "yunxiao")  # words for what is known by name, and needs nothing of its own


# What each sets to true, in this order: Forgejo also says that it is Gitea, and both that they are GitHub.
_SIGNS = {
    System.FORGEJO: "FORGEJO_ACTIONS",
    System.GITEA: "GITEA_ACTIONS",
    System.GITHUB: "GITHUB_ACTIONS",
    System.GITLAB: "GITLAB_CI",
}

# The variable of each field: of GitHub, Forgejo and Gitea; of GitLab; elsewhere, which are those of Jenkins. Yunxiao Flow has
# the number, too, and a terminal none of them.
_VARIABLES = {
    "workspace": ("GITHUB_WORKSPACE", "CI_PROJECT_DIR", ""),
    "output_file": ("GITHUB_OUTPUT", "DMS_AIRFLOW_DOTENV", ""),
    "summary_file": ("GITHUB_STEP_SUMMARY", "", ""),
    "event_file": ("GITHUB_EVENT_PATH", "", ""),
    "temp": ("RUNNER_TEMP", "", "WORKSPACE_TMP"),
    "server_url": ("GITHUB_SERVER_URL", "CI_SERVER_URL", ""),
    "api_url": ("GITHUB_API_URL", "", ""),
    "graphql_url": ("GITHUB_GRAPHQL_URL", "", ""),
    "repository": ("GITHUB_REPOSITORY", "CI_PROJECT_PATH", ""),
    "sha": ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"),
    "run_id": ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BUILD_NUMBER"),
    "run_attempt": ("GITHUB_RUN_ATTEMPT", "CI_JOB_ID", ""),
    "job": ("GITHUB_JOB", "CI_JOB_NAME", "JOB_NAME"),
    "step": ("GITHUB_ACTION", "", ""),
    "run_url": ("", "CI_JOB_URL", "BUILD_URL"),
    "event_name": ("GITHUB_EVENT_NAME", "", ""),
    "id_token_url": ("ACTIONS_ID_TOKEN_REQUEST_URL", "", ""),
    "id_token_bearer": ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "", ""),
}

_PATHS = ("workspace", "output_file", "summary_file", "event_file", "temp")

# Where a repository was cloned from: https://git-scm.com/docs/gitrepository-layout
_CLONED = re.compile(r'^\[remote "origin"\][^\[]*?^\s*url\s*=\s*(\S+)', re.MULTILINE)

# What comes between the address of a repository and a commit in the address of a file.
_PAGES = {System.GITLAB: "-/blob", System.FORGEJO: "src/commit", System.GITEA: "src/commit"}


def detect_system(environ: Mapping[str, str]) -> System:
    """Find the CI system by the word in `DMS_AIRFLOW_CI`, else by what it sets; a word that is none of them means none."""
    word = environ.get("DMS_AIRFLOW_CI", "").strip().lower()
    found = (one for one, sign in _SIGNS.items() if (one == word if word else environ.get(sign) == "true"))
    return next(found, System.PLAIN)


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """What an event says of a pull request. The job's own commit is a merge of `commit`, its head.

    `node_id`: its id in GraphQL; only GitHub has one. `repository`: that of the head; empty when it was a fork and was deleted.
    """

    number: int
    node_id: str
    commit: str
    repository: str


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What a step knows of the job around it. What the CI system does not say is None or empty.

    `is_hosted`: it is one of GitHub's own. `is_terminal`: a person watches the log as it is written. `id_token_url`,
    `id_token_bearer`: where and by what a job on GitHub gets its id-token; empty without the permission. `id_token`: the token
    itself, where the CI system puts it into the environment.
    """

    system: System = System.GITHUB
    workspace: Path
    output_file: Path | None = None
    summary_file: Path | None = None
    event_file: Path | None = None
    temp: Path | None = None
    server_url: str = "https://github.com"
    api_url: str = "https://api.github.com"
    graphql_url: str = "https://api.github.com/graphql"
    repository: str = ""
    sha: str = ""
    run_id: str = ""
    run_attempt: str = ""
    job: str = ""
    step: str = ""
    run_url: str = ""
    debug: bool = False
    is_hosted: bool = False
    is_terminal: bool = False
    event_name: str = ""
    id_token_url: str = ""
    id_token_bearer: str = field(repr=False, default="")
    id_token: str = field(repr=False, default="")
    ca_bundle: str = ""

    @property
    def origin(self) -> str:
        """Where a DAG run came from, as the beginning of its run id: ``gha__4711-1-deploy-__run``."""
        elsewhere = "ci" if self.run_id else "local"
        prefix = {System.GITHUB: "gha", System.PLAIN: elsewhere}.get(self.system, str(self.system))
        place = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(filter(None, (self.run_id, self.run_attempt, self.job, self.step))))
        return "__".join(filter(None, (prefix, place.strip("-"))))

    def read_pull_request(self) -> PullRequest | None:
        """Read the pull request that the job runs for; None where it runs for something else, or the event cannot be read."""
        if self.event_name not in ("pull_request", "pull_request_target") or not self.event_file:
            return None
        try:
            event = load_json(self.event_file.read_bytes())["pull_request"]
            return PullRequest(
                number=int(event["number"]),
                node_id=str(event.get("node_id", "")),
                commit=bytes.fromhex(event["head"]["sha"]).hex(),
                repository=event["head"]["repo"]["full_name"] if event["head"]["repo"] else "",
            )
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def name_page(self, file: str | None, line: int | None, head: PullRequest | None = None) -> str:
        """Name the page of a file, and of a line of it, at the commit that is checked out; empty where there is none.

        The path is relative to the root of the repository that the file is in. `head` takes the place of the job's own commit.
        """
        if not file:
            return ""
        own = (self.repository, self.sha)
        name, commit = find_commit(self.workspace, file, self.server_url) or own  # without Git: the job's own commit
        if head and head.repository and (name, commit) == own:
            name, commit = head.repository, head.commit
        if not name or not commit:
            return ""
        page = f"{self.server_url}/{name}/{_PAGES.get(self.system, 'blob')}/{commit}/{quote(file, errors='replace')}"
        return f"{page}#L{line}" if line else page

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], system: System, *, is_terminal: bool = False) -> Self:
        """Read the variables of a CI system."""
        column = {System.GITLAB: 1, System.PLAIN: 2}.get(system, 0)
        given: dict[str, Any] = {name: text for name, ones in _VARIABLES.items() if (text := environ.get(ones[column]))}
        given.setdefault("sha", environ.get("CI_COMMIT_SHA", ""))
        given["workspace"] = given.get("workspace") or Path.cwd()
        given |= {name: Path(given[name]) for name in _PATHS if name in given}
        if column == 0 and {"repository", "run_id"} <= given.keys():
            server_url = given.get("server_url", "https://github.com")
            given["run_url"] = f"{server_url}/{given['repository']}/actions/runs/{given['run_id']}"
        # The order in which requests itself looks, which takes a file that is not there for a fault; then Python's own
        # variable, where it is none.
        named = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or ""
        file = environ.get("SSL_CERT_FILE", "")
        return cls(
            system=system,
            debug="1" in (environ.get("RUNNER_DEBUG"), environ.get("DMS_AIRFLOW_DEBUG")),
            is_hosted=environ.get("RUNNER_ENVIRONMENT") == "github-hosted",
            is_terminal=is_terminal and system is System.PLAIN,
            id_token=environ.get("DMS_AIRFLOW_ID_TOKEN", ""),
            ca_bundle=named or (file if file and Path(file).exists() else ""),
            **given,
        )


def find_commit(workspace: Path, file: str, server_url: str) -> tuple[str, str] | None:
    """Find the repository of a file, whose path is relative to its root, and the commit that is checked out.

    `actions/checkout` with `path:` puts a repository into a folder of the workspace; a job may check out several.

    Returns:
        ``("acme/dags", "<commit>")``; empty texts where they are not known; None when no repository is checked out.
    """
    with suppress(OSError, ValueError):  # a file that is not UTF-8; a path with a null byte, which a baseline may hold
        roots = [root for root in (workspace, *sorted(workspace.iterdir())) if (root / ".git").exists()]
        root = next((root for root in roots if (root / file).is_file()), None)
        if root:
            return _read_name(root / ".git", server_url), _read_commit(root / ".git")
        return ("", "") if roots else None
    return ("", "")


def _read_name(git: Path, server_url: str) -> str:
    """Read the name of the repository that was cloned; empty when it is of another host."""
    url = _CLONED.search((git / "config").read_text(encoding="utf-8"))
    host = re.escape(server_url.partition("://")[2])
    clone = rf"(?:https?://(?:[^/@]*@)?|ssh://git@|git@){host}[/:](?P<name>[\w.-]+(?:/[\w.-]+?)+)(?:\.git)?/?"
    match = re.fullmatch(clone, url[1]) if url else None
    return match["name"] if match else ""


def _read_commit(git: Path) -> str:
    """Read the commit that is checked out; empty where it is not known."""
    head = (git / "HEAD").read_text(encoding="ascii").strip()
    if head.startswith("ref: "):
        head = (git / head.removeprefix("ref: ")).read_text(encoding="ascii").strip()
    return head if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", head) else ""
