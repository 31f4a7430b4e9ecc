"""The inputs as authors see them: `make docs` writes them into action.yml, and `dms-airflow --help` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Input(NamedTuple):
    """What an author reads of an input: its meaning, in Markdown without line breaks; its default as an author writes it."""

    meaning: str
    default: str = ""
    required: bool = False


GROUPS: Mapping[str, Mapping[str, Input]] = {
    "Instance": {
        "region": Input("Region id of the instance, e.g. `cn-hangzhou`. Required unless `endpoint` is given."),
        "instance-id": Input("Id of the Airflow instance, `af-…`.", required=True),
        "endpoint": Input(
            "OpenAPI endpoint in place of `dms.<region>.aliyuncs.com`: `host`, `host:port` or a URL (VPC endpoint, proxy, "
            "sandbox). `http://` only for loopback and private addresses and host names without a dot, also of the Airflow "
            "host that the token answer names. With this input, that may be any `https` host; else it must be one of DMS."
        ),
    },
    "Credentials": {
        "access-key-id": Input(
            "AccessKey id. Without it and `role-to-assume`, credentials are taken from the environment: `ALIBABA_CLOUD_*` "
            "variables, a credentials file, a server of credentials, the RAM role of an ECS instance."
        ),
        "access-key-secret": Input("AccessKey secret."),
        "security-token": Input("Security token, where the AccessKey is a temporary one."),
        "role-to-assume": Input(
            "ARN of the RAM role that the job's id-token is exchanged for: no stored keys. Needs `oidc-provider-arn`, on "
            "GitHub `permissions: id-token: write`, on GitLab `id_tokens: DMS_AIRFLOW_ID_TOKEN`."
        ),
        "oidc-provider-arn": Input("ARN of the OIDC identity provider in RAM for your CI system."),
        "audience": Input("Audience of the id-token: one of the identity provider's client ids.", "sts.aliyuncs.com"),
        "role-session-name": Input(
            "Name of the role session in ActionTrail: 2 to 64 letters, digits, `.@_-`. By itself `<CI>-<run id>-<repository>`."
        ),
        "role-session-expiration": Input("Seconds that the role session lasts: 900 to 43200, as the role allows.", "3600"),
    },
    "Operation": {
        "operation": Input(
            "An Airflow CLI command by its own name (`dags trigger`, `version`, …), `cli`, `rest`, `deploy`, `deploy-gate`, "
            "`smoke-test` or `doctor`.",
            required=True,
        ),
        "arguments": Input(
            "What follows the command, quoted as in a shell; may span lines. For `cli` whole commands, one a line. For `rest` "
            "`METHOD PATH`, with `--paginate` after a GET that lists. For `smoke-test` DAG ids. For `doctor` nothing, or "
            "`deploy` to check the rights for a deploy, too."
        ),
    },
    "Requests and DAG runs": {
        "body": Input("JSON body of `rest`."),
        "conf": Input("JSON object with the run configuration for `dags trigger` and `smoke-test`, free of quoting trouble."),
        "wait-for-completion": Input("`dags trigger`: wait until the DAG run ends, and fail unless it succeeds.", "false"),
        "timeout": Input(
            "How long to wait: `90`, `90s`, `15m`, `1h30m`. When empty, `30m` for DAG runs and CLI commands, `10m` for "
            "`deploy-gate` and the gate of `deploy`."
        ),
        "poll-interval": Input("Fixed time between two polls. When empty, often at first, then less often."),
        "on-paused": Input("Before a paused DAG is triggered and waited for: `fail`, `unpause` it, or `ignore`.", "fail"),
        "on-cancel": Input("When the job is cancelled or time runs out: `leave` the DAG run, or `fail-run` it.", "leave"),
    },
    "Import errors": {
        "fail-on": Input("Which import errors fail the step: `any`, `new` (not in `baseline`), or `none`.", "any"),
        "baseline": Input(
            "Import errors known from before: the output `import-errors` of an earlier step, or the path of a file with it."
        ),
        "dags-path": Input("Folder of the checkout that is deployed as the instance's DAG folder. Found by itself when empty."),
        "verify-source": Input(
            "`deploy-gate`, `deploy`: wait until the instance's source of each DAG file equals that of the checkout.", "true"
        ),
        "expect-dags": Input("`deploy-gate`, `deploy`: DAG ids that must exist, separated by blanks, commas or lines."),
        "warnings": Input(
            "Report what the instance warns of in your files (deprecations, missing pools, …); it never fails a step.", "true"
        ),
    },
    "Deploy": {
        "deploy-to": Input(
            "`deploy`: target folder in the workspace, `/Workspace/code/…`. When empty, the instance's DAG folder."
        ),
        "deploy-branch": Input(
            "`deploy`: publish this branch of the Git repository that is bound to the workspace, in place of writing files."
        ),
        "deploy-exclude": Input("`deploy`: files of the DAG folder that stay out, as in `.gitignore`."),
        "workspace-id": Input("`deploy`: id of the workspace; needed only where the instance's address does not name it."),
        "dry-run": Input("`deploy`: show the plan, and write nothing.", "false"),
        "prune": Input("`deploy`: also delete files of the target that the checkout lacks and no deploy wrote.", "false"),
        "force": Input("`deploy`: overwrite and delete files of the target that somebody else changed.", "false"),
        "on-failure": Input(
            "`deploy`: when publish or gate fails, `rollback` to the former version, or `leave` the new one.", "rollback"
        ),
    },
    "Session and reports": {
        "reuse-session": Input(
            "Keep the session for later steps of this job, which start without the token exchange, in a private file under "
            "`RUNNER_TEMP` (Jenkins: `WORKSPACE_TMP`). Elsewhere it has no effect.",
            "false",
        ),
        "summary": Input("Write the job summary.", "true"),
        "annotations": Input("Write annotations.", "true"),
        "result-file": Input("Path in the workspace for the whole result as JSON, whatever its size."),
        "sarif-file": Input("Path in the workspace for the findings as SARIF 2.1.0, for GitHub code scanning."),
        "junit-file": Input("Path in the workspace for the DAG files and tasks that were checked, as a JUnit report."),
        "code-quality-file": Input("Path in the workspace for the findings as a Code Quality report of GitLab."),
        "comment": Input(
            "`dags list-import-errors`, `deploy-gate`, `deploy`, `smoke-test`: keep one comment of the pull request up to "
            "date: `never`, `failure` (from the first failure on, until it is fixed) or `always`. Needs `github-token`.",
            "never",
        ),
        "github-token": Input("Token for the comment: `github.token` in a job with `permissions: pull-requests: write`."),
    },
}

# Every operation reads those of these groups.
SHARED = ("Instance", "Credentials", "Operation", "Session and reports")

INPUTS: Mapping[str, Input] = {name: one for group in GROUPS.values() for name, one in group.items()}
