"""Tokens from one server for another one."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class LoginToken:
    """The result of CreateAirflowLoginToken: the instance's base URL, and a token that works once."""

    host: str
    token: str = field(repr=False)


# The claims that a trust policy may check; none of them is a secret.
CLAIMS = ("iss", "sub", "aud", "job_workflow_ref")


def read_claims(token: str) -> Mapping[str, str]:
    """Read the claims that may be shown. The signature is STS's business."""
    try:
        payload = token.split(".")[1]
        value = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError, RecursionError):
        value = {}
    claims = value if isinstance(value, dict) else {}
    # Kubernetes names the one audience of a pod's token in a list.
    single = {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in claims.items()}
    return {name: single[name] for name in CLAIMS if isinstance(single.get(name), str)}
