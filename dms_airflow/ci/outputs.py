"""Result → outputs and annotations, within GitHub's limits. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any

from dms_airflow.core.findings import annotate
from dms_airflow.core.result import Annotation, Level
from dms_airflow.core.text import count_bytes, cut_middle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dms_airflow.core.findings import Finding

TEXT_OUTPUT_LIMIT = 100_000  # bytes of `stdout` and `stderr`
JSON_OUTPUT_LIMIT = 400_000  # bytes of `json`

# https://github.com/actions/runner/blob/main/src/Runner.Worker/ExecutionContext.cs keeps ten issues of a kind a step, and
# 4096 characters of each.
ANNOTATIONS_OF_A_KIND = 10
ANNOTATION_LIMIT = 4096


def render_outputs(outputs: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Annotation, ...]]:
    """Write each output as text, and warn of what is too long for one."""
    written: dict[str, str] = {}
    warnings: list[Annotation] = []
    for name, value in outputs.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if name in ("stdout", "stderr"):
            text = cut_middle(text, TEXT_OUTPUT_LIMIT)
        elif count_bytes(text) > JSON_OUTPUT_LIMIT:
            text, what = _shorten_list(value) if isinstance(value, list) else ("", "was left empty")
            message = f"The output {name} is too long for one and {what}. Set result-file to have the whole answer in a file."
            warnings.append(Annotation(level=Level.WARNING, title=f"Output {name} is too long", message=message))
        written[name] = text
    return written, tuple(warnings)


def _shorten_list(entries: list[dict[str, Any]]) -> tuple[str, str]:
    """Write a list of objects without their stack traces and, if that is not enough, without its last entries."""
    texts = [
        json.dumps({**entry, "stack_trace": ""} if "stack_trace" in entry else entry, ensure_ascii=False) for entry in entries
    ]
    room = JSON_OUTPUT_LIMIT - len("[]")
    kept = list(takewhile(lambda end: end <= room, accumulate(len(text.encode("utf-8", "replace")) + 2 for text in texts)))
    left = len(texts) - len(kept)
    what = "has no stack traces" + (f", and lacks its last {left} entries" if left else "")
    return f"[{', '.join(texts[: len(kept)])}]", what


# --- annotations ----------------------------------------------------------------------------------------------------------


def list_annotations(annotations: Iterable[Annotation], findings: Iterable[Finding]) -> tuple[Annotation, ...]:
    """List all annotations: first errors, then warnings.

    Args:
        annotations: Most important first.
        findings: Most important first; they come after the others. Warnings that a baseline knows are left out.
    """
    everything = (*annotations, *(annotate(one) for one in findings if one.is_shown))
    return tuple(one for level in Level for one in everything if one.level is level)


def fit_annotations(annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
    """Keep what GitHub shows: ten of each kind, the tenth saying how many more there are; 4096 characters of each."""
    kept: list[Annotation] = []
    everything = tuple(annotations)
    for level in Level:
        same = [one for one in everything if one.level is level]
        if len(same) > ANNOTATIONS_OF_A_KIND:
            left = len(same) - (ANNOTATIONS_OF_A_KIND - 1)
            what = "causes" if level is Level.ERROR else "warnings"
            message = f"{left} more {what}: see the job summary or the log of this step."
            same = [*same[: ANNOTATIONS_OF_A_KIND - 1], Annotation(level=level, title=f"{left} more", message=message)]
        kept.extend(same)
    return tuple(replace(one, message=_cut_message(one.message)) for one in kept)


def _cut_message(message: str) -> str:
    # The runner counts UTF-16 units.
    if len(message.encode("utf-16-le", "replace")) // 2 <= ANNOTATION_LIMIT:
        return message
    tail = "\n[… cut; the job summary has the whole text]"
    room = 2 * (ANNOTATION_LIMIT - len(tail))
    return message.encode("utf-16-le", "replace")[:room].decode("utf-16-le", "ignore") + tail
