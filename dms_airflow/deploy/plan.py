"""What a deploy will do: the checkout's files compared with those of the target folder. It writes nothing."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dms_airflow.core.errors import DeployError
from dms_airflow.deploy.manifest import NAME, Manifest, hash_similar, hash_text, parse_manifest
from dms_airflow.deploy.write import FileChange, Target, map_calls

if TYPE_CHECKING:
    from dms_airflow.alibaba_cloud.workspace import Listed

BIGGEST_FILE = 1024 * 1024  # bytes; DMS documents no limit, and a text of three times its size is sent
LONGEST_COMPARED = 1000  # lines of both texts: difflib's time grows with the square

_SKIPPED = frozenset({".git", "__pycache__", NAME})
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\\]")
_SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "an AccessKey id of Alibaba Cloud": re.compile(r"\bLTAI[0-9A-Za-z]{12,26}\b"),
}

HINT_FILES = "Nothing was written. Correct these files, or leave them out with deploy-exclude."
HINT_FOLDER = "Set dags-path to the folder of the checkout that has the DAG files, and run actions/checkout before this step."
HINT_LINKS = (
    "Nothing was written. A deploy does not write through links and does not delete folders: remove these in DMS's console."
)
HINT_CONFLICTS = (
    "Nothing was written. Bring these changes into the repository, or set force: true for one run to overwrite them. On the "
    "first deploy into a folder these are the files there that differ from the checkout."
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a deploy will do.

    Args:
        target: Where.
        texts: The checkout's files.
        changes: In the order in which they are made.
        unchanged: What the target has already.
        foreign: Files and folders ("x/") of the target that are not ours, and stay.
        conflicts: Among `changes`, those that overwrite what no deploy wrote.
        listed: How the workspace listed the files that are unchanged.
        manifest: Of earlier deploys.
    """

    target: Target
    texts: Mapping[str, str]
    changes: tuple[FileChange, ...]
    unchanged: tuple[str, ...]
    foreign: tuple[str, ...]
    conflicts: tuple[str, ...]
    listed: Mapping[str, Listed]
    manifest: Manifest

    def to_json(self) -> dict[str, list[str]]:
        """Give the paths of each kind, as the output `plan` has them."""
        kinds = {
            kind: sorted(one.path for one in self.changes if one.kind == kind) for kind in ("created", "changed", "deleted")
        }
        return {**kinds, "unchanged": list(self.unchanged), "foreign": list(self.foreign)}

    @property
    def summary(self) -> str:
        """The plan in one line."""
        return ", ".join(f"{len(paths)} {kind.replace('foreign', 'not ours')}" for kind, paths in self.to_json().items())


# --- the checkout ---------------------------------------------------------------------------------------------------------


def read_checkout(folder: Path, root: Path, is_excluded: Callable[[str], bool]) -> dict[str, str]:
    """Read every file to be deployed, by its path below `folder`; links may lead anywhere below `root`.

    Raises:
        DeployError: Names every file that cannot be deployed.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for path, place in _walk(folder.resolve(), "", ()):
        if not is_excluded(path):
            texts[path], problem = _read_file(path, place, root.resolve())
            problems += [f"{path.encode(errors='replace').decode()}: {problem}"] if problem else []
    if problems:
        raise DeployError("\n".join(("These files cannot be deployed:", *problems)), HINT_FILES)
    if not texts:
        raise DeployError(f"Nothing to deploy: {folder} has no files.", HINT_FOLDER)
    return texts


def _walk(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Give the files below a folder; a circular link is listed as if it were a file."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in _SKIPPED or entry.name.endswith(".pyc"):
            continue
        place = Path(entry.path).resolve()
        if entry.is_dir() and place not in (folder, *above):
            yield from _walk(place, f"{prefix}{entry.name}/", (folder, *above))
        else:
            yield f"{prefix}{entry.name}", place


def _read_file(path: str, place: Path, root: Path) -> tuple[str, str]:
    """Read a file's text; or say why it cannot be deployed."""
    if _CONTROL.search(path):
        return "", "its name has a control character, a backslash or bytes that are not UTF-8"
    if not place.is_relative_to(root):
        return "", "a link that leads out of the checkout"
    if not place.is_file():
        return "", "neither a file nor a folder, or a link that leads nowhere"
    content = place.read_bytes()
    if len(content) > BIGGEST_FILE:
        return "", f"{len(content)} bytes, more than 1 MiB"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    return ("", "not a UTF-8 text; the workspace stores only such texts") if "\0" in text else (text, "")


def find_secrets(texts: Mapping[str, str]) -> list[tuple[str, int, str]]:
    """Find texts that look like secrets: path, line from 1, and kind. The text itself is never shown."""
    return [
        (path, text.count("\n", 0, match.start()) + 1, what)
        for path, text in sorted(texts.items())
        for what, pattern in _SECRETS.items()
        for match in [pattern.search(text)]
        if match
    ]


# --- the target -----------------------------------------------------------------------------------------------------------


def make_plan(target: Target, texts: Mapping[str, str], *, keep: Callable[[str], bool] | None = None) -> Plan:
    """Compare the checkout with the target. With `force`, files of earlier deploys that somebody changed since are deleted too.

    Args:
        target: The target.
        texts: The checkout's files.
        keep: Files that the checkout lacks are deleted, whoever wrote them, except those for which this is true. None: only
            files of earlier deploys are.

    Raises:
        DeployError: A file or link of the target blocks a file.
        ActionError: The target could not be read.
    """
    top = target.list_top() or {}
    manifest = parse_manifest(*target.read(NAME))
    ours = {*manifest.files, *manifest.written}
    listed = _list_below(target, top, _list_parents({*texts, *ours}), is_deep=keep is not None)
    _check_paths(texts, listed)
    files = {path: one for path, one in listed.items() if not one.is_folder and not one.is_link and path != NAME}
    known = {path for path in texts.keys() & files.keys() if _is_known(path, texts[path], manifest, files[path])}
    surplus = {path for path in files.keys() - texts.keys() if path in ours or (keep and not keep(path))}
    compared = (texts.keys() & files.keys()) - known | surplus
    contents = map_calls(lambda path: target.workspace.read(f"{target.folder}/{path}"), compared)
    # The listing came before: where its time is an older one, the save fails and the file is read again.
    read: dict[str, tuple[str | None, str]] = {
        path: (text, mtime or files[path].mtime) for path, (text, mtime) in contents.items()
    }
    # A listing may be cut, or lack names with a dot in front.
    hidden = {path for path in {*texts, *ours} - files.keys() if path in ours or path.startswith(".") or "/." in path}
    read |= {path: found for path, found in map_calls(target.read, hidden).items() if found[0]}
    changes, unchanged, conflicts = list[FileChange](), list[str](), list[str]()
    for path in sorted(texts.keys() | read.keys()):
        before, mtime = read.get(path, (None, ""))
        after, is_ours = texts.get(path), before is not None and manifest.owns(path, before)
        if path in known or (before is not None and after is not None and _is_same(path, after, manifest, before)):
            unchanged.append(path)
        elif after is None and path in ours and not is_ours and not target.force:
            pass  # an earlier deploy wrote it, and somebody changed it since: it stays
        else:
            changes.append(FileChange(path, before, after, mtime))
            if before is not None and after is not None and not is_ours:
                conflicts.append(path)
    deleted = {change.path for change in changes if change.after is None}
    return Plan(
        target=target,
        texts=texts,
        changes=tuple(sorted(changes, key=lambda change: change.stage)),
        unchanged=tuple(unchanged),
        foreign=tuple(sorted(listed.keys() - texts.keys() - deleted - {NAME})),
        conflicts=tuple(conflicts),
        listed={path: files[path] for path in unchanged if path in files},
        manifest=manifest,
    )


def _list_parents(paths: Iterable[str]) -> set[str]:
    """List the folders above files."""
    return {path[:index] for path in paths for index, letter in enumerate(path) if letter == "/"}


def _list_below(target: Target, top: Mapping[str, Listed], parents: set[str], *, is_deep: bool) -> dict[str, Listed]:
    """List files, and folders ("x/") that were not entered, by their path below the target.

    Only the `parents` of files are entered, with `is_deep` all folders. Links are not entered.
    """
    listed: dict[str, Listed] = {}
    level: Mapping[str, Mapping[str, Listed]] = {"": top}
    while level:
        entries = {
            f"{prefix}{name}{'/' * one.is_folder}": one for prefix, names in level.items() for name, one in names.items()
        }
        folders = {path for path, one in entries.items() if one.is_folder and not one.is_link}
        entered = folders if is_deep else {path for path in folders if path[:-1] in parents}
        listed |= {path: one for path, one in entries.items() if path not in entered}
        level = map_calls(target.list_folder, entered)
    return listed


def _check_paths(texts: Iterable[str], listed: Mapping[str, Listed]) -> None:
    """Refuse to write through a link, over a folder, or below a file."""
    parents, paths = _list_parents(texts), set(texts)
    blocks = [
        path
        for path, one in listed.items()
        if (path.rstrip("/") in parents and (one.is_link or not one.is_folder))
        or (path.rstrip("/") in paths and (one.is_link or one.is_folder))
    ]
    if blocks:
        message = "\n".join(("These links, files or folders of the target block the deploy:", *sorted(blocks)))
        raise DeployError(message, HINT_LINKS)


def _is_known(path: str, text: str, manifest: Manifest, listed: Listed) -> bool:
    """Whether the manifest proves, without reading the file, that the target has this text."""
    entry = manifest.files.get(path)
    if entry is None or path in manifest.former or not entry.mtime:
        return False
    return (entry.exact, entry.size, entry.mtime) == (hash_text(text), listed.size, listed.mtime)


def _is_same(path: str, text: str, manifest: Manifest, there: str) -> bool:
    """Whether the target has this text, apart from what the server changes when it saves a text."""
    entry = manifest.files.get(path)
    return there == text or (entry is not None and (entry.exact, entry.similar) == (hash_text(text), hash_similar(there)))


def render_diff(change: FileChange) -> str:
    """Write the change of a file as a unified diff; empty when it is long."""
    before, after = (change.before or "").splitlines(), (change.after or "").splitlines()
    if len(before) + len(after) > LONGEST_COMPARED:
        return ""
    return "\n".join(difflib.unified_diff(before, after, f"a/{change.path}", f"b/{change.path}", lineterm=""))
