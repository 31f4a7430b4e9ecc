"""Orders as the shop's export hands them out."""

from __future__ import annotations

import json

RAW_ORDERS = """
{"id": 1001, "country": "DE", "cents": 4990, "status": "paid"}
{"id": 1002, "country": "CN", "cents": 12900, "status": "paid"}
{"id": 1003, "country": "DE", "cents": 1500, "status": "cancelled"}
{"id": 1004, "country": "US", "cents": 7250, "status": "paid"}
"""


def load_orders() -> list[dict]:
    """All orders of the export, one a line."""
    return [json.loads(line) for line in RAW_ORDERS.split("\n") if line]


def revenue_by_country(orders: list[dict]) -> dict[str, int]:
    """Cents of the paid orders, by country."""
    revenue: dict[str, int] = {}
    for order in orders:
        if order["status"] == "paid":
            revenue[order["country"]] = revenue.get(order["country"], 0) + order["cents"]
    return revenue
