"""The action's main job, for real: a deploy whose DAGs do not import fails on their lines; the mended deploy passes.

``make demo`` runs it: a sandbox as the instance, a checkout, and a runner-like environment for each step.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.installation import wanted_version
from sandbox.lifecycle import BROKEN_DAGS, GOOD_DAGS, Sandbox
from sandbox.runner import PROJECT, Runner, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPORT = PROJECT / "demo-report"

# What a developer would change in each broken file.
MENDINGS = {
    "ad_spend.py": (("from marketing_sdk import Campaigns\n", ""), ("Campaigns().spend()", "1234.5")),
    "inventory_sync.py": (
        ('Variable.get("inventory_api_url")', 'Variable.get("inventory_api_url", default_var="https://stock.example.com")'),
    ),
    "loyalty_points.py": (("load_all_orders", "load_orders"),),
    "price_updates.py": ((">> verify >> check", ">> verify"),),
    "returns.py": (('"echo counted"', '"echo counted")'),),
}


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A team's repository, and the instance's folder that it is deployed to."""

    checkout: Path
    instance: Path

    def deploy(self) -> None:
        """Copy the DAG files to the instance, as a team's own deploy step does."""
        shutil.copytree(self.checkout / "dags", self.instance, dirs_exist_ok=True)

    def mend(self) -> None:
        """Correct every broken file."""
        for name, edits in MENDINGS.items():
            file = self.checkout / "dags" / name
            text = file.read_text(encoding="utf-8")
            for old, new in edits:
                text = text.replace(old, new)
            file.write_text(text, encoding="utf-8")


@contextmanager
def prepare() -> Iterator[tuple[Sandbox, Repository, Runner]]:
    """Give an instance, a repository whose broken DAG files were deployed to it, and a runner in the checkout."""
    with tempfile.TemporaryDirectory(prefix="dms-airflow-demo-") as folder:
        repository = Repository(checkout=Path(folder) / "checkout", instance=Path(folder) / "instance")
        for source in (GOOD_DAGS, BROKEN_DAGS):
            shutil.copytree(source, repository.checkout / "dags", dirs_exist_ok=True)
        repository.deploy()
        runner = Runner(workspace=repository.checkout, temp=Path(tempfile.mkdtemp(dir=folder)))
        with Sandbox.start(dags=repository.instance, with_scheduler=False) as sandbox:
            yield sandbox, repository, runner


def main() -> int:
    """Run the demo; 0 when the gate failed and passed as it should."""
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir()
    say(f"Starting the sandbox: a real Airflow {wanted_version()} behind DMS's login (some seconds)")
    with prepare() as (sandbox, repository, runner):
        say("A team deploys five DAGs that do not import, then runs the action:")
        failing = show_gate(sandbox, runner, "failing")
        show_annotations(failing, repository.checkout)
        say("The team mends them, deploys again, and runs the action again:")
        repository.mend()
        repository.deploy()
        passing = show_gate(sandbox, runner, "passing")
    return conclude(failing, passing)


def run_gate(sandbox: Sandbox, runner: Runner) -> Step:
    """Run the gate as a workflow's step."""
    return runner.run(
        {
            "endpoint": sandbox.endpoint,
            "region": sandbox.region,
            "instance-id": sandbox.instance_id,
            "access-key-id": sandbox.access_key_id,
            "access-key-secret": sandbox.access_key_secret,
            "operation": "dags list-import-errors",
        }
    )


def show_gate(sandbox: Sandbox, runner: Runner, name: str) -> Step:
    """Run the gate, show its log and keep its summary."""
    print("      - uses: dms-airflow/dms-airflow@…\n        with:\n          operation: dags list-import-errors\n", flush=True)
    started = time.monotonic()
    step = run_gate(sandbox, runner)
    for line in fold(step.log.splitlines()):
        print(f"    │ {line}")
    (REPORT / f"{name}.md").write_text(step.summary, encoding="utf-8")
    seconds = time.monotonic() - started
    print(f"\n  The step ended with exit code {step.exit_code} after {seconds:.1f} s; its job summary: demo-report/{name}.md\n")
    return step


def fold(lines: Sequence[str]) -> list[str]:
    """Show the log as GitHub does: groups folded, annotations as their first line."""
    shown: list[str] = []
    hidden: list[str] | None = None
    for line in lines:
        if line.startswith("::group::"):
            shown.append(f"▸ {line.removeprefix('::group::')}")
            hidden = []
        elif line.startswith("::endgroup::"):
            shown[-1] += f" ({len(hidden or [])} lines)"
            hidden = None
        elif hidden is not None:
            hidden.append(line)
        elif line.startswith("::error"):
            shown.append("Error: " + line.split("::", 2)[2].partition("%0A")[0])
        else:
            shown.append(line)
    return shown


def show_annotations(step: Step, checkout: Path) -> None:
    """Show each annotation on its line, as GitHub does in a pull request."""
    say("What GitHub shows in the files:")
    for annotation in step.annotations:
        file, line = annotation.properties.get("file"), int(annotation.properties.get("line", "0"))
        if not file:
            print(f"  ✖ {annotation.data.partition(chr(10))[0]}")
            continue
        source = (checkout / file).read_text(encoding="utf-8").splitlines()
        print(f"  {file}")
        print(f"  {line:>4} │ {source[line - 1] if line else ''}")
        print(f"       └─ ✖ {annotation.properties['title']}")
        print(f"            {annotation.data.partition(chr(10))[0]}\n")


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n━━ {text}\n", flush=True)


def conclude(failing: Step, passing: Step) -> int:
    """Compare with what must have come out."""
    right = [step.exit_code for step in (failing, passing)] == [1, 0] and len(failing.annotations) == len(MENDINGS)
    if right:
        say("The gate failed on the broken deploy and passed on the mended one.")
        return 0
    say("THIS IS NOT WHAT THE DEMO MUST SHOW: the gate was to fail once with five annotations, then to pass.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
