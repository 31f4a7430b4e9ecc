"""No secret survives in any spelling, and no line of a stranger is a workflow command."""

from __future__ import annotations

import base64
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dms_airflow.core.gaps import close_gaps
from dms_airflow.core.redaction import Redactor, disarm, split_lines
from sandbox.runner import parse_command
from tests.leaks import find_leaks
from tests.unit.test_leaks import DISGUISES, FORMS, wrap

AWKWARD = "p/ss+w%rd='\"<&>\\ é"


@pytest.mark.parametrize(
    "spell",
    [
        str,
        quote,
        quote_plus,
        lambda secret: quote(secret, safe=""),
        lambda secret: quote(quote(secret, safe="")),
        lambda secret: quote(secret, safe="").lower() if secret.isascii() else quote(secret),
        json.dumps,
        lambda secret: json.dumps(secret, ensure_ascii=False),
        shlex.quote,
        repr,
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
        lambda secret: base64.b64encode(b"x" + secret.encode() + b"yz").decode(),
        lambda secret: base64.b64encode(b"xy" + secret.encode() + b"z").decode(),
    ],
)
def test_a_secret_is_gone_in_every_spelling(spell: object) -> None:
    redactor = Redactor()
    redactor.add(AWKWARD)
    text = f"before {spell(AWKWARD)} after"  # type: ignore[operator]

    redacted = redactor.redact(text)

    assert "***" in redacted
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")
    # No seven letters of what was spelled are left.
    spelled = spell(AWKWARD)  # type: ignore[operator]
    assert not any(spelled[start : start + 7] in redacted for start in range(len(spelled) - 6))


def test_each_line_of_a_secret_is_one() -> None:
    redactor = Redactor()
    redactor.add("-----BEGIN KEY-----\n  abcdefgh\nijkl\n")

    assert redactor.redact("abcdefgh and ijkl, but not ij") == "*** and ***, but not ij"


def test_a_very_short_secret_is_left_alone() -> None:
    redactor = Redactor()
    redactor.add("a")
    redactor.add("")

    assert redactor.redact("banana") == "banana"


def test_a_very_short_secret_is_taken_out_where_it_stands_alone() -> None:
    redactor = Redactor()
    redactor.add("abc")
    redactor.add("{}")

    assert redactor.redact("login abc:abc@h, {} and abcd") == "login ***:***@h, {} and abcd"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("a token-0123…", "a ***…"),
        ("a token-0123\n[… 77 bytes left out …]\n4567-end b", "a ***\n[… 77 bytes left out …]\n*** b"),
        ("a token…", "a token…"),
        ("tokens are long…", "tokens are long…"),
    ],
)
def test_what_a_cut_left_of_a_secret_is_taken_out(text: str, redacted: str) -> None:
    redactor = Redactor()
    redactor.add("token-0123456789-4567-end")

    assert redactor.redact(text) == redacted


@pytest.mark.parametrize(
    ("secret", "spelled"),
    [
        ("a%25b", "a%2525b"),
        ("a%25b", "a%252525b"),
        ("a&amp;b", "a&amp;amp;b"),
        ("a%5cb", "a%255cb"),
        ("a&#92;b", "a&amp;#92;b"),
    ],
)
def test_a_secret_may_hold_what_reads_as_an_escape(secret: str, spelled: str) -> None:
    redactor = Redactor()
    redactor.add(secret)

    assert redactor.redact(f"<{spelled}>") == "<***>"


def test_bytes_that_are_no_text_are_a_secret_too() -> None:
    redactor = Redactor()
    redactor.add("key\udcff\udcfe\ud800")

    assert redactor.redact("key\udcff\udcfe\ud800") == "***"


@settings(deadline=None)
@given(
    st.text(
        alphabet=st.one_of(st.sampled_from("aB0+/=%\"'\\ $&<#;\té\u4e2d\U0001f600"), st.characters(codec="utf-8")), min_size=4
    ),
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(["", "=", "\\", "%", "&amp;", " "]),
)
@example("000000&0", "HTML", "")
@example("000000\x1b", "JSON in a URL", "")
@example("0000000_", "references", "=")
def test_no_form_of_a_secret_is_left(secret: str, form: str, neighbour: str) -> None:
    assume(len(secret.strip()) >= 8)
    assume(form not in DISGUISES or close_gaps(secret) == secret)
    redactor = Redactor()
    redactor.add(secret)

    redacted = redactor.redact(f"{neighbour}{FORMS[form](secret)}{neighbour}").replace("***", "\0")

    assert find_leaks({"here": redacted}, [secret.strip()]) == []


TOKEN = "CAIS8wF1q6Ft5B2yfSjIr5fHA4nKg" * 22

IN_BASE64 = base64.b64encode(TOKEN[:90].encode()).decode()

STRUCTURES = {
    "base64 in lines": (wrap(IN_BASE64, 76, "\n"), "***\n***"),
    "base64 in YAML": ("- |\n    " + wrap(IN_BASE64, 64, "\r\n    ") + "\n- next", "- |\n    ***\r\n    ***\n- next"),
    "base64 in JSON": (json.dumps({"a": wrap(IN_BASE64, 64, "\n"), "b": 1}), '{"a": "***\\n***", "b": 1}'),
    "hex in lines": ("<\n" + wrap(TOKEN[:90].encode().hex(), 120, "\n") + "\n>", "<\n***\n***\n>"),
    "escapes in JSON": ('"a\\\\ ' + "".join(f"\\u00{ord(one):02x}" for one in TOKEN[:90]) + '"', '"a\\\\ ***"'),
    "80 columns": (f"{'x' * 20} {TOKEN[:59]}\n{TOKEN[59:90]} y\nz", f"{'x' * 20} ***\n*** y\nz"),
    "a colour": (f"<{TOKEN[:9]}\x1b[31m{TOKEN[9:90]}>", "<***>"),
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_lines_around_a_secret_stay(structure: str) -> None:
    redactor = Redactor()
    redactor.add(TOKEN[:90])
    text, redacted = STRUCTURES[structure]

    assert redactor.redact(text) == redacted


def test_a_file_that_is_a_secret_takes_no_time() -> None:
    file = "".join(f"- {{key: 'v{number}', \"more\": [1, 2]}}\n" for number in range(5000))
    redactor = Redactor()
    redactor.add(file)
    steps = redactor.redact(f"<{file}> and more")  # a minute, if all of it were made a pattern

    assert steps == "<***> and more"


@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("before", [b"", b"x", b"xy"])
def test_a_long_token_in_lines_of_base64_is_gone(width: int, before: bytes) -> None:
    redactor = Redactor()
    redactor.add(TOKEN)

    redacted = redactor.redact(wrap(base64.b64encode(before + TOKEN.encode()).decode(), width, "\n"))

    assert len(redacted.replace("***", "").replace("\n", "")) <= 8


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("1234", "31 32 33 34\n31:32:33:34\n12\n34"),
        ("abcd", "ab\ncd"),
        ("pass1234", "pass 1234, pass-1234"),
        ("cafebabe", "cafe\n\nbab"),
        ("hunter2-x", "hunter2\n\n-y"),
    ],
)
def test_ordinary_text_is_taken_for_no_secret_in_pieces(secret: str, text: str) -> None:
    redactor = Redactor()
    redactor.add(secret)

    assert redactor.redact(text) == text


def test_words_that_were_wrapped_at_a_blank_are_found() -> None:
    redactor = Redactor()
    redactor.add("correct horse battery staple")

    assert redactor.redact("<correct horse\n  battery staple>") == "<***\n  ***>"


def test_a_secret_at_the_border_of_two_windows_is_found() -> None:
    redactor = Redactor()
    redactor.add("token-0123456789")

    assert redactor.redact("x" * 1_048_570 + "token-\n0123456789" + "y" * 2_000_000).count("***\n***") == 1
    assert redactor.redact("x" * 1_048_570 + b"token-0123456789".hex() + "\n").endswith("x***\n")


@pytest.mark.parametrize("secret", ['"aa\\"bb', "%abcd", "%25%25%25%25", "&amp;&amp;", "<abc\\\\\\", "密码口令"])
@pytest.mark.parametrize(
    "text",
    [
        "\\",
        "%25",
        "&amp;",
        "?",
        "…",
        "<",
        "&amp;#0",
        "\u200b",
        "a\u200b",
        "\n",
        "\\n",
        "\x1b[",
        "\\u001b[",
        "aa\n",
        "25",
        "25:",
    ],
)
def test_no_text_makes_it_slow(secret: str, text: str) -> None:
    redactor = Redactor()
    redactor.add(secret)
    steps = redactor.redact(text * (100_000 // len(text)))  # minutes, if it looked twice at each place for each place

    assert len(steps) <= 100_000


def test_many_cuts_do_not_make_it_slow() -> None:
    redactor = Redactor()
    redactor.add("LTAI5tBenchmarkKey01")

    # Five minutes, if each cut looked to the end of the line, or copied the text.
    assert redactor.redact("LTAI5t…" * 400_000) == "***…" * 400_000


def test_a_stump_of_two_secrets_is_taken_out_once() -> None:
    redactor = Redactor()
    redactor.add("LTAI5tBenchmarkKey01")
    redactor.add("LTAI5tBenchmarkKey02")

    assert redactor.redact("key LTAI5tBench… end") == "key ***… end"


def test_longer_secrets_go_first() -> None:
    redactor = Redactor()
    redactor.add("secret")
    redactor.add("secret-and-more")

    assert redactor.redact("secret-and-more secret") == "*** ***"


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=4), st.text(), st.text())
def test_no_secret_is_left(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.add(secret)
    if len(secret.strip()) >= 4:
        assert secret.strip() not in redactor.redact(f"{before}{secret}{after}").replace("***", "\0")


@pytest.mark.parametrize(
    "line",
    [
        "::error::x",
        "  ::add-mask::x",
        "\t::set-output name=x::y",
        "\N{NO-BREAK SPACE}::notice::x",
        "##[error]x",
        "text ##[add-mask]x",
        "::ERROR file=a::x",
        "::stop-commands::x",
    ],
)
def test_a_command_becomes_text(line: str) -> None:
    assert parse_command(disarm(line)) is None


@pytest.mark.parametrize("line", ["plain", "a::b::c", "C++ std::string", "10:30", "## [x]", ""])
def test_text_stays_as_it_is(line: str) -> None:
    assert disarm(line) == line


@given(st.text(alphabet=":#[]abes \t\r\n\x1b\x0b\x85\u2028\u200b\ufeff-=%m", max_size=60))
@example("\x1b[0m::error::x")
@example(":\u200b:error::x")
@example("#\x00#[error]x")
def test_no_text_becomes_a_command(text: str) -> None:
    for line in split_lines(text):
        assert parse_command(disarm(line)) is None
        assert "\r" not in line


def test_lines_are_split_where_the_runner_splits_them() -> None:
    assert split_lines("a\rb\r\nc\nd\x0be") == ["a", "b", "c", "de"]
