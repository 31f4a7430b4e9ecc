"""What counts as deployed: which files are awaited, when two sources are the same, what the scheduler's rows mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dms_airflow.airflow.dags import (
    Dag,
    StoredImportError,
    add_known_dags,
    find_dags_folder,
    list_slowest,
    parse_dag,
    parse_import_error,
    parse_report,
    strip_member,
    was_stored_by_reserialize,
)
from dms_airflow.airflow.version import AIRFLOW_2, AIRFLOW_3
from dms_airflow.checkout.dag_files import Root, always_defines_dag, choose_files, find_root, might_define_dag
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.deploy.deployed_files import is_same_source
from dms_airflow.import_errors.instance_reader import Snapshot
from dms_airflow.import_errors.reparse import FileState, judge_file

CAPTURES = Path(__file__).parents[1] / "captures" / "airflow-2.10.4"
DAG = "from airflow import DAG\n"


def write(root: Path, **files: str) -> Path:
    """Write files, their names with `__` for a slash and without `.py`."""
    for name, text in files.items():
        file = root / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


# --- what the instance tells ----------------------------------------------------------------------------------------------


def test_a_real_report() -> None:
    told = json.loads((CAPTURES / "cli/dags/report__json.json").read_text(encoding="utf-8"))

    report = parse_report(json.loads(told["stdout"]))

    assert [*report][:2] == ["/lab_slow.py", "/lab_pool_warning.py"]
    assert report["/team_a/lab_sub.py"] == ("team_a.lab_sub",)
    assert len(report) == 8


def test_a_real_report_of_airflow_3() -> None:
    told = json.loads((CAPTURES.parent / "airflow-3.2.2/cli/dags/report__json.json").read_text(encoding="utf-8"))
    rows = next(line for line in told["stdout"].split("\n") if line.startswith("[{"))

    report = parse_report(json.loads(rows))

    assert [*report][:2] == ["/lab_slow.py", "/lab_pool_warning.py"]
    assert "/team_a/lab_sub.py" in report


def test_real_rows_of_airflow_3() -> None:
    dag = json.loads((CAPTURES.parent / "airflow-3.2.2/rest/dags/list.json").read_text(encoding="utf-8"))
    errors = json.loads((CAPTURES.parent / "airflow-3.2.2/rest/importErrors/broken.json").read_text(encoding="utf-8"))

    row = parse_dag(json.loads(dag["body"])["dags"][0], AIRFLOW_3)
    first, *_ = json.loads(errors["body"])["import_errors"]

    assert (row.path, row.bundle, row.bundle_folder) == ("/opt/airflow/dags/lab_daily.py", "dags-folder", "/opt/airflow/dags")
    assert parse_import_error(first, {"dags-folder": "/opt/airflow/dags"}).path == "/opt/airflow/dags/exec_string.py"
    assert parse_import_error(first, {}).path == "exec_string.py"
    member = {"filename": "/opt/airflow/dags/packed.zip/x.py", "bundle_name": "dags-folder"}
    assert parse_import_error(member, {"dags-folder": "/opt/airflow/dags"}).path == "/opt/airflow/dags/packed.zip/x.py"


@pytest.mark.parametrize(
    ("filename", "told"),
    [("etl.py", False), ("/opt/airflow/dags/etl.py", True), ("/opt/airflow/dags/packed.zip/etl.py", False), ("", False)],
)
def test_what_reserialize_left_behind(filename: str, told: bool) -> None:
    assert was_stored_by_reserialize(filename) is told


def test_what_a_report_does_not_know_the_database_adds() -> None:
    report = parse_report([{"file": "/a.py", "dags": []}, {"file": "/b.py", "dags": ["b"]}])
    broken = Dag(dag_id="c", path="/d/b.py", file_token="t", last_parsed_time="t1", is_active=True, has_import_errors=True)

    added = add_known_dags(report, [row("a", "/d/a.py"), row("b", "/d/b.py"), broken], "/d")

    assert added == {"/a.py": ("a",), "/b.py": ("b",)}


def test_the_five_slowest_files() -> None:
    rows = [{"file": f"/{number}.py", "duration": f"0:00:0{number}.000874"} for number in range(1, 7)]

    assert list_slowest([*rows, {"file": "/unknown.py"}]) == (
        ("/6.py", "0:00:06.000874"),
        ("/5.py", "0:00:05.000874"),
        ("/4.py", "0:00:04.000874"),
        ("/3.py", "0:00:03.000874"),
        ("/2.py", "0:00:02.000874"),
    )


def test_rows_that_lack_everything() -> None:
    assert parse_dag({}, AIRFLOW_2) == Dag(dag_id="")
    assert not parse_dag({"is_active": False}, AIRFLOW_2).is_active
    assert not parse_dag({"is_stale": True}, AIRFLOW_3).is_active
    redacted = "REDACTED - you do not have read permission on all DAGs in the file"
    assert parse_import_error({"stack_trace": redacted}, {}).stack_trace == (
        f"{redacted}. Give the RAM identity a role in Airflow with permission to read these DAGs, for example Viewer"
    )
    assert parse_import_error({}, {}) == StoredImportError(path="", stack_trace="", timestamp="")
    assert parse_report([{"dags": "etl"}]) == {"/": ()}


def test_dag_bundles_may_have_files_of_the_same_name() -> None:
    rows = [{"file": "etl.py", "dags": ["a"]}, {"file": "etl.py", "dags": ["b", "c"]}]

    assert parse_report(rows) == {"/etl.py": ("a", "b", "c")}


def row(dag_id: str, path: str, parsed: str = "t1") -> Dag:
    """A DAG that is well."""
    return Dag(dag_id=dag_id, path=path, file_token="token", last_parsed_time=parsed, is_active=True, has_import_errors=False)


def test_the_dag_folder_of_the_instance() -> None:
    report = parse_report([{"file": "/team/a.py", "dags": ["a"]}, {"file": "/b.py", "dags": ["b"]}])

    assert find_dags_folder([row("a", "/opt/dags/team/a.py"), row("b", "/opt/dags/b.py")], report) == "/opt/dags"
    assert find_dags_folder([row("old", "/opt/dags/old.py")], report) is None
    assert find_dags_folder([row("a", "/elsewhere/other.py")], report) is None


# --- which files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "dags_path", "root"),
    [
        (["/etl.py", "/team/daily.py"], None, Root(instance="", checkout="src/dags", sure=False)),
        (["/etl.py", "/team/daily.py"], "src/dags", Root(instance="", checkout="src/dags", sure=True)),
        (
            ["/us/etl.py", "/us/team/daily.py", "/them/x.py"],
            None,
            Root(instance="/us", checkout="src/dags", sure=False),
        ),
        (["/opt/airflow/dags/etl.py"], "src/dags", Root(instance="/opt/airflow/dags", checkout="src/dags", sure=True)),
        (["/foreign.py"], "src/dags", Root(instance="", checkout="src/dags", sure=True)),
        (["/foreign.py"], None, None),
        ([], None, None),
    ],
)
def test_the_deployed_folder(tmp_path: Path, paths: list[str], dags_path: str | None, root: Root | None) -> None:
    write(tmp_path, src__dags__etl=DAG, src__dags__team__daily=DAG, tests__test_etl=DAG)

    assert find_root(paths, Checkout(tmp_path, dags_path)) == root


def test_the_customary_folder_where_nothing_is_deployed_yet(tmp_path: Path) -> None:
    write(tmp_path, dags__etl=DAG)

    assert find_root([], Checkout(tmp_path)) == Root(instance="", checkout="dags", sure=False)


def test_the_root_of_the_checkout(tmp_path: Path) -> None:
    write(tmp_path, etl=DAG, team__daily=DAG)

    assert find_root(["/etl.py", "/team/daily.py"], Checkout(tmp_path)) == Root(instance="", checkout="", sure=False)
    assert find_root(["/etl.py"], Checkout(tmp_path, ".")) == Root(instance="", checkout="", sure=True)


def test_helpers_and_other_files_are_not_awaited(tmp_path: Path) -> None:
    write(tmp_path, dags__etl="import AIRFLOW, Dag", dags__helpers="def load(): ...", elsewhere__x=DAG)
    (tmp_path / "dags" / "query.sql").write_text("-- the airflow dag's query")
    (tmp_path / "dags" / "packed.zip").write_bytes(b"PK")
    root = Root(instance="", checkout="dags", sure=True)

    expected = choose_files(root, Checkout(tmp_path, "dags"), [])

    assert expected.awaited == {"/etl.py": "dags/etl.py"}
    assert expected.doubtful == ("dags/packed.zip",)


def test_a_folder_that_the_instance_has_not_is_in_doubt_only_where_the_root_was_guessed(tmp_path: Path) -> None:
    write(tmp_path, etl=DAG, team__daily=DAG, team__new=DAG, tests__test_etl=DAG)
    parsed = ["/etl.py", "/team/daily.py"]

    guessed = choose_files(Root(instance="", checkout="", sure=False), Checkout(tmp_path), parsed)
    named = choose_files(Root(instance="", checkout="", sure=True), Checkout(tmp_path, "."), parsed)

    assert set(guessed.awaited) == {"/etl.py", "/team/daily.py", "/team/new.py"}
    assert guessed.doubtful == ("tests/test_etl.py",)
    assert set(named.awaited) == {"/etl.py", "/team/daily.py", "/team/new.py", "/tests/test_etl.py"}


@pytest.mark.parametrize(
    ("pattern", "awaited", "doubtful"),
    [
        ("", {"/old/a.py", "/old/deep/b.py", "/c_test.py"}, ()),
        ("# old/", {"/old/a.py", "/old/deep/b.py", "/c_test.py"}, ()),
        ("old/", {"/c_test.py"}, ()),
        ("old  # not used", {"/c_test.py"}, ()),
        ("/old/", {"/c_test.py"}, ("dags/old/a.py", "dags/old/deep/b.py")),
        ("^old$", {"/c_test.py"}, ("dags/old/a.py", "dags/old/deep/b.py")),
        (r".*_test\.py", {"/old/a.py", "/old/deep/b.py"}, ("dags/c_test.py",)),
        ("*_test.py", {"/old/a.py", "/old/deep/b.py"}, ("dags/c_test.py",)),
        ("old/**/b.py", {"/old/a.py", "/c_test.py"}, ("dags/old/deep/b.py",)),
        ("old/?.py", {"/old/deep/b.py", "/c_test.py"}, ("dags/old/a.py",)),
        ("old/[ab].py", {"/old/deep/b.py", "/c_test.py"}, ()),
        ("old/*.py\n!old/a.py", {"/old/a.py", "/old/deep/b.py", "/c_test.py"}, ()),
    ],
)
def test_ignored_files_are_not_awaited_and_named_where_the_two_readings_differ(
    tmp_path: Path, pattern: str, awaited: set[str], doubtful: tuple[str, ...]
) -> None:
    write(tmp_path, dags__old__a=DAG, dags__old__deep__b=DAG, dags__c_test=DAG)
    (tmp_path / "dags" / ".airflowignore").write_text(f"{pattern}\n")

    expected = choose_files(Root(instance="", checkout="dags", sure=True), Checkout(tmp_path, "dags"), [])

    assert set(expected.awaited) == awaited
    assert expected.doubtful == doubtful


def test_an_ignore_file_counts_below_its_folder_only(tmp_path: Path) -> None:
    write(tmp_path, dags__a__x=DAG, dags__b__x=DAG)
    (tmp_path / "dags" / "a" / ".airflowignore").write_text("x\\.py\nx.py\n")

    expected = choose_files(Root(instance="", checkout="dags", sure=True), Checkout(tmp_path, "dags"), [])

    assert expected.awaited == {"/b/x.py": "dags/b/x.py"}


def test_an_ignored_file_that_the_instance_parses_is_compared(tmp_path: Path) -> None:
    write(tmp_path, dags__x=DAG)
    (tmp_path / "dags" / ".airflowignore").write_text("x\n")

    expected = choose_files(Root(instance="", checkout="dags", sure=True), Checkout(tmp_path, "dags"), ["/x.py"])

    assert expected.awaited == {"/x.py": "dags/x.py"}


@pytest.mark.parametrize(
    ("content", "might"),
    [(b"Airflow DAG", True), (b"airflow", False), (b"dag", False), (b"", False), (b"\xffdagairflow", True)],
)
def test_safe_mode(content: bytes, *, might: bool) -> None:
    assert might_define_dag(content) is might


# --- sources --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "content", "same"),
    [
        ("a\nb\n", b"a\nb\n", True),
        ("a\nb\n", b"a\r\nb\r\n", True),
        ("a\nb\n", b"a\rb\r", True),
        ("a\n", b"\xef\xbb\xbfa\n", True),
        ("\ufeffa\n", b"a\n", True),
        ("a\n", b"a", True),
        ("\u00fc\n", "ü\n".encode(), True),
        ("a\nb\n", b"a\nc\n", False),
        ("a\n", b"a \n", False),
        ("", b"a", False),
    ],
)
def test_same_source(stored: str, content: bytes, *, same: bool) -> None:
    assert is_same_source(stored, content) is same


@pytest.mark.parametrize(
    ("source", "certain"),
    [
        ("from airflow import DAG\nwith DAG('etl'): ...", True),
        ("import airflow\netl = airflow.DAG('etl')", True),
        ("from airflow.decorators import dag\n@dag\ndef etl(): ...\netl()", True),
        ("from airflow.decorators import dag\n@dag(schedule=None)\ndef etl(): ...\nx = etl()", True),
        ("def broken(:", True),
        ("from airflow.decorators import dag\n@dag\ndef etl(): ...", False),
        ("from airflow import DAG\nif production:\n    DAG('etl')", False),
        ("from airflow import DAG\ndef make():\n    return DAG('etl')", False),
        ("from airflow import DAG\nDAG('etl', auto_register=False)", False),
        ("from airflow import DAG\nDAG('etl', **options)", False),
        ("from lib import make_dag  # airflow\nmake_dag('etl')", False),
        ("# what the airflow dag needs\nNAME: str", False),
    ],
)
def test_a_file_that_defines_a_dag_for_certain(source: str, certain: bool) -> None:
    assert always_defines_dag(source.encode()) is certain


# --- the scheduler --------------------------------------------------------------------------------------------------------

PATH = "/opt/dags/etl.py"


def view(parsed: str = "", *errors: str, path: str = PATH) -> Snapshot:
    """A view with one DAG of the file, and errors by their times."""
    rows = [StoredImportError(path=path, stack_trace="", timestamp=time) for time in errors]
    return Snapshot(dags=[row("etl", PATH, parsed)] if parsed else [], errors=rows)


@pytest.mark.parametrize(
    ("before", "now", "must_be_parsed", "standing"),
    [
        (view("t1"), view("t1"), True, FileState.AWAITED),
        (view("t1"), view("t2"), True, FileState.SOUND),
        (view(), view("t2"), True, FileState.SOUND),
        (view("t1"), view("t1"), False, FileState.SOUND),
        (view("t1"), view("t1", "e1"), True, FileState.BROKEN),
        (view("t1", "e1"), view("t1", "e1"), False, FileState.AWAITED),
        (view("t1", "e1"), view("t2", "e1"), True, FileState.AWAITED),
        (view("t1", "e1"), view("t1", "e2"), True, FileState.BROKEN),
        (view("t1", "e1"), view("t2"), True, FileState.SOUND),
        (view("t1", "e1"), view("t1"), False, FileState.SOUND),
        (view("t1"), view("t2", "e1", path="/opt/dags/other.py"), True, FileState.SOUND),
    ],
)
def test_what_the_scheduler_made_of_a_file(
    before: Snapshot, now: Snapshot, *, must_be_parsed: bool, standing: FileState
) -> None:
    assert judge_file(PATH, before, now, must_be_parsed=must_be_parsed) is standing


def test_an_error_of_a_zip_member_is_the_zips() -> None:
    now = Snapshot(dags=[], errors=[StoredImportError(path="/d/x.zip/a.py", stack_trace="", timestamp="e")])

    assert strip_member("/d/x.ZIP/a.py") == "/d/x.ZIP"
    assert strip_member("/d/zip/a.py") == "/d/zip/a.py"
    assert judge_file("/d/x.zip", Snapshot(dags=[], errors=[]), now, must_be_parsed=False) is FileState.BROKEN
