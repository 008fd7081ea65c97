"""Answers kept to a schema: whatever is drawn validates, thoughts and tool calls stay free, and guesses are checked."""

import json
import random
from typing import Any

import jsonschema
import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import ids_of

from gemma4_mlx.engine.constraint import Constraint
from gemma4_mlx.engine.guide import Bits, keep_only, token_set
from gemma4_mlx.engine.schema import compile_schema
from gemma4_mlx.engine.vocabulary import Vocabulary, vocabulary
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.processor import Processor

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def set_of(bits: Bits) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist())


@pytest.fixture(scope="module")
def words(processor: Processor) -> Vocabulary:
    ends = tuple(processor.tokenizer.id(end) for end in ("<eos>", "<turn|>"))
    return vocabulary(processor.tokenizer, processor.config.text.vocab_size, ends)


def constraint(
    words: Vocabulary, schema: Any, prompt: str = "<|turn>model\n<|channel>thought\n<channel|>", **rest: Any
):
    ids = (
        []
        if words is None
        else [
            words.tokenizer.control_ids.get(text, -1) if id is None else id
            for id, text in words.tokenizer.pieces(prompt)
        ]
    )
    return Constraint(compile_schema(schema), words, ids, **rest)


SCHEMAS = [
    PERSON,
    {"type": "object", "properties": {"a": {"type": "integer"}}},
    {"type": "object", "properties": {"a/b": {"type": "integer"}, 'q"': {"const": None}}, "required": ['q"']},
    {"type": "array", "items": {"enum": ["x", 1, None, [2], {"k": "v"}]}, "minItems": 2, "maxItems": 3},
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "items": False},
    {"anyOf": [{"type": "integer", "minimum": -3, "maximum": 12}, {"type": "string", "pattern": "^[ab]{1,4}$"}]},
    {"type": "number", "multipleOf": 5, "exclusiveMinimum": 0, "maximum": 1000},
    {"allOf": [{"properties": {"a": {"type": "string", "maxLength": 2}}, "required": ["a"]}, {"type": "object"}]},
    {"type": "string", "minLength": 2, "maxLength": 6},
    {
        "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "additionalProperties": False}},
        "$ref": "#/$defs/N",
    },
    {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}},
    {"type": ["string", "null"], "format": "date"},
]


def draw(words: Vocabulary, limiting: Constraint, seed: int) -> str:
    """A random reply that closes what is open sooner or later."""
    rng, tokens, ids = random.Random(seed), words.tokenizer.token_bytes(), []
    for step in range(2000):
        allowed = sorted(set_of(limiting.allowed()))
        ending = [id for id in allowed if id in words.end_ids or tokens[id] in (b'"', b"}", b"]", b",", b"0", b"1")]
        ids.append(rng.choice(ending if ending and step > rng.randint(0, 60) else allowed))
        limiting.accept(ids[-1])
        if ids[-1] in words.end_ids:
            assert limiting.finished
            return b"".join(tokens[id] for id in ids[:-1]).decode()
    raise AssertionError("the reply does not end")


@pytest.mark.parametrize("schema", SCHEMAS)
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_whatever_is_drawn_validates(words: Vocabulary, schema: dict[str, Any], seed: int) -> None:
    text = draw(words, constraint(words, schema), seed)
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_the_end_comes_only_when_the_answer_is_complete(words: Vocabulary, processor: Processor) -> None:
    limiting = constraint(words, PERSON)
    for id in processor.tokenizer.encode('{"name": "Ann", "age": 30'):
        assert not set_of(limiting.allowed()) & words.end_ids
        limiting.accept(id)
    assert not limiting.finished
    limiting.accept(*processor.tokenizer.encode("}"))
    assert limiting.finished
    assert set_of(limiting.allowed()) == words.end_ids


def test_space_between_marks_comes_to_an_end(words: Vocabulary, processor: Processor) -> None:
    (space,) = processor.tokenizer.encode(" ")
    limiting = constraint(words, PERSON)
    limiting.accept(*processor.tokenizer.encode("{"))
    limiting.accept(space)
    assert space not in set_of(limiting.allowed())


def test_a_key_has_no_second_spelling_that_escapes_its_schema(words: Vocabulary, processor: Processor) -> None:
    limiting = constraint(words, {"type": "object", "properties": {"a": {"type": "integer"}}})
    for id in processor.tokenizer.encode('{"\\'):
        limiting.accept(id)
    allowed = set_of(limiting.allowed())
    assert set(processor.tokenizer.encode("n")) <= allowed
    assert not set(processor.tokenizer.encode("u")) & allowed


def test_no_control_token_is_part_of_an_answer(words: Vocabulary, processor: Processor) -> None:
    limiting = constraint(words, {"type": "string"})
    limiting.accept(*processor.tokenizer.encode('"'))
    assert not set_of(limiting.allowed()) & set(processor.tokenizer.control_ids.values())


def test_thoughts_are_free_but_can_not_end_the_reply(words: Vocabulary, processor: Processor) -> None:
    limiting = constraint(words, PERSON, "<|turn>model\n")
    (brace,) = processor.tokenizer.encode("{")
    start, end = (processor.tokenizer.id(mark) for mark in ("<|channel>", "<channel|>"))
    assert {start, brace} <= set_of(limiting.allowed())
    limiting.accept(start)
    free = set_of(limiting.allowed())
    assert len(free) > 500
    assert not free & words.end_ids
    for id in ids_of(processor, "thought\nAny } text.\n<channel|>"):
        assert id in set_of(limiting.allowed())
        limiting.accept(id)
    assert not limiting.finished
    assert brace in set_of(limiting.allowed())
    assert not set_of(limiting.allowed()) & {start, end}


@pytest.mark.parametrize(
    ("prompt", "free", "may_think"),
    [
        ("<|turn>model\n<|channel>thought\n", True, False),
        ("<|turn>model\n<|channel>thought\n<channel|>", False, False),
        (
            "<|turn>model\n<|channel>thought\nHm.\n<channel|>Yes<turn|>\n<|turn>user\n?<turn|>\n<|turn>model\n",
            False,
            True,
        ),
    ],
)
def test_the_prompt_tells_where_the_reply_begins(words: Vocabulary, prompt: str, free: bool, may_think: bool) -> None:
    allowed = set_of(constraint(words, PERSON, prompt).allowed())
    assert (len(allowed) > 500) is free
    assert (words.tokenizer.id("<|channel>") in allowed) is may_think


def test_tools_may_be_called_in_place_of_an_answer(words: Vocabulary, processor: Processor) -> None:
    call = ids_of(processor, '<|tool_call>call:f{a:<|"|>x<|"|>}<tool_call|>')
    assert call[0] not in set_of(constraint(words, PERSON).allowed())
    limiting = constraint(words, PERSON, may_call=True)
    for id in call:
        assert id in set_of(limiting.allowed())
        assert not limiting.finished
        limiting.accept(id)
    assert limiting.finished
    assert set_of(limiting.allowed()) == {call[0], processor.tokenizer.id("<|tool_response>")}


def test_looking_ahead_is_the_same_as_going_there_and_leaves_no_trace(words: Vocabulary, processor: Processor) -> None:
    ids = ids_of(processor, '<|channel>thought\nHm<channel|>{"name": "Ann", "age": 30}<turn|>')
    ahead = constraint(words, PERSON, "<|turn>model\n")
    one_by_one = constraint(words, PERSON, "<|turn>model\n")
    for at, id in enumerate(ids):
        seen = ahead.ahead(ids[at : at + 4])
        assert len(seen) == len(ids[at : at + 4])
        one_by_one.accept(id)
        assert (seen[0] == one_by_one.allowed()).all()
        ahead.accept(id)
    assert ahead.finished


def test_guesses_end_before_the_first_that_is_not_allowed(words: Vocabulary, processor: Processor) -> None:
    limiting = constraint(words, PERSON)
    good, bad = processor.tokenizer.encode('{"'), processor.tokenizer.encode("}")
    assert len(limiting.ahead([*good, *bad, *good])) == len(good)


def test_logits_of_other_tokens_are_dropped(words: Vocabulary) -> None:
    logits = mx.random.normal((1, words.size), key=mx.random.key(0))
    kept = sorted({0, 3, 8, 300, words.size - 1})
    left = np.array(keep_only(logits, token_set(words.size, kept)))
    assert np.flatnonzero(np.isfinite(left[0])).tolist() == kept
    assert (left[0, kept] == np.array(logits)[0, kept]).all()


def test_a_wrong_token_is_an_error_not_a_wrong_answer(words: Vocabulary, processor: Processor) -> None:
    with pytest.raises(GemmaError, match="can't be kept to the JSON schema"):
        constraint(words, PERSON).accept(*processor.tokenizer.encode("x"))
