"""Writes what is generated of the documentation: `make docs`; with `--check` it only tells what is stale.

The inputs of action.yml come from dms_airflow/core/contract.py, and so do those of docs/reference.md, between `<!-- inputs -->`
and `<!-- end inputs -->`; its outputs come from action.yml. CONTRIBUTING's table of packages comes from the import rules in
pyproject.toml and the packages' docstrings.
docs/development/faults.md comes from tests/faults.py, by which the tests judge.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from dms_airflow.core.contract import GROUPS, INPUTS, Input  # noqa: E402 - a script has only its own folder on the path
from tests.faults import CELLS, FAULTS, STAGES  # noqa: E402 - a script has only its own folder on the path

_INDENT: dict[str, Any] = {
    **dict.fromkeys(("initial_indent", "subsequent_indent"), " " * 6),
    **dict.fromkeys(("break_long_words", "break_on_hyphens"), False),
}

REFERENCE_PAGE = "docs/reference.md"
FAULTS_PAGE = "docs/development/faults.md"

FAULTS_HEAD = """\
# What happens when something goes wrong on the way

Made by `make docs` from `tests/faults.py`; each line is tested (`tests/integration/test_faults.py`).

A step goes through stages. For each stage the table says what the step does when one of its requests meets a fault, and what
when all of them do. Bold is the title of the one error that the step ends with; [Troubleshooting](../troubleshooting.md) says
what to do then. Nothing that changes something is done twice, and a success is reported only of what was done.

The pauses between tries are 1, 2, 4 and 8 seconds, or what `Retry-After` says. If the time that a request may take is over
after the first try, there is no second one. Which requests are sent again, and why:
[What is sent again, and what never](../architecture.md#what-is-sent-again-and-what-never).
"""

# What a stage has of its own.
NOTES = {
    "id-token": (
        "For a step with `role-to-assume`. It may take 30 seconds. No try begins after a minute. Each try to assume the role "
        "has a new id-token."
    ),
    "STS": (
        "For a step with `role-to-assume`. It may take 10 seconds. No try begins after a minute. A second request does no "
        "harm: keys that nobody received are of no use to anybody, and expire."
    ),
    "AssumeRole": (
        "It may take 10 seconds. No try begins after a minute. As with the other way to a role, a second request does no harm."
    ),
    "metadata": (
        "For a runner that is an ECS instance with a RAM role: its request for the role's keys. It may take 10 seconds. "
        "Reading changes nothing, so that it is sent again whatever was lost. The server has an address, no name, and no TLS."
    ),
    "token": (
        "It may take 30 seconds. No try begins after a minute. A fault after the request was sent counts as not reached: "
        "a second request does no harm."
    ),
    "login": (
        "It may take 30 seconds. Each try has a new token. Only status, target and cookie of the response count, so "
        "that its body may be anything."
    ),
    "command that reads": "In this table `timeout` is 120 seconds.",
    "command that changes": (
        "In this table `timeout` is 120 seconds. After any fault that leaves open whether it happened, it is not sent again."
    ),
    "REST read": "`timeout` is 60 seconds when it is empty. An empty body is an answer.",
    "REST write": (
        "`timeout` is 60 seconds when it is empty. After any fault that leaves open whether it happened, it is not sent again."
    ),
    "trigger": "After a fault that leaves open whether the DAG run was created, the action searches for it by its run id.",
    "poll": (
        "In this table one poll each 30 seconds, for five minutes. An error that is not transient ends the wait after two "
        "minutes."
    ),
    "log": "The run has failed, and the step fails with **Task failed** in any case.",
}


class MarkerError(ValueError):
    """A document lacks the markers of a table, or has them twice or crossed."""


def write_inputs(action: str) -> str:
    """Give the text of action.yml with its inputs as the contract has them."""
    lines = ["inputs:"]
    for name, declared in INPUTS.items():
        lines += [f"  {name}:", "    description: >-", textwrap.fill(declared.meaning, 124, **_INDENT)]
        lines += ["    required: true"] if declared.required else []
        lines += [f"    default: {json.dumps(declared.default)}"] if declared.default else []
    before, _, rest = action.partition("\ninputs:\n")
    return "\n".join([before, *lines, "", f"outputs:{rest.partition(chr(10) + 'outputs:')[2]}"])


def document(text: str, groups: Mapping[str, Mapping[str, Input]], outputs: Mapping[str, Any]) -> str:
    """Return the document with its tables filled in.

    Args:
        text: The document.
        groups: The inputs, by the headings that they are shown under.
        outputs: What action.yml says of the outputs.

    Raises:
        MarkerError: There is not exactly one place for each table.
    """
    text = _fill(text, "inputs", "\n\n".join(_tabulate_inputs(heading, inputs) for heading, inputs in groups.items()))
    return _fill(text, "outputs", _tabulate_outputs(outputs))


def _fill(text: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise MarkerError(f"needs {begin} once and, behind it, {end} once")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"


def describe_faults() -> str:
    """Write the page of faults: a table for each stage."""
    parts = [FAULTS_HEAD]
    for stage, name in STAGES.items():
        cells = {words: CELLS[fault][stage] for fault, words in FAULTS.items()}
        rows = (
            f"| {words} | {_describe_ending(cell.once, stage)} | {_describe_ending(cell.always, stage)} |"
            for words, cell in cells.items()
        )
        table = "\n".join(["| fault | once | each time |", "|---|---|---|", *rows])
        parts.append(f"## {name[0].upper()}{name[1:]}\n\n{NOTES[stage]}\n\n{table}\n")
    return "\n".join(parts)


def _describe_ending(cell: str, stage: str) -> str:
    """Write an ending in words: `done 2`, `Answer lost 1`; empty where the fault cannot be."""
    if not cell:
        return "cannot be"
    ending, _, count = cell.rpartition(" ")
    again = f", {count} requests" if count != "1" else ""
    if ending == "done":
        if stage == "poll":
            return "continues to wait"
        return f"done{again}"
    if ending in ("log not read", "told as it came"):
        words = {"log not read": "reported without its log", "told as it came": "the log as it came"}
        return f"{words[ending]}{again}"
    return f"**{ending}**{f' after {count} requests' if stage == 'poll' else again}"


def _tabulate_inputs(heading: str, inputs: Mapping[str, Input]) -> str:
    lines = [f"### {heading}", "", "| input | default | meaning |", "|---|---|---|"]
    for name, declared in inputs.items():
        default = f"`{declared.default}`" if declared.default else ""
        required = "Required. " if declared.required else ""
        lines.append(f"| `{name}` | {default} | {required}{_flatten(declared.meaning)} |")
    return "\n".join(lines)


def _tabulate_outputs(outputs: Mapping[str, Any]) -> str:
    lines = ["| output | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_flatten(declared['description'])} |" for name, declared in outputs.items()]
    return "\n".join(lines)


def tabulate_packages(root: Path) -> str:
    """Write the table of the packages: the sentence of each, and what it may import by pyproject.toml's import rules."""
    rules = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = [[one.strip() for one in layer.split("|")] for layer in rules[0]["layers"]]
    lines = ["| package | what it does | may import |", "|---|---|---|"]
    for depth, layer in enumerate(layers):
        for package in layer:
            folder = root / "dms_airflow" / package
            file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            sentence = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            below = [one for lower in layers[depth + 1 :] for one in lower]
            allowed = [f"`{one}`" for one in below if not _is_forbidden(package, one, rules)]
            lines.append(f"| `{package}` | {sentence} | {', '.join(allowed) or 'nothing of ours'} |")
    return "\n".join(lines)


def _is_forbidden(package: str, other: str, rules: Sequence[Mapping[str, Any]]) -> bool:
    return any(
        f"dms_airflow.{package}" in rule["source_modules"] and f"dms_airflow.{other}" in rule["forbidden_modules"]
        for rule in rules
        if rule["type"] == "forbidden"
    )


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
    action, reference, contributing = root / "action.yml", root / REFERENCE_PAGE, root / "CONTRIBUTING.md"
    outputs = yaml.safe_load(action.read_text(encoding="utf-8"))["outputs"]
    pages = {
        action: write_inputs(action.read_text(encoding="utf-8")),
        reference: document(reference.read_text(encoding="utf-8"), GROUPS, outputs),
        contributing: _fill(contributing.read_text(encoding="utf-8"), "packages", tabulate_packages(root)),
        root / FAULTS_PAGE: describe_faults(),
    }
    stale = []
    for path, current in pages.items():
        if path.exists() and path.read_text(encoding="utf-8") == current:
            continue
        stale.append(path.relative_to(root).as_posix())
        if not options.check:
            path.write_text(current, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale; run: make docs" if options.check else f"{name} written")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
