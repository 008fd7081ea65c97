"""JSON schemas -> what chat templates can write of them.

Gemma's template writes description, type, nullable, enum (of strings), items, properties and required. Here references
are put in place, unions with null become `nullable`, and every other keyword that says something goes into the
description as JSON, so that the model reads it all the same. It is JSON only once, however deep the schema is.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.dialects import kinds_of, map_parts, modern_keywords
from gemma4_mlx.prompt.references import References

MAX_DEPTH = 32
MAX_PARTS = 5000
"""Schemas inside a schema, each counted as often as a reference puts it in place."""

LARGEST = 2**53 - 1
"""JavaScript's largest integer: as a bound it is what libraries write for none."""

STANDARD_FORMATS = ("date-time", "date", "time", "duration", "email", "uri", "uuid", "ipv4", "ipv6")
"""Formats that say what a pattern beside them says, as libraries write it in hundreds of characters."""

_NULLS = ({"type": "null"}, {"const": None}, {"enum": [None]})
_WRITTEN = ("type", "nullable", "enum", "items", "properties", "required")
_SILENT = (
    *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$defs", "definitions", "$comment", "title", "description"),
    *("readOnly", "writeOnly", "discriminator", "xml", "externalDocs", "unevaluatedProperties", "$vocabulary"),
)
_EMPTY: dict[str, Sequence[Any]] = {
    "additionalProperties": (True, False, {}),
    "propertyNames": (True, {}, {"type": "string"}),
    "default": (None,),
    "uniqueItems": (False,),
    "deprecated": (False,),
    **dict.fromkeys(("minLength", "minItems", "minProperties"), (0,)),
}
"""Values of keywords that tell the model nothing."""


def simplified(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with only the keywords that templates write.

    A reference inside itself becomes an object of any content. Raises GemmaError for references that lead nowhere or
    out of the schema, and for schemas that are too deep or too large.
    """
    return _Simplifier(References(schema)).write(schema, ())


@dataclass(slots=True)
class _Simplifier:
    references: References
    parts: int = 0

    def write(self, schema: Any, refs: tuple[str, ...], depth: int = 0) -> dict[str, Any]:
        """`refs` are the references that led here."""
        self._count(depth)
        if not isinstance(schema, Mapping):
            return {}
        schema, refs = self._in_place(schema, refs)
        keyword, options = _take_union(schema)
        if len(options) == 1:
            return self.write(_laid(_mapping(options[0]), schema), refs, depth + 1)
        types, nullable = _types(schema, options)
        _take_values(schema, nullable)
        written = {key: schema[key] for key in _WRITTEN if key in schema} | ({"type": types[0]} if types else {})
        if written.get("type") == "object":
            properties = _mapping(schema.get("properties")).items()
            written["properties"] = {key: self.write(value, refs, depth + 1) for key, value in properties}
        if isinstance(written.get("items"), Mapping):
            written["items"] = self.write(written["items"], refs, depth + 1)
        notes = {key: schema[key] for key in schema if key not in _WRITTEN and _says_something(key, schema[key])}
        if schema.get("format") in STANDARD_FORMATS:
            notes.pop("pattern", None)
        notes |= {"type": types} if types[1:] and not options else {}
        notes |= {"enum": schema["enum"]} if "enum" in schema and written.get("type") != "string" else {}
        notes |= {keyword: options} if options else {}
        return _described(written, schema.get("description"), _mapping(self.tidy(notes, refs, depth)))

    def tidy(self, schema: Any, refs: tuple[str, ...], depth: int) -> Any:
        """A schema for the description: whole, with its references in place, and without what says nothing."""
        self._count(depth)
        if not isinstance(schema, Mapping):
            return {} if schema is True else schema
        with suppress(GemmaError):  # what can't be looked up is shown as it is
            schema, refs = self._in_place(schema, refs)
        said = schema.get("description")
        kept = {key: value for key, value in schema.items() if _says_something(key, value)}
        kept |= {"description": " ".join(said.split()).replace('"', "'")} if isinstance(said, str) and said else {}
        return map_parts(kept, lambda part: self.tidy(part, refs, depth + 1))

    def _count(self, depth: int) -> None:
        self.parts += 1
        if depth > MAX_DEPTH or self.parts > MAX_PARTS:
            raise GemmaError(f"the schema has more than {MAX_PARTS} parts or {MAX_DEPTH} levels; make it smaller")

    def _in_place(self, schema: Mapping[str, Any], refs: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """References and the parts of an `allOf` laid into the schema, which overrides them."""
        schema = modern_keywords(schema)
        while "$ref" in schema:
            ref = str(schema.pop("$ref"))
            if ref in refs:
                return _laid({"type": "object"}, {key: schema[key] for key in ("description",) if key in schema}), refs
            refs = (*refs, ref)
            schema = _laid(modern_keywords(self._look_up(ref)), schema)
        for part in schema.pop("allOf", []):
            laid, refs = self._in_place(_mapping(part), refs)
            schema = _laid(laid, schema)
        return schema, refs

    def _look_up(self, ref: str) -> Mapping[str, Any]:
        """What a reference leads to; a schema that is only true or false says nothing."""
        found = self.references.look_up(ref)
        if found is None and not ref.startswith("#"):
            raise GemmaError(f"the schema refers to {ref[:80]}; put what is there into its $defs, as #/$defs/NAME")
        if not isinstance(found, (Mapping, bool)):
            raise GemmaError(f"the schema has no {ref[:80]}, to which it refers")
        return _mapping(found)


def _laid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two schemas of one value as one: the second overrides, but properties, names and descriptions add up."""
    both = {**under, **over}
    properties = {**_mapping(under.get("properties")), **_mapping(over.get("properties"))}
    required = list(dict.fromkeys([*under.get("required", []), *over.get("required", [])]))
    said = [each["description"] for each in (over, under) if isinstance(each.get("description"), str)]
    both |= {"properties": properties} if properties else {}
    both |= {"required": required} if required else {}
    return both | ({"description": " ".join(dict.fromkeys(filter(None, said)))} if any(said) else {})


def _take_union(schema: dict[str, Any]) -> tuple[str, list[Any]]:
    """Take the union out of a schema: its keyword and the options that are left beside null.

    Options that are all one text each become an enum, and what was said of each of them goes into the description.
    """
    keyword = next((word for word in ("anyOf", "oneOf") if isinstance(schema.get(word), list)), "")
    options = schema.pop(keyword, [])
    if any(option in _NULLS for option in options):
        schema["nullable"] = True
    options = [option for option in options if option not in _NULLS and option is not False]
    texts = [_texts(option) for option in options]
    if len(options) < 2 or not all(texts) or "enum" in schema:
        return keyword, options
    said = [(names, option.get("description")) for names, option in zip(texts, options, strict=True)]
    listed = "; ".join(f"{', '.join(names)}: {text}" for names, text in said if isinstance(text, str))
    merged = {"type": "string", "enum": list(dict.fromkeys(chain.from_iterable(texts))), "description": listed}
    schema.update(_laid(merged, schema))
    return keyword, []


def _texts(option: Any) -> list[str]:
    """The texts that an option of a union is; none if it is anything else."""
    option = _mapping(option)
    values = [option["const"]] if "const" in option else option.get("enum", [])
    only = set(option) <= {"const", "enum", "type", "title", "description"}
    return list(values) if only and all(isinstance(value, str) for value in values) else []


def _types(schema: dict[str, Any], options: Iterable[Any]) -> tuple[list[str], bool]:
    """The types that a schema names or implies, and whether null is among them."""
    types = schema.get("type", [])
    types = list(types) if isinstance(types, list) else [types]
    if not types:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        types = next((list(kinds_of(value)[:1]) for value in values if value is not None), [])
    if not types:
        types = [name for key, name in (("properties", "object"), ("items", "array")) if key in schema][:1]
    if not types:
        known = {str(_mapping(option).get("type")) for option in options}
        types = sorted(known) if len(known) == 1 and known <= {"object", "string", "array", "integer", "number"} else []
    return [type for type in types if type != "null"] or types, "null" in types


def _take_values(schema: dict[str, Any], nullable: bool) -> None:
    """Write a constant text as an enum, and null as `nullable`."""
    if isinstance(schema.get("const"), str) and "enum" not in schema:
        schema["enum"] = [schema.pop("const")]
    values = schema.get("enum")
    if isinstance(values, list) and None in values and len(values) > 1:
        schema["enum"], nullable = [value for value in values if value is not None], True
    if nullable:
        schema["nullable"] = True
    if schema.get("nullable") is False:
        del schema["nullable"]


def _says_something(key: str, value: Any) -> bool:
    """Whether a keyword tells the model anything."""
    if key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        return not isinstance(value, (int, float)) or abs(value) < LARGEST
    empty = any(type(value) is type(each) and value == each for each in _EMPTY.get(key, ()))
    return key not in _SILENT and not key.startswith("x-") and not empty


def _described(written: dict[str, Any], description: Any, notes: Mapping[str, Any]) -> dict[str, Any]:
    said = [description] if isinstance(description, str) and description else []
    if notes:
        said.append(json.dumps(notes, ensure_ascii=False, separators=(",", ":")))
    return {"description": " ".join(said), **written} if said else written


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
