"""The inputs as authors see them: `make docs` writes them into action.yml, and `dms-airflow --help` shows them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Input:
    """What an author reads of an input.

    Args:
        meaning: In Markdown without line breaks.
        default: As an author would write it.
        required: It must be given.
    """

    meaning: str
    _: KW_ONLY
    default: str = ""
    required: bool = False


GROUPS: Mapping[str, Mapping[str, Input]] = {
    "Instance": {
        "region": Input(
            "Region id of the instance, e.g. `cn-hangzhou`; the OpenAPI endpoint is `dms.<region>.aliyuncs.com`. "
            "Required unless `endpoint` is given."
        ),
        "instance-id": Input("Id of the Airflow instance, `af-…`.", required=True),
        "endpoint": Input(
            "OpenAPI endpoint in place of the region's: `host`, `host:port` or a URL (VPC endpoint, proxy, sandbox). "
            "`http://` is accepted for loopback and private addresses and host names without a dot only, here and "
            "for the Airflow host that the token answer names. That host may be any `https` host with this input, "
            "and must be one of DMS without it."
        ),
    },
    "Credentials": {
        "access-key-id": Input(
            "AccessKey id. When it and `role-to-assume` are empty, credentials are taken from the environment: "
            "`ALIBABA_CLOUD_*` variables, a credentials file, a server of credentials, the RAM role of an ECS "
            "instance."
        ),
        "access-key-secret": Input("AccessKey secret."),
        "security-token": Input("Security token, where the AccessKey is a temporary one."),
        "role-to-assume": Input(
            "ARN of the RAM role that the job's id-token is exchanged for: no stored keys. Needs "
            "`oidc-provider-arn`, on GitHub `permissions: id-token: write`, on GitLab `id_tokens: "
            "DMS_AIRFLOW_ID_TOKEN`."
        ),
        "oidc-provider-arn": Input("ARN of the OIDC identity provider in RAM for your CI system."),
        "audience": Input("Audience of the id-token: one of the identity provider's client ids.", default="sts.aliyuncs.com"),
        "role-session-name": Input(
            "Name of the role session in ActionTrail: 2 to 64 letters, digits, `.`, `@`, `_`, `-`. When empty, `<CI "
            "system>-<run id>-<repository>`."
        ),
        "role-session-expiration": Input(
            "Seconds that the role session lasts, 900 to 43200; at most what the role allows.", default="3600"
        ),
    },
    "Operation": {
        "operation": Input(
            "An Airflow CLI command by its own name (`dags trigger`, `dags list-import-errors`, `version`, …), "
            "`cli`, `rest`, `deploy`, `deploy-gate`, `smoke-test` or `doctor`.",
            required=True,
        ),
        "arguments": Input(
            "What follows the command, quoted as in a shell; may span lines. For `cli` whole commands, one a line. "
            "For `rest` `METHOD PATH`, with `--paginate` after a GET that lists. For `smoke-test` DAG ids. For "
            "`doctor` nothing, or `deploy` to check the rights for a deploy, too."
        ),
    },
    "Requests and DAG runs": {
        "body": Input("JSON body of `rest`."),
        "conf": Input("JSON object with the run configuration for `dags trigger` and `smoke-test`, free of quoting trouble."),
        "wait-for-completion": Input(
            "`dags trigger`: wait until the DAG run ends, and fail unless it succeeds.", default="false"
        ),
        "timeout": Input(
            "How long to wait: `90`, `90s`, `15m`, `1h30m`. When empty, `30m` for DAG runs and CLI commands, `10m` "
            "for `deploy-gate` and the gate of `deploy`."
        ),
        "poll-interval": Input("Fixed time between two polls. When empty, often at first, then less often."),
        "on-paused": Input(
            "Before a paused DAG is triggered and waited for: `fail` with advice, `unpause` it, or `ignore`.", default="fail"
        ),
        "on-cancel": Input(
            "When the job is cancelled or time runs out: `leave` the DAG run, or `fail-run` it.", default="leave"
        ),
    },
    "Import errors": {
        "fail-on": Input("Which import errors fail the step: `any`, `new` (not in `baseline`), or `none`.", default="any"),
        "baseline": Input(
            "Import errors known from before: the output `import-errors` of an earlier step, or the path of a file "
            "that holds it."
        ),
        "dags-path": Input("Folder of the checkout that is deployed as the instance's DAG folder. Found by itself when empty."),
        "verify-source": Input(
            "`deploy-gate`, `deploy`: compare the instance's source of each DAG file with the checkout, and wait "
            "until they are equal.",
            default="true",
        ),
        "expect-dags": Input("`deploy-gate`, `deploy`: DAG ids that must exist, separated by blanks, commas or lines."),
        "warnings": Input(
            "Report what the instance warns of in your files (deprecations, missing pools, …) as warnings; they "
            "never fail a step.",
            default="true",
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
        "dry-run": Input("`deploy`: show the plan, and write nothing.", default="false"),
        "prune": Input(
            "`deploy`: also delete files of the target that the checkout lacks and no deploy wrote.", default="false"
        ),
        "force": Input("`deploy`: overwrite and delete files of the target that somebody else changed.", default="false"),
        "on-failure": Input(
            "`deploy`: when publish or gate fails, `rollback` to the former version, or `leave` the new one.",
            default="rollback",
        ),
    },
    "Session and reports": {
        "reuse-session": Input(
            "Keep the session for later steps of this job, in a private file under `RUNNER_TEMP` (Jenkins: "
            "`WORKSPACE_TMP`); they start without the token exchange. Elsewhere it has no effect.",
            default="false",
        ),
        "summary": Input("Write the job summary.", default="true"),
        "annotations": Input("Write annotations.", default="true"),
        "result-file": Input("Path in the workspace to which the whole result is written as JSON, whatever its size."),
        "sarif-file": Input(
            "Path in the workspace to which the findings are written as SARIF 2.1.0, for GitHub code scanning."
        ),
        "junit-file": Input(
            "Path in the workspace to which the DAG files and tasks that were checked are written as a JUnit report."
        ),
        "code-quality-file": Input(
            "Path in the workspace to which the findings are written as a Code Quality report of GitLab."
        ),
        "comment": Input(
            "`dags list-import-errors`, `deploy-gate`, `deploy`, `smoke-test`: keep one comment of the pull request up to "
            "date: `never`, `failure` (from the first failure on, until it is fixed) or `always`. Needs `github-token`.",
            default="never",
        ),
        "github-token": Input("Token for the comment: `github.token` in a job with `permissions: pull-requests: write`."),
    },
}

# Every operation reads those of these groups.
SHARED = ("Instance", "Credentials", "Operation", "Session and reports")

INPUTS: Mapping[str, Input] = {name: one for group in GROUPS.values() for name, one in group.items()}
