"""One file for each partner: as many tasks as there are partners."""

from __future__ import annotations

from datetime import datetime

from airflow.decorators import dag, task


@dag(
    schedule="0 6 * * 1",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    default_args={"owner": "data-team"},
    tags=["partners"],
)
def partner_exports():
    @task
    def list_partners() -> list[str]:
        return ["alder", "birch", "cedar"]

    @task
    def export(partner: str) -> int:
        print("exporting for", partner)
        return len(partner)

    @task
    def summarize(sizes) -> None:
        print("exported", sum(sizes), "rows")

    summarize(export.expand(partner=list_partners()))


partner_exports()
