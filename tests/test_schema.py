"""JSON schemas that are compiled, and those that are refused in time."""

from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer
from work import counted_calls

from gemma4_mlx.engine import schema as module
from gemma4_mlx.engine.schema import compile_schema
from gemma4_mlx.engine.schema_probe import Bytes, limits
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


def accepts(schema: Any, text: str) -> bool:
    """Whether a text is one of the schema's, whatever the vocabulary: each byte is a token here."""
    vocabulary: Any = Bytes()
    matcher = LLMatcher(LLTokenizer(vocabulary, slices=[]), compile_schema(schema), log_level=0, limits=limits())
    return bool(matcher.try_consume_tokens(list(text.encode())) == len(text.encode()) and matcher.is_accepting())


PERSON_AND_TAGS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "string"}}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
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


SPACED = {
    "object": (PERSON_AND_TAGS, '{%s"a"%s:%s1%s,%s"b"%s:%s[%s"x"%s,%s"y"%s]%s}'),
    "any object": ({"type": "object"}, '{%s"x"%s:%s[%s1%s,%s{%s}%s]%s}'),
    "list": ({"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "[%s1%s,%snull%s]"),
    "empty list": ({"type": "array", "maxItems": 0}, "[%s]"),
}


@pytest.mark.parametrize("name", SPACED)
def test_answers_are_one_line_without_runs_of_space(name: str) -> None:
    schema, text = SPACED[name]
    places = text.count("%s")
    assert accepts(schema, text % (("",) * places))
    assert accepts(schema, text % ((" ",) * places))
    for place in range(places):
        for run in ("  ", " " * 64, "\n", "\n  ", "\n" + " " * 64, "\t", "\r\n"):
            assert not accepts(schema, text % tuple(run if place == other else "" for other in range(places)))
    for run in (" ", "\n", " " * 64):
        assert not accepts(schema, run + text % (("",) * places))
        assert not accepts(schema, text % (("",) * places) + run)


@pytest.mark.parametrize(
    ("schema", "longest", "longer"),
    [
        ({"type": "integer"}, "9007199254740991", "9007199254740992"),
        ({"type": ["null", "integer"]}, "-9007199254740991", "-9007199254740992"),
        ({"type": "integer", "minimum": 5}, "9007199254740991", "90071992547409910"),
        ({"type": "integer", "exclusiveMinimum": 5, "multipleOf": 2}, "9007199254740990", "90071992547409920"),
        ({"type": "integer", "maximum": 10**17}, str(10**17), str(10**17 + 1)),
        ({"type": "integer", "enum": [2**60]}, str(2**60), "5"),
    ],
)
def test_integers_end(schema: dict[str, Any], longest: str, longer: str) -> None:
    assert accepts(schema, longest)
    assert not accepts(schema, longer)


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
    ({"$ref": "#/$defs/x"}, r"has no #/\$defs/x, to which it refers; put"),
    ({"$ref": "#x"}, "has no #x, to which it refers; put"),
    ({"$ref": "http://a.invalid/x"}, "refers to http://a.invalid/x, which nobody fetches; put"),
    ({"$ref": "#/title", "title": "x"}, "refers to #/title, which is no schema"),
    ({"$defs": {"a": True}, "$ref": "#/$defs/a/b"}, r"has no #/\$defs/a/b, to which it refers; put"),
    ({"minimum": 1, "$ref": "#/minimum/0"}, "has no #/minimum/0, to which it refers; put"),
    ({"$defs": {"a": {"$dynamicAnchor": "a"}}, "$dynamicRef": "#a"}, r"\$dynamicRef is not supported here; write"),
    ({"not": {"pattern": "x"}}, "not is not supported here; write what may come instead"),
    ({"not": {"type": "integer"}}, "not is not supported here"),
    ({"not": {"const": [1]}}, "not is not supported here"),
    ({"if": {"pattern": "x"}, "then": False}, "if is not supported here; write the cases as anyOf"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems is not supported here; drop it"),
    ({"contains": {"type": "string"}}, "contains is not supported here"),
    ({"maxContains": 2, "minContains": 0, "contains": {"type": "string"}}, "contains is not supported here"),
    ({"anyOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, "unevaluatedProperties is not supported"),
    ({"contains": True, "unevaluatedItems": False}, "unevaluatedItems is not supported"),
    ({"items": {"enum": [1, 2, 3, 4, 5, 6]}, "uniqueItems": True}, "uniqueItems is not supported"),
    ({"propertyNames": {"not": {"const": "a"}}}, "propertyNames is not supported here; limit the names"),
    ({"not": {}, "x-guidance": {"lenient": True}}, "Unsatisfiable"),
    ({"type": "object", "minProperties": 2}, "asks for minProperties over 1; name"),
    ({"const": 2**53 + 1}, "9007199254740993 is too large a number; write it as a string"),
    ({"enum": [[1e300]]}, "1e.300 is too large a number"),
    ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ({"type": "string", "pattern": "^(?=a)b|c"}, "look-around"),
    ({"type": "string", "pattern": "^(?!ab)c"}, "look-around"),
    ({"type": "string", "pattern": "^(?!a"}, "can't be kept to"),
    ({"type": "integer", "minimum": 5, "maximum": 1}, "Unsatisfiable"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf is not supported here; write anyOf"),
    ({"$ref": "#"}, "can't be kept to: a reference leads back to itself"),
    ({"type": "json_schema", "json_schema": {"schema": 5}}, "of type json_schema but holds none"),
    ({"$schema": "http://json-schema.org/draft-04/schema#", "id": 5, "$ref": "#/x"}, "has no #/x"),
    ({"const": 10**400}, "is too large a number"),
    ({"const": "\ud800"}, "has half a character .*; write the whole one"),
    ({"type": "string", "pattern": "\udfff"}, "has half a character"),
    ({"properties": {"\ud83d": {}}}, "has half a character"),
    ({"properties": {"a": {"const": "\x1b"}}}, "has a control character; add 'additionalProperties': false"),
    ({"type": "json_schema"}, "of type json_schema but holds none"),
    ({"type": "json_schema", "json_schema": {"name": "a"}}, "of type json_schema but holds none"),
    ({"$defs": {}, "anyOf": [{"$ref": "#"}, {"not": {"$ref": "#"}}]}, "not is not supported here"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_what_can_not_be_kept_to_is_refused_in_one_line(schema: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        compile_schema(schema)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 260


CLOSED = {"type": "object", "required": ["a"], "additionalProperties": False}
KINDS = {"one": {"kind": {"const": 1}, "a": {"type": "integer"}}, "two": {"kind": {"const": 2}, "a": {"const": "x"}}}
DEFINED = {name: {"type": "object", "properties": each, "required": ["kind"]} for name, each in KINDS.items()}
UNION = {"oneOf": [{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/two"}], "$defs": DEFINED}
CASES = {
    "if": {"properties": {"a": {"const": "x"}}, "required": ["a"]},
    "then": {"required": ["b"]},
    "else": {"properties": {"b": False}},
}
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}

DEFINES_C = {"$defs": {"c": {"properties": {"c": {}}}}}

ALLOWED: list[tuple[Any, list[str], list[str]]] = [
    # what JSON can only write with \\u
    ({"const": "a\x1bb"}, [r'"a\u001bb"'], ['"ab"', '"a\x1bb"']),
    ({"enum": ["a\x00", "b"]}, [r'"a\u0000"', '"b"'], ['"a"']),
    ({"const": "a\x7fb"}, [r'"a\u007fb"'], ['"ab"']),
    ({"const": [{"k": "\x01"}]}, [r'[{"k":"\u0001"}]'], ['[{"k":""}]']),
    ({"type": "string", "pattern": r"^\x1b\[0m$"}, [r'"\u001b[0m"'], ['"[0m"']),
    ({"type": "string", "pattern": r"^a\cAb$"}, [r'"a\u0001b"'], ['"ab"']),
    ({**CLOSED, "properties": {"a": {"const": "\x1b"}}}, [r'{"a":"\u001b"}'], ['{"a":""}']),
    ({"const": '\n\t"\\'}, [r'"\n\t\"\\"'], ['""']),
    ({"const": "x", "description": "\ud800"}, ['"x"'], []),
    # envelopes of other people's interfaces
    ({"name": "a", "strict": True, "schema": {"const": 1}}, ["1"], ["2"]),
    ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"const": 1}}}, ["1"], ["2"]),
    ({"type": "json_schema", "name": "a", "strict": True, "schema": {"const": 1}}, ["1"], ["2"]),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": 1}}}}, ["1"], ["2"]),
    ({"type": "json_object"}, ["{}", '{"a":[1]}'], ["[]", "1"]),
    ({"type": "json_object", "schema": {"const": 1}}, ["1"], ["{}"]),
    ({"type": "object", "properties": {"schema": {"const": 1}}, "required": ["schema"]}, ['{"schema":1}'], ["1", "{}"]),
    # what limits no text
    ({"type": "object", "propertyNames": {"type": "string"}}, ['{"a":1}'], ["1"]),
    ({"type": "object", "propertyNames": True}, ['{"a":1}'], ["1"]),
    ({"type": "string", "format": "colour"}, ['"a"'], ["1"]),
    ({"type": "integer", "format": "int32"}, ["1"], ['"a"']),
    ({"type": "string", "maxLength": 2.0}, ['"ab"'], ['"abc"']),
    ({"type": "integer", "then": {"const": 1}, "else": False}, ["2"], ['"a"']),
    ({"if": {"const": 1}, "type": "integer"}, ["1", "2"], ['"a"']),
    ({"minContains": 2, "maxContains": 3, "type": "array", "uniqueItems": False}, ["[]", "[1,1]"], ["1"]),
    ({"type": "array", "additionalItems": False}, ["[1]"], ["1"]),
    (
        {"type": "string", "nullable": True, "x-order": 1, "deprecated": True, "contentEncoding": "base64"},
        ['"a"'],
        ["1"],
    ),
    ({"type": "object", "minProperties": 0, "dependentRequired": {"a": []}, "not": False}, ["{}"], ["1"]),
    ({"contains": True, "minContains": 0, "unevaluatedItems": True, "type": "array"}, ["[]"], ["1"]),
    ({"type": "string", "$dynamicAnchor": "a", "$vocabulary": {}}, ['"a"'], ["1"]),
    # older drafts, and Google's own spelling
    ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, ["2"], ["1"]),
    ({"type": "integer", "maximum": 3, "exclusiveMaximum": False}, ["3"], ["4"]),
    ({"items": [{"const": 1}], "additionalItems": {"const": 2}, "type": "array"}, ["[1,2]", "[]"], ["[2]", "[1,1]"]),
    ({"definitions": {"a": {"const": 1}}, "$ref": "#/definitions/a"}, ["1"], ["2"]),
    ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "string"}, ['"a"'], ["1"]),
    ({"$schema": "http://nowhere.invalid/my-schema", "type": "string"}, ['"a"'], ["1"]),
    ({**OBJECT, "dependencies": {"a": ["b"]}}, ['{"a":"","b":1}', "{}"], ['{"a":""}']),
    ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, ['{"a":""}'], ['{"a":1}']),
    (
        {"type": "dict", "properties": {"a": {"type": "float"}, "b": {"type": "any"}}},
        ['{"a":1.5,"b":[]}'],
        ['{"a":""}'],
    ),
    ({"type": "object", "properties": {"a": {"required": True}, "b": {"required": False}}}, ['{"a":1}'], ['{"b":1}']),
    ({"type": "string", "enum": None, "items": None, "description": None, "title": 5, "examples": "x"}, ['"a"'], ["1"]),
    ({"$defs": {"a": {"$anchor": "one", "const": 1}}, "$ref": "#one"}, ["1"], ["2"]),
    ({"$id": "http://a.invalid/b", "$defs": {"a": {"$id": "c", "const": 1}}, "$ref": "c"}, ["1"], ["2"]),
    ({"properties": {"a": {"const": 1}, "b": {"$ref": "#/properties/a"}}, "type": "object"}, ['{"b":1}'], ['{"b":2}']),
    ({"$ref": "#/$defs/a/anyOf/0", "$defs": {"a": {"anyOf": [{"const": 1}, {"const": 2}]}}}, ["1"], ["2"]),
    ({"$ref": "#/$defs/a/items/0", "$defs": {"a": {"items": [{"const": 1}]}}}, ["1"], ["2"]),
    ({"$dynamicRef": "#/$defs/a", "$defs": {"a": {"const": 1}}}, ["1"], ["2"]),
    # what can be written in other words
    (UNION, ['{"kind":1,"a":5}', '{"kind":2,"a":"x"}'], ['{"kind":1,"a":"x"}', "{}"]),
    ({"oneOf": [{"const": 1, "title": "a"}, {"const": 2}]}, ["1", "2"], ["3"]),
    (
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], **OBJECT},
        ['{"a":""}', '{"b":1}'],
        ["{}", '{"a":"","b":1}'],
    ),
    ({"oneOf": [{"const": 1}, {"const": 1.0}, {"const": True}]}, ["true"], ["1"]),
    ({"not": {"type": ["object", "array"]}}, ["1", '"a"'], ["{}", "[]"]),
    ({"type": "string", "not": {"enum": ["ab", ""]}}, ['"a"', '"abc"', '"b"'], ['"ab"', '""']),
    ({"not": {"enum": [1, None, False]}}, ["true", "2", "0.5", '"1"'], ["1", "null", "false"]),
    ({"type": "integer", "not": {"minimum": 3}}, ["2"], ["3"]),
    ({"type": "string", "not": {"maxLength": 2}}, ['"abc"'], ['"ab"']),
    ({"not": {"required": ["a"]}, **OBJECT}, ['{"b":1}'], ['{"a":""}']),
    ({**OBJECT, **CASES}, ['{"a":"x","b":1}', '{"a":"y"}', "{}"], ['{"a":"x"}', '{"a":"y","b":1}']),
    ({"if": True, "then": {"const": 1}, "else": {"const": 2}}, ["1"], ["2"]),
    ({**OBJECT, "dependentRequired": {"b": ["a"]}}, ['{"a":"","b":1}', "{}"], ['{"b":1}']),
    ({**OBJECT, "dependentSchemas": {"b": {"required": ["a"]}}}, ['{"a":"","b":1}', "{}"], ['{"b":1}']),
    ({**OBJECT, "unevaluatedProperties": False}, ['{"a":""}'], ['{"c":1}']),
    ({"type": "array", "prefixItems": [{"const": 1}], "unevaluatedItems": {"const": 2}}, ["[1,2]"], ["[1,1]"]),
    (
        {
            **OBJECT,
            "allOf": [{"$ref": "#/$defs/c"}],
            "unevaluatedProperties": False,
            "$defs": {"c": {"properties": {"c": {}}}},
        },
        ['{"a":"","c":1}'],
        ['{"d":1}'],
    ),
    ({"type": "object", "allOf": [{"additionalProperties": True}], "unevaluatedProperties": False}, ['{"d":1}'], ["1"]),
    (
        {"type": "array", "allOf": [{"prefixItems": [{"const": 1}, True]}], "unevaluatedItems": False},
        ["[1,5]"],
        ["[1,5,5]", "[2]"],
    ),
    (
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 1},
        ['["c","a"]', '["b"]'],
        ['["a","a"]', "[]", '["d"]'],
    ),
    ({"type": "object", "propertyNames": {"enum": ["a", "b"]}}, ['{"b":1}'], ['{"c":1}']),
    ({"type": "object", "propertyNames": {"pattern": "^x"}}, ['{"xa":1}'], ['{"a":1}']),
    ({"type": "object", "propertyNames": {"maxLength": 2, "minLength": 1}}, ['{"a":1}'], ['{"abc":1}', '{"":1}']),
    (
        {"propertyNames": {"$ref": "#/$defs/n"}, "type": "object", "$defs": {"n": {"const": "a"}}},
        ['{"a":1}', "{}"],
        ['{"b":1}'],
    ),
    ({"type": "object", "propertyNames": False}, ["{}"], ['{"a":1}']),
    ({"type": "array", "contains": {}, "minContains": 2}, ["[1,2]"], ["[1]"]),
    ({"type": "array", "uniqueItems": True, "maxItems": 1}, ["[1]"], ["[1,1]"]),
    ({"type": "object", "required": ["a", "b"], "minProperties": 2}, ['{"a":1,"b":2}'], ['{"a":1}']),
    # patterns as JavaScript reads them
    ({"type": "string", "pattern": r"^\p{Lu}+$"}, ['"É"'], ['"é"']),
    ({"type": "string", "pattern": "^(?<year>[0-9]{4})$"}, ['"2026"'], ['"20"']),
    ({"type": "string", "pattern": "^[[a]$"}, ['"["', '"a"'], ['"b"']),
    ({"type": "string", "pattern": "^[a-z&&[^b]]$"}, ['"&]"', '"b]"'], ['"a"']),
    ({"type": "string", "pattern": "^{[^]}$"}, ['"{x}"'], ['"{}"']),
    ({"type": "string", "pattern": r"^\u{41}{2}$"}, [], ['"A"']),
    # what looks ahead at the beginning of a pattern
    (
        {"type": "string", "pattern": r"^(?=.*[A-Z])(?=.*\d)[A-Za-z\d]{4,}$"},
        ['"aB3d"', '"3Bcd"'],
        ['"abcd"', '"aBcd"', '"B3"'],
    ),
    (
        {"type": "string", "pattern": r"^(?!\.)(?!.*\.\.)(?!.*x)[a-z.]*[a-z]@(?:[a-z]+\.)+[a-z]{2,}$"},
        ['"a.b@c.de"', '"a@b.c.de"'],
        ['".a@c.de"', '"a..b@c.de"', '"x@c.de"', '"a@de"'],
    ),
    ({"type": "string", "pattern": "^(?!a)$"}, ['""'], ['"a"']),
    ({"type": "string", "pattern": "^(?![^a])(?!\\s)[ab]{2}$"}, ['"ab"'], ['"ba"']),
    # dates that a calendar has
    (
        {"type": "string", "format": "date"},
        ['"2024-02-29"', '"2000-02-29"', '"2023-12-31"'],
        ['"2023-02-29"', '"1900-02-29"'],
    ),
    (
        {"type": "string", "format": "date-time"},
        ['"2024-02-29T23:59:59Z"', '"2023-02-28T00:00:00.5+01:00"'],
        ['"2023-02-29T00:00:00Z"', '"2024-01-01T23:59:60Z"', '"2024-01-01"'],
    ),
    ({"type": "string", "format": "time"}, ['"23:59:59Z"'], ['"23:59:60Z"']),
    # numbers beyond what a float64 tells apart
    ({"type": "integer", "maximum": 2**53 + 3}, ["9007199254740994"], ["9007199254740996"]),
    ({"type": "integer", "maximum": 2**63 - 1, "minimum": 0}, ["5"], ["-1"]),
    ({"type": "integer", "maximum": 2**63 - 1, "minimum": -(2**63)}, ["-5", "5"], ["0.5"]),
    ({"type": "integer", "maximum": 2**64, "exclusiveMinimum": 10}, ["11"], ["10"]),
    ({"const": -0.0}, ["0"], ["1"]),
    ({"const": 2.0}, ["2"], ["3"]),
]


@pytest.mark.parametrize(("schema", "right", "wrong"), ALLOWED)
def test_a_schema_allows_what_it_means(schema: Any, right: list[str], wrong: list[str]) -> None:
    assert {text: accepts(schema, text) for text in right + wrong} == {
        **dict.fromkeys(right, True),
        **dict.fromkeys(wrong, False),
    }


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"a": {"format": "colour"}, "b": {"format": "int32"}}}, "is kept to: colour, int32"),
        ({"city": {"type": "string"}, "x-mine": 1}, "no keyword of JSON schemas, so without effect: city"),
        ({"type": "string", "nullable": True}, "null is not allowed"),
        ({"properties": {"format": {}, "nullable": {}}, "enum": [{"nullable": True}], "type": "object"}, ""),
    ],
)
def test_what_limits_nothing_is_noted(schema: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    compile_schema(schema)
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)


HOSTILE = {
    "overflows the stack": chain(3000),
    "overflows it by options": chain(1500, lambda ref: {"anyOf": [ref, {"type": "integer"}]}),
    "counts to a hundred million": {"type": "integer", "multipleOf": 99_999_989},
    "crosses many patterns": {
        "allOf": [{"type": "string", "pattern": f".*{letter}.*"} for letter in "abcdefghijklmnopqrst"]
    },
    "excludes a tree": {
        "$defs": {f"L{n}": {"anyOf": [{"$ref": f"#/$defs/L{n + 1}"}] * 9} for n in range(14)} | {"L14": {}},
        "not": {"$ref": "#/$defs/L0"},
    },
    "tells a tree apart": {
        "$defs": {
            f"L{n}": {
                "type": "object",
                "required": ["a", "b"],
                "properties": {key: {"$ref": f"#/$defs/L{n + 1}"} for key in "ab"},
            }
            for n in range(200)
        }
        | {"L200": {}},
        "oneOf": [{"$ref": "#/$defs/L0"}, {"$ref": "#/$defs/L1"}],
    },
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_hostile_schemas_are_refused_in_time(schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 2.0)
    with counted_calls() as calls, pytest.raises(UsageError, match="the JSON schema"):
        compile_schema(schema)
    assert calls.total() < 6_000_000
