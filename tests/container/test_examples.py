"""Every example runs: as its user would write it, on the released action, under act, against the sandbox.

Only what an example's head tells the reader to put in is put in: commit, region or endpoint, instance, ARNs, DAG ids, a path.
The commit leads to a folder that holds action.yml as a release makes it, and nothing else: the step pulls an image by its tag,
which is the one under test. What an example calls `YOURS` is a stand-in on the runner's PATH, with the name that stands there.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from sandbox import Sandbox
from sandbox.front import Server
from sandbox.lifecycle import BROKEN_DAGS, GOOD_DAGS
from sandbox.workspace import Repository
from tests.container.conftest import PROJECT, print_gateway, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.front import Answer, Front, Request

pytestmark = pytest.mark.container

EXAMPLES = PROJECT / "examples"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = f"sha256:{'0' * 64}"
RELEASED = "ghcr.io/dms-airflow/dms-airflow:v0.0.0"
CERTIFICATES = ".github/certificates.pem"

# ossutil cp --recursive --update dags/ oss://your-bucket/your-path/<folder>/
COPY = """#!/bin/sh -e
test "$1 $2 $3" = "cp --recursive --update"
mkdir -p "INSTANCE/${5#oss://your-bucket/your-path/}"
cp -R "$4." "INSTANCE/${5#oss://your-bucket/your-path/}"
"""
TELL_ISSUE = """#!/bin/sh -e
echo "told: gh $1 $2"
"""
KEEP_ARTIFACT = """\
name: Takes the place of actions/upload-artifact
inputs: {name: {}, path: {}, if-no-files-found: {}}
runs:
  using: composite
  steps:
    - run: test -s "$FILE"
      shell: bash
      env:
        FILE: ${{ inputs.path }}
"""
READ_SARIF = """\
name: Takes the place of github/codeql-action/upload-sarif
inputs: {sarif_file: {}, category: {}}
runs:
  using: composite
  steps:
    - run: |
        grep -q '"version": "2.1.0"' "$FILE"
      shell: bash
      env:
        FILE: ${{ inputs.sarif_file }}
"""


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team that uses the action.

    Args:
        sandbox: Its instance.
        vpc_endpoint: The instance's OpenAPI, over TLS with a certificate of the team's own authority.
        authority: The file of that authority.
        tools: Folder of what the runner's PATH and act's catalogue of actions are given.
        released_action: Folder with the action.yml of a tag.
        lab: Folder with act-run.
    """

    sandbox: Sandbox
    vpc_endpoint: str
    authority: Path
    tools: Path
    released_action: Path
    lab: Path

    def fill_in(self, example: str) -> str:
        """Write an example as its reader would."""
        sandbox = self.sandbox
        for placeholder, value in {
            "<commit SHA>": COMMIT,
            "region: cn-hangzhou\n          instance-id": f"endpoint: {sandbox.endpoint}\n          instance-id",
            "region: ${{ matrix.region }}": f"endpoint: {sandbox.endpoint}",
            "dms-vpc.cn-hangzhou.aliyuncs.com": self.vpc_endpoint,
            "af-1a2b3c": sandbox.instance_id,
            "af-4d5e6f": sandbox.instance_id,
            "acs:ram::1234567890123456:role/github-deploy": sandbox.cloud.sts.role.arn,
            "acs:ram::1234567890123456:oidc-provider/github": sandbox.cloud.sts.provider.arn,
            "/path/on/the/instance": str(sandbox.run_folder),
            "backfill_prices": "daily_orders",
            "warehouse_check partner_exports": "warehouse_check",
        }.items():
            example = example.replace(placeholder, value)
        return example


@dataclass(frozen=True, kw_only=True)
class Job:
    """What became of a job.

    Args:
        result: `success` or `failure`.
        steps: The result of each step that was reached, by name.
        outputs: Those of its last step that has outputs.
        said: What its own scripts said for this test.
    """

    result: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class OverTls:
    """What answers at the VPC endpoint: the sandbox, which then names its own address with https."""

    front: Front

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        answer = self.front.answer(request)
        return replace(answer, body=answer.body.replace(b"http://", b"https://")) if answer.kind == "token" else answer


@contextmanager
def serve_tls(address: str, front: Front, authority: trustme.CA) -> Iterator[str]:
    """Run the VPC endpoint, with a certificate of the team's own authority; give its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(address).configure_cert(context)
    with Server(address, 0) as server:
        server.daemon_threads = False  # closing the server waits for its connections
        server.front = OverTls(front=front)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"https://{address}:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def released_action(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a tag holds: action.yml that names an image, which is here under that name."""
    folder = tmp_path_factory.mktemp("released")
    for name in ("action.yml", "CHANGELOG.md", "dms_airflow/__init__.py", "scripts/release.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    repository, _, version = RELEASED.partition(":v")
    ran = run(sys.executable, folder / "scripts" / "release.py", "name-image", version, repository, DIGEST)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # A digest names a registry's own bytes, which no image has that was only built.
    action = folder / "action.yml"
    action.write_text(action.read_text(encoding="utf-8").replace(f"{RELEASED}@{DIGEST}\n", f"{RELEASED}\n"), encoding="utf-8")
    for name in ("dms_airflow", "scripts"):
        shutil.rmtree(folder / name)
    run("docker", "tag", image, RELEASED)
    yield folder
    run("docker", "rmi", "--no-prune", RELEASED)


@pytest.fixture(scope="module")
def team(lab: Path, image: str, released_action: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team with an instance of its own, whose scheduler runs."""
    tools = tmp_path_factory.mktemp("tools")
    address = print_gateway(image)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tools / "authority.pem"))
    with Sandbox.start(host=address, forks_commands=True) as sandbox:
        for name, text in {"ossutil": COPY, "gh": TELL_ISSUE}.items():
            (tools / name).write_text(text.replace("INSTANCE", str(sandbox.run_folder)))
            (tools / name).chmod(0o755)
        (tools / "upload-artifact").mkdir()
        (tools / "upload-artifact" / "action.yml").write_text(KEEP_ARTIFACT)
        (tools / "codeql" / "upload-sarif").mkdir(parents=True)
        (tools / "codeql" / "upload-sarif" / "action.yml").write_text(READ_SARIF)
        with serve_tls(address, sandbox.front, authority) as endpoint:
            yield Team(
                sandbox=sandbox,
                vpc_endpoint=endpoint,
                authority=tools / "authority.pem",
                tools=tools,
                released_action=released_action,
                lab=lab,
            )


def run_examples(team: Team, checkout: Path, event: str, names: str, *options: str) -> dict[str, Job]:
    """Run examples side by side, as one push or the like would.

    Args:
        team: Whose they are.
        checkout: The team's repository.
        event: What triggers them.
        names: The examples.
        options: Further ones for act.

    Returns:
        The jobs, by the example's name and the name of the job in its matrix.
    """
    workflows = checkout / ".github" / "workflows"
    shutil.rmtree(workflows, ignore_errors=True)
    workflows.mkdir(parents=True)
    titles = {}
    for name in names.split():
        text = team.fill_in((EXAMPLES / f"{name}.yml").read_text(encoding="utf-8"))
        (workflows / f"{name}.yml").write_text(text, encoding="utf-8")
        [title] = re.findall(r"(?m)^name: (.*)$", text)
        titles[title] = name
    run("git", "init", "-q", ".", cwd=checkout)
    sandbox, tools = team.sandbox, team.tools
    mounts = [f"-v {tools / tool}:/usr/local/bin/{tool}:ro" for tool in ("ossutil", "gh")]
    mounts.append(f"-v {sandbox.run_folder}:{sandbox.run_folder}")
    command: list[str | Path] = [team.lab / "act-run", "-C", checkout, "--event", event, "-W", ".github/workflows", "--json"]
    command += ["-P", "self-hosted=act-runner:trixie", "--container-options", " ".join(mounts), *options]
    command += ["--local-repository", f"dms-airflow/dms-airflow@{COMMIT}={team.released_action}"]
    command += ["--local-repository", f"actions/upload-artifact@v6={tools / 'upload-artifact'}"]
    command += ["--local-repository", f"github/codeql-action@v4={tools / 'codeql'}"]
    command += ["-s", f"ALIBABA_CLOUD_ACCESS_KEY_ID={sandbox.access_key_id}"]
    command += ["-s", f"ALIBABA_CLOUD_ACCESS_KEY_SECRET={sandbox.access_key_secret}"]
    command += ["-s", "GITHUB_TOKEN=ghs_tokenOfTheJob"]  # what `github.token` is
    ran = run(*command)
    log = ran.stdout + ran.stderr
    # With --json, act shows in `raw` and `arg` what it was told to mask.
    assert sandbox.access_key_secret not in "".join(line for line in log.splitlines() if '"command":"add-mask"' not in line)
    jobs = read_jobs(log, titles)
    assert {key.partition(" ")[0] for key in jobs} == set(names.split()), log[-3000:]
    return jobs


def read_jobs(log: str, titles: dict[str, str]) -> dict[str, Job]:
    """Read what became of the jobs from what act prints, one JSON object a line."""
    jobs: dict[str, Job] = {}
    for told in (json.loads(line) for line in log.splitlines() if line.startswith("{")):
        name = titles.get(str(told.get("job", "")).partition("/")[0])
        if name is None:
            continue
        key = " ".join([name, *filter(None, [(told.get("matrix") or {}).get("name")])])
        job = jobs.setdefault(key, Job())
        if told.get("stepResult") and told.get("stage") == "Main":
            job.steps[told["step"]] = told["stepResult"]
        if told.get("command") == "set-output":
            job.outputs[told["name"]] = told["arg"]
        if told["msg"].startswith("told: "):
            job.said.append(told["msg"].removeprefix("told: ").strip())
        if told.get("jobResult"):
            jobs[key] = replace(job, result=told["jobResult"])
    return jobs


@pytest.fixture(scope="module")
def checkout(team: Team, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The team's repository: DAG files that are sound, and the certificates of its network."""
    folder = tmp_path_factory.mktemp("team") / "repository"
    shutil.copytree(GOOD_DAGS, folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / CERTIFICATES).parent.mkdir()
    (folder / CERTIFICATES).write_text(team.authority.read_text() + Path(team.sandbox.cloud.ca_file).read_text())
    return folder


@pytest.fixture(scope="module")
def sound(team: Team, checkout: Path) -> dict[str, Job]:
    """What became of the examples while all was well."""
    sandbox = team.sandbox
    for dag in ("daily_orders", "warehouse_check"):
        sandbox.run_airflow("dags", "unpause", dag)
    in_a_job = {**sandbox.cloud.environ, "REQUESTS_CA_BUNDLE": f"/github/workspace/{CERTIFICATES}"}
    may_have_an_id_token = [f"--env={name}={value}" for name, value in in_a_job.items()]
    by_hand = "code-scanning doctor nightly-smoke-test rest-check several-instances trigger-a-dag"
    on_push = "check-before-deploy deploy-and-gate only-new-errors without-stored-keys"
    return {
        **run_examples(team, checkout, "workflow_dispatch", by_hand, "--input", "dag=daily_orders", "--input", "conf={}"),
        **run_examples(team, checkout, "release", "trigger-and-wait"),
        **run_examples(team, checkout, "push", on_push, *may_have_an_id_token),
        # One after the other: act knows no concurrency group.
        **run_examples(team, checkout, "pull_request", "deploy-plan pull-request-comment"),
        **run_examples(team, checkout, "push", "deploy"),
        **run_examples(team, checkout, "push", "deploy-staging-production"),
        **run_branch_example(team, checkout),
    }


def run_branch_example(team: Team, checkout: Path) -> dict[str, Job]:
    """Run the example of a bound repository, whose branch holds the files of the checkout."""
    publisher, store = team.sandbox.workspace.publisher, team.sandbox.workspace.store
    texts = {str(file.relative_to(checkout)): file.read_text() for file in checkout.glob("dags/**/*.py")}
    publisher.bind(Repository(repo="team/dags", path="/default", branch="main", branches={"main": texts}))
    try:
        return run_examples(team, checkout, "push", "deploy-branch")
    finally:
        publisher.setting.repositories.clear()
        store.repositories.clear()


@pytest.fixture(scope="module")
def broken(team: Team, checkout: Path, sound: dict[str, Job]) -> dict[str, Job]:
    """What became of them when the instance and the repository held five broken DAG files."""
    assert sound  # nothing is broken before it has ended
    for file in BROKEN_DAGS.glob("*.py"):
        for folder in (checkout / "dags", team.sandbox.dags_folder):
            shutil.copyfile(file, folder / file.name)
    team.sandbox.run_airflow("dags", "pause", "warehouse_check")
    on_push = "check-before-deploy committed-baseline deploy-and-gate self-hosted-in-a-vpc"
    return {
        **run_examples(team, checkout, "push", on_push),
        **run_examples(team, checkout, "workflow_dispatch", "check-import-errors code-scanning nightly-smoke-test rest-check"),
    }


@pytest.fixture(scope="module")
def known(team: Team, checkout: Path, broken: dict[str, Job]) -> dict[str, Job]:
    """What became of those that know errors of before: with five known ones, and then with a sixth that a deploy brings."""
    errors = json.loads(broken["committed-baseline"].outputs["import-errors"])
    # As the example's head says to do it with jq.
    committed = [{key: value for key, value in error.items() if key not in {"stack_trace", "new"}} for error in errors]
    (checkout / ".github" / "known-import-errors.json").write_text(json.dumps(committed))
    five = run_examples(team, checkout, "push", "committed-baseline")
    (checkout / "dags" / "refunds.py").write_text("from airflow import DAG\n\nimport no_such_package\n")
    return five | run_examples(team, checkout, "push", "only-new-errors")


# Of each example and state: the job's result, its steps after the checkout, and some outputs of the last step that has any.
Verdict = tuple[str, dict[str, str], dict[str, str]]
SUCCESS, FAILURE = "success", "failure"
DEPLOY = "Deploy the DAG files"
WHILE_ALL_IS_WELL: dict[str, Verdict] = {
    "check-before-deploy": (
        SUCCESS,
        {
            "Copy the DAG files to the preview folder": SUCCESS,
            "Every DAG file of the preview folder imports": SUCCESS,
            DEPLOY: SUCCESS,
        },
        {"import-error-count": "0"},
    ),
    "code-scanning": (
        SUCCESS,
        {"List the import errors": SUCCESS, "Upload the alerts": SUCCESS},
        {"import-error-count": "0"},
    ),
    "deploy-and-gate": (
        SUCCESS,
        {DEPLOY: SUCCESS, "The instance runs this commit": SUCCESS},
        {"status": "success"},
    ),
    "deploy": (SUCCESS, {"Deploy the DAG folder": SUCCESS}, {"rolled-back": "false"}),
    "deploy-branch": (SUCCESS, {"Publish the branch": SUCCESS}, {"status": "success"}),
    "deploy-plan": (SUCCESS, {"What would change": SUCCESS}, {"rolled-back": "false"}),
    "deploy-staging-production": (
        SUCCESS,
        {"Deploy to staging": SUCCESS, "One DAG runs to its end": SUCCESS, "Deploy to production": SUCCESS},
        {"run-state": "success"},
    ),
    "doctor": (SUCCESS, {"Try each part of the connection": SUCCESS}, {"airflow-version": "2.10.4"}),
    "nightly-smoke-test": (SUCCESS, {"Smoke test": SUCCESS}, {"dag-id": "warehouse_check", "run-state": "success"}),
    "only-new-errors": (
        SUCCESS,
        {"What is broken already": SUCCESS, DEPLOY: SUCCESS, "This deploy broke nothing": SUCCESS},
        {"new-import-error-count": "0"},
    ),
    "pull-request-comment": (  # act has no pull request in its event, and so no comment is written
        SUCCESS,
        {"What a deploy would change": SUCCESS, "What is broken on the instance": SUCCESS},
        {"import-error-count": "0"},
    ),
    "rest-check": (
        SUCCESS,
        {
            "Read the components' health": SUCCESS,
            "The scheduler is healthy": SUCCESS,
            "Read the import errors that the scheduler stored": SUCCESS,
            "There are none": SUCCESS,
        },
        {"status-code": "200"},
    ),
    "several-instances staging": (SUCCESS, {"Every DAG file imports": SUCCESS}, {"import-error-count": "0"}),
    "several-instances production": (SUCCESS, {"Every DAG file imports": SUCCESS}, {"import-error-count": "0"}),
    "trigger-a-dag": (
        SUCCESS,
        {"Trigger": SUCCESS, "Where it runs": SUCCESS},
        {"dag-id": "daily_orders", "run-state": "queued"},
    ),
    "trigger-and-wait": (SUCCESS, {"Run and wait": SUCCESS}, {"dag-id": "daily_orders", "run-state": "success"}),
    "without-stored-keys": (
        SUCCESS,
        {"Every DAG file imports": SUCCESS, "Start the daily load": SUCCESS},
        {"dag-id": "daily_orders", "run-state": "queued"},
    ),
}
WITH_FIVE_BROKEN_FILES: dict[str, Verdict] = {
    "check-before-deploy": (  # the deploy is not reached
        FAILURE,
        {"Copy the DAG files to the preview folder": SUCCESS, "Every DAG file of the preview folder imports": FAILURE},
        {"import-error-count": "5"},
    ),
    "check-import-errors": (
        FAILURE,
        {"Every DAG file imports": FAILURE},
        {"import-error-count": "5"},
    ),
    "code-scanning": (
        FAILURE,
        {"List the import errors": FAILURE, "Upload the alerts": SUCCESS},
        {"import-error-count": "5"},
    ),
    "committed-baseline": (  # there is no file yet
        FAILURE,
        {DEPLOY: SUCCESS, "No import errors but the known ones": FAILURE, "actions/upload-artifact@v6": SUCCESS},
        {"new-import-error-count": "5"},
    ),
    "deploy-and-gate": (
        FAILURE,
        {DEPLOY: SUCCESS, "The instance runs this commit": FAILURE},
        {"import-error-count": "5", "status": "failure"},
    ),
    "self-hosted-in-a-vpc": (FAILURE, {"Every DAG file imports": FAILURE}, {"import-error-count": "5"}),
    "nightly-smoke-test": (  # the DAG is paused
        FAILURE,
        {"Smoke test": FAILURE, "Open an issue, or go on with the open one": SUCCESS},
        {"dag-id": "warehouse_check", "run-state": "not triggered"},
    ),
    "rest-check": (
        FAILURE,
        {
            "Read the components' health": SUCCESS,
            "The scheduler is healthy": SUCCESS,
            "Read the import errors that the scheduler stored": SUCCESS,
            "There are none": FAILURE,
        },
        {"status-code": "200"},
    ),
}
WITH_KNOWN_ONES: dict[str, Verdict] = {
    "committed-baseline": (
        SUCCESS,
        {DEPLOY: SUCCESS, "No import errors but the known ones": SUCCESS, "actions/upload-artifact@v6": SUCCESS},
        {"import-error-count": "5", "new-import-error-count": "0"},
    ),
    "only-new-errors": (
        FAILURE,
        {"What is broken already": SUCCESS, DEPLOY: SUCCESS, "This deploy broke nothing": FAILURE},
        {"import-error-count": "6", "new-import-error-count": "1"},
    ),
}


@pytest.mark.parametrize(
    ("state", "verdicts"), [("sound", WHILE_ALL_IS_WELL), ("broken", WITH_FIVE_BROKEN_FILES), ("known", WITH_KNOWN_ONES)]
)
def test_every_example_ends_as_it_should(state: str, verdicts: dict[str, Verdict], request: pytest.FixtureRequest) -> None:
    jobs: dict[str, Job] = request.getfixturevalue(state)

    told = {}
    for name, job in jobs.items():
        steps = {step: result for step, result in job.steps.items() if not step.startswith("actions/checkout")}
        told[name] = (job.result, steps, {key: job.outputs.get(key, "") for key in verdicts[name][2]})
    assert told == verdicts


def test_no_example_was_forgotten() -> None:
    run_here = {key.partition(" ")[0] for key in (*WHILE_ALL_IS_WELL, *WITH_FIVE_BROKEN_FILES, *WITH_KNOWN_ONES)}

    assert run_here == {file.stem for file in EXAMPLES.glob("*.yml")}


def test_an_error_is_on_a_line_of_the_checkout(known: dict[str, Job]) -> None:
    errors = json.loads(known["only-new-errors"].outputs["import-errors"])

    assert [(error["file"], error["line"]) for error in errors if error["new"]] == [("dags/refunds.py", 3)]


def test_the_vpc_endpoint_was_reached_over_tls(team: Team, broken: dict[str, Job]) -> None:
    url = broken["self-hosted-in-a-vpc"].outputs["airflow-url"]

    assert url.startswith(f"{team.vpc_endpoint}/")
    assert url.startswith("https://")


def test_a_red_night_opens_an_issue_or_continues_one(broken: dict[str, Job]) -> None:
    # The stand-in of `gh` names every call; what it prints for `issue list` is taken for an issue's number.
    assert broken["nightly-smoke-test"].said == ["gh issue comment"]
