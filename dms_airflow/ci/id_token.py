"""The job's id-token: GitHub gives it on request, others put it into a variable.

https://docs.github.com/actions/reference/security/oidc
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote, urlsplit

from dms_airflow.ci.runner import Runner, System
from dms_airflow.core.errors import ActionError, IdTokenError
from dms_airflow.core.http.exchange import Transport
from dms_airflow.core.http.retry import is_transient_status, parse_retry_after
from dms_airflow.core.http.urls import allows_plain_http
from dms_airflow.core.log import Log

TIMEOUT = 30.0  # seconds

HINT_PERMISSION = (
    "In the workflow file, give the job (or the whole workflow) this line: permissions: { contents: read, id-token: write }. "
    "A reusable workflow needs it in the job that calls it, too. Pull requests from forks never get an id-token: run the step "
    "on push, or skip it there."
)
HINT_GITHUB = (
    "Run the job again; if it stays so, look at https://www.githubstatus.com, and on a self-hosted runner at its way to GitHub "
    "(HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE)."
)
HINT_VARIABLE = (
    "Set it to an id-token that your CI system issues for the identity provider's client id (on GitLab: id_tokens: { "
    "DMS_AIRFLOW_ID_TOKEN: { aud: sts.aliyuncs.com } }, and the provider's issuer is your GitLab), or give access-key-id and "
    "access-key-secret in place of role-to-assume."
)
HINT_URL = "The runner sets this variable; do not set it yourself."


def fetch_id_token(runner: Runner, audience: str, *, transport: Transport, log: Log) -> str:
    """Fetch the job's id-token for an audience, and mask it at once.

    Raises:
        IdTokenError: The job may not have one, or GitHub gave none.
    """
    if runner.id_token:
        log.mask(runner.id_token)
        return runner.id_token
    if not runner.id_token_url or not runner.id_token_bearer:
        if runner.system is System.GITHUB:
            raise IdTokenError("The job has no id-token: it lacks the permission id-token: write.", HINT_PERMISSION)
        # Forgejo and Gitea have no such permission.
        raise IdTokenError("The job has no id-token: the variable DMS_AIRFLOW_ID_TOKEN is not set.", HINT_VARIABLE)
    url = urlsplit(runner.id_token_url)
    # The bearer token goes only where nobody listens in.
    if url.scheme != "https" and not (url.scheme == "http" and allows_plain_http(url.hostname or ".")):
        raise IdTokenError("The variable ACTIONS_ID_TOKEN_REQUEST_URL is no https URL.", HINT_URL)
    base, query = f"{url.scheme}://{url.netloc}", f"{url.query}&audience={quote(audience, safe='')}"
    headers = {"Authorization": f"Bearer {runner.id_token_bearer}", "Accept": "application/json"}
    try:
        answer = transport.exchange("GET", base, url.path, query=query, headers=headers, timeout=TIMEOUT)
    except ActionError as error:
        message = f"GitHub gave no id-token. {error.message}"
        raise IdTokenError(message, HINT_GITHUB, is_transient=error.is_transient) from None
    try:
        token = answer.parse()["value"]
    except (ValueError, LookupError, TypeError):
        token = None
    if answer.status != HTTPStatus.OK or not token or not isinstance(token, str):
        is_denied = answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        raise IdTokenError(
            f"GitHub's id-token endpoint at {base} answered {answer.status} without an id-token.",
            HINT_PERMISSION if is_denied else HINT_GITHUB,
            is_transient=is_transient_status(answer.status),
            retry_after=parse_retry_after(answer.headers),
        )
    log.mask(token)
    return token
