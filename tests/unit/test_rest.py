"""`rest` reads METHOD PATH, never leaves the instance's API, and hides what may be secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.core.inputs import InputValueError, load
from dms_airflow.operations.rest import Params, Request, parse_path, parse_request
from tests.unit.fakes import FakeAirflow, FakeClock

if TYPE_CHECKING:
    from dms_airflow.core.errors import InputProblem


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("GET /dags?limit=5", ("GET", "/dags", "limit=5", False)),
        ("get dags", ("GET", "/dags", "", False)),
        ("GET /api/v2/dags --paginate", ("GET", "/api/v2/dags", "", True)),
        ("--paginate GET /dags?order_by=-dag_id", ("GET", "/dags", "order_by=-dag_id", True)),
        ("PATCH '/dags/my dag'", ("PATCH", "/dags/my%20dag", "", False)),
        (
            "DELETE /dags/etl/dagRuns/manual__2026-01-01T00:00:00+00:00",
            ("DELETE", "/dags/etl/dagRuns/manual__2026-01-01T00:00:00+00:00", "", False),
        ),
        ("GET '/dags/ünï?x=é y&a=b%20c'", ("GET", "/dags/%C3%BCn%C3%AF", "x=%C3%A9%20y&a=b%20c", False)),
        ("GET /apis", ("GET", "/apis", "", False)),
        ("GET /dags/a#b?c=d#e", ("GET", "/dags/a%23b", "c=d%23e", False)),
    ],
)
def test_requests(text: str, request_: tuple[str, str, str, bool]) -> None:
    method, path, query, paginate = request_

    assert parse_request(text) == Request(method=method, path=path, query=query, paginate=paginate)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("GET", "METHOD PATH"),
        ("GET /dags/my dag", "quote a path with blanks"),
        ("FETCH /dags", "GET, HEAD, POST"),
        ("POST /dags --paginate", "for GET only"),
        ("GET https://evil.example.com/", "not a URL"),
        ("GET //evil.example.com/", "not a URL"),
        ("GET /../../admin", "leaves the API"),
        ("GET /dags/%2e%2e/%2e%2e/x", "leaves the API"),
        ("GET /dags/%252e%252e/x", "leaves the API"),
        ("GET /dags/..;/x", "leaves the API"),
        ("GET '/dags\\..\\x'", "leaves the API"),
        ("GET /dags/%0d%0aHost:x", "leaves the API"),
        ("POST /api/v1/command?command=version", "set operation to the CLI command"),
        ("POST command?command=version", "set operation to the CLI command"),
        ("POST /api/v2/command", "set operation to the CLI command"),
        ("POST /api/v1//command/", "set operation to the CLI command"),
        ("POST /api/v1/%63ommand", "set operation to the CLI command"),
    ],
)
def test_requests_refused(text: str, words: str) -> None:
    with pytest.raises(InputValueError) as error:
        parse_request(text)

    assert words in str(error.value)


@given(st.text(alphabet="./%2e5cCE\\;:@?#ahdgs \t", max_size=30))
def test_no_path_leaves_the_api(text: str) -> None:
    try:
        path, query = parse_path(text)
    except InputValueError:
        return

    assert path.startswith("/")
    assert FakeAirflow(lambda _: {}, FakeClock()).locate(path).startswith("/api")
    assert ".." not in path.split("/")
    assert all(character.isascii() and character > " " for character in path + query)


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("/variables", True),
        ("/variables/x", True),
        ("/connections/x", True),
        ("/%76ariables", True),
        ("/config", True),
        ("/dags", False),
    ],
)
def test_answers_that_may_hold_secrets(path: str, *, hidden: bool) -> None:
    assert parse_request(f"GET {path}").answers_secrets is hidden


def read(arguments: str, body: str) -> tuple[Params, list[InputProblem]]:
    problems: list[InputProblem] = []
    return load(Params, {"INPUT_ARGUMENTS": arguments, "INPUT_BODY": body}, problems), problems


def test_a_body_goes_with_a_method_that_takes_one() -> None:
    assert [problem.name for problem in read("GET /dags", "{}")[1]] == ["body"]
    assert read("POST /dags/x/dagRuns", "{}")[1] == []


def test_passwords_of_a_body_are_secrets() -> None:
    params, _ = read(
        "POST /connections",
        '{"connection_id": "db", "login": "me", "password": "hunter2", "extra": "{}-x", "list": [{"api_token": "t0k"}]}',
    )

    assert params.list_secrets() == ("hunter2", "{}-x", "t0k")
