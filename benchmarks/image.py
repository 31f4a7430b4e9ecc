"""The image: its cold build, its size over its base, and the time from `docker run` to the first request.

Peer: the same base with the vendor's packages, installed as everybody does, and the plain script (plain_command.py). Needs
Docker.
``BASE`` names an image that is here to take in the base's place, for a machine without a registry.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import stand_in
from sandbox.runner import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROUNDS = 7
PLAIN = """
FROM {base}
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore requests alibabacloud_dms20250414
COPY plain_command.py /plain_command.py
ENTRYPOINT ["/usr/local/bin/python", "/plain_command.py", "version"]
"""
OURS, THEIRS = "dms-airflow-benchmark:action", "dms-airflow-benchmark:plain"


def main() -> None:
    """Print the ratios."""
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        print("image: left out, since no Docker answers here")
        return
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    (base, *_) = re.findall(r"(?m)^FROM (\S+)", dockerfile)
    chosen = os.environ.get("BASE") or base
    built = [
        build(OURS, dockerfile.replace(base, chosen), PROJECT),
        build(THEIRS, PLAIN.format(base=chosen), Path(__file__).parent),
    ]
    sizes = [measure(tag) - measure(chosen) for tag in (OURS, THEIRS)]
    print(f"image on {chosen} (goal 1.05x)")
    tell("cold build", built, "s")
    tell("size over the base", [size / 1e6 for size in sizes], "MB")
    with stand_in.serve() as dms:
        inputs = {f"INPUT_{name.upper()}": value for name, value in {**dms.inputs, "operation": "version"}.items()}
        starts: tuple[Callable[[], float], ...] = (
            lambda: start(dms, OURS, inputs),
            lambda: start(dms, THEIRS, dms.variables),
        )
        rounds = [[one() for one in starts] for _ in range(ROUNDS + 1)][1:]
    tell("container start to first request", [median(column) for column in zip(*rounds, strict=True)], "s")


def build(tag: str, dockerfile: str, context: Path) -> float:
    """Build an image from nothing; give the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(dockerfile, encoding="utf-8")
        began = time.perf_counter()
        call("docker", "build", "--no-cache", "--quiet", "-t", tag, "-f", f"{folder}/Dockerfile", str(context))
        return time.perf_counter() - began


def measure(tag: str) -> int:
    """Give the bytes of an image, which may have to be pulled first."""
    size: int = json.loads(call("docker", "image", "inspect", tag))[0]["Size"]
    return size


def start(dms: stand_in.StandIn, tag: str, environ: Mapping[str, str]) -> float:
    """Run a container; give the seconds until its first request came."""
    named = [word for name, value in environ.items() for word in ("-e", f"{name}={value}")]
    dms.count()
    began = time.time()
    call("docker", "run", "--rm", "--network", "host", *named, tag)
    dms.count()
    return dms.first - began


def call(*command: str) -> str:
    """Run a command to its end, and give what it printed."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def tell(what: str, values: Sequence[float], unit: str) -> None:
    """Print a row."""
    ours, theirs = values
    print(f"  {what:34}{ours:8.2f} {unit:3}{theirs:8.2f} {unit:3}{ours / theirs:8.2f}x")


if __name__ == "__main__":
    main()
