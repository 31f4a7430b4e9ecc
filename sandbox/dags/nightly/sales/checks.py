"""Checks of a day's sales."""

from __future__ import annotations


def compare_totals(sales):
    for row in sales:
        missing = row["total"] - row["booked"]
        if missing:
            raise ValueError(f"{row['shop']}: {missing} of {row['total']} sales were not booked")
