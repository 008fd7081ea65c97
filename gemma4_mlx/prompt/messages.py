"""Messages in the shape that OpenAI and Hugging Face share -> what a chat template takes, and the media in them.

A message is `{"role": ..., "content": str | [part, ...]}`; a part is `{"type": "text", "text": ...}` or one of the
media shapes in `MEDIA_PARTS`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.prompt import MediaKind

ROLES = ("system", "developer", "user", "assistant", "model", "tool")

# part type -> kind, and the keys under which people put its source
MEDIA_PARTS: Mapping[str, tuple[MediaKind, tuple[str, ...]]] = {
    "image": ("image", ("image", "path", "url", "base64")),
    "image_url": ("image", ("image_url",)),
    "audio": ("audio", ("audio", "path", "url", "base64")),
    "input_audio": ("audio", ("input_audio",)),
    "audio_url": ("audio", ("audio_url",)),
    "video": ("video", ("video", "path", "url", "base64")),
    "video_url": ("video", ("video_url",)),
}


_THOUGHT = re.compile(r"(<\|channel>)(thought\n.*?)(<channel\|>)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MediaPart:
    """A picture, sound or film in a message: its kind and whatever names or holds it."""

    kind: MediaKind
    source: Any


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
    parts = [_read_part(part, quote if number else quote_first) for number, part in enumerate(content)]
    found = [part for part in parts if isinstance(part, MediaPart)]
    if found and role in ("system", "developer"):
        raise GemmaError(f"a system message can't hold {found[0].kind}; put it into a user message")
    media += found
    return [{"type": part.kind} if isinstance(part, MediaPart) else part for part in parts]


def _read_part(part: Any, quote: Callable[[str], str]) -> dict[str, str] | MediaPart:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": quote(part["text"])}
    if not isinstance(kind, str) or kind not in MEDIA_PARTS:
        raise GemmaError(f"a part must have a type among text, {', '.join(MEDIA_PARTS)}, not {kind!r}")
    media_kind, keys = MEDIA_PARTS[kind]
    for key in keys:
        if part.get(key) is not None:
            return MediaPart(media_kind, _source(part[key], key))
    raise GemmaError(f"this {kind} part has no {' or '.join(keys)}")


def _source(value: Any, key: str) -> Any:
    """Unwraps `{"url": ...}` and `{"data": base64}`; bare base64 becomes a data URI."""
    if isinstance(value, Mapping):
        data = value.get("data")
        if data is not None and not isinstance(data, str):
            raise GemmaError(f"the data of {key} must be base64 text, not {type(data).__name__}")
        value = value.get("url") if data is None else f"data:;base64,{data}"
        if value is None:
            raise GemmaError(f"{key} has neither url nor data")
    if key == "base64" and isinstance(value, str) and not value.startswith("data:"):
        return f"data:;base64,{value}"
    return value


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
