"""Result → log, outputs, annotations, job summary, result file, exit code: whatever happened, in this order."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.ci.summary import Occasion, fit_annotations, render_outputs, render_summary
from dms_airflow.core.errors import ResultFileError
from dms_airflow.core.redaction import SHORTEST_MASKED
from dms_airflow.core.result import Annotation, Ending, Level, Result
from dms_airflow.core.secret_values import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from dms_airflow.ci.github import Runner, Workflow
    from dms_airflow.config import Config

__all__ = ["Occasion", "report"]

# What Airflow said. A word of a command that is to stay secret is taken out there, and nowhere else: it may be as common as
# "success".
AIRFLOWS_OWN = frozenset({"stdout", "stderr", "json", "import-errors"})


def report(result: Result, occasion: Occasion, config: Config, runner: Runner, workflow: Workflow) -> int:
    """Tell the runner and the person who reads it how the step went.

    Returns:
        The exit code.
    """
    # Redacted first, cut afterwards: nobody recognizes half a secret.
    outputs = {
        **({"airflow-version": occasion.airflow_version} if occasion.airflow_version else {}),
        **{name: _clean(name, value, workflow) for name, value in result.outputs.items()},
        "status": result.ending.status,
        "duration": round(occasion.duration, 1),
        "airflow-url": occasion.airflow_url,
    }
    annotations = tuple(
        replace(
            one,
            title=workflow.redact(one.title),
            message=workflow.redact(one.message),
            file=one.file and workflow.redact_secrets(one.file),
        )
        for one in result.annotations
    )
    result = replace(result, headline=workflow.redact(result.headline), annotations=annotations, outputs=outputs)
    result = _write_result_file(result, occasion, config, runner, workflow)
    texts, warnings = render_outputs({**result.outputs, "status": result.ending.status})
    result = replace(result, annotations=(*result.annotations, *warnings))
    workflow.info(f"{result.headline} ({result.ending.status} after {occasion.duration:.1f} s)")
    failures = [_try_to_write("outputs", lambda: workflow.write_outputs(texts))]
    if config.summary:
        summary = render_summary(result, occasion, workflow.redact)
        failures.append(_try_to_write("job summary", lambda: workflow.write_summary(summary)))
    lost = [annotation for annotation in failures if annotation]
    for annotation in fit_annotations((*result.annotations, *lost)):
        if config.annotations:
            workflow.annotate(annotation)
        else:
            workflow.info(f"{annotation.level.capitalize()}: {annotation.title}: {annotation.message}")
    return Ending.FAILURE.exit_code if lost and result.ending is Ending.SUCCESS else result.ending.exit_code


def _try_to_write(what: str, write: Callable[[], None]) -> Annotation | None:
    """Write a file of the runner's; a step whose outputs nobody can read is no success."""
    try:
        write()
    except OSError as error:
        message = (
            f"The {what} could not be written: {error.strerror}.\nAll else was done; look at the runner's disk and folders."
        )
        return Annotation(level=Level.ERROR, title="Report not written", message=message)
    return None


def _write_result_file(result: Result, occasion: Occasion, config: Config, runner: Runner, workflow: Workflow) -> Result:
    """Write the whole result, whatever its size; a success that cannot be written is none."""
    if not config.result_file:
        return result
    answer = result.outputs.get("json")
    # The answer may have many megabytes: it is written as it came, never read again.
    mark = f"<{secrets.token_hex(16)}>"
    whole: dict[str, Any] = {
        "operation": occasion.operation,
        "instance-id": occasion.instance_id,
        "headline": result.headline,
        "outputs": {**result.outputs, "json": mark} if answer else dict(result.outputs),
        "annotations": [asdict(one) for one in result.annotations],
    }
    try:
        texts = json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(whole)
        pieces = (str(answer) if text == f'"{mark}"' else text for text in texts)
        workflow.write_result_file(runner.workspace / config.result_file, pieces)
    except OSError as error:
        failure = ResultFileError(
            f"result-file {config.result_file} could not be written: {error.strerror}.",
            "Everything else was done; the outputs and the summary have it. Give a path that can be written.",
        ).to_result()
        ending = failure.ending if result.ending is Ending.SUCCESS else result.ending
        return replace(result, ending=ending, annotations=(*result.annotations, *failure.annotations))
    return result


def _clean(name: str, value: Any, workflow: Workflow) -> Any:
    """Take the secrets out of an output, and out of what Airflow said the author's secret words as well."""
    redact = workflow.redact_words if name in AIRFLOWS_OWN else workflow.redact_secrets
    if name == "json" and value:
        # It may have many megabytes. Only a word can be a number, and would have to be masked as a whole.
        return json.dumps(_redact_texts(json.loads(value), redact), ensure_ascii=False) if workflow.has_words else redact(value)
    return _redact_texts(value, redact)


def _redact_texts(value: Any, redact: Callable[[str], str]) -> Any:
    """Redact the texts inside of a JSON value, and a number that is a secret, but for the smallest, which mean anything.

    Its keys stay, so that it stays what it is.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redact_texts(inner, redact) for inner in value]
    if isinstance(value, dict):
        return {key: _redact_texts(inner, redact) for key, inner in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        written = json.dumps(value)
        return MASK if len(written) >= SHORTEST_MASKED and redact(written) == MASK else value
    return value
