"""A known error stays known when lines, processes, times and instances change; two errors are never taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms_airflow.import_errors.baseline import compare, list_fingerprints, read_baseline
from dms_airflow.import_errors.parse import DagImportError, read_list

CAPTURES = Path(__file__).parents[1] / "captures" / "airflow-2.10.4" / "cli" / "dags"
ERROR = DagImportError(
    file="dags/team/etl.py",
    line=4,
    instance_path="/opt/airflow/dags/team/etl.py",
    exception="ModuleNotFoundError",
    message="No module named 'pandsa'",
    stack_trace='Traceback (most recent call last):\n  File "/opt/airflow/dags/team/etl.py", line 4, in <module>',
)
ENTRY = {
    "file": "dags/etl.py",
    "line": 4,
    "instance_path": "/opt/airflow/dags/etl.py",
    "exception": "KeyError",
    "message": "'x'",
}


def is_known(now: DagImportError, before: DagImportError) -> bool:
    comparison = compare([now], [before])
    assert comparison.resolved == (() if not comparison.errors[0].new else (before,))
    return not comparison.errors[0].new


@pytest.mark.parametrize(
    "change",
    [
        {"line": 40},
        {"stack_trace": "another text"},
        {"new": False},
        {"instance_path": "/home/admin/airflow/dags/team/etl.py"},
        {"instance_path": "/mnt/nas/prod-files/team/etl.py"},
        {"instance_path": "team/etl.py"},  # Airflow 3's form
        {"file": None, "line": None},  # no checkout
        {"file": None, "line": None, "instance_path": "/home/admin/airflow/dags/team/etl.py"},
    ],
    ids=str,
)
def test_what_moves_around_an_error_does_not_make_it_new(change: dict[str, Any]) -> None:
    assert is_known(replace(ERROR, **change), ERROR)
    assert is_known(ERROR, replace(ERROR, **change))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        # tests/captures/airflow-2.10.4: an import that takes too long
        (
            "DagBag import timeout for /opt/airflow/dags/team/etl.py after 5.0s.\nPlease take a look, PID: 13257",
            "DagBag import timeout for /opt/airflow/dags/team/etl.py after 5.0s.\nPlease take a look, PID: 9",
        ),
        ("process 4711 ended", "process 12 ended"),
        ("pid=4711 is gone", "pid=12 is gone"),
        ("<Pool object at 0x7f3a5c1b2d30> is closed", "<Pool object at 0x10AB> is closed"),
        ("expired 2026-11-22T09:52:24.407+0000", "expired 2027-01-02T19:00:01.001+0000"),
        ("expired 2026-11-22 09:52:24+08:00", "expired 2026-11-23 09:52:24+08:00"),
        ("expired 2026-11-22T09:52Z", "expired 2026-11-22T10:11Z"),
        ("no file for 2026-11-22", "no file for 2026-11-23"),
        ("stopped at 09:52:24,407", "stopped at 19:00:01,001"),
        ("now is 1795340000.123", "now is 1795340099.5"),
        ("DateTime(2026, 11, 22, 9, 52, 24, tzinfo=UTC)", "DateTime(2027, 1, 2, 19, 0, 1, tzinfo=UTC)"),
        ("datetime.datetime(2026, 11, 22, 9, 52)", "datetime.datetime(2027, 1, 2, 3, 4)"),
        ("request 0f8fad5b-d9cb-469f-a165-70867728950e", "request 7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        (
            "expected an indented block after 'if' statement on line 3",
            "expected an indented block after 'if' statement on line 33",
        ),
        ("invalid syntax (etl.py, line 8)", "invalid syntax (etl.py, line 9)"),
        ("Expecting value: line 1 column 5 (char 4)", "Expecting value: line 2 column 1 (char 40)"),
        ("deprecated, see etl.py:12", "deprecated, see etl.py:13"),
        (
            "cannot import name 'x' from 'unusual_prefix_f3fb5c1d00112233445566778899aabbccddeeff_etl'",
            "cannot import name 'x' from 'unusual_prefix_00112233445566778899aabbccddeefff3fb5c1d_etl'",
        ),
        ("first line\n    second  line", "first line\nsecond line\n"),
    ],
)
def test_volatile_parts_of_a_message_do_not_make_it_new(before: str, now: str) -> None:
    assert is_known(replace(ERROR, message=now), replace(ERROR, message=before))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/home/admin/airflow/dags/team/etl.py", "from /home/admin/airflow/dags/a.py, found in /home/admin/airflow/dags/b.py"),
        ("/mnt/prod/dags/team/etl.py", "from /mnt/prod/dags/a.py, found in /mnt/prod/dags/b.py"),
    ],
)
def test_another_instance_s_folders_in_the_message_do_not_make_it_new(path: str, message: str) -> None:
    before = replace(ERROR, message="from /opt/airflow/dags/a.py, found in /opt/airflow/dags/b.py")

    assert is_known(replace(ERROR, instance_path=path, message=message), before)
    assert is_known(replace(ERROR, instance_path=path, message=message, file=None), before)


def test_a_folder_beside_the_dag_folder_is_another_instance_s_too() -> None:
    before = replace(ERROR, message="No such file or directory: '/opt/airflow/config/etl.json'")
    now = replace(
        ERROR, instance_path="/srv/af/dags/team/etl.py", message="No such file or directory: '/srv/af/config/etl.json'"
    )

    assert is_known(now, before)
    assert is_known(replace(now, file=None), before)


@pytest.mark.parametrize(
    "change",
    [
        {"message": "No module named 'pandas'"},
        {"message": "No module named 'pandsa2'"},
        {"message": ""},
        {"exception": "ImportError"},
        {"file": "dags/other/etl.py", "instance_path": "/opt/airflow/dags/other/etl.py"},
        {"file": None, "line": None, "instance_path": "/opt/airflow/dags/etl.py"},
        {"file": "dags/team/sub/etl.py", "instance_path": "/opt/airflow/dags/team/sub/etl.py"},
    ],
    ids=str,
)
def test_another_error_is_new(change: dict[str, Any]) -> None:
    assert not is_known(replace(ERROR, **change), ERROR)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Variable limit_1 does not exist", "Variable limit_2 does not exist"),
        ("no such file: '/opt/airflow/dags/a.sql'", "no such file: '/opt/airflow/dags/b.sql'"),
        ("HTTP 404", "HTTP 500"),
        ("port 5432 is closed", "port 5433 is closed"),
        ("out of range: 61 * * * *", "out of range: 62 * * * *"),
    ],
)
def test_numbers_and_names_that_last_are_told_apart(before: str, now: str) -> None:
    assert not is_known(replace(ERROR, message=now), replace(ERROR, message=before))


def test_a_second_dag_file_that_fails_by_a_known_helper_is_new() -> None:
    first = replace(ERROR, file="dags/lib/helper.py", instance_path="/opt/airflow/dags/first.py")
    second = replace(first, instance_path="/opt/airflow/dags/second.py")

    comparison = compare([second, first], [first])

    assert [error.new for error in comparison.errors] == [True, False]
    assert comparison.resolved == ()


def test_what_is_gone_is_resolved() -> None:
    gone = replace(ERROR, file="dags/gone.py", instance_path="/opt/airflow/dags/gone.py")

    assert compare([ERROR], [gone, ERROR]).resolved == (gone,)
    assert compare([], [gone]).resolved == (gone,)
    assert compare([ERROR], []).errors == (ERROR,)


# --- real answers ---------------------------------------------------------------------------------------------------------


def read_rows(stdout: str) -> tuple[DagImportError, ...]:
    rows = next(line for line in stdout.split("\n") if line.startswith('[{"filepath"'))
    return read_list(json.loads(rows), stdout)


@pytest.mark.parametrize("capture", ["list_import_errors__broken__json", "list_import_errors__broken_verbose_json"])
@pytest.mark.parametrize("folder", ["/opt/airflow/", "/home/admin/prod/"])
def test_33_real_errors_are_known_again(capture: str, folder: str) -> None:
    """Another parse, with two frames or all, on another instance; the message of one of them has its process id."""
    before = read_rows(read_stdout("list_import_errors__broken__json"))
    now = read_rows(read_stdout(capture).replace("/opt/airflow/", folder))

    comparison = compare(now, before)

    assert len(comparison.errors) == 33
    assert [error.instance_path for error in comparison.errors if error.new] == []
    assert comparison.resolved == ()


def read_stdout(capture: str) -> str:
    stdout = json.loads((CAPTURES / f"{capture}.json").read_text("utf-8"))["stdout"]
    assert isinstance(stdout, str)
    return stdout


def test_no_two_of_33_real_errors_are_the_same() -> None:
    errors = read_rows(read_stdout("list_import_errors__broken__json"))

    assert len({fingerprint for error in errors for fingerprint in list_fingerprints(error)}) == 33


ERRORS = st.builds(
    DagImportError,
    file=st.none() | st.text("ab/.", max_size=6),
    line=st.none() | st.integers(1, 9),
    instance_path=st.text("ab/.", max_size=6),
    exception=st.sampled_from(["", "KeyError"]),
    message=st.text(max_size=8),
    stack_trace=st.just(""),
)


@given(st.lists(ERRORS, max_size=6), st.randoms(use_true_random=False))
def test_a_list_knows_itself_in_any_order(errors: list[DagImportError], random: Any) -> None:
    shuffled = random.sample(errors, len(errors))

    comparison = compare(shuffled, errors)

    # With a place both in the checkout and on the instance, two errors may each fit two of the baseline.
    assert len([error for error in comparison.errors if error.new]) == len(comparison.resolved)
    if all(len(list_fingerprints(error)) == 1 for error in errors):
        assert comparison.resolved == ()


# --- reading --------------------------------------------------------------------------------------------------------------


KNOWN = (
    DagImportError(
        file="dags/etl.py",
        line=4,
        instance_path="/opt/airflow/dags/etl.py",
        exception="KeyError",
        message="'x'",
        stack_trace="",
        new=False,
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([ENTRY]),
        f"\n  {json.dumps([{**ENTRY, 'new': True, 'stack_trace': 'long', 'unknown': [1]}], indent=2)}\n",
        json.dumps({"operation": "dags list-import-errors", "outputs": {"import-errors": [ENTRY], "json": []}}),
    ],
)
def test_a_baseline_is_the_output_or_a_result_file_given_or_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "errors.json").write_text(text, encoding="utf-8")
    (tmp_path / "marked.json").write_text(text, encoding="utf-8-sig")

    for baseline in (text, "known/errors.json", "./known/errors.json\n", str(tmp_path / "marked.json")):
        read = read_baseline(baseline, tmp_path)
        assert (read.errors, read.problem) == (KNOWN, "")


def test_an_entry_without_a_place_in_the_checkout() -> None:
    entry = {"file": None, "line": True, "instance_path": "etl.py", "exception": "", "message": "m"}

    [error] = read_baseline(json.dumps([entry]), None).errors  # type: ignore[arg-type]  # nothing is looked up there

    assert (error.file, error.line, error.instance_path) == (None, None, "etl.py")


OUTSIDE = "it is not in the workspace; use a path relative to the workspace"


def test_a_baseline_of_no_errors_is_one(tmp_path: Path) -> None:
    read = read_baseline("[]", tmp_path)

    assert (read.errors, read.problem) == ((), "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("missing.json", 'the file "missing.json" cannot be read: No such file or directory'),
        ("folder", 'the file "folder" cannot be read: Is a directory'),
        ("../outside.json", f'the file "../outside.json" cannot be read: {OUTSIDE}'),
        ("/etc/hostname", f'the file "/etc/hostname" cannot be read: {OUTSIDE}'),
        ("link.json", f'the file "link.json" cannot be read: {OUTSIDE}'),
        (
            "latin.json",
            "the file \"latin.json\" cannot be read: 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte",
        ),
        ("n" * 300, f'the file "{"n" * 300}" cannot be read: File name too long'),
        ("text.json", "it is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[", "it is not JSON: Expecting value: line 1 column 2 (char 1)"),
        ("{}", "it is neither a list of import errors nor a result file that has them"),
        ('{"outputs": []}', "it is neither a list of import errors nor a result file that has them"),
        ('{"outputs": {"import-errors": "x"}}', "it is not a list of import errors"),
        ("number.json", "it is not a list of import errors"),
        ("[1]", "entry 1 is not an import error"),
        (json.dumps([ENTRY, {**ENTRY, "message": None}]), "entry 2 is not an import error: message is missing or not a text"),
        ('[{"exception": "a", "message": "b"}]', "entry 1 is not an import error: instance_path is missing or not a text"),
    ],
    ids=lambda value: value[:40],
)
def test_what_cannot_be_read_is_said(text: str, problem: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "folder").mkdir(parents=True)
    (tmp_path / "outside.json").write_text("[]", encoding="utf-8")
    (workspace / "link.json").symlink_to(tmp_path / "outside.json")
    (workspace / "latin.json").write_bytes(b"[\xff]")
    (workspace / "text.json").write_text("none", encoding="utf-8")
    (workspace / "number.json").write_text("1", encoding="utf-8")

    read = read_baseline(text, workspace)

    assert (read.errors, read.problem) == ((), problem)


@pytest.mark.parametrize(
    ("text", "problem"), [("loop.json", 'the file "loop.json" cannot be read: '), ("[" * 100_000, "it is not JSON")]
)
def test_what_cannot_be_read_at_all_is_said(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")

    read = read_baseline(text, tmp_path)

    assert read.errors == ()
    assert read.problem.startswith(problem)
