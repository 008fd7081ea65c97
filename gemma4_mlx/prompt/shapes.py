"""Messages in Anthropic's shape, and items of OpenAI's Responses -> messages in the shape of chat completions.

There calls and their results are parts of a message, or items beside the messages. Apart from messages.py because
only here it is known who writes which shape.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

Given = Mapping[str, Any]


def in_chat_shape(message: Any) -> list[Any]:
    """The messages that a message or an item stands for; itself if it is in this shape or no object."""
    if not isinstance(message, Mapping):
        return [message]
    kind, content = message.get("type"), message.get("content")
    if "role" not in message and isinstance(kind, str) and kind in _ITEMS:
        return [_ITEMS[kind](message)]
    if isinstance(content, (list, tuple)) and message.get("role") == "assistant":
        return [_with_calls(message, content)]
    if isinstance(content, (list, tuple)) and message.get("role") == "user":
        return list(_with_results(message, content))
    return [message]


def _with_calls(message: Given, content: Sequence[Any]) -> Given:
    """The assistant's message with its parts `tool_use` as calls."""
    calls = [_call(part, "id", part.get("input")) for part in content if _is(part, "tool_use")]
    given = message.get("tool_calls") or []
    if not calls or not isinstance(given, list):
        return message
    said = [part for part in content if not _is(part, "tool_use")]
    return {**message, "content": said, "tool_calls": [*given, *calls]}


def _with_results(message: Given, content: Sequence[Any]) -> Iterator[Given]:
    """The user's message with its parts `tool_result` as messages of their own, in the order of the parts."""
    if not any(_is(part, "tool_result") for part in content):
        yield message
        return
    for is_result, parts in groupby(content, lambda part: _is(part, "tool_result")):
        if is_result:
            yield from (_result(part, "tool_use_id", "content") for part in parts)
        else:
            yield {**message, "content": list(parts)}


def _is(part: Any, kind: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == kind


def _call(given: Given, id_key: str, arguments: Any) -> Given:
    return {"id": given.get(id_key), "function": {"name": given.get("name"), "arguments": arguments}}


def _calling(call: Given) -> Given:
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _result(given: Given, id_key: str, key: str) -> Given:
    return {"role": "tool", "tool_call_id": given.get(id_key), "content": given.get(key)}


def _thinking(item: Given) -> Given:
    """What an item of reasoning says, else what sums it up."""
    parts = item.get("content") or item.get("summary")
    said = [part.get("text") for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else [parts]
    texts = [text for text in said if isinstance(text, str)]
    return {"role": "assistant", "content": "", "reasoning": "\n\n".join(texts)}


_ITEMS: Mapping[str, Callable[[Given], Given]] = {
    "function_call": lambda item: _calling(_call(item, "call_id", item.get("arguments"))),
    "custom_tool_call": lambda item: _calling(_call(item, "call_id", {"input": item.get("input")})),
    "function_call_output": lambda item: _result(item, "call_id", "output"),
    "custom_tool_call_output": lambda item: _result(item, "call_id", "output"),
    "reasoning": _thinking,
}
