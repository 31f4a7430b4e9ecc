"""Exchanges the token of an OIDC identity provider for the keys of a RAM role, by STS's call AssumeRoleWithOIDC.

https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc
As in login_token.py the SDK is imported only when it is needed.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from dms_airflow.alibaba_cloud.error_codes import STS
from dms_airflow.alibaba_cloud.sdk import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    attempt,
    explain_network_failure,
    fetch_keys,
    guard_sdk,
    parse_body_refusal,
    stub_imports,
)
from dms_airflow.core.errors import ActionError, RoleError, UnknownHostError
from dms_airflow.core.http.retry import is_transient_status
from dms_airflow.core.result import Folded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys, OidcRole
    from dms_airflow.alibaba_cloud.sdk import LastExchange
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.log import Log

HINT_POLICY = (
    "This policy does that. To allow other branches too, use StringLike in place of StringEquals, and * in oidc:sub, but "
    "keep the name of the repository:"
)
HINT_BUSY = "This is a failure of STS; run the step again."
HINT_OTHER = "Look the code up in the error codes of STS, API AssumeRoleWithOIDC."
HINT_FILE = "What sets ALIBABA_CLOUD_OIDC_TOKEN_FILE must write a token to this file, and this step must be able to read it."
HINT_TEMP = "The folder for temporary files (RUNNER_TEMP, else TMPDIR) must be writable, on a disk that is not full."
HINT_HOST = (
    "Check this machine's name server; a machine that reaches the internet only through a proxy needs HTTPS_PROXY. The name "
    "follows from ALIBABA_CLOUD_STS_REGION and ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED; the name for a VPC resolves only inside "
    "of it."
)
HINT_PROXY = "The response is not from STS: check HTTPS_PROXY and NO_PROXY in the job's environment."

# The claims that a trust policy may check; none of them is a secret.
CLAIMS = ("iss", "sub", "aud", "job_workflow_ref")


def assume_role(
    role: OidcRole, *, fetch_token: Callable[[str], str], temp: Path | None, ca_bundle: str, clock: Clock, log: Log
) -> Keys:
    """Exchange a token for a role.

    Args:
        role: Which one, for how long, at which STS.
        fetch_token: Gives GitHub's token for an audience, where the role names no file with one.
        temp: The folder for the token's file while the exchange takes place.
        ca_bundle: Certificate authorities to trust in place of certifi's.
        clock: For time limits.
        log: Masks the token of a file; GitHub's token is masked already.

    Raises:
        RoleError: STS refused, or the token's file cannot be read or written.
        NetworkError: STS was not reached.
    """
    if role.token_file:
        token = _read_token(role)
        log.mask(token)
        return _exchange(role, role.token_file, token, ca_bundle, clock)
    token = fetch_token(role.audience)
    folder = temp if temp and temp.is_dir() else None
    try:
        # Of mode 0600, with a random name; it is deleted at the end in any case.
        with NamedTemporaryFile("w", prefix="dms-airflow-", dir=folder) as file:
            file.write(token)
            file.flush()
            return _exchange(role, file.name, token, ca_bundle, clock)
    except OSError as error:
        where = f" under {folder}" if folder else ""
        message = f"could not be assumed: the id-token could not be put into a file{where} ({error.strerror})."
        raise RoleError(f"{role.role_arn} {message}", HINT_TEMP) from None


def _read_token(role: OidcRole) -> str:
    try:
        return Path(role.token_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        message = f"could not be assumed: the token file {role.token_file} cannot be read ({type(error).__name__})."
        raise RoleError(f"{role.role_arn} {message}", HINT_FILE) from None


def _exchange(role: OidcRole, token_file: str, token: str, ca_bundle: str, clock: Clock) -> Keys:
    with stub_imports():
        from alibabacloud_credentials.http import HttpOptions  # noqa: PLC0415 - see the module's docstring
        from alibabacloud_credentials.provider import OIDCRoleArnCredentialsProvider  # noqa: PLC0415

    def fetch() -> Keys:
        provider = OIDCRoleArnCredentialsProvider(
            role_arn=role.role_arn,
            oidc_provider_arn=role.provider_arn,
            oidc_token_file_path=token_file,
            role_session_name=role.session_name,
            duration_seconds=role.duration,
            sts_endpoint=role.sts_host,
            http_options=HttpOptions(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT),
        )
        return fetch_keys(provider, ca_bundle)

    with guard_sdk(clock) as last:
        keys, error = attempt(fetch)
    if keys is None:
        raise _explain_failure(error, last, role, token)
    return keys


def _explain_failure(error: Exception | None, last: LastExchange, role: OidcRole, token: str) -> ActionError:
    if fault := explain_network_failure(last, "AssumeRoleWithOIDC"):
        hint = HINT_HOST if isinstance(fault, UnknownHostError) else fault.hint
        return type(fault)(fault.message, hint, is_transient=fault.is_transient, retry_after=last.retry_after)
    failed = f"{role.role_arn} could not be assumed"
    response = re.search(r"http_code: (?P<status>\d+), result: (?P<body>.*)", str(getattr(error, "message", "")), re.DOTALL)
    if response is None:
        message = f"{failed}: the SDK cannot read the response of {role.sts_host} ({type(error).__name__})."
        return RoleError(message, HINT_PROXY, retry_after=last.retry_after)
    status = int(response["status"])
    try:
        body = json.loads(response["body"])
    except ValueError:
        body = None
    if not isinstance(body, dict) or not body.get("Code"):
        message = f"{failed}: {role.sts_host} answered {status} without an error code."
        hint = HINT_BUSY if is_transient_status(status) else HINT_PROXY
        return RoleError(message, hint, is_transient=is_transient_status(status), retry_after=last.retry_after)
    refusal = replace(parse_body_refusal(body), status=status, retry_after=last.retry_after)
    known = refusal.find_code(STS)
    claims = read_claims(token)
    shown = f" The id-token's claims: {', '.join(f'{name} {value}' for name, value in claims.items())}." if claims else ""
    hint = known.hint if known else HINT_OTHER
    blocks: tuple[Folded, ...] = ()
    # Without all three a policy would let in more than this job; without the subject, everybody on GitHub.
    if known and known.is_missing_trust and {"iss", "sub", "aud"} <= claims.keys():
        policy = write_trust_policy(claims, role.provider_arn)
        hint += f" {HINT_POLICY}\n{policy}"
        blocks = (Folded(heading="trust policy for the role", text=policy, language="json"),)
    return RoleError(
        f"{failed}: {known.meaning if known else 'STS refused'} {refusal}.{shown}",
        hint,
        is_transient=refusal.is_transient(known),
        retry_after=refusal.retry_after,
        blocks=blocks,
    )


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
