"""What Alibaba Cloud's gateway checks before a request reaches DMS: signature (ACS3-HMAC-SHA256), clock, nonce, keys.

Written against what the Python SDK sends (alibabacloud_tea_openapi 0.4.6): it signs every header that it sets, and the
hash of the body. The checks run on the request as received, so a header or a query changed on the way is noticed. Error
codes are the gateway's public ones; their order and the texts are guesses.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ALGORITHM = "ACS3-HMAC-SHA256"
CLOCK_SKEW = timedelta(minutes=15)
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<key_id>[^,]+),SignedHeaders=(?P<headers>[^,]+),"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, kw_only=True)
class Credential:
    """An access key, or with a security token the three parts of a temporary one, which may expire."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """A request as received: header names in lower case, the query still encoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The header's values as the signature sees them: trimmed, sorted, joined by commas; empty when absent."""
        return ",".join(sorted(value.strip() for value in self.headers.get(name, ())))


class GatewayError(Exception):
    """A request that the gateway refuses: HTTP status, error code, text."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def verify(
    request: SignedRequest,
    credentials: Mapping[str, Credential],
    now: datetime,
    claim_nonce: Callable[[str], bool],
) -> Credential:
    """Return the credential that signed the request.

    Args:
        request: The request as received.
        credentials: The credentials that exist, by access key id.
        now: The server's clock, with a time zone.
        claim_nonce: Says whether a nonce is new, and remembers it.

    Raises:
        GatewayError: The request is not one that this credential signed, once, about now.
    """
    match = _AUTHORIZATION.fullmatch(request.header("authorization"))
    if match is None:
        raise GatewayError(400, "IncompleteSignature", f"The Authorization header is not one of {ALGORITHM}.")
    _check_date(request.header("x-acs-date"), now)
    credential = credentials.get(match["key_id"])
    if credential is None:
        raise GatewayError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    _check_security_token(request.header("x-acs-security-token"), credential)
    if credential.expires is not None and now >= credential.expires:
        raise GatewayError(403, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
    _check_signature(request, match, credential)
    nonce = request.header("x-acs-signature-nonce")
    if not nonce:
        raise GatewayError(400, "MissingSignatureNonce", "x-acs-signature-nonce is mandatory for this action.")
    if not claim_nonce(nonce):
        raise GatewayError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
    return credential


def sign(request: SignedRequest, signed_headers: Sequence[str], access_key_secret: str) -> str:
    """Return the hexadecimal signature over these headers (lower case, sorted)."""
    canonical_headers = "".join(f"{name}:{request.header(name)}\n" for name in signed_headers)
    canonical_request = "\n".join(
        (
            request.method,
            request.path,
            _canonical_query(request.query),
            canonical_headers,
            ";".join(signed_headers),
            request.header("x-acs-content-sha256"),
        )
    )
    string_to_sign = f"{ALGORITHM}\n{hashlib.sha256(canonical_request.encode()).hexdigest()}"
    return hmac.new(access_key_secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)


def _check_date(text: str, now: datetime) -> None:
    try:
        date = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise GatewayError(400, "InvalidTimeStamp.Format", "x-acs-date is missing or malformed.") from None
    if abs(now - date) > CLOCK_SKEW:
        raise GatewayError(400, "InvalidTimeStamp.Expired", "Specified time stamp is expired: check the clock.")


def _check_security_token(token: str, credential: Credential) -> None:
    if credential.security_token and not token:
        raise GatewayError(400, "MissingSecurityToken", "SecurityToken is mandatory for this access key.")
    if not hmac.compare_digest(token.encode(), credential.security_token.encode()):
        raise GatewayError(
            400, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken is not that of the access key."
        )


def _check_signature(request: SignedRequest, authorization: re.Match[str], credential: Credential) -> None:
    signed_headers = authorization["headers"].split(";")
    must_be_signed = {"host"} | {name for name in request.headers if name.startswith("x-acs-")}
    is_complete = must_be_signed <= set(signed_headers) and signed_headers == sorted(signed_headers)
    is_body_intact = request.header("x-acs-content-sha256") == hashlib.sha256(request.body).hexdigest()
    expected = sign(request, signed_headers, credential.access_key_secret)
    if not (is_complete and is_body_intact and hmac.compare_digest(expected, authorization["signature"])):
        raise GatewayError(
            400, "SignatureDoesNotMatch", "Specified signature does not match our calculation of it: check the secret."
        )
