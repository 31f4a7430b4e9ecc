"""One CLI command as the author wrote it, its words read as Airflow reads them, by argparse, and how it may be shown. Pure."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from dms_airflow.airflow.commands.known_commands import COMMANDS, Command
from dms_airflow.core.secrets import values as secret_values
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
    def command(self) -> Command:
        """How it behaves."""
        return COMMANDS[self.name]

    @property
    def words(self) -> tuple[str, ...]:
        """The command as Airflow shall see it, under Airflow's own name for it."""
        return (*(self.command.airflow_name or self.name).split(), *self.arguments)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret words among the arguments, and those inside them that Airflow may print alone.

        A connection's URI holds a password, its JSON and its extra may hold more. Airflow prints them in its own spelling.
        """
        own = _list_secrets(self.command, self.arguments)
        inside = [secret for word in self.arguments for secret in secret_values.find_secrets(_split_value(word)[1])]
        return tuple(dict.fromkeys(filter(None, [*own, *inside])))

    @property
    def needs_confirmation(self) -> bool:
        """Whether it waits for an answer that its arguments do not have. Over HTTP nobody can answer."""
        only = self.command.confirms_only
        confirms = self.command.confirms and (not only or has_option(self.arguments, only))
        return confirms and not has_option(self.arguments, "-y", "--yes", "-h", "--help")


def show(line: CommandLine) -> str:
    """Write the command as a person would type it, its secret words left out whatever their length."""
    secrets = set(filter(None, _list_secrets(line.command, line.arguments)))
    shown = [*line.words[: len(line.words) - len(line.arguments)]]
    for word in line.arguments:
        head, value = _split_value(word)
        is_glued = word.startswith("-") and not head and any(map(word.endswith, secrets))  # `-dvalue`
        masked = MASK if value in secrets or is_glued else secret_values.mask_secrets(value)
        shown.append(f"{head}{masked}")
    return shlex.join(shown).replace(f"'{MASK}'", MASK)


def has_option(arguments: Sequence[str], *names: str) -> bool:
    """Whether the option is among the arguments, in any spelling that argparse takes for it."""
    return bool(list_values(arguments, *names))


def option_value(arguments: Sequence[str], *names: str) -> str | None:
    """The option's value (the last one counts, as in argparse), or None when there is none."""
    values = list_values(arguments, *names)
    return values[-1] if values else None


def list_values(arguments: Sequence[str], *names: str) -> list[str]:
    """The values of the option, one for each time that it is there; empty where it has none."""
    (values,), _ = _parse(arguments, names)
    return values


def _split_value(word: str) -> tuple[str, str]:
    """Split `--option=value` before the value."""
    option, equals, value = word.partition("=")
    return (f"{option}=", value) if equals and word.startswith("-") else ("", word)


def _list_secrets(command: Command, arguments: Sequence[str]) -> list[str]:
    """List the words and values that are secrets.

    Of a command that takes secrets everything is one that is not known to be none: Airflow prints an option that it does not
    know, and an author who misspells one does not want its value to be shown.
    """
    if not command.takes_secrets:
        return []
    values, rest = _parse(arguments, *command.secret_options, *command.options)
    secrets = [value for one in values[: len(command.secret_options)] for value in one]
    position, is_value, only_positionals = 0, False, False
    for word in rest:
        head, value = _split_value(word)
        if only_positionals or not word.startswith("-") or _NO_OPTION.search(word):
            is_secret = is_value or (command.secret_position is not None and position >= command.secret_position)
            secrets += [word] if is_secret else []
            position, is_value = position + (not is_value), False
        elif word == "--":
            only_positionals = True
        elif head:
            secrets.append(value)
        elif word.startswith("--") and not any(word.startswith(name) for names in command.secret_options for name in names):
            is_value = True
        else:  # `--conn-passwordvalue`, `-xvalue`
            secrets.append(word)
    return secrets


class _Parser(ArgumentParser):
    """argparse as Airflow uses it, but a wrong word is an exception."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


# Options without a value that may come before another one in the same word, as in `-vo json`, or are among secrets.
_FLAGS = (("-v", "--verbose"), ("-y", "--yes"), ("-h", "--help"), ("-j", "--json"))


def _parse(arguments: Sequence[str], *options: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """Parse the values of each option, one for each time that it is there, and the words that belong to none of them."""
    for abbreviations in (True, False):  # a beginning that two options share is an error
        parser = _Parser(add_help=False, allow_abbrev=abbreviations, conflict_handler="resolve")
        for flag in _FLAGS:
            parser.add_argument(*flag, action="store_true")
        for index, names in enumerate(options):
            parser.add_argument(*names, dest=str(index), action="append", nargs="?", const="", default=[])
        with suppress(ValueError):
            known, rest = parser.parse_known_args(arguments)
            return [getattr(known, str(index)) for index in range(len(options))], rest
    return [[] for _ in options], list(arguments)


# argparse takes a lone hyphen, a negative number and a word with a blank for a value.
_NO_OPTION = re.compile(r"^-$|^-\d+$|^-\d*\.\d+$| ")


def read_positionals(command: Command, arguments: Sequence[str]) -> list[str]:
    """List the arguments that are neither options nor their values, for a command of which the table lists the options."""
    _, rest = _parse(arguments, *command.options)
    end = rest.index("--") if "--" in rest else len(rest)
    return [word for word in rest[:end] if not word.startswith("-") or _NO_OPTION.search(word)] + rest[end + 1 :]
