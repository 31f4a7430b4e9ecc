"""What fuzzing found once is found no more, and its seeds are no findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.harness import check

FINDINGS = sorted((Path(__file__).parents[1] / "fuzz" / "findings").iterdir())


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda file: file.name)
def test_a_finding_is_mended(finding: Path, tmp_path: Path) -> None:
    check(finding.read_bytes(), tmp_path)
