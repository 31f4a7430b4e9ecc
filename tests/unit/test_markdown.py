"""What the tests read a job summary with finds what is not ours."""

from __future__ import annotations

import pytest

from tests.markdown import find_foreign

OURS = (
    "### ✅ <code>dags list</code> on af-1\n\nIt worked\n\n| a | b |\n|---|---|\n| <code>x&#124;y</code> | "
    '<a href="https://h/x?a=1&amp;b=2">open</a> |\n\n- **Login failed** <code>&#64;octocat</code>\n\n'
    "<details><summary>stdout</summary>\n\n```text\n</details> @octocat\n```\n\n</details>\n\n"
)


def test_a_summary_of_ours_holds_nothing_foreign() -> None:
    assert find_foreign(OURS) == []


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://x)", "[x](y)", "<img src=x>", "<script>", "<!-- x -->", "@octocat", "see #123", "GH-1", "octo/repo#1",
        "https://x", "www.x", "0123456789abcdef", "```sh\nx\n```",
        "> x", "1. x", "    x", "*x*", "`x`", "<details>", "</details>",
        "<code>", "</summary>", "<https://x>", "| a | b |\n|---|---|\n| c |",
    ],
)  # fmt: skip
def test_what_is_foreign_is_found(text: str) -> None:
    assert find_foreign(f"{OURS}{text}\n") != []
