"""Conversations with declared tools: the call that a question needs, the answer from its response."""

import json
import random
from typing import Any

from train_nano.data import anytools, arithmetic, refusals, texts, tools, words
from train_nano.data.anytools import AnyTool
from train_nano.data.sample import END, Sample, user
from train_nano.data.tools import Declared, Request

Turns = list[dict[str, Any]]
Any_ = Declared | AnyTool

NEED, GOT = "I need the tool.", "I have the tool's response."
_FAILURES = ["not found", "timeout", "no such entry", "permission denied", "service unavailable", "unknown name"]
_FAILURES += ["rate limit exceeded", "connection refused", "invalid argument", "internal error", "no results"]


def _tool(rng: random.Random, held_out: bool) -> Any_:
    """One of the four that everybody knows, or one made up."""
    if held_out or rng.random() < 0.3:
        return tools.declared(rng, rng.choice(tools.TOOLS), held_out)
    return anytools.make(rng)


def _declared(rng: random.Random, held_out: bool) -> list[Any_]:
    """One to six tools of different names and purposes."""
    wanted = rng.choice([1, 2]) if held_out else rng.choices([1, 2, 3, 4, 5, 6], [35, 25, 16, 10, 7, 7])[0]
    found: list[Any_] = []
    while len(found) < wanted:
        tool = _tool(rng, held_out)
        if all(tool.name != other.name and tool.purpose != other.purpose for other in found):
            found.append(tool)
    return found


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _exchange(tool: Any_, request: Request, returned: Any, number: int = 1) -> Turns:
    """Call and response as turns; `number` is the call's id."""
    function = {"name": tool.name, "arguments": request.arguments}
    call_ = {"role": "assistant", "content": "", "tool_calls": [{"id": str(number), "function": function}]}
    return [call_, {"role": "tool", "tool_call_id": str(number), "content": returned}]


def _responded(rng: random.Random, tool: Any_, request: Request, held_out: bool) -> tuple[Any, str]:
    """(response, answer); in training some tools fail, and some return objects."""
    if not held_out and rng.random() < 0.2:
        return _failed(rng)
    returned, said = tool.respond(rng, request)
    if not held_out and isinstance(returned, str) and returned.startswith("{") and rng.random() < 0.3:
        returned = json.loads(returned)
    return returned, said


def _failed(rng: random.Random) -> tuple[str, str]:
    """A failure and the honest answer to it."""
    why = rng.choice(_FAILURES) if rng.random() < 0.7 else f"{words.invented(rng).lower()} {rng.choice(_FAILURES)}"
    if rng.random() < 0.2:
        why = f"{rng.choice(['error', 'HTTP', 'code'])} {rng.choice([400, 401, 403, 404, 429, 500, 502, 503])}"
    form = rng.choice(
        ['{{"error": "{w}"}}', "Error: {w}", "error: {w}", '{{"error": "{w}"}}', "failed: {w}", "ERROR {w}"]
    )
    return form.format(w=why), f"The tool failed: {why}."


def _sample(
    rng: random.Random, task: str, held_out: bool, messages: Turns, declared: list[Any_], answer: str, end: str = END
) -> Sample:
    """In training some calls and answers come after a thought."""
    thought = None
    responded = messages[-1]["role"] == "tool"
    if not held_out and (end != END or responded) and rng.random() < 0.1:
        thought = GOT if responded else NEED
        if responded and rng.random() < 0.7:
            messages[-2]["reasoning"] = NEED
    listed = [tool.declaration() for tool in declared]
    return Sample(task=task, messages=messages, answer=answer, tools=listed, thought=thought, end=end)


def _argument(value: Any) -> str:
    return f'<|"|>{value}<|"|>' if isinstance(value, str) else str(value)


def _written(tool: Any_, request: Request) -> str:
    inside = ",".join(f"{key}:{_argument(request.arguments[key])}" for key in sorted(request.arguments))
    return f"<|tool_call>call:{tool.name}{{{inside}}}<tool_call|>"


def _before(rng: random.Random, held_out: bool) -> Turns:
    """Sometimes some talk comes first."""
    if held_out or rng.random() > 0.1:
        return []
    greeting = texts.talk(rng, False)
    return [*greeting.messages, _assistant(greeting.answer)]


def call(rng: random.Random, held_out: bool) -> Sample:
    declared = _declared(rng, held_out)
    tool = rng.choice(declared)
    request = tool.ask(rng, held_out)
    messages = [*_before(rng, held_out), user(request.text)]
    return _sample(rng, "tool call", held_out, messages, declared, _written(tool, request), "<|tool_response>")


def answer(rng: random.Random, held_out: bool) -> Sample:
    declared = _declared(rng, held_out)
    tool = rng.choice(declared)
    request = tool.ask(rng, held_out)
    returned, said = _responded(rng, tool, request, held_out)
    messages = [user(request.text), *_exchange(tool, request, returned)]
    return _sample(rng, "tool answer", held_out, messages, declared, said)


def again(rng: random.Random, held_out: bool) -> Sample:
    """The second or third question to the tools of a conversation: its call, or the answer from its response."""
    declared = _declared(rng, held_out)[:3]
    messages: Turns = []
    tool = rng.choice(declared)
    count = 1 if held_out or rng.random() < 0.7 else 2
    for number in range(1, count + 1):
        request = tool.ask(rng, held_out)
        returned, said = _responded(rng, tool, request, held_out)
        messages += [user(request.text), *_exchange(tool, request, returned, number), _assistant(said)]
        last, tool = tool, rng.choice(declared)
    if not held_out and tool is last and rng.random() < 0.3:
        request = tool.short(rng, held_out)
    else:
        request = tool.ask(rng, held_out)
    messages.append(user(request.text))
    if rng.random() < 0.6:
        return _sample(rng, "tool again", held_out, messages, declared, _written(tool, request), "<|tool_response>")
    returned, said = _responded(rng, tool, request, held_out)
    return _sample(
        rng, "tool again", held_out, [*messages, *_exchange(tool, request, returned, count + 1)], declared, said
    )


def _unneeded(rng: random.Random, held_out: bool, declared: list[Any_]) -> tuple[str, str]:
    """A question that no declared tool fits, and its answer."""
    kind = 0.0 if held_out else rng.random()
    if kind < 0.4:
        talked = texts.talk(rng, held_out)
        return talked.messages[0]["content"], talked.answer
    if kind < 0.55:
        summed = arithmetic.plain(rng, False)
        return summed.messages[0]["content"], summed.answer
    if kind < 0.8:
        return refusals.outside(rng), refusals.REFUSAL
    while (other := _tool(rng, False)).purpose in {tool.purpose for tool in declared} or any(
        isinstance(tool, Declared) is isinstance(other, Declared) is True for tool in declared
    ):
        pass
    return other.ask(rng, False).text, refusals.REFUSAL


def no_call(rng: random.Random, held_out: bool) -> Sample:
    """A question that needs none of the declared tools, first or after a call."""
    declared = _declared(rng, held_out)
    messages: Turns = []
    if rng.random() < 0.3:
        tool = rng.choice(declared)
        request = tool.ask(rng, held_out)
        returned, said = _responded(rng, tool, request, held_out)
        messages = [user(request.text), *_exchange(tool, request, returned), _assistant(said)]
    text, said = _unneeded(rng, held_out, declared)
    return _sample(rng, "no call", held_out, [*messages, user(text)], declared, said)
