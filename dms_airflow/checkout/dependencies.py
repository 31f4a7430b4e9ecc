"""Which files of the checkout a DAG file is made of: itself, the modules that it imports, the files that it names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from dms_airflow.checkout.dag_files import might_define_dag
from dms_airflow.checkout.dag_source import list_imports, list_texts, parse_module
from dms_airflow.checkout.mapping import Checkout

LONGEST_NAME = 200  # characters of a text that may be the path of a file

# What a DAG factory may read its DAGs from, besides Python.
_READ_BY_CODE = (".py", ".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".csv")


class Dependencies:
    """What the files below the DAG folder ("" for the root) are made of. Each is read once.

    Airflow puts the folder on Python's path.
    `deleted` are files that are there no more, below the folder, which may be parts all the same.
    """

    def __init__(self, checkout: Checkout, folder: str, deleted: Collection[str] = ()) -> None:
        self._checkout = checkout
        self._prefix = f"{folder}/" if folder else ""
        self._files = {file.removeprefix(self._prefix): file for file in checkout.list_files(folder)}
        self._files |= {path: f"{self._prefix}{path}" for path in deleted}
        self._named: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._files:
            if not path.endswith(".py"):
                # By its name, and by those of its folders: a DAG factory reads all files of one.
                for name in path.split("/"):
                    self._named[name].append(path)
        self._own: dict[str, tuple[str, ...]] = {}

    def list_parts(self, file: str) -> frozenset[str]:
        """List what a DAG file is made of, the file itself included, as paths of the checkout."""
        found, pending = set[str](), [file.removeprefix(self._prefix)]
        while pending:
            path = pending.pop()
            if path not in found and path in self._files:
                found.add(path)
                if path not in self._own:
                    self._own[path] = tuple(self._find_parts(path))
                pending.extend(self._own[path])
        return frozenset(self._files[path] for path in found)

    def find_users(self, changed: Collection[str]) -> tuple[set[str], set[str]]:
        """Find the files that changed files are parts of, themselves included, all below the DAG folder.

        Returns:
            Them; and the changed files that may be parts of DAG files in a way that cannot be read.
        """
        parts = {path: self.list_parts(path) for path in self._files if path.endswith(".py")}
        users = {path for path, own in parts.items() if any(self._files[one] in own for one in changed)}
        used = {one for one in changed if any(self._files[one] in own for path, own in parts.items() if path != one)}
        unused = {one for one in changed if one.endswith(_READ_BY_CODE)} - used
        contents = {one: self._checkout.read(self._files[one]) for one in unused}
        # A Python file that is gone or empty does nothing where nobody imports it.
        return users, {one for one in unused if not (one.endswith(".py") and might_define_dag(contents[one] or b"dag airflow"))}

    def _find_parts(self, path: str) -> Iterator[str]:
        module = parse_module(self._checkout.read(self._files[path])) if path.endswith(".py") else None
        for names in (names for node in (module.nodes if module else ()) for names in list_imports(node, path)):
            for end in range(1, len(names) + 1):  # packages on the way, and the module
                place = "/".join(names[:end])
                yield from (file for file in (f"{place}.py", f"{place}/__init__.py") if file in self._files)
        for text in list_texts(module) if module else ():
            name = str(text.value).partition("*")[0].rstrip("/").removeprefix("./")  # configs/*.yaml names the folder
            for other in self._named.get(name.rpartition("/")[2], ()) if len(name) < LONGEST_NAME else ():
                if f"/{name}".endswith(f"/{other}") or f"/{name.lstrip('/')}/" in f"/{other}/":
                    yield other
