"""What a response of Airflow's REST API says: a page of a list, a moment, or a problem. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from dms_airflow.core.http.exchange import Response

QUOTED = 300  # characters

# What Airflow 3 responds to any GET below /api/v1 (tests/captures/airflow-3.2.2/rest/meta).
_REMOVED = "has been removed in Airflow 3"
# Its response to a path or a method without a route.
_NO_ROUTE = ({"detail": "Method Not Allowed"}, {"detail": "Not Found"}, {"error": "API route not found"})


HINT_FORBIDDEN = (
    "The session is valid, but the RAM identity lacks the permission in Airflow. Ask the instance's administrator for a role "
    "with it."
)
HINT_GATEWAY = (
    "DMS's gateway or the instance is busy, restarting or failing; look at the instance in DMS's console. If it was to change "
    "something, look in Airflow whether it did; then run the step again."
)
HINT_STATUS = "Check that the instance is running, and that its Airflow version has this path."


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a list: the list's name in the response, the entries on the page, and how many there are in all."""

    key: str
    entries: list[Any]
    total: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The entries that are objects."""
        return [entry for entry in self.entries if isinstance(entry, dict)]


def parse_page(response: Response) -> Page | None:
    """Parse a page of a list: an object with one list in it, and `total_entries`. None where the response is not one."""
    content = response.parse_object() if response.status == HTTPStatus.OK else {}
    if not isinstance(content.get("total_entries"), int):
        return None
    lists = [(key, value) for key, value in content.items() if isinstance(value, list)]
    if len(lists) != 1:
        return None
    return Page(key=lists[0][0], entries=lists[0][1], total=content["total_entries"])


def parse_date(value: object) -> datetime | None:
    """Parse a moment; None when it is not one, has no time zone, or is not in UTC's calendar."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def is_unknown_route(response: Response) -> bool:
    """Whether Airflow 3 responds that it has nothing at a path: what was requested was not done."""
    if response.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return False
    content = response.parse_object()
    return content in _NO_ROUTE or _REMOVED in str(content.get("error"))


def describe_problem(response: Response, redact: Callable[[str], str]) -> str:
    """Describe an error response in one line, in any form that Airflow uses, else by the beginning of the response.

    Airflow 2 has `title` and `detail`. Airflow 3 has `error`, or a `detail` that is a text, a list of what is wrong with each
    field, or an object with the reason (tests/captures/airflow-3.2.2/rest). `redact` masks secrets before a text is cut.
    """
    content = response.parse_object()
    parts = [words for key in ("title", "detail", "error", "message") for words in _list_words(content.get(key))]
    words = [" ".join(redact(part).split()) for part in parts if part.strip()]
    return ": ".join(dict.fromkeys(words)) if words else quote_beginning(response, redact)


def _list_words(part: object) -> list[str]:
    if isinstance(part, str):
        return [part]
    if isinstance(part, dict):
        return [part[key] for key in ("reason", "message") if isinstance(part.get(key), str)]
    if isinstance(part, list):
        problems = [
            ": ".join(filter(None, (".".join(map(str, one.get("loc") or [])), str(one.get("msg") or ""))))
            for one in part
            if isinstance(one, dict)
        ]
        return ["; ".join(filter(None, problems))]
    return []


def quote_beginning(response: Response, redact: Callable[[str], str]) -> str:
    """Quote the first characters of a response on one line, with its content type."""
    text = " ".join(redact(response.body.decode("utf-8", "replace"))[:8000].split())
    text = f"{text[: QUOTED - 1]}…" if len(text) > QUOTED else text
    return f"({response.content_type or 'no content type'}) {text or 'nothing'}"
