"""Gemma's tool calls: what stands between `<|tool_call>` and `<tool_call|>` -> `ToolCall`s.

    call:NAME{key:<|"|>text<|"|>,n:3,b:true,z:null,l:[1,2],d:{key:1}}

This is the syntax that the chat template writes. Strings are opened and closed by a control token, not by a character,
so whatever is typed inside them is text. Models write other forms too. Each that can be read in one way only is read:
other quotes, `NAME(key=value)`, JSON, Python's literals, a missing last brace or one too many, a missing quoting token,
several calls in a row; with the tool's schema also strings without quotes, and numbers and JSON in quotes. What could
mean two things is refused.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gemma4_mlx.errors import GemmaError, shortened
from gemma4_mlx.prompt import lexemes
from gemma4_mlx.prompt.dialects import kinds_of
from gemma4_mlx.prompt.expected import Expected
from gemma4_mlx.prompt.lexemes import LOOSE, PLAIN, QUOTE_MARKS, Dialect, Lexeme, Quoted, has_closed_quotes
from gemma4_mlx.prompt.lost_quotes import with_quote_back
from gemma4_mlx.prompt.tools import Tool

QUOTE = lexemes.QUOTE
MAX_DEPTH = 64
"""Objects and lists inside each other."""
MAX_CALLS = 64
"""Calls in one reply; a model that writes more repeats itself."""

_OPENING = r"(?:```\w*|<call>|<\|?tool_call>|<tool_call:|</\w+>|call(?=[\s:]))"
_HEAD = re.compile(rf"[\s:;]*(?:{_OPENING}[\s:]*)*([\"'`]?)(.*?)\1\s*:?\s*", re.DOTALL)
_TAG = "tool_call"
"""Other models' word for a call, which stands where a name should be, and in tags."""
_TAG_END = re.compile(r"(?:(?:(?:</\w+|<tool_call\|)?>|```)\s*)+")
_KEY = re.compile(r"[^\W\d][\w.-]*")
"""What a key looks like that nobody declared."""
_PLAIN_NAME = re.compile(r"[\w./:-]+")
_PREFIX_END = re.compile(r"(?:[.:/]|__)$")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_LITERALS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_CLOSER = {"{": "}", "[": "]", "(": ")"}
_NAME_KEYS = ("name", "tool", "tool_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "params", "input")
_CALL_KEYS = frozenset(("id", "type", *_NAME_KEYS, *_ARGUMENT_KEYS))
_ENDS = (",", "}", "]", ")")
_SIGNS = (*_ENDS, "{", "[", "(", ":", "=")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model wants to have run: a tool's name, and its arguments as JSON has them."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MalformedCall:
    """What the model wrote as a call, and why it is none: never to be run.

    Attributes:
        text: what stood between the marks.
        problem: what is wrong with it, in one line.
        name: the tool that it seems to be for; "malformed" if none can be told.
    """

    text: str
    problem: str
    name: str = "malformed"

    @property
    def message(self) -> str:
        """The whole of it in one line, for people."""
        return f"the model's tool call is malformed: {self.problem}; ask again. It wrote {shortened(self.text)!r}"

    def as_call(self) -> ToolCall:
        """A call that stands for this one in a history, where every result answers a call."""
        return ToolCall(self.name, {"malformed": self.text})


def find_tool(name: str, tools: Iterable[str]) -> str | None:
    """The declared tool that a name means: itself, or the only one that it is with a server's name before it."""
    declared = list(tools)
    if name in declared:
        return name
    found = [tool for tool in declared if name.endswith(tool) and _PREFIX_END.search(name[: -len(tool)])]
    return found[0] if len(found) == 1 else None


class CallReader:
    """Collects what stands between two marks as it streams in; `finish` gives whole calls or raises."""

    def __init__(self, tools: Sequence[Tool] = ()) -> None:
        """`tools` are the declared ones: they tell prefixes from names and strings from words."""
        self._tools = {tool.name: tool for tool in tools}
        self._segments: list[Lexeme] = []
        self._text = ""
        self._problem: str | None = None
        self.in_string = self.has_quotes = False

    @property
    def written(self) -> str:
        """All that was collected, control tokens that quote written out."""
        texts = [f"{QUOTE}{part.text}{QUOTE}" if isinstance(part, Quoted) else part for part in self._segments]
        return "".join(texts) + QUOTE * self.in_string + self._text

    def text(self, text: str) -> None:
        """More text, inside or outside quotes."""
        self._text += text

    def quote(self) -> None:
        """The control token that opens and closes strings."""
        self._segments.append(Quoted(self._text) if self.in_string else self._text)
        self._text, self.in_string, self.has_quotes = "", not self.in_string, True

    def spoil(self, problem: str) -> None:
        """Notes what makes this no call, whatever else comes."""
        self._problem = self._problem or problem

    def finish(self, *, closed: bool = True) -> list[ToolCall]:
        """The calls, one or more. If the end mark is missing (not `closed`), their last brace must be there.

        Raises GemmaError if it is no call, or could be read in two ways.
        """
        if self._problem is not None:
            raise GemmaError(self._problem)
        if not self.in_string:
            return self._read([*self._segments, self._text], closed)
        try:
            return self._read_without_last_quote(closed)
        except GemmaError:
            if (calls := self._read_with_another_quote() if closed else None) is None:
                raise
            return calls

    def _read(self, segments: Sequence[Lexeme], closed: bool) -> list[ToolCall]:
        problem, undeclared = GemmaError("it is empty"), None
        for dialect in (PLAIN, LOOSE):
            try:
                calls = _Parser(dialect.split(segments), dialect, self._tools, closed).calls()
            except GemmaError as error:
                problem = error
                continue
            if not self._tools or all(call.name in self._tools for call in calls):
                return calls
            undeclared = undeclared or calls
        if undeclared is None:
            raise problem
        return undeclared

    def _read_without_last_quote(self, closed: bool) -> list[ToolCall]:
        """A quoting token too many before the closing brackets is none: a string can't begin behind a value."""
        if self._text.strip("}]) \n"):
            raise GemmaError(f"it ends inside a string, after {self._text[-40:]!r}")
        return self._read([*self._segments, self._text], closed)

    def _read_with_another_quote(self) -> list[ToolCall] | None:
        """What it says with the quoting token put back that is missing, if one place alone makes it a call.

        Of several such places, one may be the only one that gives the tools what they take.
        """
        texts = [part.text if isinstance(part, Quoted) else part for part in self._segments]
        found: list[list[ToolCall]] = []
        for segments in with_quote_back([*texts, self._text]):
            with suppress(GemmaError):
                calls = self._read(segments, closed=True)
                found += [calls] if calls not in found else []
        fitting = [calls for calls in found if all(map(self._fits, calls))]
        alone = found if len(found) == 1 else fitting
        return alone[0] if len(alone) == 1 else None

    def _fits(self, call: ToolCall) -> bool:
        """Whether the call is a declared tool's, which takes these arguments and declares all of them."""
        tool = self._tools.get(call.name)
        if tool is None or set(call.arguments) - set(tool.parameters.get("properties", ())):
            return False
        try:
            tool.check(call.arguments)
        except GemmaError:
            return False
        return True

    def malformed(self, problem: str) -> MalformedCall:
        """What was collected as no call, with the tool that its head names."""
        head = re.split(r"[{(\s]", self.written.strip().removeprefix("call:").lstrip(": "), maxsplit=1)[0]
        found = find_tool(head, self._tools)
        return MalformedCall(self.written, problem, found) if found else MalformedCall(self.written, problem)


@dataclass(slots=True)
class _Parser:
    """Reads lexemes by recursive descent. White space around bare ones means nothing."""

    lexemes: Sequence[Lexeme]
    dialect: Dialect
    tools: Mapping[str, Tool]
    closed: bool
    at: int = 0
    depth: int = 0
    siblings: Expected = field(default_factory=Expected)
    in_object: bool = False
    bare_word: bool = False
    had_words: bool = False

    def calls(self) -> list[ToolCall]:
        """All calls, nothing else."""
        calls: list[ToolCall] = []
        while not calls or self._peek() is not None:
            calls += self._block()
            while self._peek() in (",", ";") or self._closes_nothing():
                self._next()
        return calls

    def _closes_nothing(self) -> bool:
        """Whether a bracket or tag too many comes next. After words without quotes the bracket may be one of theirs."""
        lexeme = self._peek()
        if not isinstance(lexeme, str):
            return False
        is_tag = _TAG_END.fullmatch(lexeme) and (_TAG in lexeme or not self.had_words)
        return bool(is_tag) or (lexeme in _CLOSER.values() and not self.had_words)

    def _block(self) -> list[ToolCall]:
        if self._peek() == "[":
            return self._json_calls(self._value(Expected()))
        head = self._bare_until(*self.dialect.openers)
        if (exact := head.strip().removeprefix("call:")) in self.tools:
            return [self._call(exact)]
        match = _HEAD.fullmatch(head)
        written = re.sub(r"(?<=:)\s+", "", match[2]) if match else ""
        if self._peek() == "{" and (not written or (written.rstrip(">") == _TAG and _TAG not in self.tools)):
            return self._wrapped(written)
        plain = head.strip().startswith("call:") or _PLAIN_NAME.fullmatch(written) or written in self.tools
        if not written or not plain:
            self._fail("'call:NAME'", head)
        glued = written.removeprefix("call")  # the colon is missing
        found = find_tool(written, self.tools) or (glued if glued in self.tools else None)
        return [self._call(found or written)]

    def _wrapped(self, wrapper: str) -> list[ToolCall]:
        """Calls in braces: JSON, or behind a word for calls in this syntax again."""
        at = self.at
        try:
            return self._json_calls(self._value(Expected()))
        except GemmaError:
            if not wrapper:
                raise
        self.at, self.depth = at, 0
        self._next()
        return self._block()  # the brace that ends the wrapper closes nothing then

    def _call(self, name: str) -> ToolCall:
        expected = Expected.of(self.tools[name].parameters) if name in self.tools else Expected()
        opener = self._peek()
        if opener in ("(", "{") and self._inside() == "{":  # a dict in place of keywords, or in a second pair of braces
            self._next()
            arguments = self._object(expected)
            self._expect(_CLOSER[str(opener)])
            return ToolCall(name, arguments)
        return ToolCall(name, self._object(expected))

    def _inside(self) -> Lexeme | None:
        at = self.at
        self._next()
        found, self.at = self._peek(), at
        return found

    def _json_calls(self, value: Any) -> list[ToolCall]:
        """Calls that are JSON: `{"name": ..., "arguments": {...}}`, also inside "function", or a list of these."""
        entries = value.get("tool_calls", [value.get(_TAG, value)]) if isinstance(value, dict) else value
        if not isinstance(entries, list) or not entries:
            self._fail("'call:NAME'", str(value))
        return [self._json_call(entry) for entry in entries]

    def _json_call(self, entry: Any) -> ToolCall:
        if isinstance(entry, dict) and isinstance(entry.get("function"), dict):
            entry = entry["function"]
        if not isinstance(entry, dict) or set(entry) - _CALL_KEYS or not set(entry) & set(_NAME_KEYS):
            self._fail("'call:NAME'", "{")
        names = [entry[key] for key in _NAME_KEYS if key in entry]
        given = [entry[key] for key in _ARGUMENT_KEYS if key in entry] or [{}]
        if len(names) != 1 or len(given) != 1 or not isinstance(names[0], str):
            self._fail("one name and one object of arguments", str(entry))
        arguments = _json_object(given[0]) if isinstance(given[0], str) else given[0]
        if arguments is not None and not isinstance(arguments, dict):
            self._fail("an object of arguments", str(given[0]))
        return ToolCall(find_tool(names[0], self.tools) or names[0], arguments or {})

    def _value(self, expected: Expected) -> Any:
        lexeme = self._peek()
        if isinstance(lexeme, Quoted):
            self._next()
            return _spelled(lexeme.text, expected)
        if lexeme not in ("{", "["):
            return self._scalar(expected)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise GemmaError(f"it is nested more than {MAX_DEPTH} deep")
        value = self._object(expected) if lexeme == "{" else self._list(expected.item())
        self.depth -= 1
        return value

    def _list(self, expected: Expected) -> list[Any]:
        items: list[Any] = []

        def read_item() -> None:
            self.in_object, self.siblings = False, Expected()
            items.append(self._value(expected))

        self._bracketed(read_item)
        self.bare_word = False
        return items

    def _object(self, expected: Expected) -> dict[str, Any]:
        pairs: dict[str, Any] = {}

        def read_pair() -> None:
            after_word, self.bare_word = self.bare_word, False
            key = self._key(expected)
            if key in pairs:
                raise GemmaError(f"it gives {key!r} twice")
            if after_word and not expected.declares(key):
                raise GemmaError(f"{key[:40]!r} may be a key or part of the text before it, which has no quotes")
            self._expect(*self.dialect.colons)
            self.in_object, self.siblings = True, expected
            pairs[key] = self._value(expected.property(key))

        self.bare_word = False
        self._bracketed(read_pair)
        self.bare_word = False
        return pairs

    def _bracketed(self, read_part: Callable[[], None]) -> None:
        """Parts between brackets, with commas. The last comma may be one too many, the last bracket missing."""
        opener = self._peek()
        closer = _CLOSER[str(opener)]
        self._next()
        while (lexeme := self._peek()) != closer:
            read_part()
            lexeme = self._peek()
            if lexeme is None and self.closed:
                return
            if lexeme != closer:
                self._expect(",")
        self._next()

    def _key(self, expected: Expected) -> str:
        lexeme = self._peek()
        if isinstance(lexeme, Quoted):
            self._next()
            return lexeme.text
        key = self._bare_until(*self.dialect.colons, never=("{", "}", ",")).strip()
        if not key:
            self._fail("a key", self._peek())
        quoted = key[0] in QUOTE_MARKS and key[-1] in QUOTE_MARKS and len(key) > 1
        holds_value = not expected.declares(key) and expected.declares(key.partition("=")[0].strip())
        if quoted or holds_value:
            self._fail("a key", key)
        return key

    def _scalar(self, expected: Expected) -> Any:
        """A number, true, false, null, or a string without quotes if the schema says string."""
        lexeme = self._peek()
        if not isinstance(lexeme, str) or lexeme in _ENDS:
            self._fail("a value", lexeme)
        if not expected.says("string"):
            self._next()
            return self._literal(lexeme)
        text = self._words()
        read = () if expected.lists(text) else _literals(text)
        self.bare_word = not read
        self.had_words = self.had_words or self.bare_word
        return next((value for value in read if value is None or expected.says(*kinds_of(value))), text)

    def _literal(self, lexeme: str) -> Any:
        read = _literals(lexeme)
        if not read and not _NUMBER.fullmatch(lexeme):
            self._fail("a value", lexeme)
        if not read:
            self._fail("a finite number" if "e" in lexeme.lower() else "a number", lexeme)
        return read[0]

    def _words(self) -> str:
        """Text without quotes up to the end of its value. Raises GemmaError if the end could be elsewhere."""
        text = self._run()
        while self._raw() == "," and self._goes_on():
            self._next()
            text += f",{self._run()}"
        in_quotes = text.strip()[:1] in QUOTE_MARKS
        if in_quotes or not has_closed_quotes(text) or QUOTE in text or self._holds_key(text):
            self._fail("a value", text.strip())
        return text.strip(" \t") if "\n" in text.strip() else text.strip()  # paragraphs keep the lines around them

    def _holds_key(self, text: str) -> bool:
        keys = "|".join(re.escape(key) for key in self.siblings.properties())
        return bool(keys) and re.search(rf"(?<!\w)(?:{keys})\s*[:=]", text) is not None

    def _run(self) -> str:
        """Bare lexemes up to a comma or a closing bracket that was not opened among them."""
        text = ""
        while isinstance(lexeme := self._raw(), str) and lexeme not in ("{", "[", ",", "}", "]"):
            if lexeme == ")" and text.count("(") <= text.count(")"):
                break
            text += lexeme
            self.at += 1
        if lexeme is not None and lexeme not in _ENDS:
            self._fail("a value", lexeme)
        return text

    def _goes_on(self) -> bool:
        """Whether what follows this comma can only be more of the text before it: it has no key, nor looks like one."""
        at, text = self.at + 1, ""
        while at < len(self.lexemes) and isinstance(lexeme := self.lexemes[at], str) and lexeme not in _SIGNS:
            text, at = text + lexeme, at + 1
        ended = at == len(self.lexemes) or self.lexemes[at] in _ENDS
        is_text = bool(text.strip()) and self.in_object and not self.siblings.declares(text.strip())
        return is_text and (ended or (self.lexemes[at] in (":", "=") and not _KEY.fullmatch(text.strip())))

    def _bare_until(self, *ends: str, never: tuple[str, ...] = ()) -> str:
        """Joins bare lexemes up to one of `ends`: names may hold colons and brackets, keys brackets."""
        joined = ""
        while (lexeme := self._raw()) not in ends:
            if lexeme is None or isinstance(lexeme, Quoted) or lexeme in never:
                self._fail(repr(ends[0]), lexeme)
            joined += lexeme
            self.at += 1
        return joined

    def _expect(self, *wanted: str) -> None:
        found = self._peek()
        if found not in wanted:
            self._fail(repr(wanted[0]), found)
        self._next()

    def _peek(self) -> Lexeme | None:
        """The next lexeme that is more than white space, a bare one without the space around it."""
        while isinstance(lexeme := self._raw(), str) and not lexeme.strip():
            self.at += 1
        return lexeme.strip() if isinstance(lexeme, str) else lexeme

    def _next(self) -> None:
        self.at += 1

    def _raw(self) -> Lexeme | None:
        return self.lexemes[self.at] if self.at < len(self.lexemes) else None

    def _fail(self, wanted: str, found: Lexeme | None) -> NoReturn:
        shown = "its end" if found is None else repr(found[:40]) if isinstance(found, str) else "a string"
        raise GemmaError(f"{wanted} should stand where {shown} is")


def _literals(text: str) -> tuple[Any, ...]:
    """The one value that a bare word is as JSON or Python has it; none for any other word."""
    if text in _LITERALS:
        return (_LITERALS[text],)
    if not _NUMBER.fullmatch(text):
        return ()
    number = re.sub(r"\.(?!\d)", ".0", re.sub(r"^(-?)\.", r"\g<1>0.", text.removeprefix("+")))
    try:
        value = json.loads(number)
    except ValueError:  # 007, or more digits than Python reads
        return ()
    return (value,) if isinstance(value, int) or math.isfinite(value) else ()


def _spelled(text: str, expected: Expected) -> Any:
    """What text in quotes spells, if the schema takes no text here but a value of that kind: "5" for a number."""
    if expected.says("string"):
        return text
    read = _literals(text.strip()) or (_json_object(text),)
    return next((value for value in read if expected.says(*kinds_of(value))), text)


def _json_object(text: str) -> Any:
    """What JSON text says, nothing for no text, the text itself if it is not JSON."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite) if text.strip() else None
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float:
    """Raises ValueError for what JSON has not: NaN and infinity."""
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number
