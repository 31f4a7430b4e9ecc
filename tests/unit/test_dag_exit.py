"""The line by which a DAG file ends Python when it is imported."""

from __future__ import annotations

import pytest

from dms_airflow.checkout.dag_source import find_exit


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import sys\n\nsys.exit(1)\n", 3),
        ("import sys\nif sys.argv:\n    sys.exit('no')\n", 3),
        ("raise SystemExit\n", 1),
        ("raise SystemExit(2)\n", 1),
        ("import os\nos._exit(0)\n", 2),
        ("exit()\n", 1),
        ("import sys\n\ndef f():\n    sys.exit()\n", None),  # not when it is imported
        ("import sys\n\ndef f():\n    sys.exit()\n\nsys.exit()\n", 6),
        ("import sys\nif x:\n    sys.exit(1)\nelse:\n    sys.exit(2)\n", None),
        ("import sys\n", None),
        ("x = = 1\n", None),
    ],
)
def test_the_line_that_ends_python(source: str, line: int | None) -> None:
    assert find_exit(source.encode()) == line
