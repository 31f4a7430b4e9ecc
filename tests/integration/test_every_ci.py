"""The same five steps in the environment of each CI system: equal exit codes, equal findings, and no secret in any stream."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from dms_airflow.main import main
from sandbox.signature import Credential
from tests.integration.ci_environments import export_inputs, list_environments
from tests.integration.fake_dms import KEY
from tests.integration.scripted_runs import ScriptedDag, ScriptedRuns
from tests.integration.test_dag_runs import FAILING, LOG
from tests.leaks import find_leaks
from tests.unit.fakes import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.integration.fake_dms import FakeDms

SYSTEMS = ("github", "forgejo", "gitea", "gitlab", "jenkins", "yunxiao", "terminal")
ELSEWHERE = ("gitlab", "jenkins", "yunxiao", "terminal")
TRACE = (
    'Traceback (most recent call last):\n  File "/opt/airflow/dags/etl.py", line 2, in <module>\n    import nowhere\n'
    "ModuleNotFoundError: No module named 'nowhere'\n"
)
LISTING = json.dumps([{"filepath": "/opt/airflow/dags/etl.py", "error": TRACE}])


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A step that has ended."""

    exit_code: int
    log: str
    result: Any


@pytest.fixture
def run_in(
    dms: FakeDms, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run a step in the environment of a CI system, and search for secrets in all that it left."""
    temp = tmp_path / "temp"
    temp.mkdir()
    (workspace / "dags").mkdir()
    (workspace / "dags" / "etl.py").write_text("# airflow DAG\nimport nowhere\n\ndef extract():\n    rows = read()\n")
    monkeypatch.chdir(workspace)

    def run(system: str, inputs: Mapping[str, str], more: Mapping[str, str] | None = None) -> Ended:
        environ = {**list_environments(workspace, temp)[system], "DMS_AIRFLOW_DEBUG": "1", **(more or {})}
        for name in filter(lambda one: one in environ, ("HTTPS_PROXY", "REQUESTS_CA_BUNDLE")):  # the SDK reads them itself
            monkeypatch.setenv(name, environ[name])
        log = StringIO()
        code = main({**environ, **export_inputs({**dms.inputs, "result-file": "r.json", **inputs})}, log, FakeClock())
        written = capsys.readouterr()
        printed = log.getvalue()
        if system in ("github", "forgejo", "gitea"):
            printed = "\n".join(line for line in printed.splitlines() if not line.startswith("::add-mask::"))
        else:
            assert "add-mask" not in printed
        files = {str(one): one.read_text() for folder in (workspace, temp) for one in folder.rglob("*") if one.is_file()}
        texts = {"log": printed, "stdout": written.out, "stderr": written.err, **files}
        assert find_leaks(texts, dms.secrets) == []
        return Ended(exit_code=code, log=log.getvalue(), result=json.loads((workspace / "r.json").read_text()))

    return run


def list_causes(ended: Ended) -> list[tuple[str, str, str]]:
    findings = ended.result["outputs"].get("findings", [])
    return [(one["rule"], f"{one['file']}:{one['line']}", one["message"]) for one in findings]


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_import_error(dms: FakeDms, run_in: Callable[..., Ended], system: str) -> None:
    dms.airflow.commands["dags list-import-errors"] = (f"{LISTING}\n", "")

    ended = run_in(system, {"operation": "dags list-import-errors"})

    assert ended.exit_code == 1
    assert list_causes(ended) == [("import-error", "dags/etl.py:2", "ModuleNotFoundError: No module named 'nowhere'")]
    shown = "dags/etl.py:2: error: DAG import error: ModuleNotFoundError"
    command = "::error file=dags/etl.py,line=2,title=DAG import error%3A ModuleNotFoundError::"
    assert (shown in ended.log) is (system != "github")
    assert (command in ended.log) is (system == "github")


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_import_error(dms: FakeDms, run_in: Callable[..., Ended], system: str) -> None:
    dms.airflow.commands["dags list-import-errors"] = ("[]\n", "")

    ended = run_in(system, {"operation": "dags list-import-errors"})

    assert ended.exit_code == 0
    assert list_causes(ended) == []
    assert "error:" not in ended.log


ORIGINS = {
    "github": "gha__4711-1-deploy-__dms-airflow__",
    "forgejo": "forgejo__4711-1-deploy-__dms-airflow__",
    "gitea": "gitea__4711-1-deploy-__dms-airflow__",
    "gitlab": "gitlab__1024-50411-deploy-dags__",
    "jenkins": "ci__17-acme-dags__",
    "yunxiao": "ci__8__",
    "terminal": "local__",
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_run_with_a_failed_task(dms: FakeDms, run_in: Callable[..., Ended], system: str) -> None:
    airflow = ScriptedRuns(dags={"etl": ScriptedDag(steps=FAILING, logs={"extract": LOG})})
    dms.airflow = dms.instance = airflow  # type: ignore[assignment]

    ended = run_in(system, {"operation": "dags trigger", "arguments": "etl", "wait-for-completion": "true"})

    assert ended.exit_code == 1
    assert list_causes(ended) == [("task-failed", "dags/etl.py:5", "ValueError: no rows today")]
    ((_, run_id),) = airflow.made
    assert run_id[:-8] == ORIGINS[system]
    assert "\n::error::a line of a stranger" not in ended.log


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_wrong_key(dms: FakeDms, run_in: Callable[..., Ended], system: str) -> None:
    dms.openapi.accept(Credential(access_key_id=KEY.access_key_id, access_key_secret="another secret than that"))

    ended = run_in(system, {"operation": "version"})

    assert ended.exit_code == 1
    assert [one["title"] for one in ended.result["annotations"]] == ["No login token"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_wrong_inputs(run_in: Callable[..., Ended], system: str) -> None:
    ended = run_in(system, {"operation": "dags triger", "timeout": "soon"})

    assert ended.exit_code == 2
    assert [one["message"] for one in ended.result["annotations"]] == [
        'operation: unknown operation "dags triger"; did you mean "dags trigger"?',
        'timeout: must be a time span such as 90, 90s, 15m or 1h30m, not "soon"',
    ]


@pytest.mark.parametrize("word", ["jenkins", "Yunxiao", "plain"])
def test_a_ci_system_that_needs_nothing_of_its_own_may_be_named(dms: FakeDms, run_in: Callable[..., Ended], word: str) -> None:
    dms.airflow.commands["version"] = ("2.10.4\n", "")

    assert run_in("terminal", {"operation": "version"}, {"DMS_AIRFLOW_CI": word}).exit_code == 0


def test_an_unknown_ci_system(run_in: Callable[..., Ended]) -> None:
    ended = run_in("terminal", {"operation": "version"}, {"DMS_AIRFLOW_CI": "travis"})

    assert ended.exit_code == 2
    assert "error: Wrong input: DMS_AIRFLOW_CI\n" in ended.log
    assert 'must be one of github, forgejo, gitea, gitlab, plain, not "travis"' in ended.log


def test_a_misspelt_variable_is_not_ignored(dms: FakeDms, run_in: Callable[..., Ended]) -> None:
    more = {
        "DMS_AIRFLOW_DRYRUN": "true",
        "DMS_AIRFLOW_IMAGE": "i",
        "DMS_AIRFLOW_OUTPUT_RUN_ID": "r",
        "DMS_AIRFLOW_ID_TOKEN": "",
    }

    ended = run_in("terminal", {"operation": "deploy"}, more)

    assert ended.exit_code == 2
    assert [one["message"] for one in ended.result["annotations"]] == [
        "DMS_AIRFLOW_DRYRUN: is not the variable of an input; did you mean DMS_AIRFLOW_DRY_RUN?"
    ]
    assert dms.paths == []


@pytest.mark.parametrize("system", ELSEWHERE)
def test_no_secret_is_printed_to_be_masked(dms: FakeDms, run_in: Callable[..., Ended], system: str) -> None:
    """Keys, login token, cookie, and words of the author's own: `run_in` searches for all of them."""
    dms.airflow.commands["connections add"] = ("Successfully added `conn_id`=web : hunter2-and-more\n", "hunter2-and-more\n")

    ended = run_in(system, {"operation": "connections add", "arguments": "web --conn-password hunter2-and-more"})

    assert ended.exit_code == 0
    assert "hunter2" not in ended.log
    assert "::" not in ended.log


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_others_print_on_stderr_is_redacted(
    dms: FakeDms, run_in: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    def warn(*_: object) -> None:
        sys.stderr.write(f"a library: {KEY.access_key_secret}\n::error::x")
        raise RuntimeError(KEY.access_key_secret)

    monkeypatch.setattr("dms_airflow.main.run_operation", warn)

    ended = run_in(system, {"operation": "version"})

    assert ended.exit_code == 1
    assert "a library: ***\n" in ended.log
    assert "\n::error::x" not in ended.log
    assert dms.paths == []


@pytest.mark.parametrize("step", ["parse_inputs", "connect", "report"])
def test_a_bug_anywhere_tells_no_secret(
    dms: FakeDms, run_in: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, workspace: Path, step: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(KEY.access_key_secret)

    monkeypatch.setattr(f"dms_airflow.main.{step}", fail)
    (workspace / "r.json").write_text("{}")  # which such a bug leaves as it was
    dms.airflow.commands["version"] = ("2.10.4\n", "")

    ended = run_in("terminal", {"operation": "version"})

    assert ended.exit_code == 1
    assert "Traceback of the internal error:\n" in ended.log
    assert "error: Internal error\n" in ended.log


def test_gitlabs_log_is_folded(dms: FakeDms, run_in: Callable[..., Ended]) -> None:
    dms.airflow.commands["dags show"] = ("digraph etl {\n\x1b[0Ksection_start:1:x\r\x1b[0Kx\n}\n", "")

    ended = run_in("gitlab", {"operation": "dags show", "arguments": "etl"})

    marks = [line for line in ended.log.split("\n") if "\x1b" in line]
    assert [line.partition(":")[0] for line in marks] == ["\x1b[0Ksection_start", "\x1b[0Ksection_end"] * (len(marks) // 2)
    assert len(marks) >= 2
    assert "section_\N{ZERO WIDTH SPACE}start:1:x" in ended.log


def test_gitlabs_outputs(dms: FakeDms, run_in: Callable[..., Ended], workspace: Path) -> None:
    dms.airflow.commands["version"] = ("2.10.4\n", "")

    run_in("gitlab", {"operation": "version"})

    lines = (workspace / "dms-airflow.env").read_text().splitlines()
    assert "DMS_AIRFLOW_OUTPUT_STATUS=success" in lines
    assert all(line.startswith("DMS_AIRFLOW_OUTPUT_") for line in lines)


def test_gitlabs_id_token_is_exchanged_for_the_role(dms: FakeDms, run_in: Callable[..., Ended], cloud: Any) -> None:
    token = cloud.issuer.issue("sts.aliyuncs.com")
    dms.airflow.commands["version"] = ("2.10.4\n", "")

    ended = run_in("gitlab", {"operation": "version", **cloud.role_inputs}, {**cloud.environ, "DMS_AIRFLOW_ID_TOKEN": token})

    assert ended.exit_code == 0, ended.log
    assert token not in ended.log


@pytest.mark.parametrize(
    ("system", "words"), [("gitlab", "id_tokens: {"), ("terminal", "Set it to an"), ("gitea", "Set it to an")]
)
def test_no_id_token(run_in: Callable[..., Ended], cloud: Any, system: str, words: str) -> None:
    ended = run_in(system, {"operation": "version", **cloud.role_inputs})

    assert ended.exit_code == 1
    assert "error: No id-token" in ended.log
    assert words in ended.log
