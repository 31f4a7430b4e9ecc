"""The repository's own workflows: what is required, what is pinned, what they may do; and the types of the action's inputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def read(file: Path) -> dict[str, Any]:
    """Read YAML."""
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_of_others_are_pinned_to_a_commit(workflow: Path) -> None:
    used = re.findall(r"(?m)^\s*(?:- )?uses: (?!\./)(.*)$", workflow.read_text(encoding="utf-8"))

    assert [line for line in used if not re.match(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+( |$)", line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_what_a_workflow_may_do_is_said_and_read_only_by_default(workflow: Path) -> None:
    permissions = read(workflow)["permissions"]

    assert set(permissions.values()) <= {"read"}


def test_an_action_is_of_one_version_everywhere() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    pairs = set(re.findall(r"([\w./-]+)@([0-9a-f]{40}) # (v[\d.]+)", text))

    assert len({name for name, _, _ in pairs}) == len(pairs)


def test_the_one_required_check_waits_for_every_job() -> None:
    jobs = read(PROJECT / ".github" / "workflows" / "ci.yml")["jobs"]

    assert set(jobs["passed"]["needs"]) == set(jobs) - {"passed"}
    assert jobs["passed"]["if"] == "always()"


def test_every_input_and_output_has_a_type() -> None:
    action, types = read(PROJECT / "action.yml"), read(PROJECT / "action-types.yml")

    assert {kind: list(types[kind]) for kind in types} == {kind: list(action[kind]) for kind in ("inputs", "outputs")}
    for name, declared in action["inputs"].items():
        default = declared.get("default")
        is_boolean = default in {"true", "false"}
        assert (types["inputs"][name]["type"] == "boolean") == is_boolean, name
        assert default in types["inputs"][name].get("allowed-values", [default]), name


def test_a_release_is_named_only_when_it_is_tested_signed_and_attested() -> None:
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    steps = [str(step.get("uses", step.get("run"))) for step in jobs["publish"]["steps"]]

    assert [jobs[name]["needs"] for name in ("checks", "candidate", "candidate-works", "publish", "package", "major-tag")] == [
        "version",
        ["version", "checks"],
        ["version", "candidate"],
        ["version", "candidate", "candidate-works"],
        ["version", "publish"],
        ["version", "publish"],
    ]
    order = [
        "docker pull",
        "cosign sign",
        "attest-build-provenance",
        "git push --atomic",
        "imagetools create --tag",
        "gh release",
    ]
    assert [next(number for number, step in enumerate(steps) if word in step) for word in order] == [3, 5, 6, 7, 8, 9]
    # The first job makes the branch whose workflow files let the tag be pushed, however long the rest takes.
    assert 'git push --force origin "HEAD:refs/heads/release/$TAG"' in jobs["version"]["steps"][-1]["run"]
    # What is tested is what is named: one digest, never built again.
    assert jobs["candidate-works"]["with"]["image"].endswith("@${{ needs.candidate.outputs.digest }}")
    assert "build-push-action" not in " ".join(steps)
