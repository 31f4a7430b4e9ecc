"""A runner that is no ECS instance: told at once, without the SDK and its seconds of waiting."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from typing import Never

import pytest

from dms_airflow.alibaba_cloud.credentials import EcsRole, GivenKeys, Keys
from dms_airflow.alibaba_cloud.providers import is_reachable, obtain_keys
from dms_airflow.core.errors import CredentialsError
from tests.unit.fakes import FakeClock

ECS = EcsRole(origin="the ECS instance's RAM role", identity="ecs ", role_name="", needs_token=False)


def refuse(_: object) -> Never:
    raise AssertionError("no role is assumed")


def test_no_instance_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    asked: list[str] = []

    def probe(host: str) -> bool:
        asked.append(host)
        return False

    with pytest.raises(CredentialsError) as error:
        obtain_keys(ECS, assume_role=refuse, ca_bundle="", clock=FakeClock(), probe=probe)

    assert asked == ["100.100.100.200"]
    assert "this machine is not an ECS instance" in error.value.message
    assert "role-to-assume" in error.value.hint


def test_a_role_of_an_instance_that_this_is_not() -> None:
    source = replace(ECS, role_name="EcsDeployRole")

    with pytest.raises(CredentialsError) as error:
        obtain_keys(source, assume_role=refuse, ca_bundle="", clock=FakeClock(), probe=lambda _: False)

    assert (
        error.value.message
        == "ALIBABA_CLOUD_ECS_METADATA names the RAM role EcsDeployRole, but this machine is not an ECS instance."
    )


def test_given_keys_are_the_keys() -> None:
    keys = Keys(access_key_id="id", access_key_secret="secret")

    assert (
        obtain_keys(GivenKeys(origin="", identity="", keys=keys), assume_role=refuse, ca_bundle="", clock=FakeClock()) is keys
    )


def test_who_listens_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        assert is_reachable("127.0.0.1", port)

    assert not is_reachable("127.0.0.1", port)


def test_the_sdk_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, dms_airflow.main; print([name for name in sys.modules if name.startswith(('alibabacloud', 'Tea'))])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
