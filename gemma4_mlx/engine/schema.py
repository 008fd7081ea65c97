"""JSON schemas -> grammars whose every text validates, or a clear refusal in bounded time."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gemma4_mlx.engine.plain_schema import EXACT, plain_schema
from gemma4_mlx.errors import UsageError, one_line, shortened
from gemma4_mlx.prompt.dialects import map_parts, meaningful, modern

MAX_CHARACTERS = 100_000
"""Length of a schema as JSON."""
MAX_SECONDS = 5.0
"""Time to compile a schema."""

WHITESPACE = r"\x20?"
"""Between JSON's marks: a space or none, so that the answer is one line.

Space without end would let a reply never end, and indentation that a grammar does not count is what a small model fills
up: 64 spaces before a colon.
"""
ESCAPES = 'nrtbf"\\'
"""Letters behind a backslash. Without u no key has a second spelling, which would count as another key."""

CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")
"""Characters that JSON can only write with a u."""
CONTROL_ESCAPE = re.compile(r"\\(?:[av]|[xuU]\{?0*(?:[01]?[0-9a-fA-F]|7[fF])(?![0-9a-fA-F])|[pP]\{?C)")
"""What stands for them in a pattern."""

ENVELOPE = {"name", "strict", "description", "type"}
"""What stands beside a schema in an envelope."""

OPTIONS: Any = {
    "whitespace_pattern": WHITESPACE,
    "item_separator": ",",
    "key_separator": ":",
    "lenient": False,
    "coerce_one_of": False,
}
"""What the compiler does whatever the schema asks of it."""


def compile_schema(schema: Any) -> str:
    """The grammar of a JSON schema (2020-12), for `Constraint`.

    Older drafts, and the envelopes in which OpenAI's API takes schemas, are understood. Notes what limits nothing.
    Raises UsageError for what is no schema, for keywords that a grammar can't keep to, and for schemas that are too
    large, too deep or too slow to compile.
    """
    schema = unwrapped(read_schema(schema))
    if not isinstance(schema, Mapping):
        found = type(schema).__name__
        raise UsageError(f'the JSON schema must be an object, such as {{"type": "object", ...}}, not {found}')
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise UsageError("the JSON schema is not JSON, or nested too deep") from None
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the JSON schema has {len(text)} characters; at most {MAX_CHARACTERS} can be compiled")
    try:
        _check_keywords(schema)
        plain = plain_schema(modern(json.loads(text)))
        _bound_integers(plain)
        text = json.dumps(plain, ensure_ascii=False)
        text.encode()
    except RecursionError:
        raise UsageError("the JSON schema is nested too deep; make it flatter") from None
    except UnicodeEncodeError:
        raise UsageError("the JSON schema has half a character (a lone surrogate); write the whole one") from None
    return _compile(text, ESCAPES + "u" if _needs_u(plain) else ESCAPES)


def read_schema(given: Any) -> Any:
    """The schema itself, of what can stand for one: JSON text, pydantic's models and adapters, and typed classes.

    Pydantic is never imported here: whoever gives a model of it has done so. Raises UsageError.
    """
    if isinstance(given, str | bytes | bytearray):
        return _from_text(given)
    if isinstance(given, Mapping):
        return given
    makers = (getattr(given, name, None) for name in ("model_json_schema", "json_schema"))
    maker = next(filter(callable, makers), None) or _maker_of_typed_class(given)
    try:
        return maker() if maker is not None else given
    except Exception as error:  # a schema can be of any class
        name = getattr(given, "__name__", type(given).__name__)
        raise UsageError(f"json_schema: {name} gives no JSON schema ({shortened(one_line(error))})") from error


def _from_text(text: str | bytes | bytearray) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        said = f"json_schema is text and was read as JSON, which it is not ({shortened(one_line(error))})"
        raise UsageError(said, arguments=["json_schema"]) from None


def _maker_of_typed_class(given: Any) -> Callable[[], Any] | None:
    """What makes the schema of a dataclass, a TypedDict or a model of pydantic 1; None for anything else."""
    if hasattr(given, "__fields__") and callable(getattr(given, "schema", None)):
        return given.schema
    if not (is_dataclass(given) or hasattr(given, "__total__")):  # which every kind of TypedDict has
        return None
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        raise UsageError(f"json_schema: {given!r} is a typed class; import pydantic, which makes its JSON schema")
    return pydantic.TypeAdapter(given if isinstance(given, type) else type(given)).json_schema


def unwrapped(schema: Any) -> Any:
    """The schema itself, out of `response_format` and the like, as OpenAI's API and those made after it take it."""
    if not isinstance(schema, Mapping):
        return schema
    kind, inner = schema.get("type"), schema.get("json_schema", schema)
    if kind == "json_schema" and isinstance(inner, Mapping) and _is_empty(inner):
        raise UsageError("the JSON schema is of type json_schema but holds none; put it under 'json_schema', 'schema'")
    if kind == "json_object" and not isinstance(schema.get("schema"), (Mapping, bool)):
        return {"type": "object"}
    for key in ("response_format", "json_schema", "schema"):
        wrapped = isinstance(schema.get(key), (Mapping, bool)) and set(schema) <= {key, *ENVELOPE}
        if wrapped and kind in (None, "json_schema", "json_object"):
            return unwrapped(schema[key])
    return schema


def _is_empty(envelope: Mapping[str, Any]) -> bool:
    return set(envelope) <= {"schema", *ENVELOPE} and not isinstance(envelope.get("schema"), (Mapping, bool))


def _check_keywords(schema: Mapping[str, Any]) -> None:
    """Refuse what is no schema. Patterns are left to the compiler, which reads others than Python does."""
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(meaningful(modern(schema)), format_checker=FormatChecker(()))
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the top"
        raise UsageError(f"the JSON schema is not one: {shortened(error.message)} at {place}") from None


def _bound_integers(plain: Any) -> None:
    """Give integers without bounds those of JSON's safe ones (RFC 8259): digits without end would let no reply end."""
    for part in _schemas(plain):
        types = part.get("type", ())
        types = [types] if isinstance(types, str) else types
        if "integer" not in types or "number" in types or "enum" in part or not isinstance(part, dict):
            continue
        limits = [
            limit
            for word in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
            if (limit := part.get(word)) is not None
        ]
        if max(map(abs, limits), default=0) < EXACT:
            part.setdefault("minimum", 1 - EXACT)
            part.setdefault("maximum", EXACT - 1)


def _needs_u(plain: Any) -> bool:
    """Whether a value or a pattern has a character that only \\u writes.

    Raises UsageError if a named property could then be spelled in a second way, past what its schema says.
    """
    parts = list(_schemas(plain))
    if not any(map(_has_control, parts)):
        return False
    if any(
        part.keys() & {"properties", "patternProperties"} and part.get("additionalProperties") is not False
        for part in parts
    ):
        raise UsageError(
            "the JSON schema can't be kept to: const, enum or pattern has a control character; "
            "add 'additionalProperties': false to every object, or take the character out"
        )
    return True


def _has_control(part: Mapping[str, Any]) -> bool:
    patterns = [part.get("pattern", ""), *part.get("patternProperties", ())]
    return any(CONTROL.search(text) for text in _texts(part.get("enum", []))) or any(
        CONTROL.search(pattern) or CONTROL_ESCAPE.search(pattern) for pattern in patterns
    )


def _texts(value: Any) -> Iterator[str]:
    """All strings in a JSON value but the names of properties, which the compiler writes itself."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _texts(inner)


def _schemas(plain: Any) -> Iterator[Mapping[str, Any]]:
    """A schema and all inside it."""
    waiting = [plain]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            map_parts(part, waiting.append)


@lru_cache(maxsize=16)
def _compile(text: str, escapes: str) -> str:
    """Compiles in a process of its own, whose time is limited, to see whether it can be done."""
    from llguidance import LLMatcher

    options: Any = {**OPTIONS, "json_allowed_escapes": escapes}
    grammar = LLMatcher.grammar_from_json_schema(text, overrides=options)
    command = [sys.executable, "-P", str(Path(__file__).with_name("schema_probe.py"))]
    try:
        done = subprocess.run(command, input=grammar.encode(), capture_output=True, timeout=MAX_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"the JSON schema takes over {MAX_SECONDS:.0f} s to compile; make its patterns and multiples simpler"
        ) from None
    if done.returncode < 0:
        raise UsageError("the JSON schema is too deep or too large to compile; make it flatter")
    complaint = (done.stderr if done.returncode else done.stdout).decode(errors="replace")
    if "NoExtensionBias" in complaint:
        raise UsageError("the JSON schema can't be kept to: a reference leads back to itself before there is any value")
    if complaint or done.returncode:
        raise UsageError(f"the JSON schema can't be kept to: {shortened(complaint)}")
    return grammar
