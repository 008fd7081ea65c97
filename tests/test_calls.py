"""Tool calls, as the chat template writes them and as a model may write them."""

import math
from typing import Any

import pytest
from goldens import TEMPLATES
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import ids_of

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.calls import CallReader, ToolCall
from gemma4_mlx.prompt.messages import read_messages
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.reply import ReplyParser
from gemma4_mlx.prompt.template import ChatTemplate

# Gemma's normalizer writes a space as "▁", so the two are one and the same.
TEXT = st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=20)
MARKUP = st.lists(st.sampled_from(['<|"|>', "<tool_call|>", "<|tool_call>", "{", "}", "[", ",", ":", "\n", "a"])).map(
    "".join
)
# Bare keys can't hold what ends them, nor space or quotes around them.
KEYS = st.text(st.characters(exclude_characters='▁{}:,"<', exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda key: key == key.strip("'`“”„‘’‚").strip()
)
NAMES = st.one_of(KEYS, st.sampled_from(["get_weather", "files.read", "web-search", "server:tool", "my tool"]))
SCALARS = st.one_of(TEXT, MARKUP, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
VALUES = st.recursive(
    st.one_of(SCALARS, st.none()), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
CALLS = st.builds(ToolCall, NAMES, st.dictionaries(KEYS, VALUES, max_size=4))


def parse(processor: Processor, ids: list[int]) -> list[ToolCall]:
    parser = ReplyParser(processor.tokenizer, (), [processor.tokenizer.id("<turn|>")])
    pieces = [piece for id in ids for piece in parser.feed(id).split()] + [*parser.finish().split()]
    for piece in pieces:
        if piece.malformed is not None:
            raise GemmaError(piece.malformed.message)
    return [piece.call for piece in pieces if piece.call]


def parse_one(processor: Processor, inside: str) -> ToolCall:
    (call,) = parse(processor, ids_of(processor, f"<|tool_call>{inside}<tool_call|>"))
    return call


@pytest.fixture(params=TEMPLATES, scope="module")
def template(request: pytest.FixtureRequest) -> ChatTemplate:
    return ChatTemplate.from_folder(TEMPLATES[request.param])


def written(template: ChatTemplate, processor: Processor, calls: list[ToolCall]) -> list[int]:
    """Ids of the calls in a rendered history, up to where the model waits for responses."""
    request = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": request}]
    read, _ = read_messages(messages, processor.tokenizer.quote)
    ids = ids_of(processor, template.render(read))
    return ids[ids.index(processor.tokenizer.id("<|tool_call>")) :]


@given(st.lists(CALLS, min_size=1, max_size=3))
@settings(deadline=None, max_examples=60)
def test_reads_whatever_templates_write(template: ChatTemplate, processor: Processor, calls: list[ToolCall]) -> None:
    assert parse(processor, written(template, processor, calls)) == calls


def test_all_kinds_of_values(processor: Processor) -> None:
    inside = 'call:f{s:<|"|>x<|"|>,n:3,m:-1.5e3,b:true,c:false,z:null,l:[1,[],<|"|>a<|"|>],d:{e:{},k:{x:[{y:1}]}}}'
    assert parse_one(processor, inside) == ToolCall(
        "f",
        {
            "s": "x",
            "n": 3,
            "m": -1500.0,
            "b": True,
            "c": False,
            "z": None,
            "l": [1, [], "a"],
            "d": {"e": {}, "k": {"x": [{"y": 1}]}},
        },
    )


def test_strings_hold_braces_commas_quotes_and_newlines(processor: Processor) -> None:
    code = 'if (x) { y = ["a", "b"]; }\n# \'done\', "really": {1,2}'
    assert parse_one(processor, f'call:write{{content:<|"|>{code}<|"|>,path:<|"|>a.c<|"|>}}').arguments == {
        "content": code,
        "path": "a.c",
    }


def test_marks_typed_inside_a_string_are_text(processor: Processor) -> None:
    typed = processor.tokenizer.encode('<tool_call|> and <|"|>,x:1')
    ids = [
        *ids_of(processor, '<|tool_call>call:f{s:<|"|>'),
        *typed,
        *ids_of(processor, '<|"|>}<tool_call|>'),
    ]
    assert parse(processor, ids) == [ToolCall("f", {"s": '<tool_call|> and <|"|>,x:1'})]


def test_spaces_between_anything(processor: Processor) -> None:
    inside = ' call: web.search { my-key : <|"|> a <|"|> , b.c :\n[ 1 , 2 ] , d : { } } \n'
    assert parse_one(processor, inside) == ToolCall("web.search", {"my-key": " a ", "b.c": [1, 2], "d": {}})


def test_keys_with_brackets_and_quoted_keys(processor: Processor) -> None:
    assert parse_one(processor, 'call:f{a[0]:1,<|"|>b:{c<|"|>:2}').arguments == {"a[0]": 1, "b:{c": 2}


def test_no_arguments(processor: Processor) -> None:
    assert parse_one(processor, "call:now{}") == ToolCall("now", {})


MALFORMED = [
    ("", "'{' should stand where its end is"),
    ("call:{}", "'call:NAME' should stand"),
    ("call:f", "'{' should stand where its end is"),
    ("call:f{a}", "':' should stand where '}' is"),
    ("call:f{a:}", "a value should stand where '}' is"),
    ("call:f{a:Rome}", "a value should stand where 'Rome' is"),
    ("call:f{a:007}", "a number should stand where '007' is"),
    ("call:f{a:1e999}", "a finite number should stand where '1e999' is"),
    ("call:f{a:NaN}", "a value should stand where 'NaN' is"),
    (f"call:f{{a:{'9' * 5000}}}", "a number should stand"),
    ("call:f{a:1,,b:2}", "':' should stand where ',' is"),
    ("call:f{a:1 b:2}", "a value should stand where '1 b' is"),
    ("call:f{a:[1}", "',' should stand where '}' is"),
    ("call:f{:1}", "a key should stand where ':' is"),
    ("call:f{a:1,a:2}", "gives 'a' twice"),
    ("call:f{}{}", "'call:NAME' should stand where '{' is"),
    ('call:f{a:<|"|>x', "ends inside a string, after 'x'"),
    ('call:f{a:<|"|>x,b:1}', "ends inside a string, after 'x,b:1}'"),
    ('call:f{a:<|"|>x<|"|>y}', "',' should stand where 'y' is"),
    ('call:f{a<|"|>x<|"|>:1}', "':' should stand where a string is"),
    ("call:f{a:" + "[" * 65 + "]" * 65 + "}", "nested more than 64 deep"),
    ("call:f{<|channel>a:1}", "a control token stands between values"),
]


@pytest.mark.parametrize(("inside", "message"), MALFORMED)
def test_malformed_calls_are_refused(processor: Processor, inside: str, message: str) -> None:
    with pytest.raises(GemmaError) as error:
        parse_one(processor, inside)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 360


@given(CALLS, st.data())
@settings(deadline=None, max_examples=60)
def test_a_truncated_call_is_an_error(processor: Processor, call: ToolCall, data: st.DataObject) -> None:
    ids = written(processor.template, processor, [call])
    whole = ids.index(processor.tokenizer.id("<tool_call|>"))
    cut = ids[: data.draw(st.integers(1, whole - 1))]
    with pytest.raises(GemmaError, match="inside a tool call, which was not run"):
        parse(processor, cut)
    with pytest.raises(GemmaError, match="the model's tool call is malformed"):
        parse(processor, [*cut, processor.tokenizer.id("<turn|>")])


@given(st.text('call:f{}[],1"x <|>', max_size=30))
def test_any_text_is_a_call_or_a_clean_error(text: str) -> None:
    reader = CallReader()
    for number, part in enumerate(text.split('"')):
        if number:
            reader.quote()
        reader.text(part)
    try:
        calls = reader.finish()
    except GemmaError:
        return
    assert calls
    assert all(call.name for call in calls)


def test_numbers_keep_their_kind(processor: Processor) -> None:
    arguments = parse_one(processor, "call:f{a:1,b:1.0,c:-0.0}").arguments
    assert [type(value) for value in arguments.values()] == [int, float, float]
    assert math.copysign(1, arguments["c"]) == -1


def test_it_streams_call_by_call(processor: Processor) -> None:
    ids = ids_of(processor, "Wait.<|tool_call>call:a{x:1}<tool_call|><|tool_call>call:b{}<tool_call|><|tool_response>")
    parser = ReplyParser(processor.tokenizer, (), [])
    pieces: list[Any] = [parser.feed(id) for id in ids]
    assert "".join(piece.text for piece in pieces if piece.channel == "answer") == "Wait."
    assert "".join(piece.text for piece in pieces if piece.channel == "tool") == "call:a{x:1}call:b{}"
    ends = [at for at, id in enumerate(ids) if id == processor.tokenizer.id("<tool_call|>")]
    assert [(at, piece.call) for at, piece in enumerate(pieces) if piece.call] == [
        (ends[0], ToolCall("a", {"x": 1})),
        (ends[1], ToolCall("b", {})),
    ]
    assert parser.stopped
