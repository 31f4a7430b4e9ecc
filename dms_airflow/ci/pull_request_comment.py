"""The one comment of a pull request for an instance and an operation, on GitHub, Gitea and Forgejo.

https://docs.github.com/rest/issues/comments; Gitea and Forgejo have the same routes. Of two comments, which parallel jobs make,
the newest stays: a job that made a comment deletes the one that was made before it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from dms_airflow.ci.github_id_token import is_from_fork
from dms_airflow.ci.reports.comment import make_key, parse_states, render_comment
from dms_airflow.ci.runner import System
from dms_airflow.core.errors import ActionError, CommentError, NetworkError
from dms_airflow.core.http.retry import retry
from dms_airflow.core.result import Annotation, Ending, Level

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from dms_airflow.ci.runner import Runner
    from dms_airflow.ci.summary import Occasion
    from dms_airflow.ci.system import CiSystem
    from dms_airflow.config import Config
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.exchange import Response, Transport
    from dms_airflow.core.result import Result

OPERATIONS = ("dags list-import-errors", "deploy", "deploy-gate", "smoke-test")

TIMEOUT = 10.0  # seconds for a request
LIMIT = 20.0  # seconds within which the last request begins
MOST_PAGES = 25  # of 100 comments: an issue of GitHub's has at most 2500

NEXT = "The next step brings the comment up to date; it needs pull-requests: write."
HINT_PERMISSION = (
    "Give the job this line: permissions: { contents: read, pull-requests: write }. In a locked conversation, only those who "
    "may write to the repository can comment."
)
HINT_FORK = (
    "The pull request comes from a fork: whatever the workflow says, its jobs get a token without pull-requests: write. "
    "docs/operations/pull-requests.md shows a workflow_run that has it."
)
HINT_TOKEN = "Give github-token: ${{ github.token }}, or another valid token with pull-requests: write."  # noqa: S105 - none
HINT_DELETED = f"Somebody deleted it, or a newer job's comment took its place. {NEXT}"
HINT_LIMIT = f"The rate limit of the token is used up. {NEXT}"


def update_comment(
    result: Result, occasion: Occasion, *, config: Config, ci: CiSystem, transport: Transport, clock: Clock
) -> tuple[Annotation, ...]:
    """Bring the comment of the pull request up to date, where the author wants one.

    Returns:
        A notice when that was not possible; the step ends as it would without.
    """
    if config.comment == "never" or not config.github_token or not config.instance_id or result.ending is Ending.CANCELLED:
        return ()
    head = Head.read(ci.runner)
    if head is None or occasion.operation not in OPERATIONS:
        ci.info(f"No comment: only pull requests of GitHub, Gitea and Forgejo have one, by {', '.join(OPERATIONS)}.")
        return ()
    deadline = clock.monotonic() + LIMIT
    comment = _Comment(head=head, config=config, ci=ci, transport=transport, clock=clock, deadline=deadline)
    try:
        comment.update(result, occasion)
    except ActionError as error:
        reason, hint = error.message, error.hint
    except (LookupError, TypeError, ValueError):
        reason, hint = "A response was not as GitHub documents it.", NEXT
    else:
        return ()
    message = f"The comment of pull request {head.number} was not written. {reason}\n{hint}"
    return (Annotation(level=Level.NOTICE, title=CommentError.title, message=message),)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a pull request wants to merge: the job's own commit is a merge of it. The repository is maybe that of a fork."""

    number: int
    commit: str
    repository: str

    @classmethod
    def read(cls, runner: Runner) -> Self | None:
        """Read it from the event; None where the event is another one."""
        is_one = runner.event_name in ("pull_request", "pull_request_target")
        if not is_one or not runner.event_file or runner.system not in (System.GITHUB, System.GITEA, System.FORGEJO):
            return None
        try:
            event = json.loads(runner.event_file.read_text(encoding="utf-8"))["pull_request"]
            commit, repository = bytes.fromhex(event["head"]["sha"]).hex(), event["head"]["repo"]  # null: a deleted fork
            return cls(number=int(event["number"]), commit=commit, repository=repository["full_name"] if repository else "")
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            return None

    def name_page(self, runner: Runner, file: str | None, line: int | None) -> str:
        """Name the page of a file: at the head, where it would be at the job's own commit."""
        page = runner.name_page(file, line)
        repository, found, path = page.partition(f"/{runner.sha}/" if runner.sha else "\0")
        if not found or not self.repository:
            return page
        return f"{repository.replace(runner.repository, self.repository, 1)}/{self.commit}/{path}"


@dataclass(frozen=True, kw_only=True)
class _Comment:
    """What finds and writes the comment."""

    head: Head
    config: Config
    ci: CiSystem
    transport: Transport
    clock: Clock
    deadline: float

    def update(self, result: Result, occasion: Occasion) -> None:
        """Create the comment or bring it up to date by two or three requests, and delete a second one by one more.

        Raises:
            ActionError: That is not possible.
        """
        key, runner = make_key(occasion), self.ci.runner
        repository = f"{runner.api_url}/repos/{quote(runner.repository)}/issues"
        comments = f"{repository}/{self.head.number}/comments"
        marked = self._list_marked(comments, key)
        login = self._fetch_login() if marked else ""
        own = [one for one in marked if one["user"]["login"] == login]
        states = (own and parse_states(own[-1]["body"], key)) or []
        was_failing = bool(states) and states[0].ending is not Ending.SUCCESS
        if self.config.comment == "failure" and result.ending is Ending.SUCCESS and not was_failing:
            return
        find_page = partial(self.head.name_page, runner)
        commit, run_url = self.head.commit, runner.run_url
        body = render_comment(result, occasion, commit, states, redact=self.ci.redact, name_page=find_page, run_url=run_url)
        if own:
            self._send("PATCH", f"{repository}/comments/{int(own.pop()['id'])}", {"body": body})
        else:
            made = self._send("POST", comments, {"body": body}).parse()
            login, number = made["user"]["login"], made["id"]
            own = [one for one in self._list_marked(comments, key) if one["user"]["login"] == login and one["id"] < number]
        if own:
            self._send("DELETE", f"{repository}/comments/{int(own.pop()['id'])}")
        self.ci.info(f"The comment of pull request {self.head.number} is up to date.")

    def _list_marked(self, comments: str, key: str) -> list[dict[str, Any]]:
        """List the comments with this mark, whoever wrote them, the oldest first."""
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            response = self._send("GET", comments, query=f"per_page=100&page={page}")
            found += [one for one in response.parse() if parse_states(one["body"] or "", key) is not None]
            if 'rel="next"' not in response.headers.get("Link", ""):  # Gitea gives all at once, without this header
                break
        return sorted(found, key=lambda one: int(one["id"]))

    def _fetch_login(self) -> str:
        """Fetch the login of the token's owner. By REST, GitHub gives it to the token of a person, not to that of a job."""
        runner = self.ci.runner
        if runner.system is not System.GITHUB:
            return str(self._send("GET", f"{runner.api_url}/user").parse()["login"])
        response = self._send("POST", runner.graphql_url, {"query": "query { viewer { login } }"}, is_read=True)
        return str(response.parse()["data"]["viewer"]["login"])

    def _send(
        self, method: str, url: str, body: Mapping[str, str] | None = None, *, query: str = "", is_read: bool = False
    ) -> Response:
        """Send one request.

        Raises:
            ActionError: It failed. A comment whose creation may have succeeded is not created again.
        """
        parts = urlsplit(url)
        headers = {"Authorization": f"Bearer {self.config.github_token}", "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body else None
        exchange = partial(self.transport.exchange, method, f"{parts.scheme}://{parts.netloc}", parts.path)

        def send() -> Response:
            response = exchange(query=query, headers=headers, body=content, timeout=TIMEOUT)
            is_gone = method == "DELETE" and response.status == HTTPStatus.NOT_FOUND
            if response.status >= HTTPStatus.MULTIPLE_CHOICES and not is_gone:
                raise self._explain(response, method)
            return response

        def may_retry(error: ActionError) -> bool:
            return error.is_transient and (is_read or method != "POST" or isinstance(error, NetworkError))

        return retry(send, clock=self.clock, log=self.ci, deadline=self.deadline, may_retry=may_retry)

    def _explain(self, response: Response, method: str) -> CommentError:
        runner, status, headers = self.ci.runner, response.status, response.headers
        is_denied = status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
        if status == HTTPStatus.TOO_MANY_REQUESTS or "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0":
            hint = HINT_LIMIT
        elif is_denied and runner.event_name == "pull_request" and is_from_fork(runner.event_file):
            hint = HINT_FORK
        elif status == HTTPStatus.NOT_FOUND and method == "PATCH":
            hint = HINT_DELETED
        else:
            hint = HINT_PERMISSION if is_denied else HINT_TOKEN if status == HTTPStatus.UNAUTHORIZED else NEXT
        reason = " ".join(str(response.parse_object().get("message", "")).split())[:200]
        message = f"{method} was answered {status}{f' ({reason})' if reason else ''}."
        return CommentError(message, hint, is_transient=status >= HTTPStatus.INTERNAL_SERVER_ERROR)
