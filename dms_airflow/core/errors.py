"""The errors that keep the action from a result.

A DAG run that failed or an import error is not an exception but a `Result` (see result.py). Each title is an entry in
docs/troubleshooting/; each message says what failed and for which thing; each hint names the likely cause and the next
step. No message may hold a secret, a query string, a header or a body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

from dms_airflow.core.result import Annotation, Diagram, Ending, Folded, Level, Result, Table


class ActionError(Exception):
    """Base of all errors that end a step with an annotation.

    Args:
        message: What failed, for which thing, in one or more sentences.
        hint: The likely cause and the next step.
        title: That of the annotation; by default what the class says.
        status: The HTTP status of the response that failed; None where there was none, or it does not matter.
        is_transient: The same call may succeed a moment later, if it does no harm; by default what the class says.
        retry_after: Seconds to wait, as the server requested.
        outputs: What was known before the error.
        blocks: Further parts of the job summary.
    """

    title = ""
    ending: ClassVar[Ending] = Ending.FAILURE
    is_transient = False

    def __init_subclass__(cls, *, title: str = "", ending: Ending | None = None) -> None:
        cls.title = title or cls.title
        cls.ending = ending or cls.ending

    def __init__(
        self,
        message: str,
        hint: str,
        *,
        title: str = "",
        status: int | None = None,
        is_transient: bool | None = None,
        retry_after: float = 0.0,
        outputs: Mapping[str, Any] | None = None,
        blocks: tuple[Table | Folded | Diagram, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.title = title or self.title
        self.status = status
        self.is_transient = self.is_transient if is_transient is None else is_transient
        self.retry_after = retry_after
        self.outputs = outputs or {}
        self.blocks = blocks

    def to_result(self) -> Result:
        """Turn the error into what the step reports."""
        annotation = Annotation(level=Level.ERROR, title=self.title, message=f"{self.message}\n{self.hint}")
        return Result(
            ending=self.ending,
            headline=f"{self.title}: {self.message}",
            outputs=self.outputs,
            annotations=(annotation,),
            blocks=self.blocks,
        )


class InputProblem(NamedTuple):
    """One wrong input: its name as the author wrote it, and what was expected."""

    name: str
    message: str


class CredentialsError(ActionError, title="No credentials"):
    """No usable credentials for Alibaba Cloud."""


class IdTokenError(ActionError, title="No id-token"):
    """GitHub gave the job no id-token."""


class RoleError(ActionError, title="Role not assumed"):
    """STS did not exchange the id-token for the role."""


class TokenError(ActionError, title="No login token"):
    """Alibaba Cloud did not return a login token."""


class LoginError(ActionError, title="Login failed"):
    """Airflow's host rejected the login token or the session."""


class NetworkError(ActionError, title="Host not reached"):
    """A host could not be reached; the request did not get there."""

    is_transient = True


class UnknownHostError(NetworkError):
    """The name server does not know the host."""

    is_transient = False


class AnswerError(ActionError, title="Unusable answer"):
    """A response came that cannot be used."""


class AnswerLostError(ActionError, title="Answer lost"):
    """The request was sent, but no response came: it may have been carried out."""

    is_transient = True


class AnswerTimeoutError(AnswerLostError, title="Time ran out", ending=Ending.TIMEOUT):
    """As AnswerLostError, because the time allowed ran out."""


class DagNotReadyError(ActionError, title="DAG not ready"):
    """A run of the DAG would not be created, or never start."""


class CheckError(ActionError, title="Check failed"):
    """A part of the connection to Airflow does not work as it must."""


class WorkspaceError(ActionError, title="Workspace call refused"):
    """DMS refused a call for the workspace or its code."""


class WorkspaceDeniedError(ActionError, title="Workspace call refused"):
    """DMS refused such a call because the identity lacks a permission."""


class DeployError(ActionError, title="Deploy refused"):
    """A deploy cannot begin; nothing was written."""


class ConflictError(ActionError, title="Target changed by somebody else"):
    """Somebody else changed the target of a deploy while it ran."""


class Cancelled(BaseException):
    """The runner requested the step to stop (SIGINT, then SIGTERM 7.5 s later).

    Args:
        outputs: What was known by then.
        fate: What became of the DAG run or the deploy; empty where that follows from the outputs.
    """

    def __init__(self, outputs: Mapping[str, Any] | None = None, fate: str = "") -> None:
        super().__init__()
        self.outputs = outputs or {}
        self.fate = fate


@contextmanager
def add_outputs(outputs: Mapping[str, Any]) -> Iterator[None]:
    """Add what is known by now to the outputs of whatever ends the step in this block."""
    try:
        yield
    except (ActionError, Cancelled) as error:
        error.outputs = {**outputs, **error.outputs}
        raise
