"""What a deploy of 500 files costs: calls of the workspace, and seconds with the SDK against a stand-in on the same machine.

    python -m benchmarks.deploy

The gate is left out (docs/operations/deploy-gate.md). DMS's own time for each call comes on top, for four calls at once.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

from dms_airflow.alibaba_cloud.credentials import Keys
from dms_airflow.alibaba_cloud.workspace import Workspace
from dms_airflow.config import parse_endpoint
from dms_airflow.core.result import Ending, Result
from dms_airflow.deploy.plan import make_plan
from dms_airflow.deploy.publish import find_destination, publish
from dms_airflow.deploy.rollout import Rollout
from dms_airflow.deploy.write import Target
from sandbox.openapi import INSTANCE_ID, WORKSPACE_ID
from tests.integration.fake_dms import KEY, serve
from tests.unit.fake_workspace import TARGET
from tests.unit.fakes import FakeClock, FakeLog

FOLDERS = 10
DAG = "from airflow import DAG\n"
GREEN = Result(ending=Ending.SUCCESS, headline="")


def main() -> None:
    """Deploy 500 new files of 1 kB, the same again, and one that changed."""
    texts = {f"team_{number % FOLDERS}/dag_{number}.py": f"{DAG}# {number}\n" * 35 for number in range(500)}
    changed = {**texts, "team_0/dag_0.py": DAG}
    clock, log = FakeClock(), FakeLog()
    keys = Keys(access_key_id=KEY.access_key_id, access_key_secret=KEY.access_key_secret)
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as dms:
        for name, files in (("500 new", texts), ("nothing changed", texts), ("1 of 500 changed", changed)):
            dms.workspace.calls.clear()
            started = time.perf_counter()
            with Workspace(
                workspace_id=WORKSPACE_ID,
                instance_id=INSTANCE_ID,
                obtain_keys=lambda: keys,
                endpoint=parse_endpoint(dms.endpoint),
                ca_bundle="",
                clock=clock,
                log=log,
            ) as workspace:
                destination = find_destination(workspace, TARGET)
                plan = make_plan(Target(workspace, TARGET), files)
                if plan.changes:
                    Rollout(plan, commit="", run="").run(
                        lambda ws=workspace, to=destination: publish(ws, to),  # type: ignore[misc]
                        lambda: GREEN,
                        may_take_back=False,
                    )
            calls = Counter(dms.workspace.actions())
            print(f"{name}: {sum(calls.values())} calls, {time.perf_counter() - started:.1f} s; {dict(calls)}")


if __name__ == "__main__":
    main()
