"""JSON schemas that are compiled, and those that are refused in time."""

import time
from typing import Any

import pytest

from gemma4_mlx.engine import schema as module
from gemma4_mlx.engine.schema import compile_schema
from gemma4_mlx.errors import UsageError


def chain(length: int, link: Any = lambda ref: {"type": "array", "items": ref}) -> dict[str, Any]:
    """A schema whose references lead on and on."""
    steps = {f"L{n}": link({"$ref": f"#/$defs/L{n + 1}"}) for n in range(length)}
    return {"$defs": {**steps, f"L{length}": {"type": "string"}}, "$ref": "#/$defs/L0"}


def lists(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


USUAL = [
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"},
    {"type": "number", "multipleOf": 0.01, "minimum": 0},
    {"type": "string", "format": "date-time"},
    {"$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N"},
    {"enum": [str(n) for n in range(2000)]},
    chain(40),
    lists(40),
]


@pytest.mark.parametrize("schema", USUAL)
def test_usual_schemas_compile(schema: dict[str, Any]) -> None:
    assert compile_schema(schema).startswith("{")


REFUSED = [
    ([], "must be an object"),
    (True, "must be an object"),
    ({"a": {1, 2}}, "is not JSON"),
    ({"const": float("nan")}, "is not JSON"),
    (lists(3000), "nested too deep"),
    (lists(300), "nested too deep|can't be kept to: recursion limit"),
    ({"description": "x" * 100_001}, "characters; at most 100000"),
    ({"type": "text"}, "is not one: 'text' is not valid .* at type"),
    ({"properties": {"a": {"type": "string", "minLength": -1}}}, "is not one: -1 is less .* at properties/a/minLength"),
    ({"type": "integer", "exclusiveMinimum": True}, "True is not of type 'number'"),
    ({"$ref": "#/$defs/x"}, "can't be kept to: Pointer"),
    ({"$ref": "http://a.invalid/x"}, "does not fetch"),
    ({"not": {"type": "string"}}, "Unimplemented keys"),
    ({"type": "array", "uniqueItems": True}, "Unimplemented keys"),
    ({"not": {}, "x-guidance": {"lenient": True}}, "Unimplemented keys"),
    ({"type": "object", "minProperties": 2}, "minProperties over 1"),
    ({"type": "string", "format": "colour"}, "Unknown format"),
    ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ({"type": "integer", "minimum": 5, "maximum": 1}, "Unsatisfiable"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
    ({"$ref": "#"}, "can't be kept to"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_what_can_not_be_kept_to_is_refused_in_one_line(schema: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        compile_schema(schema)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 260


HOSTILE = {
    "overflows the stack": chain(3000),
    "overflows it by options": chain(1500, lambda ref: {"anyOf": [ref, {"type": "integer"}]}),
    "counts to a hundred million": {"type": "integer", "multipleOf": 99_999_989},
    "crosses many patterns": {
        "allOf": [{"type": "string", "pattern": f".*{letter}.*"} for letter in "abcdefghijklmnopqrst"]
    },
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_hostile_schemas_are_refused_in_time(schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 2.0)
    start = time.perf_counter()
    with pytest.raises(UsageError, match="the JSON schema"):
        compile_schema(schema)
    assert time.perf_counter() - start < 6
