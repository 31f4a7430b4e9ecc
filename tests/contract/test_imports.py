"""What one CLI command imports, which every step pays: a heavy package cannot slip in unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]

# What a step imports until its token is there, less the interpreter's own start. `find` is the operation that runs.
IMPORT = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import dms_airflow.command
import dms_airflow.main
from dms_airflow.operations import find_operation
find_operation(sys.argv[2])
if sys.argv[3] == "token":
    from dms_airflow.alibaba_cloud import login_token as dms
    from dms_airflow.core.http.urls import Endpoint
    from dms_airflow.alibaba_cloud.credentials import Keys
    keys = Keys(access_key_id="LTAI5tUnitTestKey0001", access_key_secret="c2VjcmV0")
    dms.prepare_client(keys, Endpoint(scheme="http", authority="127.0.0.1:1"), "")[1].CreateAirflowLoginTokenRequest
print(json.dumps(sorted(set(sys.modules) - before)))
"""

WITHOUT_TOKEN = {"actions_toolkit", "certifi", "charset_normalizer", "dms_airflow", "idna", "requests", "urllib3"}
OF_THE_SDK = {
    "Tea",
    "aiofiles",
    "alibabacloud_credentials",
    "alibabacloud_credentials_api",
    "alibabacloud_dms20250414",
    "alibabacloud_gateway_spi",
    "alibabacloud_tea_openapi",
    "darabonba",
    "websocket",
}

# Of Python's own: each takes some milliseconds, and nothing that a plain command does needs it.
HEAVY = {"asyncio", "concurrent", "multiprocessing", "sqlite3", "unittest", "xml", "xmlrpc"}


def list_imports(operation: str, until: str) -> list[str]:
    """List the modules that a step imports."""
    command = [sys.executable, "-Es", "-c", IMPORT, str(PROJECT), operation, until]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    listed: list[str] = json.loads(told)
    return listed


def list_packages(modules: list[str]) -> set[str]:
    """List the packages of modules, Python's own left out, and what environments and compiled modules add."""
    packages = {module.partition(".")[0] for module in modules}
    own = sys.stdlib_module_names | {"_distutils_hack", "typing_extensions", "cython_runtime"}
    return {package for package in packages - own if not package.startswith("_cython")}


def test_a_command_imports_these_packages() -> None:
    modules = list_imports("version", "token")

    assert list_packages(modules) == WITHOUT_TOKEN | OF_THE_SDK
    messages = [name for name in modules if name.startswith("alibabacloud_dms20250414.models.")]
    assert messages == ["alibabacloud_dms20250414.models._create_airflow_login_token_request"]


def test_a_command_with_a_kept_session_imports_these_packages() -> None:
    modules = list_imports("version", "session")

    assert list_packages(modules) == WITHOUT_TOKEN
    assert HEAVY & {module.partition(".")[0] for module in modules} == set()


def test_only_the_operation_that_runs_is_imported() -> None:
    modules = list_imports("version", "session")

    assert sorted(name for name in modules if name.startswith("dms_airflow.operations.")) == [
        "dms_airflow.operations.command",
        "dms_airflow.operations.context",
    ]
