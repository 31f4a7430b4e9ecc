"""The place in the checkout that a traceback means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.checkout.source_lines import find_shown_line, split_lines
from dms_airflow.core import tracebacks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dms_airflow.checkout.mapping import Checkout


def place_failure(stack_trace: str, dag_file: str, checkout: Checkout) -> tuple[str | None, int | None]:
    """Find the place of the checkout to fix after a task failed.

    Args:
        stack_trace: its traceback; may be empty.
        dag_file: the instance's path of the DAG file.
        checkout: The author's files.

    Returns:
        The file, relative to the root of its repository, and the line; None where they are not known.
    """
    frames = tracebacks.parse(stack_trace).frames if stack_trace else ()
    files = checkout.map_paths([dag_file], [frame.file for frame in frames])
    file, line = find_place(frames, files, files.get(dag_file), checkout)
    return file and checkout.relate(file), line


def find_place(
    frames: Sequence[tracebacks.Frame], files: Mapping[str, str], dag_file: str | None, checkout: Checkout
) -> tuple[str | None, int | None]:
    """Find the file and line of the deepest frame that is of the checkout; without such a frame, the DAG file.

    Args:
        frames: Of a traceback, outermost first.
        files: The files of the checkout, by the instance's path.
        dag_file: The DAG file in the checkout, if it has one.
        checkout: The author's files.
    """
    # A relative name is artificial, for example compile()'s.
    frame = next((frame for frame in reversed(frames) if frame.file.startswith("/") and frame.file in files), None)
    file = files[frame.file] if frame else dag_file
    if frame is None or file is None or file.lower().endswith(".zip"):  # the checkout has no lines of a zip's members
        return file, None
    return file, find_shown_line(split_lines(checkout.read(file)), frame.line, frame.source)
