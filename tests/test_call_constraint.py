"""Calls kept to their tools: whatever is drawn is a call of a declared tool that its schema allows."""

import random
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from gemma4_mlx.engine.call_constraint import CallConstraint, CallMatcher, build_call_matcher, call_marks
from gemma4_mlx.engine.guide import Bits
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
    for seed in range(25):
        call = read(words.tokenizer, draw(words, constraint(words, declared[name]), seed))
        assert call.name == name
        declared[name].check(call.arguments)
