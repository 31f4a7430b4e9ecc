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
from sandbox.runner import PROJECT, Runner, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

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
SHOWN = ("Plan for", "Nothing to deploy", "Published", "The former files", "Deploy", "Taken back")


@contextmanager
def prepare() -> Iterator[tuple[Sandbox, Path, Runner]]:
    """Give an instance with an empty DAG folder, a checkout with sound DAG files, and a runner in it."""
    with tempfile.TemporaryDirectory(prefix="dms-airflow-demo-") as folder:
        checkout, instance = Path(folder) / "checkout", Path(folder) / "instance"
        shutil.copytree(GOOD_DAGS, checkout / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        instance.mkdir()
        runner = Runner(workspace=checkout, temp=Path(tempfile.mkdtemp(dir=folder)))
        with Sandbox.start(dags=instance) as sandbox:
            yield sandbox, checkout, runner


def break_files(checkout: Path) -> None:
    """Add five DAG files that do not import."""
    shutil.copytree(BROKEN_DAGS, checkout / "dags", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def repair_files(checkout: Path) -> None:
    """Correct every broken file."""
    for name, edits in REPAIRS.items():
        file = checkout / "dags" / name
        text = file.read_text(encoding="utf-8")
        for old, new in edits:
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")


def run_step(sandbox: Sandbox, runner: Runner, **inputs: str) -> Step:
    """Run the action as a workflow's step."""
    connection = {
        "endpoint": sandbox.endpoint,
        "region": sandbox.region,
        "instance-id": sandbox.instance_id,
        "access-key-id": sandbox.access_key_id,
        "access-key-secret": sandbox.access_key_secret,
    }
    return runner.run(connection | {name.replace("_", "-"): value for name, value in inputs.items()})


def main() -> int:
    """Run the demo; 0 when each deploy ended as it should."""
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir()
    print(f"Starting the sandbox: a real Airflow {wanted_version()} behind a stand-in of DMS (some seconds) …", flush=True)
    with prepare() as (sandbox, checkout, runner):
        first = show(sandbox, runner, "1. The first deploy: the sound DAGs of a team.", "first")
        break_files(checkout)
        broken = show(sandbox, runner, "2. A commit adds five DAG files that do not import. The gate finds them:", "broken")
        run = run_step(sandbox, runner, operation="dags trigger", arguments=DAG, on_paused="unpause")
        print(f"   The DAGs of before run: {DAG} was triggered, exit code {run.exit_code}.")
        repair_files(checkout)
        repaired = show(sandbox, runner, "3. The next commit repairs them, and stays:", "repaired")
    return conclude(first, broken, repaired, run)


def show(sandbox: Sandbox, runner: Runner, heading: str, name: str) -> Step:
    """Deploy the checkout; show the lines of its log that tell the story, and keep its summary."""
    print(f"\n━━ {heading}\n   operation: deploy", flush=True)
    started = time.monotonic()
    step = run_step(sandbox, runner, operation="deploy", dags_path="dags")
    for line in step.log.splitlines():
        if line.startswith(SHOWN):
            print(f"   │ {line[:150]}")
    for one in step.annotations:
        if "line" in one.properties:
            message = one.data.partition("\n")[0]
            print(f"   │ ✖ {one.properties['file']}, line {one.properties['line']}: {message[:100]}")
    (REPORT / f"{name}.md").write_text(step.summary, encoding="utf-8")
    seconds = time.monotonic() - started
    print(f"   Exit code {step.exit_code} after {seconds:.0f} s; job summary: demo-report/{name}.md", flush=True)
    return step


def conclude(first: Step, broken: Step, repaired: Step, run: Step) -> int:
    """Compare with what must have come out, and say what to do next."""
    errors = [one for one in broken.annotations if one.name == "error"]
    codes = [step.exit_code for step in (first, broken, repaired, run)]
    if codes != [0, 1, 0, 0] or len(errors) != len(REPAIRS) or broken.outputs.get("rolled-back") != "true":
        print(f"\nTHIS IS NOT WHAT THE DEMO MUST SHOW: exit codes {codes}, {len(errors)} errors.\n{broken.log}")
        return 1
    print(
        "\n━━ Next: copy examples/deploy.yml to .github/workflows/, put your region and instance id in, and give the identity\n"
        "   of the two secrets the RAM policy of docs/operations/deploy.md. examples/deploy-plan.yml shows the plan on a pull\n"
        "   request."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
