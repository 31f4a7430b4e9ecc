"""One deploy from the first write to the last: what it is about to do is in the manifest before it does it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from dms_airflow.core.errors import ActionError, ConflictError
from dms_airflow.core.result import Ending, Result
from dms_airflow.deploy.manifest import NAME, Entry, Manifest, hash_similar, hash_text
from dms_airflow.deploy.write import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dms_airflow.deploy.plan import Plan
    from dms_airflow.deploy.write import Writer

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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a deploy ended.

    Args:
        fate: What is in place now.
        result: Of the gate; or of what failed before it.
        problems: What could not be taken back or recorded, by path; "" if it concerns no single file.
    """

    fate: Fate
    result: Result
    problems: Mapping[str, str] = field(default_factory=dict)


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
        self._listed = dict(plan.listed)
        self._has_begun = False
        found, changes = plan.manifest, plan.changes
        written = {change.path: (hash_similar(change.after),) for change in changes if change.after is not None}
        self._pending = replace(
            found,
            next_commit=commit,
            run=run,
            is_pending=True,
            written={path: (*found.written.get(path, ()), *written.get(path, ())) for path in {**found.written, **written}},
            former={**{change.path: change.before for change in changes}, **found.former},
        )
        self._text = self._pending.render()

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to write, publish or verify since the last verified deploy."""
        return bool(self._plan.changes or self._plan.manifest.is_pending)

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
                return Outcome(fate=Fate.STAYS, result=error.to_result())
            if result.ending is Ending.SUCCESS:
                return Outcome(fate=Fate.VERIFIED, result=result, problems=_try_to(self._finish))
            if result.ending is Ending.TIMEOUT:
                return Outcome(fate=Fate.STAYS, result=result)
        if self._has_begun and may_take_back:
            return self._take_back(result, publish if has_published else None)
        stays = Fate.STAYS if has_published else Fate.IN_BETWEEN
        return Outcome(fate=stays if self._has_begun else Fate.NOT_BEGUN, result=result)

    def _write(self) -> None:
        """Write the manifest, then the files."""
        self._writer.apply(Change(NAME, self._plan.manifest.text, self._text, self._plan.manifest.mtime))
        self._has_begun = True
        self._listed |= self._writer.apply_all(self._plan.changes)
        self._check_alone()

    def _finish(self) -> None:
        """Note in the manifest that this version is verified."""
        files = {
            path: Entry(
                exact=hash_text(text), similar=hash_similar(text), size=one.size if one else -1, mtime=one.mtime if one else ""
            )
            for path, text in self._texts.items()
            for one in [self._listed.get(path)]
        }
        verified = Manifest(files=files, commit=self._pending.next_commit, run=self._pending.run)
        self._writer.apply(Change(NAME, self._text, verified.render()))

    def _take_back(self, result: Result, publish: Callable[[], None] | None) -> Outcome:
        problems: dict[str, str] = {}
        problems |= _try_to(lambda: problems.update(self._restore()))
        if publish and "" not in problems:
            problems |= _try_to(publish, "Publishing the former files failed: ")
        if not problems:
            return Outcome(fate=Fate.TAKEN_BACK, result=result, problems=_try_to(self._close))
        return Outcome(fate=Fate.IN_BETWEEN, result=result, problems=problems)

    def _restore(self) -> dict[str, str]:
        """Write back the former files, also those that interrupted deploys before this one changed."""
        self._check_alone()
        before = {change.path: change.before for change in self._plan.changes}
        return self._writer.restore(
            self._pending.former, lambda path, text: text == before.get(path) or self._pending.owns(path, text)
        )

    def _close(self) -> None:
        """Record in the manifest that everything was restored and published."""
        found = self._plan.manifest
        text = found.text
        if found.is_pending:
            text = Manifest(files=found.files, commit=found.commit, run=found.run).render() if found.files else None
        self._writer.apply(Change(NAME, self._text, text))

    def _check_alone(self) -> None:
        text, _ = self._writer.read(NAME)
        if hash_similar(text or "") != hash_similar(self._text):
            raise ConflictError(
                "Another deploy has started to write to the same folder: the manifest there is not from this deploy.",
                HINT_OTHER,
            )


def _try_to(act: Callable[[], object], what: str = "") -> dict[str, str]:
    try:
        act()
    except ActionError as error:
        return {"": f"{what}{error.message} {error.hint}".strip()}
    return {}
