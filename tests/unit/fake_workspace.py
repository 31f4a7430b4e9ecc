"""The sandbox's workspace as the deploy knows it, without a network: what unit tests deploy to."""

from __future__ import annotations

import itertools
import json
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dms_airflow.alibaba_cloud.workspace import Workspace
from dms_airflow.core.errors import AnswerLostError, WorkspaceDeniedError, WorkspaceError
from dms_airflow.deploy.write import Target
from sandbox.workspace import Workspace as SandboxWorkspace
from tests.unit.fakes import FakeClock, FakeLog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.workspace import Behaviour

TARGET = "/Workspace/code/default/dags"
BODY = frozenset({"Path", "Content", "Mtime", "Force", "Config"})


class FakeWorkspace(Workspace):
    """Answers a deploy's calls, and lets a test put faults and second writers between them."""

    clock: FakeClock
    log: FakeLog

    def __init__(self, folder: Path, behaviour: Behaviour | None = None) -> None:
        self.instance_id = "af-1"
        self.clock, self.log = FakeClock(), FakeLog()
        self.target = Target(self, TARGET)
        self.order: AbstractContextManager[object] = nullcontext()
        """A lock that a test puts here lets no other call come between a call and what the test does before it."""
        self.dms = SandboxWorkspace(
            folder,
            workspace_id="7001",
            airflow_id="af-1",
            behaviour=behaviour,
            clock_ns=itertools.count(1_767_262_272 * 10**9, 10**9).__next__,
        )

    def put(self, files: Mapping[str, str | None]) -> None:
        """Change files of the target as somebody else does; None deletes."""
        for path, text in files.items():
            self.dms.store.edit(f"{TARGET}/{path}", text)

    @property
    def files(self) -> dict[str, str]:
        """The files of the target."""
        return self._read(self.dms.store.files(TARGET))

    @property
    def own_files(self) -> dict[str, str]:
        """The files of the target but for the manifest."""
        return {path: text for path, text in self.files.items() if path != "dms-airflow-deploy.json"}

    def count(self, action: str) -> int:
        """Count the calls of one kind."""
        return self.dms.actions().count(action)

    @staticmethod
    def _read(files: Mapping[str, bytes]) -> dict[str, str]:
        return {path.removeprefix(f"{TARGET}/"): content.decode() for path, content in files.items()}

    # --- the calls -------------------------------------------------------------------------------------------------------

    def fetch(self, action: str, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make a call that changes nothing."""
        return self.send(action, **fields)

    def send(self, action: str, **fields: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Make a call."""
        parameters = {name.title().replace("_", ""): str(value) for name, value in fields.items() if value is not None}
        return self._call(action, **parameters)

    def _call(self, action: str, **parameters: str) -> tuple[dict[str, Any], dict[str, str]]:
        body = {
            name: value
            for name, value in parameters.items()
            if name in BODY and action in ("SaveWorkspaceCode", "WorkspaceCodePublish")
        }
        query = {"WorkspaceId": "7001", **{name: value for name, value in parameters.items() if name not in body}}
        with self.order:
            reply = self.dms.answer(action, urlencode(query), urlencode(body).encode(), "application/x-www-form-urlencoded")
        if reply is None:
            raise AnswerLostError(f"{action}: lost.", "", is_transient=True)
        answer = json.loads(json.dumps(reply.body))
        if reply.status != HTTPStatus.OK or not (answer.get("Success") or action == "GetWorkspaceCodePublishSetting"):
            code = answer.get("ErrorCode") or answer.get("Code")
            if code in ("Forbidden.RAM", "NoPermission"):
                raise WorkspaceDeniedError(f"{action}: {code}", "")
            raise WorkspaceError(f"{action}: {code}", "", is_transient=code.startswith("Throttling"))
        return answer, dict(reply.headers)
