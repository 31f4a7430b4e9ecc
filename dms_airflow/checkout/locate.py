"""The place in the checkout that a traceback means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.checkout.source_lines import find_shown_line, split_lines
from dms_airflow.core import tracebacks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dms_airflow.checkout.mapping import Checkout


def place_failure(stack_trace: str, dag_file: str, checkout: Checkout) -> tuple[str | None, int | None]:
    """Find the place of the checkout to fix after a task failed: the deepest one in its traceback, else its DAG file.

    Args:
        stack_trace: its traceback; may be empty.
        dag_file: the instance's path of the DAG file.
        checkout: The author's files.

    Returns:
        The file, relative to the root of its repository, and the line; None where they are not known.
    """
    frames = tracebacks.parse(stack_trace).frames if stack_trace else ()
    files = checkout.map_paths([dag_file], [frame.file for frame in frames])
    frame = find_frame(frames, files)
    file = files[frame.file] if frame else files.get(dag_file)
    if file is None:
        return None, None
    # The checkout has no lines of a zip's members.
    in_zip = file.lower().endswith(".zip")
    line = find_shown_line(split_lines(checkout.read(file)), frame.line, frame.source) if frame and not in_zip else None
    return checkout.relate(file), line


def find_frame(frames: Sequence[tracebacks.Frame], files: Mapping[str, str]) -> tracebacks.Frame | None:
    """Find the deepest frame with a file of the checkout. A relative name is artificial, for example compile()'s."""
    return next((frame for frame in reversed(frames) if frame.file.startswith("/") and frame.file in files), None)
