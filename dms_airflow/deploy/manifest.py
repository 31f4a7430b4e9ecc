"""The file in the target folder that says which of its files deploys wrote, and what to restore after an interrupted one.

It is written before anything else is, as pending, and once more when the gate is green.
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
    """Hash a text without what a server may change when it saves: byte order mark, line ends, final line feeds."""
    return hash_text(text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip("\n") + "\n")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file that a deploy wrote: hashes of the checkout's text; size in bytes and time as the workspace listed it then."""

    exact: str
    similar: str
    size: int = -1
    mtime: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What deploys left in the target folder.

    Args:
        files: By path below the target: the last verified version.
        commit: Of that version.
        is_pending: A deploy began after it, and was not verified: of `next_commit`, by the page `run`.
        written: Hashes, as `Entry.similar`, of what unverified deploys set out to write.
        former: What was there before of everything that they set out to change; None: no file.
        text: The manifest as it was read, and its modification time; None: there is none.
    """

    files: Mapping[str, Entry] = field(default_factory=dict)
    commit: str = ""
    next_commit: str = ""
    run: str = ""
    is_pending: bool = False
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    former: Mapping[str, str | None] = field(default_factory=dict)
    text: str | None = field(default=None, compare=False)
    mtime: str = field(default="", compare=False)

    @property
    def paths(self) -> set[str]:
        """Everything that may be ours."""
        return {*self.files, *self.written}

    def owns(self, path: str, text: str) -> bool:
        """Whether a text of the target is one that a deploy left, or found before it was interrupted."""
        known = [entry.similar for entry in (self.files.get(path),) if entry] + [*self.written.get(path, ())]
        return hash_similar(text) in known or self.former.get(path) == text

    def render(self) -> str:
        """Write the manifest as JSON; former texts are compressed."""
        content: dict[str, Any] = {"about": ABOUT, "version": 1, "is_pending": self.is_pending, "commit": self.commit}
        content |= {"next_commit": self.next_commit, "run": self.run}
        content["files"] = {path: [one.exact, one.similar, one.size, one.mtime] for path, one in sorted(self.files.items())}
        content["written"] = dict(self.written)
        content["former"] = base64.b64encode(zlib.compress(json.dumps(self.former).encode())).decode()
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def parse_manifest(text: str) -> Manifest | None:
    """Parse a manifest; None when this version cannot."""
    try:
        content = json.loads(text)
        if content.pop("version") != 1:
            return None
        del content["about"]
        files = {
            path: Entry(exact=exact, similar=similar, size=size, mtime=mtime)
            for path, (exact, similar, size, mtime) in content.pop("files").items()
        }
        written = {path: tuple(hashes) for path, hashes in content.pop("written").items()}
        former = json.loads(zlib.decompress(base64.b64decode(content.pop("former"))))
        return Manifest(files=files, written=written, former=former, **content)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None
