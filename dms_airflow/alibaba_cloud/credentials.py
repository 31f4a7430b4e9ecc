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
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dms_airflow.core.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dms_airflow.ci.runner import Runner
    from dms_airflow.config import Config

KEY_VARIABLES = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN")
ROLE_VARIABLES = ("ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE")

# The classes of alibabacloud_credentials.provider that need more than their options.
OIDC = "OIDCRoleArnCredentialsProvider"
ECS = "EcsRamRoleCredentialsProvider"

LONGEST_SESSION_NAME = 64  # characters, STS's limit

HINT_CREDENTIALS = (
    "Give role-to-assume and oidc-provider-arn (no stored keys), or access-key-id and access-key-secret from the secrets of "
    "your CI system; at a terminal, export ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET. GitHub gives no "
    "secrets to pull requests from forks."
)
HINT_STS = (
    "If the response is not from STS, check HTTPS_PROXY and NO_PROXY in the job's environment; else look the code up in the "
    "error codes of STS, API AssumeRoleWithOIDC."
)
HINT_FILE = (
    "Check that the file has this profile (ALIBABA_CLOUD_PROFILE chooses another), and that it is complete. If it names a "
    "role, check that the role exists and trusts the profile's identity (RAM console, Roles → the role → Trust Policy), and "
    "that this identity may call sts:AssumeRole."
)
HINT_URI = (
    "Check that the server runs, and that this machine reaches it; it must answer with Code, AccessKeyId, AccessKeySecret, …"
)
HINT_ECS = "If this machine is an ECS instance, attach a RAM role to it."


@dataclass(frozen=True, kw_only=True)
class Keys:
    """An AccessKey; with a security token, a temporary one. `origin` describes where it comes from."""

    access_key_id: str = field(repr=False)
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False, default="")
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class CredentialsSource:
    """A source of credentials: the keys themselves, or a class of alibabacloud_credentials.provider that gets them.

    `identity` is whose credentials they are, if that is known before: not secret, but not for the log either. `options` are the
    parameters of the class. `token_file` holds the id-token that is exchanged for a role, where it is not the CI system's.
    """

    origin: str
    identity: str = field(repr=False)
    keys: Keys | None = None
    provider: str = ""
    options: Mapping[str, Any] = field(repr=False, default_factory=dict)
    hint: str = HINT_CREDENTIALS
    audience: str = ""
    token_file: str = ""


def find_credentials(config: Config, runner: Runner, environ: Mapping[str, str]) -> CredentialsSource:
    """Choose the source of credentials.

    Raises:
        CredentialsError: None is given, or one is incomplete.
    """
    given = {name: text.strip() for name, text in environ.items()}
    source = (
        _find_keys(config, given)
        or _find_role(config, runner, given)
        or _find_file(given)
        or _find_uri(given)
        or _find_ecs_role(runner, given)
    )
    if source is None:
        raise CredentialsError("Neither the inputs nor the environment have credentials for Alibaba Cloud.", HINT_CREDENTIALS)
    return source


def _find_keys(config: Config, environ: Mapping[str, str]) -> CredentialsSource | None:
    if config.access_key_id:
        ignored = " (role-to-assume is ignored)" if config.role_to_assume else ""
        origin = f"the inputs access-key-id and access-key-secret{ignored}"
        key_id, secret, token = config.access_key_id, config.access_key_secret, config.security_token
    elif not config.role_to_assume and _is_given(environ, KEY_VARIABLES[:2], KEY_VARIABLES[2:]):
        origin = f"the variables {' and '.join(KEY_VARIABLES[:2])}"
        key_id, secret, token = (environ.get(name, "") for name in KEY_VARIABLES)
    else:
        return None
    keys = Keys(access_key_id=key_id, access_key_secret=secret, security_token=token, origin=origin)
    return CredentialsSource(origin=origin, identity=key_id, keys=keys)


def _find_role(config: Config, runner: Runner, environ: Mapping[str, str]) -> CredentialsSource | None:
    if config.role_to_assume:
        origin = "the input role-to-assume (OIDC)"
        role_arn, provider_arn, token_file = config.role_to_assume, config.oidc_provider_arn, ""
    # ALIBABA_CLOUD_ROLE_ARN alone has a meaning for other tools, so it does not count as an incomplete source.
    elif any(environ.get(name, "") for name in ROLE_VARIABLES[1:]) and _is_given(environ, ROLE_VARIABLES):
        origin = f"the variables {', '.join(ROLE_VARIABLES)}"
        role_arn, provider_arn, token_file = (environ[name] for name in ROLE_VARIABLES)
    else:
        return None
    session_name = config.role_session_name or environ.get("ALIBABA_CLOUD_ROLE_SESSION_NAME", "")
    return CredentialsSource(
        origin=origin,
        identity=f"{role_arn} {provider_arn}",
        provider=OIDC,
        options={
            "role_arn": role_arn,
            "oidc_provider_arn": provider_arn,
            "role_session_name": session_name or make_session_name(runner),
            "duration_seconds": config.role_session_expiration,
            # Where STS is called: regional or in a VPC if these variables say so, else at its central host.
            "sts_region_id": environ.get("ALIBABA_CLOUD_STS_REGION", ""),
            "enable_vpc": environ.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "").lower() == "true",
        },
        hint=HINT_STS,
        audience=config.audience,
        token_file=token_file,
    )


def _find_file(environ: Mapping[str, str]) -> CredentialsSource | None:
    named, home = environ.get("ALIBABA_CLOUD_CREDENTIALS_FILE", ""), environ.get("HOME", "")
    files = {Path(home) / name: f"the file ~/{name}" for name in (".aliyun/config.json", ".alibabacloud/credentials.ini")}
    path = Path(named) if named else next((one for one in files if home and one.is_file()), None)
    if path is None:
        return None
    profile = environ.get("ALIBABA_CLOUD_PROFILE", "")
    is_command_line = path.suffix == ".json"
    return CredentialsSource(
        origin=f"the file {named} (ALIBABA_CLOUD_CREDENTIALS_FILE)" if named else files[path],
        identity=f"{path} {profile}",
        provider="CLIProfileCredentialsProvider" if is_command_line else "ProfileCredentialsProvider",
        options={"profile_file": str(path), "profile_name": profile or (None if is_command_line else "default")},
        hint=HINT_FILE,
    )


def _find_uri(environ: Mapping[str, str]) -> CredentialsSource | None:
    uri = environ.get("ALIBABA_CLOUD_CREDENTIALS_URI", "")
    if not uri:
        return None
    try:
        parts = urlsplit(uri)
        # The SDK would write `None` in place of a missing port.
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, LookupError):
        raise CredentialsError(
            "The variable ALIBABA_CLOUD_CREDENTIALS_URI is not an http URL.",
            "Set it to the URL of the server of credentials, or do not set it.",
        ) from None
    return CredentialsSource(
        origin=f"the server {parts.hostname} (ALIBABA_CLOUD_CREDENTIALS_URI)",
        identity=uri,
        provider="URLCredentialsProvider",
        options={"uri": uri if parts.port else parts._replace(netloc=f"{parts.netloc}:{port}").geturl()},
        hint=HINT_URI,
    )


def _find_ecs_role(runner: Runner, environ: Mapping[str, str]) -> CredentialsSource | None:
    name = environ.get("ALIBABA_CLOUD_ECS_METADATA", "")
    # GitHub's own runners are not ECS instances.
    if environ.get("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "").lower() == "true" or (runner.is_hosted and not name):
        return None
    return CredentialsSource(
        origin=f"the ECS instance's RAM role{f' {name}' if name else ''}",
        identity=f"ecs {name}",
        provider=ECS,
        # Nothing is refreshed in the background: the step is over before.
        options={"role_name": name, "async_update_enabled": False},
        # Without a name nobody said that this is an ECS instance.
        hint=HINT_ECS if name else f"{HINT_CREDENTIALS} {HINT_ECS}",
    )


def _is_given(environ: Mapping[str, str], names: tuple[str, ...], optional: tuple[str, ...] = ()) -> bool:
    """Whether variables that belong together are set."""
    given = [name for name in (*names, *optional) if environ.get(name, "")]
    missing = [name for name in names if name not in given]
    if given and missing:
        raise CredentialsError(f"The environment variable {missing[0]} is not set, but {given[0]} is.", HINT_CREDENTIALS)
    return bool(given)


def make_session_name(runner: Runner) -> str:
    """Make a role session name that shows the workflow run in ActionTrail, with characters that STS accepts."""
    name = "-".join(filter(None, (str(runner.system), runner.run_id, runner.repository or runner.job)))
    return re.sub(r"[^A-Za-z0-9.@_-]+", "-", name)[:LONGEST_SESSION_NAME].strip("-")
