"""A reply's ids -> thought and answer, piece by piece."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marked import ids_of

from gemma4_mlx.prompt.calls import MalformedCall, ToolCall
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.reply import ReplyParser
from gemma4_mlx.prompt.tools import Tool, read_tool

TOOLS = [read_tool({"name": "get", "parameters": {"properties": {"city": {"type": "string"}}}})]


def parse(
    processor: Processor,
    ids: list[int],
    prompt_ids: tuple[int, ...] = (),
    stop: tuple[str, ...] = (),
    tools: Sequence[Tool] = (),
) -> dict[str, Any]:
    """Texts by channel, and the calls, if there are any."""
    hidden = [processor.tokenizer.id("<turn|>"), processor.tokenizer.id("<eos>")]
    parser = ReplyParser(processor.tokenizer, prompt_ids, hidden, stop, tools)
    said: dict[str, Any] = {"answer": "", "thought": ""}
    pieces = []
    for id in ids:
        pieces.append(parser.feed(id))
        if parser.stopped:
            break
    for piece in (part for whole in [*pieces, parser.finish()] for part in whole.split()):
        said[piece.channel] = said.get(piece.channel, "") + piece.text
        for call in filter(None, (piece.call, piece.malformed)):
            said.setdefault("calls", []).append(call)
    return said


# Gemma's normalizer writes a space as "▁", so the two are one and the same.
CHARACTERS = st.characters(exclude_characters="▁", exclude_categories=["Cs"])


@given(st.text(CHARACTERS, max_size=40))
@settings(deadline=None)
def test_any_text_comes_back_whole(processor: Processor, text: str) -> None:
    assert parse(processor, processor.tokenizer.encode(text)) == {"answer": text, "thought": ""}


def test_thought_and_answer_come_apart(processor: Processor) -> None:
    ids = ids_of(processor, "<|channel>thought\nLet me see: 2+2\n<channel|>It is 4.<turn|>")
    assert parse(processor, ids) == {"thought": "Let me see: 2+2\n", "answer": "It is 4."}


def test_a_prompt_may_end_inside_a_thought(processor: Processor) -> None:
    prompt = tuple(ids_of(processor, "<|turn>model\n<|channel>thought\n"))
    ids = ids_of(processor, "Hm.<channel|>Yes")
    assert parse(processor, ids, prompt) == {"thought": "Hm.", "answer": "Yes"}


def test_a_closed_channel_in_the_prompt_is_no_thought(processor: Processor) -> None:
    prompt = tuple(ids_of(processor, "<|turn>model\n<|channel>thought\n<channel|>"))
    assert parse(processor, ids_of(processor, "Yes"), prompt) == {"thought": "", "answer": "Yes"}


def test_marks_spelled_out_are_text(processor: Processor) -> None:
    ids = processor.tokenizer.encode("<|channel>thought\nno<channel|>")
    assert parse(processor, ids)["answer"] == "<|channel>thought\nno<channel|>"


def test_tool_calls_are_apart_from_what_is_said(processor: Processor) -> None:
    marked = '<|channel>thought\nHm.<channel|>Let me see.<|tool_call>call:get{city:<|"|>Rome<|"|>}<tool_call|>'
    said = parse(processor, ids_of(processor, marked))
    assert said == {
        "thought": "Hm.",
        "answer": "Let me see.",
        "tool": 'call:get{city:<|"|>Rome<|"|>}',
        "calls": [ToolCall("get", {"city": "Rome"})],
    }


def test_a_call_out_of_a_thought_leads_back_into_it(processor: Processor) -> None:
    ids = ids_of(processor, "<|channel>thought\nHm.<|tool_call>call:get{}<tool_call|> So.<channel|>Yes")
    calls = [ToolCall("get", {})]
    assert parse(processor, ids) == {"thought": "Hm. So.", "answer": "Yes", "tool": "call:get{}", "calls": calls}


def test_waiting_for_a_response_ends_the_reply(processor: Processor) -> None:
    parser = ReplyParser(processor.tokenizer, (), [])
    parser.feed(processor.tokenizer.id("<tool_call|>"))
    assert not parser.stopped
    assert parser.feed(processor.tokenizer.id("<|tool_response>")).text == ""
    assert parser.stopped


def test_a_character_cut_short_is_not_lost_silently(processor: Processor) -> None:
    ids = processor.tokenizer.encode("日")[:-1]
    assert parse(processor, ids)["answer"] == "\ufffd"


def test_broken_bytes_between_whole_characters(processor: Processor) -> None:
    byte = {value[0]: id for id, value in processor.tokenizer._byte_ids.items()}
    ids = [
        byte[0xC2],
        byte[0x80 + 0x3E],
        byte[0xE6],
        *processor.tokenizer.encode("R"),
        byte[0xFF],
        byte[0xC3],
        byte[0xA9],
    ]
    assert parse(processor, ids)["answer"] == "¾\ufffdR\ufffdé"


def test_stop_strings_end_answers_but_not_thoughts(processor: Processor) -> None:
    ids = ids_of(processor, "<|channel>thought\nSTOP<channel|>one STOP two")
    assert parse(processor, ids, stop=("STOP",)) == {"thought": "STOP", "answer": "one "}


ROME = ToolCall("get", {"city": "Rome"})
CHANNELS = [
    # the label, and no other text, is dropped
    ("<|channel>thought\nHm.<channel|>Yes", "Hm.", "Yes"),
    ("<|channel>thought Hm.<channel|>Yes", "Hm.", "Yes"),
    ("<|channel>thought  \nHm.<channel|>Yes", "Hm.", "Yes"),
    ("<|channel>\nthought\nHm.<channel|>Yes", "Hm.", "Yes"),
    ("<|channel>analysis\nHm.<channel|>Yes", "Hm.", "Yes"),
    ("<|channel>Thought\r\nHm.<channel|>Yes", "Hm.", "Yes"),
    ("<|channel>Thought is free.<channel|>Yes", "Thought is free.", "Yes"),
    ("<|channel>Thought<channel|>Yes", "Thought", "Yes"),
    ("<|channel>thinking\nHm.<channel|>Yes", "Hm.", "Yes"),
    ("<|channel>A remark<channel|>Done", "A remark", "Done"),
    ("<|channel>First line\nsecond<channel|>Done", "First line\nsecond", "Done"),
    ("<|channel>thoughtful remark<channel|>Done", "thoughtful remark", "Done"),
    ("<|channel>thoughts\nHm.<channel|>Done", "thoughts\nHm.", "Done"),
    ("<|channel>though<channel|>Done", "though", "Done"),
    ("<|channel>analysis of it<channel|>Done", "analysis of it", "Done"),
    ("<|channel>thought<channel|>Done", "", "Done"),
    ("<|channel>thought\n<channel|>Done", "", "Done"),
    ("<|channel><channel|>Done", "", "Done"),
    ("<|channel>first<channel|><|channel>second<channel|>Done", "firstsecond", "Done"),
    ("One<|channel>thought\ntwo<channel|> three", "two", "One three"),
    ("<|channel>thought\none<|channel>thought\ntwo<channel|>three", "onetwo", "three"),
    # at the end of the reply
    ("<|channel>A remark", "A remark", ""),
    ("<|channel>thought\nHm.", "Hm.", ""),
    ("<|channel>thought", "", ""),
    ("<|channel>thou", "thou", ""),
    ("<|channel>A remark<turn|>", "A remark", ""),
    ("Yes<|channel>", "", "Yes"),
    # a thought that lost its mark
    ("thought\n<channel|>Answer", "", "Answer"),
    ("thought\nHm.\n<channel|>Answer", "Hm.\n", "Answer"),
    ("thought<channel|>Answer", "", "Answer"),
    ("\nthought\nHm.<channel|>Answer", "Hm.", "Answer"),
    ("thought\n<channel|>thought\n<channel|>Answer", "", "Answer"),
    ("<channel|>Answer", "", "Answer"),
    ("thought\nHm.<|channel>thought\nSo.<channel|>Answer", "Hm.So.", "Answer"),
    ("thought\nis a word", "", "thought\nis a word"),
    ("thought experiment<channel|>s", "", "thought experiments"),
    ("thou", "", "thou"),
    ("My thought\n<channel|>is", "", "My thought\nis"),
]


@pytest.mark.parametrize(("marked", "thought", "answer"), CHANNELS)
def test_what_a_channel_holds_is_kept(processor: Processor, marked: str, thought: str, answer: str) -> None:
    assert parse(processor, ids_of(processor, marked)) == {"thought": thought, "answer": answer}


LOST = [
    ('<|channel>thought\nHm.<channel|>call:get{city:<|"|>Rome<|"|>}<turn|>', "Hm.", "", [ROME]),
    ('<|channel>thought\nHm.<channel|>call:get{city:<|"|>Rome<|"|>}<tool_call|>', "Hm.", "", [ROME]),
    ('<channel|>call:get{city:<|"|>Rome<|"|>}<|tool_response>', "", "", [ROME]),
    ('call:get{city:<|"|>Rome<|"|>}', "", "", [ROME]),
    ('\n call: x:get {city:<|"|>Rome<|"|>}<tool_call|><turn|>', "", "", [ROME]),
    ("call:get(city='Rome')<turn|>", "", "", [ROME]),
    ("call:get{city:Rome}call:get{city:Rome}<turn|>", "", "", [ROME, ROME]),
    ("<|tool_call>call:get{city:Rome}<tool_call|>call:get{city:Rome}<tool_call|>", "", "", [ROME, ROME]),
    ('<call>get{city:<|"|>Rome<|"|>}<turn|>', "", "", [ROME]),
    ("<call> get {city:Rome}<tool_call|>", "", "", [ROME]),
    ('get{city:<|"|>Rome<|"|>}<turn|>', "", "", [ROME]),
    ("<channel|>get{city:Rome}<tool_call|>", "", "", [ROME]),
    ('<tool_call:get{city:<|"|>Rome<|"|>}><tool_call|>', "", "", [ROME]),
    ('<tool_call>\n{"name": "get", "arguments": {"city": "Rome"}}\n</tool_call><turn|>', "", "", [ROME]),
    ("<tool_call>call:get{city:Rome}</tool_call><turn|>", "", "", [ROME]),
    ("call:get{city:Rome}<|channel>thought\nSo.<channel|>Yes", "So.", "Yes", [ROME]),
    ("call:get{city:Rome<tool_call|>Yes", "", "Yes", [ROME]),
    ("thought\nHm.<|tool_call>call:get{city:Rome}<tool_call|>", "Hm.", "", [ROME]),
    ('Let me see.\ncall:get{city:<|"|>Rome<|"|>}<turn|>', "", "Let me see.\n", [ROME]),
    ('One\n\n  call:get{city:<|"|>Rome<|"|>}', "", "One\n\n", [ROME]),
    ("One\ncaller\ncall:get{city:Rome}<tool_call|>Two", "", "One\ncaller\nTwo", [ROME]),
    # text
    ("You say\ncall:get{city:Rome}", "", "You say\ncall:get{city:Rome}", None),
    ("You say\ncall:get{city:Rome}\nand wait.\n", "", "You say\ncall:get{city:Rome}\nand wait.\n", None),
    ("You say\nthought\n<channel|>so", "", "You say\nthought\nso", None),
    ("call:other{city:Rome}", "", "call:other{city:Rome}", None),
    ("call:get{city:Rome} is what I would say.", "", "call:get{city:Rome} is what I would say.", None),
    ("call:get{city:Rome", "", "call:get{city:Rome", None),
    ("call: 555-1234", "", "call: 555-1234", None),
    ("<call>me</call>", "", "<call>me</call>", None),
    ("<tool_call> is a tag.", "", "<tool_call> is a tag.", None),
    ('<tool_call>{"name":"other"}</tool_call>', "", '<tool_call>{"name":"other"}</tool_call>', None),
    ('<tool_call>{"city":"Rome"}</tool_call>', "", '<tool_call>{"city":"Rome"}</tool_call>', None),
    ('It says\n<tool_call>{"name":"get"}</tool_call>', "", 'It says\n<tool_call>{"name":"get"}</tool_call>', None),
    ("call:get", "", "call:get", None),
    ("Then call:get{city:Rome}", "", "Then call:get{city:Rome}", None),
    ("caller", "", "caller", None),
    ("get{city:Rome}", "", "get{city:Rome}", None),
    ("get{city:Rome} gets the weather.", "", "get{city:Rome} gets the weather.", None),
    ("get", "", "get", None),
    ("gets {it}", "", "gets {it}", None),
]


@pytest.mark.parametrize(("marked", "thought", "answer", "calls"), LOST)
def test_a_call_of_a_declared_tool_needs_no_first_mark(
    processor: Processor, marked: str, thought: str, answer: str, calls: list[ToolCall] | None
) -> None:
    said = parse(processor, ids_of(processor, marked), tools=TOOLS)
    assert (said["thought"], said["answer"], said.get("calls")) == (thought, answer, calls)


def test_without_tools_such_a_call_is_text(processor: Processor) -> None:
    assert parse(processor, ids_of(processor, "call:get{}<turn|>"))["answer"] == "call:get{}"


def test_a_malformed_call_without_its_first_mark_is_told(processor: Processor) -> None:
    said = parse(processor, ids_of(processor, 'call:get{city:<|"|>Rome}<turn|>'), tools=TOOLS)
    (found,) = said["calls"]
    assert isinstance(found, MalformedCall)
    assert (said["answer"], said["tool"]) == ("", 'call:get{city:<|"|>Rome}')


def test_control_tokens_are_never_shown(processor: Processor) -> None:
    ends = {"<|channel>", "<channel|>", "<|tool_call>", "<|tool_response>", "<turn|>", "<eos>"}
    for token in set(processor.tokenizer.control_ids) - ends:
        assert parse(processor, ids_of(processor, f"{token}He{token}llo{token}"))["answer"] == "Hello"
        assert parse(processor, ids_of(processor, f"<|channel>thought\nH{token}m.{token}"))["thought"] == "Hm."
    assert {"<pad>", "<bos>", "<mask>", "<tool_call|>", "<|turn>"} <= set(processor.tokenizer.control_ids) - ends


def test_control_tokens_do_not_hide_a_stop_string(processor: Processor) -> None:
    assert parse(processor, ids_of(processor, "one ST<pad>OP two"), stop=("STOP",))["answer"] == "one "


def test_a_second_end_of_a_call_is_nothing(processor: Processor) -> None:
    said = parse(processor, ids_of(processor, "<|tool_call>call:get{}<tool_call|><tool_call|>Done."))
    assert (said["answer"], said["calls"]) == ("Done.", [ToolCall("get", {})])


MARKED = [marked for marked, *_ in [*CHANNELS, *LOST]] + [
    "<|tool_call>get{city:'it's, a'}call:get(city=“x”)<tool_call|>Done",
    "<|tool_call>call:get{city:<tool_call|>call:get{city:日本}<turn|>",
]


@given(st.sampled_from(MARKED), st.data())
@settings(deadline=None, max_examples=200)
def test_how_a_reply_is_cut_changes_nothing(processor: Processor, marked: str, data: st.DataObject) -> None:
    """The same text from other tokens: each plain part is cut anywhere, down to its characters."""
    ids = []
    for control, text in processor.tokenizer.pieces(marked):
        cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4)) if control is None else []
        ends = [0, *sorted(cuts), len(text)]
        parts = [text[begin:end] for begin, end in itertools.pairwise(ends)]
        ids += [control] if control is not None else [id for part in parts for id in processor.tokenizer.encode(part)]
    tools = data.draw(st.sampled_from([(), TOOLS]))
    assert parse(processor, ids, tools=tools) == parse(processor, ids_of(processor, marked), tools=tools)
    letters = [id for part in re.split("(<[^<>]*>)", marked) for id in spelled(processor, part)]
    assert parse(processor, letters, tools=tools) == parse(processor, ids, tools=tools)


def spelled(processor: Processor, part: str) -> list[int]:
    """A control token, or the ids of single characters."""
    if part in processor.tokenizer.control_ids:
        return [processor.tokenizer.id(part)]
    return [id for character in part for id in processor.tokenizer.encode(character)]
