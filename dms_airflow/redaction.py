"""What may be printed: secrets out, workflow commands out, control characters out."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from urllib.parse import quote, quote_plus

MASK = "***"

# A shorter secret stands in too many innocent words: masking it would destroy the log and protect nothing.
SHORTEST_MASKED = 4

# A key file has some thirty lines.
MOST_LINES = 100

# Base64 forms of a short secret are too short to mean anything.
SHORTEST_ENCODED = 8

# The runner reads lines as .NET does: CR, LF and CRLF each end one.
_LINE_END = re.compile(r"\r\n|\r|\n")

# Colours and cursor movements, then every other control character but the tab, then the invisible ones that could hide a "::".
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

# U+200B, zero width space: nobody sees it, and no workflow command is spelled with it.
_BREAK = "\N{ZERO WIDTH SPACE}"


class Redactor:
    """Knows the step's secrets and takes them out of text, in every form a program may have written them in."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Take this secret, and each of its lines, out from now on."""
        for part in (secret, *list_parts(secret)):
            if len(part) >= SHORTEST_MASKED:
                self._forms |= spell_out(part)
        if self._forms:
            ordered = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    @property
    def is_needed(self) -> bool:
        """Whether it knows any secret."""
        return self._pattern is not None

    def redact(self, text: str) -> str:
        """Replace every known secret by ``***``."""
        return self._pattern.sub(MASK, text) if self._pattern else text


def list_parts(secret: str) -> tuple[str, ...]:
    """List a secret and its lines, each without the blanks around it. Of a very long text the lines are no secrets each."""
    lines = _LINE_END.split(secret)
    return tuple(dict.fromkeys((secret.strip(), *(line.strip() for line in lines if len(lines) <= MOST_LINES))))


def spell_out(secret: str) -> set[str]:
    """List the forms in which programs write a text: plain, for URLs, JSON, shells, Python, HTML, base64."""
    escaped = json.dumps(secret, ensure_ascii=False)[1:-1]
    forms = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe="").replace("%", "%25"),
        re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(secret, safe="")),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        escaped,
        escaped.replace("/", "\\/"),
        shlex.quote(secret),
        repr(secret)[1:-1],
        html.escape(secret),
    }
    if len(secret) >= SHORTEST_ENCODED:
        forms |= _encode_base64(secret.encode("utf-8", "surrogateescape"))
    return forms


def _encode_base64(raw: bytes) -> set[str]:
    """Give the part of the secret's base64 form that no neighbouring byte changes, for each of the three alignments."""
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        start = (0, 2, 3)[shift]
        end = len(encoded.rstrip("=")) - (1 if encoded.endswith("=") else 0)
        forms |= {encoded[start:end], encoded[start:end].translate(str.maketrans("+/", "-_"))}
    return forms


def split_lines(text: str) -> list[str]:
    """Split into lines where the runner does, without colours and control characters."""
    return [_CONTROL.sub("", line) for line in _LINE_END.split(_ANSI.sub("", text))]


def disarm(line: str) -> str:
    """Make sure that the runner takes a line for text.

    The runner looks for ``::command::`` behind leading blanks, and for the old form ``##[command]`` anywhere in a line:
    https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
    """
    blanks = len(line) - len(line.lstrip())
    if line.startswith("::", blanks):
        line = f"{line[:blanks]}:{_BREAK}{line[blanks + 1 :]}"
    return line.replace("##[", f"##{_BREAK}[")
