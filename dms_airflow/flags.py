"""The command line of `dms-airflow`: one option for each input; it sets the input's variable for this run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dms_airflow import __version__
from dms_airflow.config import Config
from dms_airflow.core.contract import GROUPS, INPUTS
from dms_airflow.core.inputs import list_inputs, list_variables
from dms_airflow.operations import OPERATIONS

USAGE = "dms-airflow OPERATION [ARGUMENTS ...] [--input value ...] [-- OPTIONS OF THE AIRFLOW COMMAND ...]"
EPILOG = """
Each input can also be a variable, in capitals: DMS_AIRFLOW_INSTANCE_ID. Secrets are never options, which other users of
the machine see: export DMS_AIRFLOW_ACCESS_KEY_ID and DMS_AIRFLOW_ACCESS_KEY_SECRET (or the ALIBABA_CLOUD_* variables), or
give files that hold them; "-" is stdin.

  dms-airflow doctor --region cn-hangzhou --instance-id af-1a2b3c
  dms-airflow dags trigger daily_etl --conf '{"day": "2026-01-31"}' --wait-for-completion
  dms-airflow dags list -- --output json

Exit codes: 0 done, 1 failed or timed out, 2 wrong inputs, 130 cancelled.
"""

SECRETS = {name for name, source in list_inputs(Config).items() if source.secret}

# What joins the words of `arguments`; those of an Airflow command are quoted.
_SEPARATORS = {"cli": "\n", "rest": " ", "smoke-test": " ", "doctor": " "}


def make_parser() -> argparse.ArgumentParser:
    """Make the parser: an option for each input, by groups."""
    parser = argparse.ArgumentParser(
        prog="dms-airflow",
        usage=USAGE,
        description="Run Airflow commands and REST calls, deploys and checks on an Airflow instance of Alibaba Cloud DMS.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="OPERATION [ARGUMENTS]", help=_describe("operation"))
    parser.add_argument("--json", action="store_true", help="write the whole result as JSON to stdout, and the log to stderr")
    parser.add_argument("--version", action="version", version=f"dms-airflow {__version__}")
    for title, inputs in GROUPS.items():
        if title == "Operation":
            continue
        group = parser.add_argument_group(title)
        for name in inputs:
            if name in SECRETS:
                described = f"File with it. {_describe(name)}"
                group.add_argument(f"--{name}-file", dest=name, type=_read_secret, metavar="PATH", help=described)
            elif inputs[name].default in ("true", "false"):
                group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=_describe(name))
            else:
                group.add_argument(f"--{name}", metavar="VALUE", help=_describe(name))
    return parser


def parse_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], bool]:
    """Parse the command line, or end the process with what is wrong with it.

    Returns:
        The variables that it amounts to, and whether the result goes to stdout as JSON.
    """
    parser = make_parser()
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, unknown = parser.parse_known_intermixed_args(arguments[:end])
    if unknown:
        option = unknown[0].partition("=")[0]
        if (name := option.removeprefix("--")) in SECRETS:
            parser.error(f"{option} is a secret, and no option: set {list_variables(name)[0]}, or give {option}-file PATH")
        parser.error(
            f"unknown option {option}; options of the Airflow command come after --, as in: dags list -- --output json"
        )
    found = vars(options)
    is_json, operation, words = found.pop("json"), *_split_operation([*found.pop("words"), *arguments[end + 1 :]])
    switches = {True: "true", False: "false"}
    values = {name.replace("_", "-"): switches.get(one, one) for name, one in found.items() if one is not None}
    values |= {"operation": operation} if operation else {}
    values |= {"arguments": (_SEPARATORS[operation].join if operation in _SEPARATORS else shlex.join)(words)} if words else {}
    return {list_variables(name)[0]: text for name, text in values.items()}, is_json


def _split_operation(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Split words into the operation, which may have two, and its arguments."""
    two = " ".join(words[:2])
    is_group = any(name.startswith(f"{words[0]} ") for name in OPERATIONS) if words else False
    return (two, words[2:]) if two in OPERATIONS or is_group else ("".join(words[:1]), words[1:])


def _read_secret(path: str) -> str:
    try:
        return (sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from None


def _describe(name: str) -> str:
    declared = INPUTS[name]
    default = f" Default: {declared.default}." if declared.default else ""
    # argparse fills in what follows a percent sign.
    return f"{declared.meaning}{default}".replace("%", "%%").replace("`", "")
