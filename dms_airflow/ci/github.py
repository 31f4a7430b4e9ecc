"""GitHub and those that run its actions: workflow commands, outputs, the job summary. The only importer of actions_toolkit.

Of actions_toolkit only the formatting is used (`Command`, `prepare_key_value_message`): its `core` prints empty properties,
prints to whatever sys.stdout is, and ends the process by itself.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from actions_toolkit.command import Command
from actions_toolkit.file_command import prepare_key_value_message

from dms_airflow.ci.system import CiSystem, append
from dms_airflow.core.result import Annotation
from dms_airflow.core.secrets.redaction import disarm, list_parts


class GitHub(CiSystem):
    """GitHub's runner, which takes lines of the log for commands."""

    has_annotation_limits = True

    def mask_in_log(self, value: str) -> None:
        """Keep a value out of what is printed, also by the runner's own mask; outputs keep it."""
        super().mask_in_log(value)
        # The runner masks each line of a value and its usual encodings; act masks the exact value only.
        for part in list_parts(value):
            self._command("add-mask", {}, part)
            if (encoded := quote(part, safe="", errors="backslashreplace")) != part:
                self._command("add-mask", {}, encoded)

    def annotate(self, annotation: Annotation) -> None:
        """Print an annotation. Properties without a value are left out, since an empty one is not the same."""
        file = self._secrets.redact(annotation.file or "")
        # GitHub cannot order an annotation without a file, and takes a line without one for nothing.
        properties = {"file": file, "line": annotation.line if file else None, "title": self._flatten(annotation.title)}
        present = {name: value for name, value in properties.items() if value}
        message = "\n".join(map(disarm, self._clean(annotation.message).split("\n")))
        self._command(str(annotation.level), present, message)

    def write_outputs(self, outputs: Mapping[str, str]) -> None:
        """Append outputs to the runner's file, each with a random delimiter, so that no value can end early."""
        if file := self.runner.output_file:
            texts = {name: self._secrets.redact(value) for name, value in outputs.items()}
            append(file, "".join(f"{prepare_key_value_message(name, text)}\n" for name, text in texts.items()))

    def _begin_fold(self, title: str) -> None:
        self._command("group", {}, title)

    def _end_fold(self) -> None:
        self._command("endgroup", {}, "")

    def _command(self, name: str, properties: Mapping[str, object], message: str) -> None:
        self._stdout.write(f"{Command(name, dict(properties), message)}\n")
        self._stdout.flush()


class Forgejo(GitHub):
    """Forgejo and Gitea: their runner prints `::error::` as it is, and shows no annotations."""

    has_annotation_limits = False
    annotate = CiSystem.annotate
