"""The action's own additions on a real Airflow: import errors, DAG runs, several commands, REST."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from sandbox.installation import wanted_version
from sandbox.lifecycle import BROKEN_DAGS, GOOD_DAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sandbox import Sandbox
    from sandbox.instance import CommandResult
    from sandbox.runner import Step

    Act = Callable[..., Step]

pytestmark = pytest.mark.e2e

MAJOR = wanted_version().partition(".")[0]
# Airflow 3 answers the first command, at the path of Airflow 2, with 405: it did not run.
NOT_THERE = {"2": [], "3": ["proxy"]}[MAJOR]

# Written by hand from sandbox/dags/broken.
PLACES = {
    ("dags/ad_spend.py", 9, "ModuleNotFoundError"),
    ("dags/inventory_sync.py", 11, "KeyError"),
    ("dags/loyalty_points.py", 9, "ImportError"),
    ("dags/price_updates.py", 10, "AirflowDagCycleException"),
    ("dags/returns.py", 11, "SyntaxError"),
}


@pytest.fixture
def broken(sandbox: Sandbox, workspace: Path) -> Iterator[None]:
    """A deploy whose DAG files do not import, on the instance and in the checkout."""
    for source in (GOOD_DAGS, BROKEN_DAGS):
        shutil.copytree(source, workspace / "dags", dirs_exist_ok=True)
    names = [file.name for file in BROKEN_DAGS.glob("*.py")]
    for name in names:
        shutil.copyfile(BROKEN_DAGS / name, sandbox.dags_folder / name)
    yield
    for name in names:
        (sandbox.dags_folder / name).unlink()


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("operation", ["dags list-import-errors", "dags reserialize"])
def test_import_errors_are_told_on_their_lines(act: Act, operation: str) -> None:
    step = act(operation)

    assert step.exit_code == 1, step.log
    assert {(one["file"], one["line"], one["exception"]) for one in step.read_json("import-errors")} == PLACES
    # Airflow 3 warns of its old names for operators besides.
    errors = [one.properties for one in step.annotations if one.name == "error"]
    annotated = {(error["file"], int(error["line"])) for error in errors}
    assert annotated == {(file, line) for file, line, _ in PLACES}


@pytest.mark.airflow("2", "3 has no --subdir: its command line reads configured bundles only")
def test_a_folder_is_checked_before_it_is_deployed(sandbox: Sandbox, workspace: Path, tmp_path: Path, act: Act) -> None:
    preview = tmp_path / "preview"
    for folder in (preview, workspace / "dags"):
        for source in (GOOD_DAGS, BROKEN_DAGS):
            shutil.copytree(source, folder, dirs_exist_ok=True)
    (preview / "loyalty_points.py").unlink()  # its helper is imported from the DAG folder, not from here

    step = act("dags list-import-errors", f"--subdir {preview}")

    assert step.exit_code == 1, step.log
    found = {(one["file"], one["line"], one["exception"]) for one in step.read_json("import-errors")}
    assert found == {place for place in PLACES if place[0] != "dags/loyalty_points.py"}
    # What runs on the instance is untouched.
    assert not (sandbox.dags_folder / "returns.py").exists()


def test_a_run_is_triggered_once_under_the_id_that_was_told(sandbox: Sandbox, act: Act) -> None:
    before = sandbox.requests

    step = act("dags trigger", "warehouse_check", conf='{"shelf": "a \'b\' \\"c\\""}')

    assert step.exit_code == 0, step.log
    run_id = step.outputs["run-id"]
    assert run_id.startswith("gha__4711-1-deploy-__dms-airflow__")
    told = act("rest", f"GET /dags/warehouse_check/dagRuns/{run_id}")
    assert told.read_json("json")["conf"] == {"shelf": "a 'b' \"c\""}
    assert told.read_json("json")["dag_run_id"] == run_id
    kinds = [entry["kind"] for entry in sandbox.journal(since=before)]
    # Each step asks for the version first; Airflow 3 has no REST below /api/v1.
    version = {"2": ["proxy"], "3": ["proxy", "proxy"]}[MAJOR]
    assert kinds == ["token", "login", *version, *NOT_THERE, "command", "token", "login", *version, "proxy"]


def test_several_commands_with_one_login(sandbox: Sandbox, act: Act) -> None:
    before = sandbox.requests

    step = act("cli", "# a comment\nversion\n\nvariables get nosuch\nversion\n")

    assert step.exit_code == 1, step.log
    assert [(one["command"], one["status"]) for one in step.read_json("json")] == [
        ("version", "success"),
        ("variables get nosuch", "failure"),
        ("version", "not run"),
    ]
    assert [entry["kind"] for entry in sandbox.journal(since=before)] == ["token", "login", *NOT_THERE, "command", "command"]


def test_rest_of_all_verbs(act: Act) -> None:
    body = '{"key": "e2e_rest", "value": "rest-value"}'

    created = act("rest", "POST /variables", body=body)
    assert created.outputs["status-code"] == {"2": "200", "3": "201"}[MAJOR]
    assert act("rest", "GET /variables/e2e_rest").read_json("json")["value"] == "rest-value"
    changed = act("rest", "PATCH /variables/e2e_rest", body='{"key": "e2e_rest", "value": "other-value"}')
    assert changed.outputs["status-code"] == "200"
    assert act("rest", "DELETE /variables/e2e_rest").outputs["status-code"] == "204"
    assert act("rest", "GET /variables/e2e_rest").outputs["status-code"] == "404"


def test_every_page_of_a_real_list(act: Act) -> None:
    step = act("rest", "GET /dags?order_by=dag_id --paginate")

    whole = step.read_json("json")
    assert len(whole["dags"]) == whole["total_entries"] >= 5


def test_a_session_that_ends_in_the_middle_is_renewed(sandbox: Sandbox, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_command(arguments: Sequence[str]) -> CommandResult:
        result = type(sandbox.front.instance).run_command(sandbox.front.instance, arguments)
        sandbox.expire_sessions()
        return result

    monkeypatch.setattr(sandbox.front.instance, "run_command", run_command)
    before = sandbox.requests

    step = act("cli", "version\nversion")

    assert step.exit_code == 0, step.log
    kinds = [entry["kind"] for entry in sandbox.journal(since=before)]
    assert kinds == ["token", "login", *NOT_THERE, "command", "command", "token", "login", "command"]


def test_temporary_credentials(sandbox: Sandbox, act: Act) -> None:
    key = sandbox.temporary_access_key

    step = act(
        "version",
        access_key_id=key.access_key_id,
        access_key_secret=key.access_key_secret,
        security_token=key.security_token,
    )

    assert step.exit_code == 0, step.log
