"""One deploy from the first write to the last: what it is about to do is in the manifest before it does it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from dms_airflow.core.errors import ActionError, ConflictError
from dms_airflow.core.result import Ending, Result
from dms_airflow.deploy.manifest import NAME, Entry, Manifest, hash_similar, is_similar
from dms_airflow.deploy.plan import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.deploy.plan import Plan
    from dms_airflow.deploy.workspace import Listed
    from dms_airflow.deploy.write import Writer

HINT_OTHER = (
    "Two deploys at once: let only one run, by a concurrency group in the workflow. The other one goes on from here, and can "
    "take back both."
)


class Fate(Enum):
    """What became of a deploy."""

    NOT_BEGUN = auto()
    """Nothing was written."""
    VERIFIED = auto()
    STAYS = auto()
    """The new version is in place, and not verified."""
    TAKEN_BACK = auto()
    IN_BETWEEN = auto()
    """Some files are of the new version, some of the former."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a deploy ended.

    Args:
        fate: What is in place now.
        result: Of the gate; or of what failed before it.
        problems: What could not be taken back, or noted, by its path; "" for what concerns no single file.
    """

    fate: Fate
    result: Result
    problems: Mapping[str, str] = field(default_factory=dict)


def roll_out(rollout: Rollout, *, publish: Callable[[], None], verify: Callable[[], Result], may_take_back: bool) -> Outcome:
    """Write, publish, verify, and take back what does not pass.

    A verdict that time ran out proves nothing, as does one that cannot be found: the new version stays then.
    """
    has_published = False
    try:
        rollout.write()
        has_published = True
        publish()
    except ActionError as error:
        result = error.to_result()
    else:
        try:
            result = verify()
        except ActionError as error:
            return Outcome(fate=Fate.STAYS, result=error.to_result())
        if result.ending is Ending.SUCCESS:
            return Outcome(fate=Fate.VERIFIED, result=result, problems=_try_to(rollout.finish))
        if result.ending is Ending.TIMEOUT:
            return Outcome(fate=Fate.STAYS, result=result)
    if not rollout.has_begun or not may_take_back:
        stays = Fate.STAYS if has_published else Fate.IN_BETWEEN
        return Outcome(fate=stays if rollout.has_begun else Fate.NOT_BEGUN, result=result)
    return _take_back(rollout, result, publish if has_published else None)


def _take_back(rollout: Rollout, result: Result, publish: Callable[[], None] | None) -> Outcome:
    problems: dict[str, str] = {}
    problems |= _try_to(lambda: problems.update(rollout.restore()))
    if publish and "" not in problems:
        problems |= _try_to(publish, "Publishing the former files failed: ")
    if not problems:
        return Outcome(fate=Fate.TAKEN_BACK, result=result, problems=_try_to(rollout.close))
    return Outcome(fate=Fate.IN_BETWEEN, result=result, problems=problems)


def _try_to(act: Callable[[], object], what: str = "") -> dict[str, str]:
    try:
        act()
    except ActionError as error:
        return {"": f"{what}{error.message} {error.hint}".strip()}
    return {}


class Rollout:
    """Writes the files of a plan, and brings back what was there before.

    Args:
        plan: What to write.
        texts: The checkout's files.
        writer: Writes them.
        commit: Of the checkout.
        run: Page of this run.
    """

    def __init__(self, plan: Plan, texts: Mapping[str, str], writer: Writer, *, commit: str, run: str) -> None:
        self._plan = plan
        self._texts = texts
        self._writer = writer
        self._listed: dict[str, Listed] = dict(plan.listed)
        found, changes = plan.found.manifest, plan.changes
        written = {change.path: (hash_similar(change.after),) for change in changes if change.after is not None}
        self.pending = Manifest(
            files=found.files,
            commit=found.commit,
            next_commit=commit,
            run=run,
            is_pending=True,
            written={path: (*found.written.get(path, ()), *written.get(path, ())) for path in {**found.written, **written}},
            former={**{change.path: change.before for change in changes}, **found.former},
        )
        self._text = self.pending.render()
        self.has_begun = False
        """Whether anything was written."""

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to write, publish or verify since the last verified deploy."""
        return bool(self._plan.changes or self._plan.found.manifest.is_pending)

    def write(self) -> None:
        """Write the manifest, then the files.

        Raises:
            ActionError: The first failure. `take_back` undoes what was done.
        """
        found = self._plan.found
        self._writer.apply(Change(NAME, found.text, self._text, found.mtime))
        self.has_begun = True
        self._listed |= self._writer.apply_all(self._plan.changes)
        self._check_alone()

    def finish(self) -> None:
        """Note in the manifest that this version is verified.

        Raises:
            ActionError: That failed; the files are in place.
        """
        files = {
            path: Entry.of(text, size=self._listed[path].size, mtime=self._listed[path].mtime)
            if path in self._listed
            else Entry.of(text)
            for path, text in self._texts.items()
        }
        verified = replace(self.pending, files=files, commit=self.pending.next_commit, next_commit="", is_pending=False)
        self._writer.apply(Change(NAME, self._text, verified.render()))

    def restore(self) -> dict[str, str]:
        """Write back the former files, also those that interrupted deploys before this one changed.

        Returns:
            Why a file could not be restored, by its path.

        Raises:
            ConflictError: Another deploy has begun.
            ActionError: The manifest could not be read.
        """
        self._check_alone()
        found = self._plan.found.manifest
        before = {change.path: change.before for change in self._plan.changes}
        return self._writer.restore(
            self.pending.former,
            lambda path, text: text == before.get(path) or self.pending.owns(path, text) or found.owns(path, text),
        )

    def close(self) -> None:
        """After everything was restored and published: let the manifest say so, too."""
        found = self._plan.found
        text = found.text
        if found.manifest.is_pending:
            verified = replace(found.manifest, next_commit="", is_pending=False)
            text = verified.render() if verified.files else None
        self._writer.apply(Change(NAME, self._text, text))

    def _check_alone(self) -> None:
        text, _ = self._writer.read(NAME)
        if text is None or not is_similar(text, self._text):
            raise ConflictError(
                "Another deploy has begun to write the same folder: the manifest there is not ours.", HINT_OTHER
            )
