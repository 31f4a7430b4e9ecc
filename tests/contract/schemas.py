"""Files of GitHub's kinds against the schemas of https://www.schemastore.org, which check-jsonschema brings along."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def find_schema_problems(schema: str, *files: Path) -> str:
    """Tell what is wrong with `files`; nothing when they are valid.

    Args:
        schema: As `check-jsonschema --help` names its own, e.g. `vendor.github-workflows`.
        files: What to check.
    """
    command: list[str | Path] = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr
