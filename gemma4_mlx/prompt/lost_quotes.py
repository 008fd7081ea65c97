"""A call with an odd number of quoting tokens -> the ways to put the missing one back.

Apart from calls.py because it knows where a string may begin or end, and not what calls are.
"""

import re
from collections.abc import Iterator, Sequence

from gemma4_mlx.prompt.lexemes import Lexeme, Quoted

MAX_PLACES = 200
"""More places than this where the token may have stood are too many to try."""

_BEGINS = re.compile(r"[{\[(:,=]\s*")
_ENDS = re.compile(r"(?=[,}\])])")
_CLOSERS = {"}": "{", "]": "[", ")": "("}


def with_quote_back(texts: Sequence[str]) -> Iterator[list[Lexeme]]:
    """The lexemes of a call for each place where its missing quoting token may have stood.

    `texts` are what stood between the quoting tokens, bare and quoted in turn. A string ends before a sign that ends
    a value. What the token completes is not empty, and its brackets come in pairs. Yields nothing for a call with more
    than MAX_PLACES.
    """
    places = [(number, at) for number, text in enumerate(texts) for at in _places(text, quoted=number % 2 == 1)]
    for number, at in places if len(places) <= MAX_PLACES else ():
        parts = [*texts[:number], texts[number][:at], texts[number][at:], *texts[number + 1 :]]
        string = parts[number if number % 2 else number + 1]
        if string.strip() and _has_pairs(string):
            yield [Quoted(part) if place % 2 else part for place, part in enumerate(parts)]


def _places(text: str, *, quoted: bool) -> list[int]:
    """Where a string may end in quoted text, or begin in bare text."""
    return [match.end() for match in (_ENDS if quoted else _BEGINS).finditer(text)]


def _has_pairs(text: str) -> bool:
    """Whether every bracket in a text is closed in it."""
    opened: list[str] = []
    for sign in text:
        if sign in _CLOSERS.values():
            opened.append(sign)
        elif sign in _CLOSERS and (not opened or opened.pop() != _CLOSERS[sign]):
            return False
    return not opened
