"""Every CLI command of the contract, in a success and a failure: the step ends as Airflow's own exit status says.

The sandbox writes the exit status into its journal, beside an answer that does not hold it.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from dms_airflow.airflow.commands.known_commands import COMMANDS
from sandbox import Sandbox
from sandbox.installation import wanted_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.runner import Step

    Act = Callable[..., Step]

pytestmark = pytest.mark.e2e

MAJOR = wanted_version().partition(".")[0]
RUN = "e2e_run"
USAGE_ERROR = 2
FAILING_DAG = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator
with DAG("always_fails", schedule="@daily", catchup=False, start_date=datetime(2024, 1, 1)) as dag:
    BashOperator(task_id="fail", bash_command="echo about to fail; exit 3")
"""
DOOMED_DAG = """
from datetime import datetime
from airflow import DAG
from airflow.operators.empty import EmptyOperator
with DAG("doomed", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    EmptyOperator(task_id="wait")
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox of this module's own: two more DAGs, a DAG run to ask about, a connection and variables to find."""
    with Sandbox.start(with_scheduler=False, forks_commands=True) as running:
        for name, text in (("always_fails", FAILING_DAG), ("doomed", DOOMED_DAG)):
            (running.dags_folder / f"{name}.py").write_text(text, encoding="utf-8")
        for line in (
            "dags reserialize",
            f"dags trigger warehouse_check --run-id {RUN}",
            "connections add e2e_known --conn-type http",
            "connections add e2e_doomed --conn-type http",
            "variables set e2e_known known-value",
        ):
            assert running.run_airflow(*line.split()).exit_code == 0, line
        yield running


# Command, arguments, and the exit status that Airflow gives it: the same one in Airflow 2 and 3.
BOTH = [
    ("version", "", 0),
    ("version", "surplus", 2),
    ("cheat-sheet", "", 0),
    ("cheat-sheet", "--nosuch", 2),
    ("dags list", "-o json", 0),
    ("dags list", "", 0),
    ("dags list", "-o nosuch", 2),
    ("dags list-import-errors", "", 0),
    ("dags list-jobs", "-o json", 0),
    ("dags list-jobs", "-d nosuch", 1),
    ("dags next-execution", "daily_orders", 0),
    ("dags next-execution", "nosuch", 1),
    ("dags report", "-o json", 0),
    ("dags report", "--nosuch", 2),
    ("dags reserialize", "", 0),
    ("dags reserialize", "--nosuch", 2),
    ("dags show", "daily_orders", 0),
    ("dags show", "nosuch", 1),
    ("dags state", "daily_orders 2026-01-01", 0),
    ("dags state", "nosuch 2026-01-01", 1),
    ("dags test", "warehouse_check 2026-01-01", 0),
    ("dags test", "always_fails 2026-01-01", 1),
    ("dags trigger", "warehouse_check", 0),
    ("dags trigger", "nosuch", 1),
    ("dags pause", "monthly_report", 0),
    ("dags pause", "", 2),
    ("dags unpause", "monthly_report", 0),
    ("dags unpause", "", 2),
    ("dags delete", "doomed --yes", 0),
    ("dags delete", "nosuch --yes", 1),
    ("dags delete", "warehouse_check", 1),
    ("tasks clear", "warehouse_check -t ^nosuch$ --yes", 0),
    ("tasks clear", "warehouse_check", 1),
    ("tasks clear", "nosuch --yes", 1),
    ("tasks failed-deps", f"warehouse_check TASK {RUN}", 0),
    ("tasks failed-deps", f"nosuch TASK {RUN}", 1),
    ("tasks list", "daily_orders", 0),
    ("tasks list", "nosuch", 1),
    ("tasks render", "always_fails fail 2026-01-01", 0),
    ("tasks render", f"warehouse_check nosuch {RUN}", 1),
    ("tasks state", f"warehouse_check TASK {RUN}", 0),
    ("tasks state", "warehouse_check TASK nosuch", 1),
    ("tasks states-for-dag-run", f"warehouse_check {RUN} -o json", 0),
    ("tasks states-for-dag-run", "warehouse_check nosuch", 1),
    ("tasks test", "warehouse_check TASK 2026-01-01", 0),
    ("tasks test", "nosuch fail 2026-03-01", 1),
    ("connections add", "e2e_new --conn-uri http://user:s3cr3t-w0rd@host", 0),
    ("connections add", "e2e_known --conn-type http", 1),
    ("connections add", "e2e_uri --conn-uri nonsense", 1),
    ("connections delete", "e2e_doomed", 0),
    ("connections delete", "nosuch", 1),
    ("variables set", "e2e_new new-value", 0),
    ("variables set", "e2e_new", 2),
    ("variables get", "e2e_known", 0),
    ("variables get", "nosuch", 1),
    ("variables list", "-o json", 0),
    ("variables list", "-o nosuch", 2),
    ("variables delete", "e2e_unknown", 0),
    ("variables delete", "", 2),
    ("providers behaviours", "", 0),
    ("providers behaviours", "--nosuch", 2),
    ("providers get", "apache-airflow-providers-smtp -o json", 0),
    ("providers get", "nosuch", 1),
    ("providers hooks", "-o json", 0),
    ("providers hooks", "--nosuch", 2),
    ("providers links", "-o json", 0),
    ("providers links", "--nosuch", 2),
    ("providers list", "-o json", 0),
    ("providers list", "--nosuch", 2),
    ("providers notifications", "-o json", 0),
    ("providers notifications", "--nosuch", 2),
    ("providers secrets", "-o json", 0),
    ("providers secrets", "--nosuch", 2),
    ("providers triggerer", "-o json", 0),
    ("providers triggerer", "--nosuch", 2),
    ("providers triggers", "-o json", 0),
    ("providers triggers", "--nosuch", 2),
    ("providers widgets", "-o json", 0),
    ("providers widgets", "--nosuch", 2),
    ("db clean", "--clean-before-timestamp 2020-01-01 --skip-archive --yes", 0),
    ("db clean", "", 2),
    ("db clean", "--clean-before-timestamp 2020-01-01", 1),
]
AIRFLOW_2 = [
    ("dags list-import-errors", "-S BROKEN", 1),
    ("dags list-runs", "-d warehouse_check -o json", 0),
    ("dags list-runs", "-d nosuch", 1),
    ("dags trigger", "warehouse_check -e 2026-04-01", 0),
    ("dags backfill", "warehouse_check -s 2026-01-01 -e 2026-01-01", 0),
    ("dags backfill", "always_fails -s 2026-01-02 -e 2026-01-02", 1),
    ("dags backfill", "warehouse_check", 1),
    # Not on the day of `dags test` above: Airflow ends 0 when the task failed in a run that failed before.
    ("tasks test", "always_fails fail 2026-03-01", 1),
    ("backfill create", "--dag-id always_fails --from-date 2026-05-01 --to-date 2026-05-01", 2),
]
AIRFLOW_3 = [
    ("dags list-import-errors", "-B nosuch", 1),
    ("dags list-import-errors", "-S BROKEN", 2),
    ("dags list-runs", "warehouse_check -o json", 0),
    ("dags list-runs", "nosuch", 1),
    ("dags list-runs", "-d warehouse_check", 2),
    ("dags state", f"warehouse_check {RUN}", 0),
    ("dags trigger", "warehouse_check -l 2026-04-01", 0),
    ("dags trigger", "warehouse_check -e 2026-04-01", 2),
    ("dags backfill", "warehouse_check -s 2026-01-01 -e 2026-01-01", 2),
    ("backfill create", "--dag-id always_fails --from-date 2026-05-01 --to-date 2026-05-01", 0),
    ("backfill create", "--dag-id warehouse_check --from-date 2026-05-01 --to-date 2026-05-01", 1),
    ("tasks test", "always_fails fail 2026-03-01", 0),
]
CASES = BOTH + {"2": AIRFLOW_2, "3": AIRFLOW_3}[MAJOR]
# Only the other major version has it.
ELSEWHERE = {"2": {"backfill create"}, "3": {"dags backfill"}}[MAJOR]
# Refused, and the error names what to write instead.
RENAMED = {
    "dags backfill": "backfill create --dag-id DAG --from-date DATE --to-date DATE",
    "backfill create": "dags backfill",
    "dags list-import-errors -S": "--bundle-name",
    "dags list-runs -d": "dags list-runs DAG",
    "dags trigger warehouse_check -e": "--logical-date",
}
# Airflow 3 ends `tasks test` with 0 when the task failed. The step fails.
FAILING_WITH_ZERO = [("tasks test", "always_fails fail 2026-03-01", 0)]


def test_every_command_succeeds_once_and_fails_once() -> None:
    succeeding = {name for name, _, exit_code in CASES if exit_code == 0}
    failing = {name for name, _, exit_code in CASES if exit_code != 0}

    assert sorted(succeeding | ELSEWHERE) == sorted(COMMANDS)
    # `dags trigger` without its DAG and the like never leave the runner.
    assert sorted(failing) == sorted(COMMANDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case)))
def test_the_step_ends_as_airflow_did(sandbox: Sandbox, act: Act, tmp_path: Path, case: tuple[str, str, int]) -> None:
    command, arguments, exit_code = case
    broken = tmp_path / "broken.py"
    broken.write_text("from airflow import DAG, nosuch\n", encoding="utf-8")
    words = arguments.replace("TASK", "connect").replace("BROKEN", shlex.quote(str(broken)))
    before = sandbox.requests

    step = act(command, words)

    told = next(entry for entry in sandbox.journal(since=before) if entry["kind"] == "command")
    assert told["exit_code"] == exit_code, "Airflow itself ended otherwise than this table says"
    fails = exit_code != 0 or case in FAILING_WITH_ZERO
    assert step.exit_code == (1 if fails else 0), step.log
    assert step.outputs["status"] == ("failure" if fails else "success")
    if "-o json" in arguments:
        assert step.outputs["json"].startswith("[")
    if fails:
        assert [one.name for one in step.annotations] == ["error"], step.log
    if exit_code == USAGE_ERROR:
        line = f"{command} {arguments}"
        named = [new for old, new in RENAMED.items() if line.startswith(old)]
        assert all(new in step.annotations[0].data for new in named), step.annotations
    printed = [line for line in step.stdout.splitlines() if not line.startswith("::add-mask::")]
    assert "s3cr3t-w0rd" not in "\n".join(printed)
