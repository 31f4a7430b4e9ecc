"""The calls of DMS's OpenAPI for one workspace: its code, its publishing, its Airflow instance.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-saveworkspacecode and the pages of the other calls. Where
these are silent or contradict each other, both readings work here.
"""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dms_airflow.alibaba_cloud.error_codes import OPENAPI
from dms_airflow.alibaba_cloud.login_token import prepare_client
from dms_airflow.alibaba_cloud.sdk import CLIENTS, attempt, guard_sdk, parse_refusal
from dms_airflow.core.errors import ActionError, AnswerLostError, WorkspaceDeniedError, WorkspaceError
from dms_airflow.core.http.retry import is_transient_status, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.alibaba_cloud.credentials import Keys
    from dms_airflow.alibaba_cloud.error_codes import Refusal
    from dms_airflow.core.clock import Clock
    from dms_airflow.core.http.urls import Endpoint
    from dms_airflow.core.log import Log

READ_TIMEOUT = 60_000  # milliseconds: a saved text is up to three times its size on the way

_DENIED = re.compile(r"^Forbidden|NoPermission|UserNotExist")

HINT_DENIED = (
    "In the RAM console (https://ram.console.aliyun.com), give the identity (RAM user or role) a policy with the action "
    'dms:{action} on resource "*"; docs/getting-started.md has the whole policy. If RAM allows it already: a DMS '
    "administrator must add the identity as a user of DMS, and as a member of the workspace {workspace}."
)
HINT_OTHER = "Look the code up in DMS's error codes; doctor with arguments: deploy checks the access to the workspace."
HINT_LOST = "Alibaba Cloud did not answer. Run the step again: it first reads the current files."


class Listed(NamedTuple):
    """An entry of a folder: `size` in bytes, `mtime` as the server writes it."""

    is_folder: bool
    is_link: bool
    size: int
    mtime: str


@dataclass(kw_only=True)
class Workspace:
    """One workspace, inside of a `with` block. Each call raises an ActionError, as `send` does.

    `obtain_keys` is called again when temporary keys have expired; `ca_bundle` are certificate authorities to trust in place of
    certifi's, empty for those.
    """

    workspace_id: str
    instance_id: str
    obtain_keys: Callable[[], Keys]
    endpoint: Endpoint
    ca_bundle: str
    clock: Clock
    log: Log

    def __enter__(self) -> Self:
        """Import the SDK, and get keys."""
        self._client = self._connect()
        self._renewal = threading.Lock()
        self._stack = ExitStack()
        self._last = self._stack.enter_context(guard_sdk(CLIENTS, self.clock, self.ca_bundle))
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._stack.close()

    # --- the calls -------------------------------------------------------------------------------------------------------

    def fetch_airflow(self) -> Mapping[str, Any]:
        """Fetch the instance: `Status`, `DagsDir` and more."""
        return _to_map(self.fetch("GetAirflow", airflow_id=self.instance_id)[0].get("Root"))

    def fetch_publish_setting(self) -> Mapping[str, Any]:
        """Fetch `Exclude`, `LockRepoBranch` and `Repos`."""
        return _to_map(self.fetch("GetWorkspaceCodePublishSetting")[0].get("Data"))

    def list_folder(self, path: str) -> dict[str, Listed]:
        """List one folder by the names of its entries."""
        rows = _to_map(self.fetch("ListWorkspaceCode", path=path)[0].get("Data")).get("List") or ()
        return {
            str(row.get("Name") or "?").rstrip("/").rpartition("/")[2]: Listed(
                bool(row.get("IsDir")), bool(row.get("Symlink")), int(row.get("Size") or 0), str(row.get("Mtime") or "")
            )
            for row in rows
        }

    def read(self, path: str) -> tuple[str, str]:
        """Read a file: text, and modification time as the server writes it, in a header whose name is not documented."""
        body, headers = self.fetch("GetWorkspaceCode", path=path)
        times = [value for name, value in headers.items() if "mtime" in name.lower()]
        return str(body.get("Data") or ""), str([*times, headers.get("last-modified") or ""][0])

    def save(self, path: str, text: str, *, mtime: str = "", force: bool = False) -> None:
        """Write a file, if its modification time still is `mtime`."""
        self.send("SaveWorkspaceCode", path=path, content=text, mtime=mtime or None, force=force or None)

    def delete(self, path: str) -> None:
        """Delete a file permanently."""
        self.send("DeleteWorkspaceCode", path=path)

    def publish(self, config: str) -> str:
        """Start to publish the complete workspace, and return the action's key."""
        return str(_to_map(self.send("WorkspaceCodePublish", config=config)[0].get("Data")).get("Key") or "")

    def fetch_status(self, key: str) -> Mapping[str, Any]:
        """Fetch how an action is going: `Status`, `EndTime`, `Data`."""
        return _to_map(self.fetch("WorkspaceActionStatus", key=key)[0].get("Data"))

    def fetch_log(self, key: str) -> str:
        """Fetch an action's log."""
        return str(self.fetch("WorkspaceActionLog", key=key)[0].get("Data") or "")

    # --- how they are made -----------------------------------------------------------------------------------------------

    def fetch(self, action: str, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make a call that changes nothing, again while it may succeed a moment later."""
        return retry(partial(self.send, action, **fields), clock=self.clock, log=self.log)

    def send(self, action: str, *, may_renew: bool = True, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make one call, and return its body and headers. Expired keys are renewed once: such a call changed nothing.

        Raises:
            WorkspaceDeniedError: It was refused for want of a permission.
            WorkspaceError: It was refused for another reason.
            AnswerLostError: It may have happened.
            NetworkError: It did not get there.
        """
        used = self._client
        client, messages, options = used
        request = getattr(messages, f"{action}Request")(workspace_id=self.workspace_id, **fields)
        call = getattr(client, re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower() + "_with_options")
        started = self.clock.monotonic()
        response = attempt(lambda: call(request, options), self._last)
        if response is not None:
            body = response.body.to_map() if response.body else {}
            self.log.debug(f"{action} {fields.get('path') or ''} {1000 * (self.clock.monotonic() - started):.0f} ms")
            # This call has no `Success`. A success may have an error code, too.
            if body.get("Success") is True or (action == "GetWorkspaceCodePublishSetting" and body.get("Data")):
                return body, response.headers or {}
        refusal = parse_refusal(self._last, OPENAPI)
        if refusal and refusal.is_expired and may_renew:
            with self._renewal:
                if self._client is used:  # no other thread has renewed them
                    self._client = self._connect()
            return self.send(action, may_renew=False, **fields)
        raise self._refuse(action, refusal) if refusal else self._explain_failure(action)

    def _connect(self) -> tuple[Any, Any, Any]:
        return prepare_client(self.obtain_keys(), self.endpoint, READ_TIMEOUT)

    def _explain_failure(self, action: str) -> ActionError:
        last = self._last
        if last.fault is None:
            message = f"{action}: the SDK cannot read the response of {last.url} (status {last.status})."
            return AnswerLostError(message, HINT_LOST, is_transient=not last.status or is_transient_status(last.status))
        hint = HINT_LOST if isinstance(last.fault, AnswerLostError) else last.fault.hint
        return type(last.fault)(f"{action}: {last.fault.message}", hint, is_transient=last.fault.is_transient)

    def _refuse(self, action: str, refusal: Refusal) -> ActionError:
        call = f"{action} for the workspace {self.workspace_id}"
        if _DENIED.search(refusal.code):
            hint = HINT_DENIED.format(action=action, workspace=self.workspace_id)
            return refusal.to_error(WorkspaceDeniedError, call, hint=hint)
        return refusal.to_error(WorkspaceError, call, other=HINT_OTHER)


def _to_map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
