"""A schema inside a schema: its keywords in 2020-12's words, and what its references lead to.

Its own file because what rewrites schemas and what compares them both walk through them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gemma4_mlx.errors import UsageError
from gemma4_mlx.prompt.dialects import modern_keywords
from gemma4_mlx.prompt.references import resolved

SAYING_NOTHING = (
    *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$comment", "$vocabulary"),
    *("$defs", "definitions", "title", "description", "default", "example", "examples", "readOnly", "writeOnly"),
    *("deprecated", "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "xml", "externalDocs"),
    *("propertyOrdering", "enumNames", "markdownDescription", "errorMessage"),
)
CURES = {
    "uniqueItems": "drop it, and repeated items afterwards",
    "contains": "name the items with prefixItems, or drop it and look afterwards",
    "maxContains": "drop it and count afterwards",
    "oneOf": "write anyOf, or give every option a property with another const",
    "not": "write what may come instead, as anyOf or enum",
    "if": "write the cases as anyOf",
    "$dynamicRef": "write $ref",
    "$recursiveRef": "write $ref",
    "unevaluatedProperties": "write additionalProperties, with all properties beside it",
    "unevaluatedItems": "write items, with prefixItems beside it",
    "propertyNames": "limit the names by a pattern, an enum or a length",
}


def refused(word: str) -> UsageError:
    """The error for a keyword that can't be kept to."""
    return UsageError(f"the JSON schema can't be kept to: {word} is not supported here; {CURES[word]}")


@dataclass(frozen=True, slots=True)
class Part:
    """A schema inside the schema, and what its references are relative to."""

    schema: Any
    resolver: Any
    dialect: Any
    """What tells a schema with an address of its own."""

    @property
    def words(self) -> dict[str, Any]:
        """Its keywords; those of true and false, which have none, are their equivalents."""
        if isinstance(self.schema, Mapping):
            return modern_keywords(self.schema)
        return {} if self.schema is True else {"enum": []}

    def inside(self, schema: Any) -> "Part":
        """A schema directly inside this one."""
        if isinstance(schema, Mapping) and ("$id" in schema or "id" in schema):
            return replace(
                self, schema=schema, resolver=self.resolver.in_subresource(self.dialect.create_resource(schema))
            )
        return replace(self, schema=schema)

    def target(self, ref: str) -> "Part":
        """What a reference leads to."""
        found = resolved(self.resolver, ref)
        if found is None:
            local = ref.startswith("#")
            said = f"has no {ref[:80]}, to which it refers" if local else f"refers to {ref[:80]}, which nobody fetches"
            raise UsageError(f"the JSON schema {said}; put what is meant into its $defs, as #/$defs/NAME")
        if not isinstance(found.contents, (Mapping, bool)):
            raise UsageError(f"the JSON schema refers to {ref[:80]}, which is no schema")
        return replace(self, schema=found.contents, resolver=found.resolver)
