"""What one Airflow refuses because another calls it otherwise: the name to write instead. Pure.

Each row was seen in a usage error (tests/captures/airflow-3.2.2/cli, names that end in `_2x`) or looked up in
airflow/cli/cli_config.py of 2.10.4 and 3.2.2.
"""

from __future__ import annotations

import re


def _refused(*options: str) -> str:
    """Make the pattern of Airflow's words for an option that it does not have."""
    return rf"unrecognized arguments:(?s:.*)\s(?:{'|'.join(options)})(?:[=\s]|$)"


_GONE = "Airflow 3 has no such option any more."

# The command (empty: any), a pattern of the refusal, and what to do about it.
_RENAMES = (
    (
        "",
        r"`dags backfill` has been removed",
        (
            "On Airflow 3 write `backfill create --dag-id DAG --from-date DATE --to-date DATE`: the scheduler then makes the "
            "runs, and the command does not wait for them."
        ),
    ),
    ("backfill create", r"invalid choice: 'backfill'", "Airflow 2 calls this command `dags backfill`."),
    (
        "dags list-runs",
        _refused("-d", "--dag-id"),
        "Airflow 3 takes the DAG's id without an option: `dags list-runs DAG`.",
    ),
    (
        "dags list-runs",
        r"arguments are required: -d/--dag-id",
        "Airflow 2 takes the DAG's id as an option: `dags list-runs -d DAG`.",
    ),
    ("dags trigger", _refused("-e", "--exec-date"), "Airflow 3 calls this option `-l`, `--logical-date`."),
    ("dags trigger", _refused("-l", "--logical-date"), "Airflow 2 calls this option `-e`, `--exec-date`."),
    (
        "",
        _refused("-S", "--subdir"),
        "Airflow 3 has bundles in the place of folders: `-B`, `--bundle-name`; the DAG folder is `dags-folder`.",
    ),
    (
        "",
        _refused("-B", "--bundle-name", "--local"),
        "Only Airflow 3 has this option. Airflow 2 has `-S`, `--subdir`, for a folder or a file.",
    ),
    ("dags reserialize", _refused("--clear-only"), _GONE),
    ("tasks list", _refused("-t", "--tree"), _GONE),
    ("tasks test", _refused("-n", "--dry-run"), _GONE),
)


def advise_renamed(name: str, reason: str) -> str:
    """Say what to write instead of what Airflow refused; empty when it refused something else.

    Args:
        name: Of the command.
        reason: Airflow's usage error.
    """
    found = [advice for command, pattern, advice in _RENAMES if command in ("", name) and re.search(pattern, reason)]
    return " ".join(dict.fromkeys(found))
