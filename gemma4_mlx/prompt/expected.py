"""JSON schema of a tool -> what a value in a call may be, where the text of the call leaves it open.

Not a validator: `Tool.check` is. Apart from calls.py because it knows schemas and no syntax.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gemma4_mlx.prompt.dialects import kinds_of
from gemma4_mlx.prompt.references import References

_UNIONS = ("anyOf", "oneOf", "allOf")


@dataclass(frozen=True, slots=True)
class Expected:
    """The schemas that may describe a value, unions and local references resolved. Without any, nothing is known."""

    references: References = field(default_factory=lambda: References(None))
    schemas: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, root: Any) -> "Expected":
        """What a whole schema says."""
        return cls(References(root))._narrowed([root])

    def property(self, key: str) -> "Expected":
        """What is known of a property of the object."""
        found = [schema["properties"][key] for schema in self.schemas if key in _mapping(schema, "properties")]
        return self._narrowed(found or [schema.get("additionalProperties") for schema in self.schemas])

    def item(self) -> "Expected":
        """What is known of the items of the array."""
        return self._narrowed([schema.get("items") for schema in self.schemas])

    def declares(self, key: str) -> bool:
        """Whether the object has a property of this name."""
        return any(key in _mapping(schema, "properties") for schema in self.schemas)

    def properties(self) -> Iterator[str]:
        """The names of the object's properties."""
        return (key for schema in self.schemas for key in _mapping(schema, "properties"))

    def says(self, *kinds: str) -> bool:
        """Whether the value may be of one of these JSON types, and a schema says so."""
        return any(kind in kinds for schema in self.schemas for kind in _kinds(schema))

    def lists(self, value: Any) -> bool:
        """Whether the value is one of those of an enum or const."""
        return any(value == option for schema in self.schemas for option in _options(schema))

    def _narrowed(self, schemas: list[Any]) -> "Expected":
        return Expected(self.references, tuple(_resolved(schemas, self.references)))


def _resolved(schemas: list[Any], references: References) -> Iterator[Mapping[str, Any]]:
    """The schemas, and those that they are unions of or refer to, each once."""
    waiting, seen = list(schemas), set()
    while waiting:
        schema = waiting.pop(0)
        if not isinstance(schema, Mapping) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield schema
        waiting += [option for union in _UNIONS for option in _sequence(schema, union)]
        if isinstance(schema.get("$ref"), str):
            waiting.append(references.look_up(schema["$ref"]))


def _kinds(schema: Mapping[str, Any]) -> Iterator[str]:
    """The JSON types that a schema names, or that the values it lists have."""
    kinds = schema.get("type")
    if isinstance(kinds, str):
        yield kinds
    elif isinstance(kinds, (list, tuple)):
        yield from (kind for kind in kinds if isinstance(kind, str))
    else:
        yield from (kind for option in _options(schema) for kind in kinds_of(option))


def _options(schema: Mapping[str, Any]) -> list[Any]:
    return [*_sequence(schema, "enum"), *([schema["const"]] if "const" in schema else [])]


def _mapping(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = schema.get(key)
    return found if isinstance(found, Mapping) else {}


def _sequence(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return list(found) if isinstance(found, (list, tuple)) else []
