"""DAG import errors: parsed from Airflow's output, and located in the checkout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dms_airflow.airflow.commands.output import parse_log_record, strip_colours
from dms_airflow.checkout.dag_source import find_line
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.checkout.source_lines import find_place, split_lines
from dms_airflow.core import tracebacks

_NOT_SERIALIZED = re.compile(r"Failed to serialize (?:DAG|Dag) '(?P<id>[^']+)': ")

# What Airflow 2 logs with `-v` before it imports a file, and Airflow 3 before it reads its DAG bundles.
_IMPORT = re.compile(r"Importing (?P<text>/.+)")
_BUNDLES = re.compile(r"DAG bundles loaded: (?P<text>.+)")


@dataclass(frozen=True, kw_only=True)
class DagImportError:
    """One DAG file that does not import, or whose DAG cannot be bagged or serialized.

    `instance_path` is Airflow's path of the DAG file; `file` (relative, with `/`) and `line` are the place to fix in
    the checkout, which may be a helper's, and None where unknown. `exception` is a bare class name, "" where Airflow
    gave none. `new` is False for an error that the baseline knows. `dag_file` is the DAG file in the checkout, "" where
    unknown.
    """

    file: str | None = None
    line: int | None = None
    instance_path: str
    exception: str
    message: str
    stack_trace: str
    new: bool = True
    dag_file: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the error as the output `import-errors` lists it."""
        fields = asdict(self)
        del fields["dag_file"]
        return fields


def read_error(instance_path: str, stack_trace: str) -> DagImportError:
    """Make an error of a DAG file's path and its stack trace, as reported by any of Airflow's commands and APIs."""
    parsed = tracebacks.parse(stack_trace)
    return DagImportError(
        instance_path=instance_path, exception=parsed.exception, message=parsed.message, stack_trace=stack_trace
    )


def read_list(
    answer: Iterable[Mapping[str, Any]], stdout: str, folders: Mapping[str, str] | None = None
) -> tuple[DagImportError, ...]:
    """Read the records of `dags list-import-errors -o json`, with the whole tracebacks that `-v` logs before them.

    From Airflow 3 on the path of a file is below its DAG bundle, whose folder `folders` has where it is known.
    """
    errors = []
    for row in answer:
        path, folder = str(row.get("filepath") or ""), (folders or {}).get(str(row.get("bundle_name") or ""))
        absolute = f"{folder.rstrip('/')}/{path}" if folder and path and not path.startswith("/") else path
        errors.append(read_error(absolute, str(row.get("error") or "")))
    return add_tracebacks(errors, stdout)


def add_tracebacks(errors: Iterable[DagImportError], text: str) -> tuple[DagImportError, ...]:
    """Replace tracebacks that Airflow cut to two frames by the complete ones in what the command printed with `-v`.

    Whatever the form of the log around it: what was cut is the end of the whole one, letter by letter.
    """
    frames: dict[tuple[str, str], list[str]] = {}
    for logged in _TRACEBACK.finditer(strip_colours(text).replace("\r\n", "\n")):
        frames.setdefault(_key(logged), []).append(logged["frames"])

    def complete(cut: re.Match[str]) -> str:
        # The last one: of a file's several errors Airflow lists the last.
        whole = (one for one in reversed(frames.get(_key(cut), ())) if one.endswith(cut["frames"]))
        return f"{tracebacks.HEADER}\n{next(whole, cut['frames'])}{cut['message']}"

    return tuple(read_error(error.instance_path, _TRACEBACK.sub(complete, error.stack_trace)) for error in errors)


# Of the message only the first line: the others may differ; a timeout's last one has a process id.
_TRACEBACK = re.compile(rf"^{re.escape(tracebacks.HEADER)}\n(?P<frames>(?: .*\n)+)(?P<message>.*)", re.MULTILINE)


def _key(traceback: re.Match[str]) -> tuple[str, str]:
    """What a cut traceback and the whole one share: the last frame, and the message's first line."""
    return f"\n{traceback['frames']}".rpartition("\n  File ")[2], traceback["message"]


def read_bundles(stdout: str) -> tuple[str, ...]:
    """List the instance's DAG bundles, which Airflow 3 names in its log with `-v`."""
    names = next(_find_in_log(_BUNDLES, stdout), "")
    return tuple(names.split(", ")) if names else ()


def read_dag_files(stdout: str) -> tuple[str, ...]:
    """List the DAG files, sound or broken, that Airflow 2 says it imports, with `-v`. It does not name the members of a zip."""
    return tuple(_find_in_log(_IMPORT, stdout))


def _find_in_log(pattern: re.Pattern[str], stdout: str) -> Iterator[str]:
    for line in stdout.split("\n"):
        record = parse_log_record(line) if pattern.search(line) else None
        if record and (match := pattern.fullmatch(record.message.rstrip())):
            yield match["text"]


def read_ending(stderr: str, files: Mapping[str, str]) -> tuple[DagImportError, ...] | None:
    """Read the error with which `dags reserialize` ends at the first DAG that does not serialize, from Airflow 3 on.

    It has written nothing then, and names only the DAG: `files` has the paths of the files of DAGs. Empty where the DAG is not
    among them; None where the command did not end so.
    """
    start = stderr.find(tracebacks.HEADER)
    error = read_error("", stderr[start:].rstrip("\n")) if start >= 0 else None
    dag = _NOT_SERIALIZED.match(error.message) if error else None
    if error is None or dag is None:
        return None
    return (replace(error, instance_path=files[dag["id"]]),) if dag["id"] in files else ()


def locate(errors: Sequence[DagImportError], checkout: Checkout, dag_files: Iterable[str] = ()) -> tuple[DagImportError, ...]:
    """Fill in file and line of all errors of a step, the file relative to the root of its repository.

    Together they show the instance's layout, with further DAG files of the instance: the more are known, the less is ambiguous.
    A lone error may come from another repository's file of the same name.
    """
    frames = [tracebacks.parse(error.stack_trace).frames for error in errors]
    files = checkout.map_paths(
        [*(error.instance_path for error in errors), *dag_files], [frame.file for trace in frames for frame in trace]
    )
    return tuple(_locate(error, trace, files, checkout) for error, trace in zip(errors, frames, strict=True))


def _locate(
    error: DagImportError, frames: Sequence[tracebacks.Frame], files: Mapping[str, str], checkout: Checkout
) -> DagImportError:
    own = files.get(error.instance_path)
    file, line = find_place(frames, files, own, checkout)
    if line is None and file and file == own and not file.lower().endswith(".zip"):
        source = checkout.read(file)
        line = find_line(source, name=file.rpartition("/")[2], exception=error.exception, message=error.message)
        line = line if line is not None and 0 < line <= len(split_lines(source)) else None
    return replace(error, file=file and checkout.relate(file), line=line, dag_file=checkout.relate(own or ""))
