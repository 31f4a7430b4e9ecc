"""What connects a step: endpoints, ids, credentials, and where the result file may lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dms_airflow.ci.runner import Runner
from dms_airflow.config import Config, check_paths, parse_endpoint, parse_instance_id, parse_region
from dms_airflow.core.errors import InputProblem
from dms_airflow.core.http.urls import allows_plain_http
from dms_airflow.core.inputs import InputValueError, load

if TYPE_CHECKING:
    from pathlib import Path


ROLE = "acs:ram::1234567890123456:role/github-deploy"
PROVIDER = "acs:ram::1234567890123456:oidc-provider/github"


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
        ("10.1.2.3", True),
        ("172.31.255.255", True),
        ("[fd00::1]", True),
        ("[::ffff:10.0.0.1]", True),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("0.0.0.0", False),
        ("240.0.0.1", False),
        ("192.0.2.1", False),
        ("[fe80::1]", False),
        ("[::]", False),
        ("172.32.0.1", False),
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
        region="cn-hangzhou",
        instance_id="af-1",
        operation="version",
        access_key_id="x",
        role_to_assume=ROLE,
        security_token="z",
    )

    assert [name for name, _ in problems] == ["access-key-secret", "oidc-provider-arn"]


@pytest.mark.parametrize(
    ("inputs", "problems"),
    [
        ({"role_to_assume": "github-deploy", "oidc_provider_arn": PROVIDER}, ["role-to-assume"]),
        ({"role_to_assume": PROVIDER, "oidc_provider_arn": ROLE}, ["role-to-assume", "oidc-provider-arn"]),
        ({"role_to_assume": "acs:ram::1234:role/two words", "oidc_provider_arn": PROVIDER}, ["role-to-assume"]),
        ({"oidc_provider_arn": PROVIDER}, ["role-to-assume"]),
        ({"role_session_name": "x1"}, ["role-to-assume"]),
        ({"role_to_assume": ROLE, "oidc_provider_arn": PROVIDER, "role_session_name": "x"}, ["role-session-name"]),
        ({"role_to_assume": ROLE, "oidc_provider_arn": PROVIDER, "role_session_name": "a/b"}, ["role-session-name"]),
        (
            {"role_to_assume": ROLE, "oidc_provider_arn": PROVIDER, "role_session_expiration": "899"},
            ["role-session-expiration"],
        ),
        (
            {"role_to_assume": ROLE, "oidc_provider_arn": PROVIDER, "role_session_expiration": "43201"},
            ["role-session-expiration"],
        ),
        ({"role_to_assume": ROLE, "oidc_provider_arn": PROVIDER, "role_session_expiration": "43200"}, []),
        ({"security_token": "z"}, ["access-key-id"]),
    ],
)
def test_roles_refused(inputs: dict[str, str], problems: list[str]) -> None:
    _, found = read(region="cn-hangzhou", instance_id="af-1", operation="version", **inputs)

    assert [name for name, _ in found] == problems


def test_secrets_do_not_show() -> None:
    config, _ = read(access_key_id="the-id", access_key_secret="the-secret", security_token="the-token")

    assert "the-" not in repr(config)


@pytest.mark.parametrize(
    ("path", "count"), [("out.json", 0), ("a/b.json", 0), ("../x", 1), ("/etc/x", 1), ("link/x", 1), (".", 1), ("dags", 1)]
)
def test_the_result_file_stays_in_the_workspace(workspace: Path, path: str, count: int) -> None:
    assert len(list(check_paths(Runner(workspace=workspace), files={"sarif-file": path}, dags_path=""))) == count


@pytest.mark.parametrize(("path", "count"), [("dags", 0), (".", 0), ("../x", 1), ("/etc", 1), ("link", 1), ("nosuch", 1)])
def test_the_dags_path_is_a_folder_of_the_checkout(workspace: Path, path: str, count: int) -> None:
    assert len(list(check_paths(Runner(workspace=workspace), files={}, dags_path=path))) == count


def test_two_files_cannot_be_one(workspace: Path) -> None:
    files = {"result-file": "a/../x.json", "sarif-file": "x.json", "junit-file": "x.xml"}

    problems = list(check_paths(Runner(workspace=workspace), files=files, dags_path=""))

    assert problems == [InputProblem("sarif-file", 'is the same file as result-file: "x.json"')]


def test_absolute_paths_in_the_workspace(workspace: Path) -> None:
    runner = Runner(workspace=workspace)

    assert list(check_paths(runner, files={"result-file": f"{workspace}/x.json"}, dags_path=f"{workspace}/dags")) == []


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "dags").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    return folder
