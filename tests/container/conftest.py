"""The image, built as users' runners build it; a sandbox that containers can reach; a checkout that means no good.

``LAB`` names a folder with the scripts ``docker-up``, ``base-image``, ``act-run`` and ``gha-container-run``, which stand in for
a container registry, for act's images and for GitHub's runner.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Sandbox
from sandbox.lifecycle import BROKEN_DAGS, GOOD_DAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT = Path(__file__).parents[2]
WORKFLOW = Path(__file__).with_name("workflow.yml")
BASE = "python:3.13-slim-trixie"
BARE = "dms-airflow-base:test"
IMAGE = "dms-airflow:test"

# Whatever imports one of these in place of Python's or the image's own ends at once.
HOSTILE_MODULES = ("json", "requests", "os", "dms_airflow", "actions_toolkit", "sitecustomize", "usercustomize")
HOSTILE_ENVIRONMENT = {
    "PATH": "/utter/nonsense",
    "PYTHONPATH": "/github/workspace",
    "PYTHONHOME": "/utter/nonsense",
    "PYTHONSTARTUP": "/github/workspace/json.py",
    "LANG": "C",
    "LC_ALL": "C",
}

# /proc/net/route: a default route's destination is 0, its gateway hexadecimal in the machine's byte order.
PRINT_GATEWAY = """
import socket, struct
rows = [line.split() for line in open("/proc/net/route")][1:]
print(socket.inet_ntoa(struct.pack("=L", next(int(row[2], 16) for row in rows if row[1] == "00000000"))))
"""


def run(*command: str | Path, cwd: Path = PROJECT, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it printed."""
    return subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)


@contextmanager
def only_one(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[None]:
    """Keep pytest's other processes out of the ``with`` block of the same name."""
    with (tmp_path_factory.getbasetemp().parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the container lab's scripts, with Docker answering."""
    if not os.environ.get("LAB"):
        pytest.skip("NOT TESTED: the container, since LAB names no folder with docker-up, act-run and gha-container-run")
    folder = Path(os.environ["LAB"]).resolve()
    with only_one(tmp_path_factory, "docker"):  # two that start Docker end each other
        up = run(folder / "docker-up")
    if up.returncode:
        pytest.skip(f"NOT TESTED: the container, since there is no Docker here:\n{up.stderr[-2000:]}")
    return folder


@pytest.fixture(scope="session")
def image(lab: Path, tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> str:
    """The image of this tree, which the first of pytest's processes builds."""
    built = tmp_path_factory.getbasetemp().parent / f"image-{testrun_uid}"
    with only_one(tmp_path_factory, "image"):
        if not built.exists():
            build_image(lab, tmp_path_factory.mktemp("image"))
            built.touch()
    return IMAGE


def build_image(lab: Path, folder: Path) -> None:
    """Build it. A digest names a registry's own bytes, which no stand-in has: only here it is left out."""
    made = run(lab / "base-image", BASE)
    assert made.returncode == 0, made.stderr
    # The official image holds no bytecode, the stand-in does.
    (folder / "base").write_text(f"FROM {BASE}\nRUN find /usr -type d -name __pycache__ -prune -exec rm -rf {{}} +\n")
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    (folder / "image").write_text(re.sub(rf"(?m)^FROM {BASE}@sha256:[0-9a-f]{{64}}", f"FROM {BARE}", text))
    for tag, dockerfile in ((BARE, folder / "base"), (IMAGE, folder / "image")):
        built = run("docker", "build", "-t", tag, "-f", dockerfile, ".")
        assert built.returncode == 0, built.stdout + built.stderr


def print_gateway(image: str) -> str:
    """Name the address by which containers on Docker's bridge reach the host."""
    return run("docker", "run", "--rm", "--entrypoint", "/usr/local/bin/python", image, "-c", PRINT_GATEWAY).stdout.strip()


@pytest.fixture(scope="session")
def sandbox(image: str) -> Iterator[Sandbox]:
    """A sandbox on the address by which containers on Docker's bridge reach the host: their gateway."""
    with Sandbox.start(host=print_gateway(image), with_scheduler=False, forks_commands=True) as running:
        shutil.copytree(BROKEN_DAGS, running.dags_folder, dirs_exist_ok=True)
        yield running


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A team's repository with its DAG files, and modules that take the place of others."""
    folder = tmp_path / "repository"
    for source in (GOOD_DAGS, BROKEN_DAGS):
        shutil.copytree(source, folder / "dags", dirs_exist_ok=True)
    for name in HOSTILE_MODULES:
        (folder / f"{name}.py").write_text("raise SystemExit('a module of the checkout was imported')\n")
    return folder


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The inputs that connect a step."""

    sandbox: Sandbox

    @property
    def inputs(self) -> dict[str, str]:
        """By the names of action.yml."""
        return {
            "endpoint": self.sandbox.endpoint,
            "instance-id": self.sandbox.instance_id,
            "access-key-id": self.sandbox.access_key_id,
            "access-key-secret": self.sandbox.access_key_secret,
        }


def run_as_github(
    lab: Path, image: str, workspace: Path, inputs: Mapping[str, str], environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run the image as GitHub's runner does; give what the runner read from it."""
    result = workspace.parent / "result.json"
    command: list[str | Path] = [sys.executable, lab / "gha-container-run", PROJECT, "--workspace", workspace, "--image", image]
    command += [f"--with={name}={value}" for name, value in inputs.items()]
    command += [f"--env={name}={value}" for name, value in (environ or {}).items()]
    ran = run(*command, "--json", result)
    assert result.exists(), ran.stdout + ran.stderr
    told: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return told
