"""Whether a JSON schema is valid for sure, told without 2020-12's own schema.

Its own file because it says of each usual keyword what its value must be, as the schema of schemas does, which takes 50
times as long to check: servers may have thousands of tools.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gemma4_mlx.prompt.dialects import ANNOTATIONS, BOUNDS, COUNTS, TYPES


def is_plain(schema: Any) -> bool:
    """Whether a schema has usual keywords only, with valid values. Another may be valid as well."""
    if isinstance(schema, bool):
        return True
    return isinstance(schema, Mapping) and all(word in _PLAIN and _PLAIN[word](schema[word]) for word in schema)


def _anything(_: Any) -> bool:
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_type(value: Any) -> bool:
    return value in TYPES if isinstance(value, str) else bool(value) and _are_names(value) and set(value) <= set(TYPES)


def _are_parts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_plain, value))


def _are_named_parts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(is_plain, value.values()))


_PLAIN: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(ANNOTATIONS, _anything),
    **dict.fromkeys(("const", "default", "nullable"), _anything),
    **dict.fromkeys(("pattern", "format", "$ref", "$schema"), _is_text),
    **dict.fromkeys(COUNTS, _is_count),
    **dict.fromkeys(BOUNDS, _is_number),
    **dict.fromkeys(("anyOf", "oneOf", "allOf"), _are_parts),
    **dict.fromkeys(("items", "additionalProperties"), is_plain),
    **dict.fromkeys(("properties", "$defs"), _are_named_parts),
    "type": _is_type,
    "enum": _is_list,
    "required": _are_names,
}
