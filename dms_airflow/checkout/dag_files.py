"""Which files of the checkout the instance must have as DAG files, by Airflow's own rules.

Paths of the instance are absolute (Airflow's `fileloc`), or below its DAG folder with a slash in front (`dags report`).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

from dms_airflow.checkout.dag_source import name_of, parse_module
from dms_airflow.checkout.mapping import Checkout

IGNORE_FILE = ".airflowignore"

# The custom where nothing else shows which folder is deployed.
CUSTOMARY_FOLDER = "dags"


@dataclass(frozen=True, kw_only=True)
class Root:
    """The folder of the checkout that is deployed, and the folder of the instance where it is.

    `instance` is "" for the top of what the paths handed to `find_root` are relative to; `checkout` is "" for the
    checkout's root. `sure` is False if the folder was found, and not chosen.
    """

    instance: str
    checkout: str
    sure: bool

    def place(self, file: str) -> str:
        """Give the instance's path of a file of the checkout's folder."""
        return f"{self.instance}/{self.relate(file)}"

    def relate(self, file: str) -> str:
        """Give the path of a file below the checkout's folder."""
        return file.removeprefix(f"{self.checkout}/") if self.checkout else file


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The DAG files of the checkout.

    `awaited` maps the instance's path to the file of the checkout. `doubtful` are files that Airflow may parse or not:
    they are not waited for.
    """

    awaited: Mapping[str, str]
    doubtful: tuple[str, ...]


def find_root(paths: Iterable[str], checkout: Checkout) -> Root | None:
    """Find which folder of the checkout the instance's DAG files come from; None when nothing shows it.

    Their paths are all absolute, or all below the DAG folder with a slash in front.
    """
    chosen = checkout.dags_folder
    files = checkout.map_paths(paths)
    votes = Counter(_split(path, file, chosen) for path, file in files.items())
    if votes:
        (instance, folder), _ = votes.most_common(1)[0]
        return Root(instance=instance, checkout=folder, sure=chosen is not None)
    if chosen is not None:
        return Root(instance="", checkout=chosen, sure=True)
    if checkout.list_files(CUSTOMARY_FOLDER):
        return Root(instance="", checkout=CUSTOMARY_FOLDER, sure=False)
    return None


def _split(path: str, file: str, chosen: str | None) -> tuple[str, str]:
    """Take off what two paths end with alike: as much as there is, or down to the folder that was chosen."""
    if chosen is not None:
        below = file.removeprefix(f"{chosen}/") if chosen else file
        return path.removesuffix(f"/{below}"), chosen
    instance, names = path.split("/"), file.split("/")
    while instance and names and instance[-1] == names[-1]:
        instance.pop()
        names.pop()
    return "/".join(instance), "/".join(names)


def choose_files(root: Root, checkout: Checkout, parsed: Iterable[str]) -> Expected:
    """Choose the files of the checkout that Airflow parses, by its own rule: `.py`, both words in it, not ignored.

    https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#loading-dags

    `parsed` are the instance's paths of the files that it parses: these are certain.
    """
    there = set(parsed)
    known_folders = {path.removeprefix(f"{root.instance}/").split("/")[0] for path in there}
    files = checkout.list_files(root.checkout)
    ignore_files = [_IgnoreFile(file, root, checkout) for file in files if file.rpartition("/")[2] == IGNORE_FILE]
    awaited: dict[str, str] = {}
    doubtful: list[str] = []
    for file in files:
        path, below = root.place(file), root.relate(file)
        if file.endswith(".py") and might_define_dag(checkout.read(file)):
            # A whole checkout that turns out to be the DAG folder also has tests and scripts, which are not deployed.
            strange = not root.sure and not root.checkout and "/" in below and below.split("/")[0] not in known_folders
            decisions = [ignore_file.ignores(below) for ignore_file in ignore_files]
            ignored = [any(decision[reading] for decision in decisions) for reading in (0, 1)]
            if path in there or not (strange or any(ignored)):
                awaited[path] = file
            elif strange or not all(ignored):
                doubtful.append(file)
        elif file.lower().endswith(".zip"):
            doubtful.append(file)
    return Expected(awaited=awaited, doubtful=tuple(doubtful))


def might_define_dag(content: bytes) -> bool:
    """Whether Airflow's safe mode reads a file: both words are in it, in any case."""
    lowered = content.lower()
    return b"dag" in lowered and b"airflow" in lowered


def always_defines_dag(content: bytes) -> bool:
    """Whether importing a file defines a DAG for certain: at the top level of the module, under no condition.

    A function under `@dag` defines one only where it is called. Of a file that cannot be parsed it is assumed: such a file is
    broken, and not without a DAG.
    """
    module = parse_module(content)
    if module is None:
        return True
    functions = {
        one.name
        for one in module.statements
        if isinstance(one, ast.FunctionDef) and any(map(_registers_dag, one.decorator_list))
    }
    # `with DAG(…)`, `dag = DAG(…)`, `etl()`
    made = [
        one.items[0].context_expr if isinstance(one, ast.With) else getattr(one, "value", None) for one in module.statements
    ]
    return any(isinstance(call, ast.Call) and (_registers_dag(call) or name_of(call) in functions) for call in made)


def _registers_dag(expression: ast.expr) -> bool:
    """Whether an expression is `DAG(…)`, `@dag` or `@dag(…)`, and registers the DAG for certain."""
    keywords = expression.keywords if isinstance(expression, ast.Call) else []
    return name_of(expression) in ("DAG", "dag") and not any(one.arg in (None, "auto_register") for one in keywords)


class _IgnoreFile:
    """An `.airflowignore`. Airflow reads its lines as regular expressions (2.x) or as globs (3.x), by configuration."""

    def __init__(self, file: str, root: Root, checkout: Checkout) -> None:
        lines = checkout.read(file).decode("utf-8", "replace").splitlines()
        patterns = [pattern for line in lines if (pattern := re.sub(r"\s*#.*", "", line).strip())]
        folder = root.relate(file).rpartition("/")[0]
        self._prefix = f"{folder}/" if folder else ""
        self._instance = root.instance
        self._expressions = [expression for pattern in patterns if (expression := _compile(pattern))]
        self._globs = GitIgnoreSpec.from_lines(patterns)

    def ignores(self, below: str) -> tuple[bool, bool]:
        """Decide for a path below the DAG folder: read as regular expressions, and read as globs."""
        if not below.startswith(self._prefix):
            return False, False
        # Airflow searches the whole path of the instance, and the path of each folder in it.
        names = f"{self._instance}/{below}".strip("/").split("/")
        paths = ["/".join(names[:end]) for end in range(1, len(names) + 1)]
        by_expression = any(expression.search(path) for expression in self._expressions for path in paths)
        return by_expression, self._globs.match_file(below.removeprefix(self._prefix))


def _compile(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None
