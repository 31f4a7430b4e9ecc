"""CreateAirflowLoginToken through the real SDK: each way to be refused, and what is asked again."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

import pytest

from sandbox.openapi import PREFIX
from tests.integration.fake_dms import HTML, JSON, KEY, LOGIN_PAGE, TEMPORARY_KEY, answer, drop

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.front import Answer, Request
    from sandbox.runner import Step
    from tests.integration.fake_dms import FakeDms
    from tests.unit.fakes import FakeClock

    Run = Callable[..., Step]

VERSION = {"operation": "version"}


@pytest.fixture(autouse=True)
def script(dms: FakeDms) -> None:
    """Let the command of these tests work."""
    dms.airflow.commands["version"] = ("2.10.4\n", "")


def read_refusal(step: Step) -> str:
    """Give the one annotation of a step that got no token."""
    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "No login token"
    return annotation.data


# --- what the gateway verifies -------------------------------------------------------------------------------------------


def test_an_unknown_key(run_here: Run) -> None:
    said = read_refusal(run_here({**VERSION, "access-key-id": "LTAI5tNobodysKey00001"}, None, "LTAI5tNobodysKey00001"))

    assert "Alibaba Cloud knows no active AccessKey with this id (InvalidAccessKeyId.NotFound" in said
    assert "store an active key" in said


def test_a_wrong_secret(dms: FakeDms, run_here: Run) -> None:
    said = read_refusal(run_here({**VERSION, "access-key-secret": "wrong-secret-wrong-secret"}))

    assert "the AccessKey's secret does not match its id (SignatureDoesNotMatch" in said
    assert "Store the id and the secret of one AccessKey again" in said
    assert dms.paths == ["POST /"]


def test_temporary_keys_without_their_token(run_here: Run) -> None:
    inputs = {"access-key-id": TEMPORARY_KEY.access_key_id, "access-key-secret": TEMPORARY_KEY.access_key_secret}

    said = read_refusal(run_here({**VERSION, **inputs}))

    assert "the security token and the AccessKey do not belong together (MissingSecurityToken" in said
    assert "needs its security-token" in said


def test_the_token_of_other_keys(run_here: Run) -> None:
    inputs = {"access-key-id": KEY.access_key_id, "security-token": "CAIS-another-token"}

    said = read_refusal(run_here({**VERSION, **inputs}))

    assert "the security token and the AccessKey do not belong together (InvalidSecurityToken.MismatchWithAccessKey" in said


def test_expired_temporary_keys(dms: FakeDms, run_here: Run) -> None:
    dms.openapi.accept(replace(TEMPORARY_KEY, expires=datetime.now(UTC) - timedelta(minutes=1)))
    inputs = {
        "access-key-id": TEMPORARY_KEY.access_key_id,
        "access-key-secret": TEMPORARY_KEY.access_key_secret,
        "security-token": TEMPORARY_KEY.security_token,
    }

    said = read_refusal(run_here({**VERSION, **inputs}))

    assert "the temporary credentials have expired (InvalidSecurityToken.Expired" in said
    assert "Get them in a step right before this one, or use role-to-assume" in said


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_wrong(dms: FakeDms, run_here: Run, hours: int) -> None:
    dms.openapi.clock_offset = timedelta(hours=hours)

    said = read_refusal(run_here(VERSION))

    assert "this machine's clock is wrong (InvalidTimeStamp.Expired" in said
    assert "Synchronise the clock" in said


def test_an_unknown_instance(run_here: Run) -> None:
    said = read_refusal(run_here({**VERSION, "instance-id": "af-nosuch"}))

    assert "for af-nosuch at" in said
    assert "the instance does not exist in this region (AirflowNotExist" in said
    assert "Compare instance-id and region" in said


# --- what DMS says -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words", "hint"),
    [
        (
            answer(
                403, b'{"Code": "Forbidden.RAM", "Message": "User not authorized to operate on the specified resource."}', JSON
            ),
            "the identity has no permission for this call (Forbidden.RAM",
            "dms:CreateAirflowLoginToken",
        ),
        (
            answer(200, b'{"Success": false, "ErrorCode": "NoPermission", "Message": "m"}', JSON),
            "the identity has no permission for this call (NoPermission: m; request id unknown)",
            "dms:CreateAirflowLoginToken",
        ),
        (
            answer(403, b'{"Code": "UserNotExist", "Message": "The user does not exist."}', JSON),
            "the identity is not a user of DMS (UserNotExist",
            "must add its UID",
        ),
        (
            answer(200, b'{"Success": false, "ErrorCode": "TenantNotExist", "Message": "m"}', JSON),
            "the account has no DMS (TenantNotExist",
            "open DMS's console once",
        ),
        (
            answer(400, b'{"Code": "AirflowStatusError", "Message": "The status of the Airflow is DEPLOYING."}', JSON),
            "the instance is being deployed (AirflowStatusError: The status of the Airflow is DEPLOYING.",
            "Wait until its console shows it as running",
        ),
        (
            answer(200, b'{"Success": false, "ErrorCode": "InstanceNotReady", "Message": "m"}', JSON),
            "the instance is being deployed (InstanceNotReady: m",
            "Wait until its console shows it as running",
        ),
        (
            answer(404, b'{"Code": "InvalidAction.NotFound", "Message": "Specified api is not found."}', JSON),
            "this endpoint does not know the call (InvalidAction.NotFound",
            "Check endpoint",
        ),
        (
            answer(400, b'{"Code": "OperationDenied", "Message": "The instance is not in running state."}', JSON),
            "the instance is being deployed (OperationDenied",
            "Wait until its console shows it as running",
        ),
        (
            answer(400, b'{"Code": "Brand.New", "Message": "never   seen", "RequestId": "R-1"}', JSON),
            "was refused (Brand.New: never seen; request id R-1).",
            "Look the code up",
        ),
    ],
)
def test_a_refusal(dms: FakeDms, run_here: Run, fault: Answer, words: str, hint: str) -> None:
    dms.fail("token", fault)

    said = read_refusal(run_here(VERSION))

    assert words in said
    assert hint in said
    assert dms.paths == ["POST /"]


@pytest.mark.parametrize(
    "echo",
    [
        "server string to sign is:POST\\n/\\nhost:dms.cn-hangzhou.aliyuncs.com\\nx-acs-nonce:4711",
        "server StringToSign is [ACS3-HMAC-SHA256 4711], server CanonicalRequest is [POST / x-acs-nonce:4711]",
        "Server canonicalString is POST x-acs-nonce:4711",
    ],
)
def test_the_request_that_the_gateway_quotes_is_not_shown(dms: FakeDms, run: Run, echo: str) -> None:
    """Its headers hold the security token, where there is one."""
    text = f'{{"Code": "SignatureDoesNotMatch", "Message": "Specified signature does not match our calculation. {echo}"}}'
    dms.fail("token", answer(400, text.encode(), JSON))

    step = run(VERSION)

    assert "(SignatureDoesNotMatch: Specified signature does not match our calculation.; request id" in read_refusal(step)
    assert "4711" not in step.summary


def test_a_region_of_dms_that_the_name_server_does_not_know(run_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", find_nobody)

    step = run_here({**VERSION, "endpoint": "", "region": "cn-hangzhou"})

    (annotation,) = step.annotations
    assert "https://dms.cn-hangzhou.aliyuncs.com: no such host." in annotation.data
    assert "If the region is right, check this machine's name server" in annotation.data


@pytest.mark.parametrize(
    ("number", "slept"), [(socket.EAI_NONAME, []), (socket.EAI_AGAIN, [1.0, 2.0, 4.0, 8.0])], ids=["unknown", "no answer"]
)
def test_a_region_without_dms(
    run_here: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, number: int, slept: list[float]
) -> None:
    def find_nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", find_nobody)

    step = run_here({**VERSION, "endpoint": "", "region": "cn-nowhere-1"})

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Host not reached"
    assert "https://dms.cn-nowhere-1.aliyuncs.com: no such host." in annotation.data
    assert "Check region: DMS's documentation lists cn-beijing, cn-hangzhou" in annotation.data
    assert clock.slept == slept


@pytest.mark.parametrize(
    ("fault", "title", "words"),
    [
        (answer(404, b"<h1>Not Found</h1>", HTML), "Unusable answer", "(status 404)"),
        (answer(200, b"<h1>Hello</h1>", HTML), "Unusable answer", "(status 200)"),
        (
            answer(200, b'{"Success": true, "RequestId": "R1"}', JSON),
            "Unusable answer",
            "(status 200) has neither a token nor an error code",
        ),
        (answer(200, b'{"RequestId": "R1"}', JSON), "Unusable answer", "(status 200) has neither a token nor an error code"),
        (answer(200, b"null", JSON), "Unusable answer", ""),
        (answer(200, b"[]", JSON), "Unusable answer", ""),
        (
            answer(200, b'{"Success": true, "Data": {"Token": "t0k3n-t0k3n", "Host": "ftp://x"}}', JSON),
            "No login token",
            "a host to which the session must not be sent",
        ),
        (
            answer(200, b'{"Success": true, "Data": {"Token": "t0k3n-t0k3n", "Host": "http://a.com"}}', JSON),
            "No login token",
            "a host to which the session must not be sent",
        ),
    ],
)
def test_an_answer_that_makes_no_sense(dms: FakeDms, run_here: Run, fault: object, title: str, words: str) -> None:
    dms.fail("token", fault)  # type: ignore[arg-type]

    step = run_here(VERSION, None, "t0k3n-t0k3n")

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == title
    assert words in annotation.data
    assert dms.paths == ["POST /"]


# --- what passes ---------------------------------------------------------------------------------------------------------


PASSING = [
    answer(400, b'{"Code": "Throttling.User", "Message": "m"}', JSON),
    answer(200, b'{"Success": false, "ErrorCode": "InternalError", "Message": "m"}', JSON),
    answer(500, b'{"Code": "InternalError", "Message": "m"}', JSON),
    answer(503, b'{"Code": "Strange", "Message": "m"}', JSON),
    answer(502, b"<h1>Bad Gateway</h1>", HTML),
    answer(429, b"<h1>Too Many Requests</h1>", HTML),
    drop,
]


@pytest.mark.parametrize("fault", PASSING)
def test_a_token_call_that_recovers(dms: FakeDms, run_here: Run, clock: FakeClock, fault: object) -> None:
    dms.fail("token", fault, times=2)  # type: ignore[arg-type]

    step = run_here(VERSION)

    assert step.exit_code == 0
    assert clock.slept == [1.0, 2.0]
    assert dms.paths == ["POST /", "POST /", "POST /", "GET /login", "POST /api/v1/command"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (PASSING[0], ("No login token", "the account makes too many calls (Throttling.User")),
        (PASSING[2], ("No login token", "Alibaba Cloud failed to handle it (InternalError")),
        (PASSING[4], ("Unusable answer", "(status 502)")),
        (drop, ("Host not reached", "CreateAirflowLoginToken for af-sandbox0000000000: ")),
    ],
)
def test_a_token_call_that_does_not_recover(
    dms: FakeDms, run_here: Run, clock: FakeClock, fault: object, said: tuple[str, str]
) -> None:
    dms.fail("token", fault, times=9)  # type: ignore[arg-type]

    step = run_here(VERSION)

    assert step.exit_code == 1
    (annotation,) = step.annotations
    assert annotation.properties["title"] == said[0]
    assert said[1] in annotation.data
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]
    assert dms.paths == ["POST /"] * 5


def test_a_throttled_call_waits_as_long_as_it_is_told(dms: FakeDms, run_here: Run, clock: FakeClock) -> None:
    body = b'{"Code": "Throttling.User", "Message": "m"}'
    dms.fail("token", answer(429, body, JSON, ("x-acs-retry-after", "7000")))

    step = run_here(VERSION)

    assert step.exit_code == 0
    assert clock.slept == [7.0]


@pytest.mark.parametrize("wait", [("7", 7.0), ("Sun, 22 Nov 1970 12:00:00 GMT", 1.0), ("59", 59.0), ("soon", 1.0)])
@pytest.mark.parametrize(
    "fault", [(429, b'{"Code": "Throttling.User", "Message": "m"}', JSON), (503, b"<h1>Unavailable</h1>", HTML)]
)
def test_the_standard_way_to_say_how_long(
    dms: FakeDms, run_here: Run, clock: FakeClock, fault: tuple[int, bytes, tuple[str, str]], wait: tuple[str, float]
) -> None:
    dms.fail("token", answer(*fault, ("Retry-After", wait[0])))

    step = run_here(VERSION)

    assert step.exit_code == 0
    assert clock.slept == [wait[1]]


def test_nobody_comes_back_before_the_time_that_was_said(dms: FakeDms, run_here: Run, clock: FakeClock) -> None:
    dms.fail("token", answer(429, b'{"Code": "Throttling.User", "Message": "m"}', JSON, ("Retry-After", "3600")))

    step = run_here(VERSION)

    assert step.exit_code == 1
    assert step.annotations[0].properties["title"] == "No login token"
    assert clock.slept == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_sdk_follows_no_redirect_with_the_security_token(dms: FakeDms, run_here: Run, status: int) -> None:
    dms.openapi.accept(TEMPORARY_KEY)
    keys = {
        "access-key-id": TEMPORARY_KEY.access_key_id,
        "access-key-secret": TEMPORARY_KEY.access_key_secret,
        "security-token": TEMPORARY_KEY.security_token,
    }
    dms.fail("token", answer(status, b"", ("Location", f"{dms.endpoint}/elsewhere")))

    step = run_here({**VERSION, **keys})

    (annotation,) = step.annotations
    assert f"(status {status})" in annotation.data
    assert dms.paths == ["POST /"]


@pytest.mark.parametrize("fault", [answer(502, b"", HTML), answer(429, b"", HTML), drop])
def test_a_login_that_recovers_has_a_new_token_each_time(dms: FakeDms, run_here: Run, clock: FakeClock, fault: object) -> None:
    dms.fail("login", fault)  # type: ignore[arg-type]

    step = run_here(VERSION)

    assert step.exit_code == 0
    assert clock.slept == [1.0]
    assert dms.paths == ["POST /", "GET /login", "POST /", "GET /login", "POST /api/v1/command"]
    first, second = (request.query for request in dms.received if request.path == f"{PREFIX}/login")
    assert first != second


@pytest.mark.parametrize("fault", [answer(403, b"", HTML), answer(200, LOGIN_PAGE, HTML)])
def test_a_login_that_is_refused_is_not_tried_again(dms: FakeDms, run_here: Run, clock: FakeClock, fault: object) -> None:
    dms.fail("login", fault)  # type: ignore[arg-type]

    step = run_here(VERSION)

    assert [one.properties["title"] for one in step.annotations] == ["Login failed"]
    assert clock.slept == []


def test_a_login_that_nobody_answers_is_no_wait_that_ran_out(
    dms: FakeDms, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has happened in Airflow that somebody would have to look for."""
    monkeypatch.setattr("dms_airflow.airflow.session.LOGIN_TIMEOUT", 0.05)
    answered = Event()

    def keep_waiting(_: Request) -> None:
        answered.wait(5.0)

    dms.fail("login", keep_waiting, times=5)

    step = run_here(VERSION)
    answered.set()

    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Login failed"
    assert step.outputs["status"] == "failure"
    assert "was sent, but no response came in time" in annotation.data
    assert "Check in Airflow whether it happened" not in annotation.data


def test_a_login_that_always_breaks_off(dms: FakeDms, run_here: Run, clock: FakeClock) -> None:
    dms.fail("login", drop, times=5)

    step = run_here(VERSION)

    (annotation,) = step.annotations
    assert annotation.properties["title"] == "Login failed"
    assert "Check in Airflow whether it happened" not in annotation.data
    assert clock.slept == [1.0, 2.0, 4.0, 8.0]
