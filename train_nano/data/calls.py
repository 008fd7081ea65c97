"""Conversations with declared tools: the call that a question needs, and the answer from the tool's response."""

import json
import random
from typing import Any

from train_nano.data import texts, tools
from train_nano.data.phrases import expand
from train_nano.data.sample import END, Sample, user
from train_nano.data.tools import Declared

Turns = list[dict[str, Any]]

NEED, GOT = "I need the tool.", "I have the tool's response."
_SHORT = ["(And|What about|How about|And what about|And for|And in) {x}?", "(Now|Then|And now) {x}(.|, please.)"]


def _declared(rng: random.Random, held_out: bool, second: float = 0.3) -> list[Declared]:
    """A tool, and with the chance `second` another one."""
    chosen = rng.sample(tools.TOOLS, 2 if rng.random() < second else 1)
    return [tools.declared(rng, tool, held_out) for tool in chosen]


def _asks(rng: random.Random, tool: Declared, about: str, held_out: bool) -> dict[str, Any]:
    return user(tools.question(rng, tool.tool, about, held_out))


def _exchange(rng: random.Random, tool: Declared, about: str, held_out: bool, number: int = 1) -> tuple[Turns, str]:
    """(call and response as turns, the answer that follows from them); `number` is the call's id."""
    returned, said = tools.response(rng, tool.tool, about)
    if not held_out and returned.startswith("{") and rng.random() < 0.3:
        returned = json.loads(returned)
    function = {"name": tool.name, "arguments": {tool.argument: about}}
    request = {"role": "assistant", "content": "", "tool_calls": [{"id": str(number), "function": function}]}
    return [request, {"role": "tool", "tool_call_id": str(number), "content": returned}], said


def _finished(rng: random.Random, tool: Declared, about: str, held_out: bool, number: int = 1) -> Turns:
    """A question, its call, the response and the answer."""
    exchange, said = _exchange(rng, tool, about, held_out, number)
    return [_asks(rng, tool, about, held_out), *exchange, _assistant(said)]


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _thought(rng: random.Random, held_out: bool, text: str) -> str | None:
    """In training some calls and answers come after a thought."""
    return text if not held_out and rng.random() < 0.1 else None


def _calling(
    task: str, rng: random.Random, held_out: bool, messages: Turns, declared: list[Declared], call: str
) -> Sample:
    """The sample that ends with a call."""
    return _sample(task, messages, declared, call, _thought(rng, held_out, NEED), "<|tool_response>")


def _answering(
    task: str, rng: random.Random, held_out: bool, messages: Turns, declared: list[Declared], said: str
) -> Sample:
    """The sample that ends with the answer to a response."""
    thought = _thought(rng, held_out, GOT)
    if thought and rng.random() < 0.7:
        messages[-2]["reasoning"] = NEED
    return _sample(task, messages, declared, said, thought)


def _sample(
    task: str, messages: Turns, declared: list[Declared], answer: str, thought: str | None = None, end: str = END
) -> Sample:
    listed = [tool.declaration() for tool in declared]
    return Sample(task=task, messages=messages, answer=answer, tools=listed, thought=thought, end=end)


def _written(tool: Declared, about: str) -> str:
    return f'<|tool_call>call:{tool.name}{{{tool.argument}:<|"|>{about}<|"|>}}<tool_call|>'


def call(rng: random.Random, held_out: bool) -> Sample:
    """The call that a question needs, in training sometimes behind a greeting."""
    declared = _declared(rng, held_out)
    tool = rng.choice(declared)
    about = tools.about(rng, tool.tool, held_out)
    messages = [_asks(rng, tool, about, held_out)]
    if not held_out and rng.random() < 0.1:
        greeting = texts.talk(rng, False)
        messages = [*greeting.messages, _assistant(greeting.answer), *messages]
    return _calling("tool call", rng, held_out, messages, declared, _written(tool, about))


def answer(rng: random.Random, held_out: bool) -> Sample:
    """The answer that a tool's response gives."""
    declared = _declared(rng, held_out)
    tool = rng.choice(declared)
    about = tools.about(rng, tool.tool, held_out)
    exchange, said = _exchange(rng, tool, about, held_out)
    messages = [_asks(rng, tool, about, held_out), *exchange]
    return _answering("tool answer", rng, held_out, messages, declared, said)


def again(rng: random.Random, held_out: bool) -> Sample:
    """The second or third question to the tools of a conversation: its call, or the answer from its response."""
    declared = _declared(rng, held_out, second=0.5)
    messages: Turns = []
    tool = rng.choice(declared)
    count = 1 if held_out or rng.random() < 0.7 else 2
    for number in range(1, count + 1):
        about = tools.about(rng, tool.tool, held_out)
        messages += _finished(rng, tool, about, held_out, number)
        last, tool = tool, rng.choice(declared)
    about = tools.about(rng, tool.tool, held_out) if rng.random() < 0.9 else about
    if not held_out and tool is last and rng.random() < 0.3:
        messages.append(user(expand(rng, rng.choice(_SHORT)).format(x=about)))
    else:
        messages.append(_asks(rng, tool, about, held_out))
    if rng.random() < 0.6:
        return _calling("tool again", rng, held_out, messages, declared, _written(tool, about))
    exchange, said = _exchange(rng, tool, about, held_out, count + 1)
    return _answering("tool again", rng, held_out, [*messages, *exchange], declared, said)


def no_call(rng: random.Random, held_out: bool) -> Sample:
    """A greeting or a question about nano while tools are declared, first or after a call: it needs no call."""
    declared = _declared(rng, held_out)
    messages: Turns = []
    if rng.random() < 0.3:
        tool = rng.choice(declared)
        messages = _finished(rng, tool, tools.about(rng, tool.tool, held_out), held_out)
    talked = texts.talk(rng, held_out)
    return _sample("no call", [*messages, *talked.messages], declared, talked.answer)
