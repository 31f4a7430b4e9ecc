"""Secrets as whole runs: of any characters, echoed in any form, in any stream, none is left; debugging runs included.

`check_leaks` looks at all that a step leaves, so that most of these tests only let Airflow say it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dms_airflow.main
from sandbox.openapi import PREFIX
from sandbox.signature import Credential
from tests.integration.fake_dms import HTML, JSON, KEY, TEMPORARY_KEY, answer
from tests.unit.test_leaks import FORMS, TWICE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.front import Answer, Request
    from sandbox.runner import Step
    from tests.integration.fake_cloud import FakeCloud
    from tests.integration.fake_dms import FakeDms

    Run = Callable[..., Step]

DEBUG = {"RUNNER_DEBUG": "1"}
# What a job with a role was not given is no secret to it.
STRANGE = {KEY.access_key_id, KEY.access_key_secret, TEMPORARY_KEY.access_key_secret, TEMPORARY_KEY.security_token}
# They begin with what is in no honest text. None ends with a backslash, for JSON writes one after each line of a text.
BACKSLASH = "\\"
SECRETS = st.text(
    alphabet=st.one_of(
        st.sampled_from("aB0+/=%\"'\\ $&<#;:,é中\N{GRINNING FACE}"), st.characters(codec="utf-8", categories=["L", "P", "S"])
    ),
    min_size=1,
    max_size=40,
).map(lambda text: f"qX~{text.strip().rstrip(BACKSLASH) or '%'}")
WHOLE_RUNS = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def say(secret: str) -> str:
    """Write a secret in every form, once whole and once cut by a colour."""
    return "\n".join(f"{name}: <{spell(secret)}>" for name, spell in FORMS.items()) + f"\n{say_once(secret)}"


def say_once(secret: str) -> str:
    """The same for a text that becomes a part of JSON or of Python's notation: without the forms that are two already."""
    half = len(secret) // 2
    once = (f"{name}: <{spell(secret)}>" for name, spell in FORMS.items() if name not in TWICE)
    return "\n".join([*once, f"{secret[:half]}\x1b[0m{secret[half:]}"])


@WHOLE_RUNS
@given(SECRETS, SECRETS)
@example("Zm9v%YmFy\"q'uo\\te$HOME&<b>", "é中\N{GRINNING FACE}%41+b")
def test_keys_of_any_characters(dms: FakeDms, run_here: Run, secret: str, token: str) -> None:
    dms.openapi.accept(Credential(access_key_id=KEY.access_key_id, access_key_secret=secret))
    dms.airflow.commands["dags show"] = (f"digraph etl {{\n{say(secret)}\n}}\n", f"warning: {say(token)}\n")

    step = run_here(
        {"operation": "dags show", "arguments": "etl", "access-key-secret": secret, "result-file": "result.json"},
        {**DEBUG, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token},
        secret,
        token,
    )

    assert step.exit_code == 0


@WHOLE_RUNS
@given(SECRETS, st.sampled_from(["--conn-password", "--conn-uri", "--conn-extra", "--conn-passwrd"]))
def test_passwords_of_any_characters(dms: FakeDms, run_here: Run, password: str, option: str) -> None:
    quoted = "'" + password.replace("'", "'\"'\"'") + "'"
    dms.airflow.commands["connections add"] = (f"Successfully added `conn_id`=web : {say(password)}\n", say(password))

    step = run_here(
        {"operation": "connections add", "arguments": f"web {option} {quoted}", "result-file": "r.json"}, DEBUG, password
    )

    assert dms.commands()[-1] == ["connections", "add", "web", option, password]
    assert step.exit_code == 0


@WHOLE_RUNS
@given(SECRETS)
def test_configurations_of_any_characters(dms: FakeDms, run_here: Run, secret: str) -> None:
    conf = {"db": {"Password": secret, "n": 1}, "list": [{"api_key": [secret]}]}
    dms.airflow.commands["dags trigger"] = (
        json.dumps([{"conf": conf, "dag_id": "etl", "dag_run_id": "r1", "state": "queued"}]) + "\n",
        say(secret),
    )

    step = run_here(
        {"operation": "dags trigger", "arguments": "etl", "conf": json.dumps(conf), "result-file": "r.json"}, DEBUG, secret
    )

    assert step.exit_code == 0
    assert json.loads(dms.commands()[-1][6]) == conf
    assert step.read_json("json")[0]["conf"]["db"] == {"Password": "***", "n": 1}


@WHOLE_RUNS
@given(SECRETS, st.sampled_from(["/connections", "/variables", "/dags/etl/dagRuns"]), st.sampled_from([200, 400, 500]))
def test_bodies_of_any_characters(dms: FakeDms, run_here: Run, secret: str, path: str, status: int) -> None:
    body = {"conf": {"token": secret}} if "Runs" in path else {"key": "k", "value": secret, "passwrd": secret}
    dms.airflow.route(
        "POST", f"/api/v1{path}", {"title": "Refused", "detail": f"{body} is not {say_once(secret)}", **body}, status
    )

    run_here(
        {"operation": "rest", "arguments": f"POST {path}", "body": json.dumps(body), "result-file": "r.json"}, DEBUG, secret
    )


@WHOLE_RUNS
@given(SECRETS)
@pytest.mark.usefixtures("dms")
def test_a_bug_of_our_own_tells_no_secret(run_here: Run, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:

    def fail(*_: object) -> None:
        cause = ValueError(say(secret))
        cause.add_note(say(secret))
        raise RuntimeError({"secret": secret, "again": say_once(secret)}) from cause

    monkeypatch.setattr(dms_airflow.main, "run_operation", fail)

    step = run_here({"operation": "version", "access-key-secret": secret, "result-file": "r.json"}, DEBUG, secret)

    assert step.exit_code == 1
    assert "Traceback of the internal error" in step.stdout


def echo(secrets: Callable[[], set[str]], status: int) -> Callable[[Request], Answer]:
    """Answer with every secret that is known by then, in every form: in messages, in data, in headers."""

    def answer_so(_: Request) -> Answer:
        known = sorted(secrets())
        told = "\n".join(map(say_once, known))
        words = dict.fromkeys(("Code", "Message", "detail", "stdout"), told)
        plain = ".".join(known)
        headers = [JSON, ("Location", f"https://{plain}/{plain}"), ("X-Request-Id", plain), ("Retry-After", plain)]
        return answer(status, json.dumps(words).encode(), *headers)

    return answer_so


@pytest.mark.parametrize("stage", ["id-token", "sts", "token", "login", "command", "rest"])
@pytest.mark.parametrize("status", [200, 302, 500])
def test_whoever_echoes_whatever_it_was_given(dms: FakeDms, cloud: FakeCloud, run_here: Run, stage: str, status: int) -> None:
    """Bearer and id-token, the role's keys, login token, cookie, a password of the author's: each by each who may know it."""
    fails = cloud.fail if stage in ("id-token", "sts") else dms.fail
    fails(stage, echo(lambda: {*dms.secrets, "p4ss w/rd+"} - STRANGE, status), times=5)
    operation = (
        {"operation": "rest", "arguments": "POST /variables", "body": '{"key": "k", "value": "p4ss w/rd+"}'}
        if stage == "rest"
        else {"operation": "connections add", "arguments": "web --conn-password 'p4ss w/rd+'"}
    )
    step = run_here({**operation, **cloud.role_inputs, "result-file": "r.json"}, {**cloud.environ, **DEBUG}, "p4ss w/rd+")

    assert len(cloud.issuer.issued) >= (stage != "id-token")
    assert {cloud.issuer.bearer, *cloud.issuer.issued} <= {*step.masks}
    assert "debug: " in step.stdout


@pytest.mark.parametrize("secret", ["line one\nline two, which is long", "a\n\n\nbcdefgh\n", "\tblanks around "])
def test_variables_of_many_lines(dms: FakeDms, run: Run, secret: str) -> None:
    dms.airflow.commands["variables set"] = ("Variable k created\n", f"old value: {secret}\n{secret.upper()}\n{say(secret)}")

    step = run({"operation": "variables set", "arguments": f"k '{secret}'"}, DEBUG, secret)

    assert dms.commands() == [["variables", "set", "k", secret]]
    assert all("\n" not in mask or mask.split("\n")[0] in step.masks or len(mask.split("\n")[0]) < 4 for mask in step.masks)
    assert step.exit_code == 0


def test_the_runner_learns_a_secret_of_many_lines_line_by_line(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["variables set"] = ("Variable k created\n", "")

    step = run({"operation": "variables set", "arguments": "k 'one:: %25 two\n  ::add-mask::three\n'"})

    assert "::add-mask::one:: %2525 two%0A  ::add-mask::three\n" in step.stdout
    assert "::add-mask::one:: %2525 two\n" in step.stdout
    assert "::add-mask::::add-mask::three\n" in step.stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("web --conn-passwrd hunter2-x", "web --conn-passwrd ***"),
        ("web --conn-passwordhunter2-x", "web ***"),
        ("web --conn-uri=http://me:abc@h --conn-host h", "web '--conn-uri=***' --conn-host h"),
        ("web --conn-host http://me:abc@h", "web --conn-host 'http://me:***@h'"),
    ],
)
def test_a_misspelled_or_short_password_is_not_shown(dms: FakeDms, run: Run, arguments: str, shown: str) -> None:
    usage = "airflow connections add command error: unrecognized arguments: {}, see help above.\n"
    dms.airflow.commands["connections add"] = ("", usage.format(arguments))

    step = run({"operation": "connections add", "arguments": arguments}, DEBUG, "hunter2-x", ":abc@")

    assert f"$ airflow connections add {shown}" in step.log
    assert step.exit_code == 1


def test_a_very_short_password_is_taken_out_of_what_airflow_says_and_never_masked_for_the_job(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["connections add"] = ("Successfully added `conn_id`=web : http://me:abc@h/abcd\n", "not abc!\n")

    step = run({"operation": "connections add", "arguments": "web --conn-password abc"})

    assert step.outputs["stdout"] == "Successfully added `conn_id`=web : http://me:***@h/abcd\n"
    assert step.outputs["stderr"] == "not ***!\n"
    assert "abc" not in step.masks


def test_passwords_in_urls_of_strangers_are_not_shown(dms: FakeDms, run: Run) -> None:
    dsn = "sqlalchemy.exc.OperationalError: postgresql+psycopg2://airflow:p%40ss,w0rd@db:5432/airflow refused\n"
    dms.airflow.commands["dags list"] = ("", f"Traceback (most recent call last):\n  File x\n{dsn}")

    step = run({"operation": "dags list", "arguments": "-o json"})

    assert "p%40ss,w0rd" not in step.stdout + step.summary
    assert "postgresql+psycopg2://airflow:***@db:5432/airflow" in step.annotations[0].data
    assert "p%40ss,w0rd" in step.outputs["stderr"]


def test_a_number_that_is_a_secret(dms: FakeDms, run: Run) -> None:
    dms.airflow.commands["dags trigger"] = (
        '[{"conf": {"token": 55667788, "n": 1}, "dag_id": "etl", "dag_run_id": "r1"}]\n',
        "",
    )

    step = run({"operation": "dags trigger", "arguments": """etl -c '{"token": 55667788, "n": 1}'"""}, DEBUG, "55667788")

    assert step.read_json("json")[0]["conf"] == {"token": "***", "n": 1}


@pytest.mark.parametrize("path", ["/variables", "/variables/k", "/connections", "/connections/db", "/config", "/eventLogs"])
@pytest.mark.parametrize("paginate", ["", " --paginate"])
def test_secrets_of_others_stand_in_the_output_only(dms: FakeDms, run_here: Run, path: str, paginate: str) -> None:
    told = {"entries": [{"key": "k", "value": "0ther-p3oples"}], "total_entries": 1}
    dms.airflow.route("GET", f"/api/v1{path}{'?limit=100&offset=0' if paginate else ''}", told)

    step = run_here({"operation": "rest", "arguments": f"GET {path}{paginate}"}, DEBUG)

    assert "0ther-p3oples" not in step.stdout + step.summary
    assert "0ther-p3oples" in step.outputs["json"]


def test_a_token_that_is_cut_leaves_no_beginning(dms: FakeDms, run: Run, workspace: Path) -> None:
    token = "".join(f"{number:04d}-" for number in range(200))
    dms.airflow.commands["dags show"] = (
        f"digraph etl {{ {'x' * (50_000 - 500)}{token} {'y' * 300_000}\n}}\n",
        f"{'z' * 480}{token}",
    )
    dms.fail("command", lambda _: None)
    dms.fail("command", answer(500, ("e" * 280 + token).encode(), HTML))
    arguments = "dags show etl\nvariables delete x"

    step = run({"operation": "cli", "arguments": arguments, "security-token": token, "result-file": "r.json"}, DEBUG, token)

    told = [step.stdout, step.summary, *step.outputs.values(), (workspace / "r.json").read_text()]
    assert [text for text in told if "0000-0001-" in text.replace(f"::add-mask::{token}", "")] == []


def test_a_key_pasted_into_another_input_is_not_quoted(dms: FakeDms, run: Run) -> None:
    step = run({"operation": "version", "instance-id": KEY.access_key_secret, "timeout": f"x{KEY.access_key_secret}"}, DEBUG)

    assert step.exit_code == 2
    assert dms.received == []


@pytest.mark.parametrize("value", ["1", "0", "true", "null", "success", "200", "etl", "zh-CN"])
def test_a_cookie_of_everyday_value_is_no_secret(dms: FakeDms, run_here: Run, value: str) -> None:
    told = {"dag_id": "etl", "n": 1, "zero": 0, "limit": 200, "on": True, "off": None, "language": "zh-CN", "last": "success"}
    cookies = [("Set-Cookie", "session=s3ss10n; Path=/"), ("Set-Cookie", f"choice={value}; Path=/")]
    dms.fail("login", answer(302, b"", ("Location", f"{PREFIX}/home"), *cookies))
    dms.fail("rest", answer(200, json.dumps(told).encode(), JSON))

    step = run_here({"operation": "rest", "arguments": "GET /dags/etl"})

    assert step.read_json("json") == told
    assert step.outputs["status"] == "success"
    assert step.outputs["status-code"] == "200"
    assert [mask for mask in step.masks if mask == value] == []
    assert "s3ss10n" in step.masks
