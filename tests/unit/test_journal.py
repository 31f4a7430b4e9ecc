"""The sandbox's journal tells what came after a moment, whatever was on its way then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


def test_a_request_that_is_answered_late_belongs_to_when_it_came(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    slow = journal.count()
    before = journal.arrived
    first, second = journal.count(), journal.count()

    for number, kind in ((second, "second"), (slow, "slow"), (first, "first")):
        journal.write({"number": number, "kind": kind})

    assert before == 1
    assert [entry["kind"] for entry in journal.read(since=before)] == ["first", "second"]
    assert [entry["kind"] for entry in journal.read()] == ["slow", "first", "second"]
