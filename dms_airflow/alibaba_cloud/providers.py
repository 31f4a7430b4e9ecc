"""A way to credentials → keys, by the credentials SDK: a profile, a server of credentials, an ECS instance.

https://help.aliyun.com/zh/sdk/developer-reference/v2-manage-python-access-credentials
The SDK's providers are taken one by one, never as its default chain: that one asks the ECS metadata address last, which takes
seconds where there is none. As in dms.py the SDK is imported only when it is needed.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies

from dms_airflow.alibaba_cloud.credentials import (
    HINT_CREDENTIALS,
    CredentialsUri,
    EcsRole,
    GivenKeys,
    Keys,
    OidcRole,
    ProfileFile,
    Way,
)
from dms_airflow.alibaba_cloud.sdk import ask_provider, name_network_failure, spare_imports, tame, trust
from dms_airflow.core.errors import ActionError, CredentialsError
from dms_airflow.core.http.retry import may_pass

if TYPE_CHECKING:
    from collections.abc import Callable

    from dms_airflow.core.clock import Clock

METADATA_HOST = "100.100.100.200"
# On an ECS instance the metadata server answers within milliseconds; elsewhere nobody does.
METADATA_PATIENCE = 0.5  # seconds

_NOTHING_GIVEN = "Neither inputs nor environment hold credentials for Alibaba Cloud"

HINT_FILE = "Check that the file has this profile, and that it is whole (ALIBABA_CLOUD_PROFILE chooses another)."
HINT_PROFILE_ROLE = (
    "The profile names a role, and STS gave no keys for it: check that the role exists and trusts the profile's identity (RAM "
    "console, Roles → the role → Trust Policy), and that this identity may call sts:AssumeRole. After 429 or 5xx run again."
)
HINT_URI = (
    "Check that the server runs, and that the runner reaches it; it must answer with Code, AccessKeyId, AccessKeySecret, …"
)
HINT_ECS = "If the runner is an ECS instance, attach a RAM role to it."


def is_reachable(host: str, port: int = 80) -> bool:
    """Tell whether a host takes a connection within METADATA_PATIENCE."""
    try:
        with socket.create_connection((host, port), METADATA_PATIENCE):
            return True
    except OSError:
        return False


def obtain_keys(
    way: Way,
    *,
    assume_role: Callable[[OidcRole], Keys],
    ca_bundle: str,
    clock: Clock,
    probe: Callable[[str], bool] = is_reachable,
) -> Keys:
    """Go the way to credentials.

    Args:
        way: As chosen.
        assume_role: Exchanges a token for a role at STS.
        ca_bundle: Certificate authorities to trust in place of certifi's.
        clock: For time limits.
        probe: Tells whether the metadata server is there.

    Raises:
        ActionError: There are none at its end.
    """
    match way:
        case GivenKeys():
            return way.keys
        case OidcRole():
            return assume_role(way)
        case ProfileFile():
            return _read_profile(way, ca_bundle, clock)
        case CredentialsUri():
            return _ask_server(way, ca_bundle, clock)
        case EcsRole():
            return _ask_instance(way, probe, clock)
    raise TypeError(f"no way to credentials: {type(way).__name__}")


def _read_profile(way: ProfileFile, ca_bundle: str, clock: Clock) -> Keys:
    with spare_imports():
        from alibabacloud_credentials import provider  # noqa: PLC0415 - see the module's docstring

    def read() -> Any:
        if way.is_of_command_line:
            reader = provider.CLIProfileCredentialsProvider(profile_file=str(way.path), profile_name=way.profile or None)
        else:
            reader = provider.ProfileCredentialsProvider(profile_file=str(way.path), profile_name=way.profile or "default")
        choose = reader._get_credentials_provider  # noqa: SLF001 - what it gives has no other way out

        def choose_trusting(*told: Any) -> Any:
            """A profile may name a role, and that role another profile: each asks STS by a provider of its own."""
            chosen = choose(*told)
            trust(chosen, ca_bundle)
            return chosen

        reader._get_credentials_provider = choose_trusting  # noqa: SLF001 - as above
        return reader

    profile = f"profile {way.profile}" if way.profile else "its default profile"
    return _ask(read, clock, ca_bundle, f"{way.origin[0].upper()}{way.origin[1:]}, {profile}", HINT_FILE)


def _ask_server(way: CredentialsUri, ca_bundle: str, clock: Clock) -> Keys:
    with spare_imports():
        from alibabacloud_credentials.provider import URLCredentialsProvider  # noqa: PLC0415 - see the module's docstring

    who = f"The server {urlsplit(way.uri).hostname}"
    return _ask(lambda: URLCredentialsProvider(uri=_name_port(way.uri)), clock, ca_bundle, who, HINT_URI)


def _name_port(uri: str) -> str:
    """Write the port into a URI that names none: the SDK would write `None` there."""
    parts = urlsplit(uri)
    if parts.port is not None:
        return uri
    return parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}").geturl()


def _ask_instance(way: EcsRole, probe: Callable[[str], bool], clock: Clock) -> Keys:
    url = f"http://{METADATA_HOST}"
    # Behind a proxy only the proxy can tell.
    if not get_environ_proxies(url) and not probe(METADATA_HOST):
        given = (
            f"ALIBABA_CLOUD_ECS_METADATA names the RAM role {way.role_name}, but" if way.role_name else f"{_NOTHING_GIVEN}, and"
        )
        raise CredentialsError(f"{given} this runner is no ECS instance.", HINT_CREDENTIALS)
    with spare_imports():
        from alibabacloud_credentials.provider import EcsRamRoleCredentialsProvider  # noqa: PLC0415 - see the module's docstring

    def make() -> Any:
        # Nothing is refreshed in the background: the step is over before.
        provider = EcsRamRoleCredentialsProvider(
            role_name=way.role_name, disable_imds_v1=way.needs_token, async_update_enabled=False
        )
        # A server that gave a token would refuse a request without one, and that answer would hide what went wrong.
        provider._should_fallback_to_imds_v1 = lambda _: False  # noqa: SLF001 - nothing else chooses it
        return provider

    server = "the ECS instance's metadata server"
    # Without a name nobody said that this is an ECS instance.
    who = f"T{server[1:]}" if way.role_name else f"{_NOTHING_GIVEN}, and {server}"
    return _ask(make, clock, "", who, HINT_ECS if way.role_name else f"{HINT_CREDENTIALS} {HINT_ECS}")


def _ask(make: Callable[[], Any], clock: Clock, ca_bundle: str, who: str, hint: str) -> Keys:
    """Let a provider of the SDK find keys. What it raises may hold them, so that only the kind of failure is told."""
    failure: ActionError
    with tame(clock) as heard:
        try:
            keys = ask_provider(make(), ca_bundle)
        except Exception as error:  # noqa: BLE001 - as above
            told = str(getattr(error, "message", ""))
            status = re.search(r"(?:http_code|HttpCode)[=:] ?(\d+)", told)
            code = re.search(r'"Code": ?"([\w.]{1,100})"', told)
            answered = f" (it answered {status[1]}{f', {code[1]}' if code else ''})" if status else ""
            fault = name_network_failure(heard, "The request for credentials")
            # STS answers by a status where a profile names a role; everything else of a file needs no answer.
            hint = HINT_PROFILE_ROLE if status and hint is HINT_FILE else hint
            why, hint = (f": {fault.message}", fault.hint) if fault else (f"{answered}.", hint)
            failure = CredentialsError(f"{who} gave no credentials{why}", hint)
            failure.may_pass = bool(fault and fault.may_pass) or bool(status and may_pass(int(status[1])))
            failure.retry_after = heard.retry_after
        else:
            if keys.access_key_id and keys.access_key_secret:
                return keys
            failure = CredentialsError(f"{who} gave credentials without an AccessKey id or secret.", hint)
    raise failure
