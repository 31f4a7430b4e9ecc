"""Import errors known from before: reading them, whether an error is one of them, and which of them are gone.

An error is known by its DAG file, its exception and its message, never by its stack trace: that moves with every line above
it. What changes from one parse to the next, or from one instance to another, is taken out of the message first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from dms_airflow.core.findings import remove_changing_parts
from dms_airflow.core.inputs import InputValueError, quote_value
from dms_airflow.import_errors.parse import DagImportError

# Airflow's own name for the DAG folder, and the usual one in repositories.
_DAG_FOLDER = "dags"


# What makes two import errors the same: the DAG file's place, the exception, what is lasting of the message.
Fingerprint = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is known from before; `problem` says why it could not be read, and is "" when it could.

    `fingerprints` are those of the findings, which only a result file has.
    """

    errors: tuple[DagImportError, ...] = ()
    fingerprints: frozenset[str] = frozenset()
    problem: str = ""


class Comparison(NamedTuple):
    """The errors of now, in their order, with `new` set; and those of the baseline that are gone."""

    errors: tuple[DagImportError, ...]
    resolved: tuple[DagImportError, ...]


# --- comparing ------------------------------------------------------------------------------------------------------------


def list_fingerprints(error: DagImportError) -> tuple[Fingerprint, ...]:
    """Give each fingerprint of an error; two errors that have one in common are the same.

    There are two when the place to fix is the DAG file itself: its place in the checkout, which another instance's folders
    leave alone, and its path below the instance's DAG folder, which is known without a checkout. Where the place is a
    helper's there is only the second: another DAG file that fails by the same helper is another error.
    """
    message = _normalize(error)
    path = error.instance_path
    places = [f"instance:{f'/{path}'.partition(f'/{_DAG_FOLDER}/')[2] or path}"]
    if error.file and error.file.rpartition("/")[2] == path.rpartition("/")[2]:
        places.insert(0, f"checkout:{error.file}")
    return tuple((place, error.exception, message) for place in places)


def compare(errors: Sequence[DagImportError], known: Sequence[DagImportError]) -> Comparison:
    """Set `new`, and find what is resolved."""
    before, now = ({one for error in listed for one in list_fingerprints(error)} for listed in (known, errors))
    return Comparison(
        errors=tuple(replace(error, new=before.isdisjoint(list_fingerprints(error))) for error in errors),
        resolved=tuple(error for error in known if now.isdisjoint(list_fingerprints(error))),
    )


def _normalize(error: DagImportError) -> str:
    message = error.message
    for folder in _list_folders(error):
        message = message.replace(folder, "")
    return remove_changing_parts(message)


def _list_folders(error: DagImportError) -> Iterator[str]:
    """Give the instance's folders that a message may name and another instance has elsewhere, the deepest first."""
    names, own = error.instance_path.split("/"), (error.file or "").split("/")
    ends = zip(reversed(names), reversed(own), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1] != "", ends))
    starts = {len(names) - shared} if shared else set()
    if _DAG_FOLDER in names[:-1]:
        position = names.index(_DAG_FOLDER)
        starts |= {position, position + 1}  # Airflow's home, and the DAG folder in it
    for start in sorted(starts, reverse=True):
        folder = "/".join(names[:start])
        if folder.startswith("/"):
            yield f"{folder}/"


# --- reading --------------------------------------------------------------------------------------------------------------


def read_baseline(text: str, workspace: Path) -> Baseline:
    """Read the input `baseline`: the output `import-errors` itself, or the path of a file in the workspace with it.

    A result file of this action has it too, among its outputs.
    """
    text = text.strip()
    try:
        entries, findings = _parse(text if text.startswith(("[", "{")) else _read_file(text, workspace))
        return Baseline(
            errors=tuple(_read_entry(number, entry) for number, entry in enumerate(entries, 1)),
            fingerprints=frozenset(str(finding.get("fingerprint")) for finding in findings if isinstance(finding, dict)),
        )
    except InputValueError as error:
        return Baseline(problem=str(error))


def _read_file(name: str, workspace: Path) -> str:
    root = workspace.resolve()
    try:
        path = (root / name).resolve()
        if path.is_relative_to(root):
            return path.read_text(encoding="utf-8-sig")
        reason = "it is not in the workspace; use a path relative to the workspace"
    except OSError as error:
        reason = str(error.strerror)
    except (ValueError, RuntimeError) as error:  # it is not UTF-8; a loop of links
        reason = str(error)
    raise InputValueError(f"the file {quote_value(name)} cannot be read: {reason}")


def _parse(text: str) -> tuple[list[Any], list[Any]]:
    """Parse the import errors, and the findings where the text has them."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputValueError(f"it is not JSON: {error}") from None
    if not isinstance(content, dict):
        content = {"outputs": {"import-errors": content}}
    outputs = content.get("outputs")
    if not isinstance(outputs, dict) or "import-errors" not in outputs:
        raise InputValueError("it is neither a list of import errors nor a result file that has them")
    entries, findings = outputs["import-errors"], outputs.get("findings")
    if not isinstance(entries, list):
        raise InputValueError("it is not a list of import errors")
    return entries, findings if isinstance(findings, list) else []


def _read_entry(number: int, entry: Any) -> DagImportError:
    """Parse one error, without its `new`, which is about an older baseline, and its stack trace, which has older lines."""
    if not isinstance(entry, dict):
        raise InputValueError(f"entry {number} is not an import error")
    wrong = [name for name in ("instance_path", "exception", "message") if not isinstance(entry.get(name), str)]
    if wrong:
        raise InputValueError(f"entry {number} is not an import error: {wrong[0]} is missing or not a text")
    file, line = entry.get("file"), entry.get("line")
    return DagImportError(
        file=file if isinstance(file, str) and file else None,
        line=line if isinstance(line, int) and not isinstance(line, bool) else None,
        instance_path=entry["instance_path"],
        exception=entry["exception"],
        message=entry["message"],
        stack_trace="",
        new=False,
    )
