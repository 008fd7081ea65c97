"""Calls kept to their tools: whatever is drawn is a call of a declared tool that its schema allows."""

import random
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import ids_of
from work import counted_calls

from gemma4_mlx.engine import call_grammar
from gemma4_mlx.engine.call_constraint import CallConstraint, CallMatcher, build_call_matcher, call_marks
from gemma4_mlx.engine.guide import Bits
from gemma4_mlx.engine.schema_variants import Variants
from gemma4_mlx.engine.vocabulary import Vocabulary, vocabulary
from gemma4_mlx.prompt.calls import ToolCall
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.reply import ReplyParser
from gemma4_mlx.prompt.tokenizer import Tokenizer
from gemma4_mlx.prompt.tools import Tool, read_tool

ISSUE = {
    "type": "object",
    "properties": {
        "owner": {"type": "string", "description": "Repository owner"},
        "repo": {"type": "string"},
        "title": {"type": "string", "minLength": 1},
        "body": {"type": "string"},
        "labels": {"type": "array", "items": {"type": "string"}},
        "milestone": {"type": "number"},
        "state": {"type": "string", "enum": ["open", "closed"]},
    },
    "required": ["owner", "repo", "title"],
}
EDIT_FILE = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "edits": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"oldText": {"type": "string"}, "newText": {"type": "string"}},
                "required": ["oldText", "newText"],
                "additionalProperties": False,
            },
        },
        "dryRun": {"type": "boolean", "default": False},
    },
    "required": ["path", "edits"],
    "additionalProperties": False,
    "$schema": "http://json-schema.org/draft-07/schema#",
}
BROWSER = {
    "type": "object",
    "properties": {
        "element": {"type": "string"},
        "button": {"type": "string", "enum": ["left", "right", "middle"]},
        "doubleClick": {"type": "boolean"},
        "modifiers": {
            "type": "array",
            "items": {"type": "string", "enum": ["Alt", "Control", "ControlOrMeta", "Meta", "Shift"]},
            "uniqueItems": True,
        },
        "time": {"type": "number", "minimum": 0, "maximum": 30},
    },
    "required": ["element"],
    "additionalProperties": False,
}
RECORD = {
    "type": "object",
    "properties": {
        "env": {
            "type": "object",
            "propertyNames": {"type": "string"},
            "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        },
        "limits": {
            "type": "object",
            "propertyNames": {"enum": ["cpu", "memory"]},
            "additionalProperties": {"type": "integer", "exclusiveMinimum": 0, "maximum": 64},
        },
    },
    "required": ["env"],
}
UNION = {
    "type": "object",
    "properties": {
        "filter": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "op": {"const": "and"},
                        "parts": {"type": "array", "items": {"$ref": "#/$defs/Filter"}, "minItems": 2, "maxItems": 3},
                    },
                    "required": ["op", "parts"],
                },
                {"$ref": "#/$defs/Filter"},
                {"type": "null"},
            ]
        },
        "page": {"type": ["integer", "null"], "minimum": 1},
    },
    "required": ["filter"],
    "$defs": {
        "Filter": {
            "type": "object",
            "properties": {
                "field name": {"type": "string", "maxLength": 8},
                "value": {"oneOf": [{"type": "string"}, {"type": "boolean"}, {"enum": [1, 2.5, None]}]},
                "not": {"$ref": "#/$defs/Filter"},
            },
            "required": ["field name", "value"],
        }
    },
}
TREE = {
    "type": "object",
    "properties": {"root": {"$ref": "#/definitions/node"}},
    "required": ["root"],
    "definitions": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 2, "maxLength": 3},
                "children": {"type": "array", "items": {"$ref": "#/definitions/node"}},
                "marks": {"type": "array", "items": {"$ref": "#/definitions/node"}, "maxItems": 2},
            },
            "required": ["name"],
            "additionalProperties": False,
        }
    },
}
ODD_KEYS = {
    "type": "object",
    "properties": {
        "a:b": {"type": "integer"},
        "{x}": {"type": "null"},
        " padded ": {"type": "boolean"},
        "filter[status]": {"enum": ["", "a\u001bb", 'say "hi"', "naïve ☃", "<|turn>"]},
        "größe": {"type": "number", "exclusiveMinimum": -1, "exclusiveMaximum": 1},
    },
    "required": ["a:b", "{x}", " padded ", "filter[status]", "größe"],
}
EITHER = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "pair": {"$ref": "#/$defs/Pair"}},
    "anyOf": [{"required": ["id"]}, {"required": ["name", "pair"]}],
    "$defs": {
        "Pair": {
            "type": "array",
            "prefixItems": [{"type": "integer", "minimum": -20, "maximum": 7}, {"enum": [[1, {"k": "v"}], "x"]}],
            "items": False,
            "minItems": 2,
        }
    },
}
MANY = {
    "type": "object",
    "properties": {f"key{number}": {"type": "integer"} for number in range(63)},
    "required": [f"key{number}" for number in range(0, 63, 7)],
}
COMBINED = {
    "type": "object",
    "allOf": [
        {"properties": {"a": {"type": ["string", "integer"]}}, "required": ["a"]},
        {"properties": {"a": {"type": ["integer", "null"]}, "b": {"const": {"k": [True, None]}}}},
    ],
    "properties": {"c": {"type": "object", "minProperties": 2, "properties": {"x": {}, "y": {"type": "null"}}}},
    "required": ["c"],
}
ZOO = {
    "create_issue": ISSUE,
    "edit_file": EDIT_FILE,
    "browser_click": BROWSER,
    "run": RECORD,
    "search": UNION,
    "plant": TREE,
    "odd": ODD_KEYS,
    "either": EITHER,
    "many": MANY,
    "combined": COMBINED,
    "nothing": {"type": "object", "properties": {}},
    "server:mcp:free-form": {"type": "object"},
}


def set_of(bits: Bits | None) -> set[int]:
    assert bits is not None
    return set(np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist())


@pytest.fixture(scope="module")
def words(processor: Processor) -> Vocabulary:
    ends = tuple(processor.tokenizer.id(end) for end in ("<eos>", "<turn|>"))
    return vocabulary(processor.tokenizer, processor.config.text.vocab_size, ends)


def tool(parameters: Any, name: str = "f") -> Tool:
    return read_tool({"name": name, "parameters": parameters})


def constraint(words: Vocabulary, *tools: Tool) -> CallConstraint:
    marks = call_marks(words.tokenizer)
    assert marks is not None
    built: Future[CallMatcher] = Future()
    built.set_result(build_call_matcher(tools, marks, words))
    return CallConstraint(marks, words.tokenizer, words.size, sorted(words.end_ids), built)


def draw(words: Vocabulary, limiting: CallConstraint, seed: int) -> list[int]:
    """The tokens of a random call, which closes what is open sooner or later."""
    tokenizer, rng, tokens = words.tokenizer, random.Random(seed), words.tokenizer.token_bytes()
    quote, end = tokenizer.id('<|"|>'), tokenizer.id("<tool_call|>")
    ids = [tokenizer.id("<|tool_call>")]
    patience = rng.randint(0, 60)
    while ids[-1] != end:
        limiting.accept(ids[-1])
        allowed = sorted(set_of(limiting.allowed()))
        closing = [id for id in allowed if id in (quote, end) or tokens[id] in (b"}", b"]")]
        closing = closing or [id for id in allowed if tokens[id] == b","]
        ids.append(rng.choice(closing if closing and len(ids) > patience else allowed))
        assert len(ids) < 3000
    limiting.accept(end)
    return ids


def read(tokenizer: Tokenizer, ids: list[int]) -> ToolCall:
    parser = ReplyParser(tokenizer, (), ())
    (call,) = [piece.call for piece in map(parser.feed, ids) if piece.call is not None]
    return call


@pytest.mark.parametrize("name", ZOO)
def test_whatever_is_drawn_is_a_valid_call(words: Vocabulary, name: str) -> None:
    declared = {key: tool(parameters, key) for key, parameters in ZOO.items()}
    for seed in range(12):
        call = read(words.tokenizer, draw(words, constraint(words, declared[name]), seed))
        assert call.name == name
        declared[name].check(call.arguments)


def test_undeclared_names_and_keys_can_not_be_written(words: Vocabulary, processor: Processor) -> None:
    declared = (tool(ISSUE, "create_issue"), tool(EDIT_FILE, "edit_file"))
    for right, wrong in (
        ("<|tool_call>", " "),
        ("<|tool_call>call:", "d"),
        ("<|tool_call>call:create_issue", "s"),
        ("<|tool_call>call:create_issue{", "}"),
        ("<|tool_call>call:create_issue{", "p"),
        ("<|tool_call>call:create_issue{title:", "1"),
        ('<|tool_call>call:create_issue{title:<|"|>', '<|"|>'),
        ('<|tool_call>call:create_issue{title:<|"|>x<|"|>', "}"),
        ('<|tool_call>call:create_issue{title:<|"|>x<|"|>,', "t"),
        ('<|tool_call>call:edit_file{edits:[{newText:<|"|>x<|"|>', "}"),
        ('<|tool_call>call:edit_file{edits:[{newText:<|"|>x', "<turn|>"),
        ('<|tool_call>call:edit_file{edits:[{newText:<|"|>x', "<tool_call|>"),
    ):
        limiting = constraint(words, *declared)
        for id in ids_of(processor, right):
            limiting.accept(id)
        assert not set_of(limiting.allowed()) & set(ids_of(processor, wrong)), (right, wrong)


def test_only_calls_are_masked_and_only_calls_or_the_end_follow_them(words: Vocabulary, processor: Processor) -> None:
    limiting = constraint(words, tool(ISSUE, "a"), tool({"type": "object", "properties": {}}, "b"))
    for id in ids_of(processor, "<|channel>thought\nHm.<channel|>Let me see: call:c{"):
        assert limiting.allowed() is None
        limiting.accept(id)
    for id in ids_of(processor, "<|tool_call>call:b{}<tool_call|>"):
        limiting.accept(id)
    after = {processor.tokenizer.id(mark) for mark in ("<|tool_call>", "<|tool_response>", "<turn|>", "<eos>")}
    assert set_of(limiting.allowed()) == after
    for id in ids_of(processor, '<|tool_call>call:a{title:<|"|>x<|"|>,repo:<|"|><|"|>,owner:<|"|><|"|>}<tool_call|>'):
        assert id in set_of(limiting.allowed())
        limiting.accept(id)
    assert set_of(limiting.allowed()) == after
    limiting.accept(processor.tokenizer.id("<|tool_response>"))
    assert limiting.allowed() is None


def test_looking_ahead_is_the_same_as_going_there_and_leaves_no_trace(words: Vocabulary, processor: Processor) -> None:
    ids = ids_of(processor, "Yes.<|tool_call>call:b{}<tool_call|><|tool_call>call:a{n:12}<tool_call|><turn|>")
    numbered = {"type": "object", "properties": {"n": {"type": "integer"}}}
    declared = (tool(numbered, "a"), tool({"type": "object", "properties": {}}, "b"))
    ahead, one_by_one = constraint(words, *declared), constraint(words, *declared)
    for at, id in enumerate(ids):
        seen = ahead.ahead(ids[at : at + 7])
        assert len(seen) == len(ids[at : at + 7])
        one_by_one.accept(id)
        there = one_by_one.allowed()
        assert (seen[0] is None) == (there is None)
        assert there is None or (seen[0] == there).all()
        ahead.accept(id)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
        {"type": "object", "$ref": "#"},
        {"type": "object", "required": ["a"], "properties": {"a": False}},
        {"type": "object", "properties": {"a": {"$ref": "other.json#/x"}}, "required": ["a", "undeclared"]},
        {"type": "object", "properties": {"a": {"enum": list(range(5000))}}, "required": ["a"]},
        {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(3000)}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a|b)*c{1000}", "format": "x"}}},
        {"type": "object", "properties": {"a": {"items": [{"type": "integer"}], "maximum": True, "type": "array"}}},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/d0"}},
            "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 9} for n in range(30)} | {"d30": {}},
        },
    ],
)
def test_what_a_grammar_can_not_say_is_left_open_with_bounded_work(words: Vocabulary, parameters: Any) -> None:
    with counted_calls() as calls:
        declared = Tool(name="strange", description="", parameters=parameters)
        assert read(words.tokenizer, draw(words, constraint(words, declared), 1)).name == "strange"
    assert calls.total() < 2_000_000


def test_a_grammar_that_can_not_be_built_leaves_calls_free_with_a_note(
    words: Vocabulary, processor: Processor, caplog: pytest.LogCaptureFixture
) -> None:
    marks = call_marks(words.tokenizer)
    assert marks is not None
    failed: Future[CallMatcher] = Future()
    failed.set_exception(ValueError("the vocabulary is odd"))
    limiting = CallConstraint(marks, words.tokenizer, words.size, (), failed)
    ids = ids_of(processor, "<|tool_call>call:b{}")
    assert limiting.ahead(ids) == [None] * len(ids)
    assert "not kept to their schemas: the vocabulary is odd" in caplog.text


NAMES = st.sampled_from(["a", "ab", "b c", "ünï", "x:y", "a,b"])
LEAVES = st.one_of(
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, {"const": {"a": [1]}}]),
    st.builds(
        lambda low, high: {"type": "integer", "minimum": low, "maximum": low + high},
        st.integers(-99, 99),
        st.integers(0, 999),
    ),
    st.builds(
        lambda low, high: {"type": "number", "minimum": low, "exclusiveMaximum": low + high},
        st.integers(-99, 99),
        st.integers(1, 99),
    ),
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 4),
        st.integers(0, 4),
    ),
    st.lists(st.one_of(st.text(max_size=4), st.integers(-5, 5), st.none()), min_size=1, max_size=4, unique=True).map(
        lambda values: {"enum": values}
    ),
)


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of objects whose keys have such values."""
    properties = st.dictionaries(NAMES, values, max_size=4)
    return properties.flatmap(
        lambda keys: st.builds(
            lambda required, closed: {"type": "object", "properties": keys, "required": required} | closed,
            st.lists(st.sampled_from(sorted(keys)), unique=True) if keys else st.just([]),
            st.sampled_from([{}, {"additionalProperties": False}, {"minProperties": 1} if keys else {}]),
        )
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        st.builds(
            lambda item, low, more: {"type": "array", "items": item, "minItems": low, "maxItems": low + more},
            inner,
            st.integers(0, 2),
            st.integers(0, 2),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=6,
)


@given(parameters=objects(SCHEMAS), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_whatever_is_drawn_for_any_schema_validates(words: Vocabulary, parameters: Any, seed: int) -> None:
    declared = tool(parameters)
    declared.check(read(words.tokenizer, draw(words, constraint(words, declared), seed)).arguments)


def test_many_endless_tools_take_no_more_work_than_one(words: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 9} for n in range(30)} | {"d30": {}}
    schemas = (
        {"type": "object", "properties": {f"k{n}": {"$ref": "#/$defs/d0"}}, "$defs": endless} for n in range(200)
    )
    declared = [Tool(name=f"t{n}", description="", parameters=schema) for n, schema in enumerate(schemas)]
    looked_at, flatten = [], Variants.of

    def counted(*arguments: Any) -> Any:
        looked_at.append(1)
        return flatten(*arguments)

    monkeypatch.setattr(call_grammar, "MAX_PARTS_IN_ALL", 15_000)
    monkeypatch.setattr(Variants, "of", counted)
    constraint(words, *declared, tool(ISSUE, "last"))
    assert 10_000 < len(looked_at) < 15_500
