"""What a release needs of the files: one version everywhere, an action.yml that names the released image, notes.

    python scripts/release.py check 1.2.3
    python scripts/release.py name-image 1.2.3 ghcr.io/<owner>/<repository> sha256:<digest>
    python scripts/release.py notes 1.2.3

.github/workflows/release.yml calls it, with nothing installed. On a branch action.yml names the Dockerfile, which a user's
runner builds at the start of each job; a tag's action.yml names the image that was built and tested for it, and is pulled.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
BUILT = "  image: Dockerfile\n"


class ReleaseError(ValueError):
    """The files are not those of this release; the text says what to change."""


def find_problems(version: str, changelog: str, package: str) -> list[str]:
    """List what prevents the release of `version`.

    Args:
        version: As in `1.2.3`.
        changelog: Text of CHANGELOG.md.
        package: Text of dms_airflow/__init__.py.
    """
    if not re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version):
        return [f"{version!r} is not a version such as 1.2.3"]
    problems = []
    if not find_notes(version, changelog):
        problems.append(f"CHANGELOG.md has no section ## [{version}]: rename the section [Unreleased]")
    if f'__version__ = "{version}"\n' not in package:
        problems.append(f'dms_airflow/__init__.py is of another version: it must have __version__ = "{version}"')
    return problems


def find_notes(version: str, changelog: str) -> str:
    """Return the section of `version` in CHANGELOG.md without its heading; empty when there is none."""
    heading = re.compile(rf"^## \[{re.escape(version)}\].*$", re.MULTILINE)
    parts = heading.split(changelog, maxsplit=1)
    if len(parts) == 1:
        return ""
    # The next version's heading ends it, or the targets of the links at the end.
    return re.split(r"(?m)^(?:## |\[[^\]]+\]: )", parts[1], maxsplit=1)[0].strip()


def name_image(action: str, image: str) -> str:
    """Return action.yml with the Dockerfile replaced by `image`, and every other byte as it was.

    Args:
        action: Text of action.yml.
        image: Name with tag and digest; a registry takes small letters only. By the digest, who pins the tag's commit pins
            the image, too.

    Raises:
        ReleaseError: It does not name the Dockerfile exactly once.
    """
    if action.count(BUILT) != 1:
        raise ReleaseError(f"action.yml must hold the line {BUILT.rstrip()!r} once; it does {action.count(BUILT)} times")
    return action.replace(BUILT, f"  image: docker://{image.lower()}\n")


def read_digest(text: str) -> str:
    """Return the digest. A step that did not run leaves an empty one.

    Raises:
        ValueError: It is not a digest; argparse prints it.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise ValueError
    return text


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Run one command; return the exit status: 1 when the files are not those of the release."""
    parser = argparse.ArgumentParser(description="What a release needs of the files.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("check", "is this version the one that the files speak of?"),
        ("name-image", "let action.yml name the released image"),
        ("notes", "print what CHANGELOG.md says"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("version", help="as in 1.2.3")
        if name == "name-image":
            command.add_argument("repository", help="the image without its tag: ghcr.io/<owner>/<repository>")
            command.add_argument("digest", type=read_digest, help="of the image's index: sha256:…")
    options = parser.parse_args(arguments)
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if options.command == "notes":
        print(find_notes(options.version, changelog))
        return 0
    if options.command == "check":
        problems = find_problems(options.version, changelog, (root / "dms_airflow" / "__init__.py").read_text(encoding="utf-8"))
        for problem in problems:
            print(f"::error title=Not releasable::{problem}")
        return 1 if problems else 0
    action = root / "action.yml"
    try:
        released = name_image(action.read_text(encoding="utf-8"), f"{options.repository}:v{options.version}@{options.digest}")
    except ReleaseError as error:
        print(f"::error title=Not releasable::{error}")
        return 1
    action.write_text(released, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
