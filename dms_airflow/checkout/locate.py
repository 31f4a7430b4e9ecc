"""The place in the checkout that a traceback means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms_airflow.checkout.source_lines import find_shown_line, split_lines
from dms_airflow.core import tracebacks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dms_airflow.checkout.mapping import Checkout


def place_failure(stack_trace: str, dag_file: str, checkout: Checkout) -> tuple[str | None, int | None]:
    """Find the deepest place of the checkout in the traceback of a task that failed; None where it shows none.

    Args:
        stack_trace: its traceback; may be empty.
        dag_file: the instance's path of the DAG file.
        checkout: where to look.
    """
    frames = tracebacks.parse(stack_trace).frames if stack_trace else ()
    files = checkout.map_paths([dag_file], [frame.file for frame in frames])
    frame = find_frame(frames, files)
    if frame is None or files[frame.file].lower().endswith(".zip"):
        return (files[frame.file] if frame else None), None
    file = files[frame.file]
    return file, find_shown_line(split_lines(checkout.read(file)), frame.line, frame.source)


def find_frame(frames: Sequence[tracebacks.Frame], files: Mapping[str, str]) -> tracebacks.Frame | None:
    """Find the deepest frame that lies in the checkout. A relative name is a made-up one, such as compile()'s."""
    return next((frame for frame in reversed(frames) if frame.file.startswith("/") and frame.file in files), None)
