"""The words behind a CLI command's name, read as Airflow's argparse reads them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dms_airflow.core import secret_values as secret_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dms_airflow.airflow.commands.table import Command


def has_option(arguments: Sequence[str], *names: str) -> bool:
    """Whether the option is among the arguments, in any spelling that argparse takes for it."""
    return any(True for _ in _read_options(arguments, names))


def option_value(arguments: Sequence[str], *names: str) -> str | None:
    """The option's value (the last one counts, as in argparse), or None when it is not given."""
    value = None
    for value in _read_options(arguments, names):  # noqa: B007 - the last one is what is asked for
        pass
    return value


def awaits_answer(command: Command, arguments: Sequence[str]) -> bool:
    """Whether the command will ask a question that its arguments do not answer. Over HTTP nobody can."""
    asks = command.asks and (not command.asks_only_with or has_option(arguments, command.asks_only_with))
    return asks and not has_option(arguments, "-y", "--yes", "-h", "--help")


def find_secrets(command: Command, arguments: Sequence[str]) -> tuple[str, ...]:
    """The secret words among a command's arguments, and those inside them that Airflow may print alone.

    A connection's URI holds a password, its JSON and its extra may hold more. Airflow prints them in its own spelling.
    """
    found: list[str] = []
    for _, value, secret in _split_words(command, arguments):
        found += [value, *secret_words.find_secrets(value)] if secret else secret_words.find_secrets(value)
    return tuple(dict.fromkeys(filter(None, found)))


def mask_secrets(command: Command, arguments: Sequence[str]) -> list[str]:
    """The arguments as they may be shown, whatever the length of a secret."""
    return [
        head + (secret_words.MASK if secret and value else secret_words.mask_secrets(value))
        for head, value, secret in _split_words(command, arguments)
    ]


def _split_words(command: Command, arguments: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Give each word as what may be shown of it, the value in it, and whether that is secret.

    Of a command that takes secrets nothing is shown but what is known to be none: Airflow prints an option that it does not
    know, and whoever misspells one does not mean to show its value.
    """
    guarded = bool(command.secret_options) or command.secret_position is not None
    position, is_value, value_is_secret, all_positional = 0, False, False, False
    for word in arguments:
        option, equals, value = word.partition("=")
        if is_value and (not word.startswith("-") or _NO_OPTION.search(word) or value_is_secret):
            is_value = False
            yield "", word, value_is_secret
        elif word == "--" and not all_positional:
            all_positional, is_value = True, False
            yield word, "", False
        elif all_positional or not word.startswith("-") or _NO_OPTION.search(word):
            yield "", word, command.secret_position is not None and position >= command.secret_position
            position += 1
        elif not guarded:
            yield (f"{option}=", value, False) if equals else ("", word, False)
        elif any(one.startswith(option) for one in _BARE_OPTIONS):
            yield "", word, False
        else:
            # argparse takes any unambiguous beginning. `--conn-p` is none: what follows may be a password.
            may_be_secret = any(name.startswith(option) for name in command.secret_options)
            value_is_secret = may_be_secret or not any(name.startswith(option) for name in command.shown_options)
            # In `--conn-passwordx` and `-dx` the name holds the value.
            glued = not may_be_secret and any(option.startswith(name) for name in command.secret_options)
            is_value = not equals and not (glued and not option.startswith("--"))
            yield ("", word, True) if glued else (f"{option}=" if equals else option, value, value_is_secret)


# Options without a value of the commands that take secrets.
_BARE_OPTIONS = ("-v", "--verbose", "-h", "--help", "-j", "--json")


# Short options that take no value in all of these commands: only behind them may another option stand in the same word,
# as in `-vo json`.
_FLAGS = "vy"


def _read_options(arguments: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """What stands behind each occurrence: `-o json`, `-ojson`, `--output json`, `--output=json`, `--out json`.

    Empty when nothing does; for a flag, it is whatever comes next.
    """
    for index, word in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if word == "--":
            return
        option, equals, value = word.partition("=")
        for name in names:
            if name.startswith("--"):
                # argparse takes any unambiguous beginning; `--` and one letter is the shortest.
                if len(option) > len("--") and name.startswith(option):
                    yield value if equals else following
            elif found := re.match(rf"-[{_FLAGS}]*{re.escape(name[1:])}=?(.*)$", word, re.DOTALL):
                yield found[1] or following


# Options with a value, of the commands whose positional arguments matter here: dags pause, trigger, unpause; variables set.
_VALUED = (
    *("-S", "--subdir", "-B", "--bundle-name", "-c", "--conf", "-r", "--run-id", "-e", "--exec-date"),
    *("-l", "--logical-date", "-o", "--output", "--description"),
)
# argparse takes a lone hyphen, a negative number and a word with a blank for a value.
_NO_OPTION = re.compile(r"^-$|^-\d+$|^-\d*\.\d+$| ")


def read_positionals(arguments: Sequence[str]) -> list[str]:
    """List the arguments that are neither options nor their values."""
    positionals: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            positionals += words
        elif not word.startswith("-") or _NO_OPTION.search(word):
            positionals.append(word)
        elif word in _VALUED or (len(word) > len("--") and any(option.startswith(word) for option in _VALUED)):
            next(words, None)
    return positionals
