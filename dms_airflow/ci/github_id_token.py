"""GitHub's side of OIDC: the job's id-token.

https://docs.github.com/actions/reference/security/oidc
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from dms_airflow.core.errors import AnswerError, AnswerLostError, IdTokenError, NetworkError
from dms_airflow.core.http.retry import is_transient_status, parse_retry_after
from dms_airflow.core.http.urls import allows_plain_http
from dms_airflow.core.secrets.tokens import IdToken, read_claims

if TYPE_CHECKING:
    from dms_airflow.ci.runner import Runner
    from dms_airflow.core.http.exchange import Response, Transport
    from dms_airflow.core.log import Log


TIMEOUT = 30.0  # seconds

HINT_PERMISSION = (
    "In the workflow file, give the job (or the whole workflow) this line: permissions: { contents: read, id-token: write }. "
    "A reusable workflow needs it in the job that calls it, too."
)
HINT_FORK = (
    "GitHub gives no id-token to pull requests from forks, whatever permissions the workflow names. Run the step on push, or "
    "skip it there with: if: github.event.pull_request.head.repo.full_name == github.repository"
)
HINT_GITHUB = (
    "Run the job again; if it stays so, look at https://www.githubstatus.com, and on a self-hosted runner at its way to GitHub "
    "(HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE)."
)
HINT_URL = "The runner sets this variable; do not set it yourself."


def fetch_id_token(runner: Runner, audience: str, *, transport: Transport, log: Log) -> IdToken:
    """Ask GitHub for the job's id-token.

    Args:
        runner: Knows where to ask, and by which secret.
        audience: Whom the token is to be for.
        transport: Sends the request.
        log: Learns the token at once, so that it is masked.

    Raises:
        IdTokenError: The job may not have one, or GitHub gave none.
    """
    if not runner.id_token_url or not runner.id_token_bearer:
        raise _explain_absence(runner)
    base, path, query = _split_url(runner.id_token_url)
    query = "&".join(filter(None, (query, f"audience={quote(audience, safe='')}")))
    headers = {"Authorization": f"Bearer {runner.id_token_bearer}", "Accept": "application/json"}
    try:
        answer = transport.exchange("GET", base, path, query=query, headers=headers, timeout=TIMEOUT)
    except (NetworkError, AnswerLostError, AnswerError) as error:
        failure = IdTokenError(f"GitHub gave no id-token. {error.message}", HINT_GITHUB)
        failure.is_transient = error.is_transient
        raise failure from None
    value = _read_value(answer)
    if answer.status != 200 or not value:  # noqa: PLR2004
        raise _explain_refusal(answer, base)
    log.mask(value)
    return IdToken(value=value, claims=read_claims(value))


def _read_value(answer: Response) -> str:
    try:
        value = answer.parse()["value"]
    except (ValueError, LookupError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


def _split_url(url: str) -> tuple[str, str, str]:
    """Split into base, path and query; the bearer token goes only where nobody listens in."""
    match = re.fullmatch(r"(?P<base>(?P<scheme>https?)://[^/?#@\s]+)(?P<path>/[^?#\s]*)?(?:\?(?P<query>[^#\s]*))?", url)
    if match is None or (match["scheme"] == "http" and not allows_plain_http(urlsplit(url).hostname or ".")):
        raise IdTokenError("The variable ACTIONS_ID_TOKEN_REQUEST_URL is no https URL.", HINT_URL)
    return match["base"], match["path"] or "/", match["query"] or ""


def _explain_absence(runner: Runner) -> IdTokenError:
    pull_request = runner.read_pull_request()
    if runner.event_name == "pull_request" and pull_request and pull_request.is_from_fork:
        return IdTokenError("This pull request comes from a fork, and so its jobs get no id-token.", HINT_FORK)
    return IdTokenError(
        "role-to-assume needs the job's id-token, and this job may not have one: it lacks the permission id-token: write.",
        f"{HINT_PERMISSION} Pull requests from forks never get one.",
    )


def _explain_refusal(answer: Response, base: str) -> IdTokenError:
    error = IdTokenError(
        f"GitHub's id-token endpoint at {base} answered {answer.status} without an id-token.",
        HINT_PERMISSION if answer.status in (401, 403) else HINT_GITHUB,
    )
    error.is_transient = is_transient_status(answer.status)
    error.retry_after = parse_retry_after(answer.headers)
    return error
