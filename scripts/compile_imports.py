"""Imports all that the action can import, and writes the bytecode of just that: what a step imports, it never compiles.

The official Python images hold no bytecode, not even of Python's own library
(https://github.com/docker-library/python/blob/master/Dockerfile-linux.template). Whatever a step imports without it is compiled
in every step of every job, since a container's files are gone when it ends.
"""

from __future__ import annotations

import ast
import importlib
import sys
from importlib.util import cache_from_source, source_from_cache, source_hash
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "dms_airflow"

# The flags of bytecode that is told from its source by a hash, which nobody compares.
UNCHECKED = (0b01).to_bytes(4, "little")

# What others import only while they work: on a request, an exit, a date, a certificate.
LATER = (
    "_strptime",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_16_le",
    "http.cookies",
    "netrc",
    "stringprep",
    "traceback",
)

# The messages of the one call of DMS's client, which it imports while it makes that.
CLIENT = "alibabacloud_dms20250414"
MESSAGES = (
    "CreateAirflowLoginTokenRequest",
    "CreateAirflowLoginTokenResponse",
    "CreateAirflowLoginTokenResponseBody",
    "CreateAirflowLoginTokenResponseBodyData",
)


def main(root: Path) -> int:
    """Write bytecode to where it belongs when `root` becomes the root of the file system.

    Run with ``-X pycache_prefix=FOLDER``: Python leaves in that empty folder what it compiles, and so tells what it has read,
    also before this script began and where an import failed in the end.
    """
    compiled = Path(sys.pycache_prefix or "")
    import_all(root / "app")
    sys.pycache_prefix = None
    for bytecode in sorted(compiled.rglob("*.pyc")):
        source = Path(source_from_cache(str(bytecode.parent / "__pycache__" / bytecode.name)))
        source = Path("/") / source.relative_to(compiled)
        if "site-packages" in source.parts and not source.is_relative_to(root):
            continue  # setuptools, which Python's start imports where it is installed, stays behind in the build stage
        inside = Path("/") / source.relative_to(root if source.is_relative_to(root) else "/")
        # Never compared with the source, whose time of change a copy may not keep: https://peps.python.org/pep-0552/
        content = bytecode.read_bytes()
        header = content[:4] + UNCHECKED + source_hash(source.read_bytes())
        target = root / Path(cache_from_source(str(inside))).relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(header + content[len(header) :])
    return 0


def import_all(folder: Path) -> None:
    """Import every module of the action, and what is imported only inside of their functions.

    Raises:
        ImportError: A module is missing.
    """
    for name in LATER:
        importlib.import_module(name)
    files = [folder / "entrypoint.py", *sorted((folder / PACKAGE).rglob("*.py"))]
    for file in files[1:]:
        importlib.import_module(".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"))
    sdk = importlib.import_module(f"{PACKAGE}.alibaba_cloud.sdk")
    _, messages = sdk.import_client(CLIENT)
    for name in MESSAGES:
        getattr(messages, name)
    with sdk.spare_imports():
        for file in files:
            for module, name in list_imports(ast.parse(file.read_bytes())):
                imported = importlib.import_module(module)
                if name and not hasattr(imported, name):
                    importlib.import_module(f"{module}.{name}")


def list_imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """List each module that is imported and the name that is taken from it, but not those for type checkers only."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        yield from ((node.module, alias.name) for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from list_imports(child)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
