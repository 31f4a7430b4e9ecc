"""What may stand between the letters of a secret, and hide it from a plain search: line breaks, and what nobody sees. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Choose = Callable[[str], re.Pattern[str] | None]

# What Unicode has programs show as nothing (Default_Ignorable_Code_Point), line and paragraph separators, and the control
# characters but for tab and line ends: https://www.unicode.org/reports/tr44/
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
# The same, the commonest of them, as JSON and Python write them; colours too.
_ESCAPED_UNSEEN = (
    r"(?:u001[bB]|x1[bB]|033|e)\[[0-9;]{0,30}[A-Za-z]"
    r"|(?:u00|x)(?:0[0-8bBcCeEfF]|1[0-9a-fA-F]|7[fF]|[89][0-9a-fA-F]|[aA][dD])"
    r"|u(?:200[b-fB-F]|20(?:2[89a-eA-E]|6[0-9a-fA-F])|[fF][eE](?:0[0-9a-fA-F]|[fF][fF]))"
)
_ESCAPED_LINE_END = r"(?:[rn]|u000[aAdD]|x0[aAdD])[ \t]*"
_COLOUR = r"(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])?"

# One class in front, so that the search for it runs through a text fast. A line break takes the indentation behind it along.
# An escape has 1, 2, 4 or 8 backslashes, as often as it was escaped itself; of other numbers some are the secret's own.
_GAP = re.compile(
    rf"[\r\n\\%\x1b{_UNSEEN}]"
    rf"(?:(?<=[\r\n])[\r\n \t]*"
    rf"|(?<=\\)(?:(?<!\\\\)(?:\\{{7}}|\\{{3}}|\\))?(?:{_ESCAPED_LINE_END}|{_ESCAPED_UNSEEN})"
    rf"|(?<=%)(?>(?:25){{0,8}})0[aAdD]"
    rf"|(?<=\x1b){_COLOUR}"
    rf"|(?<=[{_UNSEEN}]))"
)
_LINE_BREAK = re.compile(rf"[\r\n][\r\n \t]*|\\{{1,16}}{_ESCAPED_LINE_END}|%(?>(?:25){{0,8}})0[aAdD]")

# So much is looked at at once, so that no copy of a whole text is made.
_WINDOW = 1024 * 1024  # characters


def close_gaps(text: str) -> str:
    """Leave out line breaks and what nobody sees."""
    return _GAP.sub("", text)


def split_windows(text: str, overlap: int) -> Iterator[tuple[int, str]]:
    """Give a text piece by piece, with each piece's place; pieces share so many characters."""
    for start in range(0, max(len(text) - overlap, 1), _WINDOW):
        yield start, text[start : start + _WINDOW + overlap]


def find_across_gaps(text: str, choose: _Choose, *, longest: int, shortest_broken: int) -> Iterator[tuple[int, int]]:
    """Find what a pattern finds in a text without its gaps.

    Args:
        text: The text.
        choose: Gives the pattern for a text; None where it would find nothing.
        longest: Characters that a find has at most.
        shortest_broken: Characters that it must have to go over a line break: two short words are in any text.

    Yields:
        Where it begins and ends in the text.
    """
    for start, window in split_windows(text, 2 * longest):
        view = close_gaps(window)
        pattern = choose(view) if len(view) < len(window) else None
        if pattern is None:
            continue
        begins, origins = _map_pieces(window)
        for match in pattern.finditer(view):
            first, last = match.start(), match.end() - 1
            piece, last_piece = bisect_right(begins, first) - 1, bisect_right(begins, last) - 1
            begin = first - begins[piece] + origins[piece]
            end = last - begins[last_piece] + origins[last_piece] + 1
            if piece < last_piece and (len(match[0]) >= shortest_broken or not _LINE_BREAK.search(window, begin, end)):
                yield start + begin, start + end


def _map_pieces(text: str) -> tuple[list[int], list[int]]:
    """Tell for each piece between two gaps where it begins without the gaps, and with them."""
    begins, origins, left_out = [0], [0], 0
    for gap in _GAP.finditer(text):
        begins.append(gap.start() - left_out)
        origins.append(gap.end())
        left_out += gap.end() - gap.start()
    return begins, origins


def replace(text: str, spans: Iterator[tuple[int, int]], mask: str) -> str:
    """Put a mask in the place of parts of a text, once in each line that they take up: the lines stay."""
    pieces, done = [], 0
    for begin, end in sorted(spans):
        if end > done:
            kept = _LINE_BREAK.findall(text, max(begin, done), end)
            pieces += [text[done:begin], mask.join(["", *kept, ""])]
            done = end
    return "".join([*pieces, text[done:]]) if pieces else text
