"""A DMS workspace on one machine: its files, its publishing and the calls of DMS's OpenAPI for both."""

from __future__ import annotations

from sandbox.workspace.behaviour import Behaviour, Missing, Unguarded
from sandbox.workspace.calls import Workspace
from sandbox.workspace.faults import Call, Fault, Reply, lost, refused, throttled, unsuccessful
from sandbox.workspace.publishing import Repository
from sandbox.workspace.store import CODE, WorkspaceStore

__all__ = [
    "CODE",
    "Behaviour",
    "Call",
    "Fault",
    "Missing",
    "Reply",
    "Repository",
    "Unguarded",
    "Workspace",
    "WorkspaceStore",
    "lost",
    "refused",
    "throttled",
    "unsuccessful",
]
