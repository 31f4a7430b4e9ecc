"""The action's main job, for real: a broken deploy is made, found and taken back; the repaired one stays.

``make demo`` runs it: a sandbox as the instance, a checkout, and a runner-like environment for each step.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.installation import wanted_version
from sandbox.lifecycle import BROKEN_DAGS, GOOD_DAGS, Sandbox
from sandbox.page import render_page, render_summary
from sandbox.runner import PROJECT, Runner, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

REPORT = PROJECT / "demo-report"
DAG = "daily_orders"

# What a developer changes in each broken file.
REPAIRS = {
    "ad_spend.py": (("from marketing_sdk import Campaigns\n", ""), ("Campaigns().spend()", "1234.5")),
    "inventory_sync.py": (
        ('Variable.get("inventory_api_url")', 'Variable.get("inventory_api_url", default_var="https://stock.example.com")'),
    ),
    "loyalty_points.py": (("load_all_orders", "load_orders"),),
    "price_updates.py": ((">> verify >> check", ">> verify"),),
    "returns.py": (('"echo counted"', '"echo counted")'),),
}
# How the lines of a deploy's log begin that tell the story.
SHOWN = ("Plan for", "Deployed:", "The former files are back", "Taken back:")
WIDTH = 128
WHY = """\
2. A commit adds five DAG files that do not import.
   Copying them would succeed: a deploy that only copies would be green, and five DAGs would be missing in Airflow.
   The action finds the errors, fails, and restores the former files."""


@contextmanager
def prepare() -> Iterator[tuple[Sandbox, Path, Runner]]:
    """Give an instance with an empty DAG folder, a checkout with sound DAG files, and a runner in it."""
    with tempfile.TemporaryDirectory(prefix="dms-airflow-demo-") as folder:
        checkout, instance = Path(folder) / "checkout", Path(folder) / "instance"
        shutil.copytree(GOOD_DAGS, checkout / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        instance.mkdir()
        runner = Runner(workspace=checkout, temp=Path(tempfile.mkdtemp(dir=folder)))
        with Sandbox.start(dags=instance, forks_commands=True) as sandbox:
            yield sandbox, checkout, runner


def break_files(checkout: Path) -> None:
    """Add five DAG files that do not import."""
    shutil.copytree(BROKEN_DAGS, checkout / "dags", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def repair_files(checkout: Path, names: Iterable[str] = tuple(REPAIRS)) -> None:
    """Correct the broken files of these names."""
    for name in names:
        file = checkout / "dags" / name
        text = file.read_text(encoding="utf-8")
        for old, new in REPAIRS[name]:
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")


def run_step(sandbox: Sandbox, runner: Runner, environ: Mapping[str, str] | None = None, **inputs: str) -> Step:
    """Run the action as a workflow's step."""
    connection = {
        "endpoint": sandbox.endpoint,
        "region": sandbox.region,
        "instance-id": sandbox.instance_id,
        "access-key-id": sandbox.access_key_id,
        "access-key-secret": sandbox.access_key_secret,
    }
    return runner.run(connection | {name.replace("_", "-"): value for name, value in inputs.items()}, environ)


def main() -> int:
    """Run the demo; 0 when each deploy ended as it should."""
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir()
    print(f"Starting the sandbox: a real Airflow {wanted_version()} behind a stand-in of DMS (some seconds) …", flush=True)
    with prepare() as (sandbox, checkout, runner):
        first = show(sandbox, runner, "1. A team deploys its DAG files for the first time.")
        break_files(checkout)
        broken = show(sandbox, runner, WHY)
        run = run_step(sandbox, runner, operation="dags trigger", arguments=DAG, on_paused="unpause")
        print(f"   The former DAGs still run: {DAG} was triggered, exit code {run.exit_code}.")
        repair_files(checkout)
        repaired = show(sandbox, runner, "3. The next commit repairs them. This version stays.")
    steps = {"1. The first deploy": first, "2. Five broken files": broken, "3. The repaired files": repaired}
    page = render_page([(name, render_summary(step.summary)) for name, step in steps.items()])
    (REPORT / "index.html").write_text(page, encoding="utf-8")
    return conclude(first, broken, repaired, run)


def show(sandbox: Sandbox, runner: Runner, heading: str) -> Step:
    """Deploy the checkout, and show the lines of its log that tell the story."""
    print(f"\n━━ {heading}\n   operation: deploy", flush=True)
    started = time.monotonic()
    step = run_step(sandbox, runner, operation="deploy", dags_path="dags")
    for line in step.log.splitlines():
        if line.startswith(SHOWN):
            print(f"   │ {shorten(line)}")
    for one in step.annotations:
        if "line" in one.properties:
            message = one.data.partition("\n")[0]
            print(shorten(f"   │ ✖ {one.properties['file']}, line {one.properties['line']}: {message}"))
    seconds = time.monotonic() - started
    print(f"   Exit code {step.exit_code} after {seconds:.0f} s", flush=True)
    return step


def shorten(line: str) -> str:
    """Cut a line to the width of a terminal."""
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def conclude(first: Step, broken: Step, repaired: Step, run: Step) -> int:
    """Compare with what must have come out, and say what to do next."""
    errors = [one for one in broken.annotations if one.name == "error"]
    codes = [step.exit_code for step in (first, broken, repaired, run)]
    if codes != [0, 1, 0, 0] or len(errors) != len(REPAIRS) or broken.outputs.get("rolled-back") != "true":
        print(f"\nTHIS IS NOT WHAT THE DEMO MUST SHOW: exit codes {codes}, {len(errors)} errors.\n{broken.log}")
        return 1
    print(
        f"\n━━ The job summaries of the three deploys, for a browser: {(REPORT / 'index.html').as_uri()}\n"
        "━━ Next: docs/getting-started.md says what your instance needs, then copy examples/deploy.yml to .github/workflows/."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
