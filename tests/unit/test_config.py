"""What connects a step: endpoints, ids, credentials, and where the result file may lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dms_airflow.config import (
    Config,
    Credentials,
    Runner,
    allows_plain_http,
    check_paths,
    list_secrets,
    parse_endpoint,
    parse_instance_id,
    parse_region,
)
from dms_airflow.errors import CredentialsError, InputProblem
from dms_airflow.inputs import InputValueError, load

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "env-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret"}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("dms-vpc.cn-hangzhou.aliyuncs.com", "https://dms-vpc.cn-hangzhou.aliyuncs.com"),
        ("https://proxy.example.com:8443/", "https://proxy.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://sandbox:8080", "http://sandbox:8080"),
        ("http://10.1.2.3", "http://10.1.2.3"),
        ("HTTP://172.17.0.1:80", "http://172.17.0.1:80"),
    ],
)
def test_endpoints(text: str, url: str) -> None:
    assert parse_endpoint(text).url == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://dms.cn-hangzhou.aliyuncs.com", "use https://"),
        ("http://8.8.8.8", "use https://"),
        ("ftp://10.0.0.1", "host, host:port or a URL"),
        ("https://user:password@host", "host, host:port or a URL"),
        ("https://host/path", "without path"),
        ("https://host?x=1", "without path"),
        ("host:99999", "host:port"),
        ("two words", "host, host:port"),
        ("a\nb", "one line"),
    ],
)
def test_endpoints_refused(text: str, words: str) -> None:
    with pytest.raises(InputValueError) as error:
        parse_endpoint(text)

    assert words in str(error.value)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("[::1]", True),
        ("192.168.1.1", True),
        ("localhost", True),
        ("sandbox", True),
        ("data-cn-hangzhou-dms.aliyuncs.com", False),
        ("8.8.8.8", False),
    ],
)
def test_plain_http_stays_at_home(host: str, *, allowed: bool) -> None:
    assert allows_plain_http(host) is allowed


@pytest.mark.parametrize("text", ["CN-Hangzhou", "cn hangzhou", "cn", "cn-hangzhou.evil.com/"])
def test_regions_refused(text: str) -> None:
    with pytest.raises(InputValueError):
        parse_region(text)


@pytest.mark.parametrize("text", ["1a2b", "af-", "af-1 2", "af-1/../2"])
def test_instance_ids_refused(text: str) -> None:
    with pytest.raises(InputValueError):
        parse_instance_id(text)


def read(**environ: str) -> tuple[Config, list[tuple[str, str]]]:
    problems: list[InputProblem] = []
    config = load(Config, {f"INPUT_{name.upper().replace('_', '-')}": value for name, value in environ.items()}, problems)
    return config, [(problem.name, problem.message) for problem in problems]


def test_the_least_that_is_needed() -> None:
    config, problems = read(region="cn-hangzhou", instance_id="af-1", operation=" dags   list ")

    assert problems == []
    assert config.openapi.url == "https://dms.cn-hangzhou.aliyuncs.com"
    assert config.operation == "dags list"


def test_nothing_given() -> None:
    _, problems = read()

    assert problems == [
        ("instance-id", "is required"),
        ("operation", "is required"),
        ("region", "is required, e.g. cn-hangzhou, unless endpoint is given"),
    ]


def test_half_a_pair() -> None:
    _, problems = read(
        region="cn-hangzhou", instance_id="af-1", operation="version", access_key_id="x", role_to_assume="y", security_token="z"
    )

    assert [name for name, _ in problems] == ["access-key-secret", "oidc-provider-arn"]


def test_secrets_do_not_show() -> None:
    config, _ = read(access_key_id="the-id", access_key_secret="the-secret", security_token="the-token")

    assert "the-" not in repr(config)
    assert "the-" not in repr(Credentials.find(config, {}))


def test_credentials_of_the_inputs_come_first() -> None:
    config, _ = read(access_key_id="the-id", access_key_secret="the-secret")

    found = Credentials.find(config, KEYS)

    assert (found.access_key_id, found.access_key_secret, found.security_token) == ("the-id", "the-secret", "")


def test_credentials_of_the_environment() -> None:
    found = Credentials.find(read()[0], {**KEYS, "ALIBABA_CLOUD_SECURITY_TOKEN": "env-token"})

    assert (found.access_key_id, found.access_key_secret, found.security_token) == ("env-id", "env-secret", "env-token")


@pytest.mark.parametrize("environ", [{}, {"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"}, {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "x"}])
def test_no_whole_credentials(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsError) as error:
        Credentials.find(read()[0], environ)

    assert "secrets" in error.value.hint
    if environ:
        assert "is not set, its partner is" in error.value.message


def test_every_secret_is_listed() -> None:
    environ = {"INPUT_ACCESS-KEY-ID": "a", "INPUT_ACCESS-KEY-SECRET": "b", "INPUT_SECURITY-TOKEN": "c", **KEYS}

    assert {secret for secret in list_secrets(environ) if secret} == {"a", "b", "c", "env-id", "env-secret"}


@pytest.mark.parametrize(
    ("path", "count"), [("out.json", 0), ("a/b.json", 0), ("../x", 1), ("/etc/x", 1), ("link/x", 1), (".", 1), ("dags", 1)]
)
def test_the_result_file_stays_in_the_workspace(workspace: Path, path: str, count: int) -> None:
    assert len(list(check_paths(Runner(workspace=workspace), result_file=path, dags_path=""))) == count


@pytest.mark.parametrize(("path", "count"), [("dags", 0), (".", 0), ("../x", 1), ("/etc", 1), ("link", 1), ("nosuch", 1)])
def test_the_dags_path_is_a_folder_of_the_checkout(workspace: Path, path: str, count: int) -> None:
    assert len(list(check_paths(Runner(workspace=workspace), result_file="", dags_path=path))) == count


def test_absolute_paths_in_the_workspace(workspace: Path) -> None:
    runner = Runner(workspace=workspace)

    assert list(check_paths(runner, result_file=f"{workspace}/x.json", dags_path=f"{workspace}/dags")) == []


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "dags").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    return folder
