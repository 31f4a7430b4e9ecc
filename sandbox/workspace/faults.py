"""One call of the workspace API, its response, and faults that take the response's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

FOR_EVER = 10**9
"""As `times` of a fault: at every further call."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call as received: its number among the calls of the workspace API (from 1), its action and its parameters."""

    number: int
    action: str
    parameters: Mapping[str, str]

    @property
    def path(self) -> str:
        """The parameter Path; empty for calls that have none."""
        return self.parameters.get("Path", "")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """HTTP status, JSON body and further headers of a response."""

    status: int = HTTPStatus.OK
    body: Mapping[str, Any]
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a call gets in the place of its response.

    Args:
        happens: The call has its effect all the same.
        reply: The response; None: the connection ends without one.
    """

    happens: bool = False
    reply: Reply | None = None


Hook = Callable[[Call], Fault | None]
"""Runs before a call has its effect; may change the workspace, or give a fault."""


def lost(*, after_effect: bool) -> Fault:
    """Make a fault: the connection ends without a response, before the call had its effect or after it."""
    return Fault(happens=after_effect)


def refused(code: str, status: int = HTTPStatus.FORBIDDEN, message: str = "") -> Fault:
    """Make a fault: the gateway refuses with an error code, e.g. Forbidden.RAM, NoPermission or UserNotExist."""
    return Fault(reply=Reply(status=status, body={"Code": code, "Message": message or f"The call is refused: {code}."}))


def unsuccessful(code: str, message: str = "") -> Fault:
    """Make a fault: HTTP 200 with `Success: false`."""
    body = {"Success": False, "ErrorCode": code, "HttpStatusCode": 400, "Message": message or f"The call failed: {code}."}
    return Fault(reply=Reply(body=body))


def throttled(
    code: str = "Throttling.User", status: int = HTTPStatus.TOO_MANY_REQUESTS, *, retry_after_seconds: int = 0
) -> Fault:
    """Make a fault: too many calls; with a number of seconds the gateway says how long to wait."""
    headers = [("x-acs-retry-after", str(retry_after_seconds))] if retry_after_seconds else []
    body = {"Code": code, "Message": "Request was denied due to user flow control."}
    return Fault(reply=Reply(status=status, body=body, headers=headers))


@dataclass(kw_only=True)
class Rule:
    """Which calls get a fault: those of an action (empty: of any), after some that are spared, a number of times."""

    action: str
    fault: Fault | Hook
    spared: int
    times: int
    _seen: int = field(default=0)

    def match(self, call: Call) -> Fault | None:
        """Give the fault of this call, if it is one of those."""
        if self.action not in ("", call.action):
            return None
        self._seen += 1
        if not self.spared < self._seen <= self.spared + self.times:
            return None
        return self.fault if isinstance(self.fault, Fault) else self.fault(call)
