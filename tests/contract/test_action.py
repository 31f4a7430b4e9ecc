"""action.yml and the code say the same; whatever an added operation forgot is named here."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dms_airflow import __version__, operations
from dms_airflow.airflow.commands.known_commands import COMMANDS
from dms_airflow.config import Config
from dms_airflow.core.contract import INPUTS as DECLARED
from dms_airflow.core.inputs import list_inputs, load
from dms_airflow.operations import DEFAULTS, OPERATIONS, import_operation

if TYPE_CHECKING:
    from dms_airflow.core.errors import InputProblem

PROJECT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((PROJECT / "action.yml").read_text(encoding="utf-8"))

# The inputs, outputs and commands of the public contract: workflows of other people rely on these names.
INPUTS = """
region instance-id endpoint access-key-id access-key-secret security-token role-to-assume oidc-provider-arn audience
role-session-name role-session-expiration operation arguments body conf wait-for-completion timeout poll-interval on-paused
on-cancel fail-on baseline dags-path verify-source expect-dags deploy-to deploy-branch deploy-exclude workspace-id dry-run prune
force on-failure reuse-session summary annotations warnings result-file
sarif-file junit-file code-quality-file comment github-token
"""
OUTPUTS = """
status stdout stderr json status-code import-errors import-error-count new-import-error-count findings plan
rolled-back dag-changes dag-id run-id run-state run-url
runs airflow-url airflow-version duration
"""
NAMES = """
dags backfill, dags delete, dags list, dags list-import-errors, dags list-jobs, dags list-runs, dags next-execution, dags pause,
dags report, dags reserialize, dags show, dags state, dags test, dags trigger, dags unpause, tasks clear, tasks failed-deps,
tasks list, tasks render, tasks state, tasks states-for-dag-run, tasks test, connections add, connections delete,
variables delete, variables get, variables list, variables set, providers behaviours, providers get, providers hooks,
providers list, providers links, providers notifications, providers secrets, providers triggerer, providers triggers,
providers widgets, cheat-sheet, db clean, version, backfill create
"""
COMMAND_NAMES = [" ".join(name.split()) for name in NAMES.split(",")]

MODULES = {name: import_operation(name) for name in OPERATIONS}


def test_inputs_are_those_of_the_contract_and_of_the_code() -> None:
    read = set(list_inputs(Config)).union(*(list_inputs(operation.Params) for operation in MODULES.values()))

    assert sorted(ACTION["inputs"]) == sorted(INPUTS.split())
    assert sorted(read) == sorted(INPUTS.split())


def test_outputs_are_those_of_the_contract_and_of_the_code() -> None:
    every = {"status", "duration", "airflow-url", "airflow-version"}
    written = every.union(*(operation.OUTPUTS for operation in MODULES.values()))

    assert sorted(ACTION["outputs"]) == sorted(OUTPUTS.split())
    assert sorted(written) == sorted(OUTPUTS.split())


def test_operations_are_those_of_the_contract() -> None:
    assert sorted(OPERATIONS) == sorted([*COMMAND_NAMES, "cli", "rest", "deploy", "deploy-gate", "smoke-test", "doctor"])
    assert sorted(COMMANDS) == sorted(COMMAND_NAMES)


@pytest.mark.parametrize("name", sorted(ACTION["inputs"]))
def test_every_input_is_described(name: str) -> None:
    fields = ACTION["inputs"][name]

    assert len(fields["description"]) > 10
    assert set(fields) <= {"description", "default", "required"}
    assert isinstance(fields.get("default", ""), str)


def test_the_marketplace_takes_it() -> None:
    # https://docs.github.com/actions/sharing-automations/creating-actions/metadata-syntax-for-github-actions
    # Its page for a release refuses a description of 125 characters, too.
    assert ACTION["name"] == "Airflow on Alibaba Cloud DMS"
    assert len(ACTION["description"]) < 125
    assert ACTION["branding"] == {"icon": "wind", "color": "blue"}
    assert ACTION["author"]


def given_defaults() -> dict[str, str]:
    required = {"instance-id": "af-1", "operation": "version", "region": "cn-hangzhou", "arguments": "GET /dags"}
    declared = {name: fields.get("default", "") for name, fields in ACTION["inputs"].items()}
    return {f"INPUT_{name.upper()}": value for name, value in {**declared, **required}.items()}


@pytest.mark.parametrize("cls", [Config, *{operation.Params for operation in MODULES.values()}])
def test_a_default_is_what_an_empty_input_means(cls: Any) -> None:
    environ = given_defaults()
    empty = {name: environ[name] for name in ("INPUT_INSTANCE-ID", "INPUT_OPERATION", "INPUT_REGION", "INPUT_ARGUMENTS")}
    problems: list[InputProblem] = []
    if cls is MODULES["cli"].Params:
        environ["INPUT_ARGUMENTS"] = empty["INPUT_ARGUMENTS"] = "version"
    if cls is MODULES["doctor"].Params:
        environ["INPUT_ARGUMENTS"] = empty["INPUT_ARGUMENTS"] = "deploy"

    assert load(cls, environ, problems) == load(cls, empty, problems)
    assert problems == []


def test_the_defaults_of_inputs_that_only_some_operations_read_are_those_of_action_yml() -> None:
    every = {"operation", "arguments", *list_inputs(Config)}
    some = {name for operation in MODULES.values() for name in list_inputs(operation.Params)} - every

    assert {name: ACTION["inputs"][name].get("default", "") for name in some} == DEFAULTS


def test_the_inputs_of_action_yml_are_those_of_the_contract() -> None:
    declared = {
        name: {
            "description": one.meaning,
            **({"required": True} if one.required else {}),
            **({"default": one.default} if one.default else {}),
        }
        for name, one in DECLARED.items()
    }

    assert ACTION["inputs"] == declared


def test_required_inputs_are_marked() -> None:
    assert [name for name, fields in ACTION["inputs"].items() if fields.get("required")] == ["instance-id", "operation"]


def test_secret_inputs() -> None:
    secret = {name for name, source in list_inputs(Config).items() if source.secret}

    assert secret == {"access-key-id", "access-key-secret", "security-token", "github-token"}


def test_it_is_a_container_action_that_hands_over_its_inputs_untouched() -> None:
    runs = ACTION["runs"]

    assert set(runs) == {"using", "image"}
    assert runs["using"] == "docker"
    # A tag's action.yml pulls what was built for it: scripts/release.py.
    released = rf"docker://ghcr\.io/[\w.-]+/[\w.-]+:v{re.escape(__version__)}@sha256:[0-9a-f]{{64}}"
    assert re.fullmatch(rf"Dockerfile|{released}", runs["image"])


def test_the_entrypoint_is_immune_to_the_workspace() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")

    assert dockerfile.rstrip().endswith('ENTRYPOINT ["/usr/local/bin/python", "-Esu", "/app/entrypoint.py"]')
    assert "USER" not in [line.partition(" ")[0] for line in dockerfile.splitlines()]


def test_every_operation_is_tested_as_a_whole() -> None:
    folders = (PROJECT / "tests" / "integration", PROJECT / "tests" / "e2e")
    text = "".join(file.read_text(encoding="utf-8") for folder in folders for file in folder.glob("test_*.py"))
    modules = {operation.__name__.rpartition(".")[2]: operation for operation in MODULES.values()}  # type: ignore[attr-defined]

    untested = [
        name
        for name, module in modules.items()
        if not any(f'"operation": "{operation}"' in text for operation in OPERATIONS if MODULES[operation] is module)
    ]
    assert untested == []


def test_the_version_is_in_the_changelog_or_yet_to_come() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert f"[{__version__}]" in changelog or "[Unreleased]" in changelog


def test_operations_are_written_out_by_hand() -> None:
    source = ast.parse(Path(operations.__file__).read_text(encoding="utf-8"))

    assert any(isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "OPERATIONS" for node in source.body)
