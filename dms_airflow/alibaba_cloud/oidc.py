"""What an id-token's claims say about whom a role must trust. Pure, but for the event file.

https://docs.github.com/actions/reference/security/oidc
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The claims that a trust policy may look at; none of them is a secret.
CLAIMS = ("iss", "sub", "aud", "job_workflow_ref")


@dataclass(frozen=True, kw_only=True)
class IdToken:
    """A job's id-token, with those of its claims that may be shown."""

    value: str = field(repr=False)
    claims: Mapping[str, str]


def is_from_fork(event_file: Path | None) -> bool:
    """Tell from the event whether the pull request's branch lies in another repository; False when that is not known."""
    try:
        pull_request = json.loads(event_file.read_text(encoding="utf-8"))["pull_request"] if event_file else {}
        head, base = (pull_request[side]["repo"] for side in ("head", "base"))
        # A fork that was deleted is null.
        return bool(head is None or head["full_name"] != base["full_name"])
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return False


def read_claims(token: str) -> Mapping[str, str]:
    """Read the claims that may be shown. The signature is STS's business."""
    try:
        payload = token.split(".")[1]
        told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError, RecursionError):
        told = {}
    claims = told if isinstance(told, dict) else {}
    # Kubernetes names the one audience of a pod's token in a list.
    single = {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in claims.items()}
    return {name: single[name] for name in CLAIMS if isinstance(single.get(name), str)}


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
