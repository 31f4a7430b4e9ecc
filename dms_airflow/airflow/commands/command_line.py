"""One CLI command as the author wrote it: its name, its words, and how it may be shown. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from dms_airflow.airflow.commands.arguments import find_secrets, mask_secrets
from dms_airflow.airflow.commands.table import COMMANDS
from dms_airflow.core.secrets.values import MASK


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """One CLI command: its name, and the words after it."""

    name: str
    arguments: tuple[str, ...] = ()

    def add(self, *words: str) -> CommandLine:
        """Give the same command with further options, before a ``--`` that ends all options."""
        end = self.arguments.index("--") if "--" in self.arguments else len(self.arguments)
        return CommandLine(name=self.name, arguments=(*self.arguments[:end], *words, *self.arguments[end:]))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The words that are passwords or values."""
        return find_secrets(COMMANDS[self.name], self.arguments)

    @property
    def words(self) -> tuple[str, ...]:
        """The command as Airflow shall see it, under Airflow's own name for it."""
        return (*(COMMANDS[self.name].airflow_name or self.name).split(), *self.arguments)


def show(line: CommandLine) -> str:
    """Write the command as a person would type it, its secret words left out whatever their length."""
    name = line.words[: len(line.words) - len(line.arguments)]
    hidden = mask_secrets(COMMANDS[line.name], line.arguments)
    return shlex.join([*name, *hidden]).replace(f"'{MASK}'", MASK)
