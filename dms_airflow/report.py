"""Result → log, outputs, annotations, job summary, result file, exit code: whatever happened, in this order."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from dms_airflow.errors import ResultFileError
from dms_airflow.render import Occasion, fit_annotations, render_outputs, render_summary
from dms_airflow.result import Ending, Result

if TYPE_CHECKING:
    from dms_airflow.config import Config, Runner
    from dms_airflow.workflow import Workflow

__all__ = ["Occasion", "report"]


def report(result: Result, occasion: Occasion, config: Config, runner: Runner, workflow: Workflow) -> int:
    """Tell the runner and the person who reads it how the step went.

    Returns:
        The exit code.
    """
    outputs = {
        **result.outputs,
        "status": result.ending.status,
        "duration": round(occasion.duration, 1),
        "airflow-url": occasion.airflow_url,
    }
    result = _write_result_file(replace(result, outputs=outputs), occasion, config, runner, workflow)
    texts, warnings = render_outputs({**result.outputs, "status": result.ending.status})
    result = replace(result, annotations=(*result.annotations, *warnings))
    workflow.info(f"{result.headline} ({result.ending.status} after {occasion.duration:.1f} s)")
    workflow.write_outputs(texts)
    for annotation in fit_annotations(result.annotations):
        if config.annotations:
            workflow.annotate(annotation)
        else:
            workflow.info(f"{annotation.level.capitalize()}: {annotation.title}: {annotation.message}")
    if config.summary:
        workflow.write_summary(render_summary(result, occasion, workflow.redact))
    return result.ending.exit_code


def _write_result_file(result: Result, occasion: Occasion, config: Config, runner: Runner, workflow: Workflow) -> Result:
    """Write the whole result, whatever its size; a success that cannot be written is none."""
    if not config.result_file:
        return result
    whole: dict[str, Any] = {
        "operation": occasion.operation,
        "instance-id": occasion.instance_id,
        "headline": result.headline,
        "outputs": _parse_json_output(result.outputs),
        "annotations": [asdict(annotation) for annotation in result.annotations],
    }
    try:
        workflow.write_result_file(runner.workspace / config.result_file, json.dumps(whole, ensure_ascii=False, indent=2))
    except OSError as error:
        failure = ResultFileError(
            f"result-file {config.result_file} could not be written: {error.strerror}.",
            "Everything else was done; the outputs and the summary have it. Give a path that can be written.",
        ).to_result()
        ending = failure.ending if result.ending is Ending.SUCCESS else result.ending
        return replace(result, ending=ending, annotations=(*result.annotations, *failure.annotations))
    return result


def _parse_json_output(outputs: Any) -> dict[str, Any]:
    """Give the outputs with `json` as the value it is, not as its text."""
    return {**outputs, "json": json.loads(outputs["json"])} if outputs.get("json") else dict(outputs)
