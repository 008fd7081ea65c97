"""Gemma's tool calls: what stands between `<|tool_call>` and `<tool_call|>` -> `ToolCall`.

    call:NAME{key:<|"|>text<|"|>,n:3,b:true,z:null,l:[1,2],d:{key:1}}

This is the syntax that the chat template writes. Strings are opened and closed by a control token, not by a character,
so whatever is typed inside them is text. Keys are written bare; a quoted key is read as well.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from gemma4_mlx.errors import GemmaError

QUOTE = '<|"|>'
MAX_DEPTH = 64
"""Objects and lists inside each other."""

_LEXEMES = re.compile(r"[{}\[\]:,]|[^{}\[\]:,]+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_LITERALS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model wants to have run: a tool's name, and its arguments as JSON has them."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _String:
    """Text that stood in quotes."""

    text: str


class CallReader:
    """Collects one call as it streams in; `finish` gives the whole call or raises, never half of one."""

    def __init__(self) -> None:
        self._lexemes: list[str | _String] = []
        self._text = ""
        self.in_string = False

    def text(self, text: str) -> None:
        """More text, inside or outside quotes."""
        self._text += text

    def quote(self) -> None:
        """The control token that opens and closes strings."""
        self._end_text()
        self.in_string = not self.in_string

    def finish(self) -> ToolCall:
        """The call. Raises GemmaError where it is not one."""
        if self.in_string:
            raise GemmaError(f"the model's tool call ends inside a string, after {self._text[-40:]!r}; ask again")
        self._end_text()
        return _Parser(self._lexemes).call()

    def _end_text(self) -> None:
        if self.in_string:
            self._lexemes.append(_String(self._text))
        else:
            self._lexemes += _LEXEMES.findall(self._text)
        self._text = ""


@dataclass(slots=True)
class _Parser:
    """Reads lexemes by recursive descent. White space around bare ones means nothing."""

    lexemes: list[str | _String]
    at: int = 0
    depth: int = 0

    def call(self) -> ToolCall:
        start = self._bare_until("{")
        word, _, name = (part.strip() for part in start.partition(":"))
        if word != "call" or not name:
            self._fail("'call:NAME'", start)
        arguments = self._object()
        if self._peek() is not None:
            self._fail("nothing more", self._peek())
        return ToolCall(name, arguments)

    def _value(self) -> Any:
        lexeme = self._peek()
        if isinstance(lexeme, _String):
            self._next()
            return lexeme.text
        if lexeme in ("{", "["):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise GemmaError(f"the model's tool call is nested more than {MAX_DEPTH} deep; ask again")
            value = self._object() if lexeme == "{" else self._list()
            self.depth -= 1
            return value
        self._next()
        return self._scalar(lexeme)

    def _scalar(self, lexeme: str | None) -> Any:
        if lexeme in _LITERALS:
            return _LITERALS[lexeme]
        if lexeme is None or not _NUMBER.fullmatch(lexeme):
            self._fail("a value", lexeme)
        try:
            number = json.loads(lexeme)
        except ValueError:  # 007, or more digits than Python reads
            self._fail("a number", lexeme)
        if isinstance(number, float) and not math.isfinite(number):
            self._fail("a finite number", lexeme)
        return number

    def _list(self) -> list[Any]:
        self._expect("[")
        items: list[Any] = []
        while self._peek() != "]":
            if items:
                self._expect(",")
            items.append(self._value())
        self._next()
        return items

    def _object(self) -> dict[str, Any]:
        self._expect("{")
        pairs: dict[str, Any] = {}
        while self._peek() != "}":
            if pairs:
                self._expect(",")
            key = self._key()
            if key in pairs:
                raise GemmaError(f"the model's tool call gives {key!r} twice; ask again")
            self._expect(":")
            pairs[key] = self._value()
        self._next()
        return pairs

    def _key(self) -> str:
        lexeme = self._peek()
        if isinstance(lexeme, _String):
            self._next()
            return lexeme.text
        key = self._bare_until(":", never=("{", "}", ",")).strip()
        if not key:
            self._fail("a key", self._peek())
        return key

    def _bare_until(self, end: str, never: tuple[str, ...] = ()) -> str:
        """Joins bare lexemes up to `end`: names may hold colons and brackets, keys brackets."""
        joined = ""
        while (lexeme := self._raw()) != end:
            if lexeme is None or isinstance(lexeme, _String) or lexeme in never:
                self._fail(repr(end), lexeme)
            joined += lexeme
            self.at += 1
        return joined

    def _expect(self, wanted: str) -> None:
        found = self._peek()
        if found != wanted:
            self._fail(repr(wanted), found)
        self._next()

    def _peek(self) -> str | _String | None:
        """The next lexeme that is more than white space, a bare one without the space around it."""
        while isinstance(lexeme := self._raw(), str) and not lexeme.strip():
            self.at += 1
        return lexeme.strip() if isinstance(lexeme, str) else lexeme

    def _next(self) -> None:
        self.at += 1

    def _raw(self) -> str | _String | None:
        return self.lexemes[self.at] if self.at < len(self.lexemes) else None

    def _fail(self, wanted: str, found: str | _String | None) -> NoReturn:
        shown = "its end" if found is None else repr(found[:40]) if isinstance(found, str) else "a string"
        raise GemmaError(f"the model's tool call is malformed: {wanted} should stand where {shown} is; ask again")
