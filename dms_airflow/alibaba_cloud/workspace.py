"""The calls of DMS's OpenAPI for one workspace: its code, its publishing, its Airflow instance.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-saveworkspacecode and the pages of the other calls.
"""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from dms_airflow.alibaba_cloud.error_codes import OPENAPI_CODES
from dms_airflow.alibaba_cloud.login_token import prepare_client
from dms_airflow.alibaba_cloud.sdk import guard_sdk, parse_body_refusal, parse_refusal
from dms_airflow.core.errors import ActionError, AnswerLostError, WorkspaceDeniedError, WorkspaceError
from dms_airflow.core.http.network_errors import explain_fault
from dms_airflow.core.http.retry import is_transient_status, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.error_codes import Refusal
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.urls import Endpoint
    from dms_airflow.core.log import Log

READ_TIMEOUT = 60_000  # milliseconds: a saved text is up to three times its size on the way
MOST_RENEWALS = 4  # temporary keys live for a quarter of an hour at least

_DENIED = re.compile(r"^Forbidden|NoPermission|UserNotExist")

HINT_DENIED = (
    "In the RAM console (https://ram.console.aliyun.com), give the identity (RAM user or role) a policy with the action "
    'dms:{action} on resource "*"; docs/getting-started.md has the whole policy. If RAM allows it already: a DMS '
    "administrator must add the identity as a user of DMS, and as a member of the workspace {workspace}."
)
HINT_OTHER = "Look the code up in DMS's error codes; doctor with arguments: deploy checks the access to the workspace."
HINT_LOST = "Alibaba Cloud did not answer. Run the step again: it first reads the current files."


class WorkspaceCalls:
    """The calls for one workspace, inside of a `with` block.

    Args:
        workspace_id: Its id.
        instance_id: Its Airflow instance.
        obtain_keys: Gets keys; called again when temporary ones have expired.
        endpoint: The OpenAPI.
        ca_bundle: Certificate authorities to trust in place of certifi's; empty for those.
        clock: For pauses.
        log: Gets a line for each retry.
    """

    def __init__(
        self,
        workspace_id: str,
        *,
        instance_id: str,
        obtain_keys: Callable[[], Keys],
        endpoint: Endpoint,
        ca_bundle: str,
        clock: Clock,
        log: Log,
    ) -> None:
        self._workspace_id = workspace_id
        self._instance_id = instance_id
        self._connect: Callable[[], tuple[Any, Any, Any]] = lambda: prepare_client(
            obtain_keys(), endpoint, ca_bundle, read_timeout=READ_TIMEOUT
        )
        self._clock = clock
        self._log = log
        self._renewal = threading.Lock()
        self._renewals = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Import the SDK, and get keys."""
        self._client = self._connect()
        self._last = self._stack.enter_context(guard_sdk(self._clock))
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._stack.close()

    def fetch(self, action: str, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make a call that changes nothing, again while it may succeed a moment later."""
        return retry(partial(self.send, action, **fields), clock=self._clock, log=self._log)

    def send(self, action: str, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make one call, and return its body and headers.

        Raises:
            WorkspaceError: It was refused.
            AnswerLostError: It may have happened.
            NetworkError: It did not get there.
        """
        used = self._client
        client, messages, options = used
        request = getattr(messages, f"{action}Request")(workspace_id=self._workspace_id, **fields)
        call = getattr(client, re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower() + "_with_options")
        started = self._clock.monotonic()
        try:
            response = call(request, options)
        except Exception as error:  # noqa: BLE001 - the SDK raises what its libraries raise
            refusal = parse_refusal(error, self._last)
        else:
            body = response.body.to_map() if response.body else {}
            self._log.debug(f"{action} {fields.get('path') or ''} {1000 * (self._clock.monotonic() - started):.0f} ms")
            # This call has no `Success`. A success may have an error code, too.
            if body.get("Success") is True or (action == "GetWorkspaceCodePublishSetting" and body.get("Data")):
                return body, response.headers or {}
            refusal = parse_body_refusal(body)
        if refusal and refusal.is_expired and self._renew(used):
            return self.send(action, **fields)
        # Outside of the except clause, so that no traceback shows the SDK's exception, which holds requests and answers.
        raise self._refuse(action, refusal) if refusal else self._explain_failure(action)

    def _renew(self, used: tuple[Any, Any, Any]) -> bool:
        """Get new keys in place of expired ones: a refused call changed nothing. False when that happened too often."""
        with self._renewal:
            if self._client is used:
                self._renewals += 1
                self._client = self._connect()
        return self._renewals <= MOST_RENEWALS

    def _explain_failure(self, action: str) -> ActionError:
        last = self._last
        if last.fault is None:
            message = f"{action}: the SDK cannot read the response of {last.url} (status {last.status})."
            return AnswerLostError(message, HINT_LOST, is_transient=last.status is None or is_transient_status(last.status))
        failure = last.fault if isinstance(last.fault, ActionError) else explain_fault(last.fault, action, last.url)
        if isinstance(failure, AnswerLostError):
            return type(failure)(failure.message, HINT_LOST, is_transient=failure.is_transient)
        return failure

    def _refuse(self, action: str, refusal: Refusal) -> WorkspaceError:
        known = refusal.find_code(OPENAPI_CODES)
        because = f", because {known.meaning}" if known else ""
        message = f"{action} for the workspace {self._workspace_id} was refused{because} {refusal}."
        is_transient, retry_after = refusal.is_transient(known), refusal.retry_after
        if _DENIED.search(refusal.code):
            hint = HINT_DENIED.format(action=action, workspace=self._workspace_id)
            return WorkspaceDeniedError(message, hint, is_transient=is_transient, retry_after=retry_after)
        return WorkspaceError(message, known.hint if known else HINT_OTHER, is_transient=is_transient, retry_after=retry_after)
