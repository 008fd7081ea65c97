"""Messages in the shape that OpenAI and Hugging Face share -> what a chat template takes, and the media in them.

A message is `{"role": ..., "content": str | [part, ...]}`; a part is `{"type": "text", "text": ...}` or one of the
media shapes in `MEDIA_PARTS`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.parts import MediaPart, read_part

ROLES = ("system", "developer", "user", "assistant", "model", "tool")

_THOUGHT = re.compile(r"(<\|channel>)(thought\n.*?)(<channel\|>)", re.DOTALL)


def read_messages(
    messages: Sequence[Mapping[str, Any]], quote: Callable[[str], str]
) -> tuple[list[dict[str, Any]], list[MediaPart]]:
    """Checked messages with all people's text quoted, and their media in order of appearance.

    A whole thought at the very start of the model's own earlier text keeps its marks, by which the template removes
    it. All other marks are quoted: they are text that the model wrote.
    """
    if isinstance(messages, (str, bytes)) or not messages:
        raise GemmaError("messages must be a list with at least one {'role': ..., 'content': ...}")
    read: list[dict[str, Any]] = []
    media: list[MediaPart] = []
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise GemmaError(f"message {number}: role must be one of {', '.join(ROLES)}")
        try:
            read.append(_read_message(message, quote, media))
        except GemmaError as error:
            raise GemmaError(f"message {number}: {error}") from None
    return read, media


def quote_all(value: Any, quote: Callable[[str], str]) -> Any:
    """A JSON-like value with every string in it quoted, keys included."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        return {quote_all(key, quote): quote_all(item, quote) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [quote_all(item, quote) for item in value]
    return value


def _read_message(message: Mapping[str, Any], quote: Callable[[str], str], media: list[MediaPart]) -> dict[str, Any]:
    content = message.get("content")
    role = "assistant" if message["role"] == "model" else message["role"]
    rest = {key: value for key, value in message.items() if key not in ("role", "content", "tool_calls")}
    read = {"role": role, **quote_all(rest, quote)}
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, (list, tuple)):
        raise GemmaError(f"tool_calls must be a list of objects, not {type(calls).__name__}")
    if calls:
        read["tool_calls"] = quote_all([_tool_call(call) for call in calls], quote)
    read["content"] = _read_content(content, role, quote, media)
    return read


def _read_content(content: Any, role: str, quote: Callable[[str], str], media: list[MediaPart]) -> Any:
    quote_first = _keeping_thought(quote) if role == "assistant" else quote
    if content is None or isinstance(content, str):
        return quote_first(content or "")
    if not isinstance(content, (list, tuple)):
        raise GemmaError(f"content must be text or a list of parts, not {type(content).__name__}")
    parts = [read_part(part, quote if number else quote_first) for number, part in enumerate(content)]
    found = [part for part in parts if isinstance(part, MediaPart)]
    if found and role in ("system", "developer"):
        raise GemmaError(f"a system message can't hold {found[0].kind}; put it into a user message")
    media += found
    return [{"type": part.kind} if isinstance(part, MediaPart) else part for part in parts]


def _tool_call(call: Any) -> dict[str, Any]:
    """A tool call whose arguments are an object, as templates want them; OpenAI's clients send them as JSON text."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise GemmaError("a tool call must have a function with a name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError:
            raise GemmaError(f"the arguments of {function['name']} are not JSON") from None
    if arguments is not None and not isinstance(arguments, Mapping):
        raise GemmaError(f"the arguments of {function['name']} must be an object")
    return {**call, "function": {**function, "arguments": arguments}}


def _keeping_thought(quote: Callable[[str], str]) -> Callable[[str], str]:
    """Quotes all but the marks of a whole thought with which a text begins."""

    def quote_but(text: str) -> str:
        thought = _THOUGHT.match(text)
        if thought is None:
            return quote(text)
        return thought[1] + quote(thought[2]) + thought[3] + quote(text[thought.end() :])

    return quote_but
