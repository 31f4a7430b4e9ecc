"""One CLI command, the whole process: `operation: version`, and again with the session of an earlier step.

Peer: the flow that DMS documents, written plainly (plain_command.py), in the same Python, against the same stand-in. Floor:
three requests, and the import of requests and of the SDK, of which the table says how long each package takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import stand_in
from benchmarks.measure import Cost, compare, run
from sandbox.runner import PROJECT, Runner

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS = 11


def main() -> None:
    """Print the ratios, the requests, and the imports."""
    with stand_in.serve() as dms, tempfile.TemporaryDirectory() as folder:
        runner = Runner(workspace=Path(folder), temp=Path(folder))
        environ = {"PATH": os.environ["PATH"], **dms.variables}

        def step(operation: str = "version", **inputs: str) -> Cost:
            return run(runner.command, runner.prepare({**dms.inputs, "operation": operation, **inputs})[0])

        def plain() -> Cost:
            return run([sys.executable, str(Path(__file__).with_name("plain_command.py")), "version"], environ)

        compare("one command", step, plain, ROUNDS, "1.0x")
        reusing = {"reuse-session": "true"}
        step(**reusing)
        compare("one command, session of an earlier step", lambda: step(**reusing), plain, ROUNDS, "0.35x")
        dms.count()
        step()
        print(f"requests of one command: {sorted(dms.count().items())}")
        step(**reusing)
        print(f"requests with the session of an earlier step: {sorted(dms.count().items())}")
        show_imports(runner, dms.inputs)


def show_imports(runner: Runner, inputs: Mapping[str, str]) -> None:
    """Print how long the imports of one command take, by package; each package's own modules only."""
    command = [sys.executable, "-Esu", "-X", "importtime", str(PROJECT / "entrypoint.py")]
    environ = runner.prepare({**inputs, "operation": "version"})[0]
    told = subprocess.run(command, env=environ, cwd=runner.workspace, capture_output=True, text=True, check=True).stderr
    spent: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for line in told.splitlines()[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        package = name.strip().partition(".")[0]
        package = "Python's own" if package in sys.stdlib_module_names else package
        spent[package] += int(own)
        modules[package] += 1
    print("imports of one command (-X importtime, which itself costs time)")
    for package, microseconds in spent.most_common(12):
        print(f"  {package:28}{microseconds / 1000:8.1f} ms{modules[package]:6} modules")
    print(f"  {'all':28}{spent.total() / 1000:8.1f} ms{modules.total():6} modules")


if __name__ == "__main__":
    main()
