"""Imports all that the action can import, also what only its functions import."""

from __future__ import annotations

import ast
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def import_all(folder: Path) -> None:
    """Import every module of the action in `folder`, what its functions import, and the SDK's client.

    Raises:
        ImportError: A module is missing.
    """
    files = sorted((folder / "dms_airflow").rglob("*.py"))
    for file in files:
        importlib.import_module(".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"))
    sdk = importlib.import_module("dms_airflow.alibaba_cloud.sdk")
    sdk.import_client()
    with sdk.stub_imports():
        for file in (folder / "entrypoint.py", *files):
            for module, name in _list_imports(ast.parse(file.read_bytes())):
                imported = importlib.import_module(module)
                if name and not hasattr(imported, name):
                    importlib.import_module(f"{module}.{name}")


def _list_imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """List each module that is imported and the name that is taken from it, but not those for type checkers only."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        yield from ((node.module, alias.name) for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _list_imports(child)
