"""Airflow's copy of a source, compared with the checkout's file. Pure."""

from __future__ import annotations


def is_same_source(stored: str, content: bytes) -> bool:
    """Compare Airflow's copy of a source with the checkout's file: line ends and a byte order mark mean nothing."""
    return _unify(stored) == _unify(content.decode("utf-8", "replace"))


def _unify(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
