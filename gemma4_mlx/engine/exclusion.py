"""What a JSON schema leaves out: which values satisfy no part of it, and whether two schemas share a value.

Its own file because three keywords need it (`not`, `if`, `oneOf`) and the compiler has none of it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gemma4_mlx.engine.schema_part import Part
from gemma4_mlx.prompt.dialects import kinds_of

KINDS = ("null", "boolean", "number", "string", "array", "object")
"""JSON's types, each value of which is of exactly one; an integer is a number."""


def kind_of(value: Any) -> str:
    """The type of a JSON value among KINDS."""
    return kinds_of(value)[-1]


def other_kinds(kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The schema of all values of no such type, in a list; empty if there are none."""
    rest = [kind for kind in KINDS if kind not in kinds]
    return [{"type": rest}] if rest else []


def other_values(values: Sequence[Any]) -> list[dict[str, Any]] | None:
    """Schemas that together hold every value but these; None for arrays and objects."""
    kinds = {kind_of(value) for value in values}
    if kinds & {"array", "object"}:
        return None
    others = other_kinds(sorted(kinds))
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if kind_of(value) == "number"]
    truths = [value for value in values if isinstance(value, bool)]
    if texts:
        others.append({"type": "string", "allOf": [{"pattern": _other_than(text)} for text in texts]})
    if numbers:
        sides = [{"anyOf": [{"exclusiveMaximum": each}, {"exclusiveMinimum": each}]} for each in numbers]
        others.append({"type": "number", "allOf": sides})
    return others + [{"const": truth} for truth in (True, False) if truths and truth not in truths]


def _other_than(text: str) -> str:
    """A pattern of every text but this: one that ends early, goes on, or departs from it somewhere."""
    departing = [f"{re.escape(text[:place])}(?:[^{_in_class(letter)}][\\s\\S]*)?" for place, letter in enumerate(text)]
    longer = f"{re.escape(text)}[\\s\\S]+"
    return f"^(?:{'|'.join([*departing, longer])})$"


def _in_class(letter: str) -> str:
    return f"\\{letter}" if letter in "\\]^-[&~" else letter


def opposite_bound(word: str, limit: Any) -> list[dict[str, Any]]:
    """The schema of what lies on the other side of a bound, in a list; empty if nothing does."""
    numeric = {"minimum": "exclusiveMaximum", "maximum": "exclusiveMinimum"}
    numeric |= {other: bound for bound, other in numeric.items()}
    if word in numeric:
        return [{"type": "number", numeric[word]: limit}]
    kind = {"Length": "string", "Items": "array"}[word[3:]]
    if word.startswith("min"):
        return [{"type": kind, f"max{word[3:]}": limit - 1}] if limit else []
    return [{"type": kind, f"min{word[3:]}": limit + 1}]


@dataclass(slots=True)
class _Shape:
    """What surely holds of every value of a schema; None for what is not known."""

    kinds: set[str] | None = None
    values: list[Any] | None = None
    required: set[str] = field(default_factory=set)
    properties: dict[str, Part] = field(default_factory=dict)
    closed: bool = False

    def take_in(self, other: "_Shape") -> None:
        """Add what holds as well."""
        self.kinds = other.kinds if self.kinds is None else self.kinds & (other.kinds or self.kinds)
        self.values = other.values if self.values is None else self.values
        self.required |= other.required
        self.properties = {**other.properties, **self.properties}


class Shapes:
    """The shapes of a schema's parts, each found once, so that references in a circle or a tree cost no more."""

    def __init__(self) -> None:
        self._found: dict[int, _Shape] = {}
        self._kept: list[Part] = []  # as long as a part lives, no other has its identity
        self._apart: dict[tuple[int, int], bool] = {}

    def of(self, part: Part) -> _Shape:
        """The shape of one part."""
        if id(part.schema) not in self._found:
            self._kept.append(part)
            self._found[id(part.schema)] = shape = _own_shape(part)
            for also in parts_in_place(part):
                shape.take_in(self.of(also))
        return self._found[id(part.schema)]

    def apart(self, one: Part, other: Part) -> bool:
        """Whether two schemas surely have no value in common."""
        pair = (id(one.schema), id(other.schema))
        if pair not in self._apart:
            self._apart[pair] = False
            self._apart[pair] = self._disjoint(self.of(one), self.of(other))
        return self._apart[pair]

    def _disjoint(self, one: _Shape, other: _Shape) -> bool:
        if one.values is not None and other.values is not None:
            return not {spelled(value) for value in one.values} & {spelled(value) for value in other.values}
        kinds = _kinds(one), _kinds(other)
        if kinds[0] is not None and kinds[1] is not None and not kinds[0] & kinds[1]:
            return True
        if kinds != ({"object"}, {"object"}):
            return False
        return any(self._parts(name, one, other) for name in one.required | other.required)

    def _parts(self, name: str, one: _Shape, other: _Shape) -> bool:
        """Whether a property that one of two objects must have can't be the same in both."""
        if any(shape.closed and name not in shape.properties for shape in (one, other)):
            return True
        return (
            name in one.properties
            and name in other.properties
            and self.apart(one.properties[name], other.properties[name])
        )


def _own_shape(part: Part) -> _Shape:
    words = part.words
    types = words.get("type")
    types = types if isinstance(types, list) else [types]
    return _Shape(
        kinds=set(types) | ({"integer"} if "number" in types else set()) if "type" in words else None,
        values=[words["const"]] if "const" in words else words.get("enum"),
        required=set(words.get("required", ())),
        properties={name: part.inside(schema) for name, schema in words.get("properties", {}).items()},
        closed=words.get("additionalProperties") is False and "patternProperties" not in words,
    )


def parts_in_place(part: Part) -> Iterator[Part]:
    """The schemas that every value of a schema satisfies as well."""
    words = part.words
    if "$ref" in words:
        yield part.target(words["$ref"])
    for schema in words.get("allOf", ()):
        yield part.inside(schema)


def _kinds(shape: _Shape) -> set[str] | None:
    if shape.values is None:
        return shape.kinds
    kinds = {kind_of(value) for value in shape.values}
    return kinds | ({"integer"} if "number" in kinds else set())


def spelled(value: Any) -> str:
    """One text for all that JSON holds to be equal: 1 is 1.0 and not true, and properties have no order."""
    return json.dumps(canonical(value), sort_keys=True)


def canonical(value: Any) -> Any:
    """The value with a whole number for every float that is one."""
    if isinstance(value, Mapping):
        return {key: canonical(value[key]) for key in value}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value
