"""A schema inside a schema: its keywords in 2020-12's words, and what its references lead to.

Its own file because what rewrites schemas and what compares them both walk through them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.errors import UsageError
from gemma4_mlx.prompt.dialects import modern_keywords


@dataclass(frozen=True, slots=True)
class Part:
    """A schema inside the schema, and what its references are relative to."""

    schema: Any
    resolver: Any

    @property
    def words(self) -> dict[str, Any]:
        """Its keywords; those of true and false, which have none, are their equivalents."""
        if isinstance(self.schema, Mapping):
            return modern_keywords(self.schema)
        return {} if self.schema is True else {"enum": []}

    def inside(self, schema: Any) -> "Part":
        """A schema directly inside this one."""
        from referencing.jsonschema import DRAFT202012

        if isinstance(schema, Mapping) and isinstance(schema.get("$id"), str):
            return Part(schema, self.resolver.in_subresource(DRAFT202012.create_resource(schema)))
        return Part(schema, self.resolver)

    def target(self, ref: str) -> "Part":
        """What a reference leads to."""
        from referencing.exceptions import Unresolvable

        try:
            found = self.resolver.lookup(ref)
        except (Unresolvable, ValueError):
            local = ref.startswith("#")
            said = f"has no {ref[:80]}, to which it refers" if local else f"refers to {ref[:80]}, which nobody fetches"
            raise UsageError(f"the JSON schema {said}; put what is meant into its $defs, as #/$defs/NAME") from None
        if not isinstance(found.contents, (Mapping, bool)):
            raise UsageError(f"the JSON schema refers to {ref[:80]}, which is no schema")
        return Part(found.contents, found.resolver)
