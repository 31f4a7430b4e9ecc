"""scripts/install.py installs what a lock names, and what it prints when that fails says why."""

from __future__ import annotations

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "install.py"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package that asks for another one, which nobody has."""
    file = tmp_path / "some_package-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\nRequires-Dist: nobody-has-this-package\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("some_package.py", "VALUE = 7\n")
        archive.writestr("some_package-1.0.dist-info/METADATA", metadata)
        archive.writestr("some_package-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("some_package-1.0.dist-info/RECORD", "")
    return file


def test_what_the_lock_names_is_installed_and_nothing_else(wheel: Path) -> None:
    lock = wheel.with_name("lock.txt")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock.write_text(f"some-package==1.0 \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}
    command: list[str | Path] = [sys.executable, "-I", SCRIPT, wheel.with_name("environment"), lock]

    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1].startswith("  installed in ")
    python = wheel.with_name("environment") / "bin" / "python"
    ran = subprocess.run(
        [python, "-c", "import some_package as p; print(p.VALUE)"], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "7\n"


def make(folder: Path, *programs: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `make setup` on a machine that has these programs only."""
    there = folder / "bin"
    there.mkdir()
    for name in ("make", *programs):
        (there / name).symlink_to(str(shutil.which(name)))
    command: list[str | Path] = [there / "make", "setup", f"VENV={folder / 'environment'}"]
    command += [f"{name}={value}" for name, value in variables.items()]
    environment = {"PATH": str(there), "PIP_NO_INDEX": "1"}
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)


def test_what_the_machine_lacks_is_named(tmp_path: Path) -> None:
    ran = make(tmp_path)

    assert ran.returncode == 2
    assert ran.stdout == "git is needed (Debian and Ubuntu: apt-get install git).\n"


def test_a_machine_without_python_is_told_which_one(tmp_path: Path) -> None:
    ran = make(tmp_path, "git")

    assert ran.returncode == 2
    assert ran.stdout.startswith("Python 3.11 or 3.12 is needed: ")
    assert ran.stdout.endswith("then run: make PYTHON=/path/to/python3.12 setup\n")


def test_a_set_up_that_failed_is_not_taken_for_one(tmp_path: Path) -> None:
    ran = make(tmp_path, "git", PYTHON=sys.executable)

    assert ran.returncode == 2
    assert "ERROR: No matching distribution found for setuptools==" in ran.stdout
    assert not (tmp_path / "environment" / ".installed").exists()


@pytest.mark.parametrize(
    ("printed", "advice"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "The package index gave other bytes than the lock names."),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken\nERROR: No matching distribution found for a==1.0",
            "The package index cannot be reached. Set HTTPS_PROXY for a proxy",
        ),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'SSLError: CERTIFICATE_VERIFY_FAILED'",
            "The package index's certificate is not trusted.",
        ),
        ("ERROR: No matching distribution found for a==1.0", "The package index lacks this version"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full."),
        ("error: command 'gcc' failed: No such file or directory", "A package has no wheel for this machine"),
        ("anything else", ""),
    ],
)
def test_what_pip_prints_has_a_cause_and_a_next_step(printed: str, advice: str) -> None:
    assert runpy.run_path(str(SCRIPT))["find_cause"](printed).startswith(advice)
