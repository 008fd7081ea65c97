"""Declared tools -> the grammar of their calls, in llguidance's dialect of Lark.

    <|tool_call>call:NAME{key:<|"|>text<|"|>,n:3,l:[1,2],d:{key:true}}<tool_call|>

Each object may have its keys in any order, each once, all that are required. What a grammar can't say (patterns,
formats, multiples, conditions, ...) is left open, and a schema that is too large or too strange is left open as a
whole: whoever runs the tool checks the arguments anyway. So no tool is refused, and the time to build is bounded.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gemma4_mlx.engine.number_patterns import ANY_NUMBER, decimal_pattern, integer_pattern
from gemma4_mlx.engine.schema_variants import Schema, TooManyPartsError, Variants, types_of
from gemma4_mlx.prompt.dialects import kinds_of, modern
from gemma4_mlx.prompt.tools import Tool

MAX_PARTS = 10_000
"""Parts of one tool's schema, each counted as often as a reference puts it in place."""
MAX_PARTS_IN_ALL = 100_000
"""Parts of all tools' schemas, seconds of work; tools after them are left open."""
MAX_DEPTH = 32
"""Objects and lists inside each other: where a schema refers to itself, it ends there."""
FREE_DEPTH = 6
"""Objects and lists inside each other where a schema allows any value."""
MAX_TRACKED = 63
"""Keys of an object that may come in any order: bits of a rule's parameter, of which the last tells of any key."""
MAX_KEYS = 500
"""Keys of an object that are told apart."""
MAX_ITEMS = 64
"""Items of a list that are counted."""
MAX_FIRST_ITEMS = 16
"""Items of a list that have schemas of their own."""
MAX_LENGTH = 1000
"""Characters of a string that are counted."""

_KEY_CHARACTER = r"[^{}\[\]:,\x00-\x1f\s]"
_FREE_KEY = rf"/{_KEY_CHARACTER}(({_KEY_CHARACTER}| ){{0,62}}{_KEY_CHARACTER})?/"
_FREE_QUOTED_KEY = "/(?s:.){1,200}/"
_TEXT = "/(?s:.+)/"

_STRANGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of schemas of another dialect, or of none."""


@dataclass(frozen=True, slots=True)
class CallMarks:
    """Ids of the control tokens that begin and end a call, and that open and close a string."""

    start: int
    end: int
    quote: int


def call_grammar(tools: Sequence[Tool], marks: CallMarks) -> str:
    """The grammar of one or more calls in a row, each from its first mark to its last; written once."""
    return _written(tuple((tool.name, _as_json(tool.parameters)) for tool in tools), marks)


@lru_cache(maxsize=4)
def _written(tools: tuple[tuple[str, str], ...], marks: CallMarks) -> str:
    rules, left, calls = _Rules(f"<[{marks.quote}]>"), MAX_PARTS_IN_ALL, []
    for name, parameters in tools:
        variants = Variants(json.loads(parameters), min(MAX_PARTS, left))
        left -= variants.left
        calls.append(f"{_literal('call:' + name)} {_arguments(variants, rules)}")
        left += max(0, variants.left)
    start = f"start: (<[{marks.start}]> ({' | '.join(calls)}) <[{marks.end}]>)+"
    return "\n".join([start, *rules.lines])


def _as_json(parameters: Schema) -> str:
    """A schema in 2020-12's words as JSON; "{}", which says nothing, if it is none."""
    try:
        return json.dumps(modern(parameters))
    except (*_STRANGE, RecursionError):
        return "{}"


def _arguments(variants: Variants, rules: "_Rules") -> str:
    """The rule of a tool's arguments. It may be any object if the schema can't be built."""
    with suppress(TooManyPartsError, RecursionError, *_STRANGE):
        if rule := _Writer(rules, variants).value(variants.root):
            return rule
    return rules.any_object()


@dataclass(slots=True)
class _Rules:
    """Named rules and terminals; the same text is the same rule."""

    quote: str
    lines: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    free: dict[int, str] = field(default_factory=dict)

    def name(self, text: str, kind: str = "r", parameter: str = "") -> str:
        """The name of a rule with this text, in which `_SELF` is that name; of a terminal if `kind` is upper case."""
        key = f"{kind}{parameter}: {text}"
        if key not in self.names:
            name = self.names[key] = f"{kind}{len(self.names)}"
            self.lines.append(f"{name}{parameter}: {text.replace(_SELF, name)}")
        return self.names[key]

    def choice(self, options: Iterable[str]) -> str | None:
        """Any of several rules; None if there is none."""
        options = list(dict.fromkeys(options))
        if len(options) == 1 and options[0].isalnum():
            return options[0]
        return self.name(" | ".join(options)) if options else None

    def string(self, pattern: str, *, empty: bool = False) -> str:
        """A string of a terminal's pattern, or also the empty one."""
        full = f"{self.quote} {self.name(pattern, 'T')} {self.quote}"
        return self.name(f"{self.quote} {self.quote} | {full}" if empty else full)

    def number(self, pattern: str) -> str:
        """A number of a pattern."""
        return self.name(self.name(f"/{pattern}/", "T"))

    def key(self, name: str) -> str:
        """A key and its colon, in quotes if it could not be read back without."""
        if name and name == name.strip() and not set(name) & set("{}:,"):
            return _literal(name + ":")
        return f"{self.quote} {_literal(name) if name else ''} {self.quote} {_literal(':')}"

    def free_key(self, known: Iterable[str] = ()) -> str:
        """Any key but these, and its colon."""
        other = "".join(f" & ~{_literal(name)}" for name in known if name)
        quoted = f"{self.quote} {self.name(_FREE_QUOTED_KEY + other, 'T')} {self.quote}"
        return f"({self.name(_FREE_KEY + other, 'T')} | {quoted}) {_literal(':')}"

    def any_value(self, levels: int = FREE_DEPTH) -> str:
        """Any value, with so many objects and lists inside each other."""
        if levels not in self.free:
            scalars = [self.string(_TEXT, empty=True), self.number(ANY_NUMBER), '"true" | "false" | "null"']
            nested = [self.any_object(levels), self.any_list(levels)] if levels else []
            self.free[levels] = self.name(" | ".join([*scalars, *nested]))
        return self.free[levels]

    def any_object(self, levels: int = FREE_DEPTH) -> str:
        """Any object, which counts as one of the levels."""
        pair = f"{self.free_key()} {self.any_value(levels - 1)}"
        return self.name(f'"{{" ({pair} ("," {pair})*)? "}}"')

    def any_list(self, levels: int = FREE_DEPTH) -> str:
        """Any list, which counts as one of the levels."""
        item = self.any_value(levels - 1)
        return self.name(f'"[" ({item} ("," {item})*)? "]"')

    def comma(self) -> str:
        """The comma before all but the first of what a parametric rule counts."""
        return self.name('"" %if is_zeros(_) | "," %if not(is_zeros(_))', "s", "::_") + "::_"

    def in_any_order(
        self, entries: Sequence["_Entry"], end: str, *, extra: str = "", least: int = 0, most: int = MAX_TRACKED
    ) -> str | None:
        """Entries, each at most once, and any number of extra ones, up to the end mark; None if that can't be.

        With extra entries `least` counts to 1, and `most` not at all. Entries over MAX_TRACKED, those that aren't
        needed first, are extra ones.
        """
        entries = sorted(entries, key=lambda entry: not entry.needed)
        if len(entries) > MAX_TRACKED:
            more = [entry.text for entry in entries[MAX_TRACKED:]]
            entries, extra = entries[:MAX_TRACKED], f"({' | '.join([*more, *([extra] if extra else [])])})"
        needed = sum(entry.needed for entry in entries)
        if not extra and (least > len(entries) or most < needed):
            return None
        conditions = [f"is_ones([0:{needed}])"] * (needed > 0)
        if least > needed:
            conditions.append("not(is_zeros(_))" if extra else f"bit_count_ge([0:{MAX_TRACKED}], {least})")
        options = [f"{_literal(end)}{_condition(conditions or [_ALWAYS])}"]
        limit = [f"bit_count_lt([0:{MAX_TRACKED}], {most})"] * (not extra and most < len(entries))
        for bit, entry in enumerate(entries):
            condition = _condition([f"bit_clear({bit})", *limit])
            options.append(f"{self.comma()} {entry.text} {_SELF}::set_bit({bit}){condition}")
        options += [f"{self.comma()} {extra} {_SELF}::set_bit({MAX_TRACKED})"] * bool(extra)
        return self.name(" | ".join(options), "o", "::_") + "::0x0"


_SELF = "\0"
_ALWAYS = "ge(_, 0)"
"""A condition that holds; llguidance refuses parametric rules that don't look at their parameter."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Something that an object or a list may or must have."""

    text: str
    needed: bool = False


@dataclass(slots=True)
class _Writer:
    """Writes the rules of one tool's schema."""

    rules: _Rules
    variants: Variants
    known: dict[tuple[int, int], tuple[Any, str | None]] = field(default_factory=dict)

    def value(self, schema: Any, depth: int = 0) -> str | None:
        """The rule of a value at a depth; None if no value can validate."""
        key = (id(schema), depth)
        if key not in self.known:
            options = [option for flat in self.variants.of(schema) for option in self._options(flat, depth)]
            self.known[key] = schema, self.rules.choice(option for option in options if option)  # keeps the id taken
        return self.known[key][1]

    def _options(self, schema: Schema, depth: int) -> list[str | None]:
        """The rules of a flat schema's types."""
        if "enum" in schema:
            return self._enum(_spelled(schema))
        types = types_of(schema)
        return [self._typed(type, schema, depth) for type in types] if types else [self.rules.any_value()]

    def _typed(self, type: str, schema: Schema, depth: int) -> str | None:
        if type == "object":
            return self._object(schema, depth) if depth < MAX_DEPTH else None
        if type == "array":
            return self._list(schema, depth) if depth < MAX_DEPTH else None
        if type == "string":
            return self._string(schema)
        if type in ("integer", "number"):
            pattern = _integer(schema) if type == "integer" else _number(schema)
            return pattern and self.rules.number(pattern)
        words = {"boolean": '"true" | "false"', "null": '"null"'}
        return words.get(type) or self.rules.any_value()

    def _enum(self, values: Sequence[Any]) -> list[str | None]:
        """Spelled values: those that are words or numbers are one terminal, and so are texts."""
        nested = [self._written(value) for value in values if isinstance(value, (list, Mapping)) or value == ""]
        words = [self._written(value) for value in values if not isinstance(value, (str, list, Mapping))]
        texts = [_literal(value) for value in values if isinstance(value, str) and value]
        bare = [self.rules.name(" | ".join(words), "T")] if words else []
        return [*nested, *bare, *([self.rules.string(" | ".join(texts))] if texts else [])]

    def _written(self, value: Any) -> str:
        """A value as it stands in a call."""
        if isinstance(value, str):
            return f"{self.rules.quote} {_literal(value) if value else ''} {self.rules.quote}"
        if isinstance(value, list):
            return f'"[" {_COMMA.join(map(self._written, value))} "]"'
        if isinstance(value, Mapping):
            pairs = (f"{self.rules.key(key)} {self._written(value[key])}" for key in sorted(value))
            return f'"{{" {_COMMA.join(pairs)} "}}"'
        return _literal(json.dumps(value, allow_nan=False))

    def _string(self, schema: Schema) -> str | None:
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", MAX_LENGTH + 1))
        if least > most:
            return None
        if most == 0:
            return f"{self.rules.quote} {self.rules.quote}"
        counted = least > 1 or most <= MAX_LENGTH
        if not counted or least > MAX_LENGTH:
            return self.rules.string(_TEXT, empty=least == 0)
        upper = most if most <= MAX_LENGTH else ""
        return self.rules.string(f"/(?s:.){{{max(least, 1)},{upper}}}/", empty=least == 0)

    def _list(self, schema: Schema, depth: int) -> str | None:
        first, rest = schema.get("prefixItems", []), schema.get("items", True)
        least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", MAX_ITEMS + 1))
        if len(first) > MAX_FIRST_ITEMS:
            return self.rules.any_list()
        if schema.get("uniqueItems") and not first and (different := self._different(rest, least, most)):
            return different
        item = self.value(rest, depth + 1)
        rules = [self.value(each, depth + 1) for each in first] or [item]
        items = [rule for rule in itertools.takewhile(bool, rules) if rule]
        if len(items) < len(rules) or item is None:
            most = min(most, len(items))
        return None if least > most else self._items(items, item, min(least, MAX_ITEMS), most)

    def _items(self, first: Sequence[str], item: str | None, least: int, most: int) -> str:
        """A list whose first items have their own rules."""
        count = len(first)
        upper = max(0, most - count) if most <= MAX_ITEMS else ""
        tail = f'("," {item}){{{max(0, least - count)},{upper}}}' if item and upper != 0 else ""
        for index in range(min(count, most) - 1, -1, -1):
            tail = f"{_COMMA if index else ''} {first[index]} {tail if index + 1 < most else ''}"
            tail = tail if index < least else f"({tail})?"
        return self.rules.name(f'"[" {tail} "]"')

    def _different(self, schema: Any, least: int, most: int) -> str | None:
        """A list of a few spelled values, each at most once; None if they aren't spelled, few or enough."""
        flat = self.variants.of(schema)
        if not all("enum" in each for each in flat):
            return None
        options = {self._written(value) for each in flat for value in _spelled(each)}
        if len(options) > MAX_TRACKED:
            return None
        unique = self.rules.in_any_order([_Entry(option) for option in sorted(options)], "]", least=least, most=most)
        return unique and self.rules.name(f'"[" {unique}')

    def _object(self, schema: Schema, depth: int) -> str | None:
        required, properties = set(schema.get("required", [])), schema.get("properties", {})
        if len(properties) > MAX_KEYS:
            return self.rules.any_object()
        extra = self._extra(schema, depth)
        values = {key: self.value(each, depth + 1) for key, each in properties.items()}
        names = self.variants.of(schema.get("propertyNames", True))
        spelled = [name for each in names for name in each.get("enum", [])]
        undeclared = extra or (self.rules.any_value() if schema.get("additionalProperties") is not False else None)
        values = {**dict.fromkeys(spelled, extra), **dict.fromkeys(sorted(required), undeclared), **values}
        if any(values[key] is None for key in required):
            return None
        entries = [_Entry(f"{self.rules.key(key)} {rule}", key in required) for key, rule in values.items() if rule]
        more = f"{self.rules.free_key(values)} {extra}" if extra and not spelled else ""
        least, most = int(schema.get("minProperties", 0)), int(schema.get("maxProperties", MAX_TRACKED))
        pairs = self.rules.in_any_order(entries, "}", extra=more, least=least, most=most)
        return pairs and self.rules.name(f'"{{" {pairs}')

    def _extra(self, schema: Schema, depth: int) -> str | None:
        """The rule of values whose keys a schema does not name; None if there may be none.

        Where keys are named, others are only taken if the schema says so: models write what they are told of.
        """
        patterns = list(schema.get("patternProperties", {}).values())
        rest = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
        if rest is True and "additionalProperties" not in schema and (patterns or "properties" in schema):
            rest = False
        rules = [self.value(each, depth + 1) for each in [*patterns, rest]]
        return self.rules.choice(rule for rule in rules if rule)


_COMMA = ' "," '


def _spelled(schema: Schema) -> list[Any]:
    """The values of an enum that are of the schema's types."""
    types = types_of(schema)
    return [value for value in schema["enum"] if not types or any(kind in types for kind in kinds_of(value))]


def _integer(schema: Schema) -> str | None:
    least = [math.ceil(bound) for bound in _bounds(schema, "minimum")]
    least += [math.floor(bound) + 1 for bound in _bounds(schema, "exclusiveMinimum")]
    most = [math.floor(bound) for bound in _bounds(schema, "maximum")]
    most += [math.ceil(bound) - 1 for bound in _bounds(schema, "exclusiveMaximum")]
    return integer_pattern(max(least, default=None), min(most, default=None))


def _number(schema: Schema) -> str | None:
    least, above = _bounds(schema, "minimum"), _bounds(schema, "exclusiveMinimum")
    most, below = _bounds(schema, "maximum"), _bounds(schema, "exclusiveMaximum")
    low, high = max([*least, *above], default=None), min([*most, *below], default=None)
    return decimal_pattern(low, high, above=low in above, below=high in below)


def _bounds(schema: Schema, key: str) -> list[float]:
    """The bound of a keyword, if it is a number."""
    bound = schema.get(key)
    return [bound] if isinstance(bound, (int, float)) and not isinstance(bound, bool) else []


def _condition(conditions: Sequence[str]) -> str:
    """When an option of a parametric rule holds: one condition or two."""
    return f" %if {conditions[0] if len(conditions) == 1 else f'and({conditions[0]}, {conditions[1]})'}"


def _literal(text: str) -> str:
    """Text as it is. Raises ValueError for halves of characters, which no token spells."""
    text.encode()
    return json.dumps(text, ensure_ascii=False)
