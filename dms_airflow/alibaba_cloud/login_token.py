"""Fetches the host of an instance and a token to log in there, by the call CreateAirflowLoginToken.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-createairflowlogintoken
The SDK is imported only when a token is needed: the import alone takes a third of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dms_airflow import __version__
from dms_airflow.alibaba_cloud.error_codes import TOKEN
from dms_airflow.alibaba_cloud.sdk import (
    CLIENTS,
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    attempt,
    explain_network_failure,
    guard_sdk,
    import_client,
    parse_refusal,
    stub_imports,
)
from dms_airflow.core.errors import ActionError, AnswerError, TokenError, UnknownHostError
from dms_airflow.core.http.retry import is_transient_status

if TYPE_CHECKING:
    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.sdk import LastExchange
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.urls import Endpoint

HINT_REGION = (
    "Check region: DMS's documentation lists cn-beijing, cn-hangzhou, cn-shanghai, cn-shenzhen, cn-hongkong, ap-southeast-1, "
    "us-west-1, us-east-1. If the region is right, check this machine's name server; a machine that reaches the internet only "
    "through a proxy needs HTTPS_PROXY."
)
HINT_OTHER = (
    "Look the code up in DMS's error codes. If it is about permissions: in the RAM console (https://ram.console.aliyun.com), "
    'give the identity (RAM user or role) a policy with the action dms:CreateAirflowLoginToken on resource "*": '
    "docs/getting-started.md."
)
HINT_ENDPOINT = "Check endpoint: it must be Alibaba Cloud's OpenAPI, with no login page or proxy in between."


@dataclass(frozen=True, kw_only=True)
class LoginToken:
    """The result of CreateAirflowLoginToken: the instance's base URL, and a token that works once."""

    host: str
    token: str = field(repr=False)


def fetch_login_token(keys: Keys, *, instance_id: str, endpoint: Endpoint, ca_bundle: str, clock: Clock) -> LoginToken:
    """Fetch the host of an instance and a token to log in there. The token is valid for two hours, and works once.

    A second call does no harm: an unused token is useless to anybody else, and expires.

    Raises:
        TokenError: The call was refused.
        NetworkError: The endpoint could not be reached.
        AnswerError: Its response makes no sense.
    """
    client, messages, options = prepare_client(keys, endpoint)
    request = messages.CreateAirflowLoginTokenRequest(airflow_id=instance_id)
    with guard_sdk(CLIENTS, clock, ca_bundle) as last:
        response = attempt(lambda: client.create_airflow_login_token_with_options(request, options), last)
    body = response.body.to_map() if response and response.body else {}
    data = body.get("Data") or {}
    # A success may have an ErrorCode too ("Success"), so that only `Success` decides.
    if body.get("Success") is not True or not data.get("Host") or not data.get("Token"):
        raise _explain_failure(last, f"CreateAirflowLoginToken for {instance_id}", endpoint)
    return LoginToken(host=str(data["Host"]), token=str(data["Token"]))


def prepare_client(keys: Keys, endpoint: Endpoint, read_timeout: int = READ_TIMEOUT) -> tuple[Any, Any, Any]:
    """Make the SDK's client, its messages and options. The explicit configuration keeps the SDK from looking around."""
    client, messages = import_client()
    with stub_imports():
        from alibabacloud_tea_openapi.utils_models import Config  # noqa: PLC0415 - see the module's docstring
        from darabonba.runtime import RuntimeOptions  # noqa: PLC0415

    config = Config(
        access_key_id=keys.access_key_id,
        access_key_secret=keys.access_key_secret,
        security_token=keys.security_token or None,
        endpoint=endpoint.authority,
        protocol=endpoint.scheme,
        user_agent=f"dms-airflow/{__version__}",
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
    )
    return client(config), messages, RuntimeOptions()


def _explain_failure(last: LastExchange, call: str, endpoint: Endpoint) -> ActionError:
    if fault := explain_network_failure(last):
        is_region = isinstance(fault, UnknownHostError) and endpoint.authority.endswith(".aliyuncs.com")
        hint = HINT_REGION if is_region else fault.hint
        return type(fault)(f"{call}: {fault.message}", hint, is_transient=fault.is_transient)
    if refusal := parse_refusal(last, TOKEN):
        return refusal.to_error(TokenError, f"{call} at {endpoint.authority}", other=HINT_OTHER)
    return AnswerError(
        f"{call}: the response of {endpoint.authority} (status {last.status}) has neither a token nor an error code.",
        HINT_ENDPOINT,
        status=last.status,
        is_transient=is_transient_status(last.status),
        retry_after=last.retry_after,
    )
