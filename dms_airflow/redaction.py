"""What may be printed: secrets out, workflow commands out, control characters out."""

from __future__ import annotations

import base64
import re
from html.entities import html5

MASK = "***"

# A shorter secret stands in too many innocent words: it is taken out where it stands alone, and the runner never learns it.
SHORTEST_MASKED = 4

# A key file has some thirty lines.
MOST_LINES = 100

# Base64 forms of a short secret are too short to mean anything, unless they are whole.
SHORTEST_ENCODED = 8

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
_CUT = re.compile(r"(?:\n\[)?…(?:[^\n]*left out …\]\n)?")

# A backslash, which may be escaped itself, and some in front of what they escape. Every repetition here is bounded, and mostly
# atomic, so that no text makes it slow; Python 3.11.2 misreads possessive ones.
_BACKSLASH = r"(?:\\|%(?>(?:25){0,8})5[cC]|&(?>(?:amp;){0,8})#(?:(?>0{0,8})92|[xX](?>0{0,8})5[cC]);)"
_ANY, _SOME = f"(?>{_BACKSLASH}{{0,16}})", f"(?>{_BACKSLASH}{{1,16}})"

# What no program escapes.
_PLAIN = re.compile(r"[A-Za-z0-9]")
_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\a": "a", "\0": "0"}
_NAMES = {character: name for name, character in html5.items() if name in ("lt;", "gt;", "quot;", "apos;")}


class Redactor:
    """Knows the step's secrets and takes them out of text, in every form a program may have written them in."""

    def __init__(self) -> None:
        self._forms: dict[str, int] = {}  # pattern -> length of what it stands for
        self._wholes: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Take this secret, and each of its lines, out from now on."""
        for part in (secret, *list_parts(secret)):
            if len(part) >= SHORTEST_MASKED:
                self._wholes.add(part)
                self._forms |= dict.fromkeys(spell_out(part), len(part))
        word = secret.strip()
        if 0 < len(word) < SHORTEST_MASKED and any(map(str.isalnum, word)):
            self._forms[rf"(?<!\w){spell(word)}(?!\w)"] = len(word)
        self._pattern = None

    @property
    def is_needed(self) -> bool:
        """Whether it knows any secret."""
        return bool(self._forms)

    def redact(self, text: str) -> str:
        """Replace every known secret by ``***``, also where a cut left a part of it."""
        if not self._forms:
            return text
        if self._pattern is None:
            ordered = sorted(self._forms, key=lambda form: (-self._forms[form], form))
            self._pattern = re.compile("|".join(ordered))
        text = self._pattern.sub(MASK, text)
        return self._redact_stumps(text) if "…" in text else text

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
        for start, end in sorted(spans, reverse=True):
            text = f"{text[:start]}{MASK}{text[end:]}"
        return text


def list_parts(secret: str) -> tuple[str, ...]:
    """List a secret and its lines, each without the blanks around it. Of a very long text the lines are no secrets each."""
    lines = _LINE_END.split(secret)
    return tuple(dict.fromkeys((secret.strip(), *(line.strip() for line in lines if len(lines) <= MOST_LINES))))


def spell_out(secret: str) -> set[str]:
    """Give patterns for the forms in which programs write a text: as it is, escaped in any way, and in base64."""
    raw = _encode(secret)
    forms = {spell(secret), rf"{spell(base64.b64encode(raw).decode())}(?![A-Za-z0-9+/])"}
    if len(secret) >= SHORTEST_ENCODED:
        forms |= {spell(form) for form in _encode_base64(raw)}
    return forms


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
