"""Obtains keys from a source of credentials, by the credentials SDK.

https://help.aliyun.com/zh/sdk/developer-reference/v2-manage-python-access-credentials
https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc
The SDK's providers are used one by one, never as its default chain: that tries the ECS metadata address, which takes seconds
where there is none. As in login_token.py the SDK is imported only when it is needed.
"""

from __future__ import annotations

import base64
import json
import socket
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from requests.utils import get_environ_proxies

from dms_airflow.alibaba_cloud.credentials import ECS, OIDC, CredentialsSource, Keys
from dms_airflow.alibaba_cloud.error_codes import STS
from dms_airflow.alibaba_cloud.sdk import PROVIDERS, attempt, explain_network_failure, guard_sdk, parse_refusal, stub_imports
from dms_airflow.core.errors import ActionError, CredentialsError, RoleError
from dms_airflow.core.http.retry import is_transient_status
from dms_airflow.core.result import Folded
from dms_airflow.core.text import load_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dms_airflow.alibaba_cloud.sdk import LastExchange
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.log import Log

METADATA_HOST = "100.100.100.200"
# On an ECS instance the metadata server answers within milliseconds; elsewhere nothing answers.
METADATA_TIMEOUT = 0.5  # seconds

HINT_POLICY = (
    "This policy does that. To allow other branches too, use StringLike in place of StringEquals, and * in oidc:sub, but "
    "keep the name of the repository:"
)
HINT_BUSY = "This is a failure of the server that gives the keys; run the step again."
HINT_FILE = (
    "What sets ALIBABA_CLOUD_OIDC_TOKEN_FILE must write a token to that file, and this step must be able to read it. The "
    "folder for temporary files (RUNNER_TEMP, else TMPDIR) must be writable, on a disk that is not full."
)

# The claims that a trust policy may check; none of them is a secret.
CLAIMS = ("iss", "sub", "aud", "job_workflow_ref")


def is_reachable(host: str, port: int = 80) -> bool:
    """Whether a host accepts a connection within METADATA_TIMEOUT."""
    try:
        with socket.create_connection((host, port), METADATA_TIMEOUT):
            return True
    except OSError:
        return False


def obtain_keys(
    source: CredentialsSource,
    *,
    fetch_token: Callable[[str], str],
    temp: Path | None,
    ca_bundle: str,
    clock: Clock,
    log: Log,
    probe: Callable[[str], bool] = is_reachable,
) -> Keys:
    """Obtain keys from a source of credentials, and mask them; an ActionError if it has none.

    `fetch_token` gives the CI system's id-token for an audience; `temp` is the folder for a file with it, while it is exchanged
    for a role. `ca_bundle` are certificate authorities to trust in place of certifi's. `probe` tries to connect to a host.
    """
    keys = source.keys
    # With a proxy, only a request through it shows whether the server is there.
    if source.provider == ECS and not get_environ_proxies(f"http://{METADATA_HOST}") and not probe(METADATA_HOST):
        message = "There are no other credentials for Alibaba Cloud, and this machine is not an ECS instance."
        raise CredentialsError(message, source.hint)
    if source.provider == OIDC:
        with _store_token(source, fetch_token, temp, log) as (token, file):
            keys = _fetch_keys(source, {**source.options, "oidc_token_file_path": file}, ca_bundle, clock, token)
    elif keys is None:
        keys = _fetch_keys(source, source.options, ca_bundle, clock)
    for secret in (keys.access_key_id, keys.access_key_secret, keys.security_token):
        log.mask(secret)
    return keys


@contextmanager
def _store_token(
    source: CredentialsSource, fetch_token: Callable[[str], str], temp: Path | None, log: Log
) -> Iterator[tuple[str, str]]:
    """Get the id-token, and put it into a file, from which the SDK reads it."""
    try:
        token = Path(source.token_file).read_text("utf-8").strip() if source.token_file else fetch_token(source.audience)
        log.mask(token)
        # Of mode 0600, with a random name; it is deleted at the end in any case.
        with NamedTemporaryFile("w", prefix="dms-airflow-", dir=temp if temp and temp.is_dir() else None) as file:
            file.write(token)
            file.flush()
            yield token, file.name
    except (OSError, UnicodeError) as error:
        message = f"{source.options['role_arn']} could not be assumed: the file of the id-token failed ({error})."
        raise RoleError(message, HINT_FILE) from None


def _fetch_keys(source: CredentialsSource, options: Mapping[str, Any], ca_bundle: str, clock: Clock, token: str = "") -> Keys:
    """Fetch keys by the SDK's provider. What it raises may hold secrets, and is not shown."""
    with stub_imports():
        from alibabacloud_credentials import provider as providers  # noqa: PLC0415 - see the module's docstring

    def fetch() -> Keys:
        provider = getattr(providers, source.provider)(**options)
        if source.provider == ECS:
            # A server that gave a token would refuse a request without one, and that answer would hide what went wrong.
            provider._should_fallback_to_imds_v1 = lambda _: False  # noqa: SLF001 - nothing else chooses it
        credentials = provider.get_credentials()
        return Keys(
            access_key_id=credentials.get_access_key_id() or "",
            access_key_secret=credentials.get_access_key_secret() or "",
            security_token=credentials.get_security_token() or "",
            origin=source.origin,
        )

    with guard_sdk(PROVIDERS, clock, ca_bundle) as last:
        keys = attempt(fetch, last)
    if keys and keys.access_key_id and keys.access_key_secret:
        return keys
    raise _explain_failure(source, last, token)


def _explain_failure(source: CredentialsSource, last: LastExchange, token: str) -> ActionError:
    """Explain why there are no keys; with a token, why it was not exchanged for the role."""
    kind = RoleError if token else CredentialsError
    failed = f"{source.origin[0].upper()}{source.origin[1:]} gave no credentials"
    failed = f"{source.options['role_arn']} could not be assumed" if token else failed
    if fault := explain_network_failure(last):
        return kind(f"{failed}: {fault.message}", fault.hint, is_transient=fault.is_transient, retry_after=last.retry_after)
    is_transient, refusal = is_transient_status(last.status), parse_refusal(last, STS)
    if refusal is None or not token:
        code = f", {refusal.code}" if refusal else ""
        # Without an answer it was a file that did not give any.
        said = f" ({last.url} answered {last.status}{code})" if last.status else ""
        hint = HINT_BUSY if is_transient else source.hint
        return kind(f"{failed}{said}.", hint, is_transient=is_transient, retry_after=last.retry_after)
    known, claims = refusal.known, read_claims(token)
    shown = f" The id-token's claims: {', '.join(f'{name} {value}' for name, value in claims.items())}." if claims else ""
    hint, blocks = known.hint if known else source.hint, tuple[Folded, ...]()
    # Without all three a policy would let in more than this job; without the subject, everybody on GitHub.
    if known and known.is_missing_trust and {"iss", "sub", "aud"} <= claims.keys():
        policy = write_trust_policy(claims, source.options["oidc_provider_arn"])
        hint += f" {HINT_POLICY}\n{policy}"
        blocks = (Folded(heading="trust policy for the role", text=policy, language="json"),)
    return RoleError(
        f"{failed}: {known.meaning if known else 'STS refused'} {refusal}.{shown}",
        hint,
        is_transient=refusal.is_transient,
        retry_after=refusal.retry_after,
        blocks=blocks,
    )


def read_claims(token: str) -> Mapping[str, str]:
    """Read the claims that may be shown. The signature is STS's business."""
    try:
        payload = token.split(".")[1]
        claims = dict(load_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (ValueError, LookupError, TypeError):
        return {}
    # Kubernetes names the one audience of a pod's token in a list.
    single = {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in claims.items()}
    return {name: single[name] for name in CLAIMS if isinstance(single.get(name), str)}


def write_trust_policy(claims: Mapping[str, str], provider_arn: str) -> str:
    """Write the trust policy of a role that trusts jobs with just these claims.

    https://help.aliyun.com/zh/ram/user-guide/create-a-ram-role-for-a-trusted-idp names the conditions.
    """
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Federated": [provider_arn]},
        "Condition": {"StringEquals": {f"oidc:{name}": [claims[name]] for name in ("iss", "aud", "sub")}},
    }
    return json.dumps({"Version": "1", "Statement": [statement]}, indent=2)
