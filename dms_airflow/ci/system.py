"""How a step reports to the CI system around it: the log, annotations, outputs, the summary.

`CiSystem` is what all of them have in common, and all that a terminal, Jenkins and Yunxiao Flow need: they read no commands
from a log. No secret is ever printed to be masked there; redaction is the only mask.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TextIO

from dms_airflow.ci.runner import Runner
from dms_airflow.core.files import change_owner
from dms_airflow.core.result import Annotation, Level
from dms_airflow.core.secrets.redaction import Redactor, disarm, show
from dms_airflow.core.secrets.values import mask_passwords
from dms_airflow.core.text import cut_middle

# What one folded text may add to the log.
FOLD_LIMIT = 512 * 1024  # bytes

_COLOURS = {Level.ERROR: "\x1b[31m", Level.WARNING: "\x1b[33m", Level.NOTICE: "\x1b[36m"}
_PLAIN = "\x1b[0m"


class CiSystem:
    """Prints and writes for one step.

    Args:
        runner: What is known of the job.
        stdout: The step's log. Everything goes through this one stream: nobody keeps an order between two.
    """

    has_annotation_limits = False
    """Whether it keeps only some annotations, and the beginning of each."""

    def __init__(self, runner: Runner, stdout: TextIO) -> None:
        self.runner = runner
        self._stdout = stdout
        self._secrets = Redactor()  # out of everything
        self._words = Redactor()  # out of what is printed and of what Airflow said
        self._private = Redactor()  # out of what is printed

    # --- Log ---------------------------------------------------------------------------------------------------------

    def info(self, text: str) -> None:
        """Print lines of the story."""
        self._write_lines(self._clean(text))

    def fold(self, title: str, text: str) -> None:
        """Print a long text under a title; where the CI system can fold it, folded."""
        if not text.strip():
            return
        self._begin_fold(self._flatten(title))
        self._write_lines(cut_middle(self._clean(text), FOLD_LIMIT).rstrip("\n"))
        self._end_fold()

    def debug(self, text: str) -> None:
        """Print a line that only a debugging run shows."""
        if self.runner.debug:
            self.info(f"debug: {text}")

    def mask(self, secret: str) -> None:
        """Keep a secret out of everything that is printed or written from now on."""
        self._secrets.add(secret)
        self.mask_in_log(secret)

    def mask_word(self, word: str) -> None:
        """Keep a secret word of the author's own out of what is printed and of what Airflow said."""
        self._words.add(word)
        self.mask_in_log(word)

    def mask_in_log(self, value: str) -> None:
        """Keep a value out of what is printed; outputs keep it."""
        self._private.add(value)

    @contextmanager
    def redact_stderr(self) -> Iterator[None]:
        """Print what others print on stderr meanwhile, such as warnings of libraries, as lines of the log."""
        with redirect_stderr(io.StringIO()) as others:
            try:
                yield
            finally:
                if text := others.getvalue():
                    self.info(text.removesuffix("\n"))

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
        """Print one thing to fix, with its place first, as compilers do: terminals and editors make a link of it."""
        line = f":{annotation.line}" if annotation.line else ""
        place = f"{annotation.file}{line}: " if annotation.file else ""
        head = self._flatten(f"{place}{annotation.level}: {annotation.title}")
        colour, plain = (_COLOURS[annotation.level], _PLAIN) if self.runner.is_terminal else ("", "")
        self._stdout.write(f"{colour}{disarm(head)}{plain}\n")
        self.info("\n".join(f"  {line}" for line in annotation.message.split("\n")))

    def write_outputs(self, outputs: Mapping[str, str]) -> None:
        """Hand outputs to later steps, where the CI system has a way to."""

    def write_file(self, path: Path, pieces: Iterable[str]) -> None:
        """Write a file of the workspace, piece by piece: it may be too long to be held twice.

        Raises:
            OSError: It cannot be written there.
        """
        made = [one for one in (path, *path.parents) if not one.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(pieces)
        finally:
            # Else the next `git clean` of a self-hosted runner fails.
            change_owner(self.runner.workspace, *made)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _begin_fold(self, title: str) -> None:
        self._write_lines(f"{title}:")

    def _end_fold(self) -> None:
        pass

    def _write_lines(self, text: str) -> None:
        for line in text.split("\n"):
            self._stdout.write(f"{disarm(line)}\n")
        self._stdout.flush()

    def _clean(self, text: str) -> str:
        """Make a text fit for the log. What cannot be seen goes first, because it could hide a secret."""
        return self.redact(show(text))

    def _flatten(self, text: str) -> str:
        return " ".join(self._clean(text).split())


def append(file: Path, text: str) -> None:
    """Append to a file that the CI system reads."""
    with file.open("a", encoding="utf-8", errors="backslashreplace", newline="") as opened:
        opened.write(text)
