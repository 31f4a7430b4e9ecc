"""What an answer of Airflow's REST API says: a page of a list, or a problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dms_airflow.core.http import Answer


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a list: the name of the list in the answer, what it holds, and how many entries there are in all."""

    key: str
    entries: list[object]
    total: int


def read_page(answer: Answer) -> Page | None:
    """Read an answer as a page of a list: an object with one list in it, and `total_entries`."""
    told = answer.parse_object() if answer.status == 200 else {}  # noqa: PLR2004
    if not isinstance(told.get("total_entries"), int):
        return None
    lists = [(key, value) for key, value in told.items() if isinstance(value, list)]
    if len(lists) != 1:
        return None
    return Page(key=lists[0][0], entries=lists[0][1], total=told["total_entries"])


def describe_problem(answer: Answer, redact: Callable[[str], str]) -> str:
    """Say in one line what an error answer says, in any form that Airflow gives one, else how the answer begins.

    Airflow 2 has `title` and `detail`. Airflow 3 has `error`, or a `detail` that is a text, a list of what is wrong with each
    field, or an object with the reason (tests/captures/airflow-3.2.2/rest).

    Args:
        answer: The answer.
        redact: Masks secrets in a text before it is cut or put on one line.
    """
    told = answer.parse_object()
    parts = [words for key in ("title", "detail", "error", "message") for words in _read_words(told.get(key))]
    words = [" ".join(redact(part).split()) for part in parts if part.strip()]
    return ": ".join(dict.fromkeys(words)) if words else show_beginning(answer, redact)


def _read_words(part: object) -> list[str]:
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


def show_beginning(answer: Answer, redact: Callable[[str], str]) -> str:
    """Quote the first 300 characters of an answer on one line, with its content type."""
    text = " ".join(redact(answer.body.decode("utf-8", "replace"))[:8000].split())
    text = f"{text[:299]}…" if len(text) > 300 else text  # noqa: PLR2004 - as documented
    return f"({answer.content_type or 'no content type'}) {text or 'nothing'}"
