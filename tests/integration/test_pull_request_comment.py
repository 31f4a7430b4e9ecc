"""A pull request has one comment for an instance and an operation, whatever happens, and no fault of it changes the verdict."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import requests

from dms_airflow.ci.github import Forgejo, GitHub
from dms_airflow.ci.pull_request_comment import update_comment
from dms_airflow.ci.runner import Runner, System
from dms_airflow.config import Config
from dms_airflow.core.findings import Finding, Rule
from dms_airflow.core.http.exchange import Transport
from dms_airflow.core.result import Annotation, Ending, Level, Result
from tests.integration.fake_github import (
    BOT,
    LOCKED,
    NODE_ID,
    NUMBER,
    OTHER,
    OTHER_BOT,
    REPOSITORY,
    TOKEN,
    FakeGitHub,
    refuse,
    serve,
    to_answer,
)
from tests.unit.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.front import Answer, Request
    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms

HEADS = ["3fa9c1d" + "0" * 33, "b0a61e2" + "0" * 33, "77d10c5" + "0" * 33]
FETCH, CREATE = "query /api/graphql", "mutation /api/graphql"
ONE = f"/api/v3/repos/{REPOSITORY}/issues/comments"
SOUND = Result(ending=Ending.SUCCESS, headline="No import errors", findings=())


def find(letter: str, **fields: Any) -> Finding:
    """Make a finding that differs from those with another letter."""
    given: dict[str, Any] = {
        "rule": Rule.IMPORT_ERROR,
        "level": Level.ERROR,
        "title": "DAG import error: KeyError",
        "message": f"KeyError: '{letter}'",
        "file": f"dags/{letter}.py",
        "line": 3,
        "fingerprint": letter * 32,
    }
    return Finding(**given | fields)


def break_files(letters: str) -> Result:
    """Make the result of a step that found one import error for each letter."""
    return Result(ending=Ending.FAILURE, headline=f"{len(letters)} causes", findings=tuple(map(find, letters)))


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    """GitHub, with a pull request that has no comment."""
    with serve() as fake:
        yield fake


class Job:
    """A job of the pull request's workflow, run again and again."""

    def __init__(self, github: FakeGitHub, folder: Path) -> None:
        self.github = github
        self.log = StringIO()
        self.clock = FakeClock()
        self.event_file = folder / "event.json"
        self.write_event()
        self.runner = Runner(
            workspace=folder,
            event_name="pull_request",
            event_file=self.event_file,
            repository=REPOSITORY,
            sha="e" * 40,
            debug=True,
            run_url="https://github.com/acme/dags/actions/runs/1",
            api_url=github.environ["GITHUB_API_URL"],
            graphql_url=github.environ["GITHUB_GRAPHQL_URL"],
        )

    def write_event(self, head: str = HEADS[0], repository: str | None = REPOSITORY) -> None:
        """Write the event, as far as it matters here: https://docs.github.com/webhooks/webhook-events-and-payloads#pull_request."""
        base = {"sha": "b" * 40, "repo": {"full_name": REPOSITORY}}
        repo = {"full_name": repository} if repository else None
        event = {"pull_request": {"number": NUMBER, "node_id": NODE_ID, "head": {"sha": head, "repo": repo}, "base": base}}
        self.event_file.write_text(json.dumps(event))

    def run(
        self,
        result: Result,
        *,
        when: str = "always",
        operation: str = "deploy-gate",
        instance: str = "af-1",
        token: str = TOKEN,
    ) -> list[Annotation]:
        """Let a step report; give the notices."""
        is_kin = self.runner.system in (System.GITEA, System.FORGEJO)
        ci = (Forgejo if is_kin else GitHub)(self.runner, self.log)
        transport = Transport(http=requests.Session(), clock=self.clock, log=ci)
        config = Config(instance_id=instance, operation=operation, region="cn-hangzhou", comment=when, github_token=token)
        result = replace(result, outputs={"duration": 1.0, **result.outputs})
        return list(update_comment(result, config, ci=ci, transport=transport, clock=self.clock))


@pytest.fixture
def job(github: FakeGitHub, tmp_path: Path) -> Job:
    """The job that the tests run."""
    return Job(github, tmp_path)


def make_jobs(number: int, github: FakeGitHub, folder: Path) -> list[Job]:
    """Make jobs that run at the same time."""
    folders = [folder / str(one) for one in range(number)]
    for one in folders:
        one.mkdir()
    return [Job(github, one) for one in folders]


# --- exactly one comment --------------------------------------------------------------------------------------------------


def test_the_first_step_creates_the_comment_by_two_requests(github: FakeGitHub, job: Job) -> None:
    assert job.run(break_files("a")) == []

    [body] = github.bodies
    assert body.startswith(
        "### ❌ Failed: 1 causes\n\ndeploy-gate on <code>af-1</code> at <code>3fa9c1d</code>. Failed after 1.0 s"
    )
    assert github.requests == [FETCH, CREATE]


def test_the_next_step_edits_it_in_place_by_two_requests(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.requests.clear()

    job.run(SOUND)

    assert [*github.comments] == [1001]
    assert github.bodies[0].startswith("### ✅ Succeeded: No import errors\n")
    assert github.requests == [FETCH, f"PATCH {ONE}/1001"]


def test_each_instance_and_operation_has_its_own(github: FakeGitHub, job: Job) -> None:
    for _ in range(2):
        for instance in ("af-1", "af-2"):
            for operation in ("dags list-import-errors", "deploy-gate", "deploy", "smoke-test"):
                assert job.run(SOUND, operation=operation, instance=instance) == []

    assert len(github.comments) == 8


def test_a_comment_of_another_author_with_the_mark_is_never_touched(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    [mine] = github.bodies
    quoted = "".join(f"> {line}\n" for line in mine.splitlines())
    for login, body in ((OTHER_BOT, mine), ("octocat", mine), ("octocat", f"{quoted}\nSee above."), ("github-actions", mine)):
        github.write(login, body)
    theirs = github.bodies[1:]

    job.run(SOUND)

    assert github.bodies[1:] == theirs
    assert github.bodies[0].startswith("### ✅")


def test_where_only_others_have_the_mark_there_is_a_new_comment(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.comments[1001]["user"]["login"] = "octocat"
    mine = github.bodies[0]

    job.run(SOUND)

    assert github.bodies[0] == mine
    assert github.comments[1002]["user"]["login"] == BOT


def test_a_persons_token_and_that_of_another_app_have_their_own_comment(github: FakeGitHub, job: Job) -> None:
    github.users["ghp_x"] = "octocat"
    for token in (TOKEN, OTHER, "ghp_x") * 2:
        assert job.run(SOUND, token=token) == []

    assert [one["user"]["login"] for one in github.comments.values()] == [BOT, OTHER_BOT, "octocat"]


def test_a_comment_of_the_tokens_owner_that_only_quotes_the_mark_is_not_it(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    quote = github.bodies[0] + "\nmore"
    github.write(BOT, quote)

    job.run(SOUND)

    assert github.comments[1001]["body"].startswith("### ✅")
    assert github.comments[1002]["body"] == quote


@pytest.mark.parametrize(("before", "after"), [(0, 250), (50, 300), (99, 99), (250, 0), (250, 99)])
def test_it_is_found_in_a_long_conversation_by_the_same_two_requests(
    github: FakeGitHub, job: Job, before: int, after: int
) -> None:
    for number in (before, after):
        for _ in range(number):
            github.write("octocat", "LGTM")
        job.run(break_files("a"))
    github.requests.clear()

    job.run(SOUND)

    assert len(github.comments) == before + 1 + after
    assert [request.partition(" ")[0] for request in github.requests] == ["query", "PATCH"]


def test_the_newest_of_two_stays(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.write(BOT, github.bodies[0])
    github.requests.clear()

    job.run(SOUND)

    assert [*github.comments] == [1002]
    assert github.bodies[0].startswith("### ✅")
    assert github.requests == [FETCH, f"PATCH {ONE}/1002", f"DELETE {ONE}/1001"]


def test_of_many_each_step_deletes_one(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    for _ in range(3):
        github.write(BOT, github.bodies[0])

    for _ in range(3):
        job.run(SOUND)

    assert [*github.comments] == [1004]


def test_a_second_comment_that_cannot_be_deleted_is_left_to_the_next_step(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.write(BOT, github.bodies[0])
    github.fail("DELETE", 403)

    assert job.run(SOUND) == []
    assert [*github.comments] == [1001, 1002]
    assert job.run(SOUND) == []
    assert [*github.comments] == [1002]


def test_a_second_comment_that_another_job_deleted_first(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.write(BOT, github.bodies[0])
    github.fail("DELETE", 404, {"message": "Not Found"})

    assert job.run(SOUND) == []


def test_after_a_hundred_runs_at_the_same_time_and_again_there_is_one(github: FakeGitHub, tmp_path: Path) -> None:
    jobs = make_jobs(100, github, tmp_path)
    with ThreadPoolExecutor(20) as pool:
        for _ in range(2):
            github.requests.clear()
            list(pool.map(lambda one: one.run(break_files("ab")), jobs))
            assert len(github.requests) <= 3 * 100

    assert len(github.comments) == 1
    assert github.bodies[0].startswith("### ❌ Failed: 2 causes\n")


def test_of_jobs_that_all_saw_no_comment_one_remains(
    github: FakeGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst case: nobody creates one before everybody has looked."""
    have_looked = threading.Barrier(30)
    answer = FakeGitHub.answer

    def wait_to_create(self: FakeGitHub, request: Request) -> Answer:
        if b'"mutation(' in request.body:
            have_looked.wait(30)
        return answer(self, request)

    monkeypatch.setattr(FakeGitHub, "answer", wait_to_create)
    jobs = make_jobs(30, github, tmp_path)

    with ThreadPoolExecutor(30) as pool:
        notices = list(pool.map(lambda one: one.run(break_files("a")), jobs))

    assert notices == [[]] * 30
    assert [*github.comments] == [1030]
    assert len(github.requests) == 3 * 30 - 1


def test_a_comment_whose_response_was_lost_is_not_created_again(github: FakeGitHub, job: Job) -> None:
    github.lose("mutation")

    [notice] = job.run(break_files("a"))

    assert notice.title == "Comment not written"
    assert len(github.comments) == 1
    job.run(SOUND)
    assert len(github.comments) == 1


# --- when -----------------------------------------------------------------------------------------------------------------


def test_with_failure_there_is_no_comment_while_all_is_well(github: FakeGitHub, job: Job) -> None:
    assert job.run(SOUND, when="failure") == []

    assert github.requests == [FETCH]


def test_with_failure_it_is_kept_up_to_date_until_it_is_fixed(github: FakeGitHub, job: Job) -> None:
    titles = []
    for head, result in zip([*HEADS, "d" * 40], [break_files("a"), break_files("ab"), SOUND, SOUND], strict=True):
        job.write_event(head)
        job.run(result, when="failure")
        titles.append(github.bodies[0].partition("\n")[0])

    assert titles == [
        "### ❌ Failed: 1 causes",
        "### ❌ Failed: 2 causes",
        "### ✅ Fixed by <code>77d10c5</code>: No import errors",
        "### ✅ Fixed by <code>77d10c5</code>: No import errors",
    ]


@pytest.mark.parametrize("event", ["push", "workflow_run", "schedule", "issue_comment", ""])
def test_on_another_event_nothing_is_written(github: FakeGitHub, job: Job, event: str) -> None:
    job.runner = replace(job.runner, event_name=event)

    assert job.run(break_files("a")) == []
    assert github.requests == []
    assert "No comment: only pull requests" in job.log.getvalue()


def test_pull_request_target_has_a_comment(github: FakeGitHub, job: Job) -> None:
    job.runner = replace(job.runner, event_name="pull_request_target")

    assert job.run(SOUND) == []
    assert len(github.comments) == 1


@pytest.mark.parametrize("system", [System.GITLAB, System.PLAIN])
def test_elsewhere_nothing_is_written(github: FakeGitHub, job: Job, system: System) -> None:
    variables = {**github.environ, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(job.event_file)}
    job.runner = Runner.from_environ(variables, system)

    assert job.run(break_files("a")) == []
    assert github.requests == []


@pytest.mark.parametrize(
    "event", ["", "{}", "[", '{"pull_request": []}', '{"pull_request": {"number": 1, "head": {"sha": "<b>"}}}']
)
def test_with_an_event_that_cannot_be_read_nothing_is_written(github: FakeGitHub, job: Job, event: str) -> None:
    job.event_file.write_text(event)

    assert job.run(SOUND) == []
    assert github.requests == []


def test_other_operations_and_cancelled_steps_write_nothing(github: FakeGitHub, job: Job) -> None:
    assert job.run(SOUND, operation="version") == []
    assert job.run(Result(ending=Ending.CANCELLED, headline="Cancelled")) == []
    assert job.run(SOUND, when="never") == []
    assert github.requests == []


# --- what it says ---------------------------------------------------------------------------------------------------------


def test_it_says_what_is_new_and_fixed_since_the_last_state(github: FakeGitHub, job: Job) -> None:
    lines = []
    for head, letters in zip([*HEADS, "d" * 40], ["ab", "bcd", "bcd", ""], strict=True):
        job.write_event(head)
        job.run(break_files(letters) if letters else SOUND)
        lines.append(github.bodies[0].split("\n\n")[2])

    assert lines[1:] == [
        "1 fixed, 2 new since <code>3fa9c1d</code>.",
        "No finding is new or fixed since <code>b0a61e2</code>.",
        "3 fixed since <code>77d10c5</code>.",
    ]
    assert github.bodies[0].endswith("-->\n")


def test_new_findings_are_marked_where_others_are_known(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    job.write_event(HEADS[1])

    job.run(break_files("ac"))

    rows = [line for line in github.bodies[0].splitlines() if line.startswith("| <a")]
    assert [("&#40;new&#41;" in row, "dags&#47;c" in row) for row in rows] == [(False, False), (True, True)]


def test_a_job_that_is_run_again_is_compared_with_the_commit_before(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    job.write_event(HEADS[1])
    for _ in range(3):
        job.run(break_files("b"))

    assert "\n1 fixed, 1 new since <code>3fa9c1d</code>.\n" in github.bodies[0]
    assert github.bodies[0].count("- ❌ <code>3fa9c1d</code>: 1 finding\n") == 1


def test_a_step_that_found_nothing_out_does_not_forget_what_was_known(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("ab"))
    job.write_event(HEADS[1])
    error = Annotation(level=Level.ERROR, title="Login failed", message="The host refused the token.")
    job.run(Result(ending=Ending.FAILURE, headline="Login failed", annotations=(error,)))
    assert "- **Login failed**: The host refused the token&#46;\n" in github.bodies[0]
    assert "since" not in github.bodies[0]
    job.write_event(HEADS[2])

    job.run(break_files("b"))

    assert "\n1 fixed since <code>3fa9c1d</code>.\n" in github.bodies[0]


def test_ten_older_states_are_kept_folded(github: FakeGitHub, job: Job) -> None:
    for number in range(15):
        job.write_event(f"{number:07x}{'0' * 33}")
        job.run(break_files("a"))

    folded = github.bodies[0].partition("<details><summary>Before</summary>\n\n")[2].partition("\n</details>")[0]
    assert folded.splitlines() == [f"- ❌ <code>{number:07x}</code>: 1 finding" for number in range(13, 3, -1)]


@pytest.mark.parametrize("states", ["", "x", "x:failure:1:?", "3fa9c1d:unknown:1:", "3fa9c1d:failure:-1:", ":" * 9999])
def test_a_mark_that_somebody_edited_is_no_state(github: FakeGitHub, job: Job, states: str) -> None:
    job.run(break_files("a"))
    before, _, _ = github.bodies[0].rpartition("3fa9c1d:")
    github.comments[1001]["body"] = f"{before}{states} -->\r\n"

    assert job.run(SOUND) == []
    assert [*github.comments] == [1001]
    assert "since" not in github.bodies[0]


def test_links_lead_to_the_line_at_the_head_commit_of_a_fork_too(github: FakeGitHub, job: Job) -> None:
    job.write_event(HEADS[1], "stranger/dags")
    job.run(break_files("a"))

    page = f"https://github.com/stranger/dags/blob/{HEADS[1]}/dags/a.py#L3"
    assert f'<a href="{page}">dags&#47;a&#46;py&#58;3</a>' in github.bodies[0]


def test_links_of_a_fork_that_was_deleted_lead_to_the_jobs_commit(github: FakeGitHub, job: Job) -> None:
    job.write_event(HEADS[1], None)
    job.run(break_files("a"))

    assert f"https://github.com/acme/dags/blob/{'e' * 40}/dags/a.py#L3" in github.bodies[0]


def test_three_hundred_long_findings_fit_and_what_is_left_out_is_counted(github: FakeGitHub, job: Job) -> None:
    many = tuple(
        find("a", fingerprint=f"{number:032x}", message=f"E{number}: " + "é" * 400, file=None) for number in range(300)
    )
    for head in HEADS:
        job.write_event(head)
        assert job.run(Result(ending=Ending.FAILURE, headline="300 causes", findings=many)) == []

    [body] = github.bodies
    assert len(body) <= 65_535
    shown = body.count("E1") + body.count("E2")
    assert "E0&#58;" in body
    assert "E299&#58;" not in body
    assert shown < 300
    assert " more did not fit here; the outputs and the result file have them.\n" in body


# --- what can go wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["query", "mutation"])
@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        ((401, {"message": "Bad credentials"}), "401 Bad credentials"),
        ((403, {"message": "why\n::error::x"}), "403 why ::error::x"),
        ((403, {"message": "API rate limit exceeded"}), "403 API rate limit exceeded"),
        ((422, {"message": "Validation Failed", "errors": [{"code": "custom"}]}), "422 Validation Failed"),
        ((429, {"message": "You have exceeded a secondary rate limit."}), "429 You have exceeded a secondary rate limit."),
        ((503, {}), "503"),
        (refuse("FORBIDDEN", "Resource not accessible by integration"), "FORBIDDEN Resource not accessible by integration"),
        (refuse("NOT_FOUND", "Could not resolve to a node"), "NOT_FOUND Could not resolve to a node"),
        (refuse("UNPROCESSABLE", "issue is locked"), "UNPROCESSABLE issue is locked"),
        (refuse("RATE_LIMIT", "API rate limit exceeded"), "RATE_LIMIT API rate limit exceeded"),
    ],
)
def test_a_request_that_is_refused_gives_one_notice_that_names_the_permission(
    github: FakeGitHub, job: Job, name: str, refusal: tuple[int, dict[str, Any]], answer: str
) -> None:
    github.fail(name, *refusal, times=9)

    [notice] = job.run(break_files("a"))

    assert notice.level is Level.NOTICE
    assert notice.title == "Comment not written"
    assert f"The comment of pull request 7 was not written. POST was answered: {answer}.\n" in notice.message
    assert "permissions: { contents: read, pull-requests: write }" in notice.message
    assert github.comments == {}


def test_a_locked_conversation(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.fail("PATCH", *LOCKED)

    [notice] = job.run(break_files("a"))

    assert "issue is locked" in notice.message
    assert "In a locked conversation, only those who may write to the repository can comment." in notice.message


def test_a_forks_token(github: FakeGitHub, job: Job) -> None:
    job.write_event(HEADS[0], "stranger/dags")
    github.fail("mutation", *refuse("FORBIDDEN", "Resource not accessible by integration"))

    [notice] = job.run(break_files("a"))

    assert "In a pull request from a fork no token has that" in notice.message
    assert "workflow_run" in notice.message


@pytest.mark.parametrize("status", [200, 403, 429])
def test_a_rate_limit_is_not_waited_for(github: FakeGitHub, job: Job, status: int) -> None:
    body = {"message": "API rate limit exceeded", "errors": [{"type": "RATE_LIMIT", "message": "API rate limit exceeded"}]}
    github.faults["query"].append(to_answer(status, body, ("X-RateLimit-Remaining", "0"), ("Retry-After", "60")))

    [notice] = job.run(break_files("a"))

    assert "API rate limit exceeded" in notice.message
    assert "the next step brings the comment up to date" in notice.message
    assert job.clock.slept == []
    assert len(github.requests) == 1


def test_a_comment_that_was_deleted_meanwhile(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.fail("PATCH", 404, {"message": "Not Found"})

    [notice] = job.run(SOUND)

    assert "PATCH was answered: 404 Not Found." in notice.message
    assert "the next step brings the comment up to date" in notice.message


def test_a_comment_that_was_deleted_before_is_written_again(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.comments.clear()

    assert job.run(SOUND) == []
    assert [*github.comments] == [1002]


def test_reads_and_edits_are_sent_again_after_a_fault_that_passes(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.requests.clear()
    github.fail("query", 502)
    github.lose("PATCH")

    assert job.run(SOUND) == []
    assert github.requests == [*[FETCH] * 2, *[f"PATCH {ONE}/1001"] * 2]


def test_a_github_that_is_down_is_asked_five_times(github: FakeGitHub, job: Job) -> None:
    github.fail("query", 503, times=99)

    [notice] = job.run(break_files("a"))

    assert "503" in notice.message
    assert job.clock.slept == [1, 2, 4, 8]


def test_all_requests_share_the_time(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.fail("query", 503, times=4)
    github.fail("PATCH", 503, times=9)

    [notice] = job.run(break_files("a"))

    assert "503" in notice.message
    assert job.clock.slept == [1, 2, 4, 8, 1, 2]


@pytest.mark.parametrize("name", ["query", "mutation"])
@pytest.mark.parametrize("body", [None, [1], {"data": None}, {"data": {"found": {"first": {"nodes": [{"url": "x"}]}}}}])
def test_a_response_of_another_form(github: FakeGitHub, job: Job, name: str, body: Any) -> None:
    github.faults[name].append(to_answer(200, body))

    [notice] = job.run(break_files("a"))

    assert "The response is unusable." in notice.message


def test_the_token_is_in_no_line(github: FakeGitHub, job: Job) -> None:
    job.run(break_files("a"))
    github.fail("query", 403)
    job.run(break_files("a"))

    assert "POST /api/graphql -> 200 in " in job.log.getvalue()
    assert TOKEN not in job.log.getvalue()


# --- Gitea and Forgejo ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [System.GITEA, System.FORGEJO])
def test_gitea_and_forgejo(tmp_path: Path, system: System) -> None:
    with serve(is_gitea=True) as gitea:
        job = Job(gitea, tmp_path)
        job.runner = replace(job.runner, system=system, server_url="https://gitea.example.com")
        for _ in range(150):
            gitea.write("octocat", "LGTM")

        for _ in range(2):
            assert job.run(break_files("a")) == []

    assert len(gitea.comments) == 151
    path = f"/api/v1/repos/{REPOSITORY}/issues"
    assert gitea.requests[:2] == [f"GET {path}/{NUMBER}/comments", f"POST {path}/{NUMBER}/comments"]
    assert gitea.requests[-3:] == [f"GET {path}/{NUMBER}/comments", "GET /api/v1/user", f"PATCH {path}/comments/1151"]
    assert f"https://gitea.example.com/acme/dags/src/commit/{HEADS[0]}/dags/a.py#L3" in gitea.bodies[-1]


# --- the whole step -------------------------------------------------------------------------------------------------------


@pytest.fixture
def variables(github: FakeGitHub, job: Job) -> dict[str, str]:
    """What the runner says of the pull request."""
    event = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(job.event_file), "GITHUB_REPOSITORY": REPOSITORY}
    return {**github.environ, **event, "RUNNER_DEBUG": "1"}


INPUTS = {"operation": "dags list-import-errors", "comment": "failure", "github-token": TOKEN}
LISTING = json.dumps([{"filepath": "/opt/airflow/dags/etl.py", "error": "KeyError: 'region'"}])


def test_a_step_comments_what_its_summary_says(
    dms: FakeDms, run_here: Callable[..., Step], github: FakeGitHub, variables: dict[str, str]
) -> None:
    dms.airflow.commands["dags list-import-errors"] = (f"{LISTING}\n", "")

    step = run_here(INPUTS, variables, TOKEN)

    assert step.exit_code == 1
    assert TOKEN in step.masks
    [body] = github.bodies
    assert "#### Import errors\n" in body
    row = next(line for line in step.summary.splitlines() if "region" in line and line.startswith("| "))
    assert row in body
    assert "The comment of pull request 7 is up to date." in step.log


@pytest.mark.parametrize(("listing", "exit_code"), [("[]", 0), (LISTING, 1)])
def test_a_comment_that_cannot_be_written_changes_no_verdict(
    dms: FakeDms, run_here: Callable[..., Step], github: FakeGitHub, variables: dict[str, str], *, listing: str, exit_code: int
) -> None:
    dms.airflow.commands["dags list-import-errors"] = (f"{listing}\n", "")
    github.fail("mutation", *refuse("FORBIDDEN", "Resource not accessible by integration"), times=9)

    step = run_here({**INPUTS, "comment": "always"}, variables, TOKEN)

    assert step.exit_code == exit_code
    assert step.outputs["status"] == ("failure" if exit_code else "success")
    notices = [one for one in step.annotations if one.name == "notice"]
    assert [one.properties["title"] for one in notices] == ["Comment not written"]
    assert "pull-requests: write" in notices[0].data


def test_a_comment_needs_a_token(run_here: Callable[..., Step], variables: dict[str, str]) -> None:
    step = run_here({**INPUTS, "github-token": ""}, variables)

    assert step.exit_code == 2
    assert "github-token: is required when comment is failure, e.g. ${{ github.token }}; a missing secret is empty" in step.log
