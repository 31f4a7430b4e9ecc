"""Imports point down, and each outside library has one home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "dms_airflow"

# A module may import modules of lower layers, and those beside it in the layers that allow it.
LAYERS = {
    "clock": 0,
    "errors": 0,
    "late_imports": 0,
    "log": 0,
    "result": 0,
    "answers": 1,
    "arguments": 1,
    "baseline": 1,
    "change": 1,
    "checkout": 1,
    "commands": 1,
    "config": 1,
    "console": 1,
    "dag_files": 1,
    "dag_runs": 1,
    "credentials": 1,
    "deployment": 1,
    "dialect": 1,
    "gantt": 1,
    "gaps": 1,
    "import_errors": 1,
    "import_log": 1,
    "inputs": 1,
    "instance_host": 1,
    "lines": 1,
    "long_json": 1,
    "network_faults": 1,
    "oidc": 1,
    "outcome": 1,
    "patience": 1,
    "redaction": 1,
    "render": 1,
    "renames": 1,
    "sdk": 1,
    "secret_words": 1,
    "source": 1,
    "source_tree": 1,
    "structured_log": 1,
    "task_instances": 1,
    "task_log": 1,
    "tracebacks": 1,
    "transport": 1,
    "airflow": 2,
    "dms": 2,
    "id_token": 2,
    "identity": 2,
    "session": 2,
    "session_file": 2,
    "sts": 2,
    "workflow": 2,
    "operations": 3,
    "report": 3,
    "main": 4,
}
# Modules of this layer know each other's data by parameters only: main hands it across.
STRANGERS = 2

HOMES = {
    "alibabacloud_credentials": {"identity", "sts"},
    "alibabacloud_dms20250414": {"dms"},
    "alibabacloud_tea_openapi": {"dms"},
    "darabonba": {"dms"},
    "dulwich": {"change"},
    "actions_toolkit": {"workflow"},
    "requests": {"transport", "network_faults", "sdk", "identity", "main"},
}


def find_imports(source: str) -> set[str]:
    """List the modules that run-time imports name; those for type checkers do not count."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        pending.extend(ast.iter_child_nodes(node))
    return found


def name_layer(module: str) -> str:
    """Name the module of LAYERS that a dotted name lies in; empty for the package itself."""
    parts = module.split(".")
    return next((part for part in parts[1:2] if part in LAYERS), "")


def find_violations(module: str, imports: set[str]) -> list[str]:
    """List the imports that do not point down."""
    wrong = []
    for imported in sorted(imports):
        if imported.startswith("dms_airflow."):
            target = name_layer(imported)
            if not target:
                continue
            same = LAYERS[target] == LAYERS[module] and target != module
            if LAYERS[target] > LAYERS[module] or (same and LAYERS[module] == STRANGERS):
                wrong.append(f"{module} imports {target}")
        elif module not in HOMES.get(imported.partition(".")[0], {module}):
            wrong.append(f"{module} imports {imported}")
    return wrong


def read_modules() -> list[tuple[str, Path]]:
    """Give each file with the module of LAYERS that it belongs to."""
    files = sorted(PACKAGE.rglob("*.py"))
    return [(file.relative_to(PACKAGE).parts[0].removesuffix(".py"), file) for file in files if file != PACKAGE / "__init__.py"]


@pytest.mark.parametrize(("module", "file"), read_modules(), ids=lambda value: getattr(value, "stem", value))
def test_imports_point_down(module: str, file: Path) -> None:
    assert module in LAYERS, f"{module} has no layer yet"
    assert find_violations(module, find_imports(file.read_text(encoding="utf-8"))) == []


def test_no_layer_without_a_module() -> None:
    assert {module for module, _ in read_modules()} == set(LAYERS)


@pytest.mark.parametrize(
    ("module", "source", "violation"),
    [
        ("inputs", "from dms_airflow.airflow import AirflowClient", "inputs imports airflow"),
        ("session", "def f():\n    from dms_airflow import dms", "session imports dms"),
        ("render", "import dms_airflow.workflow", "render imports workflow"),
        ("operations", "from dms_airflow.main import main", "operations imports main"),
        ("airflow", "import requests", "airflow imports requests"),
        ("main", "from actions_toolkit import core", "main imports actions_toolkit.core"),
    ],
)
def test_planted_violations_are_found(module: str, source: str, violation: str) -> None:
    assert find_violations(module, find_imports(source)) == [violation]


def test_imports_for_type_checkers_do_not_count() -> None:
    source = "if TYPE_CHECKING:\n    from dms_airflow.main import main"

    assert find_imports(source) == set()
