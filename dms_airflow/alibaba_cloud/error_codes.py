"""The error codes of Alibaba Cloud's OpenAPI and of STS: what each means, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dms_airflow.core.http.retry import is_transient_status

if TYPE_CHECKING:
    from collections.abc import Sequence

CONSOLE = "In the RAM console (https://ram.console.aliyun.com), Alibaba Cloud's users and roles,"

HINT_POLICY = (
    "In the RAM console (https://ram.console.aliyun.com), give the identity (RAM user or role) a policy with the action "
    'dms:CreateAirflowLoginToken on resource "*": docs/getting-started.md.'
)
HINT_BUSY = "This is a failure of Alibaba Cloud. Run the step again; if it fails again, contact support with the request id."
HINT_OTHER = f"Look the code up in DMS's error codes. If it is about permissions: {HINT_POLICY}"
HINT_ENDPOINT = "Check endpoint: it must be Alibaba Cloud's OpenAPI, with no login page or proxy in between."

HINT_TRUST = f"{CONSOLE} under Identities → Roles → the role → Trust Policy, allow the id-token's claims."

# With SignatureDoesNotMatch the gateway quotes the request that it verified; one of its headers is the security token.
_QUOTED_REQUEST = re.compile(
    r"\s*\b(?:server )?(?:string ?to ?sign|canonical ?(?:string|request))\b.*", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class ErrorCode:
    """An error code that is known.

    Args:
        pattern: Searched for in ``code: message``.
        meaning: What happened.
        hint: What to do.
        is_transient: The same call may succeed a moment later.
        is_missing_trust: The role does not trust the job, which a trust policy of its claims would change.
    """

    pattern: re.Pattern[str]
    meaning: str
    hint: str
    is_transient: bool = False
    is_missing_trust: bool = False


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A call that Alibaba Cloud refused.

    Args:
        code: Its error code.
        message: Alibaba Cloud's message.
        request_id: For the support.
        status: HTTP status; None where it is not known.
        retry_after: Seconds to wait, as Alibaba Cloud requested.
    """

    code: str
    message: str
    request_id: str
    status: int | None = None
    retry_after: float = 0.0

    def __str__(self) -> str:
        return f"({self.code}: {self.text or 'no message'}; request id {self.request_id or 'unknown'})"

    @property
    def text(self) -> str:
        """The message in one line, without the request that it may quote."""
        return _QUOTED_REQUEST.sub("", " ".join(self.message.split()))

    @property
    def is_expired(self) -> bool:
        """Whether new temporary credentials would be accepted."""
        return re.search("SecurityToken.*Expired", f"{self.code}: {self.text}") is not None

    def find_code(self, codes: Sequence[ErrorCode]) -> ErrorCode | None:
        """Find the first code that matches; None where none does."""
        return next((one for one in codes if one.pattern.search(f"{self.code}: {self.text}")), None)

    def is_transient(self, known: ErrorCode | None) -> bool:
        """Whether the same call may succeed a moment later."""
        return (known is not None and known.is_transient) or (self.status is not None and is_transient_status(self.status))


_CLOCK = ErrorCode(
    pattern=re.compile(r"^InvalidTimeStamp|^IllegalTimestamp"),
    meaning="this machine's clock is wrong",
    hint="Alibaba Cloud accepts a difference of fifteen minutes. Synchronise the clock of this machine (NTP).",
)
_THROTTLED = ErrorCode(
    pattern=re.compile(r"^Throttling"),
    meaning="the account makes too many calls",
    hint="Run the step again later, or let fewer jobs call at once; with reuse-session: true later steps do not call.",
    is_transient=True,
)

# The first that matches counts. DMS documents no list of codes for these calls. These are known of the OpenAPI gateway and of
# DMS's other calls.
OPENAPI_CODES = (
    ErrorCode(
        pattern=re.compile(r"^InvalidAccessKeyId|^Forbidden\.AccessKeyDisabled"),
        meaning="Alibaba Cloud knows no active AccessKey with this id",
        hint="The key was deleted or disabled, or belongs to Alibaba Cloud's other site (China or international). Open "
        "Identities → Users → the user in the RAM console (https://ram.console.aliyun.com), and store an active key in the "
        "secrets.",
    ),
    ErrorCode(
        pattern=re.compile(r"^SignatureDoesNotMatch|^InvalidAccessKeySecret|^IncompleteSignature"),
        meaning="the AccessKey's secret does not match its id",
        hint="The secret belongs to another key, or is not complete. Store the id and the secret of one AccessKey again, "
        "both complete.",
    ),
    ErrorCode(
        pattern=re.compile(r"^InvalidSecurityToken\.Expired|^SecurityTokenExpired"),
        meaning="the temporary credentials have expired",
        hint="Temporary credentials are valid for an hour or less. Get them in a step right before this one, or use "
        "role-to-assume, which gets its own.",
    ),
    ErrorCode(
        pattern=re.compile(r"^InvalidSecurityToken|^MissingSecurityToken"),
        meaning="the security token and the AccessKey do not belong together",
        hint='An AccessKey id that begins with "STS." needs its security-token: give all three parts of the same issue. '
        "The AccessKey of a RAM user has none: leave security-token empty.",
    ),
    _CLOCK,
    _THROTTLED,
    ErrorCode(
        pattern=re.compile(r"UserNotExist"),
        meaning="the identity is not a user of DMS",
        hint="RAM, Alibaba Cloud's users and roles, knows the identity; DMS does not. A DMS administrator must add its UID "
        "(of a role: the role's id) in DMS's console under user management.",
    ),
    ErrorCode(
        pattern=re.compile(r"TenantNotExist"),
        meaning="the account has no DMS",
        hint="The account of these credentials does not use DMS, or an administrator must first open DMS's console once.",
    ),
    ErrorCode(
        pattern=re.compile(r"^Forbidden|NoPermission"),
        meaning="the identity has no permission for this call",
        hint=HINT_POLICY,
    ),
    ErrorCode(
        pattern=re.compile(r"^InvalidAction|^InvalidVersion"),
        meaning="this endpoint does not know the call",
        hint=HINT_ENDPOINT,
    ),
    # The nonce of a request whose response was lost; the next one has another.
    ErrorCode(
        pattern=re.compile(r"^SignatureNonceUsed|^InternalError|^ServiceUnavailable"),
        meaning="Alibaba Cloud failed to handle it",
        hint=HINT_BUSY,
        is_transient=True,
    ),
)

# Of CreateAirflowLoginToken.
TOKEN_CODES = (
    *OPENAPI_CODES,
    # GetAirflow calls this state DEPLOYING. How this call reports it is not documented, so that the message decides.
    ErrorCode(
        pattern=re.compile(
            r"deploying|being (?:deployed|created|restarted)|not ?ready|not (?:yet |in )?running|InstanceStatus", re.IGNORECASE
        ),
        meaning="the instance is being deployed",
        hint="DMS is creating, changing or restarting the instance. Wait until its console shows it as running, then run "
        "again.",
    ),
    ErrorCode(
        pattern=re.compile(r"^[^:]*(?:NotFound|NotExist)|^InvalidParameter"),
        meaning="there is no such instance in this region",
        hint="Compare instance-id and region with DMS's console; an instance is known only in its own region and to its own "
        "account.",
    ),
)

# Of AssumeRoleWithOIDC: the codes that the SDKs' own tests name, and
# https://help.aliyun.com/zh/ack/ack-managed-and-ack-dedicated/user-guide/use-rrsa-to-authorize-pods-to-access-different-cloud-services
STS_CODES = (
    ErrorCode(
        pattern=re.compile(r"AuthenticationFail\.OIDCToken\.AudienceNotMatch|AuthenticationFail.*: .*\baudience\b"),
        meaning="the OIDC identity provider does not know the id-token's audience",
        hint=f"{CONSOLE} under Integrations → SSO → Role-based SSO → OIDC, add the claim aud above to the identity provider's "
        "client ids, or set the input audience to one of them.",
    ),
    ErrorCode(
        pattern=re.compile(
            r"AuthenticationFail\.OIDCToken\.(?:IssuerNotMatch|IssuerConfigurationBroken|PublicKeyFingerprintMismatch|Invalid)"
            r"|AuthenticationFail\.NoPermission: .*OIDC ?Provider|EntityNotExist\.OIDCProvider"
        ),
        meaning="the OIDC identity provider is not set up for your CI system, or oidc-provider-arn is wrong",
        hint=f"{CONSOLE} under Integrations → SSO → Role-based SSO → OIDC, check the identity provider: oidc-provider-arn "
        "must be its ARN, its issuer URL the claim iss (https://token.actions.githubusercontent.com on github.com), its "
        "fingerprint what the console fetches for that URL.",
    ),
    ErrorCode(
        pattern=re.compile(r"AuthenticationFail\.OIDCToken\.Expired"),
        meaning="the id-token has expired",
        hint="Id-tokens are valid for some minutes. Check this machine's clock, and run the step again.",
    ),
    ErrorCode(
        pattern=re.compile(r"AuthenticationFail\.NoPermission"),
        meaning="the role does not trust this job",
        hint=HINT_TRUST,
        is_missing_trust=True,
    ),
    _CLOCK,
    ErrorCode(
        pattern=re.compile(r"EntityNotExist\.Role"),
        meaning="there is no such role",
        hint=f"{CONSOLE} under Identities → Roles → the role, copy its ARN to role-to-assume.",
    ),
    ErrorCode(
        pattern=re.compile(r"InvalidParameter\.DurationSeconds"),
        meaning="the role allows no session of this length",
        hint="role-session-expiration is longer than the role allows: lower it, or raise the role's maximum session duration "
        "in the RAM console.",
    ),
    _THROTTLED,
)
UNKNOWN_STS_CODE = ErrorCode(
    pattern=re.compile(""), meaning="STS refused", hint="Look the code up in the error codes of STS, API AssumeRoleWithOIDC."
)
