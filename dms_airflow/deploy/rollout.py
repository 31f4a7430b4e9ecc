"""One deploy from the first write to the last: what it is about to do is in the manifest before it does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

from dms_airflow.core.errors import ActionError, ConflictError
from dms_airflow.core.result import Ending, Result
from dms_airflow.deploy.manifest import NAME, Entry, Manifest, hash_similar, hash_text
from dms_airflow.deploy.plan import Plan
from dms_airflow.deploy.write import FileChange

HINT_OTHER = (
    "Let only one deploy run, at a time: by `concurrency` on GitHub, `resource_group` on GitLab. The other one continues."
)


class Fate(Enum):
    """What became of a deploy: STAYS and IN_BETWEEN are not verified, and IN_BETWEEN has files of both versions."""

    NOT_BEGUN = auto()
    VERIFIED = auto()
    STAYS = auto()
    TAKEN_BACK = auto()
    IN_BETWEEN = auto()


class Outcome(NamedTuple):
    """How a deploy ended: what is in place now, and the result of the gate, or of what failed before it.

    `problems` are what could not be taken back or recorded, by path; "" if it concerns no single file.
    """

    fate: Fate
    result: Result
    problems: Mapping[str, str] = {}


class Rollout:
    """Writes the files of a plan, and brings back what was there before; the manifest has `commit` and the page `run`."""

    def __init__(self, plan: Plan, *, commit: str, run: str) -> None:
        self._plan = plan
        self._target = plan.target
        self._listed = dict(plan.listed)
        self._has_begun = False
        written = {path: [*hashes] for path, hashes in plan.manifest.written.items()}
        for change in plan.changes:
            if change.after is not None:
                written.setdefault(change.path, []).append(hash_similar(change.after))
        former = {**{change.path: change.before for change in plan.changes}, **plan.manifest.former}
        self._pending = replace(plan.manifest, written=written, former=former, commit=commit, run=run)
        self._text = self._pending.render()

    def run(self, publish: Callable[[], None], verify: Callable[[], Result], *, may_take_back: bool) -> Outcome:
        """Write, publish, verify, and take back a deploy that fails.

        A verdict that time ran out proves nothing, as does one that cannot be found: the new version stays then.
        """
        has_published = False
        try:
            self._write()
            has_published = True
            publish()
        except ActionError as error:
            result = error.to_result()
        else:
            try:
                result = verify()
            except ActionError as error:
                return Outcome(Fate.STAYS, error.to_result())
            if result.ending is Ending.SUCCESS:
                return Outcome(Fate.VERIFIED, result, _collect_problem(self._finish))
            if result.ending is Ending.TIMEOUT:
                return Outcome(Fate.STAYS, result)
        if not self._has_begun:
            return Outcome(Fate.NOT_BEGUN, result)
        if not may_take_back:
            return Outcome(Fate.STAYS if has_published else Fate.IN_BETWEEN, result)
        problems = self._restore()
        if has_published and "" not in problems:
            problems |= _collect_problem(publish, "Publishing the former files failed: ")
        fate = Fate.IN_BETWEEN if problems else Fate.TAKEN_BACK
        return Outcome(fate, result, problems or _collect_problem(self._close))

    def _write(self) -> None:
        """Write the manifest, then the files."""
        found = self._plan.manifest
        self._target.apply(FileChange(NAME, found.text, self._text, found.mtime))
        self._has_begun = True
        self._listed |= self._target.apply_all(self._plan.changes)
        self._check_alone()

    def _finish(self) -> None:
        """Note in the manifest that this version is verified."""
        files: dict[str, Entry] = {}
        for path, text in self._plan.texts.items():
            listed = self._listed.get(path)
            size, mtime = (listed.size, listed.mtime) if listed else (-1, "")
            files[path] = Entry(hash_text(text), hash_similar(text), size, mtime)
        verified = Manifest(files=files, commit=self._pending.commit, run=self._pending.run)
        self._target.apply(FileChange(NAME, self._text, verified.render()))

    def _restore(self) -> dict[str, str]:
        """Write back the former files, also those that interrupted deploys before this one changed; return problems by path."""
        before = {change.path: change.before for change in self._plan.changes}
        if problems := _collect_problem(self._check_alone):
            return problems
        return self._target.restore(
            self._pending.former, lambda path, text: text == before.get(path) or self._pending.owns(path, text)
        )

    def _close(self) -> None:
        """Record in the manifest that everything was restored and published."""
        found = self._plan.manifest
        verified = Manifest(files=found.files).render() if found.files else None
        self._target.apply(FileChange(NAME, self._text, verified if found.is_pending else found.text))

    def _check_alone(self) -> None:
        text, _ = self._target.read(NAME)
        if hash_similar(text) != hash_similar(self._text):
            raise ConflictError(
                "Another deploy has started to write to the same folder: the manifest there is not from this deploy.",
                HINT_OTHER,
            )


def _collect_problem(act: Callable[[], object], what: str = "") -> dict[str, str]:
    try:
        act()
    except ActionError as error:
        return {"": f"{what}{error.message} {error.hint}".strip()}
    return {}
