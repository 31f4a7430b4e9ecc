"""Where the credentials for Alibaba Cloud come from: chosen by what is given, before anything is sent.

The first of these that is given is used. If it fails, the step fails; no other source is tried:

1. the inputs `access-key-id` and `access-key-secret`
2. the inputs `role-to-assume` and `oidc-provider-arn`
3. `ALIBABA_CLOUD_ACCESS_KEY_ID` and `ALIBABA_CLOUD_ACCESS_KEY_SECRET`, which the ecosystem's credentials action sets too
4. `ALIBABA_CLOUD_ROLE_ARN`, `ALIBABA_CLOUD_OIDC_PROVIDER_ARN` and `ALIBABA_CLOUD_OIDC_TOKEN_FILE`
5. a credentials file: `ALIBABA_CLOUD_CREDENTIALS_FILE`, `~/.aliyun/config.json`, `~/.alibabacloud/credentials.ini`
6. `ALIBABA_CLOUD_CREDENTIALS_URI`
7. the RAM role of the ECS instance that the runner is

https://help.aliyun.com/zh/sdk/developer-reference/v2-manage-python-access-credentials
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dms_airflow.alibaba_cloud.hosts import find_sts_host
from dms_airflow.core.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dms_airflow.ci.runner import Runner
    from dms_airflow.config import Config

KEY_VARIABLES = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN")
ROLE_VARIABLES = ("ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE")

LONGEST_SESSION_NAME = 64  # characters, STS's limit

HINT_CREDENTIALS = (
    "Give role-to-assume and oidc-provider-arn (no stored keys), or access-key-id and access-key-secret from the secrets of "
    "your CI system; at a terminal, export ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET. GitHub gives no "
    "secrets to pull requests from forks."
)


@dataclass(frozen=True, kw_only=True)
class Keys:
    """An AccessKey; with a security token, a temporary one. `origin` describes where it comes from."""

    access_key_id: str = field(repr=False)
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False, default="")
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class CredentialsSource:
    """A source of credentials.

    Args:
        origin: Where they come from, in words for the log.
        identity: Whose credentials they are, if that is known before; not secret, but not for the log either.
    """

    origin: str
    identity: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class GivenKeys(CredentialsSource):
    """The keys themselves."""

    keys: Keys


@dataclass(frozen=True, kw_only=True)
class OidcRole(CredentialsSource):
    """A RAM role, for a token of an OIDC identity provider.

    Args:
        role_arn: The role.
        provider_arn: The identity provider, as RAM knows it.
        session_name: What ActionTrail calls the session.
        duration: Seconds that the session lasts.
        sts_host: Host of the regional or central STS.
        audience: The audience of the id-token.
        token_file: Holds the token, where it is not GitHub's.
    """

    role_arn: str
    provider_arn: str
    session_name: str
    duration: int
    sts_host: str
    audience: str = ""
    token_file: str = ""


@dataclass(frozen=True, kw_only=True)
class ProfileFile(CredentialsSource):
    """A file with profiles: of the SDKs (.ini) or of the command line `aliyun` (.json)."""

    path: Path
    profile: str


@dataclass(frozen=True, kw_only=True)
class CredentialsUri(CredentialsSource):
    """A server of credentials. The URI may contain a secret."""

    uri: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class EcsRole(CredentialsSource):
    """The RAM role of the ECS instance; without a name, the metadata server knows it."""

    role_name: str
    needs_token: bool


def find_credentials(config: Config, runner: Runner, environ: Mapping[str, str]) -> CredentialsSource:
    """Choose the source of credentials.

    Raises:
        CredentialsError: None is given, or one is incomplete.
    """
    given = {name: text.strip() for name, text in environ.items()}
    source = (
        _find_given_keys(config)
        or _find_given_role(config, runner, given)
        or _find_keys(given)
        or _find_role(config, runner, given)
        or _find_file(given)
        or _find_uri(given)
        or _find_ecs_role(runner, given)
    )
    if source is None:
        raise CredentialsError("Neither the inputs nor the environment have credentials for Alibaba Cloud.", HINT_CREDENTIALS)
    return source


def _find_given_keys(config: Config) -> CredentialsSource | None:
    if not config.access_key_id:
        return None
    beside = " (role-to-assume is ignored)" if config.role_to_assume else ""
    origin = f"the inputs access-key-id and access-key-secret{beside}"
    return _take_keys(origin, config.access_key_id, config.access_key_secret, config.security_token)


def _find_given_role(config: Config, runner: Runner, environ: Mapping[str, str]) -> CredentialsSource | None:
    if not config.role_to_assume:
        return None
    return OidcRole(
        origin="the input role-to-assume (OIDC)",
        identity=f"{config.role_to_assume} {config.oidc_provider_arn}",
        role_arn=config.role_to_assume,
        provider_arn=config.oidc_provider_arn,
        session_name=config.role_session_name or make_session_name(runner),
        duration=config.role_session_expiration,
        sts_host=find_sts_host(environ),
        audience=config.audience,
    )


def _find_keys(environ: Mapping[str, str]) -> CredentialsSource | None:
    if not _is_given(KEY_VARIABLES[:2], environ):
        if environ.get(KEY_VARIABLES[2], ""):
            raise CredentialsError(f"{KEY_VARIABLES[2]} is set, but its AccessKey is not.", HINT_CREDENTIALS)
        return None
    return _take_keys(f"the variables {_join(KEY_VARIABLES[:2])}", *(environ.get(name, "") for name in KEY_VARIABLES))


def _take_keys(origin: str, access_key_id: str, access_key_secret: str, security_token: str) -> GivenKeys:
    keys = Keys(access_key_id=access_key_id, access_key_secret=access_key_secret, security_token=security_token)
    return GivenKeys(origin=origin, identity=access_key_id, keys=keys)


def _find_role(config: Config, runner: Runner, environ: Mapping[str, str]) -> CredentialsSource | None:
    # ALIBABA_CLOUD_ROLE_ARN alone has a meaning for other tools, so it does not count as an incomplete source.
    if not any(environ.get(name, "") for name in ROLE_VARIABLES[1:]) or not _is_given(ROLE_VARIABLES, environ):
        return None
    role_arn, provider_arn, token_file = (environ[name] for name in ROLE_VARIABLES)
    return OidcRole(
        origin=f"the variables {_join(ROLE_VARIABLES)}",
        identity=f"{role_arn} {provider_arn}",
        role_arn=role_arn,
        provider_arn=provider_arn,
        session_name=environ.get("ALIBABA_CLOUD_ROLE_SESSION_NAME", "") or make_session_name(runner),
        duration=config.role_session_expiration,
        sts_host=find_sts_host(environ),
        token_file=token_file,
    )


def _find_file(environ: Mapping[str, str]) -> CredentialsSource | None:
    profile = environ.get("ALIBABA_CLOUD_PROFILE", "")
    named = environ.get("ALIBABA_CLOUD_CREDENTIALS_FILE", "")
    if named:
        origin = f"the file {named} (ALIBABA_CLOUD_CREDENTIALS_FILE)"
        return ProfileFile(origin=origin, identity=f"{named} {profile}", path=Path(named), profile=profile)
    home = environ.get("HOME", "")
    for name in (".aliyun/config.json", ".alibabacloud/credentials.ini") if home else ():
        path = Path(home) / name
        switched_off = environ.get("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "").lower() == "true" and path.suffix == ".json"
        if path.is_file() and not switched_off:
            return ProfileFile(origin=f"the file ~/{name}", identity=f"{path} {profile}", path=path, profile=profile)
    return None


def _find_uri(environ: Mapping[str, str]) -> CredentialsSource | None:
    uri = environ.get("ALIBABA_CLOUD_CREDENTIALS_URI", "")
    if not uri:
        return None
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    if not host or not re.match("https?://", uri):
        raise CredentialsError(
            "The variable ALIBABA_CLOUD_CREDENTIALS_URI is not an http URL.",
            "Set it to the URL of the server of credentials, or do not set it.",
        )
    return CredentialsUri(origin=f"the server {host} (ALIBABA_CLOUD_CREDENTIALS_URI)", identity=uri, uri=uri)


def _find_ecs_role(runner: Runner, environ: Mapping[str, str]) -> CredentialsSource | None:
    name = environ.get("ALIBABA_CLOUD_ECS_METADATA", "")
    # GitHub's own runners are not ECS instances.
    if environ.get("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "").lower() == "true" or (runner.is_hosted and not name):
        return None
    origin = f"the ECS instance's RAM role{f' {name}' if name else ''}"
    needs_token = environ.get("ALIBABA_CLOUD_IMDSV1_DISABLED", "").lower() == "true"
    return EcsRole(origin=origin, identity=f"ecs {name}", role_name=name, needs_token=needs_token)


def _is_given(names: tuple[str, ...], environ: Mapping[str, str]) -> bool:
    missing = [name for name in names if not environ.get(name, "")]
    if missing and len(missing) < len(names):
        what = "is not set, but its partner is" if len(names) == 2 else "is not set, but others that belong to it are"  # noqa: PLR2004
        raise CredentialsError(f"The environment variable {missing[0]} {what}.", HINT_CREDENTIALS)
    return not missing


def _join(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def make_session_name(runner: Runner) -> str:
    """Make a role session name that shows the workflow run in ActionTrail, with characters that STS accepts."""
    name = "-".join(filter(None, (str(runner.system), runner.run_id, runner.repository)))
    return re.sub(r"[^A-Za-z0-9.@_-]+", "-", name)[:LONGEST_SESSION_NAME].strip("-")
