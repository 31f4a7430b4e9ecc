"""The SDK and the action's own requests go one way: the same proxy, the same authorities, and to DMS's own hosts only."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import trustme

from sandbox.cloud import _relay
from sandbox.openapi import PREFIX
from sandbox.runner import Runner
from tests.integration.conftest import check_leaks, run_in_process
from tests.integration.misbehaviour import NAMES, serve_misbehaving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sandbox.runner import Step
    from tests.integration.misbehaviour import MisbehavingDms
    from tests.unit.fakes import FakeClock

OPENAPI, HOST = NAMES
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
BOTH = {f"{OPENAPI}:443", f"{HOST}:443"}


class Proxy(ThreadingHTTPServer):
    """Leads every tunnel to one port of loopback, and remembers who was meant."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.port = port
        self.status = 200
        self.meant: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Tunnel(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        """Make a tunnel, or refuse it."""
        self.server.meant.append(self.path)
        self.close_connection = True
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        with socket.create_connection(("127.0.0.1", self.server.port)) as upstream:
            self.send_response_only(200)
            self.end_headers()
            _relay(self.connection, upstream)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def serve(proxy: Proxy) -> Iterator[Proxy]:
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with proxy:
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


@dataclass
class World:
    """A DMS under its own names behind a proxy, and a runner."""

    dms: MisbehavingDms
    proxy: Proxy
    bundle: str
    clock: FakeClock
    runner: Runner
    monkeypatch: pytest.MonkeyPatch

    def go(self, environ: Mapping[str, str], **inputs: str) -> Step:
        """Ask for Airflow's version."""
        given = {**self.dms.inputs, "endpoint": "", "region": "cn-hangzhou", "operation": "version", **inputs}
        step = run_in_process(self.runner, given, environ, self.clock, self.monkeypatch)
        check_leaks(step, (self.runner.temp, self.runner.workspace), self.dms.secrets)
        return step


@pytest.fixture
def world(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A new one for each test."""
    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    workspace, temp = tmp_path / "workspace", tmp_path / "temp"
    workspace.mkdir()
    temp.mkdir()
    with serve_misbehaving(tmp_path, authority) as dms:
        dms.named = f"https://{HOST}"
        dms.runs.commands["version"] = ("2.10.4\n", "")
        with serve(Proxy(int(dms.endpoint.rpartition(":")[2]))) as proxy:
            yield World(
                dms=dms,
                proxy=proxy,
                bundle=str(bundle),
                clock=clock,
                runner=Runner(workspace=workspace, temp=temp),
                monkeypatch=monkeypatch,
            )


def read_error(step: Step) -> tuple[str, str]:
    (error,) = step.annotations
    return error.properties["title"], error.data


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("bundle", BUNDLES)
def test_all_requests_take_the_proxy_and_trust_the_bundle(world: World, variable: str, bundle: str) -> None:
    step = world.go({**dict.fromkeys(BUNDLES, ""), variable: world.proxy.url, bundle: world.bundle})

    assert step.exit_code == 0
    assert set(world.proxy.meant) == BOTH
    assert step.outputs["airflow-url"] == f"https://{HOST}{PREFIX}"


def test_no_request_takes_the_proxy_for_a_host_that_needs_none(world: World) -> None:
    world.dms.named = ""
    environ = {"HTTPS_PROXY": world.proxy.url, "NO_PROXY": "localhost,127.0.0.1", "REQUESTS_CA_BUNDLE": world.bundle}

    step = world.go(environ, endpoint=world.dms.endpoint, region="")

    assert step.exit_code == 0
    assert world.proxy.meant == []


@pytest.mark.parametrize(
    ("status", "asked", "advice"),
    [(403, 1, "NO_PROXY"), (407, 1, "A proxy that answers 407 requires a user"), (502, 5, "NO_PROXY")],
)
def test_a_proxy_that_refuses(world: World, status: int, asked: int, advice: str) -> None:
    world.proxy.status = status

    title, text = read_error(world.go({"HTTPS_PROXY": world.proxy.url, "REQUESTS_CA_BUNDLE": world.bundle}))

    assert title == "Host not reached"
    assert f"https://{OPENAPI}: the proxy did not let" in text
    assert f"it answered {status}" in text
    assert advice in text
    assert len(world.proxy.meant) == asked


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:1", "the proxy was not reached"), ("socks5://127.0.0.1:1", "SOCKS proxies are not")],
)
def test_a_proxy_that_is_none(world: World, url: str, words: str) -> None:
    title, text = read_error(world.go({"HTTPS_PROXY": url, "REQUESTS_CA_BUNDLE": world.bundle}))

    assert title == "Host not reached"
    assert words in text


@pytest.mark.parametrize("content", ["", "garbage\n", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", None])
def test_a_bundle_that_holds_nothing_is_told_at_once(world: World, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_text(content)

    title, text = read_error(world.go({"HTTPS_PROXY": world.proxy.url, "REQUESTS_CA_BUNDLE": str(file)}))

    assert title == "Wrong input: REQUESTS_CA_BUNDLE"
    assert f'must be the path of a file with certificates in PEM form, not "{file}"' in text
    assert world.clock.slept == []
    assert world.dms.received == []


@pytest.mark.parametrize(
    "named",
    [
        "https://evil.example.com",
        f"https://{HOST}.evil.example.com",
        f"https://{HOST}:8443",
        f"http://{HOST}",
        f"https://user@{HOST}",
        "https://mybucket.oss-cn-hangzhou.aliyuncs.com",
    ],
)
def test_a_session_that_would_go_elsewhere_is_not_opened(world: World, named: str) -> None:
    world.dms.named = named

    title, text = read_error(world.go({"HTTPS_PROXY": world.proxy.url, "REQUESTS_CA_BUNDLE": world.bundle}))

    assert title == "No login token"
    assert "a host to which the session must not be sent" in text
    assert set(world.proxy.meant) == {f"{OPENAPI}:443"}
    assert world.dms.paths == ["POST /"]
