"""What every operation shares, read once from the environment."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from dms_airflow.core.errors import InputProblem
from dms_airflow.core.inputs import InputValueError, given, parse_boolean, parse_text, parse_whole_number, quote_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# A host name, an IPv4 address, or an IPv6 address in brackets; then a port.
AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?")
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
_INSTANCE_ID = re.compile(r"af-[A-Za-z0-9_-]+")
# An IPv4 address as one number, which looks like a name without a dot.
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")


def allows_plain_http(host: str) -> bool:
    """Tell whether http, without TLS, is acceptable towards a host: loopback, a private address, a name without a dot."""
    bare = host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return "." not in bare and ":" not in bare and not _NUMBER.fullmatch(bare)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_private


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the OpenAPI listens."""

    scheme: str
    authority: str

    @property
    def url(self) -> str:
        """The endpoint as a URL without a path."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, kw_only=True)
class LoginToken:
    """What CreateAirflowLoginToken gives: the instance's base URL, and a token that works once."""

    host: str
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class KeptSession:
    """A session as a later step of the job may take it up."""

    host: str
    cookie: str = field(repr=False)
    bearer: str = field(default="", repr=False)
    """What goes along as a bearer token, where something does."""
    version: str = ""
    """Airflow's, as far as it is known."""


def parse_endpoint(text: str) -> Endpoint:
    """Read `host`, `host:port` or a URL without path."""
    word = parse_text(text)
    scheme, separator, rest = word.partition("://")
    if not separator:
        scheme, rest = "https", word
    authority = rest.removesuffix("/")
    match = AUTHORITY.fullmatch(authority)
    if scheme.lower() not in ("http", "https") or not match or int(match["port"] or 443) > 65535:  # noqa: PLR2004
        raise InputValueError(f"must be host, host:port or a URL without path, not {quote_value(word)}")
    if scheme.lower() == "http" and not allows_plain_http(match["host"]):
        raise InputValueError(
            f"http:// is for loopback and private addresses and host names without a dot; use https:// for {match['host']}"
        )
    return Endpoint(scheme=scheme.lower(), authority=authority)


def parse_region(text: str) -> str:
    """Read a region id."""
    word = parse_text(text)
    if not _REGION.fullmatch(word):
        raise InputValueError(f"must be a region id such as cn-hangzhou, not {quote_value(word)}")
    return word


def parse_instance_id(text: str) -> str:
    """Read an Airflow instance's id."""
    word = parse_text(text)
    if not _INSTANCE_ID.fullmatch(word):
        raise InputValueError(f"must be an Airflow instance id such as af-1a2b3c, not {quote_value(word)}")
    return word


def parse_arn(kind: str) -> Callable[[str], str]:
    """Read the ARN of a RAM role or of an OIDC identity provider.

    https://github.com/aliyun/configure-aliyun-credentials-action#inputs
    """

    def parse(text: str) -> str:
        word = parse_text(text)
        if not re.fullmatch(rf"acs:ram::[0-9]+:{kind}/\S+", word):
            raise InputValueError(f"must be an ARN such as acs:ram::1234567890123456:{kind}/github, not {quote_value(word)}")
        return word

    return parse


def parse_session_name(text: str) -> str:
    """Read the name of a role session.

    https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc
    """
    word = parse_text(text)
    if not re.fullmatch(r"[A-Za-z0-9.@_-]{2,64}", word):
        raise InputValueError(f"must be 2 to 64 letters, digits, dots, hyphens, underscores or @, not {quote_value(word)}")
    return word


def parse_operation(text: str) -> str:
    """Read an operation's name; blanks between its words count once."""
    return " ".join(parse_text(text).split())


@dataclass(frozen=True, kw_only=True)
class Config:
    """The inputs that do not depend on the operation."""

    region: str = given(parse_region, default="")
    instance_id: str = given(parse_instance_id, required=True, default="")
    endpoint: Endpoint | None = given(parse_endpoint)
    access_key_id: str = given(parse_text, default="", secret=True)
    access_key_secret: str = given(parse_text, default="", secret=True)
    security_token: str = given(parse_text, default="", secret=True)
    role_to_assume: str = given(parse_arn("role"), default="")
    oidc_provider_arn: str = given(parse_arn("oidc-provider"), default="")
    audience: str = given(parse_text, default="sts.aliyuncs.com")
    role_session_name: str = given(parse_session_name, default="")
    role_session_expiration: int = given(parse_whole_number(900, 43200), default=3600)
    operation: str = given(parse_operation, required=True, default="")
    reuse_session: bool = given(parse_boolean, default=False)
    summary: bool = given(parse_boolean, default=True)
    annotations: bool = given(parse_boolean, default=True)
    result_file: str = given(parse_text, default="")

    def check(self) -> Iterator[InputProblem]:
        """Name the combinations that cannot be."""
        if not self.region and not self.endpoint:
            message = "is required, e.g. cn-hangzhou, unless endpoint is given"
            yield InputProblem(name="region", message=message, unless=("endpoint",))
        pairs = (("access_key_id", "access_key_secret"), ("role_to_assume", "oidc_provider_arn"))
        for one, other in (*pairs, *(pair[::-1] for pair in pairs)):
            if getattr(self, one) and not getattr(self, other):
                missing, present = other.replace("_", "-"), one.replace("_", "-")
                yield InputProblem(name=missing, message=f"is required when {present} is given; a missing secret is empty")
        if self.security_token and not self.access_key_id:
            yield InputProblem(name="access-key-id", message="is required when security-token is given")
        if self.role_session_name and not self.role_to_assume and not self.oidc_provider_arn:
            yield InputProblem(name="role-to-assume", message="is required when role-session-name is given")

    @property
    def openapi(self) -> Endpoint:
        """The OpenAPI endpoint: the author's, else the region's."""
        return self.endpoint or Endpoint(scheme="https", authority=f"dms.{self.region}.aliyuncs.com")


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What the step knows of the runner around it. Outside of one, the paths are None.

    `is_hosted`: it is one of GitHub's own. `id_token_url`, `id_token_bearer`: where and by what the job gets its id-token;
    empty without the permission.

    https://docs.github.com/actions/reference/workflows-and-actions/variables
    """

    workspace: Path
    output_file: Path | None = None
    summary_file: Path | None = None
    event_file: Path | None = None
    server_url: str = "https://github.com"
    repository: str = ""
    sha: str = ""
    run_id: str = "local"
    run_attempt: str = "1"
    job: str = "local"
    step: str = "step"
    debug: bool = False
    is_hosted: bool = False
    event_name: str = ""
    temp: Path | None = None
    id_token_url: str = ""
    id_token_bearer: str = field(repr=False, default="")
    ca_bundle: str = ""

    def name_page(self, file: str | None, line: int | None) -> str:
        """Name the page of a file, and of a line of it, at this commit on GitHub; empty where there is none."""
        if not (file and self.repository and self.sha):
            return ""
        page = f"{self.server_url}/{self.repository}/blob/{self.sha}/{quote(file, errors='replace')}"
        return f"{page}#L{line}" if line else page

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the runner's variables."""

        def path(name: str) -> Path | None:
            return Path(environ[name]) if environ.get(name) else None

        # The order in which requests itself looks, which takes a file that is not there for a fault; then Python's own
        # variable, where it is none.
        named = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or ""
        file = environ.get("SSL_CERT_FILE", "")
        return cls(
            workspace=path("GITHUB_WORKSPACE") or Path.cwd(),
            output_file=path("GITHUB_OUTPUT"),
            summary_file=path("GITHUB_STEP_SUMMARY"),
            event_file=path("GITHUB_EVENT_PATH"),
            server_url=environ.get("GITHUB_SERVER_URL") or "https://github.com",
            repository=environ.get("GITHUB_REPOSITORY", ""),
            sha=environ.get("GITHUB_SHA", ""),
            run_id=environ.get("GITHUB_RUN_ID") or "local",
            run_attempt=environ.get("GITHUB_RUN_ATTEMPT") or "1",
            job=environ.get("GITHUB_JOB") or "local",
            step=environ.get("GITHUB_ACTION") or "step",
            debug=environ.get("RUNNER_DEBUG") == "1",
            is_hosted=environ.get("RUNNER_ENVIRONMENT") == "github-hosted",
            event_name=environ.get("GITHUB_EVENT_NAME", ""),
            temp=path("RUNNER_TEMP"),
            id_token_url=environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", ""),
            id_token_bearer=environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", ""),
            ca_bundle=named or (file if file and Path(file).exists() else ""),
        )


def check_paths(runner: Runner, *, result_file: str, dags_path: str) -> Iterator[InputProblem]:
    """What the inputs name lies in the workspace, also when links are followed."""
    root = runner.workspace.resolve()
    if result_file:
        path = _resolve(root, result_file)
        if path is None or path == root or path.is_dir():
            message = f"must be a file inside the workspace, not {quote_value(result_file)}"
            yield InputProblem(name="result-file", message=message)
    if dags_path:
        path = _resolve(root, dags_path)
        if path is None or not path.is_dir():
            yield InputProblem(name="dags-path", message=f"must be a folder of the checkout, not {quote_value(dags_path)}")


def _resolve(root: Path, name: str) -> Path | None:
    """Follow a path from the workspace; None when it leads out of it, or round in a circle."""
    try:
        path = (root / name).resolve()
        path.stat() if path.is_symlink() else None
    except (OSError, RuntimeError, ValueError):
        return None
    return path if path.is_relative_to(root) else None
