"""Messages in the shape that OpenAI and Hugging Face share -> what a chat template takes, and the media in them.

A message is `{"role": ..., "content": str | [part, ...]}`; a part is `{"type": "text", "text": ...}` or one of the
media shapes in `MEDIA_PARTS`. A tool message's content may be any JSON. Ollama's `thinking` and `tool_name`, OpenAI's
older `function_call` and role "function", Gemma's own `tool_responses`, and the shapes of shapes.py are read as well.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gemma4_mlx.errors import GemmaError, shortened
from gemma4_mlx.errors import note as log_note
from gemma4_mlx.prompt.history import INSTRUCTIONS, Message, Note, Numbered, arrange
from gemma4_mlx.prompt.parts import MediaPart, ThoughtPart, is_part, read_parts
from gemma4_mlx.prompt.shapes import in_chat_shape

__all__ = ["MediaPart", "quote_all", "read_messages"]

ROLES = ("system", "developer", "user", "assistant", "model", "tool")
SAME_ROLES = {"model": "assistant", "function": "tool"}

THOUGHTS = ("reasoning", "reasoning_content", "thinking")
"""Where clients put what the model thought; the first that is not empty counts."""

_THOUGHT = re.compile(r"(<\|channel>)(.*?)(<channel\|>)", re.DOTALL)

Quote = Callable[[str], str]


def read_messages(
    messages: Sequence[Mapping[str, Any]], quote: Quote, note: Note = log_note
) -> tuple[list[Message], list[MediaPart]]:
    """Checked messages in the template's order with all people's text quoted, and their media in order of appearance.

    A whole thought in the model's own earlier text keeps its marks, by which the template removes it. All other marks
    are quoted: they are text that somebody wrote. `note` is told what is added, moved or can't be understood.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not messages:
        raise GemmaError("messages must be a list with at least one {'role': ..., 'content': ...}")
    shaped = [(number, one) for number, given in enumerate(messages, start=1) for one in in_chat_shape(given)]
    read = arrange([_read_numbered(*numbered, quote, note) for numbered in shaped], note)
    media = [part for message in read for part in _parts(message) if isinstance(part, MediaPart)]
    return [_without_sources(message) for message in read], media


def quote_all(value: Any, quote: Quote) -> Any:
    """A JSON-like value with every string in it quoted, keys included."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        return {quote_all(key, quote): quote_all(item, quote) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [quote_all(item, quote) for item in value]
    return value


def _parts(message: Message) -> list[Any]:
    return message["content"] if isinstance(message["content"], list) else []


def _without_sources(message: Message) -> Message:
    """The message with each medium as a part of its kind, as templates want it."""
    parts = [{"type": part.kind} if isinstance(part, MediaPart) else part for part in _parts(message)]
    return {**message, "content": parts} if parts else message


def _read_numbered(number: int, message: Mapping[str, Any], quote: Quote, note: Note) -> Numbered:
    def note_here(text: str) -> None:
        note(f"message {number}: {text}")

    if not isinstance(message, Mapping):
        given = shortened(repr(message))
        raise GemmaError(f"message {number}: {{'role': ..., 'content': ...}} is expected, not {given}")
    role = message.get("role")
    if not isinstance(role, str) or role not in (*ROLES, *SAME_ROLES):
        raise GemmaError(f"message {number}: role must be one of {', '.join(ROLES)}")
    try:
        return Numbered(number, _quoted(_read_message(message, SAME_ROLES.get(role, role), note_here), quote))
    except RecursionError:
        raise GemmaError(f"message {number}: it is nested too deep") from None
    except GemmaError as error:
        raise GemmaError(f"message {number}: {error}") from None


def _quoted(message: Message, quote: Quote) -> Message:
    said = _keeping_thoughts(quote) if message["role"] == "assistant" else quote
    content = message["content"]
    rest = {key: value for key, value in message.items() if key not in ("role", "content")}
    quoted = [_quoted_part(part, said) for part in content] if isinstance(content, list) else quote_all(content, said)
    return {**quote_all(rest, quote), "role": message["role"], "content": quoted}


def _quoted_part(part: Any, quote: Quote) -> Any:
    return {**part, "text": quote(part["text"])} if isinstance(part, dict) else part


def _keeping_thoughts(quote: Quote) -> Quote:
    """Quotes all but the marks of whole thoughts."""

    def quote_but(text: str) -> str:
        before, last_end, after = text.rpartition("<channel|>")  # so that each search for an end finds one
        pieces = _THOUGHT.split(before + last_end)  # text, mark, thought, mark, text, ...
        return "".join(piece if place % 2 else quote(piece) for place, piece in enumerate(pieces)) + quote(after)

    return quote_but


def _read_message(message: Mapping[str, Any], role: str, note: Note) -> Message:
    """A message under the names that templates use, not quoted yet, with a source in each media part."""
    rest = {key: value for key, value in message.items() if key not in ("role", "content")}
    for key in ("images", "audios", "videos"):
        if rest.pop(key, None):
            raise GemmaError(f"{key} beside the content are not read; make them parts of the content")
    if "content" not in message and ("parts" in message or role in ("user", *INSTRUCTIONS)):
        raise GemmaError(f"it has no content{' but parts; give them as its content' if 'parts' in message else ''}")
    if role == "assistant":
        return _read_assistant(rest, message.get("content"), note)
    for key in ("tool_calls", "function_call", "tool_responses"):
        if rest.pop(key, None):
            raise GemmaError(f"{key} belong to the assistant, not to a message of role {role}")
    if role == "tool":
        return _read_tool(rest, message.get("content"))
    content = _read_content(message.get("content"))
    _check_parts(content, role)
    return {**rest, "role": role, "content": content}


def _check_parts(content: Any, role: str) -> None:
    """Raises GemmaError for parts that a message of this role can't hold; the assistant's may hold all."""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, MediaPart) and role in INSTRUCTIONS:
            raise GemmaError(f"a system message can't hold {part.kind}; put it into a user message")
        if isinstance(part, ThoughtPart):
            raise GemmaError(f"thoughts belong to the assistant, not to a message of role {role}")


def _read_assistant(rest: Message, content: Any, note: Note) -> Message:
    """The model's own message: all that it thought under `reasoning`, arguments of calls as objects."""
    calls, legacy, responses = (rest.pop(key, None) for key in ("tool_calls", "function_call", "tool_responses"))
    refusal = rest.pop("refusal", None)
    content = _read_content(refusal if content is None and isinstance(refusal, str) else content)
    thoughts = [rest.pop(key, None) for key in THOUGHTS]
    if any(not isinstance(thought, str) for thought in thoughts if thought):
        raise GemmaError(f"{', '.join(THOUGHTS)} must be text")
    thoughts = [thought for thought in thoughts if thought][:1]
    if isinstance(content, list):
        thoughts += [part.text for part in content if isinstance(part, ThoughtPart) and part.text]
        content = [part for part in content if not isinstance(part, ThoughtPart)]
    read = {
        "reasoning": "\n".join(dict.fromkeys(thoughts)),  # some clients send it twice
        "tool_calls": [_read_call(call, note) for call in _list(calls or ([legacy] if legacy else ()), "tool_calls")],
        "tool_responses": [_read_response(response) for response in _list(responses or (), "tool_responses")],
    }
    return {**rest, "role": "assistant", "content": content, **{key: value for key, value in read.items() if value}}


def _read_tool(rest: Message, content: Any) -> Message:
    name = rest.pop("tool_name", None)
    name = rest.pop("name", None) or name or ""
    if not isinstance(name, str):
        raise GemmaError(f"the name of a tool must be text, not {type(name).__name__}")
    id = _read_id(rest.pop("tool_call_id", None))
    return {**rest, "role": "tool", "name": name, "tool_call_id": id, "content": _read_result(content)}


def _read_content(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    if is_part(content):
        return read_parts([content])
    return read_parts(_list(content, "content", "text or a list of parts"))


def _read_result(content: Any) -> Any:
    """What a tool returned: text, parts, or any other JSON, a list of which templates take inside an object only."""
    if content and isinstance(content, (list, tuple)) and not any(map(is_part, content)):
        return {"value": content}
    if isinstance(content, (list, tuple)) or is_part(content):
        parts = read_parts(content if isinstance(content, (list, tuple)) else [content])
        _check_parts(parts, "tool")
        return parts
    if content is not None and not isinstance(content, (str, int, float, Mapping)):
        raise GemmaError(f"content must be text, a list of parts or JSON, not {type(content).__name__}")
    return "" if content is None else content


def _read_response(response: Any) -> Message:
    if not isinstance(response, Mapping) or not isinstance(response.get("name"), str):
        raise GemmaError("a tool response must be {'name': ..., 'response': ...}")
    return {"name": response["name"], "content": _read_result(response.get("response"))}


def _read_id(id: Any) -> str:
    return "" if id is None else str(id)


def _list(value: Any, name: str, wanted: str = "a list of objects") -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise GemmaError(f"{name} must be {wanted}, not {type(value).__name__}")
    return value


def _read_call(call: Any, note: Note) -> Message:
    """A tool call whose arguments are an object, as templates want them; OpenAI's clients send them as JSON text.

    What a custom tool is called with, which is text, becomes its argument "input".
    """
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if isinstance(function, Mapping) and isinstance(custom := function.get("custom"), Mapping):
        function = {"name": custom.get("name"), "arguments": {"input": custom.get("input")}}
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise GemmaError("a tool call must have a function with a name")
    name = function["name"]
    read = {"name": name, "arguments": _read_arguments(name, function.get("arguments"), note)}
    return {**call, "id": _read_id(call.get("id")), "function": {**function, **read}}


def _read_arguments(name: str, given: Any, note: Note) -> Mapping[str, Any]:
    """The arguments as an object, or under the key "arguments" if they are text that is no JSON object."""
    try:
        arguments = _parsed(_parsed(given))  # some clients write JSON inside JSON
    except (ValueError, RecursionError):
        arguments = given
    if arguments is None or arguments == []:  # PHP's clients write [] for {}
        return {}
    if isinstance(arguments, Mapping):
        return arguments
    if not isinstance(given, str):
        raise GemmaError(f"the arguments of {name} must be an object")
    note(f"the arguments of {name} are no JSON object; the model reads them as text")
    return {"arguments": given}


def _parsed(arguments: Any) -> Any:
    return json.loads(arguments.strip() or "{}") if isinstance(arguments, str) else arguments
