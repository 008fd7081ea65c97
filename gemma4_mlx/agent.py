"""The agent loop: ask, run the tools that the model calls, give back what they return, until it answers."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

from gemma4_mlx.errors import GemmaError, Terminated, UsageError, note, one_line, shortened
from gemma4_mlx.prompt.calls import MAX_CALLS, MalformedCall, ToolCall
from gemma4_mlx.prompt.reply import Channel
from gemma4_mlx.prompt.tools import Tool

Message = dict[str, Any]

LONGEST_RESULT = 32_768
"""Characters of a result that the model is given; the results for one question together have four times as many.

If each took a token, one would fill an eighth of the context of 262,144 tokens."""

SHORT = 500
"""Characters of a result that the model is given in any case."""

MAX_NAMES = 50
"""Tools that the model is told of once it calls one that is not there."""

REFUSED = "error: the user did not allow this call"

MAX_FAILURES = 2
"""How often the same call may fail for one question before it is no longer run."""


class Said(Protocol):
    """A piece of a streamed reply: `Piece` and `Response` are."""

    @property
    def channel(self) -> Channel: ...
    @property
    def text(self) -> str: ...
    @property
    def call(self) -> ToolCall | None: ...
    @property
    def malformed(self) -> MalformedCall | None: ...


Reply = TypeVar("Reply", bound=Said)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call came to: the text that the model is given, and whether it tells of a failure."""

    call: ToolCall
    text: str
    failed: bool = False
    channel: Literal["result"] = field(default="result", init=False)


def run_agent(
    reply: Callable[[Sequence[Message]], Iterable[Reply]],
    messages: list[Message],
    tools: Mapping[str, Tool],
    *,
    confirm: Callable[[ToolCall], bool] | None = None,
    max_steps: int = 8,
    longest_result: int = LONGEST_RESULT,
) -> Iterator[Reply | ToolResult]:
    """Yields the pieces of each reply and the result of each call, and lengthens `messages` by what was said and done.

    Messages are added when a step is complete, so an interrupted one leaves none behind. `confirm` is asked before a
    valid call runs. Wrong and malformed calls, refused ones, those above MAX_CALLS in one reply and tools that fail are
    told to the model, which may try again; the same call is not run again once it failed twice, or was refused. Of a
    result the model is given `longest_result` characters, or fewer if there were many, and told how many it has. Raises
    GemmaError if it still calls tools after `max_steps` rounds of them, and whatever `reply` raises.
    """
    missing = [name for name, tool in tools.items() if tool.run is None]
    if missing:
        raise UsageError(f"there is nothing to run for the tool {missing[0]}")
    for name, number in (("max_steps", max_steps), ("longest_result", longest_result)):
        if type(number) is not int or number < 1:
            raise UsageError(f"{name} must be a whole number from 1 up, not {shortened(repr(number))}")
    runner = _Runner(tools, confirm, 4 * longest_result, longest_result)
    for _ in range(max_steps):
        turn = _Turn()
        yield from turn.listen(reply(messages))
        if not turn.calls:
            messages += turn.messages([], 0)
            return
        results = []
        for number, call in enumerate(turn.calls):
            results.append(runner.result(call, allowed=number < MAX_CALLS))
            yield results[-1]
        messages += turn.messages(results, sum(message["role"] == "tool" for message in messages))
    turn = _Turn()
    yield from turn.listen(reply(messages))
    if turn.calls:
        raise GemmaError(f"the model still calls tools after {max_steps} rounds; allow more, or ask for less at once")
    messages += turn.messages([], 0)


@dataclass(slots=True)
class _Runner:
    """What runs the calls for one question.

    Attributes:
        room: characters that are left for results.
        failures: how often each call failed.
        refused: the calls that the user did not allow.
    """

    tools: Mapping[str, Tool]
    confirm: Callable[[ToolCall], bool] | None
    room: int
    longest: int
    failures: Counter[str] = field(default_factory=Counter)
    refused: set[str] = field(default_factory=set)

    def result(self, call: ToolCall | MalformedCall, *, allowed: bool) -> ToolResult:
        """What a call comes to, be it a good one or not."""
        if isinstance(call, MalformedCall):
            text = f"error: this call is malformed and did not run: {call.problem}"
            return ToolResult(call.as_call(), text, failed=True)
        if not allowed:
            return ToolResult(call, f"error: a reply may hold {MAX_CALLS} calls; this one did not run", failed=True)
        same = _spelled_out(call)
        if same in self.refused:
            return ToolResult(call, f"{REFUSED}; it was not asked again", failed=True)
        if self.failures[same] >= MAX_FAILURES:
            text = f"error: this call failed {MAX_FAILURES} times and did not run again; call otherwise, or answer"
            return ToolResult(call, text, failed=True)
        longest = min(self.longest, max(self.room // 2, SHORT))  # half of the room is left for later calls
        result = run_call(call, self.tools, self.confirm, longest)
        self.room -= min(len(result.text), longest)
        self.failures[same] += result.failed
        self.refused |= {same} if result.failed and result.text == REFUSED else set()
        return result


def _spelled_out(call: ToolCall) -> str:
    """A call in one text, which is that of another if both are the same."""
    try:
        return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"
    except (TypeError, ValueError, RecursionError):  # arguments that no reply can hold
        return f"{call.name} {id(call)}"


def run_call(
    call: ToolCall,
    tools: Mapping[str, Tool],
    confirm: Callable[[ToolCall], bool] | None,
    longest: int = LONGEST_RESULT,
) -> ToolResult:
    """Runs one call. Never raises for what the model or the tool did wrong: the result says it.

    What a tool returns is given to the model as it is if it is text, and as JSON else; `longest` characters of it, with
    a note of how many there are more.
    """
    result = _run_call(call, tools, confirm)
    length = len(result.text)
    if length <= longest:
        return result
    note(f"of the result of {shortened(call.name)}, {length:,} characters, the model reads {longest:,}")
    more = f"[cut: {length - longest:,} of {length:,} characters left out]"
    return replace(result, text=f"{result.text[:longest]}\n{more}")


def _run_call(call: ToolCall, tools: Mapping[str, Tool], confirm: Callable[[ToolCall], bool] | None) -> ToolResult:
    tool = tools.get(call.name)
    if tool is None or tool.run is None:
        known = ", ".join(list(tools)[:MAX_NAMES]) + (", ..." if len(tools) > MAX_NAMES else "") or "none"
        return ToolResult(call, f"error: there is no tool {call.name}; there are: {known}", failed=True)
    try:
        tool.check(call.arguments)
    except GemmaError as error:
        return ToolResult(call, f"error: {error}", failed=True)
    if confirm is not None and not confirm(call):
        return ToolResult(call, REFUSED, failed=True)
    try:
        returned = tool.run(deepcopy(call.arguments))  # which the tool may change
    except BaseException as error:  # a tool can fail in any way
        _raise_if_over(error)
        kind = "" if isinstance(error, GemmaError) else f"{type(error).__name__}: "
        return ToolResult(call, f"error: {kind}{one_line(error)}", failed=True)
    try:
        return ToolResult(call, _as_text(returned))
    except BaseException as error:  # what a tool returns can be of any kind
        _raise_if_over(error)
        said = f"error: {call.name} ran, but its result ({type(returned).__name__}) can't be given as text or JSON"
        return ToolResult(call, f"{said}: {one_line(error)}", failed=True)


def _raise_if_over(error: BaseException) -> None:
    """Raise what no tool may keep to itself, be it inside of groups: Ctrl-C, and a process that is told to end."""
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        raise error
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        _raise_if_over(inner)


@dataclass(slots=True)
class _Turn:
    """One reply of the model, as it is put together."""

    texts: dict[Channel, str] = field(default_factory=lambda: {"answer": "", "thought": "", "tool": ""})
    calls: list[ToolCall | MalformedCall] = field(default_factory=list)

    def listen(self, pieces: Iterable[Reply]) -> Iterator[Reply]:
        for piece in pieces:
            self.texts[piece.channel] += piece.text
            self.calls += [call for call in (piece.call, piece.malformed) if call is not None]
            yield piece

    def messages(self, results: Sequence[ToolResult], earlier: int) -> list[Message]:
        """The reply as messages that render as it was said: thought, text, calls, responses.

        Templates write a message's text behind its calls, so text that came before calls is a message of its own. Ids
        of calls count on from the `earlier` ones. The template drops thoughts once the user speaks again.
        """
        thought, text = self.texts["thought"].strip("\n"), self.texts["answer"]
        said: Message = {"role": "assistant", "content": text} | ({"reasoning": thought} if thought else {})
        if not self.calls:
            return [said]
        ids = [f"call_{earlier + number}" for number in range(1, len(self.calls) + 1)]
        calls = [
            {"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for id, call in zip(ids, (result.call for result in results), strict=True)
        ]
        responses = [
            {"role": "tool", "tool_call_id": id, "name": result.call.name, "content": result.text}
            for id, result in zip(ids, results, strict=True)
        ]
        if text.strip():
            return [said, {"role": "assistant", "content": "", "tool_calls": calls}, *responses]
        return [said | {"content": "", "tool_calls": calls}, *responses]


def _as_text(value: Any) -> str:
    """Raises TypeError, ValueError or RecursionError for what is neither text nor JSON."""
    text = str.__str__(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()  # names of files, for one, may hold halves of characters
    return text
