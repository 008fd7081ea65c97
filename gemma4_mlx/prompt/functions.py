"""Python functions -> tools: type hints give the schema, the docstring the descriptions."""

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.tools import Tool

_SIMPLE = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_ARGUMENT = re.compile(r"(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class _Hint:
    """What a type hint says: the JSON schema, and how a JSON value becomes what the function expects."""

    schema: dict[str, Any]
    convert: Callable[[Any], Any] = _same


def tool_from_function(function: Callable[..., Any]) -> Tool:
    """The tool that a function is. Its parameters need type hints; those without defaults are required.

    Hints may be str, int, float, bool, list[T], dict[str, T], Literal, Enum, Any and unions of these and None. The
    docstring's first paragraph and its Google-style `Args:` describe it. Raises GemmaError where a hint is missing or
    of another kind, and for async functions.
    """
    name = getattr(function, "__name__", None)
    if not callable(function) or name is None:
        raise GemmaError(f"a tool must be a declaration or a function, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise GemmaError(f"tool {name}: async functions are not awaited; give one that calls asyncio.run itself")
    try:
        hints, signature = typing.get_type_hints(function), inspect.signature(function)
    except (NameError, TypeError, ValueError) as error:
        raise GemmaError(f"tool {name}: its type hints can't be read ({error})") from None
    summary, described = _read_docstring(inspect.getdoc(function) or "")
    read: dict[str, _Hint] = {}
    required = []
    for parameter in signature.parameters.values():
        hint = _read_parameter(name, parameter, hints)
        if parameter.name in described:
            hint.schema["description"] = described[parameter.name]
        if parameter.default is parameter.empty:
            required.append(parameter.name)
        elif isinstance(parameter.default, (str, int, float)) and not isinstance(parameter.default, enum.Enum):
            hint.schema["default"] = parameter.default
        read[parameter.name] = hint
    properties = {key: hint.schema for key, hint in read.items()}
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def run(arguments: Mapping[str, Any]) -> Any:
        return function(**{key: read[key].convert(value) for key, value in arguments.items()})

    return Tool(name=name, description=summary, parameters=schema, run=run)


def _read_parameter(name: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> _Hint:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise GemmaError(f"tool {name}: {parameter} can't be given by name; write its parameters out")
    if parameter.name not in hints:
        raise GemmaError(f"tool {name}: parameter {parameter.name} has no type hint; give it one")
    hint = _read_hint(hints[parameter.name])
    if hint is None:
        shown = inspect.formatannotation(hints[parameter.name])
        raise GemmaError(f"tool {name}: parameter {parameter.name} has a type that JSON has not: {shown}")
    return hint


def _read_hint(hint: Any) -> _Hint | None:
    """None for a type that is not supported."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint is Any:
        return _Hint({})
    if origin is Literal:
        return _choice(list(inner))
    if origin in (Union, types.UnionType):
        return _union([_read_hint(option) for option in inner if option is not type(None)], type(None) in inner)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice([member.value for member in hint], hint)
    if origin in (list, dict) and inner and (origin is list or inner[0] is str):
        return _container(origin, _read_hint(inner[-1]))
    return _Hint({"type": _SIMPLE[hint]}) if hint in _SIMPLE else None


def _choice(values: list[Any], convert: Callable[[Any], Any] = _same) -> _Hint | None:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {str, int}:
        return None
    return _Hint({"type": _SIMPLE[kinds.pop()], "enum": values}, convert)


def _container(kind: type, inside: _Hint | None) -> _Hint | None:
    if inside is None:
        return None
    schema, convert = inside.schema, inside.convert
    if kind is list:
        return _Hint({"type": "array", "items": schema}, lambda items: [convert(item) for item in items])
    return _Hint(
        {"type": "object", "additionalProperties": schema},
        lambda pairs: {key: convert(item) for key, item in pairs.items()},
    )


def _union(options: list[_Hint | None], nullable: bool) -> _Hint | None:
    """Of several types besides None, none may need converting: nothing says which of them a value is."""
    known = [option for option in options if option is not None]
    if len(known) < len(options) or (len(known) > 1 and any(option.convert is not _same for option in known)):
        return None
    schemas = [option.schema for option in known] + ([{"type": "null"}] if nullable else [])
    convert = known[0].convert
    return _Hint({"anyOf": schemas}, lambda value: None if value is None else convert(value))


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The first paragraph in one line, and what `Args:` says of each argument."""
    summary = " ".join(text.split("\n\n", 1)[0].split())
    lines = iter(text.splitlines())
    described: dict[str, str] = {}
    name, indent = "", 0
    if not any(line.strip() in ("Args:", "Arguments:") for line in lines):
        return summary, described
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth == 0:
            break
        match = _ARGUMENT.fullmatch(line.strip())
        if match and (not name or depth <= indent):
            name, indent = match[1], depth
            described[name] = match[2]
        elif name and line.strip():
            described[name] += f" {line.strip()}"
    return summary, described
