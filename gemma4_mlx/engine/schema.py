"""JSON schemas -> grammars whose every text validates, or a clear refusal in bounded time."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import UsageError, shortened

MAX_CHARACTERS = 100_000
"""Length of a schema as JSON."""
MAX_SECONDS = 5.0
"""Time to compile a schema."""

WHITESPACE = r"(\x20|\n\x20{0,64})?"
"""Between JSON's marks: a space, or a new line and its indentation. Space without end would let a reply never end."""

ESCAPES = 'nrtbf"\\'
"""Letters behind a backslash. Without u no key has a second spelling, which would count as another key."""

OPTIONS: Any = {
    "whitespace_pattern": WHITESPACE,
    "json_allowed_escapes": ESCAPES,
    "item_separator": ",",
    "key_separator": ":",
    "lenient": False,
    "coerce_one_of": False,
}
"""What the compiler does whatever the schema asks of it."""


def compile_schema(schema: Any) -> str:
    """The grammar of a JSON schema (2020-12), for `Constraint`.

    Raises UsageError for what is no schema, for keywords that a grammar can't keep to, and for schemas that are too
    large, too deep or too slow to compile.
    """
    if not isinstance(schema, Mapping):
        raise UsageError("the JSON schema must be an object, such as {'type': 'object', 'properties': {...}}")
    try:
        text = json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise UsageError("the JSON schema is not JSON, or nested too deep") from None
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the JSON schema has {len(text)} characters; at most {MAX_CHARACTERS} can be compiled")
    _check_keywords(schema)
    return _compile(text)


def _check_keywords(schema: Mapping[str, Any]) -> None:
    """Refuses what the compiler would read in another sense."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the top"
        raise UsageError(f"the JSON schema is not one: {shortened(error.message)} at {place}") from None
    except RecursionError:
        raise UsageError("the JSON schema is nested too deep; make it flatter") from None
    if any(isinstance(least, int) and least > 1 for least in _values(schema, "minProperties")):
        raise UsageError("the JSON schema asks for minProperties over 1; name the properties as required instead")


def _values(part: Any, key: str) -> Iterator[Any]:
    """Everything that stands under a key, wherever it is."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            if key in part:
                yield part[key]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


@lru_cache(maxsize=16)
def _compile(text: str) -> str:
    """Compiles in a process of its own, whose time is limited, to see whether it can be done."""
    from llguidance import LLMatcher

    grammar = LLMatcher.grammar_from_json_schema(text, overrides=OPTIONS)
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
    if complaint or done.returncode:
        raise UsageError(f"the JSON schema can't be kept to: {shortened(complaint)}")
    return grammar
