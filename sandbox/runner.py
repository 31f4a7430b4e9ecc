"""What GitHub's runner does around a step: gives it inputs and files, runs it, reads what it printed and wrote.

Rules of the runner's source (https://github.com/actions/runner, src/Runner.Worker and src/Runner.Common): ActionCommand for
workflow commands, EnvFileKeyValuePairs for outputs, SecretMasker for what a person sees of the log.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROJECT = Path(__file__).resolve().parent.parent
ACTION = PROJECT / "action.yml"

_COMMAND = re.compile(r"\s*::(?P<name>[a-z-]+)(?: (?P<properties>[^:]*(?:[^:]|:(?!:))*?))?::(?P<data>.*)")
_OLD_COMMAND = re.compile(r"##\[(?P<name>[a-z-]+)(?: (?P<properties>[^\]]*))?\](?P<data>.*)")
_ANNOTATIONS = ("error", "warning", "notice")

# What the job's environment holds on every runner, less what the step is to see of this process: nothing.
_INHERITED = ("PATH", "LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A workflow command as the runner understands it."""

    name: str
    properties: Mapping[str, str]
    data: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that has ended."""

    exit_code: int
    stdout: str
    stderr: str
    outputs: Mapping[str, str]
    summary: str
    workspace: Path

    @property
    def commands(self) -> list[Command]:
        """The workflow commands in both streams."""
        lines = [*re.split(r"\r\n|\r|\n", self.stdout), *re.split(r"\r\n|\r|\n", self.stderr)]
        return [command for line in lines if (command := parse_command(line))]

    @property
    def annotations(self) -> list[Command]:
        """The annotations: the first ten of each kind, as GitHub keeps them."""
        return [one for kind in _ANNOTATIONS for one in [c for c in self.commands if c.name == kind][:10]]

    @property
    def masks(self) -> list[str]:
        """What the step asked to be masked."""
        return [command.data for command in self.commands if command.name == "add-mask"]

    @property
    def log(self) -> str:
        """What a person sees: no ``add-mask`` lines, masked values as ``***``."""
        shown = [line for line in (self.stdout + self.stderr).splitlines() if not line.startswith("::add-mask::")]
        text = "\n".join(shown)
        for value in sorted(filter(None, self.masks), key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def read_json(self, output: str) -> Any:
        """Give an output that is JSON."""
        return json.loads(self.outputs[output])


def parse_command(line: str) -> Command | None:
    """Read a line as the runner does; None when it is text."""
    if match := _COMMAND.match(line):
        pairs = [part.partition("=") for part in (match["properties"] or "").split(",") if part]
        properties = {key.strip(): _unescape(value, property_=True) for key, _, value in pairs if value}
        return Command(name=match["name"], properties=properties, data=_unescape(match["data"]))
    if match := _OLD_COMMAND.search(line):
        return Command(name=match["name"], properties={}, data=match["data"])
    return None


def _unescape(text: str, *, property_: bool = False) -> str:
    codes = [("%0D", "\r"), ("%0A", "\n"), *([("%3A", ":"), ("%2C", ",")] if property_ else []), ("%25", "%")]
    for code, character in codes:
        text = text.replace(code, character)
    return text


def read_outputs(text: str) -> dict[str, str]:
    """Read the file of outputs.

    Raises:
        ValueError: The runner would refuse it, and fail the step.
    """
    outputs: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, heredoc, delimiter = line.partition("<<")
        if "=" in name or not heredoc:
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"Invalid format {line!r}")
            outputs[name] = value
            continue
        value_lines: list[str] = []
        for value_line in lines:
            if value_line == delimiter:
                break
            value_lines.append(value_line)
        else:
            raise ValueError(f"Matching delimiter not found {delimiter!r}")
        outputs[name] = "\n".join(value_lines)
    return outputs


@cache
def read_defaults() -> Mapping[str, str]:
    """Give every input that action.yml declares, with its default, as the runner fills them in."""
    declared = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["inputs"]
    return {name: str((fields or {}).get("default", "")) for name, fields in declared.items()}


class Process(Protocol):
    """A step that runs."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """What the step prints."""
        ...

    @property
    def stderr(self) -> IO[bytes] | None:
        """What the step prints there."""
        ...

    def communicate(self) -> tuple[bytes, bytes]:
        """Wait for the end; give what was written to stdout and stderr."""
        ...

    def wait(self) -> int:
        """Wait for the end; give the exit code."""
        ...

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless the step has ended."""
        ...


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A place to run steps of one job in.

    Args:
        workspace: The checkout.
        temp: A folder for the command files.
        command: What runs the action; its own interpreter and entrypoint by default.
    """

    workspace: Path
    temp: Path
    command: Sequence[str] = (sys.executable, "-Esu", str(PROJECT / "entrypoint.py"))

    def run(self, inputs: Mapping[str, str], environ: Mapping[str, str] | None = None) -> Step:
        """Run one step and wait until it ends."""
        process, files = self.start(inputs, environ)
        stdout, stderr = process.communicate()
        return self.finish(process, files, stdout, stderr)

    def start(self, inputs: Mapping[str, str], environ: Mapping[str, str] | None = None) -> tuple[Process, Mapping[str, Path]]:
        """Start one step."""
        variables, files = self.prepare(inputs, environ)
        process = subprocess.Popen(
            list(self.command),
            env=variables,
            cwd=self.workspace,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return process, files

    def prepare(
        self, inputs: Mapping[str, str], environ: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], Mapping[str, Path]]:
        """Give a step's variables, and the files that it is to write."""
        number = len(list(self.temp.glob("set_output_*")))
        files = {
            "GITHUB_OUTPUT": self.temp / f"set_output_{number}",
            "GITHUB_STEP_SUMMARY": self.temp / f"step_summary_{number}",
        }
        for file in files.values():
            file.touch()
        given = {f"INPUT_{name.upper()}": value for name, value in {**read_defaults(), **inputs}.items()}
        variables = {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION": "__dms-airflow",
            "GITHUB_JOB": "deploy",
            "GITHUB_RUN_ID": "4711",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_REPOSITORY": "octo-org/dags",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "0" * 40,
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_ENVIRONMENT": "github-hosted",
            "RUNNER_TEMP": str(self.temp),
            "HOME": str(self.temp),
            **{name: str(file) for name, file in files.items()},
            **given,
            **(environ or {}),
        }
        return variables, files

    def finish(self, process: Process, files: Mapping[str, Path], stdout: bytes, stderr: bytes) -> Step:
        """Read what an ended step left behind."""
        return self.collect(process.wait(), files, stdout.decode(), stderr.decode())

    def collect(self, exit_code: int, files: Mapping[str, Path], stdout: str, stderr: str = "") -> Step:
        """Read the files of a step that ran in whatever way."""
        return Step(
            exit_code=exit_code,
            stdout=stdout,
            stderr=stderr,
            outputs=read_outputs(files["GITHUB_OUTPUT"].read_text(encoding="utf-8")),
            summary=files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"),
            workspace=self.workspace,
        )
