"""Airflow's copy of a source, compared with the checkout's file. Pure."""

from __future__ import annotations

import ast


def is_same_source(stored: str, content: bytes) -> bool:
    """Compare Airflow's copy of a source with the checkout's file: line ends and a byte order mark mean nothing."""
    return _unify(stored) == _unify(content.decode("utf-8", "replace"))


def _unify(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def find_new_words(stored: str, content: bytes) -> set[str]:
    """List the names and texts that only the checkout's version has: DAG ids, task ids, descriptions, tags."""
    return _read_words(content.decode("utf-8", "replace")) - _read_words(stored)


def _read_words(source: str) -> set[str]:
    try:
        nodes = list(ast.walk(ast.parse(_unify(source))))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts | {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
