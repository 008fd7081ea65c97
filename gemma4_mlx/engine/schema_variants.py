"""A JSON schema -> flat schemas, without references and combinations, any of which a value may validate against."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from gemma4_mlx.prompt.references import References

MAX_VARIANTS = 256
"""Flat schemas of one schema. A schema with more of them is taken without its combinations."""

Schema = Mapping[str, Any]

_COMBINING = ("$ref", "allOf", "anyOf", "oneOf", "const")


class TooManyPartsError(Exception):
    """A schema has more parts than may be looked at, each counted as often as a reference leads to it."""


@dataclass(slots=True)
class Variants:
    """Flattens the parts of one schema.

    Attributes:
        root: the whole schema.
        left: parts that may still be looked at.
        references: what references inside it lead to.
    """

    root: Schema
    left: int
    references: References = field(init=False)

    def __post_init__(self) -> None:
        self.references = References(self.root)

    def of(self, schema: Any, refs: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
        """The flat schemas, `const` written as `enum`; none if no value can validate.

        Keywords that have no part in this stay as they are. A reference to nothing, out of the schema, or into itself
        without a step down (one of `refs`) says nothing. Raises TooManyPartsError.
        """
        self.left -= 1
        if self.left < 0:
            raise TooManyPartsError
        if not isinstance(schema, Mapping):
            return [] if schema is False else [{}]
        base = {key: value for key, value in schema.items() if key not in _COMBINING}
        if "const" in schema:
            base = _merge_all([base, {"enum": [schema["const"]]}]) or {"enum": []}
        unions = list(self._unions(schema, refs))
        if math.prod(map(len, unions)) > MAX_VARIANTS:
            return [base]
        merged = (_merge_all([*parts, base]) for parts in product(*unions))
        return [flat for flat in merged if flat is not None]

    def _unions(self, schema: Schema, refs: frozenset[str]) -> Iterator[list[dict[str, Any]]]:
        """For each of a schema's combinations the flat schemas of which one must hold."""
        ref = schema.get("$ref")
        if isinstance(ref, str) and ref not in refs:
            yield self.of(self.references.look_up(ref), refs | {ref})
        for part in schema.get("allOf", []):
            yield self.of(part, refs)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                yield [flat for option in schema[keyword] for flat in self.of(option, refs)]


def types_of(schema: Schema) -> list[str]:
    """The types that a flat schema names or implies; none for any."""
    named = schema.get("type", [])
    if isinstance(named, str):
        return [named]
    implied = [name for key, name in (("properties", "object"), ("items", "array")) if key in schema]
    return list(named) or implied[:1]


def _merge_all(parts: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    merged: dict[str, Any] | None = {}
    for part in parts:
        merged = None if merged is None else _merge(merged, part)
    return merged


def _merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """A flat schema that asks for what both do; None if they contradict each other."""
    both = {key: _JOINED[key](one[key], other[key]) for key in _JOINED if key in one and key in other}
    if both.get("enum", True) == [] or ("type" in both and not both["type"]):
        return None
    return {**one, **other, **both}


def _common_types(one: Any, other: Any) -> list[str]:
    ones, others = ([types] if isinstance(types, str) else types for types in (one, other))
    return [type for type in _with_integer(ones) if type in _with_integer(others)]


def _with_integer(types: Iterable[str]) -> list[str]:
    types = list(types)
    return types + ["integer"] * ("number" in types and "integer" not in types)


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _both(one: Any, other: Any) -> dict[str, Any]:
    return {"allOf": [one, other]}


def _properties(one: Schema, other: Schema) -> dict[str, Any]:
    return {**one, **other, **{key: _both(one[key], other[key]) for key in one if key in other}}


_JOINED: dict[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "enum": lambda one, other: [value for value in one if any(_same(value, each) for each in other)],
    "properties": _properties,
    "required": lambda one, other: [*one, *other],
    "items": _both,
    "additionalProperties": _both,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
