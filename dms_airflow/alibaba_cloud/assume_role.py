"""STS's side: a token of an OIDC identity provider → the keys of a RAM role, by AssumeRoleWithOIDC.

https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc
As in dms.py the SDK is imported only when it is needed.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from dms_airflow.alibaba_cloud.sdk import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    Meaning,
    ask_provider,
    find_meaning,
    name_network_failure,
    spare_imports,
    tame,
)
from dms_airflow.core.errors import ActionError, RoleError, UnknownHostError
from dms_airflow.core.http.retry import may_pass
from dms_airflow.core.result import Folded
from dms_airflow.core.secrets.tokens import IdToken, read_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys, OidcRole
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.log import Log


CONSOLE = "In the RAM console (https://ram.console.aliyun.com), Alibaba Cloud's users and roles,"

HINT_TRUST = f"{CONSOLE} under Identities → Roles → the role → Trust Policy, allow the id-token's claims."
HINT_POLICY = (
    "This policy does; for other branches too, use StringLike in place of StringEquals, and * in oidc:sub, but name the "
    "repository:"
)
HINT_PROVIDER = (
    f"{CONSOLE} under Integrations → SSO → Role-based SSO → OIDC, look at the identity provider: oidc-provider-arn must be its "
    "ARN, its issuer URL the claim iss (https://token.actions.githubusercontent.com on github.com), its fingerprint what the "
    "console fetches for that URL."
)
HINT_AUDIENCE = (
    f"{CONSOLE} under Integrations → SSO → Role-based SSO → OIDC, add the claim aud above to the identity provider's client "
    "ids, or set the input audience to one of them."
)
HINT_ROLE = f"{CONSOLE} under Identities → Roles → the role, copy its ARN to role-to-assume."
HINT_DURATION = (
    "role-session-expiration is longer than the role allows: lower it, or raise the role's maximum session duration in the RAM "
    "console."
)
HINT_EXPIRED = "Id-tokens live some minutes. Check the runner's clock, and run the step again."
HINT_CLOCK = "Synchronise the clock of the self-hosted runner (NTP)."
HINT_THROTTLED = "Too many calls of this account; run the step again later, or spread the jobs."
HINT_OTHER = "Look the code up in the error codes of STS, API AssumeRoleWithOIDC."
HINT_BUSY = "STS itself failed; run the step again."
HINT_FILE = "What sets ALIBABA_CLOUD_OIDC_TOKEN_FILE must put a token there that this step may read."
HINT_TEMP = "RUNNER_TEMP must name a folder that this step can write to, on a disk that is not full."
HINT_HOST = (
    "Check the runner's name server; a runner that reaches the internet through a proxy only needs HTTPS_PROXY. The name "
    "follows ALIBABA_CLOUD_STS_REGION and ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED; one of a VPC resolves only inside of it."
)
HINT_PROXY = "What answered is no STS: look at HTTPS_PROXY and NO_PROXY in the job's environment."

# The codes that https://help.aliyun.com/zh/ack/ack-managed-and-ack-dedicated/user-guide/use-rrsa-to-authorize-pods-to-access-different-cloud-services
# and the SDKs' own tests name. The pattern is looked for in "code: message"; the first that fits counts.
MEANINGS = (
    Meaning(
        pattern=re.compile(r"AuthenticationFail\.OIDCToken\.AudienceNotMatch|AuthenticationFail.*: .*\baudience\b"),
        words="the OIDC identity provider does not know the id-token's audience",
        hint=HINT_AUDIENCE,
    ),
    Meaning(
        pattern=re.compile(
            r"AuthenticationFail\.OIDCToken\.(?:IssuerNotMatch|IssuerConfigurationBroken|PublicKeyFingerprintMismatch|Invalid)"
            r"|AuthenticationFail\.NoPermission: .*OIDC ?Provider|EntityNotExist\.OIDCProvider"
        ),
        words="the OIDC identity provider is not set up for GitHub, or oidc-provider-arn is wrong",
        hint=HINT_PROVIDER,
    ),
    Meaning(
        pattern=re.compile(r"AuthenticationFail\.OIDCToken\.Expired"),
        words="the id-token has expired",
        hint=HINT_EXPIRED,
    ),
    Meaning(
        pattern=re.compile(r"AuthenticationFail\.NoPermission"),
        words="the role does not trust this job",
        hint=HINT_TRUST,
    ),
    Meaning(pattern=re.compile(r"^InvalidTimeStamp|^IllegalTimestamp"), words="the runner's clock is wrong", hint=HINT_CLOCK),
    Meaning(pattern=re.compile(r"EntityNotExist\.Role"), words="there is no such role", hint=HINT_ROLE),
    Meaning(
        pattern=re.compile(r"InvalidParameter\.DurationSeconds"),
        words="the role allows no session of this length",
        hint=HINT_DURATION,
    ),
    Meaning(pattern=re.compile(r"^Throttling"), words="the account makes too many calls", hint=HINT_THROTTLED, may_pass=True),
)
UNKNOWN = Meaning(pattern=re.compile(""), words="STS refused", hint=HINT_OTHER)


def assume_role(
    role: OidcRole, *, fetch_token: Callable[[str], IdToken], temp: Path | None, ca_bundle: str, clock: Clock, log: Log
) -> Keys:
    """Exchange a token for a role.

    Args:
        role: Which one, for how long, at which STS.
        fetch_token: Gives GitHub's token for an audience, where the role names no file with one.
        temp: Where the token's file may lie for as long as the exchange takes.
        ca_bundle: Certificate authorities to trust in place of certifi's.
        clock: For time limits.
        log: Learns the token of a file; one of GitHub's it knows.

    Raises:
        RoleError: STS refused, or the token's file cannot be read or written.
        NetworkError: STS was not reached.
    """
    if role.token_file:
        value = _read_token(role)
        log.mask(value)
        return _exchange(role, role.token_file, IdToken(value=value, claims=read_claims(value)), ca_bundle, clock)
    token = fetch_token(role.audience)
    with _write_privately(role, token.value, temp) as path:
        return _exchange(role, path, token, ca_bundle, clock)


def _read_token(role: OidcRole) -> str:
    try:
        return Path(role.token_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        message = f"could not be assumed: the token file {role.token_file} cannot be read ({type(error).__name__})."
        raise RoleError(f"{role.role_arn} {message}", HINT_FILE) from None


@contextmanager
def _write_privately(role: OidcRole, token: str, temp: Path | None) -> Iterator[str]:
    """Keep the token in a file of mode 0600 and of a random name, which is gone at the end however that comes."""
    folder = temp if temp and temp.is_dir() else None
    with ExitStack() as stack:
        try:
            file = stack.enter_context(NamedTemporaryFile("w", prefix="dms-airflow-", dir=folder))
            file.write(token)
            file.flush()
        except OSError as error:
            where = f" under {folder}" if folder else ""
            message = f"could not be assumed: the id-token could not be put into a file{where} ({error.strerror})."
            raise RoleError(f"{role.role_arn} {message}", HINT_TEMP) from None
        yield file.name


def _exchange(role: OidcRole, token_file: str, token: IdToken, ca_bundle: str, clock: Clock) -> Keys:
    with spare_imports():
        from alibabacloud_credentials.http import HttpOptions  # noqa: PLC0415 - see the module's docstring
        from alibabacloud_credentials.provider import OIDCRoleArnCredentialsProvider  # noqa: PLC0415

    failure: ActionError
    with tame(clock) as heard:
        try:
            provider = OIDCRoleArnCredentialsProvider(
                role_arn=role.role_arn,
                oidc_provider_arn=role.provider_arn,
                oidc_token_file_path=token_file,
                role_session_name=role.session_name,
                duration_seconds=role.duration,
                sts_endpoint=role.sts_host,
                http_options=HttpOptions(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT),
            )
            return ask_provider(provider, ca_bundle)
        except Exception as error:  # noqa: BLE001 - the SDK raises what its libraries raise; each is told apart below
            failure = name_network_failure(heard, "AssumeRoleWithOIDC") or _name_refusal(error, role, token)
            if isinstance(failure, UnknownHostError):
                failure.hint = HINT_HOST
            failure.retry_after = heard.retry_after
    # Outside of the except clause, so that no traceback shows the SDK's exception, which holds the id-token's URL.
    raise failure


def _name_refusal(error: Exception, role: OidcRole, token: IdToken) -> RoleError:
    answered = re.search(r"http_code: (?P<status>\d+), result: (?P<body>.*)", str(getattr(error, "message", "")), re.DOTALL)
    if answered is None:
        message = f"{role.role_arn} could not be assumed: {role.sts_host} answered what the SDK cannot read"
        return RoleError(f"{message} ({type(error).__name__}).", HINT_PROXY)
    status = int(answered["status"])
    try:
        told = json.loads(answered["body"])
    except ValueError:
        told = None
    passes = may_pass(status)
    if not isinstance(told, dict) or not told.get("Code"):
        failure = RoleError(
            f"{role.role_arn} could not be assumed: {role.sts_host} answered {status} without an error code.",
            HINT_BUSY if passes else HINT_PROXY,
        )
        failure.may_pass = passes
        return failure
    failure = _explain(str(told["Code"]), str(told.get("Message") or ""), str(told.get("RequestId") or "unknown"), role, token)
    failure.may_pass = failure.may_pass or passes
    return failure


def _explain(code: str, message: str, request_id: str, role: OidcRole, token: IdToken) -> RoleError:
    message = " ".join(message.split()) or "no message"
    meaning = find_meaning(MEANINGS, code, message) or UNKNOWN
    shown = ", ".join(f"{name} {value}" for name, value in token.claims.items())
    claims = f" The id-token's claims: {shown}." if shown else ""
    failure = RoleError(
        f"{role.role_arn} could not be assumed: {meaning.words} ({code}: {message}; request id {request_id}).{claims}",
        meaning.hint,
    )
    failure.may_pass = meaning.may_pass
    # Without all three a policy would let in more than this job; without the subject, everybody on GitHub.
    if meaning.hint is HINT_TRUST and {"iss", "sub", "aud"} <= token.claims.keys():
        policy = write_trust_policy(token.claims, role.provider_arn)
        failure.hint = f"{HINT_TRUST} {HINT_POLICY}\n{policy}"
        failure.blocks = (Folded(heading="trust policy for the role", text=policy, language="json"),)
    return failure


def write_trust_policy(claims: Mapping[str, str], provider_arn: str) -> str:
    """Write the trust policy of a role that trusts jobs with just these claims.

    https://help.aliyun.com/zh/ram/user-guide/create-a-ram-role-for-a-trusted-idp names the conditions.
    """
    conditions = {f"oidc:{name}": [claims[name]] for name in ("iss", "aud", "sub") if claims.get(name)}
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Federated": [provider_arn]},
        "Condition": {"StringEquals": conditions},
    }
    return json.dumps({"Version": "1", "Statement": [statement]}, indent=2)
