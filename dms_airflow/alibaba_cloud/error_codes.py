"""Why Alibaba Cloud refused a call: what its error codes mean, and what to do about it. The codes are in error_codes.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from dms_airflow.core.errors import ActionError
from dms_airflow.core.http.retry import is_transient_status

E = TypeVar("E", bound=ActionError)

# The groups of codes that a call may get, in the order in which they are searched.
OPENAPI = ("openapi", "common")
TOKEN = ("openapi", "token", "common")
STS = ("sts", "common")

# With SignatureDoesNotMatch the gateway quotes the request that it verified; one of its headers is the security token.
_QUOTED_REQUEST = re.compile(
    r"\s*\b(?:server )?(?:string ?to ?sign|canonical ?(?:string|request))\b.*", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class ErrorCode:
    """An error code that is known, as error_codes.toml explains it."""

    pattern: str
    meaning: str
    hint: str
    is_transient: bool = False
    is_missing_trust: bool = False


@cache
def load_codes(groups: tuple[str, ...]) -> tuple[ErrorCode, ...]:
    """Load the codes of these groups, the first of which that matches counts."""
    import tomllib  # noqa: PLC0415 - most steps are refused nothing

    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(ErrorCode(**one) for group in groups for one in table[group])


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A call that Alibaba Cloud refused. `groups`: of the codes that it may get. `retry_after`: in seconds."""

    code: str
    message: str
    request_id: str
    groups: tuple[str, ...]
    status: int = 0
    retry_after: float = 0.0

    def __str__(self) -> str:
        return f"({self.code}: {self.text or 'no message'}; request id {self.request_id or 'unknown'})"

    @property
    def text(self) -> str:
        """The message in one line, without the request that it may quote."""
        return _QUOTED_REQUEST.sub("", " ".join(self.message.split()))

    @property
    def is_expired(self) -> bool:
        """Whether new temporary credentials would be accepted."""
        return re.search("SecurityToken.*Expired", f"{self.code}: {self.text}") is not None

    @property
    def known(self) -> ErrorCode | None:
        """What is known of its code."""
        return next((one for one in load_codes(self.groups) if re.search(one.pattern, f"{self.code}: {self.text}")), None)

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return is_transient_status(self.status) or (self.known is not None and self.known.is_transient)

    def to_error(self, kind: type[E], call: str, *, hint: str = "", other: str = "") -> E:
        """Make the error for a call. What to do: `hint`, else what the code says, else `other`."""
        known = self.known
        because = f", because {known.meaning}" if known else ""
        hint = hint or (known.hint if known else other)
        return kind(f"{call} was refused{because} {self}.", hint, is_transient=self.is_transient, retry_after=self.retry_after)
