"""The one comment of a pull request for an instance and an operation, on GitHub, Gitea and Forgejo.

It takes two requests on GitHub and two or three elsewhere, and one more to delete a second comment: of two, which parallel jobs
make, the newest stays. GitHub's REST does not tell a job who owns its token, and its GraphQL lists the comments with that, also
in the response to a new one: https://docs.github.com/graphql/reference/mutations#addcomment
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from dms_airflow.ci.reports.comment import make_key, parse_states, render_comment
from dms_airflow.ci.runner import PullRequest, System
from dms_airflow.ci.system import CiSystem
from dms_airflow.core.clock import Clock
from dms_airflow.core.errors import ActionError, AnswerError, NetworkError
from dms_airflow.core.http.exchange import Transport
from dms_airflow.core.http.retry import retry
from dms_airflow.core.result import Annotation, Ending, Level, Result

if TYPE_CHECKING:
    from dms_airflow.config import Config


OPERATIONS = ("dags list-import-errors", "deploy", "deploy-gate", "smoke-test")

TIMEOUT = 10.0  # seconds for a request
LIMIT = 20.0  # seconds within which the last request begins

HINT = (
    "It needs github-token: ${{ github.token }}, and in the job: permissions: { contents: read, pull-requests: write }. In a "
    "pull request from a fork no token has that: docs/operations/pull-requests.md shows a workflow_run that has it. In a "
    "locked conversation, only those who may write to the repository can comment. Where it is something else, the next step "
    "brings the comment up to date."
)

# Of a conversation with more than 200 comments, the middle is not looked through: one of the first jobs writes the comment.
_NODES = "{ nodes { url body viewerDidAuthor } }"
_COMMENTS = f"... on PullRequest {{ first: comments(first: 100) {_NODES} last: comments(last: 100) {_NODES} }}"
_FETCH = f"query($id: ID!) {{ found: node(id: $id) {{ {_COMMENTS} }} }}"
_CREATE = (
    "mutation($id: ID!, $body: String!) "
    f"{{ found: addComment(input: {{subjectId: $id, body: $body}}) {{ subject {{ {_COMMENTS} }} }} }}"
)


def update_comment(
    result: Result, config: Config, *, ci: CiSystem, transport: Transport, clock: Clock
) -> tuple[Annotation, ...]:
    """Bring the comment of the pull request up to date, where the author wants one.

    Returns:
        A notice when that was not possible; the step ends as it would without.
    """
    if config.comment == "never" or not config.github_token or not config.instance_id or result.ending is Ending.CANCELLED:
        return ()
    pull_request = ci.runner.read_pull_request()
    if pull_request is None or config.operation not in OPERATIONS:
        ci.info(f"No comment: only pull requests of GitHub, Gitea and Forgejo have one, by {', '.join(OPERATIONS)}.")
        return ()
    deadline = clock.monotonic() + LIMIT
    comments = _Comments(pull_request=pull_request, config=config, ci=ci, transport=transport, clock=clock, deadline=deadline)
    try:
        comments.update(result)
    except (ActionError, LookupError, TypeError, ValueError) as error:
        said = f"{error.message}\n{error.hint}" if isinstance(error, ActionError) else f"The response is unusable.\n{HINT}"
        message = f"The comment of pull request {pull_request.number} was not written. {said}"
        return (Annotation(level=Level.NOTICE, title="Comment not written", message=message),)
    return ()


@dataclass(frozen=True, kw_only=True)
class _Comments:
    """The comments of a pull request."""

    pull_request: PullRequest
    config: Config
    ci: CiSystem
    transport: Transport
    clock: Clock
    deadline: float

    def update(self, result: Result) -> None:
        """Create the comment, or bring it up to date.

        Raises:
            ActionError: That is not possible.
        """
        key, runner = make_key(self.config), self.ci.runner
        issues = f"{runner.api_url}/repos/{quote(runner.repository)}/issues"
        own = self._fetch_own(key, issues)
        states = (own and parse_states(own[-1][1], key)) or []
        was_failing = bool(states) and states[0].ending is not Ending.SUCCESS
        if self.config.comment == "failure" and result.ending is Ending.SUCCESS and not was_failing:
            return
        name_page = partial(runner.name_page, head=self.pull_request)
        commit, run_url = self.pull_request.commit, runner.run_url
        body = render_comment(result, self.config, commit, states, redact=self.ci.redact, name_page=name_page, run_url=run_url)
        if own:
            self._send("PATCH", f"{issues}/comments/{own[-1][0]}", {"body": body})
        elif runner.system is System.GITHUB:
            own = self._query(_CREATE, key, body=body)
        else:
            self._send("POST", f"{issues}/{self.pull_request.number}/comments", {"body": body})
        if len(own) > 1:
            with suppress(ActionError):  # another job was faster, or the next one deletes it
                self._send("DELETE", f"{issues}/comments/{own[-2][0]}")
        self.ci.info(f"The comment of pull request {self.pull_request.number} is up to date.")

    def _fetch_own(self, key: str, issues: str) -> list[tuple[int, str]]:
        """Fetch the comments with a mark that the owner of the token wrote, the oldest first: their ids and texts."""
        if self.ci.runner.system is System.GITHUB:
            return self._query(_FETCH, key)
        listed = self._send("GET", f"{issues}/{self.pull_request.number}/comments")  # all at once, whatever their number
        marked = [one for one in listed if parse_states(one["body"], key) is not None]
        login = self._send("GET", f"{self.ci.runner.api_url}/user")["login"] if marked else ""
        return sorted((int(one["id"]), one["body"]) for one in marked if one["user"]["login"] == login)

    def _query(self, query: str, key: str, **variables: str) -> list[tuple[int, str]]:
        """Send a query to GitHub, and return what `_fetch_own` does. Only the URL of a comment has its id in REST."""
        body = {"query": query, "variables": {"id": self.pull_request.node_id, **variables}}
        found = self._send("POST", self.ci.runner.graphql_url, body, may_repeat=query == _FETCH)["data"]["found"]
        subject = found.get("subject", found)
        nodes = {int(one["url"].rpartition("-")[2]): one for side in ("first", "last") for one in subject[side]["nodes"]}
        own = ((number, one["body"]) for number, one in nodes.items() if one["viewerDidAuthor"])
        return sorted((number, text) for number, text in own if parse_states(text, key) is not None)

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None, *, may_repeat: bool = False) -> Any:
        """Send a request, and return the JSON of its response.

        Raises:
            ActionError: It failed. A comment whose creation may have succeeded is not created again.
        """
        parts = urlsplit(url)
        headers = {"Authorization": f"Bearer {self.config.github_token}", "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body else None
        exchange = partial(self.transport.exchange, method, f"{parts.scheme}://{parts.netloc}", parts.path)

        def send() -> Any:
            response = exchange(headers=headers, body=content, timeout=TIMEOUT)
            answer = response.parse_object()
            refused = answer if response.status >= HTTPStatus.MULTIPLE_CHOICES else next(iter(answer.get("errors", ())), None)
            if refused is None:
                return answer or (response.parse() if response.body else None)
            # GraphQL refuses with a type in place of a status.
            said = " ".join(f"{refused.get('type', response.status)} {refused.get('message', '')}".split())[:200]
            is_transient = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            raise AnswerError(f"{method} was answered: {said}.", HINT, is_transient=is_transient)

        def may_retry(error: ActionError) -> bool:
            return error.is_transient and (may_repeat or method != "POST" or isinstance(error, NetworkError))

        return retry(send, clock=self.clock, log=self.ci, deadline=self.deadline, may_retry=may_retry)
