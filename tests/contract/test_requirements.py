"""What the image installs is what the action imports: nothing less, and nothing more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]

# Only before Python 3.13, and the image has 3.13: the tests run on 3.11, too.
OLDER_PYTHON = {"typing-extensions"}

# Runs in a process of its own: refuses every package that is not locked, imports all, tells which packages were needed.
IMPORT = """
import importlib.metadata, json, re, sys
from pathlib import Path

locked, project = set(json.loads(sys.argv[1])), Path(sys.argv[2])
owners = importlib.metadata.packages_distributions()

def own(module):
    return {re.sub("[-_.]+", "-", owner).lower() for owner in owners.get(module.partition(".")[0], ())}

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if own(name) and not own(name) & locked:
            raise ImportError(f"{name} is of {own(name)}, which the image has not")

before = set(sys.modules)  # of the interpreter's own start
sys.meta_path.insert(0, Refusal())
sys.path.insert(0, str(project))
from tests.imports import import_all
import_all(project)
print(json.dumps(sorted(set().union(*(own(name) for name in set(sys.modules) - before)))))
"""


def read_lock() -> set[str]:
    """Name what the image installs."""
    return set(re.findall(r"(?m)^([a-z0-9-]+)==", (PROJECT / "requirements.txt").read_text(encoding="utf-8")))


def import_with(packages: set[str]) -> subprocess.CompletedProcess[str]:
    """Import all that the action can import, with these packages only."""
    command = [sys.executable, "-c", IMPORT, json.dumps(sorted(packages)), str(PROJECT)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_action_imports_what_is_locked_and_all_of_it() -> None:
    ran = import_with(read_lock())

    assert ran.returncode == 0, ran.stderr
    assert set(json.loads(ran.stdout)) | OLDER_PYTHON == read_lock() | OLDER_PYTHON


def test_a_package_that_only_one_function_imports_is_missed() -> None:
    assert "requests is of {'requests'}, which the image has not" in import_with(read_lock() - {"requests"}).stderr


def test_the_packages_that_are_left_out_are_not_locked() -> None:
    left_out = re.findall(r"(?m)^[a-z].*$", (PROJECT / "requirements-excludes.txt").read_text(encoding="utf-8"))

    assert left_out == ["aiohttp", "alibabacloud-tea-util", "apscheduler", "cryptography", "pygithub"]
    assert not read_lock() & {*left_out, "cffi", "pyjwt", "pynacl", "yarl"}


def test_the_package_depends_on_what_the_image_has() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    lock = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (PROJECT / "requirements.txt").read_text(encoding="utf-8")))
    wanted = re.findall(r"(?m)^[A-Za-z][\w-]+$", (PROJECT / "requirements.in").read_text(encoding="utf-8"))
    package = [Requirement(one) for one in declared]

    assert sorted(one.name for one in package) == sorted(wanted)
    assert [one.name for one in package if lock[one.name.replace("_", "-")] not in one.specifier] == []


def test_the_wheel_has_every_file_of_the_package() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    others = {path for path in (PROJECT / "dms_airflow").rglob("*.*") if path.suffix not in (".py", ".pyc")}

    named = {PROJECT / package.replace(".", "/") / name for package, names in declared.items() for name in names}
    assert others == named
    assert others
