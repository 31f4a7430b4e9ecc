"""GitHub's id-token endpoint: gives a job its id-token, for the bearer token that the runner was given.

GitHub signs with RS256 and publishes the key; here issuer and STS share a key (HS256), so that the standard library is enough.
https://docs.github.com/actions/reference/security/oidc
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://token.actions.githubusercontent.com"
HOST = "pipelines.actions.githubusercontent.com"
PATH = "/aBcDeF/_apis/distributedtask/hubs/Actions/plans/1/jobs/2/idtoken"
LIFETIME = timedelta(minutes=5)


class TokenFormatError(ValueError):
    """It is no JSON Web Token of this key."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What GitHub says about a job in its id-token."""

    repository: str = "octo-org/dags"
    ref: str = "refs/heads/main"
    workflow: str = ".github/workflows/deploy.yml"

    @property
    def subject(self) -> str:
        """The claim `sub` of a job without an environment."""
        return f"repo:{self.repository}:ref:{self.ref}"


@dataclass
class Issuer:
    """Signs id-tokens for one job.

    Args:
        job: The job.
        bearer: What the job must show.
        lifetime: Of a token; negative for one that has expired already.
    """

    job: Job = field(default_factory=Job)
    bearer: str = field(default_factory=lambda: secrets.token_urlsafe(40))
    lifetime: timedelta = LIFETIME
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    issued: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The value of ACTIONS_ID_TOKEN_REQUEST_URL."""
        return f"https://{HOST}{PATH}?api-version=2.0"

    def answer(self, method: str, path: str, query: str, authorization: str) -> tuple[int, dict[str, Any]]:
        """Answer one request with a status and a JSON body."""
        values = parse_qs(query)
        if method != "GET" or path != PATH or values.get("api-version") != ["2.0"]:
            return 404, {"message": "not found"}
        if not hmac.compare_digest(authorization, f"Bearer {self.bearer}"):
            return 401, {"message": "not authorized"}
        token = self.issue(values.get("audience", [f"https://github.com/{self.job.repository.partition('/')[0]}"])[0])
        return 200, {"count": len(token), "value": token}

    def issue(self, audience: str) -> str:
        """Make an id-token for an audience."""
        now = datetime.now(UTC)
        token = encode(
            {
                "iss": ISSUER,
                "sub": self.job.subject,
                "aud": audience,
                "repository": self.job.repository,
                "ref": self.job.ref,
                "job_workflow_ref": f"{self.job.repository}/{self.job.workflow}@{self.job.ref}",
                "jti": secrets.token_hex(16),
                "nbf": int((now - timedelta(minutes=10)).timestamp()),
                "iat": int(now.timestamp()),
                "exp": int((now + self.lifetime).timestamp()),
            },
            self.key,
        )
        self.issued.append(token)
        return token


def encode(claims: Mapping[str, Any], key: bytes) -> str:
    """Write a JSON Web Token: https://www.rfc-editor.org/rfc/rfc7519."""
    parts = [_encode(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, claims)]
    return ".".join((*parts, _encode(_sign(".".join(parts), key))))


def decode(token: str, key: bytes) -> dict[str, Any]:
    """Read a JSON Web Token.

    Raises:
        TokenFormatError: It is none, or of another key.
    """
    try:
        signed, _, signature = token.rpartition(".")
        header, claims = (json.loads(_decode(part)) for part in signed.split("."))
        is_ours = header["alg"] == "HS256" and hmac.compare_digest(_decode(signature), _sign(signed, key))
    except (ValueError, LookupError, TypeError) as error:
        raise TokenFormatError("not a JSON Web Token") from error
    if not is_ours or not isinstance(claims, dict):
        raise TokenFormatError("not signed by this key")
    return claims


def _sign(text: str, key: bytes) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
