"""Alibaba Cloud's side: keys → CreateAirflowLoginToken → host and login token.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-createairflowlogintoken
The SDK is imported only when a token is needed: the import alone takes a third of a second.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dms_airflow import __version__
from dms_airflow.alibaba_cloud.sdk import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    Meaning,
    find_meaning,
    import_client,
    name_network_failure,
    spare_imports,
    tame,
)
from dms_airflow.core.errors import ActionError, AnswerError, TokenError, UnknownHostError
from dms_airflow.core.http.retry import may_pass
from dms_airflow.core.secrets.tokens import LoginToken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.sdk import Heard
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

HINT_POLICY = (
    "In the RAM console (https://ram.console.aliyun.com), give the identity (RAM user or role) a policy with the action "
    'dms:CreateAirflowLoginToken on resource "*", as README shows.'
)
HINT_KEY = (
    "The key was deleted or disabled, or is of Alibaba Cloud's other site (China, international). In the RAM console "
    "(https://ram.console.aliyun.com) look under Identities → Users → the user; store an active key in the secrets."
)
HINT_SECRET = "The secret is of another key, or was cut when it was copied. Store id and secret of one AccessKey anew, whole."  # noqa: S105 - advice
HINT_USER = (
    "RAM, Alibaba Cloud's users and roles, knows the identity; DMS does not. A DMS administrator must add its UID (of a role: "
    "the role's id) in DMS's console under user management."
)
HINT_TENANT = "The account of these credentials does not use DMS, or an administrator must first open DMS's console once."
HINT_INSTANCE = (
    "Compare instance-id and region with DMS's console; an instance is known only in its own region and to its own account."
)
HINT_DEPLOYING = (
    "DMS is creating, changing or restarting the instance. Wait until its console shows it as running, then run again."
)
HINT_EXPIRED = (
    "Temporary credentials live for an hour or less. Get them in a step right before this one, or use role-to-assume, which "
    "gets its own."
)
HINT_STS = (
    'An AccessKey id that begins with "STS." needs its security-token: give all three parts of the same issue. '
    "The AccessKey of a RAM user has none: leave security-token empty."
)
HINT_CLOCK = "The gateway accepts fifteen minutes of difference. Synchronise the clock of the self-hosted runner (NTP)."
HINT_THROTTLED = "Run the step again later, or let fewer jobs call at once; reuse-session: true spares later steps the call."
HINT_BUSY = "Alibaba Cloud's side failed; run the step again, and contact support with the request id if it stays so."
HINT_OTHER = f"Look the code up in DMS's error codes. If it speaks of permissions: {HINT_POLICY}"
HINT_NAME_SERVER = (
    "The region has DMS, so that the runner's network is at fault: check its name server; a runner that reaches the internet "
    "through a proxy only needs HTTPS_PROXY."
)
HINT_ENDPOINT = "Check endpoint: it must be Alibaba Cloud's OpenAPI, with no login page or proxy in between."

# With SignatureDoesNotMatch the gateway quotes the request that it verified; one of its headers is the security token.
_QUOTED_REQUEST = re.compile(
    r"\s*\b(?:server )?(?:string ?to ?sign|canonical ?(?:string|request))\b.*", re.IGNORECASE | re.DOTALL
)

# DMS documents no list of codes for this call. These are known of the OpenAPI gateway and of DMS's other calls; the first
# that fits counts.
COMMON_MEANINGS = (
    Meaning(
        pattern=re.compile(r"^InvalidAccessKeyId|^Forbidden\.AccessKeyDisabled"),
        words="Alibaba Cloud knows no active AccessKey of this id",
        hint=HINT_KEY,
    ),
    Meaning(
        pattern=re.compile(r"^SignatureDoesNotMatch|^InvalidAccessKeySecret|^IncompleteSignature"),
        words="the AccessKey's secret does not fit its id",
        hint=HINT_SECRET,
    ),
    Meaning(
        pattern=re.compile(r"^InvalidSecurityToken\.Expired|^SecurityTokenExpired"),
        words="the temporary credentials have expired",
        hint=HINT_EXPIRED,
    ),
    Meaning(
        pattern=re.compile(r"^InvalidSecurityToken|^MissingSecurityToken"),
        words="security token and AccessKey do not belong together",
        hint=HINT_STS,
    ),
    Meaning(pattern=re.compile(r"^InvalidTimeStamp|^IllegalTimestamp"), words="the runner's clock is wrong", hint=HINT_CLOCK),
    Meaning(pattern=re.compile(r"^Throttling"), words="the account makes too many calls", hint=HINT_THROTTLED, may_pass=True),
    Meaning(pattern=re.compile(r"UserNotExist"), words="the identity is no user of DMS", hint=HINT_USER),
    Meaning(pattern=re.compile(r"TenantNotExist"), words="the account has no DMS", hint=HINT_TENANT),
    Meaning(
        pattern=re.compile(r"^Forbidden|NoPermission"),
        words="the identity has no permission for this call",
        hint=HINT_POLICY,
    ),
    Meaning(
        pattern=re.compile(r"^InvalidAction|^InvalidVersion"),
        words="this endpoint does not know the call",
        hint=HINT_ENDPOINT,
    ),
    # The nonce of a request whose answer was lost; the next one has another.
    Meaning(
        pattern=re.compile(r"^SignatureNonceUsed|^InternalError|^ServiceUnavailable"),
        words="Alibaba Cloud's side failed",
        hint=HINT_BUSY,
        may_pass=True,
    ),
)

MEANINGS = (
    *COMMON_MEANINGS,
    # GetAirflow calls this state DEPLOYING. How this call says it is not documented, so that words alone count.
    Meaning(
        pattern=re.compile(
            r"deploying|being (?:deployed|created|restarted)|not ?ready|not (?:yet |in )?running|InstanceStatus", re.IGNORECASE
        ),
        words="the instance is being deployed",
        hint=HINT_DEPLOYING,
    ),
    Meaning(
        pattern=re.compile(r"^[^:]*(?:NotFound|NotExist)|^InvalidParameter"),
        words="there is no such instance in this region",
        hint=HINT_INSTANCE,
    ),
)


def fetch_login_token(keys: Keys, *, instance_id: str, endpoint: Endpoint, ca_bundle: str, clock: Clock) -> LoginToken:
    """Ask Alibaba Cloud for the host of an instance and a token to log in there. The token lives two hours, and works once.

    Asking again does no harm: an unused token is worth nothing to anybody else, and expires.

    Raises:
        TokenError: The call was refused.
        NetworkError: The endpoint could not be reached.
        AnswerError: Its answer makes no sense.
    """
    failure: ActionError
    client, messages, options = prepare_client(keys, endpoint, ca_bundle)
    request = messages.CreateAirflowLoginTokenRequest(airflow_id=instance_id)
    with tame(clock) as heard:
        try:
            response = client.create_airflow_login_token_with_options(request, options)
        except Exception as error:  # noqa: BLE001 - the SDK raises what its libraries raise; each is told apart below
            failure = _name_failure(error, heard, instance_id, endpoint)
        else:
            return _read_token(response.body.to_map() if response.body else {}, instance_id, endpoint)
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
    with spare_imports():
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


def _read_token(body: Mapping[str, Any], instance_id: str, endpoint: Endpoint) -> LoginToken:
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
    message = _QUOTED_REQUEST.sub("", " ".join(message.split())) or "no message"
    meaning = find_meaning(MEANINGS, code, message)
    failure = TokenError(
        f"CreateAirflowLoginToken for {instance_id} at {endpoint.authority} was refused"
        f"{f', because {meaning.words}' if meaning else ''} ({code}: {message}; request id {request_id or 'unknown'}).",
        meaning.hint if meaning else HINT_OTHER,
    )
    failure.may_pass = bool(meaning and meaning.may_pass)
    return failure


def parse_refusal(error: Exception) -> tuple[str, str, str] | None:
    """Parse the gateway's error code, message and request id from what the SDK raised; None when it is no refusal."""
    code = getattr(error, "code", None)
    if not isinstance(code, str) or code in ("", "None"):
        return None
    # The SDK puts "code: 404, " before the message and " request id: …" behind it.
    message = re.sub(r"^code: \d+, | request id: \S*$", "", str(getattr(error, "message", "")))
    message = _QUOTED_REQUEST.sub("", " ".join(message.split()))
    return code, message, str(getattr(error, "request_id", "") or "")


def _name_failure(error: Exception, heard: Heard, instance_id: str, endpoint: Endpoint) -> ActionError:
    if refusal := parse_refusal(error):
        failure: ActionError = _refuse(*refusal, instance_id, endpoint)
        failure.may_pass = failure.may_pass or (heard.status is not None and may_pass(heard.status))
        asked = (getattr(error, "retry_after", None) or 0) / 1000
        failure.retry_after = asked or heard.retry_after
        return failure
    call = f"CreateAirflowLoginToken for {instance_id}"
    if fault := name_network_failure(heard, "POST /"):
        fault.message = f"{call}: {fault.message}"
        if isinstance(fault, UnknownHostError) and (match := re.fullmatch(r"dms\.(.+)\.aliyuncs\.com", endpoint.authority)):
            if match[1] in REGIONS:
                fault.hint = HINT_NAME_SERVER
            else:
                fault.message = (
                    f"{call}: there is no DMS in the region {match[1]}, for nobody knows the host {endpoint.authority}."
                )
                fault.hint = (
                    f"Check region. DMS's documentation names {', '.join(REGIONS)}. Else check the runner's name server."
                )
        return fault
    # The SDK wraps what its libraries raised: UnretryableException.inner_exception.
    kind = type(getattr(error, "inner_exception", error)).__name__
    answered = f" with status {heard.status}" if heard.status else ""
    answer = AnswerError(
        f"{call}: {endpoint.authority} answered{answered} what the SDK cannot read ({kind}).",
        HINT_ENDPOINT,
        status=heard.status,
    )
    answer.may_pass = heard.status is not None and may_pass(heard.status)
    answer.retry_after = heard.retry_after
    return answer
