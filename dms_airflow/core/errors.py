"""The errors that keep the action from a result.

::

    ActionError
    ├── InputError            wrong inputs, all of them at once           exit 2
    ├── CredentialsError      no usable credentials
    ├── IdTokenError          GitHub gave the job no id-token
    ├── RoleError             the id-token was not exchanged for a role
    ├── TokenError            CreateAirflowLoginToken was refused
    ├── LoginError            the login token did not become a session
    ├── NetworkError          the host could not be reached
    │   └── UnknownHostError  because there is no such host
    ├── AnswerError           a response came, but not a usable one
    ├── AnswerLostError       the request was sent, but no response came
    ├── AnswerTimeoutError    the same, because time ran out              status timeout
    ├── DagNotFoundError      the DAG to be triggered does not exist
    ├── DagNotReadyError      it exists, but its run would not start
    ├── RunGoneError          the DAG run was deleted during the wait
    ├── TriggerRefusedError   Airflow created no DAG run
    ├── UnhealthyError        the instance's metadatabase or scheduler is not healthy
    ├── CheckError            a check of `doctor` failed
    ├── WorkspaceError        DMS refused a call for workspace code
    │   └── WorkspaceDeniedError  because the identity has no permission
    ├── DeployError           a deploy cannot begin
    ├── ConflictError         somebody else changed the target of a deploy
    └── NotPublishedError     the workspace was not published
    Cancelled                 the runner asked the step to stop           exit 130

A DAG run that failed or an import error is not an exception but a `Result` (see result.py). Each title is an entry in
docs/troubleshooting.md; each message says what failed and for which thing; each hint names the likely cause and the next
step. No message may hold a secret, a query string, a header or a body.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dms_airflow.core.result import Annotation, Ending, Level, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dms_airflow.core.result import Diagram, Folded, Table


class ActionError(Exception):
    """Base of all errors that end a step with an annotation.

    Args:
        message: What failed, for which thing, in one or more sentences.
        hint: The likely cause and the next step.
        status: The HTTP status of the response that failed; None where there was none, or it does not matter.
        is_transient: The same call may succeed a moment later; by default what the class says.
        retry_after: Seconds to wait, as the server requested.
        outputs: What was known before the error.
        blocks: Further parts of the job summary.
    """

    title: ClassVar[str]
    ending: ClassVar[Ending] = Ending.FAILURE

    is_transient = False
    """Whether the same call may succeed a moment later. The caller knows whether a second call does harm."""

    def __init__(
        self,
        message: str,
        hint: str,
        *,
        status: int | None = None,
        is_transient: bool | None = None,
        retry_after: float = 0.0,
        outputs: Mapping[str, Any] | None = None,
        blocks: tuple[Table | Folded | Diagram, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
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


@dataclass(frozen=True, kw_only=True)
class InputProblem:
    """One wrong input: its name as the author wrote it, and what was expected.

    Args:
        name: The input.
        message: What was expected.
        unless: Other inputs; if one of them has a problem, this problem is not reported.
    """

    name: str
    message: str
    unless: tuple[str, ...] = ()


class InputError(ActionError):
    """Wrong inputs; nothing was sent anywhere."""

    title = "Wrong input"
    ending = Ending.REFUSED

    def __init__(self, problems: Sequence[InputProblem]) -> None:
        lines = [f"{problem.name}: {problem.message}" for problem in problems]
        super().__init__("; ".join(lines), "Nothing was sent. Correct the inputs.")
        self.problems = tuple(problems)

    def to_result(self) -> Result:
        """Report each wrong input in an annotation of its own."""
        count = len(self.problems)
        return Result(
            ending=self.ending,
            headline="1 wrong input" if count == 1 else f"{count} wrong inputs",
            annotations=tuple(
                Annotation(
                    level=Level.ERROR,
                    title=f"{self.title}: {problem.name}",
                    message=f"{problem.name}: {problem.message}",
                )
                for problem in self.problems
            ),
            outputs=self.outputs,
            blocks=self.blocks,
        )


class CredentialsError(ActionError):
    """No usable credentials for Alibaba Cloud."""

    title = "No credentials"


class IdTokenError(ActionError):
    """GitHub gave the job no id-token."""

    title = "No id-token"


class RoleError(ActionError):
    """STS did not exchange the id-token for the role."""

    title = "Role not assumed"


class TokenError(ActionError):
    """Alibaba Cloud did not return a login token."""

    title = "No login token"


class LoginError(ActionError):
    """Airflow's host rejected the login token or the session."""

    title = "Login failed"


class NetworkError(ActionError):
    """A host could not be reached; the request did not get there."""

    title = "Host not reached"
    is_transient = True


class UnknownHostError(NetworkError):
    """The name server does not know the host."""

    is_transient = False


class AnswerError(ActionError):
    """A response came that cannot be used."""

    title = "Unusable answer"


class AnswerLostError(ActionError):
    """The request was sent, but no response came: it may have been carried out."""

    title = "Answer lost"
    is_transient = True


class AnswerTimeoutError(AnswerLostError):
    """As AnswerLostError, because the time allowed ran out."""

    title = "Time ran out"
    ending = Ending.TIMEOUT


class DagNotFoundError(ActionError):
    """The DAG to be triggered does not exist."""

    title = "DAG not found"


class DagNotReadyError(ActionError):
    """A run of the DAG would not be created, or never start."""

    title = "DAG not ready"


class RunGoneError(ActionError):
    """The DAG run that was waited for no longer exists."""

    title = "DAG run gone"


class TriggerRefusedError(ActionError):
    """Airflow created no DAG run."""

    title = "Trigger refused"


class UnhealthyError(ActionError):
    """The instance's metadatabase or scheduler is not healthy."""

    title = "Instance not healthy"


class CheckError(ActionError):
    """A part of the connection to Airflow does not work as it must."""

    title = "Check failed"


class WorkspaceError(ActionError):
    """DMS refused a call for the workspace or its code."""

    title = "Workspace call refused"


class WorkspaceDeniedError(WorkspaceError):
    """DMS refused it because the identity lacks a permission."""


class DeployError(ActionError):
    """A deploy cannot begin; nothing was written."""

    title = "Deploy refused"


class ConflictError(ActionError):
    """Somebody else changed the target of a deploy while it ran."""

    title = "Target changed by somebody else"


class NotPublishedError(ActionError):
    """The workspace was not published."""

    title = "Not published"


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
