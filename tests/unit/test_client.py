"""The client's promises: what is repeated and what never, one new login a request, pages, the version, errors in words."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses
from requests.exceptions import ConnectionError as BrokenError
from requests.exceptions import ReadTimeout
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import NewConnectionError

from dms_airflow.airflow.client import AirflowClient
from dms_airflow.airflow.commands.send import send_command
from dms_airflow.airflow.responses import describe_problem
from dms_airflow.airflow.session import AirflowSession
from dms_airflow.airflow.version import AIRFLOW_2
from dms_airflow.core.errors import ActionError, AnswerError, AnswerLostError, AnswerTimeoutError, LoginError, NetworkError
from dms_airflow.core.http.exchange import Response, Transport
from dms_airflow.core.http.network_errors import explain_fault
from tests.unit.fakes import FakeClock, FakeLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CAPTURES = Path(__file__).parents[1] / "captures"
HOST = "https://data-cn-hangzhou-dms.aliyuncs.com/airflow/1/2/af-1"
DAGS = f"{HOST}/api/v1/dags"
COMMAND = f"{HOST}/api/v1/command"


class CountingSession(AirflowSession):
    """A session that counts its logins, each of which gives a cookie of its own."""

    def __init__(self, transport: Transport, clock: FakeClock, log: FakeLog) -> None:
        nothing = cast("Any", None)
        super().__init__(obtain_keys=nothing, fetch_token=nothing, transport=transport, clock=clock, log=log)
        self.logins = -1
        self.open()

    def open(self) -> None:
        """Log in."""
        self.logins += 1
        self.host = HOST
        self._cookie = f"session=s{self.logins}"


class World:
    """A client and what is around it."""

    def __init__(self) -> None:
        self.clock, self.log = FakeClock(), FakeLog()
        transport = Transport(http=requests.Session(), clock=self.clock, log=self.log)
        self.session = CountingSession(transport, self.clock, self.log)
        self.airflow = AirflowClient(session=self.session, transport=transport, clock=self.clock, log=self.log)

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
    web.get("https://dms.cn-hangzhou.aliyuncs.com/", body="welcome")

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

    streams = send_command(world.airflow, ["variables", "set", "k", "a b&c='d'"], repeatable=False, timeout=5)

    assert streams == ("out", "")
    url = web.calls[0].request.url or ""
    assert url == f"{COMMAND}?command=variables%20set%20k%20%27a%20b%26c%3D%27%22%27%22%27d%27%22%27%22%27%27"
    assert "a b" not in "".join(world.log.debugs + world.log.lines)


@pytest.mark.parametrize("body", ["", "[]", '"x"', "{}", '{"error": "x"}', '{"stdout": "a"'])
def test_an_answer_without_streams_is_no_answer(web: responses.RequestsMock, body: str) -> None:
    web.post(COMMAND, body=body, content_type="application/json", headers={"Content-Length": str(len(body))})

    with pytest.raises(AnswerError) as error:
        send_command(World().airflow, ["version"], repeatable=False, timeout=5)

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
        send_command(World().airflow, ["version"], repeatable=False, timeout=5)

    assert words in error.value.message
    assert error.value.status == status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # gunicorn's page, and a gateway's
        (400, "<h1><p>Bad Request</p></h1>Request Line is too large (5012 &gt; 4094)"),
        (414, "<h1>Request-URI Too Large</h1>"),
    ],
)
def test_a_command_that_is_too_long_for_a_url_says_how_to_send_it(web: responses.RequestsMock, status: int, body: str) -> None:
    web.post(COMMAND, status=status, body=body, content_type="text/html")

    with pytest.raises(AnswerError) as error:
        send_command(World().airflow, ["dags", "trigger", "etl"], repeatable=False, timeout=5)

    assert "the command is longer than the instance takes" in error.value.message
    assert "arguments: POST /dags/DAG_ID/dagRuns" in error.value.hint
    assert error.value.status == status


def test_a_command_that_prints_the_servers_words_is_not_too_long(web: responses.RequestsMock) -> None:
    printed = "Request Line is too large (5012 > 4094)\n"
    web.post(COMMAND, json={"stdout": printed, "stderr": ""})

    assert send_command(World().airflow, ["version"], repeatable=False, timeout=5) == (printed, "")


def test_pages_are_followed_by_what_was_given(web: responses.RequestsMock) -> None:
    web.get(DAGS, json={"dags": [{"dag_id": "a"}, {"dag_id": "b"}], "total_entries": 3})
    web.get(DAGS, json={"dags": [{"dag_id": "c"}], "total_entries": 3})

    answers = World().airflow.fetch_pages("/api/v1/dags", [("tags", "x y")])

    assert len(answers) == 2
    assert [(call.request.url or "").partition("?")[2] for call in web.calls] == [
        "tags=x%20y&limit=100&offset=0",
        "tags=x%20y&limit=2&offset=2",
    ]


def serve_list(web: responses.RequestsMock, total: int, count: Callable[[int], int]) -> list[int]:
    """Serve the list 0, 1, 2 …, so many entries from an offset; give the offsets asked for."""
    asked: list[int] = []

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        offset = int(parse_qs(urlsplit(request.url or "").query)["offset"][0])
        asked.append(offset)
        entries = [{"dag_id": number} for number in range(offset, min(total, offset + count(offset)))]
        return 200, {}, json.dumps({"dags": entries, "total_entries": total})

    web.add_callback(responses.GET, DAGS, callback=answer, content_type="application/json")
    return asked


def list_ids() -> list[Any]:
    """Read the list."""
    return [row["dag_id"] for row in World().airflow.fetch_list("/api/v1/dags")]


def test_eight_pages_are_asked_for_at_once_and_given_in_order(web: responses.RequestsMock) -> None:
    together = Barrier(8, timeout=30)  # breaks unless eight are on their way

    def count(offset: int) -> int:
        if offset:
            together.wait()
        return 100

    asked = serve_list(web, 1700, count)

    assert list_ids() == list(range(1700))
    assert sorted(asked) == list(range(0, 1700, 100))


def test_pages_that_airflow_cuts_are_fetched_as_they_are(web: responses.RequestsMock) -> None:
    asked = serve_list(web, 30, lambda _: 2)

    assert list_ids() == list(range(30))
    assert sorted(asked) == list(range(0, 30, 2))


def test_a_page_that_is_not_one_is_an_error(web: responses.RequestsMock) -> None:
    web.get(DAGS, json={"dags": [{"dag_id": 1}], "total_entries": 2})
    web.get(DAGS, json={"detail": "gone"})

    with pytest.raises(AnswerError, match=r"GET /api/v1/dags at .* answered 200: gone"):
        World().airflow.fetch_list("/api/v1/dags")


def test_a_list_that_shrinks_ends(web: responses.RequestsMock) -> None:
    web.get(DAGS, json={"dags": [{}, {}], "total_entries": 3})
    web.get(DAGS, json={"dags": [], "total_entries": 3})

    assert len(World().airflow.fetch_pages("/api/v1/dags")) == 2


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
    error = explain_fault(fault, "GET /login", "https://h")

    assert type(error) is kind
    assert "t0ken" not in error.message + error.hint


def test_no_exception_chain_holds_the_query(web: responses.RequestsMock) -> None:
    web.get(DAGS, body=ReadTimeout("https://h/login?token=t0ken"))

    with pytest.raises(AnswerTimeoutError) as error:
        World().airflow.request("GET", "/api/v1/dags", timeout=1000)

    assert error.value.__context__ is None
    assert error.value.__cause__ is None


# --- which Airflow it is --------------------------------------------------------------------------------------------------

# tests/captures/airflow-3.2.2/rest/meta
REMOVED = {"error": "/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2 instead."}
NOT_ALLOWED = {"detail": "Method Not Allowed"}
COMMAND_3 = f"{HOST}/api/v2/command"


def sent(web: responses.RequestsMock) -> list[str]:
    return [f"{call.request.method} {(call.request.url or '').removeprefix(HOST).partition('?')[0]}" for call in web.calls]


VERSION_2, VERSION_3 = f"{HOST}/api/v1/version", f"{HOST}/api/v2/version"


def test_a_path_below_the_api_needs_the_version_which_is_asked_for_once(web: responses.RequestsMock) -> None:
    web.get(VERSION_2, json={"version": "2.10.4"})
    web.get(DAGS, json={"dags": [], "total_entries": 0})
    world = World()

    for _ in range(2):
        world.airflow.request("GET", "/dags")

    assert sent(web) == ["GET /api/v1/version", "GET /api/v1/dags", "GET /api/v1/dags"]
    assert world.session.version == "2.10.4"
    assert world.log.lines == ["This is Airflow 2.10.4; its REST API is /api/v1."]


def test_airflow_3_is_found_at_its_own_api(web: responses.RequestsMock) -> None:
    web.get(VERSION_2, status=404, json=REMOVED)
    web.get(VERSION_3, json={"version": "3.2.2"})
    web.post(f"{HOST}/api/v2/dags", json={"dags": [3]})
    world = World()

    assert world.airflow.request("POST", "/dags", body="{}").parse() == {"dags": [3]}
    assert sent(web) == ["GET /api/v1/version", "GET /api/v2/version", "POST /api/v2/dags"]


def test_after_a_login_of_airflow_3_its_api_is_asked_first(web: responses.RequestsMock) -> None:
    web.get(VERSION_3, json={"version": "3.0.6"})
    world = World()
    world.session._bearer = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiIxIn0.dW5pdC10ZXN0"

    assert world.airflow.version.number == "3.0.6"
    assert sent(web) == ["GET /api/v2/version"]


def test_a_path_that_names_its_api_needs_no_version(web: responses.RequestsMock) -> None:
    web.get(DAGS, status=404, json=REMOVED)
    world = World()

    assert world.get().status == 404
    assert world.airflow.known_version is None
    assert sent(web) == ["GET /api/v1/dags"]


@pytest.mark.parametrize("first", [(403, {}), (404, {"detail": "by a gateway"}), (200, {"version": "newest"}), (200, [])])
def test_an_instance_that_does_not_report_its_version_is_taken_for_airflow_2(
    web: responses.RequestsMock, first: tuple[int, Any]
) -> None:
    web.get(VERSION_2, status=first[0], json=first[1])
    web.get(VERSION_3, status=403, json={})
    world = World()

    assert world.airflow.version == AIRFLOW_2
    asked = len(web.calls)
    assert world.airflow.version == world.airflow.known_version == AIRFLOW_2
    assert len(web.calls) == asked
    assert world.log.lines[-1] == "The instance does not report its version; the action assumes the REST API /api/v1."


def test_an_instance_that_cannot_be_reached_is_an_error_of_the_first_request(web: responses.RequestsMock) -> None:
    web.get(VERSION_2, body=refused())

    with pytest.raises(NetworkError):
        World().airflow.request("GET", "/dags")


def test_the_version_that_the_session_knows_is_not_asked_for() -> None:
    world = World()
    world.session.version = "3.2.2"

    assert world.airflow.version.number == "3.2.2"
    assert world.airflow.version.api == "/api/v2"


def test_a_version_that_a_command_printed_is_kept_unless_it_is_known() -> None:
    world = World()

    world.airflow.keep_version("not a version")
    assert world.session.version is None
    world.airflow.keep_version("2.10.4")
    world.airflow.keep_version("2.9.0")
    assert world.session.version == "2.10.4"


def test_no_response_is_waited_for_beyond_the_deadline(web: responses.RequestsMock) -> None:
    web.get(DAGS, body=BrokenError("reset"))
    world = World()
    airflow = world.airflow.until(world.clock.now + 5.0)

    with pytest.raises(AnswerLostError):
        airflow.request("GET", "/api/v1/dags")

    assert world.clock.slept == [1.0, 2.0]
    assert world.airflow.deadline == float("inf")


def test_nothing_is_sent_when_no_time_is_left() -> None:
    world = World()

    with pytest.raises(AnswerTimeoutError, match="the time ran out"):
        world.airflow.until(world.clock.now).request("GET", "/api/v1/dags")


def test_a_command_goes_where_the_instance_takes_it(web: responses.RequestsMock) -> None:
    web.post(COMMAND, status=405, json=NOT_ALLOWED)
    web.post(COMMAND_3, json={"stdout": "3.2.2\n", "stderr": ""})
    world = World()

    for _ in range(2):
        assert send_command(world.airflow, ["version"], repeatable=True, timeout=60) == ("3.2.2\n", "")

    assert sent(web) == ["POST /api/v1/command", "POST /api/v2/command", "POST /api/v2/command"]
    assert world.log.lines == []


def test_a_command_endpoint_at_its_old_path_is_used_on_airflow_3(web: responses.RequestsMock) -> None:
    web.post(COMMAND, json={"stdout": "3.2.2\n", "stderr": ""})
    world = World()
    world.session.version = "3.2.2"

    send_command(world.airflow, ["version"], repeatable=True, timeout=60)

    assert sent(web) == ["POST /api/v1/command"]


@pytest.mark.parametrize("status", [400, 404, 405, 500])
def test_a_refusal_in_other_words_may_have_run_the_command(web: responses.RequestsMock, status: int) -> None:
    web.post(COMMAND, status=status, json={"title": "Bad", "detail": "said DMS"})

    with pytest.raises(AnswerError):
        send_command(World().airflow, ["dags", "trigger", "etl"], repeatable=False, timeout=60)

    assert sent(web) == ["POST /api/v1/command"]


def test_a_cookie_that_airflow_3_does_not_take_is_tried_as_a_bearer_token(web: responses.RequestsMock) -> None:
    dags = f"{HOST}/api/v2/dags"
    for _ in range(2):
        web.get(dags, status=401, json={"detail": "Not authenticated"})
    web.get(dags, json={"dags": []})
    world = World()
    world.session.version = "3.2.2"

    assert world.airflow.request("GET", "/dags").status == 200
    assert [call.request.headers.get("Authorization") for call in web.calls] == [None, None, "Bearer s1"]
    assert world.session.logins == 1
    assert world.log.lines[-1] == "The session was accepted as a bearer token."
    assert world.session.headers["Authorization"] == "Bearer s1"


@pytest.mark.parametrize(("status", "detail"), [(401, "Not authenticated"), (403, "Invalid JWT token")])
def test_a_bearer_token_that_is_not_taken_either_is_tried_once(web: responses.RequestsMock, status: int, detail: str) -> None:
    dags = f"{HOST}/api/v2/dags"
    for _ in range(2):
        web.get(dags, status=401, json={"detail": "Not authenticated"})
    web.get(dags, status=status, json={"detail": detail})
    world = World()
    world.session.version = "3.2.2"

    with pytest.raises(LoginError):
        world.airflow.request("GET", "/dags")

    assert len(web.calls) == 3
    assert "Authorization" not in world.session.headers


def test_airflow_2_gets_no_bearer_token(web: responses.RequestsMock) -> None:
    web.get(DAGS, status=401)

    with pytest.raises(LoginError):
        World().get()

    assert [call.request.headers.get("Authorization") for call in web.calls] == [None, None]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "2.10.4/rest/importErrors/missing",
            "Import error not found: The ImportError with import_error_id: `999999` was not found",
        ),
        ("3.2.2/rest/dagruns/trigger_missing_dag", "Dag with dag_id: 'nosuch' not found"),
        ("3.2.2/rest/dagruns/trigger_no_logical_date", "body.logical_date: Field required"),
        (
            "3.2.2/rest/dagruns/trigger_logical_same",
            (
                "Unique constraint violation: Serious error when handling your request. Check logs for more details - you will "
                "find it in api server when you look for ID tZTww2la"
            ),
        ),
        ("3.2.2/rest/meta/not_found_path", "API route not found"),
    ],
)
def test_an_error_is_told_in_one_line_whatever_its_form(name: str, words: str) -> None:
    told = json.loads((CAPTURES / f"airflow-{name}.json").read_text(encoding="utf-8"))
    got = told.get("response", told)
    answer = Response(status=got["status"], headers=CaseInsensitiveDict(got["headers"]), body=got["body"].encode(), cookies={})

    assert describe_problem(answer, str) == words


@pytest.mark.parametrize("detail", [[], {}, [None], 5, {"reason": 1}])
def test_an_error_without_words_is_quoted(detail: Any) -> None:
    headers = CaseInsensitiveDict({"Content-Type": "application/json"})
    answer = Response(status=500, headers=headers, body=json.dumps({"detail": detail}).encode(), cookies={})

    assert describe_problem(answer, str) == f'(application/json) {{"detail": {json.dumps(detail)}}}'


def test_secrets_are_masked_before_an_answer_is_cut_or_put_on_one_line() -> None:
    page = Response(status=502, headers=CaseInsensitiveDict(), body=f"{'x' * 290} {TOKEN} y".encode(), cookies={})
    headers = CaseInsensitiveDict({"Content-Type": "application/json"})
    problem = Response(status=400, headers=headers, body=json.dumps({"detail": f"no {TOKEN}"}).encode(), cookies={})

    assert describe_problem(page, redact) == f"(no content type) {'x' * 290} *** y"
    assert describe_problem(problem, redact) == "no ***"


TOKEN = "two  blanks, and more than ten characters"


def redact(text: str) -> str:
    return text.replace(TOKEN, "***")
