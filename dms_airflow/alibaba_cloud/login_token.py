"""Fetches the host of an instance and a token to log in there, by the call CreateAirflowLoginToken.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-createairflowlogintoken
The SDK is imported only when a token is needed: the import alone takes a third of a second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dms_airflow import __version__
from dms_airflow.alibaba_cloud.error_codes import TOKEN
from dms_airflow.alibaba_cloud.sdk import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    attempt,
    explain_network_failure,
    guard_sdk,
    import_client,
    parse_body_refusal,
    parse_refusal,
    stub_imports,
)
from dms_airflow.core.errors import ActionError, AnswerError, TokenError, UnknownHostError
from dms_airflow.core.http.retry import is_transient_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.sdk import LastExchange
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.urls import Endpoint

# Those that DMS's documentation of Airflow names.
REGIONS = "cn-beijing, cn-hangzhou, cn-shanghai, cn-shenzhen, cn-hongkong, ap-southeast-1, us-west-1, us-east-1"

HINT_BUSY = "This is a failure of Alibaba Cloud. Run the step again; if it fails again, contact support with the request id."
HINT_OTHER = (
    "Look the code up in DMS's error codes. If it is about permissions: in the RAM console (https://ram.console.aliyun.com), "
    'give the identity (RAM user or role) a policy with the action dms:CreateAirflowLoginToken on resource "*": '
    "docs/getting-started.md."
)
HINT_ENDPOINT = "Check endpoint: it must be Alibaba Cloud's OpenAPI, with no login page or proxy in between."
HINT_NAME_SERVER = (
    "DMS exists in this region, so the cause is this machine's network: check its name server; a machine that reaches the "
    "internet only through a proxy needs HTTPS_PROXY."
)


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
    client, messages, options = prepare_client(keys, endpoint, ca_bundle)
    request = messages.CreateAirflowLoginTokenRequest(airflow_id=instance_id)
    with guard_sdk(clock) as last:
        response, error = attempt(lambda: client.create_airflow_login_token_with_options(request, options))
    call = f"CreateAirflowLoginToken for {instance_id}"
    if response is None:
        raise _explain_failure(error, last, call, endpoint)
    return _parse_token(response.body.to_map() if response.body else {}, f"{call} at {endpoint.authority}")


def prepare_client(keys: Keys, endpoint: Endpoint, ca_bundle: str, read_timeout: int = READ_TIMEOUT) -> tuple[Any, Any, Any]:
    """Make the SDK's client, its messages and options. The explicit configuration keeps the SDK from looking around.

    Args:
        keys: Sign the calls.
        endpoint: The OpenAPI.
        ca_bundle: Certificate authorities to trust in place of certifi's; empty for those.
        read_timeout: Milliseconds.
    """
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
    return client(config), messages, RuntimeOptions(ca=ca_bundle or None)


def _parse_token(body: Mapping[str, Any], call: str) -> LoginToken:
    # A success may have an ErrorCode too ("Success"), so that only `Success` decides.
    if not {"Success", "ErrorCode", "Code"} & body.keys():
        raise AnswerError(f"{call} got a response without success or error.", HINT_ENDPOINT)
    if body.get("Success") is not True:
        raise parse_body_refusal(body).to_error(TokenError, call, TOKEN, other=HINT_OTHER)
    data = body.get("Data") or {}
    if not all(isinstance(data.get(name), str) and data[name] for name in ("Host", "Token")):
        message = f"{call} succeeded without a host or a token (request id {body.get('RequestId')})."
        raise AnswerError(message, HINT_BUSY)
    return LoginToken(host=data["Host"], token=data["Token"])


def _explain_failure(error: Exception | None, last: LastExchange, call: str, endpoint: Endpoint) -> ActionError:
    if refusal := parse_refusal(error, last):
        return refusal.to_error(TokenError, f"{call} at {endpoint.authority}", TOKEN, other=HINT_OTHER)
    if fault := explain_network_failure(last, "POST /"):
        message, hint = fault.message, fault.hint
        if isinstance(fault, UnknownHostError) and (match := re.fullmatch(r"dms\.(.+)\.aliyuncs\.com", endpoint.authority)):
            hint = HINT_NAME_SERVER
            if match[1] not in REGIONS.split(", "):
                message = f"no such host: {endpoint.authority}. DMS's documentation does not list the region {match[1]}."
                hint = f"Check region; it lists {REGIONS}. If the region is right, check this machine's name server."
        return type(fault)(f"{call}: {message}", hint, is_transient=fault.is_transient)
    # The SDK wraps what its libraries raised: UnretryableException.inner_exception.
    kind = type(getattr(error, "inner_exception", error)).__name__
    status = f"status {last.status}, " if last.status else ""
    return AnswerError(
        f"{call}: the SDK cannot read the response of {endpoint.authority} ({status}{kind}).",
        HINT_ENDPOINT,
        status=last.status,
        is_transient=last.status is not None and is_transient_status(last.status),
        retry_after=last.retry_after,
    )
