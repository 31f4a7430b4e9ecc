"""Fetches the host of an instance and a token to log in there, by the call CreateAirflowLoginToken.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-createairflowlogintoken
The SDK is imported only when a token is needed: the import alone takes a third of a second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dms_airflow import __version__
from dms_airflow.alibaba_cloud.error_codes import HINT_BUSY, HINT_ENDPOINT, HINT_OTHER, TOKEN_CODES
from dms_airflow.alibaba_cloud.sdk import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    explain_network_failure,
    guard_sdk,
    import_client,
    parse_body_refusal,
    parse_refusal,
    stub_imports,
)
from dms_airflow.core.errors import ActionError, AnswerError, TokenError, UnknownHostError
from dms_airflow.core.http.retry import is_transient_status
from dms_airflow.core.secrets.tokens import LoginToken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.error_codes import Refusal
    from dms_airflow.alibaba_cloud.sdk import LastExchange
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.urls import Endpoint

# Those that DMS's documentation of Airflow names.
REGIONS = (
    "cn-beijing",
    "cn-hangzhou",
    "cn-shanghai",
    "cn-shenzhen",
    "cn-hongkong",
    "ap-southeast-1",
    "us-west-1",
    "us-east-1",
)

HINT_NAME_SERVER = (
    "DMS exists in this region, so the cause is this machine's network: check its name server; a machine that reaches the "
    "internet only through a proxy needs HTTPS_PROXY."
)


def fetch_login_token(keys: Keys, *, instance_id: str, endpoint: Endpoint, ca_bundle: str, clock: Clock) -> LoginToken:
    """Fetch the host of an instance and a token to log in there. The token is valid for two hours, and works once.

    A second call does no harm: an unused token is useless to anybody else, and expires.

    Raises:
        TokenError: The call was refused.
        NetworkError: The endpoint could not be reached.
        AnswerError: Its response makes no sense.
    """
    failure: ActionError
    client, messages, options = prepare_client(keys, endpoint, ca_bundle)
    request = messages.CreateAirflowLoginTokenRequest(airflow_id=instance_id)
    with guard_sdk(clock) as last:
        try:
            response = client.create_airflow_login_token_with_options(request, options)
        except Exception as error:  # noqa: BLE001 - the SDK raises what its libraries raise
            failure = _explain_failure(error, last, instance_id, endpoint)
        else:
            return _parse_token(response.body.to_map() if response.body else {}, instance_id, endpoint)
    # Outside of the except clause, so that no traceback shows the SDK's exception, which holds requests and answers.
    raise failure


def prepare_client(keys: Keys, endpoint: Endpoint, ca_bundle: str, read_timeout: int = READ_TIMEOUT) -> tuple[Any, Any, Any]:
    """Make the SDK's client, its messages and options. The explicit configuration keeps the SDK from looking around.

    Args:
        keys: Sign the calls.
        endpoint: The OpenAPI.
        ca_bundle: Certificate authorities to trust in place of certifi's; empty for those.
        read_timeout: Milliseconds.
    """
    client, messages = import_client("alibabacloud_dms20250414")
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


def _parse_token(body: Mapping[str, Any], instance_id: str, endpoint: Endpoint) -> LoginToken:
    # A success may have an ErrorCode too ("Success"), so that only `Success` decides.
    if not {"Success", "ErrorCode", "Code"} & body.keys():
        raise AnswerError(
            f"CreateAirflowLoginToken for {instance_id} at {endpoint.authority} got a response without success or error.",
            HINT_ENDPOINT,
        )
    if body.get("Success") is not True:
        raise _refuse(parse_body_refusal(body), instance_id, endpoint)
    data = body.get("Data") or {}
    if not all(isinstance(data.get(name), str) and data[name] for name in ("Host", "Token")):
        raise AnswerError(
            f"CreateAirflowLoginToken for {instance_id} at {endpoint.authority} succeeded without a host or a token "
            f"(request id {body.get('RequestId')}).",
            HINT_BUSY,
        )
    return LoginToken(host=data["Host"], token=data["Token"])


def _refuse(refusal: Refusal, instance_id: str, endpoint: Endpoint) -> TokenError:
    known = refusal.find_code(TOKEN_CODES)
    because = f", because {known.meaning}" if known else ""
    return TokenError(
        f"CreateAirflowLoginToken for {instance_id} at {endpoint.authority} was refused{because} {refusal}.",
        known.hint if known else HINT_OTHER,
        is_transient=refusal.is_transient(known),
        retry_after=refusal.retry_after,
    )


def _explain_failure(error: Exception, last: LastExchange, instance_id: str, endpoint: Endpoint) -> ActionError:
    if refusal := parse_refusal(error, last):
        return _refuse(refusal, instance_id, endpoint)
    call = f"CreateAirflowLoginToken for {instance_id}"
    if fault := explain_network_failure(last, "POST /"):
        message, hint = fault.message, fault.hint
        if isinstance(fault, UnknownHostError) and (match := re.fullmatch(r"dms\.(.+)\.aliyuncs\.com", endpoint.authority)):
            hint = HINT_NAME_SERVER
            if match[1] not in REGIONS:
                message = f"no such host: {endpoint.authority}. DMS's documentation does not list the region {match[1]}."
                hint = f"Check region; it lists {', '.join(REGIONS)}. If the region is right, check this machine's name server."
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
