"""Result → log, outputs, annotations, job summary, result file, exit code: whatever happened, in this order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from dms_airflow.ci.summary import render_summary
from dms_airflow.ci.system import CiSystem, append
from dms_airflow.core.findings import NAMES_SHOWN, Finding, annotate, describe_affected
from dms_airflow.core.result import Annotation, Check, Ending, Level, Result
from dms_airflow.core.secrets.redaction import SHORTEST_MASKED
from dms_airflow.core.secrets.values import MASK
from dms_airflow.core.text import cut_middle

if TYPE_CHECKING:
    from dms_airflow.config import Config


R = TypeVar("R", Annotation, Finding, Check)

# What Airflow said. A word of a command that is to stay secret is taken out there, and nowhere else: it may be as common as
# "success".
AIRFLOWS_OWN = frozenset({"stdout", "stderr", "json", "import-errors", "findings"})

TEXT_OUTPUT_LIMIT = 100_000  # bytes of `stdout` and `stderr`
JSON_OUTPUT_LIMIT = 400_000  # bytes of `json`

# https://github.com/actions/runner/blob/main/src/Runner.Worker/ExecutionContext.cs keeps ten issues of a kind a step, and
# 4096 characters of each.
ANNOTATIONS_OF_A_KIND = 10
ANNOTATION_LIMIT = 4096


def report(
    result: Result,
    config: Config,
    ci: CiSystem,
    result_stream: TextIO | None = None,
    *,
    update_comment: Callable[[Result, Config], tuple[Annotation, ...]] = lambda *_: (),
) -> int:
    """Report to the CI system, and to the person who reads it, how the step went; return the exit code.

    The whole result goes to `result_stream` as JSON, if there is one. `update_comment` writes the comment of the pull request,
    and returns what to say when it could not.
    """
    result = _redact(result, ci)
    lost = _write_files(result, config, ci, result_stream) if config.files or result_stream else []
    if lost and result.ending is Ending.SUCCESS:
        result = replace(result, ending=Ending.FAILURE)
    texts, warnings = render_outputs({**result.outputs, "status": result.ending.status})
    result = replace(result, annotations=(*result.annotations, *lost, *warnings))
    shown = [one for one in result.findings or () if one.is_shown]
    _log_findings(shown, ci)
    ci.info(f"{result.headline} ({result.ending.status} after {result.outputs.get('duration', 0)} s)")
    lost = _try_to_write("The outputs", lambda: ci.write_outputs(texts))
    if config.summary and ci.runner.summary_file:
        summary = render_summary(result, config, ci.redact, ci.runner.name_page)
        lost += _try_to_write("The job summary", partial(append, ci.runner.summary_file, summary))
    notices = update_comment(result, config)
    annotations = [*result.annotations, *lost, *notices, *map(annotate, shown)]
    annotations.sort(key=lambda one: tuple(Level).index(one.level))
    for annotation in fit_annotations(annotations) if ci.has_annotation_limits else annotations:
        if config.annotations:
            ci.annotate(annotation)
        else:
            ci.info(f"{annotation.level.capitalize()}: {annotation.title}: {annotation.message}")
    return Ending.FAILURE.exit_code if lost and result.ending is Ending.SUCCESS else result.ending.exit_code


def _redact(result: Result, ci: CiSystem) -> Result:
    """Take the secrets out of a result, before anything of it is cut: nobody recognizes half a secret."""
    listed = {} if result.findings is None else {"findings": [one.to_json() for one in result.findings]}
    outputs = {name: _redact_output(name, value, ci) for name, value in {**result.outputs, **listed}.items()}
    return replace(
        result,
        headline=ci.redact(result.headline),
        annotations=tuple(_redact_record(one, ci) for one in result.annotations),
        findings=result.findings and tuple(_redact_record(one, ci) for one in result.findings),
        checks=tuple(_redact_record(one, ci) for one in result.checks),
        outputs={**outputs, "status": result.ending.status},
    )


def _log_findings(findings: Sequence[Finding], ci: CiSystem) -> None:
    """Print each cause in one line, and below it everything that it affects."""
    for finding in findings:
        known = "" if finding.new else "  (known)"
        ci.info(f"{finding.place}  {finding.headline}{known}".strip())
        affected = describe_affected(finding)
        if len(finding.affects) > NAMES_SHOWN:
            ci.fold(affected, "\n".join(finding.affects))
        elif affected:
            ci.info(f"  {affected}")


def _write_files(result: Result, config: Config, ci: CiSystem, result_stream: TextIO | None) -> list[Annotation]:
    """Write the files that the inputs name; return what to say of those that could not be written.

    Where nothing was found out about the DAG files there are no report files: an empty one says that all is well.
    """
    from dms_airflow.ci.reports.files import render_file  # noqa: PLC0415 - most steps write none, and each would pay for XML

    lost: list[Annotation] = []
    for name, path in config.files.items():
        if name != "result-file" and result.findings is None:
            ci.info(f"{name} is not written: nothing was found out about the DAG files.")
            continue
        write = partial(ci.write_file, ci.runner.workspace / path, render_file(name, result, config))
        lost += _try_to_write(f"{name} {path}", write)
    if result_stream:
        result_stream.writelines(render_file("result-file", result, config))
    return lost


def _try_to_write(what: str, write: Callable[[], None]) -> list[Annotation]:
    """Write a file; a step whose outputs or files nobody can read is no success."""
    try:
        write()
    except OSError as error:
        message = (
            f"{what} could not be written: {error.strerror}.\n"
            "Everything else was done. Give a path that can be written, and check the disk and the folders of this machine."
        )
        return [Annotation(level=Level.ERROR, title="File not written", message=message)]
    return []


def _redact_record(record: R, ci: CiSystem) -> R:
    """Redact the texts of a record to be shown; out of a path only what is secret everywhere."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    redacted: dict[str, Any] = {
        name: _redact_texts(value, ci.redact_secrets if name == "file" else ci.redact)
        for name, value in values.items()
        if type(value) in (str, tuple)
    }
    return replace(record, **redacted)


def _redact_output(name: str, value: Any, ci: CiSystem) -> Any:
    """Take the secrets out of an output, and out of what Airflow said the author's secret words as well."""
    redact = ci.redact_words if name in AIRFLOWS_OWN else ci.redact_secrets
    if name == "json" and value:
        # It may have many megabytes. Only a word can be a number, and would have to be masked as a whole.
        return json.dumps(_redact_texts(json.loads(value), redact), ensure_ascii=False) if ci.has_words else redact(value)
    return _redact_texts(value, redact)


def _redact_texts(value: Any, redact: Callable[[str], str]) -> Any:
    """Redact the texts inside of a JSON value, and a number that is a secret, but for the smallest, which mean anything.

    Its keys stay, so that it stays what it is.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list | tuple):
        return type(value)(_redact_texts(inner, redact) for inner in value)
    if isinstance(value, dict):
        return {key: _redact_texts(inner, redact) for key, inner in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        written = json.dumps(value)
        return MASK if len(written) >= SHORTEST_MASKED and redact(written) == MASK else value
    return value


# --- within GitHub's limits -----------------------------------------------------------------------------------------------


def render_outputs(outputs: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Annotation, ...]]:
    """Write each output as text, and warn of what is too long for one."""
    written: dict[str, str] = {}
    warnings: list[Annotation] = []
    for name, value in outputs.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if name in ("stdout", "stderr"):
            text = cut_middle(text, TEXT_OUTPUT_LIMIT)
        elif len(text.encode("utf-8", "replace")) > JSON_OUTPUT_LIMIT:
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


def fit_annotations(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """Keep what GitHub shows: ten of each kind, the tenth saying how many more there are; 4096 characters of each."""
    kept: list[Annotation] = []
    for level in Level:
        same = [one for one in annotations if one.level is level]
        if len(same) > ANNOTATIONS_OF_A_KIND:
            left = len(same) - (ANNOTATIONS_OF_A_KIND - 1)
            what = "causes" if level is Level.ERROR else "warnings"
            message = f"{left} more {what}: see the job summary or the log of this step."
            same = [*same[: ANNOTATIONS_OF_A_KIND - 1], Annotation(level=level, title=f"{left} more", message=message)]
        kept.extend(same)
    tail = "\n[… cut; the job summary has the whole text]"
    room = ANNOTATION_LIMIT - len(tail)
    return tuple(
        one if len(one.message) <= ANNOTATION_LIMIT else replace(one, message=one.message[:room] + tail) for one in kept
    )
