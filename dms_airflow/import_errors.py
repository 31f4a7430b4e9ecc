"""DAG import errors: read from what Airflow prints, and put where the author can mend them."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dms_airflow import tracebacks
from dms_airflow.console import LogRecord, read_log_record
from dms_airflow.lines import find_shown_line, split_lines
from dms_airflow.source import find_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dms_airflow.checkout import Checkout

# With what Airflow logs a traceback (reserialize__broken.json and reserialize__serialize.json in tests/captures); only
# reserializing says the last two. The words without a colon are those of 3.2.
_FAILURE = re.compile(
    r"(?:(?:Failed to import|Failed to bag_dag|Failed to write serialized DAG): |Error bagging DAG from "
    r"|Failed to write serialized DAG dag_id=\S* fileloc=)(?P<path>.+)"
)

# 3.2 says this behind each failed import, and alone for a file that it did not come to import.
_NOT_LOADED = re.compile(r"Error loading DAG from (?P<path>.+?): (?P<text>.*)")

_IMPORT = re.compile(r"Importing (?P<path>/.+)")
_NOT_SERIALIZED = re.compile(r"Failed to serialize (?:DAG|Dag) '(?P<id>[^']+)': ")
_HEADER = "Traceback (most recent call last):"
_FOLDER = re.compile(r"Filling up the DagBag from (?P<folder>/.+)")
_BUNDLES = re.compile(r"DAG bundles loaded: (?P<names>.+)")

# Before each line at the margin. A log is read by these: most of its lines are indented ones of tracebacks.
_MARGIN = re.compile(r"\n(?! )")

# The answer of `-o json`, which may follow a traceback directly.
_JSON_LINE = re.compile(r'\[\{"(?:filepath|error|bundle_name)": ')


@dataclass(frozen=True, kw_only=True)
class DagImportError:
    """One DAG file that does not import, or whose DAG cannot be bagged or serialized.

    `instance_path` is Airflow's path of the DAG file; `file` (relative, with `/`) and `line` are the place to mend in
    the checkout, which may be a helper's, and None where unknown. `exception` is a bare class name, "" where Airflow
    gave none. `new` is False for an error that the baseline knows.
    """

    file: str | None = None
    line: int | None = None
    instance_path: str
    exception: str
    message: str
    stack_trace: str
    new: bool = True

    def to_json(self) -> dict[str, Any]:
        """Give the error as the output `import-errors` lists it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _LogBlock:
    """A failure in the log: the path it names and the lines that follow it."""

    path: str
    text: str


def read_error(instance_path: str, stack_trace: str) -> DagImportError:
    """Make an error of a DAG file's path and its stack trace, as any of Airflow's views gives them."""
    parsed = tracebacks.parse(stack_trace)
    return DagImportError(
        instance_path=instance_path, exception=parsed.exception, message=parsed.message, stack_trace=stack_trace
    )


def read_list(
    answer: Iterable[Mapping[str, Any]], stdout: str, folders: Mapping[str, str] | None = None
) -> tuple[DagImportError, ...]:
    """Read the answer of `dags list-import-errors -o json`, with the whole tracebacks that `-v` logs before it.

    The rows decide what is broken. A logged traceback takes the place of the row's two frames only when it tells of the
    same error: a DAG file may print anything.

    Args:
        answer: the rows, `filepath` and `error` each; from Airflow 3 on `filepath` is below the DAG bundle `bundle_name`.
        stdout: all that the command printed.
        folders: the bundles' folders, where they are known; the log names those of a parse.
    """
    logged: dict[str, list[DagImportError]] = {}
    for block in _read_log(stdout):
        logged.setdefault(block.path, []).append(read_error(block.path, block.text))
    parsed = [folder for record in _read_records(stdout) if (folder := _FOLDER.fullmatch(record.message))]
    errors: list[DagImportError] = []
    for row in answer:
        path, bundle = str(row.get("filepath") or ""), str(row.get("bundle_name") or "")
        known = [folders[bundle]] if folders and bundle in folders else [match["folder"] for match in parsed]
        error = read_error(_place_below(known, path, logged), str(row.get("error") or ""))
        # The last one: of a file's several errors Airflow lists the last.
        same = [other for other in logged.get(error.instance_path, ()) if _tell_the_same(error, other)]
        errors.append(same[-1] if same else error)
    return tuple(errors)


def _place_below(folders: Sequence[str], path: str, logged: Mapping[str, Any]) -> str:
    """Make a path below a DAG bundle an absolute one, where that is certain."""
    if path.startswith("/") or not path:
        return path
    places = list(dict.fromkeys(f"{folder.rstrip('/')}/{path}" for folder in folders))
    if len(places) > 1:
        places = [place for place in places if place in logged]
    return places[0] if len(places) == 1 else path


def read_reserialize(stdout: str) -> tuple[DagImportError, ...]:
    """Read the import errors that `dags reserialize` logs; it prints no other answer and ends 0 with them."""
    errors = [read_error(block.path, block.text) for block in _read_log(stdout)]
    return tuple({(error.instance_path, error.exception, error.message): error for error in errors}.values())


def read_ending(stderr: str, files: Mapping[str, str]) -> tuple[DagImportError, ...]:
    """Read the error with which `dags reserialize` ends at the first DAG that does not serialize, from Airflow 3 on.

    It has written nothing then, and does not name the file.

    Args:
        stderr: all that the command printed there.
        files: DAG ids, and the paths of their files, absolute or below the DAG folder.
    """
    dag_id, error = _read_ending(stderr)
    path = files.get(dag_id)
    return (replace(error, instance_path=path),) if error and path else ()


def names_dag(stderr: str) -> bool:
    """Tell whether `dags reserialize` ended at a DAG that does not serialize, as `read_ending` reads it."""
    return bool(_read_ending(stderr)[0])


def _read_ending(stderr: str) -> tuple[str, DagImportError | None]:
    start = stderr.find(_HEADER)
    error = read_error("", stderr[start:].rstrip("\n")) if start >= 0 else None
    dag = _NOT_SERIALIZED.match(error.message) if error else None
    return dag["id"] if dag else "", error


def read_bundles(stdout: str) -> tuple[str, ...]:
    """Read the names of the instance's DAG bundles, which Airflow 3 logs with `-v` before it asks any of them."""
    names = [match["names"] for record in _read_records(stdout) if (match := _BUNDLES.fullmatch(record.message))]
    return tuple(names[0].split(", ")) if names else ()


def names_folder(stdout: str) -> bool:
    """Tell whether the log, with `-v`, names a folder of which the DAG files are imported now."""
    return any(_FOLDER.fullmatch(record.message) for record in _read_records(stdout))


def read_dag_files(stdout: str) -> tuple[str, ...]:
    """List the DAG files, sound or broken, that Airflow says it imports: Airflow 2 with `-v` only, and zip members not."""
    records = [record for record in _read_records(stdout) if record.level == "debug"]
    return tuple(match["path"] for record in records if (match := _IMPORT.fullmatch(record.message.rstrip())))


def locate(errors: Sequence[DagImportError], checkout: Checkout, dag_files: Iterable[str] = ()) -> tuple[DagImportError, ...]:
    """Fill in the file and line of the checkout.

    Args:
        errors: all of a run, since together they show the instance's layout.
        checkout: where to look.
        dag_files: further DAG files of the instance. The more are known, the less is ambiguous: a lone error may come
            from another repository's file of the same name.
    """
    frames = [tracebacks.parse(error.stack_trace).frames for error in errors]
    files = checkout.map_paths(
        [*(error.instance_path for error in errors), *dag_files], [frame.file for trace in frames for frame in trace]
    )
    return tuple(_locate(error, trace, files, checkout) for error, trace in zip(errors, frames, strict=True))


def place_failure(stack_trace: str, dag_file: str, checkout: Checkout) -> tuple[str | None, int | None]:
    """Find the deepest place of the checkout in the traceback of a task that failed; None where it shows none.

    Args:
        stack_trace: its traceback; may be empty.
        dag_file: the instance's path of the DAG file.
        checkout: where to look.
    """
    frames = tracebacks.parse(stack_trace).frames if stack_trace else ()
    files = checkout.map_paths([dag_file], [frame.file for frame in frames])
    frame = _find_frame(frames, files)
    if frame is None or files[frame.file].lower().endswith(".zip"):
        return (files[frame.file] if frame else None), None
    file = files[frame.file]
    return file, find_shown_line(split_lines(checkout.read(file)), frame.line, frame.source)


def _find_frame(frames: Sequence[tracebacks.Frame], files: Mapping[str, str]) -> tracebacks.Frame | None:
    """Find the deepest frame that lies in the checkout. A relative name is a made-up one, such as compile()'s."""
    return next((frame for frame in reversed(frames) if frame.file.startswith("/") and frame.file in files), None)


def _locate(
    error: DagImportError, frames: Sequence[tracebacks.Frame], files: Mapping[str, str], checkout: Checkout
) -> DagImportError:
    own = files.get(error.instance_path)
    frame = _find_frame(frames, files)
    file = files[frame.file] if frame else own
    if file is None or file.lower().endswith(".zip"):  # the checkout has no lines of a zip's members
        return replace(error, file=file)
    source = checkout.read(file)
    lines = split_lines(source)
    line = find_shown_line(lines, frame.line, frame.source) if frame else None
    if line is None and file == own:
        told = find_line(source, name=file.rpartition("/")[2], exception=error.exception, message=error.message)
        line = told if told is not None and 0 < told <= len(lines) else None
    return replace(error, file=file, line=line)


def _tell_the_same(row: DagImportError, logged: DagImportError) -> bool:
    """Compare the messages' first lines: a time limit's last line holds a process id. A row may lack the class.

    A row whose message quotes a chain of tracebacks was read to its last one; it still ends with the logged message.
    """
    if logged.exception in row.stack_trace and "\n" in logged.message and row.stack_trace.rstrip().endswith(logged.message):
        return True
    shown, whole = _list_frames(row), _list_frames(logged)
    return (
        row.exception in {logged.exception, ""}
        and _first_line(row) == _first_line(logged)
        and whole[max(0, len(whole) - len(shown)) :] == shown
    )


def _list_frames(error: DagImportError) -> list[tuple[str, int]]:
    return [(frame.file, frame.line) for frame in tracebacks.parse(error.stack_trace).frames]


def _first_line(error: DagImportError) -> str:
    return error.message.split("\n", 1)[0]


def _read_records(stdout: str) -> Iterator[LogRecord]:
    lines = (chunk.partition("\n")[0] for chunk in _MARGIN.split(stdout))
    return filter(None, map(read_log_record, lines))


def _read_log(stdout: str) -> Iterator[_LogBlock]:
    """Find the failures in a log. A block ends at the next log record, or at the command's JSON answer."""
    path: str | None = None
    chunks: list[str] = []
    told: set[str] = set()  # paths, and what follows each of their slashes
    for chunk in _MARGIN.split(stdout):
        line, _, indented = chunk.partition("\n")
        record = read_log_record(line)
        if record is None and not _JSON_LINE.match(line):
            chunks.append(chunk)
            continue
        if path is not None:
            yield _LogBlock(path=path, text="\n".join(chunks).rstrip("\n"))
            told.update(path[index + 1 :] for index, sign in enumerate(path) if sign == "/")
            told.add(path)
        message = record.message.rstrip() if record and record.level == "error" else ""
        failure, not_loaded = _FAILURE.fullmatch(message), _NOT_LOADED.fullmatch(message)
        path, chunks = (failure["path"] if failure else None), []
        if not_loaded and not_loaded["path"] not in told:
            path, chunks = not_loaded["path"], [not_loaded["text"]]
        if indented:
            chunks.append(indented)
    if path is not None:
        yield _LogBlock(path=path, text="\n".join(chunks).rstrip("\n"))
