"""A JSON schema of everything that is not valid for another: what `not`, `else` and `oneOf` need.

Its own file because it is the other way around, keyword by keyword.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gemma4_mlx.engine.exclusion import opposite_bound, other_kinds, other_values
from gemma4_mlx.engine.schema_part import Part, refused
from gemma4_mlx.prompt.dialects import BOUNDS, LIMITING

MAX_PARTS, MAX_DEPTH = 2000, 16
"""Schemas inside a negated schema, each counted as often as a reference leads to it, and inside each other."""


def negated(part: Part, word: str, write: Callable[[Part], Any]) -> Any:
    """The schema of every value that is not valid; `write` writes what is not negated.

    Raises UsageError for the keyword `word` if the compiler has no such schema, and for one without an end.
    """
    return _Negation(part, word, write).whole()


@dataclass(slots=True)
class _Budget:
    """Schemas that may still be negated; references to references could make them endlessly many."""

    left: int = MAX_PARTS


@dataclass(frozen=True, slots=True)
class _Negation:
    """A schema that is being negated, for the keyword `word`. `write` writes what is not negated."""

    part: Part
    word: str
    write: Callable[[Part], Any]
    budget: _Budget = field(default_factory=_Budget)
    depth: int = 0

    def whole(self) -> Any:
        """The negation of the schema: one of its keywords fails."""
        self.budget.left -= 1
        options: list[Any] = []
        for key, value in self.part.words.items():
            if key in _NEGATIONS and self.budget.left > 0 and self.depth < MAX_DEPTH:
                options += _NEGATIONS[key](self, value)
            elif key in LIMITING:
                raise refused(self.word)
        return {"anyOf": options} if options else False

    def of(self, schema: Any) -> Any:
        """The negation of a schema inside."""
        return replace(self, part=self.part.inside(schema), depth=self.depth + 1).whole()

    def of_types(self, types: Any) -> list[Any]:
        """All values of other types. None of the compiler's schemas is of the numbers that are no integers."""
        types = types if isinstance(types, list) else [types]
        if "integer" in types and "number" not in types:
            raise refused(self.word)
        return other_kinds(types)

    def of_values(self, values: list[Any]) -> list[Any]:
        """All other values."""
        others = other_values(values)
        if others is None:
            raise refused(self.word)
        return others

    def of_properties(self, properties: Mapping[str, Any]) -> list[Any]:
        """Objects one of whose properties is there and wrong."""
        wrong = {name: self.of(schema) for name, schema in properties.items()}
        return [
            {"type": "object", "required": [name], "properties": {name: schema}}
            for name, schema in wrong.items()
            if schema is not False
        ]

    def of_target(self, ref: str) -> list[Any]:
        """What is not valid for what a reference leads to."""
        return [replace(self, part=self.part.target(ref), depth=self.depth + 1).whole()]


_NEGATIONS: dict[str, Callable[[_Negation, Any], list[Any]]] = {
    "type": _Negation.of_types,
    "const": lambda negation, value: negation.of_values([value]),
    "enum": _Negation.of_values,
    "properties": _Negation.of_properties,
    "required": lambda _, names: [{"type": "object", "properties": {name: False}} for name in names],
    "not": lambda negation, schema: [negation.write(negation.part.inside(schema))],
    "allOf": lambda negation, schemas: [negation.of(schema) for schema in schemas],
    "anyOf": lambda negation, schemas: [{"allOf": [negation.of(schema) for schema in schemas]}],
    "$ref": _Negation.of_target,
}
"""For each keyword the schemas of which one is valid for whatever the keyword does not allow."""


def _negates_bound(word: str) -> None:
    _NEGATIONS[word] = lambda _, limit: opposite_bound(word, limit)


for _word in (*BOUNDS, "minLength", "maxLength", "minItems", "maxItems"):
    _negates_bound(_word)
