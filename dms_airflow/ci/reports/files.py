"""Result → the files that the inputs name in the workspace: the whole result as JSON, and the report files."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from dms_airflow import __version__
from dms_airflow.ci.reports.code_quality import render_code_quality
from dms_airflow.ci.reports.junit import render_junit
from dms_airflow.ci.reports.sarif import render_sarif
from dms_airflow.ci.repository import read_file
from dms_airflow.core.errors import FileError
from dms_airflow.core.findings import annotate
from dms_airflow.core.result import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dms_airflow.ci.summary import Occasion
    from dms_airflow.ci.system import CiSystem
    from dms_airflow.config import Config
    from dms_airflow.core.result import Result


def write_files(result: Result, occasion: Occasion, config: Config, ci: CiSystem, result_stream: TextIO | None) -> Result:
    """Write the files that the inputs name; a success that cannot be written is none.

    Where nothing was found out about the DAG files there are no report files: an empty one says that all is well.
    """
    findings = result.findings or ()
    writers: dict[str, Callable[[], Iterable[str]]] = {
        "result-file": lambda: _render_result(result, occasion),
        "sarif-file": lambda: [render_sarif(findings, __version__, partial(read_file, ci.runner.workspace))],
        "junit-file": lambda: [render_junit(findings, result.checks)],
        "code-quality-file": lambda: [render_code_quality(findings)],
    }
    for name, path in config.files.items():
        if name != "result-file" and result.findings is None:
            ci.info(f"{name} is not written: nothing was found out about the DAG files.")
            continue
        try:
            ci.write_file(ci.runner.workspace / path, writers[name]())
        except OSError as error:
            failure = FileError(
                f"{name} {path} could not be written: {error.strerror}.",
                "Everything else was done. Give a path that can be written.",
            ).to_result()
            ending = failure.ending if result.ending is Ending.SUCCESS else result.ending
            result = replace(result, ending=ending, annotations=(*result.annotations, *failure.annotations))
    if result_stream:
        result_stream.writelines(_render_result(result, occasion))
    return result


def _render_result(result: Result, occasion: Occasion) -> Iterator[str]:
    """Write the whole result as JSON, whatever its size."""
    answer = result.outputs.get("json")
    # The answer may have many megabytes: it is written as it came, never read again.
    mark = f"<{secrets.token_hex(16)}>"
    annotations = (*result.annotations, *map(annotate, result.findings or ()))
    whole: dict[str, Any] = {
        "operation": occasion.operation,
        "instance-id": occasion.instance_id,
        "headline": result.headline,
        "outputs": {**result.outputs, "json": mark} if answer else dict(result.outputs),
        "annotations": [asdict(one) for one in annotations],
    }
    for text in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(whole):
        yield str(answer) if text == f'"{mark}"' else text
    yield "\n"
