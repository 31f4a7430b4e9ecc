"""Alibaba Cloud's side: credentials → CreateAirflowLoginToken → host and login token.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-createairflowlogintoken
The only module that imports the SDK, and only when a token is needed: the import alone takes a third of a second.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from requests.utils import get_environ_proxies

from dms_airflow import __version__
from dms_airflow.config import LoginToken
from dms_airflow.errors import ActionError, AnswerError, NetworkError, TokenError
from dms_airflow.transport import HINT_LOST, HINT_REFUSED, name_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dms_airflow.config import Credentials, Endpoint

CONNECT_TIMEOUT = 10_000  # milliseconds, as the SDK wants them
READ_TIMEOUT = 30_000  # milliseconds

HINT_POLICY = 'Give the RAM identity a policy with the action dms:CreateAirflowLoginToken on resource "*", as README shows.'
HINT_KEY = "Check that the secrets hold one pair of AccessKey id and secret, whole and of an active key."
HINT_USER = "The RAM identity is no DMS user yet: a DMS administrator must add its UID under user management."
HINT_INSTANCE = "Check instance-id and region against DMS's console; an instance is known only in its own region."
HINT_STS = "The temporary credentials are wrong or expired; fetch new ones in a step right before this one."
HINT_CLOCK = "The runner's clock is wrong; synchronise it."
HINT_THROTTLED = "Too many calls of this account; run the step again later, or spread the jobs."
HINT_BUSY = "Alibaba Cloud's side failed; run the step again, and contact support with the request id if it stays so."
HINT_OTHER = f"Look the code up in DMS's error codes. {HINT_POLICY}"

# What each error code means for the person who reads it. The first pattern that fits counts.
_HINTS = (
    (re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidAccessKeySecret|IncompleteSignature"), HINT_KEY),
    (re.compile(r"InvalidSecurityToken|SecurityTokenExpired|MissingSecurityToken"), HINT_STS),
    (re.compile(r"InvalidTimeStamp|SignatureNonceUsed"), HINT_CLOCK),
    (re.compile(r"Forbidden\.RAM|NoPermission|Forbidden"), HINT_POLICY),
    (re.compile(r"UserNotExist"), HINT_USER),
    (re.compile(r"Throttling"), HINT_THROTTLED),
    (re.compile(r"NotFound|NotExist|TenantNotExist|InvalidParameter"), HINT_INSTANCE),
    (re.compile(r"InternalError|ServiceUnavailable"), HINT_BUSY),
)


def fetch_login_token(instance_id: str, *, endpoint: Endpoint, credentials: Credentials, ca_bundle: str) -> LoginToken:
    """Ask Alibaba Cloud for the host of an instance and a token to log in there. The token lives two hours, and works once.

    Raises:
        TokenError: The call was refused.
        NetworkError: The endpoint could not be reached.
        AnswerError: Its answer makes no sense.
    """
    failure: ActionError
    client, request, runtime = _prepare_call(instance_id, endpoint, credentials, ca_bundle)
    with _tame_environment(endpoint):
        try:
            response = client.create_airflow_login_token_with_options(request, runtime)
        except Exception as error:  # noqa: BLE001 - the SDK raises what its libraries raise; each is told apart below
            failure = _name_failure(error, instance_id, endpoint)
        else:
            return _read_token(response.body.to_map() if response.body else {}, instance_id, endpoint)
    # Outside of the except clause, so that no traceback shows the SDK's exception, which holds requests and answers.
    raise failure


def _prepare_call(instance_id: str, endpoint: Endpoint, credentials: Credentials, ca_bundle: str) -> tuple[Any, Any, Any]:
    """Make the SDK's client, the request and its options. The explicit configuration keeps the SDK from looking around."""
    from alibabacloud_dms20250414.client import Client  # noqa: PLC0415 - see the module's docstring
    from alibabacloud_dms20250414.models import CreateAirflowLoginTokenRequest  # noqa: PLC0415
    from alibabacloud_tea_openapi.utils_models import Config  # noqa: PLC0415
    from darabonba.runtime import RuntimeOptions  # noqa: PLC0415

    config = Config(
        access_key_id=credentials.access_key_id,
        access_key_secret=credentials.access_key_secret,
        security_token=credentials.security_token or None,
        endpoint=endpoint.authority,
        protocol=endpoint.scheme,
        user_agent=f"dms-airflow/{__version__}",
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
    )
    return Client(config), CreateAirflowLoginTokenRequest(airflow_id=instance_id), RuntimeOptions(ca=ca_bundle or None)


@contextmanager
def _tame_environment(endpoint: Endpoint) -> Iterator[None]:
    """Hide from the SDK the variables that it reads at every call and that would harm.

    ``DEBUG=sdk`` makes it print the signed request and the token (darabonba/core.py, `do_action`), and it takes proxies from
    the environment without looking at NO_PROXY.
    """
    harmful = ["DEBUG"]
    if not get_environ_proxies(endpoint.url):
        harmful += ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"]
    hidden = {name: os.environ.pop(name) for name in harmful if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _read_token(body: dict[str, Any], instance_id: str, endpoint: Endpoint) -> LoginToken:
    # A success may carry an ErrorCode too ("Success"), so that only `Success` tells.
    if body.get("Success") is not True:
        code = str(body.get("ErrorCode") or body.get("Code") or "no error code")
        raise _refuse(code, str(body.get("Message") or ""), str(body.get("RequestId") or ""), instance_id, endpoint)
    data = body.get("Data") or {}
    if not all(isinstance(data.get(name), str) and data[name] for name in ("Host", "Token")):
        raise AnswerError(
            f"CreateAirflowLoginToken for {instance_id} at {endpoint.authority} succeeded without a host or a token "
            f"(request id {body.get('RequestId')}).",
            HINT_BUSY,
        )
    return LoginToken(host=data["Host"], token=data["Token"])


def _refuse(code: str, message: str, request_id: str, instance_id: str, endpoint: Endpoint) -> TokenError:
    hint = next((hint for pattern, hint in _HINTS if pattern.search(code)), HINT_OTHER)
    return TokenError(
        f"CreateAirflowLoginToken for {instance_id} at {endpoint.authority} was refused with {code}: "
        f"{' '.join(message.split()) or 'no message'} (request id {request_id or 'unknown'}).",
        hint,
    )


def _name_failure(error: Exception, instance_id: str, endpoint: Endpoint) -> ActionError:
    code = getattr(error, "code", None)
    if isinstance(code, str) and code not in ("", "None"):
        # The SDK puts "code: 404, " before the message and " request id: …" behind it.
        message = re.sub(r"^code: \d+, | request id: \S*$", "", str(getattr(error, "message", "")))
        return _refuse(code, message, str(getattr(error, "request_id", "") or ""), instance_id, endpoint)
    # The SDK wraps what requests raised twice: UnretryableException.inner_exception, then the context of its RetryError.
    inner = getattr(error, "inner_exception", error)
    cause = inner.__context__ or inner
    fault = name_fault(cause, "POST /", endpoint.url)
    if isinstance(cause, OSError):
        # Whether it left or not: asking again for a token harms nothing.
        hint = fault.hint.removesuffix(HINT_LOST).strip() or HINT_REFUSED
        return NetworkError(f"CreateAirflowLoginToken for {instance_id}: {fault.message}", hint)
    return AnswerError(
        f"CreateAirflowLoginToken for {instance_id} at {endpoint.authority} answered what the SDK cannot read "
        f"({type(inner).__name__}).",
        "Check endpoint: it must be Alibaba Cloud's OpenAPI, with no login page or proxy in between.",
    )
