"""Every stage of a step under every fault ends as tests/faults.py says: one clear error, and nothing done twice."""

from __future__ import annotations

import gzip
import json
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.front import Answer
from sandbox.openapi import PREFIX
from sandbox.runner import Runner
from tests.faults import CELLS, FAULTS, STAGES
from tests.integration.conftest import check_leaks, run_in_process
from tests.integration.fake_dms import HTML, KEY, LOGIN_PAGE
from tests.integration.misbehaviour import (
    FOR_EVER,
    Fault,
    MisbehaviourError,
    Plan,
    cut_off,
    cut_off_headers,
    drip,
    keep_silent,
    leave_out_body,
    never_end,
    open_places,
    reset,
    serve_misbehaving,
    watch_the_door,
)
from tests.integration.scripted_runs import ScriptedDag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.runner import Step
    from tests.integration.misbehaviour import MisbehavingDms, Places
    from tests.integration.scripted_runs import ScriptedStep
    from tests.unit.fakes import FakeClock

WAIT = {"operation": "dags trigger", "arguments": "etl", "wait-for-completion": "true", "poll-interval": "30s", "timeout": "5m"}

WRITES = ("command that changes", "REST write", "trigger", "poll", "log")

WITHOUT_KEYS = {"operation": "version", "access-key-id": "", "access-key-secret": ""}
ROLE = {
    "role-to-assume": "acs:ram::1234567890123456:role/github-deploy",
    "oidc-provider-arn": "acs:ram::1234567890123456:oidc-provider/github",
}

# What runs, and which of its requests is the stage.
STEPS: dict[str, tuple[str, dict[str, str]]] = {
    "id-token": (r"/idtoken$", {**WITHOUT_KEYS, **ROLE}),
    "STS": (r" sts\.aliyuncs\.com/$", {**WITHOUT_KEYS, **ROLE}),
    "AssumeRole": (r" sts\.aliyuncs\.com/$", WITHOUT_KEYS),
    "metadata": (r"/EcsDeployRole$", WITHOUT_KEYS),
    "token": (r"^POST /$", {"operation": "version"}),
    "login": (r"^GET /login$", {"operation": "version"}),
    "command that reads": (r"/command$", {"operation": "version", "timeout": "120s"}),
    "command that changes": (r"/command$", {"operation": "variables set", "arguments": "k v4lue", "timeout": "120s"}),
    "REST read": (r"/pools$", {"operation": "rest", "arguments": "GET /pools"}),
    "REST write": (r"/pools$", {"operation": "rest", "arguments": "POST /pools", "body": '{"name": "p", "slots": 1}'}),
    "trigger": (r"/command$", {"operation": "dags trigger", "arguments": "etl", "timeout": "10m"}),
    "poll": (r"^GET /api/v1/dags/etl/dagRuns/", WAIT),
    "log": (r"/logs/", WAIT),
}

LOG = """\
[2026-11-22T12:00:02.000+0000] {taskinstance.py:3311} ERROR - Task failed with exception
Traceback (most recent call last):
  File "/opt/airflow/dags/etl.py", line 7, in load
    raise ValueError("no rows")
ValueError: no rows
"""

BIG = gzip.compress((b" " * 999_999 + b"\n") * 50, compresslevel=1)


def say(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Fault:
    """An answer that proves that nothing happened, or says nothing of it: then it did."""
    happens = status in (408, 500, 502, 503, 504)
    return Fault(answer=lambda _: Answer(kind="fault", status=status, headers=list(headers), body=body), happens=happens)


def change(headers: Callable[[Answer], list[tuple[str, str]]], body: Callable[[bytes], bytes]) -> Fault:
    """The right answer, in a wrong form."""

    def answer(right: Answer) -> Answer:
        return Answer(kind="fault", status=right.status, headers=headers(right), body=body(right.body))

    return Fault(answer=answer, happens=True)


def keep_headers(right: Answer) -> list[tuple[str, str]]:
    return list(right.headers)


def relabel(label: str) -> Callable[[Answer], list[tuple[str, str]]]:
    def headers(right: Answer) -> list[tuple[str, str]]:
        return [*(pair for pair in right.headers if pair[0] != "Content-Type"), ("Content-Type", label)]

    return headers


def spoil(body: bytes) -> bytes:
    """Write Chinese into the answer as GBK does."""
    gbk = b"\xca\xfd\xbe\xdd"
    return body.replace(b'"', b'"note": "%s", "' % gbk, 1) if body.startswith(b"{") else body.replace(b"rows", gbk)


def play(what: Callable[..., None]) -> Callable[[Answer], Answer]:
    def answer(_: Answer) -> Answer:
        raise MisbehaviourError(what)

    return answer


ERROR_PAGE = b"<!DOCTYPE html><title>Error</title><h1>The gateway is not well</h1>"


# Seconds that an answer may take at a stage.
LIMITS = {
    "id-token": 30,
    "STS": 10,
    "AssumeRole": 10,
    "metadata": 10,
    "token": 30,
    "login": 60,
    "REST read": 60,
    "REST write": 60,
    "poll": 30,
    "log": 60,
}


def make_fault(name: str, stage: str, clock: FakeClock) -> Fault:
    """Make what FAULTS describes in words."""
    statuses = {"500": 500, "502": 502, "503": 503, "504": 504, "401": 401, "403": 403, "404": 404, "408": 408, "409": 409}
    if name in statuses:
        return say(statuses[name], ERROR_PAGE, HTML)
    return {
        "no such host": lambda: Fault(place="nobody"),
        "refused": lambda: Fault(place="closed"),
        "reset before": lambda: Fault(place="reset"),
        "connect time-out": lambda: Fault(place="silence"),
        "TLS": lambda: Fault(place="stranger"),
        "reset after": lambda: Fault(answer=play(reset), happens=True),
        "read time-out": lambda: Fault(answer=play(keep_silent), happens=True, is_silent=True),
        "429": lambda: say(429, ERROR_PAGE, HTML),
        "429, Retry-After": lambda: say(429, ERROR_PAGE, HTML, ("Retry-After", "20")),
        "redirect to a login page": lambda: say(302, b"", ("Location", f"{PREFIX}/login/?next=x")),
        "redirect to another host": lambda: say(302, b"", ("Location", "https://signin.example.com/")),
        "login page": lambda: say(200, LOGIN_PAGE, HTML),
        "empty body": lambda: change(keep_headers, lambda _: b""),
        "truncated JSON": lambda: change(keep_headers, lambda body: body[: len(body) // 2]),
        "broken off": lambda: Fault(answer=cut_off, happens=True),
        "broken off in the headers": lambda: Fault(answer=cut_off_headers, happens=True),
        "no length, no body": lambda: Fault(answer=leave_out_body, happens=True),
        "wrong content type": lambda: change(relabel("text/html"), lambda body: body),
        "wrong charset": lambda: change(keep_headers, spoil),
        "wrong compression": lambda: change(lambda right: [*right.headers, ("Content-Encoding", "gzip")], lambda body: body),
        "50 MB": lambda: change(
            lambda right: [*right.headers, ("Content-Encoding", "gzip")], lambda body: BIG + gzip.compress(body)
        ),
        "endless body": lambda: Fault(answer=never_end, happens=True),
        "slow bytes": lambda: Fault(answer=drip(clock, LIMITS.get(stage, 120) + 1.0), happens=True),
    }[name]()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom the steps trust."""
    return trustme.CA()


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    """Where ways lead astray."""
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(stranger)
    with open_places(stranger) as opened:
        yield opened


def write_profile(folder: Path) -> Path:
    """Write a credentials file whose profile names a role, for which STS must be asked."""
    file = folder / "config.json"
    keys = {"access_key_id": KEY.access_key_id, "access_key_secret": KEY.access_key_secret}
    role = {"ram_role_arn": ROLE["role-to-assume"], "ram_session_name": "nightly", "expired_seconds": 3600}
    file.write_text(json.dumps({"current": "role", "profiles": [{"name": "role", "mode": "RamRoleArn", **keys, **role}]}))
    return file


@dataclass
class World:
    """A DMS behind an unsafe way, and a runner."""

    dms: MisbehavingDms
    clock: FakeClock
    runner: Runner
    bundle: str
    monkeypatch: pytest.MonkeyPatch

    def go(self, stage: str, plan: Plan) -> Step:
        """Run the step of a stage, with a plan of what goes wrong."""
        ended: ScriptedStep = ("failed", {"extract": "success", "load": "failed"})
        self.dms.runs.dags["etl"] = ScriptedDag(steps=(ended,), logs={"load": LOG}) if stage == "log" else ScriptedDag()
        self.dms.plan = plan
        inputs = {**self.dms.inputs, **STEPS[stage][1]}
        environ = {**self.dms.cloud.environ, "HTTPS_PROXY": "", "REQUESTS_CA_BUNDLE": self.bundle, "RUNNER_DEBUG": "1"}
        if stage == "AssumeRole":
            environ["ALIBABA_CLOUD_CREDENTIALS_FILE"] = str(write_profile(Path(self.bundle).parent))
        if stage == "metadata":
            environ["ALIBABA_CLOUD_ECS_METADATA"] = "EcsDeployRole"
        step = run_in_process(self.runner, inputs, environ, self.clock, self.monkeypatch)
        secrets = {*self.dms.secrets, *(["v4lue"] if stage == "command that changes" else [])}
        check_leaks(step, (self.runner.temp, self.runner.workspace), secrets)
        return step


@pytest.fixture
def world(
    tmp_path: Path, authority: trustme.CA, places: Places, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A new one for each test."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    folders = workspace, temp = tmp_path / "workspace", tmp_path / "runner-here"
    for folder in folders:
        folder.mkdir()
    with serve_misbehaving(tmp_path, authority) as dms:
        watch_the_door(monkeypatch, dms, places, clock)
        dms.runs.commands["version"] = ("2.10.4\n", "")
        dms.runs.commands["variables set"] = ("Variable k created\n", "")
        dms.runs.route("GET", "/api/v1/pools", {"pools": [{"name": "default_pool"}], "total_entries": 1})
        dms.runs.route("POST", "/api/v1/pools", {"name": "p", "slots": 1})
        yield World(
            dms=dms,
            clock=clock,
            runner=Runner(workspace=workspace, temp=temp),
            bundle=str(bundle),
            monkeypatch=monkeypatch,
        )


def judge(step: Step, stage: str, sent: int) -> str:
    """Write how a step ended, as tests/faults.py does."""
    errors = [one for one in step.annotations if one.name == "error"]
    if stage == "log":
        # The run has failed in any case: what counts is whether its log was read.
        (error,) = errors
        if "ValueError: no rows" in error.data:
            return f"done {sent}"
        is_read = not error.data.startswith("Why it failed is not known, since its log could not be fetched: ")
        return f"told as it came {sent}" if is_read else f"log not read {sent}"
    if step.exit_code == 0:
        assert errors == []
        return f"done {sent}"
    (error,) = errors
    return f"{error.properties['title']} {sent}"


NAMES = {
    "id-token": "GitHub",
    "STS": "sts.aliyuncs.com",
    "AssumeRole": "The file",
    "metadata": "The ECS instance's RAM role",
}


def check_error(step: Step, dms: MisbehavingDms, stage: str = "") -> None:
    """One clear error: what failed, for which instance or host, and what to do."""
    (error,) = (one for one in step.annotations if one.name == "error")
    what, _, advice = error.data.partition("\n")
    named = (NAMES[stage],) if stage in NAMES else ("af-sandbox0000000000", dms.endpoint.removeprefix("https://"))
    assert any(name in error.data for name in named)
    assert "in Airflow" not in advice or stage not in NAMES
    assert len(what) > 20 or (stage == "log" and what.startswith("ValueError: no "))  # the task's own exception
    assert len(advice) > 20


# What does no harm once does none twice; a big answer takes its time.
CASES = [
    (fault, stage, mode)
    for fault in FAULTS
    for stage in STAGES
    for mode in ("once", "always")
    if (fault, mode) != ("50 MB", "always") and CELLS[fault][stage].once
]


@pytest.mark.parametrize(("fault", "stage", "mode"), CASES)
def test_a_fault(fault: str, stage: str, mode: str, world: World) -> None:
    if fault == "endless body":
        world.monkeypatch.setattr("dms_airflow.core.http.exchange.LONGEST_ANSWER", 1_000_000)
    plan = Plan(what=STEPS[stage][0], fault=make_fault(fault, stage, world.clock), times=1 if mode == "once" else FOR_EVER)

    step = world.go(stage, plan)

    assert judge(step, stage, plan.sent) == getattr(CELLS[fault][stage], mode)
    if step.exit_code:
        check_error(step, world.dms, stage)
    check_effects(step, stage, plan, world.dms)


def check_effects(step: Step, stage: str, plan: Plan, dms: MisbehavingDms) -> None:
    """Nothing is done twice, and a success is told only of what was done."""
    done = len(dms.runs.made) if stage in ("trigger", "poll", "log") else plan.done
    if stage in WRITES:
        assert done <= 1
        assert step.exit_code != 0 or done == 1


# These leave open whether what was asked for has happened.
OPEN = (
    "reset after",
    "read time-out",
    "408",
    "500",
    "502",
    "503",
    "504",
    "broken off",
    "broken off in the headers",
    "no length, no body",
)
# These prove that it has not, or that it has.
CERTAIN = (
    "no such host",
    "refused",
    "reset before",
    "connect time-out",
    "TLS",
    "401",
    "403",
    "404",
    "409",
    "429",
    "429, Retry-After",
    "redirect to a login page",
    "redirect to another host",
    "login page",
    "truncated JSON",
    "wrong content type",
    "wrong charset",
)

faults = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(OPEN), st.booleans()),
    st.tuples(st.sampled_from(CERTAIN), st.none()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(met=st.lists(faults, min_size=1, max_size=9), whole=st.booleans())
@pytest.mark.parametrize("stage", ["command that changes", "REST write", "trigger", "poll"])
def test_whatever_happens_in_a_row_nothing_is_done_twice(
    stage: str, met: list[tuple[str, bool | None] | None], world: World, *, whole: bool
) -> None:
    """Each request of the stage meets the next fault; or each of the whole run, those of token and login included."""
    left = iter(met)

    def choose() -> Fault | None:
        name, happens = next(left, None) or ("", None)
        fault = make_fault(name, stage, world.clock) if name else None
        return replace(fault, happens=happens) if fault and happens is not None else fault

    world.dms.runs.made.clear()
    plan = Plan(what="" if whole else STEPS[stage][0], fault=choose, times=FOR_EVER, counted=STEPS[stage][0])

    step = world.go(stage, plan)

    check_effects(step, stage, plan, world.dms)
    if step.exit_code:
        check_error(step, world.dms)


@pytest.mark.parametrize(
    ("stage", "fault", "title"),
    [
        ("login", Fault(answer=never_end), "Unusable answer"),
        ("command that changes", Fault(answer=never_end, happens=True), "Unusable answer"),
        ("command that changes", Fault(answer=cut_off, happens=True), "Answer lost"),
        ("REST write", say(502, ERROR_PAGE, HTML), "Airflow refused the request"),
    ],
)
def test_a_fault_met_by_a_real_process(stage: str, fault: Fault, title: str, authority: trustme.CA, tmp_path: Path) -> None:
    """With the true limits, and nothing patched."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    folders = workspace, temp = tmp_path / "workspace", tmp_path / "temp"
    for folder in folders:
        folder.mkdir()
    with serve_misbehaving(tmp_path, authority) as dms:
        dms.runs.commands["variables set"] = ("Variable k created\n", "")
        dms.runs.route("POST", "/api/v1/pools", {"name": "p", "slots": 1})
        dms.plan, dms.next = Plan(what=STEPS[stage][0]), fault
        inputs = {**dms.inputs, **STEPS[stage][1]}
        step = Runner(workspace=workspace, temp=temp).run(inputs, {"REQUESTS_CA_BUNDLE": str(bundle)})

        assert judge(step, stage, 1) == f"{title} 1"
        check_error(step, dms)
        assert dms.plan.done == (1 if fault.happens else 0)
        check_leaks(step, folders, dms.secrets)
