"""Which source leads to credentials: what is given, which comes first, and what is missing of half a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dms_airflow.alibaba_cloud.credentials import CredentialsSource, find_credentials, make_session_name
from dms_airflow.ci.runner import Runner
from dms_airflow.config import Config, list_secrets
from dms_airflow.core.errors import CredentialsError
from dms_airflow.core.inputs import load

if TYPE_CHECKING:
    from dms_airflow.core.errors import InputProblem

ROLE = "acs:ram::1234567890123456:role/github-deploy"
PROVIDER = "acs:ram::1234567890123456:oidc-provider/github"
HOSTED = Runner(workspace=Path(), is_hosted=True, run_id="4711", repository="octo-org/dags")

INPUT_KEYS = {"INPUT_ACCESS-KEY-ID": "the-id", "INPUT_ACCESS-KEY-SECRET": "the-secret"}
INPUT_ROLE = {"INPUT_ROLE-TO-ASSUME": ROLE, "INPUT_OIDC-PROVIDER-ARN": PROVIDER}
KEYS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "env-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret"}
TOKEN_FILE = {
    "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/pod",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/cluster",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/var/run/token",
}
FILE = {"ALIBABA_CLOUD_CREDENTIALS_FILE": "/github/runner_temp/credentials.ini"}
URI = {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:8080/keys?secret=s3cr3t"}
METADATA = {"ALIBABA_CLOUD_ECS_METADATA": "EcsDeployRole"}


def choose(*environs: dict[str, str], runner: Runner = HOSTED) -> CredentialsSource:
    environ = {name: value for one in environs for name, value in one.items()}
    problems: list[InputProblem] = []
    config = load(Config, environ, problems)
    return find_credentials(config, runner, environ)


def test_each_way_comes_before_those_behind_it() -> None:
    given = [INPUT_KEYS, INPUT_ROLE, KEYS, TOKEN_FILE, FILE, URI, METADATA]

    chosen = [choose(*given[start:]) for start in range(len(given))]

    assert [source.provider for source in chosen] == [
        "",
        "OIDCRoleArnCredentialsProvider",
        "",
        "OIDCRoleArnCredentialsProvider",
        "ProfileCredentialsProvider",
        "URLCredentialsProvider",
        "EcsRamRoleCredentialsProvider",
    ]
    assert [source.origin for source in chosen] == [
        "the inputs access-key-id and access-key-secret (role-to-assume is ignored)",
        "the input role-to-assume (OIDC)",
        "the variables ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "the variables ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN, ALIBABA_CLOUD_OIDC_TOKEN_FILE",
        "the file /github/runner_temp/credentials.ini (ALIBABA_CLOUD_CREDENTIALS_FILE)",
        "the server 127.0.0.1 (ALIBABA_CLOUD_CREDENTIALS_URI)",
        "the ECS instance's RAM role EcsDeployRole",
    ]


def test_no_way_shows_a_secret() -> None:
    for given in (INPUT_KEYS, KEYS, URI):
        shown = repr(choose(given))

        assert not [secret for secret in ("the-id", "the-secret", "env-id", "env-secret", "s3cr3t") if secret in shown]


def test_keys_with_a_security_token() -> None:
    keys = choose(KEYS, {"ALIBABA_CLOUD_SECURITY_TOKEN": " env-token "}).keys

    assert keys
    assert (keys.access_key_id, keys.access_key_secret, keys.security_token) == (
        "env-id",
        "env-secret",
        "env-token",
    )


def test_what_a_role_is_assumed_with() -> None:
    source = choose(INPUT_ROLE, {"INPUT_ROLE-SESSION-EXPIRATION": "900"})

    assert (source.origin, source.identity) == ("the input role-to-assume (OIDC)", f"{ROLE} {PROVIDER}")
    assert (source.audience, source.token_file) == ("sts.aliyuncs.com", "")
    assert source.options == {
        "role_arn": ROLE,
        "oidc_provider_arn": PROVIDER,
        "role_session_name": "github-4711-octo-org-dags",
        "duration_seconds": 900,
        "sts_region_id": "",
        "enable_vpc": False,
    }


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "Neither the inputs nor the environment"),
        (
            {"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"},
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set, but ALIBABA_CLOUD_ACCESS_KEY_ID is",
        ),
        (
            {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "x"},
            "ALIBABA_CLOUD_ACCESS_KEY_ID is not set, but ALIBABA_CLOUD_ACCESS_KEY_SECRET is",
        ),
        (
            {"ALIBABA_CLOUD_ACCESS_KEY_ID": "x", **URI},
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set, but ALIBABA_CLOUD_ACCESS_KEY_ID is",
        ),
        ({"ALIBABA_CLOUD_SECURITY_TOKEN": "x"}, "ALIBABA_CLOUD_ACCESS_KEY_ID is not set, but ALIBABA_CLOUD_SECURITY_TOKEN is"),
        ({"ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/x"}, "ALIBABA_CLOUD_ROLE_ARN is not set, but ALIBABA_CLOUD_OIDC_TOKEN_FILE is"),
        (
            {"ALIBABA_CLOUD_ROLE_ARN": "/x", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "/x", **FILE},
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE is not set, but ALIBABA_CLOUD_ROLE_ARN is",
        ),
        (
            {"ALIBABA_CLOUD_SECURITY_TOKEN": "x", **FILE},
            "ALIBABA_CLOUD_ACCESS_KEY_ID is not set, but ALIBABA_CLOUD_SECURITY_TOKEN is",
        ),
        ({"ALIBABA_CLOUD_CREDENTIALS_URI": "127.0.0.1/keys"}, "ALIBABA_CLOUD_CREDENTIALS_URI is not an http URL"),
        ({"ALIBABA_CLOUD_CREDENTIALS_URI": "http://[bad"}, "ALIBABA_CLOUD_CREDENTIALS_URI is not an http URL"),
        ({**METADATA, "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}, "Neither the inputs nor the environment"),
    ],
)
def test_half_a_way_or_none(environ: dict[str, str], words: str) -> None:
    with pytest.raises(CredentialsError) as error:
        choose(environ)

    assert words in error.value.message


def test_a_role_without_a_token_file_is_for_other_tools() -> None:
    assert choose({"ALIBABA_CLOUD_ROLE_ARN": ROLE}, FILE).provider == "ProfileCredentialsProvider"


def test_files_at_home(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    ini = tmp_path / ".alibabacloud" / "credentials.ini"
    command_line = tmp_path / ".aliyun" / "config.json"
    for file in (ini, command_line):
        file.parent.mkdir()
        file.touch()

    first = choose(home)
    command_line.unlink()
    second = choose(home, {"ALIBABA_CLOUD_PROFILE": "deploy"})

    assert (first.provider, first.origin) == ("CLIProfileCredentialsProvider", "the file ~/.aliyun/config.json")
    assert first.options == {"profile_file": str(command_line), "profile_name": None}
    assert (second.provider, second.origin) == ("ProfileCredentialsProvider", "the file ~/.alibabacloud/credentials.ini")
    assert second.options == {"profile_file": str(ini), "profile_name": "deploy"}


def test_a_runner_of_ones_own_may_be_an_ecs_instance() -> None:
    source = choose(runner=Runner(workspace=Path()))

    assert (source.provider, source.origin) == ("EcsRamRoleCredentialsProvider", "the ECS instance's RAM role")
    assert source.options["role_name"] == ""


@pytest.mark.parametrize(
    ("uri", "used"),
    [
        ("http://h/keys?a=b", "http://h:80/keys?a=b"),
        ("https://h/keys", "https://h:443/keys"),
        ("http://h:8080/keys", "http://h:8080/keys"),
    ],
)
def test_a_server_has_a_port(uri: str, used: str) -> None:
    assert choose({"ALIBABA_CLOUD_CREDENTIALS_URI": uri}).options == {"uri": used}


def test_where_sts_is_called() -> None:
    variables = {"ALIBABA_CLOUD_STS_REGION": "cn-hangzhou", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "TRUE"}

    options = choose(INPUT_ROLE, variables).options

    assert (options["sts_region_id"], options["enable_vpc"]) == ("cn-hangzhou", True)


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("octo-org/dags", "github-4711-octo-org-dags"),
        ("", "github-4711"),
        ("o/" + "x" * 100, "github-4711-o-" + "x" * 50),
    ],
)
def test_session_names(repository: str, name: str) -> None:
    assert make_session_name(Runner(workspace=Path(), run_id="4711", repository=repository)) == name


def test_every_secret_is_listed() -> None:
    environ = {
        **INPUT_KEYS,
        "INPUT_SECURITY-TOKEN": "the-token",
        **KEYS,
        "ALIBABA_CLOUD_SECURITY_TOKEN": "env-token",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "bearer",
        "ALIBABA_CLOUD_CREDENTIALS_URI": "http://h/uri",
        "https_proxy": "http://me:pr%40xy@h:3128",
        "HTTP_PROXY": "http://h:3128",
    }

    assert {secret for secret in list_secrets(environ) if secret} == {
        "the-id",
        "the-secret",
        "the-token",
        "env-id",
        "env-secret",
        "env-token",
        "bearer",
        "http://h/uri",
        "pr%40xy",
        "pr@xy",
    }
