"""Obtains keys by the credentials SDK: from a profile, a server of credentials, or an ECS instance.

https://help.aliyun.com/zh/sdk/developer-reference/v2-manage-python-access-credentials
The SDK's providers are used one by one, never as its default chain: the last one of that tries the ECS metadata address, which
takes seconds where there is none. As in login_token.py the SDK is imported only when it is needed.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies

from dms_airflow.alibaba_cloud.credentials import (
    HINT_CREDENTIALS,
    CredentialsSource,
    CredentialsUri,
    EcsRole,
    GivenKeys,
    Keys,
    OidcRole,
    ProfileFile,
)
from dms_airflow.alibaba_cloud.sdk import (
    attempt,
    explain_network_failure,
    fetch_keys,
    guard_sdk,
    stub_imports,
    trust_authorities,
)
from dms_airflow.core.errors import CredentialsError
from dms_airflow.core.http.retry import is_transient_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from dms_airflow.core.clock import Clock

METADATA_HOST = "100.100.100.200"
# On an ECS instance the metadata server answers within milliseconds; elsewhere nothing answers.
METADATA_TIMEOUT = 0.5  # seconds

_NOTHING_GIVEN = "Neither the inputs nor the environment have credentials for Alibaba Cloud"

HINT_FILE = "Check that the file has this profile, and that the profile is complete (ALIBABA_CLOUD_PROFILE chooses another)."
HINT_PROFILE_ROLE = (
    "The profile names a role, and STS gave no keys for it: check that the role exists and trusts the profile's identity (RAM "
    "console, Roles → the role → Trust Policy), and that this identity may call sts:AssumeRole. After 429 or 5xx run again."
)
HINT_URI = (
    "Check that the server runs, and that this machine reaches it; it must answer with Code, AccessKeyId, AccessKeySecret, …"
)
HINT_ECS = "If this machine is an ECS instance, attach a RAM role to it."


def is_reachable(host: str, port: int = 80) -> bool:
    """Whether a host accepts a connection within METADATA_TIMEOUT."""
    try:
        with socket.create_connection((host, port), METADATA_TIMEOUT):
            return True
    except OSError:
        return False


def obtain_keys(
    source: CredentialsSource,
    *,
    assume_role: Callable[[OidcRole], Keys],
    ca_bundle: str,
    clock: Clock,
    probe: Callable[[str], bool] = is_reachable,
) -> Keys:
    """Obtain keys from a source of credentials.

    Args:
        source: As chosen.
        assume_role: Exchanges a token for a role at STS.
        ca_bundle: Certificate authorities to trust in place of certifi's.
        clock: For time limits.
        probe: Whether the metadata server accepts connections.

    Raises:
        ActionError: It has none.
    """
    match source:
        case GivenKeys():
            return source.keys
        case OidcRole():
            return assume_role(source)
        case ProfileFile():
            return _read_profile(source, ca_bundle, clock)
        case CredentialsUri():
            return _fetch_from_server(source, ca_bundle, clock)
        case EcsRole():
            return _fetch_from_instance(source, probe, clock)
    raise TypeError(f"unknown source of credentials: {type(source).__name__}")


def _read_profile(source: ProfileFile, ca_bundle: str, clock: Clock) -> Keys:
    with stub_imports():
        from alibabacloud_credentials import provider  # noqa: PLC0415 - see the module's docstring

    def read() -> Any:
        path = str(source.path)
        if source.path.suffix == ".json":
            reader = provider.CLIProfileCredentialsProvider(profile_file=path, profile_name=source.profile or None)
        else:
            reader = provider.ProfileCredentialsProvider(profile_file=path, profile_name=source.profile or "default")
        choose = reader._get_credentials_provider  # noqa: SLF001 - nothing public returns it

        def choose_trusting(*arguments: Any) -> Any:
            """A profile may name a role, and that role another profile: each calls STS by a provider of its own."""
            chosen = choose(*arguments)
            trust_authorities(chosen, ca_bundle)
            return chosen

        reader._get_credentials_provider = choose_trusting  # noqa: SLF001 - as above
        return reader

    profile = f"profile {source.profile}" if source.profile else "its default profile"
    origin = f"{source.origin[0].upper()}{source.origin[1:]}, {profile}"
    # Only where a profile names a role a server answers: STS.
    return _fetch(read, clock, ca_bundle, origin, hint=HINT_FILE, hint_by_status=HINT_PROFILE_ROLE)


def _fetch_from_server(source: CredentialsUri, ca_bundle: str, clock: Clock) -> Keys:
    with stub_imports():
        from alibabacloud_credentials.provider import URLCredentialsProvider  # noqa: PLC0415 - see the module's docstring

    origin = f"The server {urlsplit(source.uri).hostname}"
    return _fetch(lambda: URLCredentialsProvider(uri=_add_port(source.uri)), clock, ca_bundle, origin, hint=HINT_URI)


def _add_port(uri: str) -> str:
    """Add the port to a URI without one: the SDK would write `None` there."""
    parts = urlsplit(uri)
    if parts.port is not None:
        return uri
    return parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}").geturl()


def _fetch_from_instance(source: EcsRole, probe: Callable[[str], bool], clock: Clock) -> Keys:
    url = f"http://{METADATA_HOST}"
    # With a proxy, only a request through it shows whether the server is there.
    if not get_environ_proxies(url) and not probe(METADATA_HOST):
        named = f"ALIBABA_CLOUD_ECS_METADATA names the RAM role {source.role_name}, but"
        given = named if source.role_name else f"{_NOTHING_GIVEN}, and"
        raise CredentialsError(f"{given} this machine is not an ECS instance.", HINT_CREDENTIALS)
    with stub_imports():
        from alibabacloud_credentials.provider import EcsRamRoleCredentialsProvider  # noqa: PLC0415 - see the module's docstring

    def make() -> Any:
        # Nothing is refreshed in the background: the step is over before.
        provider = EcsRamRoleCredentialsProvider(
            role_name=source.role_name, disable_imds_v1=source.needs_token, async_update_enabled=False
        )
        # A server that gave a token would refuse a request without one, and that answer would hide what went wrong.
        provider._should_fallback_to_imds_v1 = lambda _: False  # noqa: SLF001 - nothing else chooses it
        return provider

    server = "the ECS instance's metadata server"
    # Without a name nobody said that this is an ECS instance.
    origin = f"T{server[1:]}" if source.role_name else f"{_NOTHING_GIVEN}, and {server}"
    return _fetch(make, clock, "", origin, hint=HINT_ECS if source.role_name else f"{HINT_CREDENTIALS} {HINT_ECS}")


def _fetch(make: Callable[[], Any], clock: Clock, ca_bundle: str, origin: str, *, hint: str, hint_by_status: str = "") -> Keys:
    """Fetch keys by a provider of the SDK. What it raises may hold secrets, so that only the kind of failure is shown.

    Args:
        make: Makes the provider.
        clock: For time limits.
        ca_bundle: Certificate authorities to trust in place of certifi's.
        origin: Where the credentials come from, at the beginning of a sentence.
        hint: What to do.
        hint_by_status: What to do when a server answered with an error; empty for `hint`.
    """
    with guard_sdk(clock) as last:
        keys, error = attempt(lambda: fetch_keys(make(), ca_bundle))
    if keys and keys.access_key_id and keys.access_key_secret:
        return keys
    if keys:
        raise CredentialsError(f"{origin} gave credentials without an AccessKey id or secret.", hint)
    failed, is_transient = f"{origin} gave no credentials", False
    text = str(getattr(error, "message", ""))
    if fault := explain_network_failure(last, "The request for credentials"):
        message, hint, is_transient = f"{failed}: {fault.message}", fault.hint, fault.is_transient
    elif status := re.search(r"(?:http_code|HttpCode)[=:] ?(\d+)", text):
        code = re.search(r'"Code": ?"([\w.]{1,100})"', text)
        message = f"{failed} (it answered {status[1]}{f', {code[1]}' if code else ''})."
        hint, is_transient = hint_by_status or hint, is_transient_status(int(status[1]))
    else:
        message = f"{failed}."
    raise CredentialsError(message, hint, is_transient=is_transient, retry_after=last.retry_after)
