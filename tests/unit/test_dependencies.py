"""What a DAG file is made of, and what it names literally: connections, variables, pools, and operators that defer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dms_airflow.checkout.dependencies import Dependencies
from dms_airflow.checkout.literal_ids import list_literal_ids
from dms_airflow.checkout.mapping import Checkout

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "etl.py": "# airflow dag\nfrom helpers.names import NAME\nimport os.path\nsql = 'sql/load.sql'\n",
    "lazy.py": "# airflow dag\nimport importlib\nimportlib.import_module('helpers.late')\n",
    "factory.py": "# airflow dag\nfor file in Path('configs').glob('*.yaml'): ...\n",
    "team/one.py": "# airflow dag\nfrom . import common\nfrom ..helpers import deep\n",
    "team/common.py": "'''See sql/load.sql and configs.'''\n",
    "helpers/__init__.py": "",
    "helpers/names.py": "from helpers import deep\n",
    "helpers/deep.py": "from helpers import names\n",
    "helpers/late.py": "",
    "helpers/unused.py": "x = 1\n",
    "broken.py": "# airflow dag\nfrom helpers import names\nx = (\n",
    "sql/load.sql": "",
    "configs/a.yaml": "",
    "other.yaml": "",
    "README.md": "",
}


def plant(root: Path) -> Checkout:
    for path, text in FILES.items():
        file = root / "dags" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return Checkout(root, "dags")


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("etl.py", {"etl.py", "helpers/__init__.py", "helpers/names.py", "helpers/deep.py", "sql/load.sql"}),
        ("lazy.py", {"lazy.py", "helpers/__init__.py", "helpers/late.py"}),
        ("factory.py", {"factory.py", "configs/a.yaml"}),
        ("team/one.py", {"team/one.py", "team/common.py", "helpers/__init__.py", "helpers/names.py", "helpers/deep.py"}),
        ("broken.py", {"broken.py"}),
    ],
)
def test_the_parts_of_a_dag_file(tmp_path: Path, file: str, parts: set[str]) -> None:
    assert Dependencies(plant(tmp_path), "dags").list_parts(f"dags/{file}") == {f"dags/{part}" for part in parts}


@pytest.mark.parametrize(
    ("changed", "users", "unused"),
    [
        ("etl.py", {"etl.py"}, set()),
        ("helpers/deep.py", {"helpers/deep.py", "helpers/names.py", "etl.py", "team/one.py"}, set()),
        ("sql/load.sql", {"etl.py"}, set()),
        ("configs/a.yaml", {"factory.py"}, set()),
        ("configs/deleted.yaml", {"factory.py"}, set()),
        ("helpers/unused.py", {"helpers/unused.py"}, {"helpers/unused.py"}),
        ("helpers/deleted.py", {"helpers/deleted.py"}, set()),
        ("other.yaml", set(), {"other.yaml"}),
        ("README.md", set(), set()),
    ],
)
def test_the_files_that_a_changed_file_is_part_of(tmp_path: Path, changed: str, users: set[str], unused: set[str]) -> None:
    assert Dependencies(plant(tmp_path), "dags", [changed]).find_users([changed]) == (users, unused)


PYTHON = '''"""Docs: {{ var.value.in_docs }}."""
CONN = "from_constant"
default_args = {"pool": "of_default_args", "retries": 1}
with DAG("x", doc_md="{{ var.value.for_people }}", default_args=default_args) as dag:
    Operator(task_id="a", postgres_conn_id="warehouse", pool="slow", deferrable=True)
    Operator(task_id="b", conn_id=CONN, aws_conn_id="tolerated", http_conn_id="http_default", deferrable=False)
    Operator(task_id="c", conn_id=make(), pool=None, other_conn_id=f"{x}_conn", deferrable=flag)
    Bash(task_id="d", bash_command="echo {{ var.value.region }} {{ conn.ftp.host }}", env={
        "A": """
            {{ var.json.get('shop') }}
            {{ var.json.settings.key | tojson }}""",
        "B": "{{ var.value.get('with_default', 'x') }} {{ var.value.soft | default('y') }} {{ conn.get('c2') }}",
    })
BaseHook.get_connection("by_hook")
Variable.get("plain")
Variable.get(key="by_key", deserialize_json=True)
Variable.get("with_default", default_var=None)
Variable.get("with_default", "x")
Variable.get("with_default_3", default=1)
settings.get("no_variable")
try:
    Variable.get("optional")
    BaseHook.get_connection("optional")
except KeyError:
    pass
def helper(conn_id="a_default_of_a_function"): ...
'''


def test_what_a_python_file_names() -> None:
    found = [
        (one.line, one.rule.id.removeprefix("missing-").upper(), one.name)
        for one in list_literal_ids("dags/x.py", PYTHON.encode())
    ]

    assert found == [
        (3, "POOL", "of_default_args"),
        (5, "TRIGGERER", ""),
        (5, "POOL", "slow"),
        (5, "CONNECTION", "warehouse"),
        (6, "CONNECTION", "from_constant"),
        (8, "CONNECTION", "ftp"),
        (8, "VARIABLE", "region"),
        (10, "VARIABLE", "shop"),
        (11, "VARIABLE", "settings"),
        (12, "CONNECTION", "c2"),
        (14, "CONNECTION", "by_hook"),
        (15, "VARIABLE", "plain"),
        (16, "VARIABLE", "by_key"),
    ]


def test_what_a_template_names() -> None:
    sql = b"select '{{ ds }}',\n  '{{ var.value.schema }}.t'\n{% if conn.db.host %}{{ my_var.value.x }}{% endif %}\n"

    found = [(one.line, one.rule.id.removeprefix("missing-").upper(), one.name) for one in list_literal_ids("dags/x.sql", sql)]

    assert found == [(2, "VARIABLE", "schema"), (3, "CONNECTION", "db")]


def test_a_file_that_python_cannot_parse_names_nothing() -> None:
    assert list_literal_ids("x.py", b"Variable.get('x'") == []
