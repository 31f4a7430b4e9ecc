"""What may be printed: secrets out, workflow commands out, control characters out."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import cached_property, partial
from heapq import nlargest
from html.entities import html5
from typing import TYPE_CHECKING

from dms_airflow.core.gaps import close_gaps, find_across_gaps, replace, split_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "***"

# A shorter secret stands in too many innocent words: it is taken out where it stands alone, and the runner never learns it.
SHORTEST_MASKED = 4

# A key file has some thirty lines.
MOST_LINES = 100

# Base64 forms of a short secret are too short to mean anything, unless they are whole.
SHORTEST_ENCODED = 8

# One that takes up more is not found where it goes over the border of two windows of a text.
LONGEST_IN_PIECES = 128 * 1024  # characters

# A whole file, as the value of a variable: nearly always it is written as it is.
LONG = 4096  # characters

# So many runs of a secret must stand in a text before more is done.
MOST_CLUES = 4

# The beginning of a secret that was cut means something from here on.
SHORTEST_STUMP = 6

# The runner reads lines as .NET does: CR, LF and CRLF each end one.
_LINE_END = re.compile(r"\r\n|\r|\n")

# Colours and cursor movements, then every other control character but the tab, then the invisible ones that could hide a "::".
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

# U+200B, zero width space: nobody sees it, and no workflow command is spelled with it.
_BREAK = "\N{ZERO WIDTH SPACE}"

# Where a text was cut (render.cut_middle and its likes): what stands before ended early, what stands behind began late.
_CUT = re.compile(r"(?:\n\[)?…(?:[^\n…]{0,80}left out …\]\n)?")

# A backslash, which may be escaped itself, and some in front of what they escape. Every repetition here is bounded, and mostly
# atomic, so that no text makes it slow; Python 3.11.2 misreads possessive ones.
_BACKSLASH = r"(?:\\|%(?>(?:25){0,8})5[cC]|&(?>(?:amp;){0,8})#(?:(?>0{0,8})92|[xX](?>0{0,8})5[cC]);)"
_ANY, _SOME = f"(?>{_BACKSLASH}{{0,16}})", f"(?>{_BACKSLASH}{{1,16}})"

# What no program escapes.
_PLAIN = re.compile(r"[A-Za-z0-9]")
_PLAIN_RUN = re.compile(r"[A-Za-z0-9]+")
_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\a": "a", "\0": "0"}
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789abcdef"))
_HEX_PREFIX = rf"(?:{_BACKSLASH}{{1,16}}(?:[xX]|u00)|0[xX]|%)"
_HEX_SEPARATOR = r"(?>(?:[\s:,;_%nrt\\-]|0?[xX]|u00){0,12})"
_NAMES = {character: name for name, character in html5.items() if name in ("lt;", "gt;", "quot;", "apos;")}


@dataclass(frozen=True, kw_only=True)
class Form:
    """A way to write a secret.

    Args:
        text: What is written, before it is escaped.
        length: Of the secret.
        before: A pattern of what must stand in front.
        behind: And of what behind.
        is_wrapped: Its blanks may be missing.
    """

    text: str
    length: int
    before: str = ""
    behind: str = ""
    is_wrapped: bool = False

    @cached_property
    def clues(self) -> list[str]:
        """What stands in every spelling of it: the longest runs of what no program escapes."""
        return nlargest(MOST_CLUES, dict.fromkeys(_PLAIN_RUN.findall(self.text)), key=len)

    def spell(self) -> str:
        """Give a pattern for it, escaped in any way."""
        pattern = spell(self.text)
        if self.is_wrapped:
            pattern = pattern.replace(spell(" "), f"{spell(' ')}?")
        return f"{self.before}{pattern}{self.behind}"


class Redactor:
    """Knows the step's secrets and takes them out of text, in every form a program may have written them in."""

    def __init__(self) -> None:
        self._forms: dict[Form, None] = {}
        self._in_hex: dict[str, str] = {}  # digits -> secret
        self._wholes: set[str] = set()
        self._patterns: dict[tuple[Form, ...], re.Pattern[str]] = {}

    def add(self, secret: str) -> None:
        """Take this secret, and each of its lines, out from now on."""
        for part in (secret, *list_parts(secret)):
            if len(part) >= SHORTEST_MASKED:
                self._wholes.add(part)
                self._in_hex[_encode(part).hex()] = part
                self._forms |= dict.fromkeys(list_forms(part))
        word = secret.strip()
        if 0 < len(word) < SHORTEST_MASKED and any(map(str.isalnum, word)):
            self._forms[Form(text=word, length=len(word), before=r"(?<!\w)", behind=r"(?!\w)")] = None

    @property
    def is_needed(self) -> bool:
        """Whether it knows any secret."""
        return bool(self._forms)

    def redact(self, text: str) -> str:
        """Replace every known secret by ``***``, also where a cut left a part of it."""
        if not self._forms:
            return text
        for whole in sorted((whole for whole in self._wholes if len(whole) >= LONG), key=len, reverse=True):
            text = text.replace(whole, MASK)  # to compile a pattern of it takes seconds
        if pattern := self._choose(text):
            text = pattern.sub(MASK, text)
        if self._wholes:
            text = replace(text, self._find_in_pieces(text), MASK)
        return self._redact_stumps(text) if "…" in text else text

    def _choose(self, text: str, shortest: int = 0) -> re.Pattern[str] | None:
        """Give a pattern for those secrets that may stand in a text; None where none does.

        Most texts hold no clues of any, and a clue is found forty times faster than a pattern that may begin anywhere.
        """
        found = tuple(form for form in self._forms if form.length >= shortest and all(clue in text for clue in form.clues))
        if found and found not in self._patterns:
            ordered = sorted(found, key=lambda form: (-form.length, form.text, form.behind))
            self._patterns[found] = re.compile("|".join(form.spell() for form in ordered))
        return self._patterns.get(found)

    def _find_in_pieces(self, text: str) -> Iterator[tuple[int, int]]:
        """Find secrets that stand in pieces: with gaps between their letters, or as hexadecimal digits."""
        choose = partial(self._choose, shortest=SHORTEST_MASKED)
        longest = min(4 * max(map(len, self._wholes)), LONGEST_IN_PIECES)
        yield from find_across_gaps(text, choose, longest=longest, shortest_broken=SHORTEST_ENCODED)
        for start, window in split_windows(text, 2 * longest):
            digits = read_digits(window)
            for secret in (self._in_hex[written] for written in self._in_hex if written in digits):
                for match in re.finditer(spell_in_hex(secret), window):
                    yield start + match.start(), start + match.end()

    def _redact_stumps(self, text: str) -> str:
        near = [whole for whole in self._wholes if whole[:SHORTEST_STUMP] in text or whole[-SHORTEST_STUMP:] in text]
        spans: list[tuple[int, int]] = []
        for cut in _CUT.finditer(text) if near else ():
            for whole in near:
                before = max(text.rfind(whole[:SHORTEST_STUMP], max(0, cut.start() - len(whole)), cut.start()), 0)
                if cut.start() - before >= SHORTEST_STUMP and whole.startswith(text[before : cut.start()]):
                    spans.append((before, cut.start()))
                behind = text.find(whole[-SHORTEST_STUMP:], cut.end(), cut.end() + len(whole)) + SHORTEST_STUMP
                if behind - cut.end() >= SHORTEST_STUMP and whole.endswith(text[cut.end() : behind]):
                    spans.append((cut.end(), behind))
        pieces, done = [], 0
        for start, end in sorted(spans):
            if end > done:  # two secrets may begin alike
                pieces += [text[done:start], MASK]
                done = end
        return "".join([*pieces, text[done:]])


def list_parts(secret: str) -> tuple[str, ...]:
    """List a secret and its lines, each without the blanks around it. Of a very long text the lines are no secrets each."""
    lines = _LINE_END.split(secret)
    return tuple(dict.fromkeys((secret.strip(), *(line.strip() for line in lines if len(lines) <= MOST_LINES))))


def list_forms(secret: str) -> Iterator[Form]:
    """Give the forms in which programs write a text before they escape it: as it is, and in base64."""
    raw, length = _encode(secret), len(secret)
    yield Form(text=secret, length=length)
    yield Form(text=base64.b64encode(raw).decode(), length=length, behind="(?![A-Za-z0-9+/])")
    if length >= SHORTEST_ENCODED:
        yield from (Form(text=text, length=length) for text in _encode_base64(raw))
        # What a text without its gaps has of it: of several lines, of words that were wrapped where a blank was.
        closed = close_gaps(secret)
        if len(closed.replace(" ", "")) >= SHORTEST_ENCODED and (closed != secret or " " in closed):
            yield Form(text=closed, length=length, is_wrapped=True)


def spell_in_hex(secret: str) -> str:
    """Give a pattern for the hexadecimal digits of a text. Between those of a short one nothing but a prefix may stand."""
    between = _HEX_SEPARATOR if len(secret) >= SHORTEST_ENCODED else f"{_HEX_PREFIX}?"
    return f"{_HEX_PREFIX}?{between.join(_any_case(f'{byte:02x}') for byte in _encode(secret))}"


def read_digits(text: str) -> str:
    """Give the hexadecimal digits of a text, in lower case, without what programs put in front of each two."""
    raw = _encode(text).lower()
    for prefix in (b"0x", b"u00"):
        raw = raw.replace(prefix, b"")
    return raw.translate(None, _NO_DIGITS).decode("ascii")


def spell(text: str) -> str:
    """Give a pattern for a text of which any character may be escaped.

    It knows URLs (also twice encoded), JSON, Python, shells, HTML and what replaces a character that an encoding lacks.
    """
    pattern = ""
    after_backslash = False
    for unit in re.findall(r"\\+|[^\\]", text):
        if unit[0] == "\\":
            pattern += f"{_BACKSLASH}{{{len(unit)},{16 * len(unit)}}}"
        elif _PLAIN.match(unit):
            pattern += re.escape(unit)
        else:
            pattern += _spell_character(unit, _ANY if after_backslash else _SOME)
        after_backslash = unit[0] == "\\"
    return pattern


def _spell_character(character: str, backslashes: str) -> str:
    code = ord(character)
    plain = re.escape(character)
    codes = _spell_codes(character)
    # Without a backslash first: the secret itself may hold what reads as one (`%5c`).
    forms = [plain, codes, f"{_SOME}(?:{plain}|{codes})", f"{backslashes}U{_any_case(f'{code:08x}')}"]
    if code <= 0xFFFF:  # noqa: PLR2004 - the Basic Multilingual Plane
        forms.append(rf"{backslashes}u{_any_case(f'{code:04x}')}")
    else:
        halves = (0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF))
        forms.append("".join(rf"{_SOME}u{_any_case(f'{half:04x}')}" for half in halves))
    if code <= 0xFF:  # noqa: PLR2004 - two hexadecimal digits
        forms.append(rf"{backslashes}x{_any_case(f'{code:02x}')}")
    if not character.isascii():
        raw = _encode(character)
        forms += [
            "".join(rf"{_SOME}x{_any_case(f'{byte:02x}')}" for byte in raw),
            "".join(rf"{_SOME}{byte:03o}" for byte in raw),
        ]
        forms.append("[?\N{REPLACEMENT CHARACTER}]")
    if character in _LETTERS:
        forms.append(backslashes + _LETTERS[character])
    if character == " ":
        forms.append(r"\+")
    if character == "'":
        forms.insert(0, rf"""'(?:{_ANY}"'{_ANY}"|{_SOME}')'""")
    return f"(?:{'|'.join(forms)})"


def _spell_codes(character: str) -> str:
    """Give a pattern for a character in a URL or in HTML."""
    raw = _encode(character)
    percent = "".join(rf"%(?>(?:25){{0,8}}){_any_case(f'{byte:02x}')}" for byte in raw)
    if character == "%":
        percent = "%(?:25){1,8}"  # not atomic: the secret itself may go on with 25
    codes = rf"#(?>0{{0,8}}){ord(character)};|#[xX](?>0{{0,8}}){_any_case(f'{ord(character):x}')};"
    names = f"|{_NAMES[character]}" if character in _NAMES else ""
    ampersands = "|&(?:amp;){1,8}" if character == "&" else ""
    return rf"{percent}{ampersands}|&(?>(?:amp;){{0,8}})(?:{codes}{names})"


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # bytes of an environment variable
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")  # JSON may hold half a character


def _any_case(digits: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


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
