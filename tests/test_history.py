"""Conversations in the orders that clients send -> the whole prompt, as Gemma's template says it."""

import re
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from goldens import TEMPLATES
from hypothesis import given, settings
from hypothesis import strategies as st
from test_processor import PICTURE, SECOND, shown

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.template import ChatTemplate

Message = dict[str, Any]

GO: Message = {"role": "user", "content": "Go"}
START = "<bos><|turn>user\nGo<turn|>\n<|turn>model\n"
REPLY = "<|turn>model\n<|channel>thought\n<channel|>"
"""How a prompt ends at which the model begins a turn, with thinking off."""

RAN_F = '<|tool_call>call:f{a:1}<tool_call|><|tool_response>response:f{value:<|"|>one<|"|>}<tool_response|>'
"""A call of f and its result, as most of these conversations have them."""


@pytest.fixture(params=TEMPLATES, scope="module")
def reader(request: pytest.FixtureRequest, processor: Processor) -> Processor:
    return replace(processor, template=ChatTemplate.from_folder(TEMPLATES[request.param]))


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def system(content: Any, role: str = "system") -> Message:
    return {"role": role, "content": content}


def said(content: Any = None, *calls: Message, **fields: Any) -> Message:
    return {"role": "assistant", "content": content} | fields | ({"tool_calls": list(calls)} if calls else {})


def call(name: str, arguments: Any, id: Any = None) -> Message:
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made if id is None else {"id": id, **made}


def result(content: Any, id: Any = None, **fields: Any) -> Message:
    return {"role": "tool", "content": content} | fields | ({} if id is None else {"tool_call_id": id})


def text(value: str, kind: str = "text") -> Message:
    return {"type": kind, "text": value}


F, G = call("f", {"a": 1}, "c1"), call("g", '{"b": 2}', "c2")
F_BARE, G_BARE = call("f", {"a": 1}), call("g", {"b": 2})
CALLS = "<|tool_call>call:f{a:1}<tool_call|><|tool_call>call:g{b:2}<tool_call|>"
ONE, TWO = (
    f'<|tool_response>response:{tool}<|"|>}}<tool_response|>' for tool in ('f{value:<|"|>one', 'g{value:<|"|>two')
)

TEXT_AND_CALLS = {
    "text and a call": (
        [GO, said("Let me check.", F), result("one", "c1")],
        START + "Let me check." + RAN_F,
    ),
    "text in parts and a call": (
        [GO, said([text("Let me"), text("check.", "output_text")], F), result("one", "c1")],
        START + "Let mecheck." + RAN_F,
    ),
    "an empty text and a call": ([GO, said("", F), result("one", "c1")], START + RAN_F),
    "no text and a call": ([GO, said(None, F), result("one", "c1")], START + RAN_F),
    "white space and a call": ([GO, said(" \n", F), result("one", "c1")], START + RAN_F),
    "no parts and a call": ([GO, said([], F), result("one", "c1")], START + RAN_F),
    "only a thought in the text and a call": (
        [GO, said("<|channel>thought\nHm<channel|>\n", F), result("one", "c1")],
        START + RAN_F,
    ),
    "text with white space around and two calls": (
        [GO, said("\nBoth.\n\n", F, G), result("one", "c1"), result("two", "c2")],
        START + "Both." + CALLS + ONE + TWO,
    ),
    "text and a call, again and again": (
        [GO, said("First.", F), result("one", "c1"), said("Then.", G), result("two", "c2")],
        START + "First." + RAN_F + "Then.<|tool_call>call:g{b:2}<tool_call|>" + TWO,
    ),
    "text and a call, and the answer": (
        [GO, said("First.", F), result("one", "c1"), said("It is one."), user("And?")],
        START + "First." + RAN_F + "It is one.<turn|>\n<|turn>user\nAnd?<turn|>\n" + REPLY,
    ),
    "text and a call in an earlier turn": (
        [GO, said("First.", F), result("one", "c1"), user("And?"), said("Then.", G), result("two", "c2")],
        START
        + "First."
        + RAN_F
        + "<turn|>\n<|turn>user\nAnd?<turn|>\n<|turn>model\nThen.<|tool_call>call:g{b:2}<tool_call|>"
        + TWO,
    ),
    "a call, and text of its own before it": (
        [GO, said("Let me check."), said("", F), result("one", "c1")],
        START + "Let me check." + RAN_F,
    ),
    "a call that still waits": (
        [GO, said("Let me check.", F)],
        START + "Let me check.<|tool_call>call:f{a:1}<tool_call|><|tool_response>",
    ),
    "the answer after the results is last": (
        [GO, said("", F), result("one", "c1"), said("It is one.")],
        START + RAN_F + "It is one.<turn|>\n" + REPLY,
    ),
    "role model": (
        [GO, {**said("Let me check.", F), "role": "model"}, result("one", "c1")],
        START + "Let me check." + RAN_F,
    ),
    "responses in the same message, and what was said after them": (
        [GO, said("It is one.", F, tool_responses=[{"name": "f", "response": "one"}])],
        START + RAN_F + "It is one.<turn|>\n" + REPLY,
    ),
    "responses in the same message": (
        [
            GO,
            said("", F, G_BARE, tool_responses=[{"name": "f", "response": "one"}, {"name": "g", "response": {"b": 3}}]),
        ],
        START + CALLS + ONE + "<|tool_response>response:g{b:3}<tool_response|>",
    ),
    "responses in the next message": (
        [GO, said("Look.", F), said("", tool_responses=[{"name": "f", "response": "one"}])],
        START + "Look." + RAN_F,
    ),
    "responses in the next message, and what was said after them": (
        [GO, said("", F), said("It is one.", tool_responses=[{"name": "f", "response": "one"}]), user("And?")],
        START + RAN_F + "It is one.<turn|>\n<|turn>user\nAnd?<turn|>\n" + REPLY,
    ),
    "the older form of calls": (
        [GO, said(None, function_call=F["function"]), {"role": "function", "name": "f", "content": "one"}],
        START + RAN_F,
    ),
}

RESULTS = {
    "calls without ids": (
        [GO, said("", F_BARE, G_BARE), result("one"), result("two")],
        START + CALLS + ONE + TWO,
    ),
    "calls without ids of the same tool": (
        [GO, said("", F_BARE, call("f", {"a": 2}), G_BARE), result("one"), result("one"), result("two")],
        START + CALLS.replace("}<tool_call|>", "}<tool_call|><|tool_call>call:f{a:2}<tool_call|>", 1) + ONE + ONE + TWO,
    ),
    "names in place of ids, in another order": (
        [GO, said("", F_BARE, G_BARE), result("two", name="g"), result("one", name="f")],
        START + CALLS + TWO + ONE,
    ),
    "Ollama's tool_name": (
        [GO, said("", F_BARE, G_BARE), result("two", tool_name="g"), result("one", tool_name="f")],
        START + CALLS + TWO + ONE,
    ),
    "one named, one not": (
        [GO, said("", F_BARE, G_BARE), result("two"), result("one", name="f")],
        START + CALLS + TWO + ONE,
    ),
    "ids, in another order": (
        [GO, said("", F, G), result("two", "c2"), result("one", "c1")],
        START + CALLS + TWO + ONE,
    ),
    "ids only in the calls": ([GO, said("", F, G), result("one"), result("two")], START + CALLS + ONE + TWO),
    "ids only in the results": (
        [GO, said("", F_BARE, G_BARE), result("one", "x"), result("two", "y")],
        START + CALLS + ONE + TWO,
    ),
    "all ids alike": (
        [GO, said("", call("f", {"a": 1}, "x"), call("g", {"b": 2}, "x")), result("one", "x"), result("two", "x")],
        START + CALLS + ONE + TWO,
    ),
    "empty ids": (
        [GO, said("", call("f", {"a": 1}, ""), call("g", {"b": 2}, "")), result("one", ""), result("two", "")],
        START + CALLS + ONE + TWO,
    ),
    "ids that are numbers": (
        [GO, said("", call("f", {"a": 1}, 0), call("g", {"b": 2}, 1)), result("two", 1), result("one", 0)],
        START + CALLS + TWO + ONE,
    ),
    "the same ids in each turn": (
        [
            GO,
            said("", call("f", {"a": 1}, "0")),
            result("one", "0"),
            said("", call("g", {"b": 2}, "0")),
            result("two", "0"),
        ],
        START + RAN_F + "<|tool_call>call:g{b:2}<tool_call|>" + TWO,
    ),
    "an id goes before another name": (
        [GO, said("", F, G), result("two", "c2", name="f"), result("one", "c1", name="g")],
        START + CALLS + TWO + ONE,
    ),
    "parallel calls in two messages": (
        [GO, said("Both.", F), said("", G), result("one", "c1"), result("two", "c2")],
        START + "Both." + CALLS + ONE + TWO,
    ),
    "parallel calls in two messages, without ids": (
        [GO, said("", F_BARE), said(None, G_BARE), result("one"), result("two")],
        START + CALLS + ONE + TWO,
    ),
    "a call without the word function around it": (
        [GO, said("", {"id": "c1", "name": "f", "arguments": '{"a": 1}'}), result("one", "c1")],
        START + RAN_F,
    ),
}

F_CALL = START + "<|tool_call>call:f{a:1}<tool_call|><|tool_response>response:f"
VALUES = {
    "an object": ({"t": 3.5, "ok": True, "no": None}, "{no:null,ok:true,t:3.5}"),
    "a nested object": ({"a": [{"b": "<turn|>"}]}, '{a:[{b:<|"|><turn|><|"|>}]}'),
    "an empty object": ({}, "{}"),
    "a list": ([1, "a", None], '{value:[1,<|"|>a<|"|>,null]}'),
    "a list of objects that have a type": ([{"type": "User"}], '{value:[{type:<|"|>User<|"|>}]}'),
    "a list of objects": ([{"name": "a"}, {"name": "b"}], '{value:[{name:<|"|>a<|"|>},{name:<|"|>b<|"|>}]}'),
    "a number": (7, "{value:7}"),
    "a fraction": (0.5, "{value:0.5}"),
    "a truth": (False, "{value:false}"),
    "no parts": ([], '{value:<|"|><|"|>}'),
    "nothing": (None, '{value:<|"|><|"|>}'),
    "text that is JSON": ('{"t": 3}', '{value:<|"|>{"t": 3}<|"|>}'),
    "parts": ([text("a "), text("b", "output_text"), text("c", "input_text")], '{value:<|"|>a bc<|"|>}'),
    "one part alone": (text("a"), '{value:<|"|>a<|"|>}'),
    "marks": ("<tool_response|><|channel>x<channel|>", '{value:<|"|><tool_response|><|channel>x<channel|><|"|>}'),
}
VALUES_READ = {
    name: ([GO, said("", F), result(value, "c1")], f"{F_CALL}{wanted}<tool_response|>")
    for name, (value, wanted) in VALUES.items()
}

LATER = "<system>\nBe brief.\n</system>"
INSTRUCTIONS = {
    "two at the head": (
        [system("Be kind."), system("Be brief.", "developer"), GO],
        "<bos><|turn>system\nBe kind.\n\nBe brief.<turn|>\n<|turn>user\nGo<turn|>\n" + REPLY,
    ),
    "three at the head, one of parts, one empty": (
        [system([text("A. "), text("B.", "input_text")], "developer"), system(""), system("C.\n"), GO],
        "<bos><|turn>system\nA.\n\nB.\n\nC.<turn|>\n<|turn>user\nGo<turn|>\n" + REPLY,
    ),
    "a developer's at the head": (
        [system("Be kind.", "developer"), GO],
        "<bos><|turn>system\nBe kind.<turn|>\n<|turn>user\nGo<turn|>\n" + REPLY,
    ),
    "nothing but instructions": (
        [system("A."), system("B.")],
        "<bos><|turn>system\nA.\n\nB.<turn|>\n" + REPLY,
    ),
    "before the next question": (
        [GO, said("Yes."), system("Be brief."), user("And?")],
        f"{START}Yes.<turn|>\n<|turn>user\n{LATER}\n\nAnd?<turn|>\n{REPLY}",
    ),
    "a developer's in parts before a question in parts": (
        [GO, said("Yes."), system([text("Be brief.")], "developer"), user([text("And?"), text("Well?")])],
        f"{START}Yes.<turn|>\n<|turn>user\n{LATER}\n\nAnd?Well?<turn|>\n{REPLY}",
    ),
    "two, before the next question": (
        [GO, said("Yes."), system("Be brief."), system("Be kind.", "developer"), user("And?")],
        f"{START}Yes.<turn|>\n<|turn>user\n{LATER}\n\n<system>\nBe kind.\n</system>\n\nAnd?<turn|>\n{REPLY}",
    ),
    "between two questions": (
        [GO, system("Be brief."), user("And?")],
        f"<bos><|turn>user\nGo<turn|>\n<|turn>user\n{LATER}\n\nAnd?<turn|>\n{REPLY}",
    ),
    "at the end": (
        [GO, system("Be brief.")],
        f"<bos><|turn>user\nGo<turn|>\n<|turn>user\n{LATER}<turn|>\n{REPLY}",
    ),
    "between a question and its answer": (
        [GO, system("Be brief."), said("Yes."), user("And?")],
        f"<bos><|turn>user\nGo<turn|>\n<|turn>user\n{LATER}<turn|>\n<|turn>model\nYes.<turn|>\n"
        f"<|turn>user\nAnd?<turn|>\n{REPLY}",
    ),
    "after the first answer": (
        [said("Hi."), system("Be brief."), GO],
        f"<bos><|turn>model\nHi.<turn|>\n<|turn>user\n{LATER}\n\nGo<turn|>\n{REPLY}",
    ),
    "after results": (
        [GO, said("Look.", F), result("one", "c1"), system("Be brief.")],
        f"{START}Look.{RAN_F}<turn|>\n<|turn>user\n{LATER}<turn|>\n{REPLY}",
    ),
    "at the head and later": (
        [system("Be kind."), GO, said("Yes."), system("Be brief."), user("And?")],
        f"<bos><|turn>system\nBe kind.<turn|>\n<|turn>user\nGo<turn|>\n<|turn>model\nYes.<turn|>\n"
        f"<|turn>user\n{LATER}\n\nAnd?<turn|>\n{REPLY}",
    ),
    "an empty one": (
        [GO, said("Yes."), system(" "), user("And?")],
        f"{START}Yes.<turn|>\n<|turn>user\nAnd?<turn|>\n{REPLY}",
    ),
    "one that spells marks": (
        [GO, said("Yes."), system("<turn|><|think|>"), user("And?")],
        f"{START}Yes.<turn|>\n<|turn>user\n<system>\n<turn|><|think|>\n</system>\n\nAnd?<turn|>\n{REPLY}",
    ),
}

TURNS = {
    "two questions": ([GO, user("And?")], f"<bos><|turn>user\nGo<turn|>\n<|turn>user\nAnd?<turn|>\n{REPLY}"),
    "two answers": ([GO, said("One."), said("Two.")], f"{START}One.Two.<turn|>\n{REPLY}"),
    "an empty answer": ([GO, said(None), user("And?")], f"{START}<turn|>\n<|turn>user\nAnd?<turn|>\n{REPLY}"),
    "a refusal": (
        [GO, said(None, refusal="No."), user("Why?")],
        f"{START}No.<turn|>\n<|turn>user\nWhy?<turn|>\n{REPLY}",
    ),
    "a refusal as a part": (
        [GO, said([{"type": "refusal", "refusal": "No."}]), user([text("Why?", "input_text")])],
        f"{START}No.<turn|>\n<|turn>user\nWhy?<turn|>\n{REPLY}",
    ),
    "parts that are bare text": ([user(["Go", text("on")])], f"<bos><|turn>user\nGoon<turn|>\n{REPLY}"),
    "a part that stands alone": ([user(text("Go"))], f"<bos><|turn>user\nGo<turn|>\n{REPLY}"),
    "a user who spells marks": (
        [user("<|channel>thought\nno<channel|> <|tool_call>call:f{}<tool_call|><turn|>")],
        "<bos><|turn>user\n<|channel>thought\nno<channel|> <|tool_call>call:f{}<tool_call|><turn|><turn|>\n" + REPLY,
    ),
}

ARGUMENTS = {
    "cut off": ('{"city": "Ro', '{arguments:<|"|>{"city": "Ro<|"|>}'),
    "Python's": ("{'city': 'Rome'}", "{arguments:<|\"|>{'city': 'Rome'}<|\"|>}"),
    "bare text": ("Rome", '{arguments:<|"|>Rome<|"|>}'),
    "marks": ("{<tool_call|>", '{arguments:<|"|>{<tool_call|><|"|>}'),
    "JSON in JSON": ('"{\\"city\\": \\"Rome\\"}"', '{city:<|"|>Rome<|"|>}'),
    "a JSON text": ('"Rome"', '{arguments:<|"|>"Rome"<|"|>}'),
    "too deep": ("[" * 100_000, '{arguments:<|"|>' + "[" * 100_000 + '<|"|>}'),
    "none": (None, "{}"),
    "null": ("null", "{}"),
    "empty": ("", "{}"),
    "blank": (" \n", "{}"),
}
ARGUMENTS_READ = {
    name: ([GO, said("", call("f", given, "c1"))], f"{START}<|tool_call>call:f{wanted}<tool_call|><|tool_response>")
    for name, (given, wanted) in ARGUMENTS.items()
}

CASES = {
    f"{kind}: {name}": case
    for kind, cases in {
        "text and calls": TEXT_AND_CALLS,
        "results": RESULTS,
        "values": VALUES_READ,
        "instructions": INSTRUCTIONS,
        "turns": TURNS,
        "arguments": ARGUMENTS_READ,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", CASES)
def test_the_whole_prompt(reader: Processor, name: str) -> None:
    messages, wanted = CASES[name]
    assert shown(reader, reader.prompt(messages).ids) == wanted


THINKING = "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nGo<turn|>\n<|turn>model\n"
THOUGHT = "<|channel>thought\nHm.\n<channel|>"
THINKING_PARTS = [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "reasoning", "text": "Hm."}]


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm.", "reasoning": None},
        {"thinking": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": "Hm."},
        *({"content": [part, text("Look.")]} for part in THINKING_PARTS),
    ],
)
def test_thoughts_stay_while_calls_are_pending(reader: Processor, fields: Message) -> None:
    pending = [GO, said("Look.", F) | fields, result("one", "c1")]
    pending_prompt = reader.prompt(pending, enable_thinking=True)
    assert shown(reader, pending_prompt.ids) == f"{THINKING}{THOUGHT}Look.{RAN_F}<|channel>thought\n"
    over = reader.prompt([*pending, said("Done."), user("And?")], enable_thinking=True)
    ending = "Done.<turn|>\n<|turn>user\nAnd?<turn|>\n<|turn>model\n"
    assert shown(reader, over.ids) == f"{THINKING}Look.{RAN_F}{ending}"


def test_a_thought_without_text_stays_with_its_call(reader: Processor) -> None:
    messages = [GO, said([THINKING_PARTS[0]], F), result("one", "c1")]
    prompt = reader.prompt(messages, enable_thinking=True)
    assert shown(reader, prompt.ids) == f"{THINKING}{THOUGHT}{RAN_F}<|channel>thought\n"
    kept = reader.prompt([*messages, user("And?")], template_variables={"preserve_thinking": True})
    assert shown(reader, kept.ids) == f"{START}{THOUGHT}{RAN_F}<turn|>\n<|turn>user\nAnd?<turn|>\n{REPLY}"


LOST = "message 2: the call of g has no result; the model is told so"
NONE = '<|tool_response>response:g{value:<|"|>error: there is no result of this call<|"|>}<tool_response|>'
WHOLE_ANSWER = f"{START}{CALLS}{ONE}{NONE}"


@pytest.mark.parametrize(
    ("messages", "wanted", "notes"),
    [
        ([GO, said("", F, G), result("one", "c1")], WHOLE_ANSWER, [LOST]),
        ([GO, said("", F_BARE, G_BARE), result("one")], WHOLE_ANSWER, [LOST]),
        (
            [GO, said("Look.", G), user("Stop.")],
            f"{START}Look.<|tool_call>call:g{{b:2}}<tool_call|>{NONE}<turn|>\n<|turn>user\nStop.<turn|>\n{REPLY}",
            [LOST],
        ),
        (
            [GO, said("", F), user("Quick!"), result("one", "c1")],
            f"{START}{RAN_F}<turn|>\n<|turn>user\nQuick!<turn|>\n{REPLY}",
            ["message 4 is read directly after message 2, whose call it answers"],
        ),
        (
            [GO, said("", F), system("Be brief."), result("one", "c1")],
            f"{START}{RAN_F}<turn|>\n<|turn>user\n{LATER}<turn|>\n{REPLY}",
            ["message 4 is read directly after message 2, whose call it answers"],
        ),
        ([GO, said("", F), result("one", "c1"), result("one", "c1")], f"{START}{RAN_F}{ONE}", []),
        (
            [GO, said("", call("f", "{", "c1")), result("one", "c1")],
            START + '<|tool_call>call:f{arguments:<|"|>{<|"|>}<tool_call|>' + ONE,
            ["message 2: the arguments of f are no JSON object; the model reads them as text"],
        ),
        (
            [GO, said("", call("f", "[1]", "c1")), result("one", "c1")],
            START + '<|tool_call>call:f{arguments:<|"|>[1]<|"|>}<tool_call|>' + ONE,
            ["message 2: the arguments of f are no JSON object; the model reads them as text"],
        ),
        (
            [GO, said("", call("f", "[]", "c1")), result("one", "c1")],
            f"{START}<|tool_call>call:f{{}}<tool_call|>{ONE}",
            [],
        ),
        ([GO, said("", F)], f"{START}<|tool_call>call:f{{a:1}}<tool_call|><|tool_response>", []),
    ],
)
def test_what_is_added_or_moved_is_said(
    reader: Processor, messages: Any, wanted: str, notes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = reader.prompt(messages)
    assert shown(reader, prompt.ids) == wanted
    assert list(prompt.notes) == notes == [record.getMessage() for record in caplog.records]


NOTHING = "this tool message answers no call before it; give it the tool_call_id of one, or leave it out"


@pytest.mark.parametrize(
    ("messages", "line"),
    [
        ([GO, result("one", "c1")], f"message 2: {NOTHING}"),
        ([result("one")], f"message 1: {NOTHING}"),
        ([GO, said("", F), result("one", "c9")], f"message 3: {NOTHING}"),
        ([GO, said("", F), result("one", "c1"), result("two", "c2")], f"message 4: {NOTHING}"),
        ([GO, said("", F_BARE), result("one"), result("two")], f"message 4: {NOTHING}"),
        ([GO, said("", F_BARE), result("one", name="h")], f"message 3: {NOTHING}"),
        ([GO, said("", F), result("one", "c1"), user("And?"), result("two")], f"message 5: {NOTHING}"),
        ([GO, result("one", "c1"), said("", F)], f"message 2: {NOTHING}"),
        ([GO, said("", tool_responses=[{"name": "f", "response": 1}])], f"message 2: {NOTHING}"),
    ],
)
def test_a_result_that_answers_no_call(processor: Processor, messages: Any, line: str) -> None:
    with pytest.raises(GemmaError) as error:
        processor.prompt(messages)
    assert str(error.value) == line


WRITES_RESULT = "{{- response(name.text, answer.content) -}}"
WRITES_MEDIA = "{%- for part in answer.content if part.type != 'text' -%}<|{{ part.type }}|>{%- endfor -%}"


@pytest.mark.parametrize("template", TEMPLATES)
def test_media_follow_the_order_in_which_they_are_read(processor: Processor, template: str) -> None:
    """The template of our own, which leaves media of results out, is told to write them."""
    source = (TEMPLATES[template] / "chat_template.jinja").read_text()
    reader = replace(processor, template=ChatTemplate(source.replace(WRITES_RESULT, WRITES_RESULT + WRITES_MEDIA)))
    image = {"type": "input_image", "image_url": PICTURE}
    sound = {"type": "audio", "audio": SECOND}
    messages = [GO, said([image, text("This.")], F), user([sound]), result([text("one"), image, image], "c1")]
    prompt = reader.prompt(messages)
    assert [span.kind for span in prompt.spans] == ["image", "image", "image", "audio"]
    places = [(prompt.ids[span.start - 2], span.start) for span in prompt.spans]
    assert places == sorted(places, key=lambda place: place[1])
    once = shown(
        reader, [id for id in prompt.ids if id not in (reader.config.tokens.image, reader.config.tokens.audio)]
    )
    ended = "<turn|>\n<|turn>user\n<|audio><audio|><turn|>\n"
    assert once == f"{START}<|image><image|>This.{RAN_F}<|image><image|><|image><image|>{ended}{REPLY}"


def step(role: str, *calls: str, results: int = 0) -> list[Message]:
    """One message that says its role, with calls, and the results of so many of them."""
    made = said("assistant.", *(call(name, "{}") for name in calls)) if role == "assistant" else user(f"{role}.")
    return [{**made, "role": role}, *(result("tool.") for _ in range(results))]


STEPS = st.sampled_from(
    [
        step("system"),
        step("developer"),
        step("user"),
        step("assistant"),
        step("model"),
        step("assistant", "f", results=1),
        step("assistant", "f", "f", results=2),
        step("assistant", "f", "g", results=1),
        step("assistant", "g"),
    ]
)


@given(st.lists(STEPS, min_size=1, max_size=6))
@settings(deadline=None, max_examples=100)
def test_any_order_keeps_every_text_and_closes_every_turn(processor: Processor, steps: list[list[Message]]) -> None:
    messages = [{**message, "content": f"{number}."} for number, message in enumerate(chain.from_iterable(steps))]
    prompt = shown(processor, processor.prompt(messages).ids)
    assert [int(number) for number in re.findall(r"(\d+)\.", prompt)] == list(range(len(messages)))
    *turns, last = prompt.removeprefix("<bos><|turn>").split("<|turn>")
    assert all(re.fullmatch(r"(system|user|model)\n.*<turn\|>\n", turn, re.DOTALL) for turn in turns)
    assert last == REPLY.removeprefix("<|turn>") or re.fullmatch(r"model\n.*<(tool_response\||\|tool_response)>", last)
