"""Reads a job summary as GitHub does, as far as CommonMark and tables go, and tells what is in it besides text."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from markdown_it.token import Token

# What the summary is made of; anything else was made by a text.
OURS = {
    *("heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "fence", "html_block", "hr"),
    *("table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close"),
    *(
        "th_open",
        "th_close",
        "td_open",
        "td_close",
        "bullet_list_open",
        "bullet_list_close",
        "list_item_open",
        "list_item_close",
    ),
}
OURS_INLINE = {"text", "html_inline", "strong_open", "strong_close", "text_special", "softbreak"}
TAG = re.compile(r'</?code>|</a>|<a href="https?://[^"<>\s]*">')
BLOCK = re.compile(r"<details><summary>(?P<text>(?:<code>[^<>]*</code>|[^<>])*)</summary>\s*|</details>\s*")
CODE = re.compile(r"<code>[^<>]*</code>")
# What GitHub makes links of, outside of code: https://docs.github.com/get-started/writing-on-github
REFERENCE = re.compile(r"(?<![\w`])(?:@[A-Za-z0-9]|#\d|GH-\d|[\w.-]+/[\w.-]+[#@]\w|[0-9a-f]{7,40}(?!\w))|https?://|www\.")


def find_foreign(summary: str) -> list[str]:
    """Give everything in a summary that a text, and not the summary's writer, must have made; and what is not closed."""
    tokens = MarkdownIt("commonmark").enable("table").parse(summary)
    found: list[str] = []
    depth = 0
    for token in tokens:
        if token.type not in OURS:
            found.append(f"{token.type}: {token.content[:80]}")
        elif token.type == "html_block":
            block = BLOCK.fullmatch(token.content)
            found += [] if block else [f"html: {token.content[:80]}"]
            plain = html.unescape(CODE.sub("", block["text"] or "")) if block else ""
            found += [f"reference: {match[0]}"] if (match := REFERENCE.search(plain)) else []
            depth += token.content.count("<details>") - token.content.count("</details>")
        elif token.type == "fence":
            found += [] if token.info in ("text", "json", "mermaid") else [f"fence: {token.info[:80]}"]
        elif token.type == "inline":
            found += read_inline(token)
    return found + ([] if depth == 0 else [f"details: {depth} open"]) + find_ragged(tokens, summary)


def read_inline(token: Token) -> list[str]:
    """Look into a paragraph, a heading or a cell."""
    found: list[str] = []
    in_code = 0
    for child in token.children or ():
        if child.type not in OURS_INLINE:
            found.append(f"{child.type}: {child.content[:80]}")
        elif child.type == "html_inline":
            found += [] if TAG.fullmatch(child.content) else [f"tag: {child.content[:80]}"]
            in_code += {"<code>": 1, "</code>": -1}.get(child.content, 0)
        elif child.type == "text" and not in_code and (match := REFERENCE.search(child.content)):
            found.append(f"reference: {match[0]}")
    return found + ([] if in_code == 0 else ["code is not closed"])


def find_ragged(tokens: list[Token], summary: str) -> list[str]:
    """Find tables with rows of another length than their heads: parsers mend them. Ours write a pipe in a text as a code."""
    lines = summary.split("\n")
    found: list[str] = []
    for token in tokens:
        if token.type == "table_open" and token.map:
            rows = lines[token.map[0] : token.map[1]]
            found += [f"row: {row[:80]}" for row in rows if row.count("|") != rows[0].count("|")]
    return found
