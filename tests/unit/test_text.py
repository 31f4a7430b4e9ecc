"""Texts are shortened to what a reader needs."""

from __future__ import annotations

import pytest

from dms_airflow.core.text import first_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("KeyError: 'tables'\nsee the wiki", "KeyError: 'tables'"),
        ("CosmosLoadDbtException: Unable to run dbt due to the error:\n\n  Compilation Error\nmore", (
            "CosmosLoadDbtException: Unable to run dbt due to the error: Compilation Error"
        )),
        ("It ends here:", "It ends here:"),
        ("\nKeyError: 1", "KeyError: 1"),
        ("", ""),
    ],
)  # fmt: skip
def test_first_line__takes_the_next_one_along_where_it_ends_with_a_colon(text: str, shown: str) -> None:
    assert first_line(text) == shown
