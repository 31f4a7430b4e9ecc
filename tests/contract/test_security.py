"""The threat model speaks of every input, and names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")


def test_of_each_input_it_is_said_whether_strangers_may_write_it() -> None:
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| (?:yes|no) \| \S.* \|$", TEXT)

    assert rows == list(yaml.safe_load((PROJECT / "action.yml").read_text(encoding="utf-8"))["inputs"])


def test_the_tests_that_it_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w./]+)`", TEXT)

    assert len(named) >= 6
    assert [name for name in named if not (PROJECT / name).exists()] == []
