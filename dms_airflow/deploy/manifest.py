"""The file in the target folder that says which of its files deploys wrote, and what to restore after an interrupted one.

It is written before anything else is, as pending, and once more when the gate is green.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NAME = "dms-airflow-deploy.json"
ABOUT = "Written by the operation deploy of dms-airflow: the files that it may change and delete here. Do not edit."


def hash_text(text: str) -> str:
    """Hash a text exactly as it is."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_similar(text: str | None) -> str:
    """Hash a text without what a server may change when it stores it: byte order mark, line ends, final line feeds."""
    return hash_text((text or "").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n"))


class Entry(NamedTuple):
    """A file that a deploy wrote: hashes of the checkout's text; size in bytes and time as the workspace listed it then."""

    exact: str
    similar: str
    size: int
    mtime: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What deploys left in the target folder.

    Args:
        files: By path below the target: the last verified version.
        written: Hashes, as `Entry.similar`, of what deploys after that one set out to write; they were not verified.
        former: What was there before of everything that they set out to change; None: no file.
        commit: Of the last deploy that began.
        run: The page of that deploy.
        text: The manifest as it was read, and its modification time; None: there is none.
    """

    files: Mapping[str, Entry] = field(default_factory=dict)
    written: Mapping[str, Sequence[str]] = field(default_factory=dict)
    former: Mapping[str, str | None] = field(default_factory=dict)
    commit: str = ""
    run: str = ""
    text: str | None = None
    mtime: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether a deploy began that was not verified."""
        return bool(self.former)

    @property
    def warning(self) -> str:
        """What the next deploy should know; empty if the last one was verified."""
        if self.is_pending:
            return (
                f"An earlier deploy was interrupted, was not verified, or still runs: commit {self.commit or '?'}, "
                f"{self.run or 'an unknown run'}. This one completes it or takes it back."
            )
        return f"{NAME} cannot be read, so the files of earlier deploys are not known." if self.text and not self.files else ""

    def owns(self, path: str, text: str) -> bool:
        """Whether a text of the target is one that a deploy left, or found before it was interrupted."""
        verified = [self.files[path].similar] if path in self.files else []
        return hash_similar(text) in (*verified, *self.written.get(path, ())) or self.former.get(path) == text

    def render(self) -> str:
        """Write the manifest as JSON; former texts are compressed."""
        content = {
            "about": ABOUT,
            "version": 1,
            "commit": self.commit,
            "run": self.run,
            "files": dict(sorted(self.files.items())),
            "written": self.written,
            "former": base64.b64encode(zlib.compress(json.dumps(self.former).encode())).decode(),
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def parse_manifest(text: str | None, mtime: str = "") -> Manifest:
    """Parse a manifest; without files where there is none, or when this version cannot."""
    try:
        content = json.loads(text or "")
        if content.pop("version") == 1:
            del content["about"]
            content["files"] = {path: Entry(*row) for path, row in content["files"].items()}
            content["former"] = json.loads(zlib.decompress(base64.b64decode(content["former"])))
            return Manifest(**content, text=text, mtime=mtime)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        pass
    return Manifest(text=text or None, mtime=mtime)
