"""Writes the generated tables of the documentation from action.yml: `make docs`; with `--check` it only tells what is stale.

A table stands between `<!-- inputs -->` and `<!-- end inputs -->`, and the same for `outputs`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md",)


class MarkerError(ValueError):
    """A document lacks the markers of a table, or has them twice or crossed."""


def document(text: str, action: Mapping[str, Any]) -> str:
    """Give the document with its tables made anew.

    Args:
        text: The document.
        action: What action.yml holds.

    Raises:
        MarkerError: There is not exactly one place for each table.
    """
    text = _fill(text, "inputs", _tabulate_inputs(action["inputs"]))
    return _fill(text, "outputs", _tabulate_outputs(action["outputs"]))


def _fill(text: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise MarkerError(f"needs {begin} once and, behind it, {end} once")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def _tabulate_inputs(inputs: Mapping[str, Any]) -> str:
    lines = ["| input | default | meaning |", "|---|---|---|"]
    for name, declared in inputs.items():
        default = f"`{declared['default']}`" if "default" in declared else ""
        required = "Required. " if declared.get("required") else ""
        lines.append(f"| `{name}` | {default} | {required}{_flatten(declared['description'])} |")
    return "\n".join(lines)


def _tabulate_outputs(outputs: Mapping[str, Any]) -> str:
    lines = ["| output | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_flatten(declared['description'])} |" for name, declared in outputs.items()]
    return "\n".join(lines)


def _flatten(description: str) -> str:
    """Write a description as one table cell. Outside of backticks, `<region>` would be an HTML tag."""
    flat = " ".join(description.split()).replace("|", "\\|")
    parts = re.split(r"(`[^`]*`)", flat)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Write the tables, or check them.

    Returns:
        The exit status: 1 when `--check` finds a stale document.
    """
    parser = argparse.ArgumentParser(description="Write the generated tables of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; name what is stale and end with 1")
    options = parser.parse_args(arguments)
    action = yaml.safe_load((root / "action.yml").read_text(encoding="utf-8"))
    stale = []
    for name in DOCUMENTS:
        path = root / name
        text = path.read_text(encoding="utf-8")
        current = document(text, action)
        if current == text:
            continue
        stale.append(name)
        if not options.check:
            path.write_text(current, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale; run: make docs" if options.check else f"{name} written")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
