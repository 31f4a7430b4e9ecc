"""The client's promises: what is repeated and what never, one new login a request, pages, and errors in words."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import requests
import responses
from requests.exceptions import ConnectionError as BrokenError
from requests.exceptions import ReadTimeout
from urllib3.exceptions import NewConnectionError

from dms_airflow.airflow import AirflowClient
from dms_airflow.errors import ActionError, AnswerError, AnswerLostError, AnswerTimeoutError, LoginError, NetworkError
from dms_airflow.session import is_bounced
from dms_airflow.transport import Transport, name_fault
from tests.unit.fakes import FakeClock, FakeLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOST = "https://data-cn-hangzhou-dms.aliyuncs.com/airflow/1/2/af-1"
DAGS = f"{HOST}/api/v1/dags"
COMMAND = f"{HOST}/api/v1/command"


class FakeSession:
    """A session that counts its logins."""

    host = HOST

    def __init__(self) -> None:
        self.logins = 0

    @property
    def headers(self) -> Mapping[str, str]:
        """Name the login that the session came from."""
        return {"Cookie": f"session=s{self.logins}"}

    def open(self) -> None:
        """Log in again."""
        self.logins += 1


class World:
    """A client and what is around it."""

    def __init__(self) -> None:
        self.clock, self.log, self.session = FakeClock(), FakeLog(), FakeSession()
        transport = Transport(http=requests.Session(), clock=self.clock, log=self.log)
        self.airflow = AirflowClient(
            session=self.session,
            is_bounced=lambda answer: is_bounced(answer, self.session.host),
            transport=transport,
            clock=self.clock,
            log=self.log,
        )

    def get(self) -> Any:
        """Read the list of DAGs."""
        return self.airflow.request("GET", "/api/v1/dags", query="limit=1")


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def refused() -> BrokenError:
    error = BrokenError("x")
    reason = NewConnectionError(None, "refused")  # type: ignore[arg-type]
    error.args = (type("MaxRetryError", (Exception,), {"reason": reason})(),)
    return error


def test_a_cookie_of_an_answer_goes_nowhere_by_itself(web: responses.RequestsMock) -> None:
    """Its Domain may be wide: aliyuncs.com is the instance's and everybody's."""
    transport = Transport(http=requests.Session(), clock=FakeClock(), log=FakeLog())
    web.get(f"{HOST}/login", status=302, headers={"Set-Cookie": "session=s1; Domain=aliyuncs.com; Path=/; Secure"})
    web.get("https://dms.cn-hangzhou.aliyuncs.com/")

    answer = transport.exchange("GET", HOST, "/login", timeout=1.0)
    transport.exchange("GET", "https://dms.cn-hangzhou.aliyuncs.com", "/", timeout=1.0)

    assert answer.cookies == {"session": "s1"}
    assert "Cookie" not in web.calls[1].request.headers


def test_a_read(web: responses.RequestsMock) -> None:
    web.get(DAGS, json={"dags": []})
    world = World()

    answer = world.get()

    assert answer.parse() == {"dags": []}
    assert web.calls[0].request.headers["Cookie"] == "session=s0"
    assert web.calls[0].request.headers["User-Agent"].startswith("dms-airflow/")
    assert world.log.debugs == ["GET /api/v1/dags -> 200 in 0 ms"]
    assert world.clock.slept == []


@pytest.mark.parametrize("fault", [BrokenError("reset"), refused(), 429, 502, 503, 504])
def test_a_read_is_tried_again(web: responses.RequestsMock, fault: Any) -> None:
    if isinstance(fault, int):
        web.get(DAGS, status=fault, body="<html>")
    else:
        web.get(DAGS, body=fault)
    web.get(DAGS, json={"dags": [1]})
    world = World()

    assert world.get().status == 200
    assert world.clock.slept == [1.0]
    assert "Trying again in 1 s" in world.log.lines[0]


def test_retry_after_is_respected(web: responses.RequestsMock) -> None:
    web.get(DAGS, status=503, headers={"Retry-After": "7"})
    web.get(DAGS, json={})
    world = World()

    world.get()

    assert world.clock.slept == [7.0]


def test_a_retry_after_that_is_too_long_is_an_answer(web: responses.RequestsMock) -> None:
    web.get(DAGS, status=503, headers={"Retry-After": "3600"})

    assert World().get().status == 503


def test_no_try_is_begun_when_time_is_over(web: responses.RequestsMock) -> None:
    web.get(DAGS, body=BrokenError("reset"))
    world = World()

    with pytest.raises(AnswerLostError):
        world.airflow.request("GET", "/api/v1/dags", timeout=5)

    assert world.clock.slept == [1.0, 2.0]


def test_a_read_is_given_up_in_the_end(web: responses.RequestsMock) -> None:
    web.get(DAGS, body=BrokenError("reset"))
    world = World()

    with pytest.raises(AnswerLostError):
        world.get()

    assert world.clock.slept == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(("method", "calls"), [("POST", 1), ("PATCH", 1), ("DELETE", 1), ("PUT", 1), ("GET", 5)])
def test_what_may_have_happened_is_not_repeated(web: responses.RequestsMock, method: str, calls: int) -> None:
    web.add(method, DAGS, body=BrokenError("reset"))

    with pytest.raises(AnswerLostError):
        World().airflow.request(method, "/api/v1/dags", body="{}")

    assert len(web.calls) == calls


@pytest.mark.parametrize(("status", "calls"), [(502, 1), (503, 1), (504, 1), (500, 1), (429, 5)])
def test_a_write_is_repeated_only_when_nothing_happened(web: responses.RequestsMock, status: int, calls: int) -> None:
    web.post(DAGS, status=status, body="busy")

    answer = World().airflow.request("POST", "/api/v1/dags", body="{}")

    assert answer.status == status
    assert len(web.calls) == calls


def test_a_write_that_never_left_is_tried_again(web: responses.RequestsMock) -> None:
    web.post(DAGS, body=refused())
    web.post(DAGS, json={})

    assert World().airflow.request("POST", "/api/v1/dags", body="{}").status == 200


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (401, {"Content-Type": "application/problem+json"}, "{}"),
        (403, {"Content-Type": "text/html"}, "no"),
        (302, {"Location": "/airflow/1/2/af-1/login/?next=x"}, ""),
        (200, {"Content-Type": "text/html"}, "<title>Sign In</title>"),
    ],
)
def test_a_lost_session_is_renewed_once_whatever_the_request(
    web: responses.RequestsMock, status: int, headers: dict[str, str], body: str
) -> None:
    web.post(DAGS, status=status, headers=headers, body=body)
    web.post(DAGS, json={"ok": True})
    world = World()

    answer = world.airflow.request("POST", "/api/v1/dags", body="{}")

    assert answer.parse() == {"ok": True}
    assert [call.request.headers["Cookie"] for call in web.calls] == ["session=s0", "session=s1"]


def test_a_session_that_another_thread_renewed_is_not_renewed_again(web: responses.RequestsMock) -> None:
    world = World()

    def bounce(_: Any) -> tuple[int, dict[str, str], str]:
        world.session.open()  # meanwhile
        return 401, {}, ""

    web.add_callback("GET", DAGS, bounce)
    web.get(DAGS, json={})

    assert world.get().status == 200
    assert world.session.logins == 1


def test_a_session_that_never_holds_is_an_error(web: responses.RequestsMock) -> None:
    web.get(DAGS, status=401)
    world = World()

    with pytest.raises(LoginError):
        world.get()

    assert world.session.logins == 1


def test_a_second_403_is_airflows_own_word(web: responses.RequestsMock) -> None:
    web.get(DAGS, status=403, json={"title": "Forbidden", "detail": None})
    world = World()

    assert world.get().status == 403
    assert world.session.logins == 1


def test_a_web_page_that_is_no_login_page_is_no_bounce(web: responses.RequestsMock) -> None:
    web.get(DAGS, body="<h1>Hello</h1>", content_type="text/html")
    world = World()

    assert world.get().status == 200
    assert world.session.logins == 0


def test_a_command_travels_quoted_in_the_query(web: responses.RequestsMock) -> None:
    web.post(COMMAND, json={"stdout": "out", "stderr": None})
    world = World()

    answer = world.airflow.run_command(["variables", "set", "k", "a b&c='d'"], repeatable=False, timeout=5)

    assert (answer.stdout, answer.stderr) == ("out", "")
    url = web.calls[0].request.url or ""
    assert url == f"{COMMAND}?command=variables%20set%20k%20%27a%20b%26c%3D%27%22%27%22%27d%27%22%27%22%27%27"
    assert "a b" not in "".join(world.log.debugs + world.log.lines)


@pytest.mark.parametrize("body", ["", "[]", '"x"', "{}", '{"error": "x"}', '{"stdout": "a"'])
def test_an_answer_without_streams_is_no_answer(web: responses.RequestsMock, body: str) -> None:
    web.post(COMMAND, body=body, content_type="application/json")

    with pytest.raises(AnswerError) as error:
        World().airflow.run_command(["version"], repeatable=False, timeout=5)

    assert "without stdout and stderr" in error.value.message
    assert error.value.status is None


@pytest.mark.parametrize(
    ("status", "body", "content_type", "words"),
    [
        (404, '{"title": "Not Found", "detail": null}', "application/problem+json", "404: Not Found"),
        (400, '{"title": "Bad Request", "detail": "x\\n y"}', "application/json", "400: Bad Request: x y"),
        (500, "<h1>Ooops!</h1>", "text/html", "500: (text/html) <h1>Ooops!</h1>"),
        (500, "", "", "500: (no content type) nothing"),
    ],
)
def test_a_refused_command_says_why(web: responses.RequestsMock, status: int, body: str, content_type: str, words: str) -> None:
    web.post(COMMAND, status=status, body=body, content_type=content_type)

    with pytest.raises(AnswerError) as error:
        World().airflow.run_command(["version"], repeatable=False, timeout=5)

    assert words in error.value.message
    assert error.value.status == status


def test_pages_are_followed_by_what_was_given(web: responses.RequestsMock) -> None:
    web.get(DAGS, json={"dags": [{"dag_id": "a"}, {"dag_id": "b"}], "total_entries": 3})
    web.get(DAGS, json={"dags": [{"dag_id": "c"}], "total_entries": 3})

    answers = list(World().airflow.iterate_pages("/api/v1/dags", [("tags", "x y")]))

    assert len(answers) == 2
    assert [(call.request.url or "").partition("?")[2] for call in web.calls] == [
        "tags=x%20y&limit=100&offset=0",
        "tags=x%20y&limit=100&offset=2",
    ]


def test_a_list_that_shrinks_ends(web: responses.RequestsMock) -> None:
    web.get(DAGS, json={"dags": [{}], "total_entries": 3})
    web.get(DAGS, json={"dags": [], "total_entries": 3})

    assert len(list(World().airflow.iterate_pages("/api/v1/dags", []))) == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ReadTimeout("https://h/login?token=t0ken"), AnswerTimeoutError),
        (BrokenError("https://h/login?token=t0ken"), AnswerLostError),
        (requests.exceptions.SSLError("https://h/login?token=t0ken"), AnswerLostError),
        (requests.exceptions.SSLError(ssl.SSLCertVerificationError("x")), NetworkError),
        (requests.exceptions.ProxyError("https://h/login?token=t0ken"), AnswerLostError),
        (requests.exceptions.ProxyError(OSError("Tunnel connection failed: 407 x")), NetworkError),
        (requests.exceptions.ProxyError(refused()), NetworkError),
        (requests.exceptions.ConnectTimeout("https://h/login?token=t0ken"), NetworkError),
        (requests.exceptions.ChunkedEncodingError("https://h/login?token=t0ken"), AnswerLostError),
        (refused(), NetworkError),
        (requests.exceptions.InvalidURL("https://h/login?token=t0ken"), NetworkError),
    ],
)
def test_faults_in_words_without_the_url(fault: Exception, kind: type[ActionError]) -> None:
    error = name_fault(fault, "GET /login", "https://h")

    assert type(error) is kind
    assert "t0ken" not in error.message + error.hint


def test_no_exception_chain_holds_the_query(web: responses.RequestsMock) -> None:
    web.get(DAGS, body=ReadTimeout("https://h/login?token=t0ken"))

    with pytest.raises(AnswerTimeoutError) as error:
        World().airflow.request("GET", "/api/v1/dags", timeout=1000)

    assert error.value.__context__ is None
    assert error.value.__cause__ is None
