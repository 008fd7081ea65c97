"""What stands in a tool call -> its lexemes: plainly, as the chat template writes calls, or loosely, as models may.

Apart from calls.py because only here characters are looked at: calls.py reads lexemes, however they came about.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gemma4_mlx.errors import GemmaError

QUOTE = '<|"|>'

_PLAIN = re.compile(r"[{}\[\]:,]|[^{}\[\]:,]+")
_LOOSE = re.compile(r"[{}\[\]:,=()]|\s+|[^{}\[\]:,=()]+")
_BEFORE_VALUES = frozenset("{[(:,=")
_CLOSERS = {QUOTE: (QUOTE,), '"""': ('"""',), "'''": ("'''",), '"': ('"',), "'": ("'",), "`": ("`",)} | {
    "“": ("”", "“"), "”": ("”",), "„": ("“", "”"), "‘": ("’", "‘"), "’": ("’",), "‚": ("‘", "’"), "«": ("»",)
}  # fmt: skip
"""What closes each opening quote, longer ones first."""
QUOTE_MARKS = frozenset("\"'`“”„‘’‚«»")
"""Characters that quote, in place of the control token."""

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.|$)", re.DOTALL)
_JSON_ESCAPES = re.compile(r"[\"'`\\/bfnrt]|u[0-9a-fA-F]{4}")
_BARE_ESCAPES = re.compile(r"[\"'`\\]")


@dataclass(frozen=True, slots=True)
class Quoted:
    """Text that stood in quotes."""

    text: str


Lexeme = str | Quoted


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to write calls: how text is cut, what begins the arguments, what stands behind a key."""

    split: Callable[[Sequence[Lexeme]], list[Lexeme]]
    openers: tuple[str, ...]
    colons: tuple[str, ...]


def _plain_lexemes(segments: Sequence[Lexeme]) -> list[Lexeme]:
    """Only the control token quotes; bare text is cut at brackets, colons and commas."""
    lexemes: list[Lexeme] = []
    for segment in segments:
        lexemes += [segment] if isinstance(segment, Quoted) else _PLAIN.findall(segment)
    return lexemes


def _loose_lexemes(segments: Sequence[Lexeme]) -> list[Lexeme]:
    """Quotes of any kind where a key or a value begins, and "=" and parentheses as signs of their own.

    Raises GemmaError if such a quote is not closed, or its backslashes can be read in two ways.
    """
    lexemes: list[Lexeme] = []
    for segment in segments:
        if isinstance(segment, Quoted):
            lexemes.append(segment)
            continue
        at = 0
        while at < len(segment):
            lexeme, at = _next_loose(segment, at, _value_begins(lexemes))
            lexemes.append(lexeme)
    return lexemes


def _next_loose(text: str, at: int, begins: bool) -> tuple[Lexeme, int]:
    opener = next((opener for opener in _CLOSERS if text.startswith(opener, at)), None) if begins else None
    if opener is not None:
        return _quoted(text, at, opener)
    match = _LOOSE.match(text, at)
    assert match is not None
    return match[0], match.end()


def _value_begins(lexemes: Sequence[Lexeme]) -> bool:
    last = next((lexeme for lexeme in reversed(lexemes) if isinstance(lexeme, Quoted) or lexeme.strip()), "")
    return isinstance(last, str) and last in _BEFORE_VALUES


def _quoted(text: str, at: int, opener: str) -> tuple[Quoted, int]:
    """The string that `opener` begins, and where it ends. An apostrophe between letters ends none."""
    begin = end = at + len(opener)
    while end < len(text):
        if text[end] == "\\" and opener != QUOTE:
            end += 2
            continue
        closer = next((closer for closer in _CLOSERS[opener] if text.startswith(closer, end)), None)
        if closer is not None and not _is_apostrophe(text, end):
            inside = text[begin:end]
            return Quoted(inside if opener == QUOTE else _unescaped(inside, opener)), end + len(closer)
        end += 1
    raise GemmaError(f"the quote {opener} before {text[begin : begin + 40]!r} is not closed")


def has_closed_quotes(text: str) -> bool:
    """Whether every quote in bare text is closed in it, so that the text can't end inside of one."""
    closers: tuple[str, ...] = ()
    for at, sign in enumerate(text):
        if sign not in QUOTE_MARKS or _is_apostrophe(text, at):
            continue
        if sign in closers:
            closers = ()
        elif not closers and not (sign in "'’" and text[at - 1 : at].isalnum()):  # as in "the users' files"
            closers = _CLOSERS[sign]
    return not closers


def _is_apostrophe(text: str, at: int) -> bool:
    return text[at] in "'’" and text[at - 1].isalnum() and text[at + 1 : at + 2].isalpha()


def _unescaped(text: str, opener: str) -> str:
    """Text without its escapes: JSON's in double quotes, backslashes before quotes and themselves in others.

    Backslashes that escape nothing are text, if all are so.
    """
    known = _JSON_ESCAPES if opener == '"' else _BARE_ESCAPES
    escapes = _ESCAPE.findall(text)
    understood = [escape for escape in escapes if known.fullmatch(escape)]
    if not understood and not any(_JSON_ESCAPES.fullmatch(escape) for escape in escapes):
        return text
    if len(understood) < len(escapes):
        raise GemmaError(f"the backslashes in {text[:40]!r} can be read in two ways")
    spelled = _ESCAPE.sub(lambda match: match[0] if match[1] not in "'`" else match[1], text)
    try:
        unescaped = str(json.loads(f'"{_with_quotes_escaped(spelled)}"', strict=False))
        unescaped.encode()
    except ValueError:
        raise GemmaError(f"the backslashes in {text[:40]!r} stand for no character") from None
    return unescaped


def _with_quotes_escaped(text: str) -> str:
    return re.sub(r'\\.|"', lambda match: '\\"' if match[0] == '"' else match[0], text, flags=re.DOTALL)


PLAIN = Dialect(_plain_lexemes, ("{",), (":",))
LOOSE = Dialect(_loose_lexemes, ("{", "("), (":", "="))
