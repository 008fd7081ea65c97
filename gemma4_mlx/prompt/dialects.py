"""JSON schemas of older drafts and of other people's habits -> the same in the words of 2020-12.

Its own file because tools and answers both come with schemas of every dialect. What only means something in one way is
read in that way; everything else is left as it is, for the validator to refuse.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
_NAMES_OF_TYPES = {
    "object": ("dict", "dictionary", "map", "hashmap", "hashtable", "record"),
    "array": ("list", "tuple", "set", "arraylist", "vector"),
    "string": ("str", "char"),
    "integer": ("int", "long", "short", "byte", "bigint"),
    "number": ("float", "double", "decimal"),
    "boolean": ("bool",),
    "null": ("none",),
    "any": ("any", ""),
}
OTHER_TYPES = {name: kind for kind, names in _NAMES_OF_TYPES.items() for name in names}
"""Names of programming languages, as declarations written by hand have them."""

ANNOTATIONS = (
    *("title", "description", "example", "examples", "readOnly", "writeOnly", "deprecated", "$comment"),
    *("contentEncoding", "contentMediaType", "contentSchema", "$recursiveAnchor"),
)
"""Keywords that limit nothing whatever they hold."""

COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
CONTAINED = ("minContains", "maxContains")
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

IN_MAPPINGS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
IN_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
ALONE = ("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
"""The keywords that hold schemas, by how they hold them."""

_INTO_TUPLE = re.compile(r"(?<!/properties)/items/(?=[0-9]+(?:/|$))")
"""Where a reference steps into a list of `items`, which becomes `prefixItems`."""

LIMITING = {
    *({*COUNTS, *CONTAINED, *BOUNDS, *IN_MAPPINGS, *IN_LISTS, *ALONE, *UNEVALUATED} - {"$defs", "definitions"}),
    *("type", "enum", "const", "multipleOf", "pattern", "format", "required", "uniqueItems", "dependentRequired"),
    *("$ref", "$dynamicRef", "$recursiveRef"),
}
"""The keywords that say which values are valid."""


def modern(schema: Any) -> Any:
    """A schema in 2020-12's words, down to its last part. Raises RecursionError for one without an end."""
    if not isinstance(schema, Mapping):
        return schema
    words = map_parts(modern_keywords(schema), modern)
    if isinstance(words.get("$ref"), str):
        words["$ref"] = _INTO_TUPLE.sub("/prefixItems/", words["$ref"])
    return words


def meaningful(schema: Any) -> Any:
    """A schema without annotations, which may hold anything, for a validator that is stricter about them."""
    if not isinstance(schema, Mapping):
        return schema
    return map_parts({word: value for word, value in schema.items() if word not in ANNOTATIONS}, meaningful)


def modern_keywords(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of one schema in 2020-12's words; the schemas inside it stay as they are."""
    words = {word: value for word, value in schema.items() if value is not None or word in ("const", "default")}
    for word in (*COUNTS, *CONTAINED):
        if isinstance(words.get(word), float) and words[word].is_integer():
            words[word] = int(words[word])
    if isinstance(reference := words.get("$ref"), str) and reference.startswith("#"):
        words["$ref"] = unquote(reference)
    if "type" in words:
        words["type"] = _types(words["type"])
    if words.get("type") in ("any", []) or (isinstance(words.get("type"), list) and "any" in words["type"]):
        del words["type"]
    _take_in_nothing(words)
    _take_in_required(words)
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


def kinds_of(value: Any) -> tuple[str, ...]:
    """The JSON types that a value is of: two for an integer, which is a number too."""
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, (int, float)):
        return ("integer", "number") if isinstance(value, int) or value.is_integer() else ("number",)
    names = ((str, "string"), ((list, tuple), "array"), (Mapping, "object"))
    return (next((name for kind, name in names if isinstance(value, kind)), "null"),)


def _types(types: Any) -> Any:
    """Types in small letters: Google's own declarations write STRING."""
    if isinstance(types, list):
        return [_types(name) for name in types]
    if not isinstance(types, str):
        return types
    name = types.lower()
    return name if name in TYPES else OTHER_TYPES.get(name, types)


def _take_in_nothing(words: dict[str, Any]) -> None:
    """Turn PHP's `[]` for no properties into an object, and a property's null into a schema that limits nothing."""
    for word in IN_MAPPINGS:
        if words.get(word) == []:
            words[word] = {}
        elif isinstance(words.get(word), Mapping) and None in words[word].values():
            words[word] = {name: {} if part is None else part for name, part in words[word].items()}


def _take_in_required(words: dict[str, Any]) -> None:
    """Turn draft 3's `"required": true` inside a property into a name in the list of its object, each name once."""
    if isinstance(words.get("required"), list) and all(isinstance(name, str) for name in words["required"]):
        words["required"] = list(dict.fromkeys(words["required"]))
    given = words.get("properties")
    parts = given.items() if isinstance(given, Mapping) else ()
    marked = {
        name: part for name, part in parts if isinstance(part, Mapping) and isinstance(part.get("required"), bool)
    }
    if not marked:
        return
    bare = {name: {key: part[key] for key in part if key != "required"} for name, part in marked.items()}
    words["properties"] = {**words["properties"], **bare}
    names = [*words.get("required", []), *(name for name, part in marked.items() if part["required"])]
    words.update({"required": list(dict.fromkeys(names))} if names else {})


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
