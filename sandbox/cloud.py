"""STS and GitHub's id-token endpoint under their own names, over TLS: a proxy leads there, as HTTPS_PROXY.

So neither the action nor the SDK needs another host's name. The certificate is of an authority made for the
occasion; REQUESTS_CA_BUNDLE names it. The same proxy, as HTTP_PROXY, plays the metadata server of an ECS instance.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trustme

from sandbox import oidc
from sandbox.front import Answer, Request, Server
from sandbox.oidc import Issuer
from sandbox.sts import SecurityTokenService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sandbox.signature import Credential

STS_HOSTS = ("sts.aliyuncs.com", "sts.cn-hangzhou.aliyuncs.com", "sts-vpc.cn-hangzhou.aliyuncs.com")
METADATA_HOST = "100.100.100.200"
ECS_ROLE = "EcsDeployRole"

_METADATA = "/latest/meta-data/ram/security-credentials/"
_IDLE = 10.0  # seconds after which a tunnel without traffic is closed


@dataclass
class Cloud:
    """What a job meets besides DMS."""

    issuer: Issuer
    sts: SecurityTokenService
    ecs_credential: Credential | None = None
    ca_file: str = ""
    proxy: str = ""

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables of a job with `id-token: write`."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": self.issuer.url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.issuer.bearer,
            "HTTPS_PROXY": self.proxy,
            "REQUESTS_CA_BUNDLE": self.ca_file,
        }

    @property
    def inputs(self) -> Mapping[str, str]:
        """The inputs by which a step assumes the role."""
        return {"role-to-assume": self.sts.role.arn, "oidc-provider-arn": self.sts.provider.arn}

    def answer(self, request: Request) -> Answer:
        """Answer by the host that was meant."""
        host = request.headers.get("Host", "").partition(":")[0]
        if host in STS_HOSTS:
            return _to_answer("sts", *self.sts.answer(request.query))
        if host == oidc.HOST:
            authorization = request.headers.get("Authorization", "")
            return _to_answer("id-token", *self.issuer.answer(request.method, request.path, request.query, authorization))
        if host == METADATA_HOST:
            return self._answer_metadata(request)
        return Answer(kind="unknown", status=404)

    def _answer_metadata(self, request: Request) -> Answer:
        """Play the metadata server of an ECS instance, with the token of its second version."""
        if self.ecs_credential is None:
            return Answer(kind="metadata", status=404)
        if request.method == "PUT" and request.path == "/latest/api/token":
            return Answer(kind="metadata", status=200, body=b"metadata-token")
        if request.headers.get("X-aliyun-ecs-metadata-token") != "metadata-token":
            return Answer(kind="metadata", status=403)
        if request.path == _METADATA:
            return Answer(kind="metadata", status=200, body=ECS_ROLE.encode())
        if request.path != f"{_METADATA}{ECS_ROLE}":
            return Answer(kind="metadata", status=404)
        return _to_answer("metadata", 200, write_credentials(self.ecs_credential))


def write_credentials(credential: Credential) -> dict[str, Any]:
    """Write credentials as the metadata server and servers of credentials do."""
    return {
        "Code": "Success",
        "AccessKeyId": credential.access_key_id,
        "AccessKeySecret": credential.access_key_secret,
        "SecurityToken": credential.security_token,
        "Expiration": "2099-01-01T00:00:00Z",
    }


def _to_answer(kind: str, status: int, body: dict[str, Any]) -> Answer:
    return Answer(kind=kind, status=status, headers=[("Content-Type", "application/json")], body=json.dumps(body).encode())


@contextmanager
def serve(
    accept: Callable[[Credential], None], folder: Path, make: type[Cloud] = Cloud, *, host: str = "127.0.0.1"
) -> Iterator[Cloud]:
    """Run a cloud as long as the ``with`` block lasts.

    Args:
        accept: Gets every key that STS gives out.
        folder: For the certificate authority's certificate.
        make: The class to make it of.
        host: Address that the proxy listens on.
    """
    issuer = Issuer()
    cloud = make(issuer=issuer, sts=SecurityTokenService(key=issuer.key, accept=accept))
    authority = trustme.CA()
    file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*STS_HOSTS, oidc.HOST).configure_cert(context)
    with ExitStack() as stack:
        server = stack.enter_context(Server("127.0.0.1", 0))
        server.front = cloud
        server.socket = context.wrap_socket(server.socket, server_side=True)
        proxy = stack.enter_context(_Proxy(host, cloud, ("127.0.0.1", server.server_port)))
        for one in (server, proxy):
            thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(one.shutdown)
        address = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - not bound
        cloud.ca_file, cloud.proxy = str(file), f"http://{address}:{proxy.server_port}"
        yield cloud


class _Proxy(ThreadingHTTPServer):
    """Leads the names of the cloud to the server that plays them, and nothing else anywhere."""

    daemon_threads = True

    def __init__(self, host: str, cloud: Cloud, server: tuple[str, int]) -> None:
        super().__init__((host, 0), _ProxyHandler)
        self.cloud = cloud
        self.server = server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller that hung up."""


class _ProxyHandler(BaseHTTPRequestHandler):
    server: _Proxy

    def do_CONNECT(self) -> None:
        """Make a tunnel."""
        host, _, port = self.path.rpartition(":")
        if host not in (*STS_HOSTS, oidc.HOST) or port != "443":
            self.send_error(502)
            return
        with socket.create_connection(self.server.server) as upstream:
            self.send_response_only(200, "Connection established")
            self.end_headers()
            _relay(self.connection, upstream)
        self.close_connection = True

    def _pass(self) -> None:
        """Answer a plain request, which names its host in its target."""
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(method=self.command, path=parts.path, query=parts.query, headers=self.headers, body=body)
        answer = self.server.cloud.answer(request)
        self.send_response_only(answer.status)
        for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_PUT = _pass  # noqa: N815 - http.server names them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


def _relay(one: socket.socket, other: socket.socket) -> None:
    partner = {one: other, other: one}
    with suppress(OSError):
        while ready := select.select(list(partner), [], [], _IDLE)[0]:
            for source in ready:
                chunk = source.recv(65536)
                if not chunk:
                    return
                partner[source].sendall(chunk)
