"""The file in the target folder that says which of its files a deploy wrote, and what one that was interrupted would undo.

It is written before anything else is ("pending"), and once more when the gate is green. So it always has the last version
that was verified, and what to restore to get there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "dms-airflow-deploy.json"

ABOUT = "Written by the operation deploy of dms-airflow: the files that it may change and delete here. Do not edit."


def hash_text(text: str) -> str:
    """Hash a text exactly as it is."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_similar(text: str) -> str:
    """Hash a text so that `is_similar` ones have the same hash."""
    return hash_text(_normalize(text))


def is_similar(one: str, other: str) -> bool:
    """Whether two texts differ in nothing but a byte order mark, line ends and final line feeds, which a server may change."""
    return _normalize(one) == _normalize(other)


def _normalize(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip("\n") + "\n"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file that a deploy wrote.

    Args:
        exact: Hash of the checkout's text.
        similar: Hash of that text as `is_similar` compares it.
        size: Bytes, as the workspace listed them afterwards.
        mtime: Modification time, as the workspace listed it afterwards.
    """

    exact: str
    similar: str
    size: int = -1
    mtime: str = ""

    @classmethod
    def of(cls, text: str, *, size: int = -1, mtime: str = "") -> Entry:
        """Describe a text."""
        return cls(exact=hash_text(text), similar=hash_similar(text), size=size, mtime=mtime)

    def matches(self, text: str) -> bool:
        """Whether a text of the workspace is the one that was written."""
        return self.similar == hash_similar(text)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What deploys of ours left in the target folder.

    Args:
        files: By path below the target: the last verified version.
        commit: Of that version.
        next_commit: Of the version that was being deployed when `is_pending`.
        run: Page of the run that wrote the manifest.
        is_pending: A deploy began, and was not verified.
        written: Hashes, as `Entry.similar`, of what it, and interrupted ones before it, set out to write.
        former: What was there before of everything that it, and interrupted ones before it, set out to change; None: no file.
    """

    files: Mapping[str, Entry] = field(default_factory=dict)
    commit: str = ""
    next_commit: str = ""
    run: str = ""
    is_pending: bool = False
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    former: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def paths(self) -> set[str]:
        """Everything that may be ours."""
        return {*self.files, *self.written}

    def owns(self, path: str, text: str) -> bool:
        """Whether a file of the target is as a deploy of ours left it, or found it before it was interrupted."""
        entry = self.files.get(path)
        is_ours = (entry is not None and entry.matches(text)) or hash_similar(text) in self.written.get(path, ())
        return is_ours or self.former.get(path) == text

    def render(self) -> str:
        """Write the manifest as JSON; former texts are compressed."""
        content: dict[str, Any] = {
            "about": ABOUT,
            "version": 1,
            "state": "pending" if self.is_pending else "verified",
            "commit": self.commit,
            "next_commit": self.next_commit,
            "run": self.run,
            "files": {path: _render_entry(entry) for path, entry in sorted(self.files.items())},
        }
        if self.is_pending:
            packed = zlib.compress(json.dumps(self.former).encode())
            content["written"] = dict(self.written)
            content["former"] = base64.b64encode(packed).decode()
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _render_entry(entry: Entry) -> list[Any]:
    return [entry.exact, entry.similar if entry.similar != entry.exact else "", entry.size, entry.mtime]


def parse_manifest(text: str) -> Manifest | None:
    """Parse a manifest; None when it is none that this version can read."""
    try:
        content = json.loads(text)
        if content["version"] != 1:
            return None
        packed = base64.b64decode(content.get("former", ""))
        return Manifest(
            files=_parse_entries(content["files"]),
            commit=str(content["commit"]),
            next_commit=str(content["next_commit"]),
            run=str(content["run"]),
            is_pending=content["state"] == "pending",
            written={path: tuple(hashes) for path, hashes in content.get("written", {}).items()},
            former=json.loads(zlib.decompress(packed)) if packed else {},
        )
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None


def _parse_entries(entries: Mapping[str, list[Any]]) -> dict[str, Entry]:
    return {
        str(path): Entry(exact=exact, similar=similar or exact, size=int(size), mtime=str(mtime))
        for path, (exact, similar, size, mtime) in entries.items()
    }
