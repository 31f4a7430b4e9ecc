"""A web page of job summaries, close to how GitHub shows them: for the demo's report, and for the pictures in docs/images."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES = ("text", "back", "line", "soft", "faint", "link", "added", "red")
_COLOURS = {
    "light": ("#1f2328", "#ffffff", "#d1d9e0", "#f6f8fa", "#59636e", "#0969da", "#dafbe1", "#cf222e"),
    "dark": ("#f0f6fc", "#0d1117", "#3d444d", "#151b23", "#9198a1", "#4493f8", "#12261e", "#f85149"),
}
_STYLE = """
body { font: 14px/1.5 -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--text); background: var(--back) }
body { margin: 24px; width: 1060px }
a { color: var(--link) }
code, pre { font: 12px/1.6 "DejaVu Sans Mono", monospace }
.box { border: 1px solid var(--line); border-radius: 6px; margin-bottom: 24px; overflow: hidden }
.name { background: var(--soft); padding: 8px 16px; border-bottom: 1px solid var(--line); font-weight: 600 }
.summary { padding: 0 16px 16px }
.summary code { background: var(--soft); border-radius: 4px; padding: 1px 4px }
.summary pre { background: var(--soft); padding: 8px 12px; overflow: auto }
table { border-collapse: collapse; margin: 12px 0 }
td, th { border: 1px solid var(--line); padding: 4px 10px; text-align: left }
"""


def render_page(boxes: Sequence[tuple[str, str]], *, theme: str = "", style: str = "") -> str:
    """Return a page with a box for each part of it.

    Args:
        boxes: Of each its head, a text, and its body, HTML.
        theme: `light`, `dark`, or empty for the one that the browser prefers.
        style: Further CSS; it may use the variables of the themes.
    """
    colours = {}
    for name, values in _COLOURS.items():
        variables = "; ".join(f"--{variable}: {value}" for variable, value in zip(_NAMES, values, strict=True))
        colours[name] = f":root {{ {variables} }}"
    both = f"{colours['light']} @media (prefers-color-scheme: dark) {{ {colours['dark']} }}"
    parts = [f'<div class="box"><div class="name">{html.escape(head)}</div>{body}</div>' for head, body in boxes]
    return f"<!doctype html><meta charset=utf-8><style>{colours.get(theme, both)}{_STYLE}{style}</style>{''.join(parts)}\n"


def render_summary(summary: str) -> str:
    """Return a job summary as the HTML of a box; Mermaid's script finds the diagrams in it."""
    rendered = MarkdownIt("gfm-like", {"linkify": False}).enable("table").render(summary)
    diagram = re.compile(r'<pre><code class="language-mermaid">(.*?)</code></pre>', re.DOTALL)
    rendered = diagram.sub(r'<pre class="mermaid">\1</pre>', rendered)
    return f'<div class="summary">{rendered}</div>'
