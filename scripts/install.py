"""Make a virtual environment that holds exactly what lock files name.

    python -I scripts/install.py FOLDER LOCK...

`make` and the sandbox call it, with nothing installed. pip downloads what each lock names by version and hash, and resolves
nothing: an environment that could be installed once can be installed always, whatever is published later.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS_BETWEEN_REPORTS = 5.0

# Without isolation a package that is published as source is built with the setuptools of the first lock, and not with
# whatever version is the newest today. --use-pep517: before pip 23.1, another way needed the package `wheel`.
OPTIONS = (
    *("--require-hashes", "--no-deps", "--no-build-isolation", "--use-pep517"),
    *("--disable-pip-version-check", "--no-input", "--progress-bar", "off"),
)

# What pip prints, and what to do about it. The first one that is found counts.
CAUSES = {
    "DO NOT MATCH THE HASHES": "The package index gave other bytes than the lock names. Does a proxy change downloads?",
    "CERTIFICATE_VERIFY_FAILED": "The package index's certificate is not trusted. Behind a proxy with its own, set PIP_CERT.",
    "No space left on device": "The disk is full.",
    "Retrying (Retry(": "The package index cannot be reached. Set HTTPS_PROXY for a proxy, PIP_INDEX_URL for another index.",
    "No matching distribution found": "The package index lacks this version (`pip config list` shows which index is set), "
    "or has none for this Python and processor.",
    "error: command '": "A package has no wheel for this machine, and its build needs a compiler "
    "(Debian and Ubuntu: apt-get install build-essential python3-dev).",
}


def main(arguments: Sequence[str]) -> int:
    """Install; return the exit status, which is 0 only when everything is installed."""
    parser = argparse.ArgumentParser(description="Make a virtual environment that holds exactly what lock files name.")
    parser.add_argument("folder", type=Path, help="replaced when it is there")
    parser.add_argument("locks", type=Path, nargs="+", metavar="LOCK", help="installed in this order")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    # Its own words say which package of the system is missing.
    if subprocess.run([sys.executable, "-I", "-m", "venv", "--clear", options.folder], check=False).returncode:
        print(f"No virtual environment in {options.folder} (Debian and Ubuntu: apt-get install python3-venv).")
        return 1
    for lock in options.locks:
        code = install(options.folder, lock)
        if code:
            return code
    print(f"  installed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def install(folder: Path, lock: Path) -> int:
    """Install one lock with a line of progress every few seconds; return pip's exit status."""
    named = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    log_path = folder / "pip.log"
    before = count_packages(folder)
    command: list[str | Path] = [folder / "bin" / "python", "-I", "-m", "pip", "install", *OPTIONS, "--requirement", lock]
    with log_path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as pip:
        while (code := wait(pip)) is None:
            lines = read_lines(log_path)
            # "Ignoring": it is for another Python or another system.
            total = named - sum(line.startswith("Ignoring ") for line in lines)
            fetched = sum(line.startswith(("Collecting ", "Processing ")) for line in lines)
            # While pip installs, it prints nothing for up to a minute.
            installed = max(0, count_packages(folder) - before)
            trouble = lines[-1].partition("after connection broken by")[2]
            print(f"  packages of {total}: {fetched} fetched, {installed} installed{trouble[:100]}", flush=True)
    if code:
        lines = read_lines(log_path)
        print(f"pip ended with {code} while it installed {lock.name}. The end of {log_path}:", *lines[-10:], sep="\n  ")
        print(find_cause("\n".join(lines)), flush=True)
    return code


def wait(process: subprocess.Popen[bytes]) -> int | None:
    """Wait until the process ends, or until the next line of progress is due; return the exit status once there is one."""
    try:
        return process.wait(timeout=SECONDS_BETWEEN_REPORTS)
    except subprocess.TimeoutExpired:
        return None


def find_cause(printed: str) -> str:
    """Say why pip failed and what to do, as far as what it printed shows it."""
    return next((advice for words, advice in CAUSES.items() if words in printed), "")


def count_packages(folder: Path) -> int:
    """Count the packages that are installed in a virtual environment."""
    return len(list(folder.glob("lib/python*/site-packages/*.dist-info")))


def read_lines(log_path: Path) -> list[str]:
    """Read what pip has printed so far: a line at least."""
    return log_path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
