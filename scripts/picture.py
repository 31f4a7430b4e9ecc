"""Makes the pictures in docs/images: what a failing gate, a DAG run and `doctor` look like, from real runs against the sandbox.

Needs Chromium (Debian: apt-get install chromium fonts-noto-color-emoji), npm for fetching Mermaid, and the sandbox
(`make sandbox`); `make picture` calls it. The pages imitate GitHub's file view and job summary: the annotation, the code and the
summary are those of the run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import pty
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from sandbox import Sandbox  # noqa: E402 - the project's own folder comes first
from sandbox.demo import break_files, prepare, run_step  # noqa: E402
from sandbox.lifecycle import NIGHTLY_DAGS  # noqa: E402
from sandbox.runner import Runner  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PICTURE = PROJECT / "docs" / "images" / "failing-gate.png"
DOCTOR_PICTURE = PROJECT / "docs" / "images" / "doctor.png"
RUN_PICTURE = PROJECT / "docs" / "images" / "dag-run.png"
# The hash is the one that the npm registry tells as `dist.integrity`.
MERMAID = "11.4.0"
MERMAID_SHA512 = "mxCfEYvADJqOiHfGpJXLs4/fAjHz448rH0pfY5fAoxiz70rQiDSzUUy4dNET2T08i46IVpjohPd6WWbzmRHiPA=="
SHOWN = "dags/ad_spend.py"
TERMINAL = """
body { background: #0d1117; margin: 16px }
pre { color: #e6edf3; font: 12px/1.6 "DejaVu Sans Mono", monospace; white-space: pre-wrap }
"""
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


def draw_run(summary: str, mermaid: Path) -> str:
    """Write a page with a DAG run's job summary.

    Args:
        summary: The step's Markdown.
        mermaid: Mermaid's script for browsers.
    """
    rendered = MarkdownIt("gfm-like", {"linkify": False}).enable("table").render(summary)
    diagram = re.compile(r'<pre><code class="language-mermaid">(.*?)</code></pre>', re.DOTALL)
    rendered = diagram.sub(r'<div class="mermaid">\1</div>', rendered)
    # GitHub renders diagrams with this level too.
    start = "mermaid.initialize({ startOnLoad: true, securityLevel: 'strict' })"
    return (
        f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>"
        f'<div class="box"><div class="name">run summary</div><div class="summary">{rendered}</div></div>'
        f'<script src="{mermaid.as_uri()}"></script><script>{start}</script>'
    )


def fetch_mermaid(folder: Path) -> Path:
    """Fetch Mermaid from the npm registry into a folder, and give its script for browsers.

    Raises:
        ValueError: It is not the package that was pinned.
    """
    npm = shutil.which("npm") or "npm"
    subprocess.run([npm, "pack", "--silent", f"mermaid@{MERMAID}"], cwd=folder, check=True, capture_output=True)
    archive = folder / f"mermaid-{MERMAID}.tgz"
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != MERMAID_SHA512:
        raise ValueError(f"mermaid {MERMAID} from the npm registry has the SHA-512 {digest}, not {MERMAID_SHA512}")
    script = folder / "mermaid.min.js"
    with tarfile.open(archive) as package:
        member = package.extractfile("package/dist/mermaid.min.js")
        script.write_bytes(member.read() if member else b"")
    return script


def photograph(chromium: str, page: str, picture: Path, height: int, folder: Path) -> None:
    """Take a picture of a page.

    Args:
        chromium: The browser.
        page: Its HTML.
        picture: Where the picture goes.
        height: Of the browser's window, in pixels.
        folder: For files that nobody needs afterwards.
    """
    (folder / "page.html").write_text(page, encoding="utf-8")
    picture.parent.mkdir(parents=True, exist_ok=True)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
    options += [f"--user-data-dir={folder}/profile", f"--window-size=1110,{height}", f"--screenshot={picture}"]
    options += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += ["--virtual-time-budget=10000"]  # milliseconds for the page's scripts
    subprocess.run([chromium, *options, f"file://{folder}/page.html"], check=True, capture_output=True)
    print(f"{picture} written")


def photograph_run(chromium: str, summary: str, height: int) -> None:
    """Take the picture of a DAG run's job summary, as far as its height goes."""
    with tempfile.TemporaryDirectory() as folder:
        page = draw_run(summary, fetch_mermaid(Path(folder)))
        photograph(chromium, page, RUN_PICTURE, height, Path(folder))


def run_dag() -> str:
    """Run a DAG whose check fails, and give the step's job summary as far as its folded logs."""
    with tempfile.TemporaryDirectory() as folder:
        checkout, instance, temp = (Path(folder) / name for name in ("checkout", "instance", "temp"))
        shutil.copytree(NIGHTLY_DAGS, checkout / "dags")
        shutil.copytree(NIGHTLY_DAGS, instance)
        temp.mkdir()
        with Sandbox.start(dags=instance) as sandbox:
            step = Runner(workspace=checkout, temp=temp).run(
                {
                    "endpoint": sandbox.endpoint,
                    "region": sandbox.region,
                    "instance-id": sandbox.instance_id,
                    "access-key-id": sandbox.access_key_id,
                    "access-key-secret": sandbox.access_key_secret,
                    "operation": "dags trigger",
                    "arguments": "nightly_sales",
                    "wait-for-completion": "true",
                }
            )
    return step.summary.partition("<details>")[0]


def photograph_gate(chromium: str) -> None:
    """Take the picture of a failing gate."""
    with prepare() as (sandbox, checkout, runner):
        break_files(checkout)
        step = run_step(sandbox, runner, operation="deploy", dags_path="dags")
        source = (checkout / SHOWN).read_text(encoding="utf-8").splitlines()
    annotation = next(one for one in step.annotations if one.properties.get("file") == SHOWN)
    summary = step.summary.partition("<details>")[0]
    page = draw(annotation.properties["title"], annotation.data, int(annotation.properties["line"]), source, summary)
    with tempfile.TemporaryDirectory() as folder:
        photograph(chromium, page, PICTURE, 1180, Path(folder))


def photograph_doctor(chromium: str) -> None:
    """Take the picture of a terminal in which the command has examined the way to an instance."""
    command = "dms-airflow doctor --region cn-hangzhou --instance-id af-1a2b3c"
    with Sandbox.start() as sandbox, tempfile.TemporaryDirectory() as folder:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "DMS_AIRFLOW_ENDPOINT": sandbox.endpoint,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": sandbox.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": sandbox.access_key_secret,
        }
        words = [*command.split()[1:], "--instance-id", sandbox.instance_id]
        shown = watch([sys.executable, "-Esu", str(PROJECT / "entrypoint.py"), *words], environ, folder)
        # What a person would have: the stand-in's names are of this machine.
        shown = shown.replace(sandbox.instance_id, "af-1a2b3c").replace(sandbox.endpoint.partition("://")[2], "127.0.0.1")
        page = f"<!doctype html><meta charset=utf-8><style>{TERMINAL}</style><pre>$ {command}\n{draw_screen(shown)}</pre>"
        photograph(chromium, page, DOCTOR_PICTURE, 360, Path(folder))


def watch(command: Sequence[str], environ: Mapping[str, str], folder: str) -> str:
    """Run a command in a terminal, and give all that it wrote there."""
    screen, terminal = pty.openpty()
    with subprocess.Popen(command, env=environ, cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal):
        os.close(terminal)
        written = b""
        with suppress(OSError):  # which is how Linux says that nobody writes any more
            while chunk := os.read(screen, 65536):
                written += chunk
    os.close(screen)
    return written.decode()


def draw_screen(text: str) -> str:
    """Write what a terminal shows as HTML: the line of progress is overwritten, and two colours are left."""
    lines = [re.split(r"\r(?:\x1b\[K)?", line.rstrip("\r"))[-1] for line in text.split("\n")]
    page = html.escape("\n".join(lines))
    for code, colour in (("31", "#ff7b72"), ("33", "#e3b341")):
        page = re.sub(rf"\x1b\[{code}m(.*?)\x1b\[0m", rf'<span style="color: {colour}">\1</span>', page)
    return page


def main() -> int:
    """Make the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is missing; on Debian: apt-get install chromium")
        return 1
    photograph_doctor(chromium)
    photograph_gate(chromium)
    photograph_run(chromium, run_dag(), 1330)
    return 0


if __name__ == "__main__":
    sys.exit(main())
