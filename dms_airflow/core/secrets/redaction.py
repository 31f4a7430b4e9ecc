"""What may be printed: secrets out, workflow commands out, control characters out.

A secret is found by a search for literals: the secret in the encodings that programs write, and in these applied twice.
docs/security.md says what that finds, and what it does not find.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from heapq import nlargest
from itertools import groupby
from urllib.parse import quote, quote_plus

from dms_airflow.core.secrets.values import mask_spans

# A shorter secret is part of too many innocent words: it is masked only where it is a word, and the runner never learns it.
SHORTEST_MASKED = 4  # characters

# The lines of a longer text are not secrets each; a key file has some thirty.
MOST_LINES = 100

# In base64, a shorter secret is found only where it was encoded alone; across a line break, two short words are in any text.
SHORTEST_ENCODED = 8  # characters

# A longer secret is searched for in each encoding once, not twice: that would make hundreds of texts up to nine times as long.
LONGEST_TWICE = 8192  # characters

# The runner reads lines as .NET does: CR, LF and CRLF each end one.
_LINE_END = re.compile(r"\r\n|\r|\n")

# Colours and cursor movements; every other control character but the tab; the invisible ones that could hide a "::".
_SEQUENCE = r"(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?|[@-_])?"  # after an ESC
_INVISIBLE = r"\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_UNSEEN = re.compile(rf"\x1b{_SEQUENCE}|[{_INVISIBLE}]")

# What can separate the letters of a secret: the above, and a line break with the indentation after it, also as JSON, or JSON
# inside JSON, and Python write them. One class of characters comes first because Python searches for it fast.
_ESCAPED_GAP = r"(?:(?<!\\\\)\\)?(?:[rn][ \t]*|(?:u00|x)(?:1b\[[0-9;]*[A-Za-z]|ad)|u(?:200[b-f]|feff))"  # after a backslash
_GAP = re.compile(
    rf"[\r\n\\\x1b{_INVISIBLE}]"
    rf"(?:(?<=[\r\n])[\r\n \t]*|(?<=\\){_ESCAPED_GAP}|(?<=\x1b){_SEQUENCE}|(?<=[{_INVISIBLE}]))"
)

# U+200B, zero width space: it is invisible, and no workflow command contains it.
_BREAK = "\N{ZERO WIDTH SPACE}"

# After which letters a command of some CI system is no longer one when it is broken there.
_COMMAND = re.compile(r"##(?=(?:vso|teamcity)?\[)|section_(?=(?:start|end):)", re.IGNORECASE)

# What stays as it is in a URL: by quote(safe=""), by quote(), by JavaScript's encodeURIComponent, by requests.
_SAFE_IN_URLS = ("", "/", "!*'()", "!#$&'()*+,/:;=?@[]~")

# JSON that may be put into HTML, as Flask and Go write it.
_JSON_IN_HTML = str.maketrans({one: f"\\u{ord(one):04x}" for one in "<>&'"})

# HTML and XML as text, as an attribute, by html.escape, lodash, PHP, XML libraries, Jinja and Go, mustache.
_HTML = tuple(
    str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **further})
    for further in (
        {},
        {'"': "&quot;"},
        {'"': "&quot;", "'": "&#x27;"},
        {'"': "&quot;", "'": "&#39;"},
        {'"': "&quot;", "'": "&#039;"},
        {'"': "&quot;", "'": "&apos;"},
        {'"': "&#34;", "'": "&#39;"},
        {'"': "&quot;", "'": "&#x27;", "/": "&#x2F;"},
    )
)

# A quote inside quotes: two forms in shells, and doubled as in SQL, YAML and CSV.
_QUOTED = (("'", "'\\''"), ("'", "'\"'\"'"), ("'", "''"), ('"', '""'))


class Redactor:
    """Knows secrets, and masks them in text in every form in which programs write them."""

    def __init__(self) -> None:
        self._forms: dict[str, Sequence[str]] = {}  # with their clues
        self._words: dict[str, None] = {}

    def add(self, secret: str) -> None:
        """Mask this secret, and each of its lines, from now on."""
        word = secret.strip()
        forms = {*list_parts(secret), *list_forms(word), *list_forms(show(word)), *list_forms(_GAP.sub("", word))}
        self._forms |= {form: find_clues(form) for form in forms if len(form) >= SHORTEST_MASKED}
        if len(word) < SHORTEST_MASKED and any(map(str.isalnum, word)):
            self._words[re.escape(word)] = None

    @property
    def is_needed(self) -> bool:
        """Whether it knows any secret."""
        return bool(self._forms or self._words)

    def redact(self, text: str) -> str:
        """Replace each secret by ``***``."""
        if not self.is_needed:
            return text
        spans = list(self._find_spans(text))
        if self._words:
            spans += (match.span() for match in re.finditer(rf"(?<!\w)(?:{'|'.join(self._words)})(?!\w)", text))
        joined = _GAP.sub("", text)
        if len(joined) < len(text) and (across := list(self._find_spans(joined, SHORTEST_ENCODED))):
            spans += _map_back(across, text)
        return mask_spans(text, spans)

    def _find_spans(self, text: str, shortest: int = SHORTEST_MASKED) -> Iterator[tuple[int, int]]:
        """Find where each secret begins and ends in a text."""
        for form, (clue, *further) in self._forms.items():
            if clue in text and len(form) >= shortest and all(one in text for one in further):
                for literal in _narrow(list_literals(form), text):
                    start = text.find(literal)
                    while start >= 0:
                        yield start, start + len(literal)
                        start = text.find(literal, start + len(literal))


def list_parts(secret: str) -> list[str]:
    """List a text and its lines, as they are and as they are shown, without the blanks around them; none that is too short."""
    parts: dict[str, None] = {}
    for text in (secret, show(secret)):
        lines = _LINE_END.split(text)
        parts |= dict.fromkeys(map(str.strip, (text, *lines) if len(lines) <= MOST_LINES else (text,)))
    return [part for part in parts if len(part) >= SHORTEST_MASKED]


def list_forms(secret: str) -> set[str]:
    """List what programs may escape: the secret, its base64, its hexadecimal digits."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret}
    if len(secret) >= SHORTEST_MASKED:
        forms |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    if len(secret) >= SHORTEST_ENCODED:
        forms |= {raw.hex(), raw.hex().upper()}
        for inner in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            forms |= _encode_base64(inner.encode("utf-8", "surrogatepass"))
    return forms


def _encode_base64(raw: bytes) -> set[str]:
    """Give the part of a text's base64 that no neighbouring byte changes, for each of the three alignments."""
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        start = (0, 2, 3)[shift]
        end = len(encoded.rstrip("=")) - (1 if encoded.endswith("=") else 0)
        forms |= {encoded[start:end], encoded[start:end].translate(str.maketrans("+/", "-_"))}
    return forms


def find_clues(form: str) -> Sequence[str]:
    """Find what every literal of a form contains: its longest runs of letters and digits, which no program escapes."""
    return nlargest(4, {"", *re.findall("[A-Za-z0-9]+", form)}, key=len)


@cache
def list_literals(form: str) -> Sequence[str]:
    """List a form unchanged, in each encoding, and encoded twice, in alphabetical order."""
    once = escape(form)
    return sorted(once if len(form) > LONGEST_TWICE else {twice for one in once for twice in escape(one)})


def _narrow(literals: Iterable[str], text: str, length: int = 8) -> Iterator[str]:
    """Find those of the sorted literals that a text contains, by what many of them have in common: how they begin."""
    for beginning, group in groupby(literals, lambda one: one[:length]):
        if beginning in text:
            same = list(group)
            yield from _narrow(same, text, 2 * length) if len(same) > 1 else (one for one in same if one in text)


def escape(text: str) -> set[str]:
    """Encode a text as programs do. Letters and digits do not change in any of these encodings."""
    raw = text.encode("utf-8", "surrogatepass")
    urls = {quote_plus(raw), *(quote(raw, safe=safe) for safe in _SAFE_IN_URLS)}
    in_json = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    # Python writes a text that contains a double quote in single quotes, and escapes the single quotes.
    in_python = {repr(f'{text}"')[1:-2], ascii(f'{text}"')[1:-2], repr(raw + b'"')[2:-2]}
    return {
        text,
        *urls,
        *(re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), url) for url in urls),
        *in_json,
        *(one.replace("/", "\\/") for one in in_json),
        *(one.translate(_JSON_IN_HTML) for one in in_json),
        *in_python,
        *(one.replace("\\'", "'") for one in in_python),
        *(text.translate(table) for table in _HTML),
        re.sub("[^A-Za-z0-9]", lambda match: f"&#{ord(match[0])};", text),
        *(text.replace(quote_mark, inside) for quote_mark, inside in _QUOTED),
    }


def _map_back(spans: Iterable[tuple[int, int]], text: str) -> Iterator[tuple[int, int]]:
    """Find the places in a text that places in the same text without its gaps mean."""
    begins, origins = [0], [0]  # where each piece between two gaps begins: without the gaps, and with them
    for gap in _GAP.finditer(text):
        begins.append(begins[-1] + gap.start() - origins[-1])
        origins.append(gap.end())
    for start, end in spans:
        first, last = bisect_right(begins, start) - 1, bisect_right(begins, end - 1) - 1
        yield origins[first] + start - begins[first], origins[last] + end - begins[last]


def show(text: str) -> str:
    """Leave out colours and control characters, and end each line with LF where the runner ends it."""
    return _UNSEEN.sub("", _LINE_END.sub("\n", text))


def disarm(line: str) -> str:
    """Make sure that no CI system interprets a line as a command.

    GitHub looks for ``::command::`` after leading blanks, and for the old form ``##[command]`` anywhere in a line:
    https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
    Azure Pipelines and TeamCity look for their words after ``##``, GitLab for its sections:
    https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
    """
    blanks = len(line) - len(line.lstrip())
    if line.startswith("::", blanks):
        line = f"{line[:blanks]}:{_BREAK}{line[blanks + 1 :]}"
    return _COMMAND.sub(lambda match: f"{match[0]}{_BREAK}", line)
