"""References inside a JSON schema -> what they lead to: pointers such as #/$defs/City, anchors, addresses of parts.

Its own file because declarations, calls, their grammar and answers all follow references.
"""

from typing import Any


class References:
    """Follows the references inside one schema, each looked up once: an anchor is looked for in all of it."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._found: dict[str, Any] = {}

    def look_up(self, ref: str) -> Any:
        """What a reference leads to; None if that is nowhere, or outside of the schema."""
        if ref not in self._found:
            self._found[ref] = self._looked_up(ref)
        return self._found[ref]

    def _looked_up(self, ref: str) -> Any:
        from referencing import Registry
        from referencing.jsonschema import DRAFT202012

        registry: Any = Registry()
        try:
            resolver = registry.resolver_with_root(DRAFT202012.create_resource(self._root))
        except AttributeError:  # an address that is no text
            return None
        found = resolved(resolver, ref)
        return None if found is None else found.contents


def resolved(resolver: Any, ref: str) -> Any:
    """The library's answer: contents and a resolver relative to them; None for a reference that leads nowhere."""
    from referencing.exceptions import Unresolvable

    try:
        return resolver.lookup(ref)
    except (Unresolvable, ValueError, AttributeError, TypeError):  # addresses that are no text, steps into what is none
        return None
