"""A runner that is not an ECS instance says so at once, without the SDK and its seconds of waiting."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Never

import pytest

from dms_airflow.alibaba_cloud.credentials import ECS, CredentialsSource, Keys
from dms_airflow.alibaba_cloud.providers import is_reachable, obtain_keys
from dms_airflow.core.errors import CredentialsError
from tests.unit.fakes import FakeClock, FakeLog

if TYPE_CHECKING:
    from collections.abc import Callable


def refuse(_: object) -> Never:
    raise AssertionError("no id-token is needed")


def obtain(source: CredentialsSource, log: FakeLog, probe: Callable[[str], bool] = refuse) -> Keys:
    return obtain_keys(source, fetch_token=refuse, temp=None, ca_bundle="", clock=FakeClock(), log=log, probe=probe)


def test_no_instance_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    asked: list[str] = []

    def probe(host: str) -> bool:
        asked.append(host)
        return False

    with pytest.raises(CredentialsError) as error:
        obtain(CredentialsSource(origin="the ECS instance's RAM role", identity="ecs ", provider=ECS), FakeLog(), probe)

    assert asked == ["100.100.100.200"]
    assert "this machine is not an ECS instance" in error.value.message
    assert "role-to-assume" in error.value.hint


def test_given_keys_are_the_keys() -> None:
    keys, log = Keys(access_key_id="the-id", access_key_secret="the-secret"), FakeLog()

    assert obtain(CredentialsSource(origin="", identity="", keys=keys), log) is keys
    assert {"the-id", "the-secret"} <= {*log.secrets}


def test_who_listens_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        assert is_reachable("127.0.0.1", port)

    assert not is_reachable("127.0.0.1", port)


def test_the_sdk_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, dms_airflow.main; print([name for name in sys.modules if name.startswith(('alibabacloud', 'Tea'))])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
