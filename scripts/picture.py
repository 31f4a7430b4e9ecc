"""Draws the pictures in docs/images, in light and dark, from real runs: a broken deploy, a comment, a DAG run, `doctor`.

Needs Chromium (Debian: apt-get install chromium fonts-noto-color-emoji), npm for fetching Mermaid, and the sandbox
(`make sandbox`); `make picture` calls it. The pages imitate GitHub's file view and job summary; annotation, code and summary
are those of the run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
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

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from sandbox import Sandbox  # noqa: E402 - the project's own folder comes first
from sandbox.demo import break_files, prepare, repair_files, run_step  # noqa: E402
from sandbox.lifecycle import NIGHTLY_DAGS  # noqa: E402
from sandbox.page import render_page, render_summary  # noqa: E402
from sandbox.runner import Runner  # noqa: E402
from tests.integration.fake_github import NODE_ID, NUMBER, REPOSITORY, TOKEN, serve  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.runner import Command

IMAGES = PROJECT / "docs" / "images"
# The hash is the one that the npm registry tells as `dist.integrity`.
MERMAID = "11.4.0"
MERMAID_SHA512 = "mxCfEYvADJqOiHfGpJXLs4/fAjHz448rH0pfY5fAoxiz70rQiDSzUUy4dNET2T08i46IVpjohPd6WWbzmRHiPA=="
SHOWN = "dags/ad_spend.py"
TERMINAL = """
body { background: #0d1117; margin: 16px }
pre { color: #e6edf3; font: 12px/1.6 "DejaVu Sans Mono", monospace; white-space: pre-wrap }
"""
STYLE = """
.line { display: flex; font: 12px/1.7 "DejaVu Sans Mono", monospace; white-space: pre; background: var(--added) }
.number { width: 48px; text-align: right; padding-right: 16px; color: var(--faint) }
.annotation { margin: 8px 16px 8px 64px; border: 1px solid var(--line); border-left: 3px solid var(--red); border-radius: 6px }
.annotation .head { padding: 8px 12px; border-bottom: 1px solid var(--line); color: var(--faint) }
.annotation .head b { color: var(--red) }
.annotation pre { margin: 0; padding: 8px 12px; white-space: pre-wrap }
"""


def draw_annotation(annotation: Command, source: Sequence[str]) -> str:
    """Return the HTML of a file with an annotation, as far as six lines after it."""
    line, rows = int(annotation.properties["line"]), []
    for number, text in enumerate(source[: line + 6], 1):
        rows.append(f'<div class="line"><span class="number">{number}</span>{html.escape(text) or " "}</div>')
        if number == line:
            rows.append(
                '<div class="annotation"><div class="head"><b>✖ Check failure</b> on line '
                f"{line} in {SHOWN}<br><b>GitHub Actions / {html.escape(annotation.properties['title'])}</b></div>"
                f"<pre>{html.escape(hide_folders(annotation.data))}</pre></div>"
            )
    return "".join(rows)


def hide_folders(text: str) -> str:
    """Write an instance's folders in place of those that the sandbox has on this machine."""
    text = re.sub(r'[^"\s(]*/\.sandbox/airflow-[\d.]+', "/opt/airflow", text)
    return re.sub(r'[^"\s(]*/dms-airflow-demo-\w+/instance', "/opt/airflow/dags", text)


def draw_diagrams(page: str, mermaid: Path, theme: str) -> str:
    """Add to a page what draws its Mermaid diagrams in a browser, at the level of security that GitHub has."""
    look = "dark" if theme == "dark" else "default"
    start = f"mermaid.initialize({{ startOnLoad: true, securityLevel: 'strict', theme: '{look}' }})"
    return f'{page}<script src="{mermaid.as_uri()}"></script><script>{start}</script>'


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


def photograph_themes(chromium: str, name: str, boxes: Sequence[tuple[str, str]], height: int) -> None:
    """Take two pictures of a page, in light and in dark: `name`.png and `name`-dark.png."""
    with tempfile.TemporaryDirectory() as folder:
        mermaid = fetch_mermaid(Path(folder))
        for theme in ("light", "dark"):
            page = draw_diagrams(render_page(boxes, theme=theme, style=STYLE), mermaid, theme)
            photograph(chromium, page, IMAGES / f"{name}{'-dark' if theme == 'dark' else ''}.png", height, Path(folder))


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


def photograph_deploy(chromium: str) -> None:
    """Take the pictures of a broken deploy: an annotation on its line, and the job summary."""
    with prepare() as (sandbox, checkout, runner):
        run_step(sandbox, runner, operation="deploy", dags_path="dags")
        break_files(checkout)
        step = run_step(sandbox, runner, operation="deploy", dags_path="dags")
        source = (checkout / SHOWN).read_text(encoding="utf-8").splitlines()
    annotation = next(one for one in step.annotations if one.properties.get("file") == SHOWN)
    photograph_themes(chromium, "annotation", [(SHOWN, draw_annotation(annotation, source))], 645)
    summary = hide_folders(render_summary(step.summary.partition("<details>")[0]))
    photograph_themes(chromium, "deploy-summary", [("deploy summary", summary)], 760)


def photograph_comment(chromium: str) -> None:
    """Take the picture of a pull request's comment after its second commit: two errors are fixed, and one is new."""
    with prepare() as (sandbox, checkout, runner), serve() as github:
        event_file = checkout.parent / "event.json"
        environ = {
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": str(event_file),
            "GITHUB_REPOSITORY": REPOSITORY,
            **github.environ,
        }

        def push(commit: str) -> None:
            repository = {"full_name": REPOSITORY}
            head, base = {"sha": commit * 5, "repo": repository}, {"sha": "0" * 40, "repo": repository}
            pull_request = {"number": NUMBER, "node_id": NODE_ID, "head": head, "base": base}
            event_file.write_text(json.dumps({"pull_request": pull_request}))
            run_step(sandbox, runner, environ, operation="deploy", dags_path="dags", comment="always", github_token=TOKEN)

        run_step(sandbox, runner, operation="deploy", dags_path="dags")
        break_files(checkout)
        added_later = (checkout / "dags" / "returns.py").rename(checkout.parent / "returns.py")
        push("3fa9c1d0")
        repair_files(checkout, ("ad_spend.py", "inventory_sync.py"))
        added_later.rename(checkout / "dags" / "returns.py")
        push("b0a61e27")
    [comment] = github.bodies
    photograph_themes(chromium, "comment", [("github-actions bot commented", hide_folders(render_summary(comment)))], 650)


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
        photograph(chromium, page, IMAGES / "doctor.png", 360, Path(folder))


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
    photograph_deploy(chromium)
    photograph_comment(chromium)
    photograph_themes(chromium, "dag-run", [("run summary", render_summary(run_dag()))], 1250)
    return 0


if __name__ == "__main__":
    sys.exit(main())
