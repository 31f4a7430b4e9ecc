"""The sandbox's STS and id-token endpoint, with what they received and faults in the place of their answers."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.cloud import METADATA_HOST, STS_HOSTS, Cloud
from sandbox.oidc import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.front import Answer, Request

KINDS = {**dict.fromkeys(STS_HOSTS, "sts"), HOST: "id-token", METADATA_HOST: "metadata"}


@dataclass
class FakeCloud(Cloud):
    """A cloud that remembers."""

    received: list[tuple[str, Request]] = field(default_factory=list)
    faults: defaultdict[str, deque[Callable[[Request], Answer | None]]] = field(default_factory=lambda: defaultdict(deque))

    @property
    def kinds(self) -> list[str]:
        """Who was asked, in order."""
        return [kind for kind, _ in self.received]

    @property
    def secrets(self) -> set[str]:
        """Every secret that this cloud knows: the bearer token, id-tokens, keys it gave out."""
        keys = [*self.sts.given_out, *([self.ecs_credential] if self.ecs_credential else [])]
        parts = {part for key in keys for part in (key.access_key_id, key.access_key_secret, key.security_token)}
        return {self.issuer.bearer, *self.issuer.issued, *parts} - {""}

    @property
    def role_inputs(self) -> Mapping[str, str]:
        """The inputs of a step that assumes the role, and has no keys."""
        return {**self.inputs, "access-key-id": "", "access-key-secret": ""}

    def fail(self, kind: str, fault: Callable[[Request], Answer | None] | Answer, times: int = 1) -> None:
        """Let the next requests of a kind (sts, id-token, metadata) meet a fault."""
        self.faults[kind].extend([fault if callable(fault) else lambda _: fault] * times)

    def answer(self, request: Request) -> Answer:
        """Remember the request, and answer it, or with the fault."""
        kind = KINDS.get(request.headers.get("Host", "").partition(":")[0], "unknown")
        self.received.append((kind, request))
        if self.faults[kind] and (answer := self.faults[kind].popleft()(request)) is not None:
            return answer
        return super().answer(request)
