"""Any stack trace that Airflow stores or logs gives its exception, message and frames; no text at all breaks the parser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms_airflow.core.tracebacks import Frame, Traceback, parse

CAPTURES = Path(__file__).parents[1] / "captures" / "airflow-2.10.4"
DAGS = "/opt/airflow/dags/"

EXPECTED = json.loads((CAPTURES / "expected_annotations.json").read_text("utf-8"))["files"]

# The deepest frame in the DAG folder, by DAG file, written down from the sources in captures/…/dags/broken.
DEEPEST = {
    "bad_encoding.py": ("SyntaxError", "bad_encoding.py", 2),
    "chained_cause.py": ("RuntimeError", "chained_cause.py", 8),
    "chained_context.py": ("NameError", "chained_context.py", 6),
    "custom_exception.py": ("ConfigProblem", "custom_exception.py", 13),
    "empty_message.py": ("AssertionError", "empty_message.py", 3),
    "exception_group.py": ("ExceptionGroup", "exception_group.py", 3),
    "exec_string.py": ("NameError", "exec_string.py", 3),
    "helper_import_raises.py": ("KeyError", "lablib/broken_import.py", 3),
    "helper_raises.py": ("JSONDecodeError", "lablib/helpers.py", 10),
    "helper_syntax.py": ("SyntaxError", "lablib/broken_syntax.py", 1),
    "indent_error.py": ("IndentationError", "indent_error.py", 6),
    "infinite_recursion.py": ("RecursionError", "infinite_recursion.py", 5),
    "long_traceback.py": ("ValueError", "long_traceback.py", 6),
    "missing_module.py": ("ModuleNotFoundError", "missing_module.py", 4),
    "missing_name.py": ("ImportError", "missing_name.py", 2),
    "multi_line_message.py": ("ValueError", "multi_line_message.py", 3),
    "null_bytes.py": ("SyntaxError", None, None),
    "packed.zip/zipped_dag.py": ("ZeroDivisionError", "packed.zip/ziplib/mod.py", 2),
    "packed.zip/zipped_syntax.py": ("SyntaxError", "packed.zip/zipped_syntax.py", 2),
    "syntax_error.py": ("SyntaxError", "syntax_error.py", 8),
    "tab_error.py": ("TabError", "tab_error.py", 6),
    "team_b/sub_broken.py": ("NameError", "team_b/sub_broken.py", 6),
    "ünïcode_目录/пример_データ.py": ("RuntimeError", "ünïcode_目录/пример_データ.py", 4),
}
OLDER_ENTRIES = {
    "exception_group.py": ("NameError", "exception_group.py", 3),  # groups are new in Python 3.11
    "custom_exception.py": ("AttributeError", "custom_exception.py", 12),  # so is add_note
    "null_bytes.py": ("ValueError", None, None),
}
OLDEST_ENTRIES = {
    **OLDER_ENTRIES,
    "syntax_error.py": ("SyntaxError", "syntax_error.py", 9),  # up to Python 3.9 the line after
}
BY_VERSION = {
    "3.8": DEEPEST | OLDEST_ENTRIES,
    "3.9": DEEPEST | OLDEST_ENTRIES,
    "3.10": DEEPEST | OLDER_ENTRIES,
    "3.11": DEEPEST,
    "3.12": DEEPEST,
    "3.13": DEEPEST,
}

HEADER = "Traceback (most recent call last):\n"


def read_rows(name: str) -> dict[str, str]:
    capture = json.loads((CAPTURES / "cli" / "dags" / f"{name}.json").read_text("utf-8"))
    line = next(line for line in capture["stdout"].splitlines() if line.startswith('[{"filepath"'))
    return {row["filepath"]: row["error"] for row in json.loads(line)}


def deepest(trace: Traceback) -> tuple[str | None, int | None]:
    inside = [frame for frame in trace.frames if frame.file.startswith(DAGS)]
    return (inside[-1].file.removeprefix(DAGS), inside[-1].line) if inside else (None, None)


@pytest.mark.parametrize("capture", ["list_import_errors__broken__json", "list_import_errors__depth_1000"])
@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected["filepath"].removeprefix(DAGS))
def test_parse__finds_class_and_message_of_every_broken_file(capture: str, expected: dict[str, str]) -> None:
    trace = parse(read_rows(capture)[expected["filepath"]])

    assert trace.exception == expected["type"].rpartition(".")[2]
    assert trace.message.split("\n")[0] == expected["message_first_line"]


@pytest.mark.parametrize("form", ["error", "full"])
@pytest.mark.parametrize("version", BY_VERSION)
def test_parse__reads_the_format_of_each_python(version: str, form: str) -> None:
    capture = json.loads((CAPTURES / "tracebacks" / f"python-{version}.json").read_text("utf-8"))
    found = {}
    for row in capture["import_errors"]:
        trace = parse(row[form])
        found[row["filepath"].removeprefix(DAGS)] = (trace.exception, *deepest(trace))

    expected = dict(BY_VERSION[version])
    if form == "error":  # two frames, both of the json library
        expected["helper_raises.py"] = ("JSONDecodeError", None, None)
    assert found == expected


def test_parse__keeps_function_and_source_of_a_frame() -> None:
    text = (
        HEADER + '  File "/opt/airflow/dags/x.py", line 3, in <module>\n    run(\n    ...<2 lines>...\n    )\n    ~~~^^\n'
        '  File "/opt/airflow/dags/y.py", line 7, in run\n    ~~~~^^\n'
        "KeyError: 'a'\n"
    )

    assert parse(text) == Traceback(
        exception="KeyError",
        message="'a'",
        frames=(
            Frame(file="/opt/airflow/dags/x.py", line=3, function="<module>", source="run("),
            Frame(file="/opt/airflow/dags/y.py", line=7, function="run", source=None),
        ),
    )


def test_parse__a_syntax_errors_own_line_has_no_function() -> None:
    text = HEADER + "  File \"/d/x.py\", line 8\n    f(a\n     ^\nSyntaxError: '(' was never closed\n"

    assert parse(text).frames == (Frame(file="/d/x.py", line=8, function=None, source="f(a"),)


def test_parse__of_a_chain_only_the_last_exception_counts() -> None:
    text = (
        HEADER + '  File "/d/first.py", line 1, in a\n    x\nValueError: one\n'
        "\nDuring handling of the above exception, another exception occurred:\n\n"
        + HEADER
        + '  File "/d/second.py", line 2, in b\n    y\nTypeError: two\n'
        "\nThe above exception was the direct cause of the following exception:\n\n"
        + HEADER
        + '  File "/d/third.py", line 3, in c\n    z\nairflow.exceptions.AirflowException: three\n'
    )

    assert parse(text) == Traceback(
        exception="AirflowException",
        message="three",
        frames=(Frame(file="/d/third.py", line=3, function="c", source="z"),),
    )


def test_parse__an_exception_group_behind_another_exception() -> None:
    text = (
        HEADER + '  File "/d/first.py", line 1, in a\n    x\nValueError: one\n'
        "\nDuring handling of the above exception, another exception occurred:\n\n"
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/d/x.py", line 3, in <module>\n  |     raise g\n'
        "  | ExceptionGroup: two problems (2 sub-exceptions)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | Traceback (most recent call last):\n"
        '    |   File "/d/member.py", line 9, in m\n'
        "    | ValueError: first\n"
        "    +---------------- 2 ----------------\n"
        "    | TypeError: second\n"
        "    +------------------------------------\n"
    )

    assert parse(text) == Traceback(
        exception="ExceptionGroup",
        message="two problems (2 sub-exceptions)",
        frames=(Frame(file="/d/x.py", line=3, function="<module>", source="raise g"),),
    )


def test_parse__frames_and_tracebacks_inside_a_message_are_message() -> None:
    quoted = (
        'step failed:\n  File "/opt/airflow/dags/fake.py", line 99, in nowhere\n'
        'Traceback (most recent call last):\n  File "/opt/airflow/dags/fake.py", line 1, in f\nNameError: not the real type'
    )
    text = f'{HEADER}  File "/opt/airflow/dags/x.py", line 3, in <module>\n    run()\nRuntimeError: {quoted}\n'

    trace = parse(text)

    assert trace.exception == "RuntimeError"
    assert trace.message == quoted
    assert [frame.file for frame in trace.frames] == ["/opt/airflow/dags/x.py"]


@pytest.mark.parametrize(
    "gap",
    [
        "\n\n",
        "\nDuring handling of the above exception, another exception occurred:\n\n",
        "\n\nDuring handling of the above exception, another exception occurred:\n",
        "\n\nSomething else:\n\n",
    ],
)
def test_parse__a_quoted_traceback_is_no_chain_without_its_sentence_and_blank_lines(gap: str) -> None:
    quoted = f'{HEADER}  File "/d/y.py", line 1, in g\nKeyError: 1'
    text = f'{HEADER}  File "/d/x.py", line 3, in f\n    x\nValueError: see{gap}{quoted}'

    trace = parse(text)

    assert (trace.exception, [frame.file for frame in trace.frames]) == ("ValueError", ["/d/x.py"])


def test_parse__blank_lines_around() -> None:
    assert parse(f'\n\n{HEADER}  File "/d/x.py", line 3, in f\nKeyError: 1\n\n').exception == "KeyError"


def test_parse__a_remote_traceback_before_the_real_one() -> None:
    text = (
        'concurrent.futures.process._RemoteTraceback: \n"""\n' + HEADER + '  File "/d/worker.py", line 5, in work\n'
        'KeyError: 1\n"""\n\nThe above exception was the direct cause of the following exception:\n\n'
        + HEADER
        + '  File "/d/x.py", line 9, in <module>\n    pool.map()\nKeyError: 1\n'
    )

    assert [frame.file for frame in parse(text).frames] == ["/d/x.py"]


def test_parse__notes_follow_the_message_and_the_unusual_prefix_goes() -> None:
    prefix = "unusual_prefix_f3fb5c1d5e637e5629fc5cfd32eef015753d60f3_custom_exception"
    text = f'{HEADER}  File "/d/x.py", line 3, in f\n    raise e\n{prefix}.check.<locals>.ConfigProblem: a: b\nnote: wiki\n'

    trace = parse(text)

    assert (trace.exception, trace.message) == ("ConfigProblem", "a: b\nnote: wiki")


def test_parse__a_time_limits_message_has_four_lines() -> None:
    message = parse(read_rows("list_import_errors__broken__json")[f"{DAGS}timeout_import.py"]).message

    assert len(message.split("\n")) == 4
    assert message.endswith("PID: 13257")


@pytest.mark.parametrize(
    ("text", "exception", "message"),
    [
        ("AirflowDagCycleException: Cycle detected: c", "AirflowDagCycleException", "Cycle detected: c"),
        ("airflow.exceptions.AirflowTimetableInvalid: [61] no", "AirflowTimetableInvalid", "[61] no"),
        ("check.<locals>.ConfigProblem: a", "ConfigProblem", "a"),
        ("KeyError: 'a'\nmore", "KeyError", "'a'\nmore"),
        ("Exception: plain", "Exception", "plain"),
        ("invalid syntax (x.py, line 8)", "", "invalid syntax (x.py, line 8)"),
        ("No module named 'x'", "", "No module named 'x'"),
        ("config: problem: with: colons", "", "config: problem: with: colons"),
        ("Variable: none", "", "Variable: none"),
        ("DAG: none", "", "DAG: none"),
        ("words\nTraceback (most recent call last):\nK: 1", "", "words\nTraceback (most recent call last):\nK: 1"),
        ("", "", ""),
        (HEADER, "", ""),
        (HEADER + '  File "/d/x.py", line 1, in f\n', "", ""),
        (HEADER + "some words at the margin", "", "some words at the margin"),
    ],
)
def test_parse__texts_without_a_whole_traceback(text: str, exception: str, message: str) -> None:
    trace = parse(text)

    assert (trace.exception, trace.message) == (exception, message)


def test_parse__windows_line_ends() -> None:
    text = HEADER + '  File "/d/x.py", line 1, in f\n    x\nKeyError: 1\nmore\n'

    assert parse(text.replace("\n", "\r\n")) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        HEADER + '  File "/a/b.py", line 1, in f\n    x\n' * 25_000,
        HEADER + '  File "' + '", line 1' * 110_000,
        HEADER + '  File "a", line ' + "1" * 1_000_000,
        (HEADER + "\nDuring handling of the above exception, another exception occurred:\n\n") * 9_000,
        HEADER + "\n" * 1_000_000,
        HEADER + '  File "a", line 1\n    ' + "^~" * 500_000 + "x",
        HEADER + ":" * 1_000_000,
        "  + Exception Group Traceback (most recent call last):\n" + "  | x\n" * 160_000,
        "Aa" * 500_000 + ": x",
        "Aa" * 500_000 + " x",
        "Aa." * 300_000 + " x",
        HEADER + "Aa." * 300_000 + " x",
    ],
    ids=["frames", "quotes", "digits", "chains", "blanks", "carets", "colons", "boxes", "name", "word", "words", "modules"],
)
def test_parse__a_megabyte_made_to_be_slow_ends(text: str) -> None:
    assert parse(text).message is not None


PIECES = st.sampled_from(
    [
        "Traceback (most recent call last):",
        "  + Exception Group Traceback (most recent call last):",
        "During handling of the above exception, another exception occurred:",
        '  File "/opt/airflow/dags/x.py", line 3, in f',
        '  File "/x.py", line 99999999999999999999',
        "  | ",
        "  +-+--",
        "ValueError: a",
        "",
        "    ^^^",
    ]
)


@settings(deadline=None, database=None)
@given(st.lists(PIECES | st.text(), max_size=20).map("\n".join))
def test_parse__never_raises(text: str) -> None:
    for frame in parse(text).frames:
        assert f'File "{frame.file}", line ' in text


QUOTED = (
    "x\n\nThe above exception was the direct cause of the following exception:\n\n"
    'Traceback (most recent call last):\n  File "/opt/airflow/dags/innocent.py", line 2, in <module>\n    a\nKeyError: 1'
)
CATCHER = '  File "/usr/lib/python3.11/site-packages/airflow/models/dagbag.py", line 383, in parse\n    loader.exec_module(m)\n'
OWN = '  File "/opt/airflow/dags/x.py", line 4, in <module>\n    raise ValueError(child.stderr)\n'


def test_parse__a_chain_that_the_message_quotes_is_no_chain_of_a_whole_traceback() -> None:
    trace = parse(f"{HEADER}{CATCHER}{OWN}ValueError: {QUOTED}\n")

    assert (trace.exception, trace.message) == ("ValueError", QUOTED)
    assert trace.frames[-1].file == "/opt/airflow/dags/x.py"


def test_parse__the_last_exception_of_a_whole_chain_starts_at_airflow() -> None:
    cause = '  File "/opt/airflow/dags/x.py", line 2, in <module>\n    load()\nKeyError: 1\n\n'
    sentence = "During handling of the above exception, another exception occurred:\n\n"

    trace = parse(f"{HEADER}{cause}{sentence}{HEADER}{CATCHER}{OWN}ValueError: x\n")

    assert (trace.exception, trace.message) == ("ValueError", "x")
