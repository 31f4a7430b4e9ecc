"""The owner of the files that a step writes: the action's container runs as root, but the runner that deletes them does not."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def change_owner(folder: Path, *paths: Path) -> None:
    """Give files and folders that the step made to the owner of the runner's folder; nothing happens where that is refused."""
    owner = folder.stat()
    for path in paths:
        with suppress(OSError):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
