"""No secret is left in the encodings that programs write, and no line of a stranger is a workflow command."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dms_airflow.core.secrets.redaction import Redactor, disarm, list_literals, list_parts, show
from sandbox.runner import parse_command
from tests.leaks import find_leaks
from tests.unit.test_leaks import DISGUISES, FORMS

PASSWORD = "pa'ss>wo/rd&1"
QUOTED = 'x"y\\z 12'
TOKEN = "CAIS8wF1q6Ft5B2yfSjIr5fHA4nKg" * 4


def redact(text: str, *secrets: str) -> str:
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    return redactor.redact(text)


@pytest.mark.parametrize(
    "written",
    [
        "pa'ss>wo/rd&1",
        # URLs: quote(safe=""), quote(), JavaScript, requests; small letters.
        "pa%27ss%3Ewo%2Frd%261",
        "pa%27ss%3Ewo/rd%261",
        "pa'ss%3Ewo%2Frd%261",
        "pa'ss%3Ewo/rd&1",
        "pa%27ss%3ewo%2frd%261",
        # JSON: with escaped slashes, for HTML.
        "pa'ss>wo\\/rd&1",
        "pa\\u0027ss\\u003ewo/rd\\u00261",
        # Python, shells (two ways), SQL and YAML.
        "pa\\'ss>wo/rd&1",
        "pa'\\''ss>wo/rd&1",
        "pa'\"'\"'ss>wo/rd&1",
        "pa''ss>wo/rd&1",
        # HTML and XML.
        "pa'ss&gt;wo/rd&amp;1",
        "pa&#x27;ss&gt;wo/rd&amp;1",
        "pa&#39;ss&gt;wo/rd&amp;1",
        "pa&#039;ss&gt;wo/rd&amp;1",
        "pa&apos;ss&gt;wo/rd&amp;1",
        "pa&#x27;ss&gt;wo&#x2F;rd&amp;1",
        "pa&#39;ss&#62;wo&#47;rd&#38;1",
        # Twice: shell and URL, as a command is sent; HTML and URL, URL and URL, HTML and HTML, JSON and URL, shell and JSON.
        "pa%27%22%27%22%27ss%3Ewo%2Frd%261",
        "pa%27%5C%27%27ss%3Ewo%2Frd%261",
        "pa%26%23x27%3Bss%26gt%3Bwo%2Frd%26amp%3B1",
        "pa%2527ss%253Ewo%252Frd%25261",
        "pa%2527ss%253ewo%252frd%25261",
        "pa&amp;#39;ss&amp;gt;wo/rd&amp;amp;1",
        "pa%5Cu0027ss%5Cu003ewo%2Frd%5Cu00261",
        "pa'\\\"'\\\"'ss>wo/rd&1",
        # Base64 alone, and hexadecimal digits.
        "cGEnc3M+d28vcmQmMQ==",
        "cGEnc3M-d28vcmQmMQ==",
        "cGEnc3M%2Bd28vcmQmMQ%3D%3D",
        "70612773733e776f2f72642631",
        "70612773733E776F2F72642631",
    ],
)
def test_a_password_is_masked(written: str) -> None:
    assert redact(f"<{written}>", PASSWORD) == "<***>"


@pytest.mark.parametrize(
    "written",
    [
        'x"y\\z 12',
        "x%22y%5Cz%2012",
        "x%22y%5Cz+12",
        'x\\"y\\\\z 12',
        'x\\\\\\"y\\\\\\\\z 12',
        'x""y\\z 12',
        'x"y\\\\z 12',
        "x&quot;y\\z 12",
        "x&#34;y\\z 12",
        "x%26quot%3By%5Cz%2012",
        "x%5C%22y%5C%5Cz%2012",
        "eCJ5XHogMTI=",
    ],
)
def test_a_password_with_a_double_quote_is_masked(written: str) -> None:
    assert redact(f"<{written}>", QUOTED) == "<***>"


@pytest.mark.parametrize(
    "written",
    [
        "p\N{LATIN SMALL LETTER E WITH ACUTE}\N{GRINNING FACE}ss",
        "p%C3%A9%F0%9F%98%80ss",
        "p%c3%a9%f0%9f%98%80ss",
        "p%25C3%25A9%25F0%259F%2598%2580ss",
        "p\\u00e9\\ud83d\\ude00ss",
        "p\\\\u00e9\\\\ud83d\\\\ude00ss",
        "p\\xe9\\U0001f600ss",
        "p\\xc3\\xa9\\xf0\\x9f\\x98\\x80ss",
        "p&#233;&#128512;ss",
        "cMOp8J+YgHNz",
    ],
)
def test_a_password_of_other_letters_is_masked(written: str) -> None:
    assert redact(f"<{written}>", "p\N{LATIN SMALL LETTER E WITH ACUTE}\N{GRINNING FACE}ss") == "<***>"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        # "u:" before it and "!!" after it, "me:" before it, inside {"a": …}
        ("dTpwYSdzcz53by9yZCYxISE=", "dTp***ISE="),
        ("bWU6cGEnc3M+d28vcmQmMQ==", "bWU6***"),
        ("eyJhIjogInBhJ3NzPndvL3JkJjEifQ==", "eyJhIjogIn***EifQ=="),
    ],
)
def test_a_password_inside_base64_is_masked(text: str, redacted: str) -> None:
    assert redact(text, PASSWORD) == redacted


def test_a_password_inside_the_base64_of_json_is_masked() -> None:
    assert redact("eyJhIjogInhcInlcXHogMTIifQ==", QUOTED) == "eyJhIjogIn***IifQ=="


def test_the_lines_of_a_secret_are_secrets() -> None:
    secret = "-----BEGIN KEY-----\r\n  abcdefgh\r\nijkl\r\nmn\r\n"

    assert redact("abcdefgh and ijkl, but not mn", secret) == "*** and ***, but not mn"


def test_the_lines_of_a_long_text_are_no_secrets() -> None:
    text = "".join(f"line {number}\n" for number in range(101))

    assert redact(f"line 1\n<{text.strip()}>", text) == "line 1\n<***>"


@pytest.mark.parametrize("secret", ["", " ", "    ", "\t\n \n", "      \n      \n", "\N{NO-BREAK SPACE}" * 4])
def test_a_secret_of_blanks_masks_nothing(secret: str) -> None:
    text = f"if x:\n        y = 1\t\n \n      \n{secret}."

    assert redact(text, secret) == text


def test_the_blanks_around_a_secret_do_not_matter() -> None:
    assert redact("<a-secret>", "  a-secret\n") == "<***>"


def test_a_secret_of_one_to_three_characters_is_masked_where_it_is_a_word() -> None:
    assert redact("login abc:abc@h, {} and abcd", "abc", "{}", "a") == "login ***:***@h, {} and abcd"


def test_the_longest_secret_goes_first() -> None:
    assert redact("secret-and-more secret", "secret", "secret-and-more") == "*** ***"


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        ("a%25b", "a%2525b"),
        ("a%25b", "a%252525b"),
        ("a&amp;b", "a&amp;amp;b"),
        ("a%5cb", "a%255cb"),
        ("a&#92;b", "a&amp;#92;b"),
    ],
)
def test_a_secret_may_contain_what_looks_like_an_escape(secret: str, written: str) -> None:
    assert redact(f"<{written}>", secret) == "<***>"


def test_bytes_that_are_not_text_can_be_a_secret() -> None:
    assert redact("key\udcff\udcfe\ud800", "key\udcff\udcfe\ud800") == "***"


IN_BASE64 = (
    "Q0FJUzh3RjFxNkZ0NUIyeWZTaklyNWZIQTRuS2dDQUlTOHdGMXE2RnQ1QjJ5ZlNqSXI1",
    "ZkhBNG5LZ0NBSVM4d0YxcTZGdDVCMnlmU2pJcjVmSEE0bktnQ0FJUzh3RjFxNkZ0NUIy",
    "eWZTaklyNWZIQTRuS2c=",
)
BEHIND_A_HEADER = (
    "aGVhZGVyOiBDQUlTOHdGMXE2RnQ1QjJ5ZlNqSXI1ZkhBNG5LZ0NBSVM4d0YxcTZGdDVCMnlmU2pJ",
    "cjVmSEE0bktnQ0FJUzh3RjFxNkZ0NUIyeWZTaklyNWZIQTRuS2dDQUlTOHdGMXE2RnQ1QjJ5ZlNq",
    "SXI1ZkhBNG5LZw==",
)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("\n".join([*BEHIND_A_HEADER, "end"]), "aGVhZGVyOiB***w==\nend"),
        ("- |\n    " + "\r\n    ".join(IN_BASE64) + "\n- next", "- |\n    ***\n- next"),
        ('{"a": "' + "\\r\\n".join(IN_BASE64) + '", "b": 1}', '{"a": "***", "b": 1}'),
        (f"{'x' * 20} {TOKEN[:59]}\n{TOKEN[59:]} y\nz", f"{'x' * 20} *** y\nz"),
        (f"<{TOKEN[:9]}\x1b[31m{TOKEN[9:20]}\x1b[0m{TOKEN[20:]}>", "<***>"),
        (f"<{TOKEN[:9]}\N{ZERO WIDTH SPACE}{TOKEN[9:]}>", "<***>"),
    ],
    ids=["MIME", "YAML", "JSON", "terminal", "colour", "unseen"],
)
def test_a_token_in_pieces_is_masked(text: str, redacted: str) -> None:
    assert redact(text, TOKEN) == redacted


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
def test_ordinary_text_is_not_a_secret_in_pieces(secret: str, text: str) -> None:
    assert redact(text, secret) == text


def test_what_is_between_two_secrets_in_pieces_stays() -> None:
    text = f"a{TOKEN[:50]}\n{TOKEN[50:]}b\n  c{TOKEN[:70]}\n{TOKEN[70:]}d"

    assert redact(text, TOKEN, TOKEN[40:60]) == "a***b\n  c***d"


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
    assume(form not in DISGUISES or show(secret) == secret.replace("\n", ""))
    # What looks like an escaped line break separates letters, and is no letter of a disguised secret.
    assume(form not in DISGUISES or len(re.sub(r"\\\w*", "", secret.strip())) >= 8)
    redacted = redact(f"{neighbour}{FORMS[form](secret)}{neighbour}", secret).replace("***", "\0")

    assert find_leaks({"here": redacted}, [secret.strip()]) == []


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=4), st.text(), st.text())
def test_no_secret_is_left(secret: str, before: str, after: str) -> None:
    assume(len(secret.strip()) >= 4)

    assert secret.strip() not in redact(f"{before}{secret}{after}", secret).replace("***", "\0")


class CountingText(str):
    """A text that counts how often it is searched."""

    __slots__ = ("searches",)

    def __init__(self, _: str) -> None:
        self.searches = 0

    def __contains__(self, literal: object) -> bool:
        self.searches += 1
        return super().__contains__(literal)  # type: ignore[operator]


def test_a_longer_text_is_not_searched_more_often() -> None:
    redactor = Redactor()
    redactor.add(PASSWORD)
    texts = [CountingText("pa ss wo rd 1 " * number) for number in (1, 1000)]
    for text in texts:
        redactor.redact(text)

    assert 0 < texts[0].searches == texts[1].searches < 200


def test_literals_grow_with_the_secret_and_no_faster() -> None:
    def count(secret: str) -> int:
        return sum(len(literal) for form in list_parts(secret) for literal in list_literals(form))

    matrix = [f"[{', '.join(f'[{row}, {row}]' for row in range(1000, last))}]" for last in (1100, 1200, 3000)]

    assert len(matrix[1]) < count(matrix[1]) < 2.1 * count(matrix[0])
    assert count(matrix[2]) < 100 * len(matrix[2])


def test_a_file_that_is_a_secret_is_masked() -> None:
    file = "".join(f"- {{key: 'v{number}', \"more\": [1, 2]}}\n" for number in range(5000))

    assert redact(f"<{file.strip()}> and {json.dumps(file)}", file) == '<***> and "***\\n"'


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
@example(":\x1b]:error::x")
def test_no_text_becomes_a_command(text: str) -> None:
    for line in show(text).split("\n"):
        assert parse_command(disarm(line)) is None
        assert "\r" not in line


def test_lines_end_where_the_runner_ends_them() -> None:
    assert show("a\rb\r\nc\nd\x0be") == "a\nb\nc\nde"


def test_a_window_title_without_an_end_takes_its_line_along_only() -> None:
    assert show("a\x1b]0;title\nb") == "a\nb"
