"""What one Airflow refuses because another calls it otherwise: the name to write instead. Pure.

Each row was seen in a usage error (tests/captures/airflow-3.2.2/cli, names that end in `_2x`) or looked up in
airflow/cli/cli_config.py of 2.10.4 and 3.2.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GONE = "Airflow 3 has no such option any more."


@dataclass(frozen=True, kw_only=True)
class _Rename:
    """An option, or a pattern of the whole refusal, and what to do about it."""

    advice: str
    commands: tuple[str, ...] = ()
    """Only of these; empty: of all."""
    options: tuple[str, ...] = ()
    """One of them is among the arguments that Airflow does not recognise."""
    pattern: str = ""


_RENAMES = (
    _Rename(
        pattern=r"`dags backfill` has been removed",
        advice="On Airflow 3 write `backfill create --dag-id DAG --from-date DATE --to-date DATE`: the scheduler then makes "
        "the runs, and the command does not wait for them.",
    ),
    _Rename(
        commands=("backfill create",),
        pattern=r"invalid choice: 'backfill'",
        advice="Airflow 2 calls this command `dags backfill`.",
    ),
    _Rename(
        commands=("dags list-runs",),
        options=("-d", "--dag-id"),
        advice="Airflow 3 takes the DAG's id without an option: `dags list-runs DAG`.",
    ),
    _Rename(
        commands=("dags list-runs",),
        pattern=r"arguments are required: -d/--dag-id",
        advice="Airflow 2 takes the DAG's id as an option: `dags list-runs -d DAG`.",
    ),
    _Rename(
        commands=("dags trigger",),
        options=("-e", "--exec-date"),
        advice="Airflow 3 calls this option `-l`, `--logical-date`.",
    ),
    _Rename(
        commands=("dags trigger",),
        options=("-l", "--logical-date"),
        advice="Airflow 2 calls this option `-e`, `--exec-date`.",
    ),
    _Rename(
        options=("-S", "--subdir"),
        advice="Airflow 3 has bundles in the place of folders: `-B`, `--bundle-name`; the DAG folder is `dags-folder`.",
    ),
    _Rename(
        options=("-B", "--bundle-name", "--local"),
        advice="Only Airflow 3 has this option. Airflow 2 has `-S`, `--subdir`, for a folder or a file.",
    ),
    _Rename(commands=("dags reserialize",), options=("--clear-only",), advice=_GONE),
    _Rename(commands=("tasks list",), options=("-t", "--tree"), advice=_GONE),
    _Rename(commands=("tasks test",), options=("-n", "--dry-run"), advice=_GONE),
)

_UNRECOGNISED = re.compile(r"unrecognized arguments: (.*)", re.DOTALL)


def advise_renamed(name: str, reason: str) -> str:
    """Name what to write instead of what Airflow refused; empty when it refused something else.

    Args:
        name: Of the command.
        reason: Airflow's usage error.
    """
    refused = _UNRECOGNISED.search(reason)
    words = refused[1].split() if refused else []
    found = [
        rename.advice
        for rename in _RENAMES
        if (not rename.commands or name in rename.commands)
        and (
            (rename.pattern and re.search(rename.pattern, reason))
            or any(word.partition("=")[0] in rename.options for word in words)
        )
    ]
    return " ".join(dict.fromkeys(found))
