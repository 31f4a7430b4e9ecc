"""The OpenAPI of DMS (product Dms, version 2025-04-14, RPC style): signed calls, login tokens; sandbox.workspace has more."""

from __future__ import annotations

import json
import secrets
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from sandbox.signature import Credential, GatewayError, SignedRequest, verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sandbox.workspace import Workspace

ACTION = "CreateAirflowLoginToken"
VERSION = "2025-04-14"
REGION = "cn-hangzhou"
INSTANCE_ID = "af-sandbox0000000000"
WORKSPACE_ID = "98765432101234"
PREFIX = f"/airflow/1234567890123456/{WORKSPACE_ID}/{INSTANCE_ID}"


@dataclass(frozen=True, kw_only=True)
class ApiAnswer:
    """HTTP status, JSON body and further headers; or the connection ends without an answer."""

    action: str
    status: int = 200
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Sequence[tuple[str, str]] = ()
    is_lost: bool = False


class OpenApi:
    """Answers signed calls; gives out login tokens, each good for one login."""

    def __init__(self, credentials: Sequence[Credential], workspace: Workspace | None = None) -> None:
        self._workspace = workspace
        self._credentials = {credential.access_key_id: credential for credential in credentials}
        self.clock_offset = timedelta()
        """How far this clock is ahead of the right time."""
        self._lock = threading.Lock()
        self._nonces: set[str] = set()
        self._tokens: set[str] = set()

    def answer(self, request: SignedRequest) -> ApiAnswer:
        """Answer one call of the API."""
        action = request.header("x-acs-action")
        try:
            verify(request, self._credentials, datetime.now(UTC) + self.clock_offset, self._claim_nonce)
            if request.header("x-acs-version") != VERSION:
                raise GatewayError(400, "InvalidVersion", "Specified parameter Version is not valid.")  # noqa: TRY301
            if self._workspace and self._workspace.has(action):
                return self._call_workspace(self._workspace, action, request)
            return self._create_token(request)
        except GatewayError as error:
            body = _error_body(error.code, error.message) | {"HostId": request.header("host")}
            return ApiAnswer(action=action, status=error.status, body=body)

    def _call_workspace(self, workspace: Workspace, action: str, request: SignedRequest) -> ApiAnswer:
        reply = workspace.answer(action, request.query, request.body, request.header("content-type"))
        if reply is None:
            return ApiAnswer(action=action, is_lost=True)
        if reply.status >= HTTPStatus.BAD_REQUEST:
            body = _error_body(reply.body["Code"], reply.body["Message"]) | {"HostId": request.header("host")}
        else:
            body = {"RequestId": _request_id()}
        return ApiAnswer(action=action, status=reply.status, body={**body, **reply.body}, headers=reply.headers)

    def _create_token(self, request: SignedRequest) -> ApiAnswer:
        instance_id = _requested_instance(request)
        if instance_id != INSTANCE_ID:
            # How DMS answers this is not documented: its sister APIs answer 200 with Success false.
            message = f"The Airflow instance {instance_id} does not exist."
            refusal = {"HttpStatusCode": 404, "Success": False, "ErrorCode": "AirflowNotExist"}
            return ApiAnswer(action=ACTION, body=_error_body("AirflowNotExist", message) | refusal)
        token = secrets.token_urlsafe(48)
        with self._lock:
            self._tokens.add(token)
        body = {
            "RequestId": _request_id(),
            "HttpStatusCode": 200,
            "Success": True,
            "ErrorCode": "Success",
            "Data": {"Token": token, "Host": f"http://{request.header('host')}{PREFIX}"},
        }
        return ApiAnswer(action=ACTION, body=body)

    def accept(self, credential: Credential) -> None:
        """Accept one more credential, in place of an older one of its id."""
        self._credentials[credential.access_key_id] = credential

    def redeem(self, token: str) -> bool:
        """Use a token up; False when it was never given out or is used already."""
        with self._lock:
            is_known = token in self._tokens
            self._tokens.discard(token)
        return is_known

    def _claim_nonce(self, nonce: str) -> bool:
        with self._lock:
            is_new = nonce not in self._nonces
            self._nonces.add(nonce)
        return is_new


def new_access_key() -> Credential:
    """An access key that nobody can guess."""
    return Credential(access_key_id=f"SandboxKey{secrets.token_hex(6)}", access_key_secret=secrets.token_hex(15))


def new_temporary_access_key() -> Credential:
    """An access key as STS hands out, with its security token."""
    return Credential(
        access_key_id=f"STS.Sandbox{secrets.token_hex(6)}",
        access_key_secret=secrets.token_hex(22),
        security_token=secrets.token_urlsafe(200),
    )


def _requested_instance(request: SignedRequest) -> str:
    if request.header("x-acs-action") != ACTION:
        raise GatewayError(404, "InvalidAction.NotFound", "Specified api is not found, check the action.")
    values = parse_qs(request.query).get("AirflowId")
    if not values:
        raise GatewayError(400, "MissingAirflowId", "AirflowId is mandatory for this action.")
    return values[0]


def _error_body(code: str, message: str) -> dict[str, Any]:
    return {
        "RequestId": _request_id(),
        "Message": message,
        "Code": code,
        "Recommend": f"https://api.aliyun.com/troubleshoot?q={code}&product=Dms",
    }


def _request_id() -> str:
    return str(uuid.uuid4()).upper()


def to_json(body: Mapping[str, Any]) -> bytes:
    """The body as it goes over the wire."""
    return json.dumps(body).encode()
