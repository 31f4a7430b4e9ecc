"""Result → the comment of a pull request, which carries its own former states in a hidden mark. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from dms_airflow.ci.summary import Writer, describe_step, tabulate
from dms_airflow.core.result import Ending, Link, Result, Table
from dms_airflow.core.text import count, cut_middle, first_line

if TYPE_CHECKING:
    from dms_airflow.config import Config


# GitHub takes 65,535 characters, and no character is shorter than a byte. The rest is for the former states and the mark, which
# are never cut, and for what the tables say of rows that were left out.
ROOM = 56_000  # bytes
LONGEST_MESSAGE = 2000  # bytes of an annotation, which are up to six times as many when they are escaped

MOST_STATES = 11  # the last one, and ten older ones
MOST_COMPARABLE = 2  # states whose findings are kept: a job that is run again is compared with the commit before
MOST_FINDINGS = 400  # kept of a state; with more, nothing is compared
ID_LENGTH = 8  # characters that are kept of a fingerprint

_ENDINGS = {one.status: one for one in (Ending.TIMEOUT, Ending.FAILURE, Ending.SUCCESS)}
_STATE = re.compile(rf"([0-9a-f]{{7}}):({'|'.join(_ENDINGS)}):([0-9]{{1,9}}):(\?|[0-9a-f]*)")
_MARK = re.compile(r"^<!-- dms-airflow (?P<key>[0-9a-f]{32}) (?P<states>[^<>\n]*) -->\s*\Z", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class State:
    """What a step found at a commit: of each finding the beginning of its fingerprint; None where that is not known."""

    commit: str
    ending: Ending
    total: int
    ids: frozenset[str] | None

    @classmethod
    def of(cls, result: Result, commit: str) -> Self:
        """Take from a result what a later comment needs to know of it."""
        shown = [one for one in result.findings or () if one.is_shown]
        is_known = result.findings is not None and len(shown) <= MOST_FINDINGS
        ids = frozenset(one.fingerprint[:ID_LENGTH] for one in shown) if is_known else None
        return cls(commit=commit[:7], ending=result.ending, total=len(shown), ids=ids)

    def write(self, *, is_comparable: bool) -> str:
        """Write it for the mark, in characters that do not end an HTML comment."""
        ids = "?" if self.ids is None or not is_comparable else "".join(sorted(self.ids))
        return f"{self.commit}:{self.ending.status}:{self.total}:{ids}"


def make_key(config: Config) -> str:
    """Make the name of the comment: there is one for each instance and operation."""
    return sha256(f"{config.operation}\0{config.instance_id}".encode("utf-8", "replace")).hexdigest()[:32]


def parse_states(body: str, key: str) -> list[State] | None:
    """Parse the states that a comment carries, the last one first; None where it does not end with this mark."""
    match = _MARK.search(body)
    if match is None or match["key"] != key:
        return None
    states = []
    for commit, status, total, ids in _STATE.findall(match["states"]):
        known = None if ids == "?" else frozenset(re.findall("." * ID_LENGTH, ids))
        states.append(State(commit=commit, ending=_ENDINGS[status], total=int(total), ids=known))
    return states[:MOST_STATES]


def render_comment(
    result: Result,
    config: Config,
    commit: str,
    states: Sequence[State],
    *,
    redact: Callable[[str], str],
    name_page: Callable[[str | None, int | None], str],
    run_url: str,
) -> str:
    """Write the comment as Markdown in which no text of the result has a meaning of its own.

    `commit` is the head of the pull request, `states` what the comment carries, the last one first; `redact` takes secrets out
    of a text, `name_page` gives the URL of a file and of a line in it at the head, or nothing.
    """
    now = State.of(result, commit)
    # A job that is run again takes the place of its former run.
    older = [one for one in states if one.commit != now.commit][: MOST_STATES - 1]
    writer = Writer(redact, ROOM)
    is_fixed = result.ending is Ending.SUCCESS and bool(older) and older[0].ending is not Ending.SUCCESS
    verdict = f"Fixed by <code>{now.commit}</code>" if is_fixed else result.ending.words
    page = f" {writer.cell(Link(text='Job', url=run_url))}" if run_url else ""
    writer.add(
        f"### {result.ending.mark} {verdict}: {writer.cell(cut_middle(first_line(result.headline), 500))}\n\n"
        f"{writer.cell(config.operation)} on {writer.cell(config.instance_id)} at <code>{now.commit}</code>. "
        f"{describe_step(result, config, writer)}{page}\n\n"
    )
    changes, new = _compare(now, older)
    writer.add(changes)
    findings = [
        replace(one, message=f"(new) {one.message}") if one.fingerprint[:ID_LENGTH] in new else one
        for one in result.findings or ()
    ]
    annotations = [replace(one, message=cut_middle(one.message, LONGEST_MESSAGE)) for one in result.annotations]
    writer.add_annotations(annotations, ROOM // 2)
    for table in (*tabulate(findings, name_page), *result.blocks):
        if isinstance(table, Table) and not table.is_detail:
            writer.add_block(table)
    lines = [f"- {one.ending.mark} <code>{one.commit}</code>: {count(one.total, 'finding')}\n" for one in older]
    history = f"<details><summary>Before</summary>\n\n{''.join(lines)}\n</details>\n\n" if lines else ""
    carried = " ".join(one.write(is_comparable=at < MOST_COMPARABLE) for at, one in enumerate((now, *older)))
    return f"{writer.finish()}{history}<!-- dms-airflow {make_key(config)} {carried} -->\n"


def _compare(now: State, older: Sequence[State]) -> tuple[str, frozenset[str]]:
    """Say what changed since the last state whose findings are known, and give the ids that are new among others."""
    before = next((one for one in older if one.ids is not None), None)
    if before is None or before.ids is None or now.ids is None:
        return "", frozenset()
    new, fixed = now.ids - before.ids, before.ids - now.ids
    changes = ", ".join(f"{len(ids)} {word}" for ids, word in ((fixed, "fixed"), (new, "new")) if ids)
    text = f"{changes or 'No finding is new or fixed'} since <code>{before.commit}</code>.\n\n"
    return text, new if before.ids else frozenset()
