"""JSON schemas of older drafts and of other people's habits -> the same in the words of 2020-12.

Its own file because tools and answers both come with schemas of every dialect. What only means something in one way is
read in that way; everything else is left as it is, for the validator to refuse.
"""

from collections.abc import Callable, Mapping
from typing import Any

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
CONTAINED = ("minContains", "maxContains")

IN_MAPPINGS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
IN_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
ALONE = ("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
"""The keywords that hold schemas, by how they hold them."""


def modern(schema: Any) -> Any:
    """A schema in 2020-12's words, down to its last part. Raises RecursionError for one without an end."""
    return schema if not isinstance(schema, Mapping) else map_parts(modern_keywords(schema), modern)


def modern_keywords(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of one schema in 2020-12's words; the schemas inside it stay as they are."""
    words = dict(schema)
    for word in (*COUNTS, *CONTAINED):
        if isinstance(words.get(word), float) and words[word].is_integer():
            words[word] = int(words[word])
    if "type" in words:
        words["type"] = _types(words["type"])
    _take_in_bounds(words)
    _take_in_tuples(words)
    _take_in_dependencies(words)
    return words


def map_parts(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The schema with every schema directly inside it changed."""
    words = dict(schema)
    for word, value in schema.items():
        if word in IN_MAPPINGS and isinstance(value, Mapping):
            words[word] = {name: change(part) for name, part in value.items()}
        elif word in IN_LISTS and isinstance(value, list):
            words[word] = [change(part) for part in value]
        elif word in (*ALONE, *UNEVALUATED):
            words[word] = change(value)
    return words


def _types(types: Any) -> Any:
    """Types in small letters: Google's own declarations write STRING."""
    if isinstance(types, list):
        return [_types(name) for name in types]
    return types.lower() if isinstance(types, str) and types.lower() in TYPES else types


def _take_in_bounds(words: dict[str, Any]) -> None:
    """Turn draft 4's `"exclusiveMinimum": true`, which speaks of `minimum`, into the bound itself."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if words.get(exclusive) is False:
            del words[exclusive]
        elif words.get(exclusive) is True and bound in words:
            words[exclusive] = words.pop(bound)


def _take_in_tuples(words: dict[str, Any]) -> None:
    """Turn a list of `items`, with `additionalItems` for the rest, into `prefixItems` and `items`."""
    rest = words.pop("additionalItems", None)
    if isinstance(words.get("items"), list) and "prefixItems" not in words:
        place = {"prefixItems": words.pop("items")}
        words.update(place if rest is None else {**place, "items": rest})
        if not words["prefixItems"]:
            del words["prefixItems"]


def _take_in_dependencies(words: dict[str, Any]) -> None:
    """Split draft 7's `dependencies` into those on names and those on schemas."""
    given = words.get("dependencies")
    if not isinstance(given, Mapping):
        return
    del words["dependencies"]
    for word, chosen in (
        ("dependentRequired", {key: value for key, value in given.items() if isinstance(value, list)}),
        ("dependentSchemas", {key: value for key, value in given.items() if not isinstance(value, list)}),
    ):
        if chosen:
            words[word] = {**chosen, **words.get(word, {})}
