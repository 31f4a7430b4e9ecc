"""GitHub's side: the log, workflow commands, outputs, the job summary. The only importer of actions_toolkit.

Of actions_toolkit only the formatting is used (`Command`, `prepare_key_value_message`): its `core` prints empty properties,
prints to whatever sys.stdout is, and ends the process by itself.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO
from urllib.parse import quote

from actions_toolkit.command import Command
from actions_toolkit.file_command import prepare_key_value_message

from dms_airflow.ci.repository import find_page
from dms_airflow.core.files import give_to_owner_of
from dms_airflow.core.secrets.redaction import Redactor, disarm, list_parts, show
from dms_airflow.core.secrets.values import mask_passwords
from dms_airflow.core.text import cut_middle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dms_airflow.core.result import Annotation


# What one folded text may add to the log.
FOLD_LIMIT = 512 * 1024  # bytes

# So much of a file is encoded at once.
PIECE = 1024 * 1024  # characters


class Workflow:
    """Prints and writes for one step.

    Args:
        runner: Where the command files are.
        stdout: The step's log. Commands and text go through this one stream: the runner keeps no order between two.
    """

    def __init__(self, runner: Runner, stdout: TextIO) -> None:
        self._runner = runner
        self._stdout = stdout
        self._secrets = Redactor()  # out of everything
        self._words = Redactor()  # out of what is printed and of what Airflow said
        self._private = Redactor()  # out of what is printed

    # --- Log ---------------------------------------------------------------------------------------------------------

    def info(self, text: str) -> None:
        """Print lines of the story."""
        self._print(text)

    def fold(self, title: str, text: str) -> None:
        """Print a long text in a group that GitHub shows folded."""
        if not text.strip():
            return
        self._command("group", {}, self._flatten(title))
        self._write_lines(cut_middle(self._clean(text), FOLD_LIMIT).rstrip("\n"))
        self._command("endgroup", {}, "")

    def debug(self, text: str) -> None:
        """Print a line that only a debugging run shows."""
        if self._runner.debug:
            self._command("debug", {}, self._flatten(text))

    def mask(self, secret: str) -> None:
        """Keep a secret out of everything that is printed or written from now on, by the runner and by ourselves."""
        self._secrets.add(secret)
        self.mask_in_log(secret)

    def mask_word(self, word: str) -> None:
        """Keep a secret word of the author's own out of what is printed and of what Airflow said."""
        self._words.add(word)
        self.mask_in_log(word)

    def mask_in_log(self, value: str) -> None:
        """Keep a value out of what is printed; outputs keep it."""
        self._private.add(value)
        # The runner masks each line of a value and its usual encodings; act masks the exact value only.
        for part in list_parts(value):
            self._command("add-mask", {}, part)
            if (encoded := quote(part, safe="", errors="backslashreplace")) != part:
                self._command("add-mask", {}, encoded)

    # --- what report prints ------------------------------------------------------------------------------------------

    def redact(self, text: str) -> str:
        """Take secrets, private values and the passwords of URLs, whosever they are, out of a text to be shown."""
        return mask_passwords(self._private.redact(text))

    def redact_secrets(self, text: str) -> str:
        """Take secrets out of a text."""
        return self._secrets.redact(text)

    @property
    def has_words(self) -> bool:
        """Whether the author's command or body holds a word that is to stay secret."""
        return self._words.is_needed

    def redact_words(self, text: str) -> str:
        """Take secrets and secret words out of a text that holds what Airflow said."""
        return self._words.redact(self._secrets.redact(text))

    def annotate(self, annotation: Annotation) -> None:
        """Print an annotation. Properties without a value are left out, since an empty one is not the same."""
        properties = {
            "file": self._secrets.redact(annotation.file or ""),
            "line": annotation.line,
            "title": self._flatten(annotation.title),
        }
        # GitHub cannot order an annotation without a file, and takes a line without one for nothing.
        present = {name: value for name, value in properties.items() if value and (name != "line" or annotation.file)}
        message = "\n".join(map(disarm, self._clean(annotation.message).split("\n")))
        self._command(str(annotation.level), present, message)

    def write_outputs(self, outputs: Mapping[str, str]) -> None:
        """Append outputs to the runner's file, each with a random delimiter, so that no value can end early."""
        if self._runner.output_file is None:
            self.info("GITHUB_OUTPUT is not set, so that no outputs are written.")
            return
        text = "".join(f"{prepare_key_value_message(name, self._secrets.redact(value))}\n" for name, value in outputs.items())
        _append(self._runner.output_file, text)

    def write_summary(self, markdown: str) -> None:
        """Append to the job summary."""
        if self._runner.summary_file is not None:
            _append(self._runner.summary_file, markdown)

    def write_file(self, path: Path, pieces: Iterable[str]) -> None:
        """Write a file of the workspace, piece by piece: it may be too long to be held twice.

        Raises:
            OSError: It cannot be written there.
        """
        made = [one for one in (path, *path.parents) if not one.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
                for piece in pieces:
                    for start in range(0, len(piece), PIECE):
                        file.write(piece[start : start + PIECE])
        finally:
            # Else the next `git clean` of a self-hosted runner fails.
            give_to_owner_of(self._runner.workspace, *made)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _print(self, text: str) -> None:
        self._write_lines(self._clean(text))

    def _write_lines(self, text: str) -> None:
        for line in text.split("\n"):
            self._stdout.write(f"{disarm(line)}\n")
        self._stdout.flush()

    def _clean(self, text: str) -> str:
        """Make a text fit for the log. What cannot be seen goes first, because it could hide a secret."""
        return self.redact(show(text))

    def _flatten(self, text: str) -> str:
        return " ".join(self._clean(text).split())

    def _command(self, name: str, properties: Mapping[str, object], message: str) -> None:
        self._stdout.write(f"{Command(name, dict(properties), message)}\n")
        self._stdout.flush()


def _append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8", errors="backslashreplace", newline="") as opened:
        opened.write(text)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What the step knows of the runner around it. Outside of one, the paths are None.

    `is_hosted`: it is one of GitHub's own. `id_token_url`, `id_token_bearer`: where and by what the job gets its id-token;
    empty without the permission.

    https://docs.github.com/actions/reference/workflows-and-actions/variables
    """

    workspace: Path
    output_file: Path | None = None
    summary_file: Path | None = None
    event_file: Path | None = None
    server_url: str = "https://github.com"
    repository: str = ""
    sha: str = ""
    run_id: str = "local"
    run_attempt: str = "1"
    job: str = "local"
    step: str = "step"
    debug: bool = False
    is_hosted: bool = False
    event_name: str = ""
    temp: Path | None = None
    id_token_url: str = ""
    id_token_bearer: str = field(repr=False, default="")
    ca_bundle: str = ""

    def name_page(self, file: str | None, line: int | None) -> str:
        """Name the page of a file, and of a line of it, at the commit that is checked out; empty where there is none.

        Args:
            file: Path relative to the root of the repository that it is in.
            line: From 1.
        """
        if not file:
            return ""
        base = find_page(self.workspace, file, self.server_url)
        if base is None and self.repository and self.sha:  # files without Git: those of the workflow's own commit
            base = f"{self.server_url}/{self.repository}/blob/{self.sha}"
        page = f"{base}/{quote(file, errors='replace')}" if base else ""
        return f"{page}#L{line}" if page and line else page

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the runner's variables."""

        def path(name: str) -> Path | None:
            return Path(environ[name]) if environ.get(name) else None

        # The order in which requests itself looks, which takes a file that is not there for a fault; then Python's own
        # variable, where it is none.
        named = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or ""
        file = environ.get("SSL_CERT_FILE", "")
        return cls(
            workspace=path("GITHUB_WORKSPACE") or Path.cwd(),
            output_file=path("GITHUB_OUTPUT"),
            summary_file=path("GITHUB_STEP_SUMMARY"),
            event_file=path("GITHUB_EVENT_PATH"),
            server_url=environ.get("GITHUB_SERVER_URL") or "https://github.com",
            repository=environ.get("GITHUB_REPOSITORY", ""),
            sha=environ.get("GITHUB_SHA", ""),
            run_id=environ.get("GITHUB_RUN_ID") or "local",
            run_attempt=environ.get("GITHUB_RUN_ATTEMPT") or "1",
            job=environ.get("GITHUB_JOB") or "local",
            step=environ.get("GITHUB_ACTION") or "step",
            debug=environ.get("RUNNER_DEBUG") == "1",
            is_hosted=environ.get("RUNNER_ENVIRONMENT") == "github-hosted",
            event_name=environ.get("GITHUB_EVENT_NAME", ""),
            temp=path("RUNNER_TEMP"),
            id_token_url=environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", ""),
            id_token_bearer=environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", ""),
            ca_bundle=named or (file if file and Path(file).exists() else ""),
        )
