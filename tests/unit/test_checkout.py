"""Instance paths map to the right file of the checkout or to none, never out of it; lines are found or left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms_airflow.checkout.dag_source import find_line
from dms_airflow.checkout.mapping import Checkout
from dms_airflow.checkout.source_lines import place_failure

if TYPE_CHECKING:
    from pathlib import Path

INSTANCE = "/opt/airflow/dags"


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("import json\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("layout", ["dags/", "airflow/dags/", "", "src/pipelines/"])
def test_map_paths__finds_the_dag_folder_by_itself(tmp_path: Path, layout: str) -> None:
    checkout = Checkout(make_files(tmp_path, f"{layout}x.py", f"{layout}team/y.py", f"{layout}lib/h.py", "README.md"))

    found = checkout.map_paths([f"{INSTANCE}/x.py", f"{INSTANCE}/team/y.py"], [f"{INSTANCE}/lib/h.py"])

    assert found == {
        f"{INSTANCE}/x.py": f"{layout}x.py",
        f"{INSTANCE}/team/y.py": f"{layout}team/y.py",
        f"{INSTANCE}/lib/h.py": f"{layout}lib/h.py",
    }


def test_map_paths__the_longest_suffix_wins(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "dags/team/x.py", "tests/x.py", "x.py"))

    assert checkout.map_paths([f"{INSTANCE}/team/x.py"]) == {f"{INSTANCE}/team/x.py": "dags/team/x.py"}


def test_map_paths__two_files_of_a_name_are_ambiguous(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "a/dags/x.py", "b/dags/x.py"))

    assert checkout.map_paths([f"{INSTANCE}/x.py"]) == {}


@pytest.mark.parametrize("dags_path", ["b/dags", "b/dags/", "./b/dags"])
def test_map_paths__dags_path_decides(tmp_path: Path, dags_path: str) -> None:
    checkout = Checkout(make_files(tmp_path, "a/dags/x.py", "b/dags/x.py"), dags_path)

    assert checkout.map_paths([f"{INSTANCE}/x.py"]) == {f"{INSTANCE}/x.py": "b/dags/x.py"}


def test_map_paths__another_dag_file_decides(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "a/dags/x.py", "b/dags/x.py", "b/dags/y.py"))

    found = checkout.map_paths([f"{INSTANCE}/x.py", f"{INSTANCE}/y.py"])

    assert found == {f"{INSTANCE}/x.py": "b/dags/x.py", f"{INSTANCE}/y.py": "b/dags/y.py"}


def test_map_paths__a_helper_decides(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "a/dags/x.py", "b/dags/x.py", "b/dags/lib/h.py"))

    found = checkout.map_paths([f"{INSTANCE}/x.py"], [f"{INSTANCE}/lib/h.py"])

    assert found == {f"{INSTANCE}/x.py": "b/dags/x.py", f"{INSTANCE}/lib/h.py": "b/dags/lib/h.py"}


def test_map_paths__one_instance_folder_is_one_checkout_folder(tmp_path: Path) -> None:
    # y.py was deleted from dags/; its namesake elsewhere is not it
    checkout = Checkout(make_files(tmp_path, "dags/x.py", "scripts/y.py"))

    assert checkout.map_paths([f"{INSTANCE}/x.py", f"{INSTANCE}/y.py"]) == {f"{INSTANCE}/x.py": "dags/x.py"}


def test_map_paths__most_dag_files_outweigh_a_longer_suffix(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "src/x.py", "src/y.py", "src/z.py", "tests/dags/x.py"))

    found = checkout.map_paths([f"{INSTANCE}/x.py", f"{INSTANCE}/y.py", f"{INSTANCE}/z.py"])

    assert found[f"{INSTANCE}/x.py"] == "src/x.py"


def test_map_paths__another_repositorys_file_of_a_name(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "dags/etl.py"))

    assert checkout.map_paths([f"{INSTANCE}/other_team/etl.py"]) == {}


def test_map_paths__a_folder_below_the_dag_folder_when_most_of_its_files_are_there(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "dags/etl.py", "dags/sub/load.py"))
    team = f"{INSTANCE}/team"

    assert checkout.map_paths([f"{team}/etl.py", f"{team}/sub/load.py", f"{team}/new.py"]) == {
        f"{team}/etl.py": "dags/etl.py",
        f"{team}/sub/load.py": "dags/sub/load.py",
    }
    assert checkout.map_paths([f"{team}/etl.py", f"{team}/new.py"]) == {}
    assert checkout.map_paths([f"{team}/{name}.py" for name in ("etl", "a", "b", "c")] + [f"{team}/sub/load.py"]) == {}
    assert checkout.map_paths([f"{team}/etl.py", f"{team}/sub/load.py", f"{INSTANCE}/etl.py"]) == {
        f"{INSTANCE}/etl.py": "dags/etl.py"
    }


def test_map_paths__one_checkout_file_is_one_instance_file(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "src/etl.py", "src/main.py"))

    found = checkout.map_paths([f"{INSTANCE}/ours/etl.py", f"{INSTANCE}/ours/main.py", f"{INSTANCE}/theirs/etl.py"])

    assert found == {f"{INSTANCE}/ours/etl.py": "src/etl.py", f"{INSTANCE}/ours/main.py": "src/main.py"}


def test_map_paths__dags_path_is_deployed_at_one_place(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "src/etl.py", "src/main.py", "src/lib.py"), "src")

    found = checkout.map_paths([f"{INSTANCE}/main.py", f"{INSTANCE}/etl.py", "/opt/elsewhere/lib.py"])

    assert found == {f"{INSTANCE}/main.py": "src/main.py", f"{INSTANCE}/etl.py": "src/etl.py"}


@pytest.mark.parametrize("dags_path", ["missing", "..", "/etc", "../other", "x.py"])
def test_map_paths__a_dags_path_that_is_no_folder_of_the_checkout_holds_nothing(tmp_path: Path, dags_path: str) -> None:
    make_files(tmp_path, "other/x.py")
    checkout = Checkout(make_files(tmp_path / "checkout", "x.py"), dags_path)

    assert checkout.map_paths([f"{INSTANCE}/x.py"]) == {}


@pytest.mark.parametrize("dags_path", [None, "dags"])
def test_map_paths__a_plugin_beside_the_dag_folder(tmp_path: Path, dags_path: str | None) -> None:
    # dags/ is /opt/airflow/dags, so the folders beside it are known, too
    checkout = Checkout(make_files(tmp_path, "dags/x.py", "plugins/hooks.py", "old/plugins/hooks.py"), dags_path)

    found = checkout.map_paths([f"{INSTANCE}/x.py"], ["/opt/airflow/plugins/hooks.py"])

    assert found == {f"{INSTANCE}/x.py": "dags/x.py", "/opt/airflow/plugins/hooks.py": "plugins/hooks.py"}


def test_map_paths__a_helper_outside_the_folders_that_dag_files_show_is_not_guessed(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "src/x.py", "common/h.py", "old/dags/y.py"), "src")

    found = checkout.map_paths([f"{INSTANCE}/x.py", f"{INSTANCE}/y.py"], ["/opt/airflow/common/h.py"])

    assert found == {f"{INSTANCE}/x.py": "src/x.py"}


def test_map_paths__folders_within_each_other_that_are_as_likely(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "src/x.py", "src/team/h.py", "lib/y.py", "lib/h.py"))

    found = checkout.map_paths([f"{INSTANCE}/x.py", f"{INSTANCE}/team/y.py"], [f"{INSTANCE}/team/h.py"])

    assert found == {f"{INSTANCE}/x.py": "src/x.py"}


def test_map_paths__a_zip_member_is_its_zip(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "dags/packed.zip", "dags/ziplib/mod.py"))

    found = checkout.map_paths([f"{INSTANCE}/packed.zip/zipped_dag.py"], [f"{INSTANCE}/packed.zip/ziplib/mod.py"])

    assert found == {
        f"{INSTANCE}/packed.zip/zipped_dag.py": "dags/packed.zip",
        f"{INSTANCE}/packed.zip/ziplib/mod.py": "dags/packed.zip",
    }


def test_map_paths__paths_relative_to_the_bundle(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "dags/x.py", "dags/team/y.py", "dags/lib/h.py", "other/x.py"))

    found = checkout.map_paths(["x.py", "team/y.py"], [f"{INSTANCE}/team/y.py", f"{INSTANCE}/lib/h.py"])

    assert found == {
        "x.py": "dags/x.py",
        "team/y.py": "dags/team/y.py",
        f"{INSTANCE}/team/y.py": "dags/team/y.py",
        f"{INSTANCE}/lib/h.py": "dags/lib/h.py",
    }
    assert checkout.map_paths(["team/y.py"]) == {"team/y.py": "dags/team/y.py"}


def test_map_paths__helpers_show_where_a_relative_path_begins(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "x.py", "helper.py"))

    found = checkout.map_paths(["x.py"], [f"{INSTANCE}/x.py", f"{INSTANCE}/helper.py"])

    assert found == {"x.py": "x.py", f"{INSTANCE}/x.py": "x.py", f"{INSTANCE}/helper.py": "helper.py"}


def test_map_paths__a_name_in_angle_brackets_is_no_file(tmp_path: Path) -> None:
    assert Checkout(make_files(tmp_path, "<string>")).map_paths(["<string>"]) == {}


@pytest.mark.parametrize(
    "path",
    [
        "/usr/local/lib/python3.11/json/decoder.py",
        "/usr/local/lib/python3.11/site-packages/airflow/models/dag.py",
        "/home/airflow/.local/lib/python3.12/site-packages/airflow/models/dag.py",
        "/opt/pyenv/versions/3.8.18/lib/python3.8/json/decoder.py",
        "/usr/lib/python3/dist-packages/json/decoder.py",
        "/usr/lib/python311.zip/json/decoder.py",
        "/opt/airflow/dist-packages/json/decoder.py",
        "/opt/airflow/lib/python3.11/json/decoder.py",
        "<string>",
        "<frozen importlib._bootstrap>",
        "<frozen zipimport>",
        "json/decoder.py",
        "/opt/airflow/dags/../dags/x.py",
        "/opt/airflow/dags/x.py\0",
        "",
        "/",
        "/opt/airflow/dags",
    ],
)
def test_map_paths__what_is_never_the_authors(tmp_path: Path, path: str) -> None:
    root = make_files(tmp_path, "dags/x.py", "json/decoder.py", "airflow/models/dag.py", "<string>")
    make_files(root, "lib/python3.11/json/decoder.py", "dist-packages/json/decoder.py", "site-packages/y.py")

    assert Checkout(root).map_paths([f"{INSTANCE}/x.py"], [path]) == {f"{INSTANCE}/x.py": "dags/x.py"}


def test_map_paths__a_relative_helper_is_a_made_up_name(tmp_path: Path) -> None:
    assert Checkout(make_files(tmp_path, "x.py", "fake.py")).map_paths(["x.py"], ["fake.py"]) == {"x.py": "x.py"}


@pytest.mark.parametrize("folder", [".git", "node_modules", "venv", ".venv", "__pycache__"])
def test_map_paths__folders_without_sources_are_not_searched(tmp_path: Path, folder: str) -> None:
    assert Checkout(make_files(tmp_path, f"{folder}/dags/x.py")).map_paths([f"{INSTANCE}/x.py"]) == {}


def test_map_paths__a_virtual_environment_of_any_name_is_not_searched(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "env/pyvenv.cfg", "env/dags/x.py"))

    assert checkout.map_paths([f"{INSTANCE}/x.py"]) == {}


def test_map_paths__a_virtual_environment_in_the_root_hides_nothing_but_its_packages(tmp_path: Path) -> None:
    make_files(tmp_path, "pyvenv.cfg", "bin/activate.py", "lib/python3.11/site-packages/etl.py", "dags/etl.py")

    assert Checkout(tmp_path).map_paths(["/opt/airflow/dags/etl.py"]) == {"/opt/airflow/dags/etl.py": "dags/etl.py"}


def test_map_paths__symbolic_links_out_of_the_checkout_map_to_nothing(tmp_path: Path) -> None:
    outside = make_files(tmp_path, "outside/x.py", "outside/lib/h.py") / "outside"
    root = make_files(tmp_path / "checkout", "dags/y.py")
    (root / "dags" / "x.py").symlink_to(outside / "x.py")
    (root / "dags" / "lib").symlink_to(outside / "lib")
    (root / "dags" / "loop.py").symlink_to("loop.py")
    names = [f"{INSTANCE}/{name}" for name in ("x.py", "y.py", "loop.py")]

    assert Checkout(root).map_paths(names, [f"{INSTANCE}/lib/h.py"]) == {f"{INSTANCE}/y.py": "dags/y.py"}


def test_map_paths__symbolic_links_inside_map_to_what_they_lead_to(tmp_path: Path) -> None:
    root = make_files(tmp_path, "dags/y.py", "common/h.py", "shared/x.py")
    (root / "dags" / "x.py").symlink_to("../shared/x.py")
    (root / "dags" / "common").symlink_to("../common")

    found = Checkout(root).map_paths([f"{INSTANCE}/x.py", f"{INSTANCE}/y.py"], [f"{INSTANCE}/common/h.py"])

    assert found == {
        f"{INSTANCE}/x.py": "shared/x.py",
        f"{INSTANCE}/y.py": "dags/y.py",
        f"{INSTANCE}/common/h.py": "common/h.py",
    }


def test_map_paths__a_checkout_that_is_not_there(tmp_path: Path) -> None:
    assert Checkout(tmp_path / "missing").map_paths([f"{INSTANCE}/x.py"]) == {}


def test_map_paths__a_name_that_is_everywhere_says_nothing(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, *(f"p{number}/main.py" for number in range(30)), "lib/__init__.py"))

    assert checkout.map_paths([f"{INSTANCE}/main.py", f"{INSTANCE}/__init__.py"]) == {}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(make_files(tmp_path_factory.mktemp("checkout"), "dags/x.py", "lib/x.py", "json/decoder.py", "x.py"))


FILES = {"dags/x.py", "lib/x.py", "json/decoder.py", "x.py"}
NAMES = st.sampled_from(["", ".", "..", "opt", "dags", "lib", "x.py", "json", "decoder.py", "python3.11", "<frozen>"])
PATHS = st.lists(st.lists(NAMES | st.text(max_size=3), max_size=6).map("/".join), max_size=5)


@settings(deadline=None, database=None)
@given(dag_files=PATHS, helpers=PATHS)
def test_map_paths__never_raises_and_never_leaves_the_checkout(
    checkout: Checkout, dag_files: list[str], helpers: list[str]
) -> None:
    for path, file in checkout.map_paths(dag_files, helpers).items():
        assert file in FILES
        assert path.rpartition("/")[2] in {"x.py", "decoder.py", "."} or path.endswith("/")
        assert ".." not in path.split("/")
        assert not path.startswith("<")
        assert "lib/python3.11/" not in path


def test_place_failure__paths_are_relative_to_the_repository_and_without_a_frame_it_is_the_dag_file(tmp_path: Path) -> None:
    checkout = Checkout(make_files(tmp_path, "repo/.git/HEAD", "repo/dags/etl.py", "repo/dags/lib/h.py"))
    trace = (
        f'Traceback (most recent call last):\n  File "{INSTANCE}/lib/h.py", line 1, in load\n    import json\nValueError: boom'
    )

    assert place_failure(trace, f"{INSTANCE}/etl.py", checkout) == ("dags/lib/h.py", 1)
    assert place_failure("", f"{INSTANCE}/etl.py", checkout) == ("dags/etl.py", None)
    assert place_failure("", f"{INSTANCE}/other.py", checkout) == (None, None)


def test_read__a_file_that_went_away(tmp_path: Path) -> None:
    assert Checkout(tmp_path).read("dags/x.py") == b""


def find(source: str, message: str, exception: str = "") -> int | None:
    return find_line(source.encode(), name="x.py", exception=exception, message=message)


CYCLE = "Cycle detected in DAG: d. Faulty task: c"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("from airflow import DAG\nwith DAG('d'):\n    pass\n", 2),
        ("from airflow import DAG\nwith DAG('a'):\n    pass\ndag = DAG(\n    dag_id='d',\n)\n", 4),
        ("from airflow import models\ndag = models.DAG('d')\n", 2),
        ("NAME = 'd'\nDAG(dag_id=NAME)\n", 2),
        ("from airflow.decorators import dag\n\n@dag(schedule=None)\ndef d():\n    pass\n", 3),
        ("from airflow.decorators import dag\n\n@dag\ndef d():\n    pass\n", 3),
        ("import airflow.decorators as a\n\n@a.dag(dag_id='d')\ndef other():\n    pass\n", 3),
        ("from airflow.decorators import dag\n\n@dag(dag_id='a')\ndef d():\n    pass\n", None),
        ("from airflow.decorators import dag\n\n@dag(**options)\ndef d():\n    pass\n", None),
        ("DAG('d')\nDAG('d')\n", None),
        ("NAME = 'd'\nNAME = choose()\nDAG(NAME)\n", None),
        ("for name in names:\n    DAG(name)\n", None),
        ("for name in names:\n    DAG(f'{name}')\n", None),
        ("for name in names:\n    DAG(f'd{name}')\n", None),
        ("DAG('e')\n", None),
        ("DAG('d'\n", None),
        ("DAG('d')\0", None),
        ("", None),
    ],
)
def test_find_line__the_dag_of_an_id(source: str, line: int | None) -> None:
    assert find(source, CYCLE) == line


@pytest.mark.parametrize(
    "message",
    [
        "Cycle detected in Dag: d. Faulty task: c",
        "Ignoring DAG d from /opt/airflow/dags/x.py - also found in /opt/airflow/dags/y.py",
        "Failed to serialize DAG 'd': Timetable class 'm.T' is not registered",
        "The key 'd' has to be made of alphanumeric characters, dashes, dots and underscores exclusively",
    ],
)
def test_find_line__messages_that_name_a_dag(message: str) -> None:
    assert find("from airflow import DAG\nDAG('d')\n", message) == 2


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("import a\nfrom m.n.o import p\n", "No module named 'm.n'", 2),
        ("import a\nimport m.n\n", "No module named 'm'", 2),
        ("import m\nimport mother\n", "No module named 'm.n'", None),
        ("import m\nfrom m import x\n", "No module named 'm'", None),
        ("try:\n    import m\nexcept ImportError:\n    m = None\n", "No module named 'm'", None),
        ("if TYPE_CHECKING:\n    import m\nimport m.n\n", "No module named 'm'", 3),
        ("from m import x\nfrom m import y\n", "cannot import name 'y' from 'm' (/opt/m.py)", 2),
        ("from m import y\n", "cannot import name 'y' from partially initialized module 'm' (most likely", 1),
        ("from m import x\n", "cannot import name 'y' from 'm' (/opt/m.py)", None),
        ("a\nimportlib.import_module('m.n')\n", "No module named 'm'", 2),
        ("import_module('m')\nimport_module('m')\n", "No module named 'm'", None),
        ("import_module(name)\nload('m')\n", "No module named 'm'", None),
        ("a\nDAG(f'd_{n}')\n", "Cycle detected in DAG: d_1. Faulty task: c", 2),
        ("DAG(f'd_{n}')\nDAG('d_1')\n", "Cycle detected in DAG: d_1. Faulty task: c", 2),
        ("DAG(f'd_{n}')\nDAG(f'{n}_1')\n", "Cycle detected in DAG: d_1. Faulty task: c", None),
        ("DAG(f'd.{n}')\n", "Cycle detected in DAG: d_1. Faulty task: c", None),
        ("a\n\nb(\n", "'(' was never closed (x.py, line 3)", 3),
        ("from lib import other\n", "invalid syntax (helper.py, line 1)", None),
        ("a\nb\0\n", "source code string cannot contain null bytes", 2),
        ("a\nb\n", "source code string cannot contain null bytes", None),
        ("a\nget_connection('c')\n", "The conn_id `c` isn't defined", 2),
        ("get_connection('c')\nget_connection('c')\n", "The conn_id `c` isn't defined", None),
        ("Operator(conn_id='c')\n", "The conn_id `c` isn't defined", None),
        ("a\nVariable.get('v')\n", "'Variable v does not exist'", 2),
        ("a\nVariable.get('v')\n", "VARIABLE_NOT_FOUND: {'message': 'Variable v not found'}", 2),
        ("DAG('d')\nDAG('e', params={})\n", "Dag 'e' is not allowed to define a Schedule, as there are any", 2),
        ("DAG('d')\nDAG('e', schedule='@daily', params={})\n", "DAG is not allowed to define a Schedule, if", 2),
        ("T(task_id='t')\nT(task_id='t')\n", "Task id 't' has already been added to the DAG", 2),
        ("for _ in 1, 2:\n    T(task_id='t')\n", "Task id 't' has already been added to the DAG", 2),
        ("T(task_id='t')\n" * 3, "Task id 't' has already been added to the DAG", None),
        ("with TaskGroup('g'):\n    T(task_id='t')\n", "Task id 't' has already been added to the DAG", None),
        ("a\nT(task_id='t t')\n", "The key 't t' has to be made of alphanumeric characters", 2),
        ("DAG('t t')\nT(task_id='t t')\n", "The key 't t' has to be made of alphanumeric characters", None),
        ("raise ValueError('no rule for it')\n", "no rule for it", None),
    ],
)
def test_find_line__by_message(source: str, message: str, line: int | None) -> None:
    assert find(source, message) == line


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("DAG(\n    'd',\n    schedule='61 * * * *',\n)\n", 3),
        ("CRON = '61 * * * *'\nDAG('d', schedule=CRON)\nDAG('e')\n", 1),
        ("DAG('d', schedule='61 * * * *')\nDAG('e', schedule='61 * * * *')\n", None),
        ("DAG(\n    'd',\n    schedule_interval=f'{minute} * * * *',\n)\n", 3),
        ("DAG('d', schedule=cron)\nDAG('e', schedule=other)\n", None),
        ("DAG('d', schedule=cron)\nDAG('e')\n", None),
        ("DAG('d')\n", None),
    ],
)
def test_find_line__a_refused_schedule(source: str, line: int | None) -> None:
    assert find(source, "[61 * * * *] is not acceptable, out of range", "AirflowTimetableInvalid") == line


def test_find_line__is_silent_about_the_authors_invalid_escapes() -> None:
    assert find("DAG('d', doc='\\d')\n", CYCLE) == 1


@settings(deadline=None, database=None)
@given(source=st.binary(), message=st.text() | st.just(CYCLE), exception=st.text())
def test_find_line__never_raises(source: bytes, message: str, exception: str) -> None:
    line = find_line(source, name="x.py", exception=exception, message=message)

    assert line is None or line > 0
