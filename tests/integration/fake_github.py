"""A stand-in of GitHub's API for the comments of pull requests, as its documentation has it; and of Gitea's.

https://docs.github.com/rest/issues/comments
https://docs.github.com/graphql/reference: `node`, `addComment`, `IssueComment`
https://docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
https://docs.gitea.com/api: the comments of an issue come all at once, and `GET /user` answers to every token.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.front import Answer, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.front import Request

TOKEN = "ghs_tokenOfTheJob0123456789abcdefghijklm"
OTHER = "ghs_tokenOfAnotherApp0123456789abcdefghi"
BOT, OTHER_BOT = "github-actions[bot]", "reviewer[bot]"
LONGEST = 65_536  # characters
REPOSITORY = "acme/dags"
NUMBER = 7
NODE_ID = "PR_kwDOA0B1C25x"

# "Resource not accessible by integration" is what GitHub says to a token without the permission.
DENIED = (403, {"message": "Resource not accessible by integration"})
LOCKED = (403, {"message": "Unable to create comment because issue is locked."})


def refuse(kind: str, message: str) -> tuple[int, Mapping[str, Any]]:
    """Make the status and the body by which GraphQL refuses a query."""
    return 200, {"data": {"found": None}, "errors": [{"type": kind, "path": ["found"], "message": message}]}


@dataclass
class FakeGitHub:
    """One repository with one pull request."""

    is_gitea: bool = False
    url: str = ""
    users: dict[str, str] = field(default_factory=lambda: {TOKEN: BOT, OTHER: OTHER_BOT})
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    faults: defaultdict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))
    last_id: int = 1000
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def environ(self) -> Mapping[str, str]:
        """What the runner says of it: that of a GitHub Enterprise Server, whose API is below a path."""
        path = "/api/v1" if self.is_gitea else "/api/v3"
        return {"GITHUB_API_URL": f"{self.url}{path}", "GITHUB_GRAPHQL_URL": f"{self.url}/api/graphql"}

    @property
    def bodies(self) -> list[str]:
        """The comments, the oldest first."""
        return [self.comments[number]["body"] for number in sorted(self.comments)]

    def write(self, login: str, body: str) -> int:
        """Let somebody comment."""
        with self.lock:
            self.last_id += 1
            url = f"{self.url}/{REPOSITORY}/pull/{NUMBER}#issuecomment-{self.last_id}"
            self.comments[self.last_id] = {"id": self.last_id, "html_url": url, "user": {"login": login}, "body": body}
            return self.last_id

    def fail(self, name: str, status: int, message: Mapping[str, Any] | None = None, *, times: int = 1) -> None:
        """Let the next requests with a method, or the next queries or mutations, fail."""
        self.faults[name].extend([to_answer(status, message or {})] * times)

    def lose(self, name: str) -> None:
        """Let the next such request be done, and its response get lost."""
        self.faults[name].append(Answer(kind="github", status=0, is_lost=True))

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        is_graphql = request.path == "/api/graphql"
        name = json.loads(request.body)["query"].partition("(")[0] if is_graphql else request.method
        with self.lock:
            self.requests.append(f"{name} {request.path}")
            fault = self.faults[name].popleft() if self.faults[name] else None
            if fault and not fault.is_lost:
                return fault
            answer = self._answer(request)
            return fault or answer

    def _answer(self, request: Request) -> Answer:
        login = self.users.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if login is None:
            return to_answer(401, {"message": "Bad credentials"})
        body = json.loads(request.body) if request.body else {}
        if request.path == "/api/graphql" and not self.is_gitea:
            return self._query(login, body["query"], body["variables"])
        prefix = "/api/v1" if self.is_gitea else "/api/v3"
        path = request.path.removeprefix(prefix) if request.path.startswith(f"{prefix}/") else ""
        if path == "/user":
            return to_answer(200, {"login": login}) if self.is_gitea or not login.endswith("[bot]") else to_answer(*DENIED)
        if path == f"/repos/{REPOSITORY}/issues/{NUMBER}/comments":
            return self._list_or_create(request.method, login, body)
        if (match := re.fullmatch(rf"/repos/{REPOSITORY}/issues/comments/(\d+)", path)) and int(match[1]) in self.comments:
            return self._change(request.method, int(match[1]), body)
        return to_answer(404, {"message": "Not Found"})

    def _query(self, login: str, query: str, variables: Mapping[str, str]) -> Answer:
        """Answer the query and the mutation that are needed here. Both give the oldest comments first."""
        if variables["id"] != NODE_ID:
            return to_answer(*refuse("NOT_FOUND", f"Could not resolve to a node with the global id of '{variables['id']}'"))
        is_mutation = query.startswith("mutation")
        if is_mutation:
            if len(variables["body"]) > LONGEST:
                return to_answer(*refuse("UNPROCESSABLE", f"Body is too long (maximum is {LONGEST} characters)"))
            self.write(login, variables["body"])
        every = [self.comments[number] for number in sorted(self.comments)]
        nodes = [
            {"url": one["html_url"], "body": one["body"], "viewerDidAuthor": one["user"]["login"] == login} for one in every
        ]
        fields = r"comments\((first|last): 100\) \{ nodes \{ url body viewerDidAuthor \} \}"
        assert re.findall(fields, query) == ["first", "last"], query
        subject = {"first": {"nodes": nodes[:100]}, "last": {"nodes": nodes[-100:]}}
        return to_answer(200, {"data": {"found": {"subject": subject} if is_mutation else subject}})

    def _list_or_create(self, method: str, login: str, body: Mapping[str, str]) -> Answer:
        if method == "GET":
            return to_answer(200, [self.comments[number] for number in sorted(self.comments)])
        return to_answer(201, self.comments[self.write(login, body["body"])])

    def _change(self, method: str, number: int, body: Mapping[str, str]) -> Answer:
        if method == "DELETE":
            del self.comments[number]
            return Answer(kind="github", status=204)
        if len(body["body"]) > LONGEST:
            return to_answer(422, {"message": "Validation Failed"})
        self.comments[number]["body"] = body["body"]
        return to_answer(200, self.comments[number])


def to_answer(status: int, body: Any, *headers: tuple[str, str]) -> Answer:
    """Write a response."""
    kind = ("Content-Type", "application/json; charset=utf-8")
    return Answer(kind="github", status=status, headers=[kind, *headers], body=json.dumps(body).encode())


@contextmanager
def serve(*, is_gitea: bool = False) -> Iterator[FakeGitHub]:
    """Run the stand-in."""
    fake = FakeGitHub(is_gitea=is_gitea)
    with Server("127.0.0.1", 0) as server:
        server.front = fake
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()
