"""A release changes one line of action.yml, and is refused when the files speak of another version."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "release.py"
ACTION = PROJECT / "action.yml"
DIGEST = f"sha256:{'5' * 64}"
CHANGELOG = """\
# Changelog

## [Unreleased]

- Not yet.

## [1.2.30] - 2026-12-02

- Of another version.

## [1.2.3] - 2026-12-01

### Added

- One thing.

## [1.2.2] - 2026-11-30

- Older.

[Unreleased]: https://github.com/dms-airflow/dms-airflow/commits/main
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of version 1.2.3, with this one's action.yml."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "dms_airflow").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts" / "release.py")
    shutil.copy(ACTION, tmp_path / "action.yml")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "dms_airflow" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the workflow does: with Python's own library only."""
    command: list[str | Path] = [sys.executable, "-I", "-S", project / "scripts" / "release.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_tag_pulls_the_image_and_nothing_else_changes(project: Path) -> None:
    ran = run(project, "name-image", "1.2.3", "ghcr.io/Some-Owner/dms-airflow", DIGEST)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    before, after = (
        ACTION.read_bytes().splitlines(keepends=True),
        (project / "action.yml").read_bytes().splitlines(keepends=True),
    )
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        (b"  image: Dockerfile\n", b"  image: docker://ghcr.io/some-owner/dms-airflow:v1.2.3@%s\n" % DIGEST.encode())
    ]


@pytest.mark.parametrize("released", [False, True])
def test_action_yml_is_valid_before_and_after(project: Path, released: bool) -> None:
    if released:
        run(project, "name-image", "1.2.3", "ghcr.io/some-owner/dms-airflow", DIGEST)

    action = yaml.safe_load((project / "action.yml").read_text(encoding="utf-8"))
    schema = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions"]
    ran = subprocess.run([*schema, project / "action.yml"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert action["runs"] == {
        "using": "docker",
        "image": f"docker://ghcr.io/some-owner/dms-airflow:v1.2.3@{DIGEST}" if released else "Dockerfile",
    }


def test_a_released_action_yml_is_not_released_again(project: Path) -> None:
    run(project, "name-image", "1.2.3", "ghcr.io/some-owner/dms-airflow", DIGEST)
    before = (project / "action.yml").read_bytes()

    ran = run(project, "name-image", "1.2.4", "ghcr.io/some-owner/dms-airflow", DIGEST)

    assert ran.returncode == 1
    assert "it does 0 times" in ran.stdout
    assert (project / "action.yml").read_bytes() == before


def test_an_image_without_a_digest_is_not_released(project: Path) -> None:
    ran = run(project, "name-image", "1.2.3", "ghcr.io/some-owner/dms-airflow", "")

    assert ran.returncode == 2
    assert (project / "action.yml").read_bytes() == ACTION.read_bytes()


def test_the_version_of_all_files_is_releasable(project: Path) -> None:
    assert run(project, "check", "1.2.3").returncode == 0


@pytest.mark.parametrize(
    ("version", "problems"),
    [
        ("v1.2.3", ["'v1.2.3' is not a version such as 1.2.3"]),
        ("1.2", ["'1.2' is not a version such as 1.2.3"]),
        ("1.2.3\n", ["'1.2.3\\n' is not a version such as 1.2.3"]),
        ("1.2.30", ['dms_airflow/__init__.py is of another version: it must have __version__ = "1.2.30"']),
        (
            "2.0.0",
            [
                "CHANGELOG.md has no section ## [2.0.0]: rename the section [Unreleased]",
                'dms_airflow/__init__.py is of another version: it must have __version__ = "2.0.0"',
            ],
        ),
    ],
)
def test_another_version_is_refused_with_what_to_change(project: Path, version: str, problems: list[str]) -> None:
    ran = run(project, "check", version)

    assert ran.returncode == 1
    assert ran.stdout.splitlines() == [f"::error title=Not releasable::{problem}" for problem in problems]


@pytest.mark.parametrize(
    ("version", "notes"),
    [
        ("1.2.3", "### Added\n\n- One thing.\n"),
        ("1.2.2", "- Older.\n"),  # the last one: the targets of the links are not part of the notes
        ("1.2", "\n"),
    ],
)
def test_the_notes_are_the_words_of_the_changelog(project: Path, version: str, notes: str) -> None:
    assert run(project, "notes", version).stdout == notes
