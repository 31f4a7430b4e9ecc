"""A role for an id-token: through the real SDK, to an STS and an id-token endpoint that verify what they get."""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from dms_airflow.alibaba_cloud.sdk import guard_sdk
from sandbox.oidc import HOST, Job
from tests.integration.fake_dms import HTML, JSON, answer, drop

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dms_airflow.alibaba_cloud.sdk import LastExchange
    from dms_airflow.core.clock import Clock
    from sandbox.front import Answer, Request
    from sandbox.runner import Runner, Step
    from tests.integration.fake_cloud import FakeCloud
    from tests.integration.fake_dms import FakeDms
    from tests.unit.fakes import FakeClock

    Run = Callable[..., Step]

VERSION = {"operation": "version"}


@pytest.fixture(autouse=True)
def script(dms: FakeDms) -> None:
    """Let the command of these tests work."""
    dms.airflow.commands["version"] = ("2.10.4\n", "")


def test_a_job_becomes_its_role(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 0
    assert cloud.kinds == ["id-token", "sts"]
    assert dms.paths == ["POST /", "GET /login", "POST /api/v1/command"]
    (credential,) = cloud.sts.given_out
    assert dms.received[0].headers["x-acs-security-token"] == credential.security_token
    assert "Using the credentials of the input role-to-assume (OIDC)." in step.log
    assert {cloud.issuer.bearer, *cloud.issuer.issued, *vars(credential).values()} - {None, credential.expires} <= {*step.masks}
    assert step.stdout.startswith(f"::add-mask::{cloud.issuer.bearer}\n")


def test_what_is_asked_for(cloud: FakeCloud, run: Run) -> None:
    cloud.sts.provider = replace(cloud.sts.provider, client_ids=("https://example.com/a&b",))

    step = run(
        {
            **VERSION,
            **cloud.role_inputs,
            "audience": "https://example.com/a&b",
            "role-session-name": "nightly@dags",
            "role-session-expiration": "900",
        },
        cloud.environ,
    )

    assert step.exit_code == 0
    (_, asked), (_, exchanged) = cloud.received
    assert parse_qs(asked.query) == {"api-version": ["2.0"], "audience": ["https://example.com/a&b"]}
    parameters = {name: values[0] for name, values in parse_qs(exchanged.query).items()}
    assert {name: parameters[name] for name in ("RoleArn", "OIDCProviderArn", "RoleSessionName", "DurationSeconds")} == {
        "RoleArn": "acs:ram::1234567890123456:role/github-deploy",
        "OIDCProviderArn": "acs:ram::1234567890123456:oidc-provider/github",
        "RoleSessionName": "nightly@dags",
        "DurationSeconds": "900",
    }


def test_the_session_is_named_after_the_workflow_run(cloud: FakeCloud, run: Run) -> None:
    run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert parse_qs(cloud.received[1][1].query)["RoleSessionName"] == ["github-4711-octo-org-dags"]


def test_the_token_file_is_private_and_gone_at_the_end(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    seen: list[int] = []

    def look(_: Request) -> None:
        (file,) = (tmp_path / "runner").glob("dms-airflow-*")
        seen.append(stat.S_IMODE(file.stat().st_mode))
        assert file.read_text() == cloud.issuer.issued[0]

    cloud.fail("sts", look)

    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 0
    assert seen == [0o600]
    assert list((tmp_path / "runner").glob("dms-airflow-*")) == []


def test_the_token_file_is_gone_when_the_runner_cancels(cloud: FakeCloud, dms: FakeDms, runner: Runner) -> None:
    left: list[int] = []

    def cancel(_: Request) -> None:
        left.append(len(list(runner.temp.glob("dms-airflow-*"))))
        process.send_signal(signal.SIGINT)
        process.wait()

    cloud.fail("sts", cancel)
    process, files = runner.start({**dms.inputs, **VERSION, **cloud.role_inputs}, cloud.environ)
    step = runner.finish(process, files, *process.communicate())

    assert step.exit_code == 130
    assert left == [1]
    assert list(runner.temp.glob("dms-airflow-*")) == []


def test_debugging_prints_no_secret(cloud: FakeCloud, run: Run) -> None:
    cloud.fail("sts", answer(400, b'{"Code": "AuthenticationFail.NoPermission", "Message": "m"}', JSON))

    step = run({**VERSION, **cloud.role_inputs}, {**cloud.environ, "DEBUG": "sdk", "RUNNER_DEBUG": "1"})

    assert step.exit_code == 1
    assert "idtoken -> 200" in step.stdout
    assert step.stderr == ""


# --- what can be wrong ---------------------------------------------------------------------------------------------------


def test_a_job_without_the_permission(dms: FakeDms, cloud: FakeCloud, run: Run) -> None:
    step = run({**VERSION, **cloud.role_inputs})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "No id-token"
    assert "it lacks the permission id-token: write" in annotation.data
    assert "permissions: { contents: read, id-token: write }" in annotation.data
    assert "Pull requests from forks never get an id-token" in annotation.data
    assert (cloud.received, dms.received) == ([], [])


def test_a_bearer_token_that_github_refuses(cloud: FakeCloud, run: Run) -> None:
    step = run(
        {**VERSION, **cloud.role_inputs},
        {**cloud.environ, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "another-bearer"},
        "another-bearer",
    )

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "No id-token"
    assert f"at https://{HOST} answered 401" in annotation.data


def test_an_id_token_endpoint_that_names_no_media_type(cloud: FakeCloud, run: Run) -> None:
    cloud.fail("id-token", lambda _: answer(200, json.dumps({"value": cloud.issuer.issue("sts.aliyuncs.com")}).encode()))

    assert run({**VERSION, **cloud.role_inputs}, cloud.environ).exit_code == 0


@pytest.mark.parametrize(
    "fault", [answer(200, b"{}", JSON), answer(200, b"[]", JSON), answer(200, b'{"value": 1}', JSON), answer(200)]
)
def test_an_id_token_endpoint_without_a_token(cloud: FakeCloud, run: Run, fault: Answer) -> None:
    cloud.fail("id-token", fault)

    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert [one.properties["title"] for one in step.annotations] == ["No id-token"]
    assert "answered 200 without an id-token" in step.log


@pytest.mark.parametrize("url", ["http://pipelines.actions.githubusercontent.com/x", "ftp://127.0.0.1/", "nonsense"])
def test_the_bearer_token_goes_nowhere_in_the_clear(cloud: FakeCloud, run: Run, url: str) -> None:
    environ = {**cloud.environ, "ACTIONS_ID_TOKEN_REQUEST_URL": url, "HTTP_PROXY": cloud.proxy, "NO_PROXY": "127.0.0.1"}

    step = run({**VERSION, **cloud.role_inputs}, environ)

    assert [one.properties["title"] for one in step.annotations] == ["No id-token"]
    assert "ACTIONS_ID_TOKEN_REQUEST_URL is no https URL" in step.log
    assert cloud.received == []


def test_an_audience_that_the_provider_does_not_know(cloud: FakeCloud, run: Run) -> None:
    step = run({**VERSION, **cloud.role_inputs, "audience": "somebody-else"}, cloud.environ)

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Role not assumed"
    assert "the OIDC identity provider does not know the id-token's audience" in annotation.data
    assert "AuthenticationFail.OIDCToken.AudienceNotMatch" in annotation.data
    assert "aud somebody-else" in annotation.data
    assert "add the claim aud above to the identity provider's client ids" in annotation.data


def test_a_role_that_does_not_trust_the_repository(cloud: FakeCloud, run: Run) -> None:
    cloud.issuer.job = Job(repository="octo-org/other", ref="refs/heads/topic")

    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Role not assumed"
    assert "the role does not trust this job (AuthenticationFail.NoPermission: There is no permission" in annotation.data
    assert "sub repo:octo-org/other:ref:refs/heads/topic" in annotation.data
    assert "aud sts.aliyuncs.com" in annotation.data
    assert "job_workflow_ref octo-org/other/.github/workflows/deploy.yml@refs/heads/topic" in annotation.data
    policy = json.loads(annotation.data[annotation.data.index("\n{") :])
    assert policy["Statement"][0]["Condition"]["StringEquals"]["oidc:sub"] == ["repo:octo-org/other:ref:refs/heads/topic"]
    assert policy["Statement"][0]["Principal"] == {"Federated": ["acs:ram::1234567890123456:oidc-provider/github"]}
    assert '"oidc:sub": [\n            "repo:octo-org/other:ref:refs/heads/topic"' in step.summary


@pytest.mark.parametrize(
    ("inputs", "words", "hint"),
    [
        (
            {"oidc-provider-arn": "acs:ram::1234567890123456:oidc-provider/other"},
            "the OIDC identity provider is not set up for your CI system, or oidc-provider-arn is wrong",
            "oidc-provider-arn must be its ARN",
        ),
        (
            {"role-to-assume": "acs:ram::1234567890123456:role/nosuch"},
            "the role does not exist (EntityNotExist.Role: The role not exists: acs:ram::1234567890123456:role/nosuch.",
            "copy its ARN to role-to-assume",
        ),
        (
            {"role-session-expiration": "7200"},
            "the role allows no session of this length (InvalidParameter.DurationSeconds",
            "lower it, or raise the role's maximum session duration",
        ),
    ],
)
def test_other_refusals(cloud: FakeCloud, run: Run, inputs: dict[str, str], words: str, hint: str) -> None:
    step = run({**VERSION, **cloud.role_inputs, **inputs}, cloud.environ)

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Role not assumed"
    assert words in annotation.data
    assert hint in annotation.data


def test_an_expired_id_token(cloud: FakeCloud, run: Run) -> None:
    cloud.issuer.lifetime = timedelta(minutes=-1)

    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert "the id-token has expired (AuthenticationFail.OIDCToken.Expired" in step.log


def test_a_token_of_another_issuer(cloud: FakeCloud, run: Run) -> None:
    cloud.sts.key = b"the key of somebody else"

    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert "the OIDC identity provider is not set up for your CI system" in step.log
    assert "AuthenticationFail.OIDCToken.Invalid" in step.log


def test_a_code_that_nobody_documents_is_shown_as_it_came(cloud: FakeCloud, run: Run) -> None:
    cloud.fail("sts", answer(400, b'{"Code": "Brand.New", "Message": "never seen", "RequestId": "R-1"}', JSON))

    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert "STS refused (Brand.New: never seen; request id R-1)" in step.log


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (answer(404, b"<h1>Not Found</h1>", HTML), "could not be assumed (https://sts.aliyuncs.com answered 404)"),
        (answer(200, b"<h1>Log in</h1>", HTML), "could not be assumed (https://sts.aliyuncs.com answered 200)"),
        (answer(200, b"{}", JSON), "could not be assumed (https://sts.aliyuncs.com answered 200)"),
        (
            answer(200, b'{"Credentials": {"AccessKeyId": "x"}}', JSON),
            "could not be assumed (https://sts.aliyuncs.com answered 200)",
        ),
    ],
)
def test_something_else_in_the_place_of_sts(cloud: FakeCloud, run: Run, fault: object, words: str) -> None:
    cloud.fail("sts", fault)  # type: ignore[arg-type]

    step = run({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Role not assumed"
    assert words in annotation.data


def test_a_certificate_that_nobody_vouches_for(cloud: FakeCloud, run: Run) -> None:
    step = run({**VERSION, **cloud.role_inputs}, {**cloud.environ, "REQUESTS_CA_BUNDLE": ""})

    assert step.exit_code == 1
    assert [one.properties["title"] for one in step.annotations] == ["No id-token"]
    assert "its TLS certificate is not trusted" in step.log
    assert cloud.received == []


def test_the_certificate_of_sts_is_verified(
    cloud: FakeCloud, run_here: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certifi's authorities did not sign the certificate of our STS."""

    def guard(users: tuple[str, str], clock: Clock, _: str) -> AbstractContextManager[LastExchange]:
        return guard_sdk(users, clock, "")

    monkeypatch.setattr("dms_airflow.alibaba_cloud.providers.guard_sdk", guard)

    step = run_here({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert [one.properties["title"] for one in step.annotations] == ["Role not assumed"]
    assert "https://sts.aliyuncs.com: its TLS certificate is not trusted" in step.log
    assert clock.slept == []
    assert cloud.kinds == ["id-token"]


# --- what passes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_id_token_endpoint_that_recovers(cloud: FakeCloud, run_here: Run, clock: FakeClock, status: int) -> None:
    cloud.fail("id-token", answer(status, b"busy", HTML), times=2)

    step = run_here({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 0
    assert clock.slept == [1.0, 2.0]
    assert f"answered {status} without an id-token. Trying again in 1 s." in step.log


@pytest.mark.parametrize(
    "fault",
    [
        answer(400, b'{"Code": "Throttling.User", "Message": "Request was denied due to user flow control."}', JSON),
        answer(429, b"slow down", HTML),
        answer(503, b'{"Code": "ServiceUnavailable", "Message": "m"}', JSON),
        answer(502, b"<h1>Bad Gateway</h1>", HTML),
        drop,
    ],
)
def test_an_sts_that_recovers(cloud: FakeCloud, run_here: Run, clock: FakeClock, fault: object) -> None:
    cloud.fail("sts", fault, times=2)  # type: ignore[arg-type]

    step = run_here({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 0
    assert clock.slept == [1.0, 2.0]
    # Each try has an id-token of its own: they live some minutes only.
    assert cloud.kinds == ["id-token", "sts"] * 3


def test_an_sts_that_does_not_recover(cloud: FakeCloud, run_here: Run, clock: FakeClock) -> None:
    cloud.fail("sts", answer(503, b"<h1>Unavailable</h1>", HTML), times=9)

    step = run_here({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 1
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Role not assumed"
    assert "This is a failure of the server that gives the keys" in annotation.data


def test_keys_are_obtained_once_however_often_the_token_call_is_tried(
    dms: FakeDms, cloud: FakeCloud, run_here: Run, clock: FakeClock
) -> None:
    dms.fail("token", answer(503, b'{"Code": "ServiceUnavailable", "Message": "m"}', JSON))

    step = run_here({**VERSION, **cloud.role_inputs}, cloud.environ)

    assert step.exit_code == 0
    assert clock.slept == [1.0]
    assert cloud.kinds == ["id-token", "sts"]
    assert dms.paths == ["POST /", "POST /", "GET /login", "POST /api/v1/command"]


# --- a token of another provider -----------------------------------------------------------------------------------------


def test_a_token_file_of_the_environment(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(cloud.issuer.issue("sts.aliyuncs.com"))
    environ = {
        "ALIBABA_CLOUD_ROLE_ARN": cloud.sts.role.arn,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": cloud.sts.provider.arn,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(file),
        "ALIBABA_CLOUD_STS_REGION": "cn-hangzhou",
        "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true",
        "HTTPS_PROXY": cloud.proxy,
        "REQUESTS_CA_BUNDLE": cloud.ca_file,
    }

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, environ)

    assert step.exit_code == 0
    assert [request.headers["Host"] for _, request in cloud.received] == ["sts-vpc.cn-hangzhou.aliyuncs.com"]
    assert file.exists()


def test_a_token_file_whose_claims_the_role_does_not_trust(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    cloud.issuer.job = Job(repository="octo-org/other")
    file = tmp_path / "token"
    file.write_text(cloud.issuer.issue("sts.aliyuncs.com") + "\n")
    environ = {
        "ALIBABA_CLOUD_ROLE_ARN": cloud.sts.role.arn,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": cloud.sts.provider.arn,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(file),
        "HTTPS_PROXY": cloud.proxy,
        "REQUESTS_CA_BUNDLE": cloud.ca_file,
    }
    # The newline at the file's end makes it another token to STS, which says what it does not trust.
    cloud.fail("sts", answer(403, b'{"Code": "AuthenticationFail.NoPermission", "Message": "There is no permission"}', JSON))

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, environ)

    assert "sub repo:octo-org/other:ref:refs/heads/main" in step.log
    assert '"oidc:sub"' in step.log


def test_a_token_file_that_is_not_there(cloud: FakeCloud, run: Run) -> None:
    environ = {
        "ALIBABA_CLOUD_ROLE_ARN": cloud.sts.role.arn,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": cloud.sts.provider.arn,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": os.devnull + "/nosuch",
    }

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, environ)

    assert [one.properties["title"] for one in step.annotations] == ["Role not assumed"]
    assert "the file of the id-token failed ([Errno 20] Not a directory: '/dev/null/nosuch')" in step.log


def describe_token_file(cloud: FakeCloud, file: Path) -> dict[str, str]:
    """Give the variables of a pod that has a token file."""
    return {
        "ALIBABA_CLOUD_ROLE_ARN": cloud.sts.role.arn,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": cloud.sts.provider.arn,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(file),
        "HTTPS_PROXY": cloud.proxy,
        "REQUESTS_CA_BUNDLE": cloud.ca_file,
    }


def test_the_token_of_the_environments_file_is_masked(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    token = cloud.issuer.issue("sts.aliyuncs.com")
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    cloud.fail("sts", answer(400, f'{{"Code": "Strange", "Message": "bad token {token}"}}'.encode(), JSON))

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, describe_token_file(cloud, file))

    assert token in step.masks
    assert "(Strange: bad token ***; request id" in step.log


def test_a_role_that_does_not_trust_the_environments_token(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    cloud.issuer.job = Job(repository="octo-org/other")
    file = tmp_path / "token"
    file.write_text(cloud.issuer.issue("sts.aliyuncs.com"))

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, describe_token_file(cloud, file))

    (annotation,) = step.annotations
    assert "sub repo:octo-org/other:ref:refs/heads/main" in annotation.data
    policy = json.loads(annotation.data[annotation.data.index("\n{") :])
    assert policy["Statement"][0]["Condition"]["StringEquals"]["oidc:sub"] == ["repo:octo-org/other:ref:refs/heads/main"]


def test_no_policy_is_advised_for_a_token_whose_claims_are_not_known(cloud: FakeCloud, run: Run, tmp_path: Path) -> None:
    """Without a condition on the subject it would let every job on GitHub become the role."""
    file = tmp_path / "token"
    file.write_text("no-web-token")
    cloud.fail("sts", answer(403, b'{"Code": "AuthenticationFail.NoPermission", "Message": "m"}', JSON))

    step = run({**VERSION, "access-key-id": "", "access-key-secret": ""}, describe_token_file(cloud, file))

    (annotation,) = step.annotations
    assert "the role does not trust this job" in annotation.data
    assert "Statement" not in annotation.data
    assert "This policy does" not in annotation.data


def test_a_folder_that_takes_no_token_file(cloud: FakeCloud, run: Run) -> None:
    step = run({**VERSION, **cloud.role_inputs}, {**cloud.environ, "RUNNER_TEMP": "/proc"})

    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Role not assumed"
    assert "the file of the id-token failed (" in annotation.data
    assert "RUNNER_TEMP" in annotation.data


def test_a_bundle_of_authorities_that_is_not_there(cloud: FakeCloud, run: Run) -> None:
    step = run({**VERSION, **cloud.role_inputs}, {**cloud.environ, "REQUESTS_CA_BUNDLE": "/etc/corporate/ca.pem"})

    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Wrong input: REQUESTS_CA_BUNDLE"
    assert 'with certificates in PEM form, not "/etc/corporate/ca.pem"' in annotation.data
    assert cloud.received == []
