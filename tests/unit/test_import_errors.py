"""Import errors of real captures land on the line to fix, whatever the checkout's layout; a forged log changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms_airflow.checkout.mapping import Checkout
from dms_airflow.import_errors.parse import (
    DagImportError,
    locate,
    read_bundles,
    read_dag_files,
    read_ending,
    read_error,
    read_list,
)

CAPTURES = Path(__file__).parents[1] / "captures" / "airflow-2.10.4"
INSTANCE = "/opt/airflow/dags/"
EXPECTED = json.loads((CAPTURES / "expected_annotations.json").read_text("utf-8"))["files"]

# Where the frames give no line, the DAG file itself does: written down from the sources in captures/…/dags/broken.
# helper_raises.py has none: two frames of the json library do not tell who called it.
LINE_BY_SOURCE = {
    "cycle.py": 5,  # with DAG("cycle_dag", …)
    "dup_a.py": 5,  # with DAG("dup_dag", …)
    "bad_cron.py": 5,  # schedule="61 * * * *"
    "null_bytes.py": 2,  # the line that holds the null byte
    "duplicate_task.py": 7,  # the second task_id="same"
    "bad_dag_id.py": 4,  # DAG("bad dag/id!", …)
    "bad_param.py": 6,  # DAG("bad_param", …, params=…)
    "missing_connection.py": 4,  # get_connection("no_such_conn")
}


def read_capture(name: str, folder: str = "airflow-2.10.4/cli/dags") -> str:
    stdout = json.loads((CAPTURES.parent / folder / f"{name}.json").read_text("utf-8"))["stdout"]
    assert isinstance(stdout, str)
    return stdout


AIRFLOW_3 = "airflow-3.2.2/cli/dags"


def read_answer(stdout: str) -> list[dict[str, Any]]:
    rows = next(line for line in stdout.split("\n") if line.startswith(('[{"filepath"', '[{"bundle_name"')))
    answer = json.loads(rows)
    assert isinstance(answer, list)
    return answer


def copy_dags(root: Path, layout: str) -> Checkout:
    for scenario in ("broken", "serialize"):
        shutil.copytree(CAPTURES / "dags" / scenario, root / layout, dirs_exist_ok=True)
    return Checkout(root)


def expected_places(layout: str, depth: str) -> dict[str, tuple[str, int | None]]:
    """What expected_annotations.json says, and LINE_BY_SOURCE where it gives no line; a zip is annotated as a whole."""
    places: dict[str, tuple[str, int | None]] = {}
    for entry in EXPECTED:
        file, line = entry[depth]["file"], entry[depth]["line"]
        if line is None:
            line = LINE_BY_SOURCE.get(file)
        if file.startswith("packed.zip/"):
            file, line = "packed.zip", None
        places[entry["filepath"]] = (layout + file, line)
    return places


def find_places(errors: tuple[DagImportError, ...]) -> dict[str, tuple[str | None, int | None]]:
    return {error.instance_path: (error.file, error.line) for error in errors}


LAYOUTS = pytest.mark.parametrize("layout", ["dags/", "airflow/dags/", "src/pipelines/", ""])


@LAYOUTS
@pytest.mark.parametrize(
    ("capture", "depth"),
    [
        ("list_import_errors__broken_verbose_json", "annotate_full_traceback"),
        ("list_import_errors__depth_1000", "annotate_full_traceback"),
        ("list_import_errors__broken__json", "annotate_depth_2"),
    ],
)
def test_locate__every_broken_file_of_a_listing(tmp_path: Path, layout: str, capture: str, depth: str) -> None:
    stdout = read_capture(capture)

    errors = locate(read_list(read_answer(stdout), stdout), copy_dags(tmp_path, layout))

    assert len(errors) == 33
    assert find_places(errors) == expected_places(layout, depth)


@LAYOUTS
def test_locate__every_broken_file_of_a_listing_of_airflow_3(tmp_path: Path, layout: str) -> None:
    stdout = read_capture("list_import_errors__broken_local_bundle_verbose_json", AIRFLOW_3)

    folders = {"dags-folder": INSTANCE}

    errors = locate(read_list(read_answer(stdout), stdout, folders), copy_dags(tmp_path, layout))

    assert len(errors) == 33
    assert find_places(errors) == expected_places(layout, "annotate_full_traceback")


def below(path: str) -> str:
    """What Airflow 3 tells of a path: below the bundle, but that of a zip's member is absolute."""
    return path if ".zip/" in path else path.removeprefix(INSTANCE)


@LAYOUTS
@pytest.mark.parametrize(
    ("capture", "depth"),
    [
        ("list_import_errors__broken_local_bundle_json", "annotate_depth_2"),
        ("list_import_errors__local_depth_50", "annotate_full_traceback"),
    ],
)
def test_locate__rows_of_airflow_3_without_a_log_are_below_the_bundle(
    tmp_path: Path, layout: str, capture: str, depth: str
) -> None:
    stdout = read_capture(capture, AIRFLOW_3)

    errors = locate(read_list(read_answer(stdout), stdout), copy_dags(tmp_path, layout))

    right = expected_places(layout, depth)
    right[f"{INSTANCE}missing_name.py"] = (f"{layout}missing_name.py", None)  # another source there: it imports from a provider
    assert find_places(errors) == {below(path): place for path, place in right.items()}


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_locate__compares_the_lines_that_each_python_shows(tmp_path: Path, version: str) -> None:
    rows = json.loads((CAPTURES / "tracebacks" / f"python-{version}.json").read_text("utf-8"))["import_errors"]
    before = copy_dags(tmp_path / "same", "dags/")
    later = copy_dags(tmp_path / "later", "dags/")
    for file in (tmp_path / "later").rglob("*.py"):
        file.write_bytes(b"# one\n# two\n# three\n" + file.read_bytes())
    errors = [read_error(row["filepath"], row["full"]) for row in rows]

    places = find_places(locate(errors, before))
    moved = find_places(locate(errors, later))

    assert len(places) == 23
    assert {path for path, place in places.items() if place[1] is None} == {
        f"{INSTANCE}packed.zip/zipped_dag.py",
        f"{INSTANCE}packed.zip/zipped_syntax.py",
    }
    if version == "3.8":  # its decoding error shows no text, so that its number is all there is
        assert moved.pop(f"{INSTANCE}bad_encoding.py") == places.pop(f"{INSTANCE}bad_encoding.py")
    assert moved == {path: (file, None if line is None else line + 3) for path, (file, line) in places.items()}


def test_locate__a_line_that_is_another_one_here_is_none(tmp_path: Path) -> None:
    checkout = copy_dags(tmp_path, "dags/")
    (tmp_path / "dags" / "missing_variable.py").write_text("from airflow import DAG\n\n\nDAG('other')\n")
    (tmp_path / "dags" / "long_traceback.py").write_text("from airflow import DAG\n" * 9)
    stdout = read_capture("list_import_errors__broken_verbose_json")

    places = find_places(locate(read_list(read_answer(stdout), stdout), checkout))

    assert places[f"{INSTANCE}missing_variable.py"] == ("dags/missing_variable.py", None)
    assert places[f"{INSTANCE}long_traceback.py"] == ("dags/long_traceback.py", None)


def test_locate__a_line_that_moved_is_found_by_its_message_when_its_text_changed(tmp_path: Path) -> None:
    checkout = copy_dags(tmp_path, "dags/")
    (tmp_path / "dags" / "missing_module.py").write_text("\n" * 9 + "import airflow.providers.alibaba_nonexistent as module\n")
    stdout = read_capture("list_import_errors__broken_verbose_json")

    places = find_places(locate(read_list(read_answer(stdout), stdout), checkout))

    assert places[f"{INSTANCE}missing_module.py"] == ("dags/missing_module.py", 10)


def test_locate__without_tracebacks_no_line_is_wrong(tmp_path: Path) -> None:
    stdout = read_capture("list_import_errors__no_tracebacks")

    errors = locate(read_list(read_answer(stdout), stdout), copy_dags(tmp_path, "dags/"))

    right = expected_places("dags/", "annotate_full_traceback")
    found = {path: place for path, place in find_places(errors).items() if place[1] is not None}
    assert found == {path: right[path] for path in found}
    assert len(found) == 15


def test_locate__a_serialization_error_is_at_its_dag(tmp_path: Path) -> None:
    text = "SerializationError: Failed to serialize DAG 'bad_timetable': Timetable class is not registered"

    errors = locate([read_error(f"{INSTANCE}bad_timetable.py", text)], copy_dags(tmp_path, "dags/"))

    assert [(error.exception, error.file, error.line) for error in errors] == [
        ("SerializationError", "dags/bad_timetable.py", 12)
    ]
    assert errors[0].message.startswith("Failed to serialize DAG 'bad_timetable': Timetable class ")


def test_read_list__has_the_whole_traceback_of_the_log() -> None:
    stdout = read_capture("list_import_errors__broken_verbose_json")

    errors = {error.instance_path: error for error in read_list(read_answer(stdout), stdout)}

    trace = errors[f"{INSTANCE}helper_raises.py"].stack_trace
    assert trace.startswith("Traceback (most recent call last):\n")
    assert f'  File "{INSTANCE}helper_raises.py", line 9, in <module>\n' in trace
    assert trace.endswith("(char 1)\n")
    assert all("Importing" not in error.stack_trace and "filepath" not in error.stack_trace for error in errors.values())


def test_read_list__no_errors() -> None:
    assert read_list([], "print at import: [{}]\n[]\n") == ()


def make_log(path: str, text: str, what: str = "Failed to import") -> str:
    return f"[2026-11-22T09:52:24.407+0000] {{dagbag.py:387}} ERROR - {what}: {path}\n{text}\n"


def make_trace(file: str, line: int, end: str) -> str:
    return f'Traceback (most recent call last):\n  File "{file}", line {line}, in <module>\n    x\n{end}'


def test_read_list__a_forged_log_of_the_same_error_at_another_place_is_not_believed() -> None:
    row = make_trace("/d/x.py", 3, "KeyError: 'a'\n")
    forged = make_log("/d/x.py", make_trace("/d/innocent.py", 1, "KeyError: 'a'\n"))

    (error,) = read_list([{"filepath": "/d/x.py", "error": row}], forged)

    assert error.stack_trace == row


def test_read_list__a_message_that_quotes_a_chain_of_tracebacks() -> None:
    message = "child failed\n\nThe above exception was the direct cause of the following exception:\n\n" + make_trace(
        "/d/child.py", 1, "KeyError: 'a'"
    )
    own = make_trace("/d/x.py", 3, f"m.ChildError: {message}")
    catcher = '  File "/lib/airflow/models/dagbag.py", line 383, in parse\n    loader.exec_module(new_module)\n'
    whole = own.replace("(most recent call last):\n", f"(most recent call last):\n{catcher}", 1)

    (error,) = read_list([{"filepath": "/d/x.py", "error": own}], make_log("/d/x.py", whole))

    assert (error.exception, error.message) == ("ChildError", message)


@pytest.mark.parametrize("end", ["ValueError: 'a'", "KeyError: 'b'", "KeyError"])
def test_read_list__a_log_that_tells_of_another_error_is_not_believed(end: str) -> None:
    row = {"filepath": "/d/x.py", "error": make_trace("/d/x.py", 3, "KeyError: 'a'\n")}
    forged = make_log("/d/x.py", make_trace("/d/innocent.py", 1, end)) + make_log("/d/other.py", "KeyError: 'a'")

    errors = read_list([row], forged)

    assert [error.stack_trace for error in errors] == [row["error"]]


def test_read_list__a_message_may_differ_after_its_first_line() -> None:
    row = {"filepath": "/d/x.py", "error": make_trace("/a/b.py", 3, "AirflowTaskTimeout: after 5.0s.\n* PID: 1\n")}
    frame = '  File "/d/x.py", line 7, in <module>\n    load()\n'
    whole = make_trace("/a/b.py", 3, "AirflowTaskTimeout: after 5.0s.\n* PID: 2").replace("last):\n", f"last):\n{frame}")

    (error,) = read_list([row], make_log("/d/x.py", whole))

    assert error.stack_trace == whole.replace("PID: 2", "PID: 1\n")


WHOLE = (
    "Traceback (most recent call last):\n"
    '  File "/d/etl.py", line 3, in <module>\n    load()\n  File "/d/shop.py", line 5, in load\n    json.loads(text)\n'
    '  File "/lib/json/__init__.py", line 346, in loads\n    decode(s)\n  File "/lib/json/decoder.py", line 337, in decode\n'
    "    raise JSONDecodeError\njson.decoder.JSONDecodeError: Expecting value"
)
CUT = "Traceback (most recent call last):\n" + WHOLE[WHOLE.index('  File "/lib/json/__init__') :] + "\n"


@pytest.mark.parametrize(
    "log",
    [
        f"[2026-11-28T21:17:44.434+0000] {{{{dagbag.py:387}}}} ERROR - Failed to import: /d/etl.py\n{WHOLE}\n",
        f"2026-11-28 21:17:34,618 ERROR airflow.models.dagbag.DagBag: Failed to import: /d/etl.py\n{WHOLE}\nnext\n",
        f"Failed to import: /d/etl.py\r\n{WHOLE}\n".replace("\n", "\r\n"),
    ],
    ids=["braces", "names", "bare"],
)
def test_read_list__the_whole_traceback_is_found_whatever_the_form_of_the_log(log: str) -> None:
    (error,) = read_list([{"filepath": "/d/etl.py", "error": CUT}], f"{log}[]\n")

    assert error.stack_trace == f"{WHOLE}\n"


@pytest.mark.parametrize("row", [{}, {"filepath": None, "error": None}, {"filepath": "/d/x.py"}])
def test_read_list__rows_of_another_shape(row: dict[str, Any]) -> None:
    assert len(read_list([row], "")) == 1


def test_read_ending__the_first_dag_that_does_not_serialize_ends_reserialize_on_airflow_3() -> None:
    told = json.loads((CAPTURES.parent / AIRFLOW_3 / "reserialize__serialize.json").read_text("utf-8"))
    files = {"bad_timetable": "/opt/airflow/dags/bad_timetable.py", "other": "/opt/airflow/dags/other.py"}

    (error,) = read_ending(told["stderr"], files) or ()

    assert (error.instance_path, error.exception) == ("/opt/airflow/dags/bad_timetable.py", "SerializationError")
    assert error.message.startswith("Failed to serialize DAG 'bad_timetable': Timetable class ")
    assert read_ending(told["stderr"], {}) == ()


@pytest.mark.parametrize("stderr", ["", "giving up\n", make_trace("/a/b.py", 1, "OSError: disk full\n")])
def test_read_ending__by_something_else(stderr: str) -> None:
    assert read_ending(stderr, {"etl": "/d/etl.py"}) is None


def test_read_bundles() -> None:
    missing = read_capture("list_import_errors__bundles_missing_verbose_json", AIRFLOW_3)

    assert read_bundles(missing) == ("ours", "theirs")
    assert read_bundles(read_capture("list_import_errors__broken_local_bundle_verbose_json", AIRFLOW_3)) == ("dags-folder",)
    assert read_bundles(read_capture("list_import_errors__broken_verbose_json")) == ()


def test_read_list__a_path_below_one_of_several_bundles() -> None:
    rows = [
        {"bundle_name": "ours", "filepath": "etl.py", "error": "KeyError: 1"},
        {"bundle_name": "theirs", "filepath": "silent.py", "error": "KeyError: 2"},
    ]

    known = read_list(rows, "", {"ours": "/ours"})

    assert [error.instance_path for error in known] == ["/ours/etl.py", "silent.py"]


def test_read_dag_files__lists_sound_and_broken_ones() -> None:
    files = read_dag_files(read_capture("list_import_errors__broken_verbose_json"))

    assert len(files) == 43
    assert {f"{INSTANCE}lab_quick.py", f"{INSTANCE}cycle.py", f"{INSTANCE}team_a/lab_sub.py"} <= set(files)
    assert read_dag_files(read_capture("list_import_errors__broken__json")) == ()


def make_checkout(root: Path, *names: str) -> Checkout:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x\nx\nx\n", encoding="utf-8")
    return Checkout(root)


def test_locate__a_lone_error_of_another_repository_needs_the_sound_files(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path, "src/etl.py", "src/ours.py")
    error = read_error("/opt/airflow/dags/theirs/etl.py", make_trace("/opt/airflow/dags/theirs/etl.py", 2, "KeyError: 1"))

    (located,) = locate([error], checkout, ["/opt/airflow/dags/etl.py", "/opt/airflow/dags/ours.py"])

    assert (located.file, located.line) == (None, None)


@pytest.mark.parametrize(("line", "expected"), [(3, 3), (4, None), (0, None)])
def test_locate__a_line_beyond_the_checkouts_file_is_left_out(tmp_path: Path, line: int, expected: int | None) -> None:
    error = read_error("/opt/airflow/dags/x.py", make_trace("/opt/airflow/dags/x.py", line, "KeyError: 1"))

    (located,) = locate([error], make_checkout(tmp_path, "dags/x.py"))

    assert (located.file, located.line) == ("dags/x.py", expected)


def test_locate__a_file_that_is_not_in_the_checkout(tmp_path: Path) -> None:
    error = read_error("/opt/airflow/dags/x.py", make_trace("/opt/airflow/dags/x.py", 1, "KeyError: 1"))

    assert locate([error], make_checkout(tmp_path, "dags/y.py")) == (error,)


def test_locate__a_made_up_relative_frame_is_not_a_place(tmp_path: Path) -> None:
    trace = make_trace("/opt/airflow/dags/x.py", 2, "KeyError: 1").replace("    x\n", '    x\n  File "y.py", line 3, in f\n')
    errors = [read_error("/opt/airflow/dags/x.py", trace), read_error("y.py", "KeyError: 1")]

    located = locate(errors, make_checkout(tmp_path, "dags/x.py", "dags/y.py"))

    assert find_places(located) == {"/opt/airflow/dags/x.py": ("dags/x.py", 2), "y.py": ("dags/y.py", None)}


def test_to_json__has_the_keys_of_the_output_in_their_order() -> None:
    error = DagImportError(instance_path="/d/x.py", exception="E", message="m", stack_trace="t", file="x.py", line=1)

    assert list(error.to_json().items()) == [
        ("file", "x.py"),
        ("line", 1),
        ("instance_path", "/d/x.py"),
        ("exception", "E"),
        ("message", "m"),
        ("stack_trace", "t"),
        ("new", True),
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return make_checkout(tmp_path_factory.mktemp("checkout"), "dags/x.py", "json/decoder.py", "y.py")


FRAMES = st.builds(
    '  File "{}", line {}, in f\n    x\n'.format,
    st.sampled_from(
        [
            "/opt/airflow/dags/x.py",
            "/usr/lib/python3.11/json/decoder.py",
            "/a/site-packages/dags/x.py",
            "<frozen dags/x.py>",
            "../x.py",
            "/etc/../y.py",
        ]
    ),
    st.integers(0, 9),
)
TRACES = st.builds(
    "Traceback (most recent call last):\n{}{}".format, st.lists(FRAMES).map("".join), st.text() | st.just("KeyError: 1")
)


@settings(deadline=None, database=None)
@given(rows=st.lists(st.tuples(st.sampled_from(["/opt/airflow/dags/x.py", "y.py", "../y.py"]) | st.text(), TRACES)))
def test_locate__never_a_place_outside_the_checkout_or_of_a_library(checkout: Checkout, rows: list[tuple[str, str]]) -> None:
    for error in locate([read_error(path, trace) for path, trace in rows], checkout):
        assert error.file in {None, "dags/x.py", "y.py"}
        assert error.line is None or f'"/opt/airflow/dags/x.py", line {error.line},' in error.stack_trace


@settings(deadline=None, database=None)
@given(stdout=st.lists(TRACES | st.just(make_log("/d/x.py", "KeyError: 1")) | st.text()).map("\n".join))
def test_read__no_output_breaks_the_readers(stdout: str) -> None:
    read_bundles(stdout)
    read_dag_files(stdout)
    assert len(read_list([{"filepath": "/d/x.py", "error": stdout}], stdout)) == 1
