"""The command `dms-airflow` as people get it: the wheel is built, installed into an empty environment, and used there."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dms_airflow import __version__
from tests.integration.fake_dms import KEY
from tests.integration.scripted_runs import ScriptedDag, ScriptedRuns
from tests.integration.test_dag_runs import FOREVER
from tests.integration.test_doctor import HEALTH
from tests.leaks import find_leaks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.integration.fake_dms import FakeDms

PROJECT = Path(__file__).parents[2]
PIP = (sys.executable, "-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
OFFLINE = ("--no-index", "--no-deps")


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, and install it into an empty environment, to which only its dependencies are added."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(PROJECT / "dms_airflow", source / "dms_airflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    subprocess.run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", folder, source], check=True)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", environment], check=True)
    (wheel,) = folder.glob("dms_airflow-*.whl")
    python = environment / "bin" / "python"
    subprocess.run([*PIP, "--python", python, "install", *OFFLINE, wheel], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin" / "dms-airflow"


@pytest.fixture
def variables(dms: FakeDms, tmp_path: Path) -> Mapping[str, str]:
    """What a person exports."""
    dms.airflow.commands["version"] = ("2.10.4\n", "")
    dms.airflow.route("GET", "/api/v1/version", {"version": "2.10.4", "git_version": ".release:x"})
    dms.airflow.route("GET", "/api/v1/dags?limit=1&offset=0", {"dags": [], "total_entries": 17})
    dms.airflow.route("GET", "/api/v1/health", HEALTH)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DMS_AIRFLOW_ENDPOINT": dms.inputs["endpoint"],
        "DMS_AIRFLOW_INSTANCE_ID": dms.inputs["instance-id"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY.access_key_secret,
    }


def run(command: Path, words: Sequence[str], variables: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in an empty folder."""
    return subprocess.run(
        [command, *words], env=variables, cwd=variables["HOME"], input=stdin, capture_output=True, text=True, check=False
    )


@pytest.mark.check
def test_the_wheel_is_the_command(command: Path) -> None:
    ran = run(command, ["--version"], {"HOME": "/"})

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"dms-airflow {__version__}\n", "")


def test_what_readme_says_works(dms: FakeDms, command: Path, variables: Mapping[str, str]) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"(?m)^dms-airflow (.*)$", readme)

    assert lines == ["doctor --region cn-hangzhou --instance-id af-1a2b3c"]
    ran = run(command, [*shlex.split(lines[0]), "--instance-id", dms.inputs["instance-id"]], variables)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "9 of 9 checks passed" in ran.stdout
    assert find_leaks({"stdout": ran.stdout}, dms.secrets) == []


def test_json_is_all_that_stdout_has(dms: FakeDms, command: Path, variables: Mapping[str, str]) -> None:
    ran = run(command, ["version", "--json"], variables)

    assert ran.returncode == 0
    assert json.loads(ran.stdout)["outputs"]["stdout"] == "2.10.4\n"
    assert "airflow version succeeded" in ran.stderr
    assert find_leaks({"stdout": ran.stdout, "stderr": ran.stderr}, dms.secrets) == []


def test_wrong_inputs_as_json(command: Path, variables: Mapping[str, str]) -> None:
    ran = run(command, ["dags", "triger", "etl", "--json"], variables)

    assert ran.returncode == 2
    assert [one["title"] for one in json.loads(ran.stdout)["annotations"]] == ["Wrong input: operation"]
    assert 'did you mean "dags trigger"?' in ran.stderr


def test_keys_from_a_file_and_from_stdin(dms: FakeDms, command: Path, variables: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "id").write_text(f"{KEY.access_key_id}\n")
    own = {name: text for name, text in variables.items() if "ALIBABA" not in name}

    ran = run(
        command,
        ["version", "--access-key-id-file", "id", "--access-key-secret-file", "-"],
        own,
        stdin=f"{KEY.access_key_secret}\n",
    )

    assert ran.returncode == 0, ran.stdout
    assert find_leaks({"stdout": ran.stdout, "stderr": ran.stderr}, dms.secrets) == []


def test_a_person_at_a_terminal_sees_how_long_it_takes_and_can_stop_it(
    dms: FakeDms, command: Path, variables: Mapping[str, str]
) -> None:
    scripted = ScriptedRuns(dags={"etl": ScriptedDag(steps=FOREVER)})
    dms.airflow = dms.instance = scripted  # type: ignore[assignment]
    screen, terminal = pty.openpty()
    words = ["dags", "trigger", "etl", "--wait-for-completion", "--poll-interval", "20s"]
    with subprocess.Popen(
        [command, *words], env=variables, cwd=variables["HOME"], stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        shown = b""
        while not re.search(rb"\r\xe2\x80\xa6 \d+ s\x1b\[K", shown):
            shown += os.read(screen, 65536)
        process.send_signal(signal.SIGINT)
        while chunk := read_screen(screen):
            shown += chunk
    os.close(screen)

    assert process.returncode == 130
    assert b"\x1b[33mwarning: Cancelled\x1b[0m" in shown
    assert find_leaks({"terminal": shown.decode()}, dms.secrets) == []


def read_screen(screen: int) -> bytes:
    """Read what a terminal shows; empty when nobody writes to it any more, which Linux reports as an error."""
    try:
        return os.read(screen, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize(("option", "exit_code"), [("--version", 0), ("--help", 0), ("--nonsense", 2)])
def test_the_commands_own_timer_does_not_kill_it_while_python_ends(option: str, exit_code: int) -> None:
    code = "import sys; from dms_airflow import command; command.TICK = 0.002; command.main()"

    ran = subprocess.run([sys.executable, "-c", code, option], cwd=PROJECT, capture_output=True, check=False)

    assert ran.returncode == exit_code


def test_the_image_finds_the_command_by_its_name(tmp_path: Path) -> None:
    # As in the Dockerfile: the name is a link to the file, which finds the package in its own folder.
    (tmp_path / "dms-airflow").symlink_to(PROJECT / "entrypoint.py")

    ran = subprocess.run(
        [sys.executable, "-Esu", tmp_path / "dms-airflow", "--version"], cwd="/", capture_output=True, text=True, check=False
    )

    assert (ran.returncode, ran.stdout) == (0, f"dms-airflow {__version__}\n")
    assert os.access(PROJECT / "entrypoint.py", os.X_OK)
