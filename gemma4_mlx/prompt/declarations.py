"""JSON schemas -> what chat templates can write of them.

Gemma's template writes description, type, nullable, enum (of strings), items, properties and required. Here references
are put in place, unions with null become `nullable`, and every other keyword that says something goes into the
description as JSON, so that the model reads it all the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.errors import GemmaError

MAX_DEPTH = 32
MAX_PARTS = 5000
"""Schemas inside a schema, each counted as often as a reference puts it in place."""

_NULLS = ({"type": "null"}, {"const": None})
_WRITTEN = ("type", "nullable", "enum", "items", "properties", "required")
_SILENT = ("$schema", "$id", "$defs", "definitions", "$comment", "title", "examples", "description")
_JSON_TYPES = ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"), (list, "array"))


def simplified(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with only the keywords that templates write.

    A reference inside itself becomes an object of any content. Raises GemmaError for references that lead nowhere or
    out of the schema, and for schemas that are too deep or too large.
    """
    return _Simplifier(schema).write(schema, ())


@dataclass(slots=True)
class _Simplifier:
    root: Mapping[str, Any]
    parts: int = 0

    def write(self, schema: Any, refs: tuple[str, ...], depth: int = 0) -> dict[str, Any]:
        """`refs` are the references that led here."""
        self.parts += 1
        if depth > MAX_DEPTH or self.parts > MAX_PARTS:
            raise GemmaError(f"the schema has more than {MAX_PARTS} parts or {MAX_DEPTH} levels; make it smaller")
        if not isinstance(schema, Mapping):
            return {}
        schema, refs = self._in_place(schema, refs)
        keyword = next((word for word in ("anyOf", "oneOf") if isinstance(schema.get(word), list)), "")
        options = schema.pop(keyword, [])
        if any(option in _NULLS for option in options):
            schema["nullable"] = True
        others = [option for option in options if option not in _NULLS and option is not False]
        if len(others) == 1:
            return self.write({**_mapping(others[0]), **schema}, refs, depth + 1)
        types, nullable = _types(schema)
        if nullable:
            schema["nullable"] = True
        written = {key: schema[key] for key in _WRITTEN if key in schema} | ({"type": types[0]} if types else {})
        if written.get("type") == "object":
            properties = _mapping(schema.get("properties")).items()
            written["properties"] = {key: self.write(value, refs, depth + 1) for key, value in properties}
        if isinstance(written.get("items"), Mapping):
            written["items"] = self.write(written["items"], refs, depth + 1)
        notes = {key: schema[key] for key in schema if key not in _WRITTEN and key not in _SILENT}
        notes |= {"type": types} if types[1:] else {}
        notes |= {"enum": schema["enum"]} if "enum" in schema and written.get("type") != "string" else {}
        notes |= {keyword: [self.write(option, refs, depth + 1) for option in others]} if others else {}
        if notes.get("additionalProperties") is False:
            del notes["additionalProperties"]
        return _described(written, schema.get("description"), notes)

    def _in_place(self, schema: Mapping[str, Any], refs: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """References and the parts of an `allOf` laid into the schema, which overrides them."""
        schema = dict(schema)
        while "$ref" in schema:
            ref = str(schema.pop("$ref"))
            if ref in refs:
                return {"type": "object"}, refs
            refs = (*refs, ref)
            schema = {**self._look_up(ref), **schema}
        for part in schema.pop("allOf", []):
            laid, refs = self._in_place(_mapping(part), refs)
            properties = {**_mapping(laid.get("properties")), **_mapping(schema.get("properties"))}
            required = [*laid.get("required", []), *schema.get("required", [])]
            schema = {**laid, **schema} | ({"properties": properties} if properties else {})
            schema |= {"required": required} if required else {}
        return schema, refs

    def _look_up(self, ref: str) -> Mapping[str, Any]:
        """What a JSON pointer such as #/$defs/City points to; a schema that is only true or false says nothing."""
        if ref != "#" and not ref.startswith("#/"):
            raise GemmaError(f"the schema refers to {ref[:80]}; put what is there into its $defs, as #/$defs/NAME")
        found: Any = self.root
        for step in ref.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, (Mapping, bool)):
            raise GemmaError(f"the schema has no {ref[:80]}, to which it refers")
        return _mapping(found)


def _types(schema: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The types that a schema names or implies, and whether null is among them."""
    types = schema.get("type", [])
    types = list(types) if isinstance(types, list) else [types]
    if not types:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        types = [name for kind, name in _JSON_TYPES if values and isinstance(values[0], kind)][:1]
    if not types:
        types = [name for key, name in (("properties", "object"), ("items", "array")) if key in schema][:1]
    return [type for type in types if type != "null"] or types, "null" in types


def _described(written: dict[str, Any], description: Any, notes: Mapping[str, Any]) -> dict[str, Any]:
    said = [description] if isinstance(description, str) and description else []
    if notes:
        said.append(json.dumps(notes, ensure_ascii=False, separators=(",", ":")))
    return {"description": " ".join(said), **written} if said else written


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
