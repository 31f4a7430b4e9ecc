"""The calls of DMS's OpenAPI about workspace code, publishing and the instance, answered from a workspace of this machine.

Names, types and positions of parameters are those of the SDK alibabacloud_dms20250414 4.2.2; a parameter in another position
is not seen. What the calls do where the documentation is silent is `Behaviour`'s.
"""

from __future__ import annotations

import json
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sandbox.workspace.behaviour import Behaviour, Missing
from sandbox.workspace.faults import FOR_EVER, Call, Fault, Hook, Reply, Rule, lost
from sandbox.workspace.forms import in_seconds
from sandbox.workspace.publishing import Publisher
from sandbox.workspace.store import DAGS_DIR, MissingError, WorkspaceError, WorkspaceStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sandbox.workspace.store import Entry

QUERY, BODY = "query", "body"

PARAMETERS: Mapping[str, Mapping[str, tuple[str, bool]]] = {
    "GetAirflow": {"AirflowId": (QUERY, True), "WorkspaceId": (QUERY, True)},
    "ListWorkspaceCode": {"WorkspaceId": (QUERY, True), "Path": (QUERY, True)},
    "GetWorkspaceCode": {"WorkspaceId": (QUERY, True), "Path": (QUERY, True), "Iac": (QUERY, False)},
    "SaveWorkspaceCode": {
        "WorkspaceId": (QUERY, True),
        "Path": (BODY, True),
        "Content": (BODY, True),
        "Mtime": (BODY, False),
        "Force": (BODY, False),
        "Repo": (BODY, False),
        "Iac": (BODY, False),
    },
    "DeleteWorkspaceCode": {
        "WorkspaceId": (QUERY, True),
        "Path": (QUERY, True),
        "Repo": (QUERY, False),
        "Symlink": (QUERY, False),
    },
    "WorkspaceCodePublish": {"WorkspaceId": (QUERY, True), "Config": (BODY, True)},
    "WorkspaceActionStatus": {"WorkspaceId": (QUERY, True), "Key": (QUERY, True)},
    "WorkspaceActionLog": {"WorkspaceId": (QUERY, True), "Key": (QUERY, True)},
    "GetWorkspaceCodePublishSetting": {"WorkspaceId": (QUERY, True)},
}
"""Of each call its parameters: where the SDK puts each, and whether it is required."""


class Workspace:
    """A workspace and its API.

    Args:
        folder: Holds its files and their published copy.
        workspace_id: Its id.
        airflow_id: Id of its one instance.
        dags_dir: The instance's DAG folder below the root of the code.
        dags_folder: An existing folder to be that DAG folder; None: it is in `folder`.
        behaviour: The knobs.
        clock_ns: Gives each save its modification time, in nanoseconds since 1970.
        clock: Seconds, for `Behaviour.copies_after`.
        wake: Calls a function after some seconds, for the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workspace_id: str,
        airflow_id: str,
        dags_dir: str = DAGS_DIR,
        dags_folder: Path | None = None,
        behaviour: Behaviour | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
        wake: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self.workspace_id = workspace_id
        self.airflow_id = airflow_id
        self.store = WorkspaceStore(folder, dags_dir=dags_dir, dags_folder=dags_folder, behaviour=behaviour, clock_ns=clock_ns)
        self.publisher = Publisher(self.store, folder / "published", clock=clock, wake=wake)
        self.calls: list[Call] = []
        """Every call that came."""
        self.before: Hook | None = None
        """Runs before each call; see `Hook`."""
        self.after: Callable[[Call], object] | None = None
        """Runs after each call has had its effect, before its response leaves."""
        self._rules: list[Rule] = []
        self._runs: Mapping[str, Callable[[Call], Reply]] = {
            "GetAirflow": self._get_airflow,
            "ListWorkspaceCode": self._list,
            "GetWorkspaceCode": self._get,
            "SaveWorkspaceCode": self._save,
            "DeleteWorkspaceCode": self._delete,
            "WorkspaceCodePublish": self._publish,
            "WorkspaceActionStatus": self._get_status,
            "WorkspaceActionLog": self._get_log,
            "GetWorkspaceCodePublishSetting": self._get_setting,
        }
        self._lock = threading.Lock()

    @property
    def behaviour(self) -> Behaviour:
        """The knobs."""
        return self.store.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self.store.behaviour = behaviour

    def fail(self, action: str, fault: Fault | Hook, *, times: int = 1, spared: int = 0) -> None:
        """Let calls meet a fault.

        Args:
            action: Which calls; empty: all.
            fault: What they meet, or a function that decides by the call.
            times: How many of them.
            spared: How many come through before, counted from now.
        """
        self._rules.append(Rule(action=action, fault=fault, spared=spared, times=times))

    def die_at(self, number: int, *, after_effect: bool = False) -> None:
        """Leave a call and all further ones without effect and response, as for a caller that was killed.

        Args:
            number: Of the call, counted from now; the first is 1.
            after_effect: That call still has its effect.
        """
        if after_effect:
            self.fail("", lost(after_effect=True), spared=number - 1)
        self.fail("", lost(after_effect=False), spared=number - 1, times=FOR_EVER)

    def actions(self) -> list[str]:
        """Give the action of each call that came."""
        return [call.action for call in self.calls]

    def has(self, action: str) -> bool:
        """Whether this is one of the calls."""
        return action in PARAMETERS

    def answer(self, action: str, query: str, body: bytes, content_type: str) -> Reply | None:
        """Answer a call; None: the connection is to end without a response."""
        given = {
            QUERY: _parse_pairs(query),
            BODY: _parse_pairs(body.decode(errors="replace")) if "form-urlencoded" in content_type else {},
        }
        parameters = {
            name: given[position][name] for name, (position, _) in PARAMETERS[action].items() if name in given[position]
        }
        with self._lock:
            call = Call(number=len(self.calls) + 1, action=action, parameters=parameters)
            self.calls.append(call)
            faults = [rule.match(call) for rule in self._rules]
        fault = next((fault for fault in faults if fault), None) or (self.before(call) if self.before else None)
        if fault and not fault.happens:
            return fault.reply
        reply = self._run(call)
        if self.after:
            self.after(call)
        return fault.reply if fault else reply

    def _run(self, call: Call) -> Reply:
        for name, (_, is_required) in PARAMETERS[call.action].items():
            if is_required and name not in call.parameters:
                body = {"Code": f"Missing{name}", "Message": f"{name} is mandatory for this action."}
                return Reply(status=HTTPStatus.BAD_REQUEST, body=body)
        try:
            if call.parameters["WorkspaceId"] != self.workspace_id:
                raise WorkspaceError("WorkspaceNotExist", f"The workspace {call.parameters['WorkspaceId']} does not exist.")  # noqa: TRY301
            return self._runs[call.action](call)
        except WorkspaceError as error:
            return self._report(error)

    def _report(self, error: WorkspaceError) -> Reply:
        status = self.behaviour.error_status
        if status != HTTPStatus.OK:
            return Reply(status=status, body={"Code": error.code, "Message": error.message})
        body = {"Success": False, "ErrorCode": error.code, "Message": error.message, "HttpStatusCode": HTTPStatus.BAD_REQUEST}
        return Reply(body=body)

    def _succeed(self, headers: tuple[tuple[str, str], ...] = (), **fields: Any) -> Reply:
        noise = {"ErrorCode": self.behaviour.noise, "Message": self.behaviour.noise} if self.behaviour.noise else {}
        return Reply(body={"Success": True, "HttpStatusCode": HTTPStatus.OK, **noise, **fields}, headers=headers)

    def _get_airflow(self, call: Call) -> Reply:
        if call.parameters["AirflowId"] != self.airflow_id:
            raise WorkspaceError("InvalidAirflow.NotFound", f"The Airflow {call.parameters['AirflowId']} does not exist.")
        home = self.store.dags_dir.rpartition("/")[0]
        root = {
            "AirflowId": self.airflow_id,
            "AirflowName": "sandbox",
            "AppSpec": "SMALL",
            "AppType": "AIRFLOW",
            "DagsDir": self.behaviour.airflow_dags_dir or self.store.dags_dir,
            "DeployErrorMsg": "Deployed",
            "PluginsDir": f"{home}/plugins",
            "RequirementFile": f"{home}/requirements.txt",
            "StartupFile": f"{home}/startup.sh",
            "Status": self.behaviour.airflow_status,
            "WorkspaceId": self.behaviour.airflow_workspace_id or self.workspace_id,
        }
        return self._succeed(Root=root, AccessDeniedDetail="NOT_FOUND")

    def _list(self, call: Call) -> Reply:
        behaviour = self.behaviour
        try:
            entries = self.store.list_folder(call.path)
        except MissingError:
            if behaviour.missing_folder is Missing.ERROR:
                raise
            return self._succeed(Data={"List": []}) if behaviour.missing_folder is Missing.EMPTY else self._succeed()
        shown = [entry for entry in entries if behaviour.lists_dot_files or not entry.name.startswith(".")]
        lines = [self._describe(call.path, entry) for entry in shown[: behaviour.longest_list]]
        return self._succeed(Data={"List": lines})

    def _describe(self, folder: str, entry: Entry) -> dict[str, Any]:
        name = f"{folder.rstrip('/')}/{entry.name}" if self.behaviour.lists_paths else entry.name
        line: dict[str, Any] = {"Name": name, "IsDir": entry.is_folder, "Size": 0 if entry.is_folder else entry.size}
        if not entry.is_folder and self.behaviour.lists_mtime:
            line["Mtime"] = in_seconds(entry.mtime_ns)
        return line | ({"Symlink": entry.link} if entry.link else {})

    def _get(self, call: Call) -> Reply:
        behaviour = self.behaviour
        try:
            content, mtime_ns = self.store.read(call.path)
        except MissingError:
            if behaviour.missing_file is Missing.ERROR:
                raise
            return self._succeed(Data="") if behaviour.missing_file is Missing.EMPTY else self._succeed()
        text = behaviour.decodes(content)
        if text is None:
            raise WorkspaceError("InvalidContent", f"{call.path} is not a text.")
        header = behaviour.mtime_header
        headers = ((header, behaviour.mtime_format(mtime_ns)),) if header else ()
        return self._succeed(headers, Data=text)

    def _save(self, call: Call) -> Reply:
        given = call.parameters
        self.store.save(call.path, given["Content"], mtime=given.get("Mtime", ""), force=_is_true(given.get("Force")))
        return self._succeed(Data="1")

    def _delete(self, call: Call) -> Reply:
        self.store.delete(call.path, symlink=_is_true(call.parameters.get("Symlink")))
        return self._succeed()

    def _publish(self, call: Call) -> Reply:
        return self._succeed(Data={"Key": self.publisher.publish(call.parameters["Config"])})

    def _get_status(self, call: Call) -> Reply:
        return self._succeed(Data=self.publisher.status(call.parameters["Key"]))

    def _get_log(self, call: Call) -> Reply:
        return self._succeed(Data=self.publisher.log(call.parameters["Key"]))

    def _get_setting(self, call: Call) -> Reply:
        del call
        setting = self.publisher.setting
        repos = [{"Repo": one.repo, "Path": one.path, "Branch": one.branch} for one in setting.repositories]
        exclude = [json.dumps(setting.exclude)] if self.behaviour.excludes_as_text else setting.exclude
        data = {"Exclude": exclude, "LockRepoBranch": setting.is_locked, "Repos": repos}
        return Reply(body={"Code": self.behaviour.setting_code, "HttpStatusCode": HTTPStatus.OK, "Data": data})


def _parse_pairs(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


def _is_true(text: str | None) -> bool:
    return (text or "").lower() == "true"
