"""The agent loop: ask, run the tools that the model calls, give back what they return, until it answers."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from gemma4_mlx.errors import GemmaError, Terminated, UsageError, one_line
from gemma4_mlx.prompt.calls import MAX_CALLS, MalformedCall, ToolCall
from gemma4_mlx.prompt.reply import Channel
from gemma4_mlx.prompt.tools import Tool

Message = dict[str, Any]


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
) -> Iterator[Reply | ToolResult]:
    """Yields the pieces of each reply and the result of each call, and lengthens `messages` by what was said and done.

    Messages are added when a step is complete, so an interrupted one leaves none behind. `confirm` is asked before a
    valid call runs. Wrong and malformed calls, refused ones, those above MAX_CALLS in one reply and tools that fail are
    told to the model, which may try again. Raises GemmaError if it still calls tools after `max_steps` rounds of them,
    and whatever `reply` raises.
    """
    missing = [name for name, tool in tools.items() if tool.run is None]
    if missing or max_steps < 1:
        what = f"there is nothing to run for the tool {missing[0]}" if missing else "max_steps must be from 1 up"
        raise UsageError(what)
    for _ in range(max_steps):
        turn = _Turn()
        yield from turn.listen(reply(messages))
        if not turn.calls:
            messages += turn.messages([], 0)
            return
        results = []
        for number, call in enumerate(turn.calls):
            results.append(_result(call, tools, confirm, allowed=number < MAX_CALLS))
            yield results[-1]
        messages += turn.messages(results, sum(message["role"] == "tool" for message in messages))
    turn = _Turn()
    yield from turn.listen(reply(messages))
    if turn.calls:
        raise GemmaError(f"the model still calls tools after {max_steps} rounds; allow more, or ask for less at once")
    messages += turn.messages([], 0)


def _result(
    call: ToolCall | MalformedCall,
    tools: Mapping[str, Tool],
    confirm: Callable[[ToolCall], bool] | None,
    *,
    allowed: bool,
) -> ToolResult:
    """What a call comes to, be it a good one or not."""
    if isinstance(call, MalformedCall):
        return ToolResult(call.as_call(), f"error: this call is malformed and did not run: {call.problem}", failed=True)
    if not allowed:
        return ToolResult(call, f"error: a reply may hold {MAX_CALLS} calls; this one did not run", failed=True)
    return run_call(call, tools, confirm)


def run_call(call: ToolCall, tools: Mapping[str, Tool], confirm: Callable[[ToolCall], bool] | None) -> ToolResult:
    """Runs one call. Never raises for what the model or the tool did wrong: the result says it.

    What a tool returns is given to the model as it is if it is text, and as JSON else.
    """
    tool = tools.get(call.name)
    if tool is None or tool.run is None:
        known = ", ".join(tools) or "none"
        return ToolResult(call, f"error: there is no tool {call.name}; there are: {known}", failed=True)
    try:
        tool.check(call.arguments)
    except GemmaError as error:
        return ToolResult(call, f"error: {error}", failed=True)
    if confirm is not None and not confirm(call):
        return ToolResult(call, "error: the user did not allow this call", failed=True)
    try:
        returned = tool.run(call.arguments)
    except Terminated:
        raise
    except (Exception, SystemExit) as error:  # a tool can fail in any way
        return ToolResult(call, f"error: {type(error).__name__}: {one_line(error)}", failed=True)
    try:
        return ToolResult(call, _as_text(returned))
    except Exception as error:  # what a tool returns can be of any kind
        said = f"error: {call.name} ran, but its result ({type(returned).__name__}) can't be given as text or JSON"
        return ToolResult(call, f"{said}: {one_line(error)}", failed=True)


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
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()  # names of files, for one, may hold halves of characters
    return text
