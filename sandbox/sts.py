"""STS: exchanges an id-token for temporary keys (AssumeRoleWithOIDC, version 2015-04-01, RPC style, without a signature).

https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc
Codes and texts of refusals are those that Alibaba Cloud documents for RRSA, which is this call:
https://help.aliyun.com/zh/ack/ack-managed-and-ack-dedicated/user-guide/use-rrsa-to-authorize-pods-to-access-different-cloud-services
"""

from __future__ import annotations

import fnmatch
import re
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox.oidc import ISSUER, TokenFormatError, decode
from sandbox.openapi import new_temporary_access_key
from sandbox.signature import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.signature import Credential

ACCOUNT = "1234567890123456"
CLOCK_SKEW = timedelta(minutes=15)
SHORTEST, LONGEST = 900, 43200  # seconds


@dataclass(frozen=True, kw_only=True)
class Role:
    """A RAM role and its trust policy.

    Args:
        arn: Its name.
        subjects: What the claim `sub` may be; ``*`` stands for anything.
        longest: Seconds that a session may last.
    """

    arn: str = f"acs:ram::{ACCOUNT}:role/github-deploy"
    subjects: tuple[str, ...] = ("repo:octo-org/dags:*",)
    longest: int = 3600


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An OIDC identity provider of RAM."""

    arn: str = f"acs:ram::{ACCOUNT}:oidc-provider/github"
    issuer: str = ISSUER
    client_ids: tuple[str, ...] = ("sts.aliyuncs.com",)


@dataclass
class SecurityTokenService:
    """Judges id-tokens and hands out keys.

    Args:
        key: Of the issuer's signatures.
        accept: Gets every key given out: the OpenAPI accepts it from then on.
        role: The one role that exists.
        provider: The one identity provider that exists.
    """

    key: bytes
    accept: Callable[[Credential], None]
    role: Role = field(default_factory=Role)
    provider: Provider = field(default_factory=Provider)
    given_out: list[Credential] = field(default_factory=list)

    def answer(self, query: str) -> tuple[int, dict[str, Any]]:
        """Answer one call with a status and a JSON body."""
        parameters = {name: values[0] for name, values in parse_qs(query).items()}
        request_id = str(uuid.uuid4()).upper()
        try:
            credential, expires = self._assume(parameters)
        except GatewayError as error:
            body = {"RequestId": request_id, "HostId": "sts.aliyuncs.com", "Code": error.code, "Message": error.message}
            return error.status, body
        session = f"{self.role.arn}/{parameters['RoleSessionName']}"
        return 200, {
            "RequestId": request_id,
            "AssumedRoleUser": {"Arn": session, "AssumedRoleId": "330000000000000000:session"},
            "Credentials": {
                "AccessKeyId": credential.access_key_id,
                "AccessKeySecret": credential.access_key_secret,
                "SecurityToken": credential.security_token,
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }

    def _assume(self, parameters: dict[str, str]) -> tuple[Credential, datetime]:
        now = datetime.now(UTC)
        seconds = self._check_call(parameters, now)
        claims = self._check_token(parameters.get("OIDCToken", ""), now)
        if parameters.get("RoleArn") != self.role.arn:
            raise GatewayError(404, "EntityNotExist.Role", f"The role not exists: {parameters.get('RoleArn')}. ")
        if not any(fnmatch.fnmatchcase(str(claims.get("sub")), pattern) for pattern in self.role.subjects):
            raise GatewayError(403, "AuthenticationFail.NoPermission", "There is no permission")
        if seconds > self.role.longest:
            raise GatewayError(
                400, "InvalidParameter.DurationSeconds", f"The Max value of DurationSeconds is {self.role.longest}."
            )
        expires = now + timedelta(seconds=seconds)
        credential = replace(new_temporary_access_key(), expires=expires)
        self.given_out.append(credential)
        self.accept(credential)
        return credential, expires

    def _check_call(self, parameters: dict[str, str], now: datetime) -> int:
        if (parameters.get("Action"), parameters.get("Version")) != ("AssumeRoleWithOIDC", "2015-04-01"):
            raise GatewayError(404, "InvalidAction.NotFound", "Specified api is not found, check the action.")
        try:
            sent = datetime.strptime(parameters.get("Timestamp", ""), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise GatewayError(400, "InvalidTimeStamp.Format", "Specified time stamp is not well formatted.") from None
        if abs(now - sent) > CLOCK_SKEW:
            raise GatewayError(400, "InvalidTimeStamp.Expired", "Specified time stamp is expired.")
        if not re.fullmatch(r"[A-Za-z0-9.@_-]{2,64}", parameters.get("RoleSessionName", "")):
            raise GatewayError(400, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is wrongly formed.")
        seconds = parameters.get("DurationSeconds", "3600")
        if not seconds.isdigit() or not SHORTEST <= int(seconds) <= LONGEST:
            raise GatewayError(400, "InvalidParameter.DurationSeconds", f"The Min value of DurationSeconds is {SHORTEST}.")
        if parameters.get("OIDCProviderArn") != self.provider.arn:
            raise GatewayError(403, "AuthenticationFail.NoPermission", "No such OIDC Provider registered.")
        return int(seconds)

    def _check_token(self, token: str, now: datetime) -> dict[str, Any]:
        try:
            claims = decode(token, self.key)
        except TokenFormatError:
            raise GatewayError(400, "AuthenticationFail.OIDCToken.Invalid", "This JsonWebToken is invalid.") from None
        if claims.get("iss") != self.provider.issuer:
            message = "The issuer in the OIDC Token doesn't match the OIDC Provider registered."
            raise GatewayError(400, "AuthenticationFail.OIDCToken.IssuerNotMatch", message)
        if not claims.get("nbf", 0) <= now.timestamp() < claims.get("exp", 0):
            raise GatewayError(400, "AuthenticationFail.OIDCToken.Expired", "This JsonWebToken is expired.")
        if claims.get("aud") not in self.provider.client_ids:
            raise GatewayError(400, "AuthenticationFail.OIDCToken.AudienceNotMatch", "Invalid audience.")
        return claims
