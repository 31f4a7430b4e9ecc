"""Makes docs/images/failing-gate.png: what a failing gate looks like, from a real run against the sandbox.

Needs Chromium (Debian: apt-get install chromium) and the sandbox (`make sandbox`); `make picture` calls it. The page imitates
GitHub's file view and job summary: the annotation, the code and the summary in it are those of the run.
"""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from sandbox.demo import prepare, run_gate  # noqa: E402 - the project's own folder comes first

PICTURE = PROJECT / "docs" / "images" / "failing-gate.png"
SHOWN = "dags/ad_spend.py"
STYLE = """
body { font: 14px/1.5 -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: #1f2328; margin: 24px; width: 1060px }
code, pre { font: 12px/1.6 "DejaVu Sans Mono", monospace }
.box { border: 1px solid #d1d9e0; border-radius: 6px; margin-bottom: 24px; overflow: hidden }
.name { background: #f6f8fa; padding: 8px 16px; border-bottom: 1px solid #d1d9e0; font-weight: 600 }
.line { display: flex; font: 12px/1.7 "DejaVu Sans Mono", monospace; white-space: pre }
.line.added { background: #dafbe1 }
.number { width: 48px; text-align: right; padding-right: 16px; color: #59636e }
.annotation { margin: 8px 16px 8px 64px; border: 1px solid #d1d9e0; border-left: 3px solid #cf222e; border-radius: 6px }
.annotation .head { padding: 8px 12px; border-bottom: 1px solid #d1d9e0; color: #59636e }
.annotation .head b { color: #cf222e }
.annotation pre { margin: 0; padding: 8px 12px; white-space: pre-wrap }
.summary { padding: 0 16px 16px }
table { border-collapse: collapse; margin: 12px 0 } td, th { border: 1px solid #d1d9e0; padding: 4px 10px; text-align: left }
.summary code { background: #eff1f3; border-radius: 4px; padding: 1px 4px }
"""


def draw(annotation_title: str, message: str, line: int, source: list[str], summary: str) -> str:
    """Write the page."""
    rows = []
    for number, text in enumerate(source[: line + 6], 1):
        rows.append(f'<div class="line added"><span class="number">{number}</span>{html.escape(text) or " "}</div>')
        if number == line:
            rows.append(
                '<div class="annotation"><div class="head"><b>✖ Check failure</b> on line '
                f"{line} in {SHOWN}<br><b>GitHub Actions / {html.escape(annotation_title)}</b></div>"
                f"<pre>{html.escape(message)}</pre></div>"
            )
    rendered = MarkdownIt("gfm-like", {"linkify": False}).enable("table").render(summary)
    return (
        f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>"
        f'<div class="box"><div class="name">{SHOWN}</div>{"".join(rows)}</div>'
        f'<div class="box"><div class="name">deploy summary</div><div class="summary">{rendered}</div></div>'
    )


def main() -> int:
    """Run the gate and take the picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is missing; on Debian: apt-get install chromium")
        return 1
    with prepare() as (sandbox, repository, runner):
        step = run_gate(sandbox, runner)
        source = (repository.checkout / SHOWN).read_text(encoding="utf-8").splitlines()
    annotation = next(one for one in step.annotations if one.properties.get("file") == SHOWN)
    summary = step.summary.partition("<details>")[0]
    page = draw(annotation.properties["title"], annotation.data, int(annotation.properties["line"]), source, summary)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(page, encoding="utf-8")
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
        options += [f"--user-data-dir={folder}/profile", "--window-size=1110,1180", f"--screenshot={PICTURE}"]
        options += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        subprocess.run([chromium, *options, f"file://{folder}/page.html"], check=True, capture_output=True)  # noqa: S603
    print(f"{PICTURE.relative_to(PROJECT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
