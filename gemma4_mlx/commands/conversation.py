"""The messages of a chat: their media are decoded once and remember their source, so that a file can name them.

A media part is `{"type": kind, kind: what was decoded, "path": source}`. In a file only the path stands for it, as the
API takes it too. A film's sound is a part of its own without a path: it comes back with the film.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import GemmaError, shortened
from gemma4_mlx.files import write_atomically
from gemma4_mlx.prompt.turns import Message, Part, decode, soundtracks_behind, user_turn

if TYPE_CHECKING:
    from gemma4_mlx.prompt.processor import MediaOptions
    from gemma4_mlx.prompt.prompt import MediaKind

__all__ = ["Message", "Part", "attach", "load", "save", "user_turn"]

MOST_BYTES = 256_000_000
"""Of a conversation's file, media as data: addresses included."""


def attach(kind: "MediaKind", source: str, options: "MediaOptions") -> list[Part]:
    """Decodes a file or address: its part, and for a film with sound another one. Raises GemmaError."""
    there = os.path.expanduser(source)
    path = os.path.abspath(there) if os.path.exists(there) else source
    part, *sound = decode(kind, path, options)
    return [part | {"path": path}, *sound]


def save(messages: Sequence[Message], path: str) -> Path:
    """Write messages as JSON, whole or not at all and for nobody else to read; return where. Raises GemmaError."""
    text = json.dumps([_as_json(message) for message in messages], ensure_ascii=False, indent=2)
    return write_atomically(path, f"{text}\n", private=True)


def load(path: str, options: "MediaOptions", allow: Callable[[Sequence[str]], bool] = lambda _: False) -> list[Message]:
    """Reads what `save` wrote, or messages in the API's shape, and decodes their media again.

    The conversation can be somebody else's: `allow` is asked before it fetches addresses, or opens files that are not
    in its own folder. Raises GemmaError.
    """
    from gemma4_mlx.prompt.messages import read_messages

    try:
        file = Path(path).expanduser()
        if file.exists() and not file.is_file():
            raise GemmaError(f"{path}: is a folder, a device or a pipe, not a file")
        if file.exists() and file.stat().st_size > MOST_BYTES:
            raise GemmaError(f"{path}: is larger than the {MOST_BYTES // 10**6} MB that a conversation may have")
        messages = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise GemmaError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (ValueError, RecursionError):
        raise GemmaError(f"{path}: is not JSON; /save writes files that can be read here") from None
    if not isinstance(messages, list):
        raise GemmaError(f"{path}: is not a list of messages; /save writes files that can be read here")
    try:
        media = read_messages(messages, str, lambda note: None)[1]  # notes are said when they are sent
        outside = _outside([part.source for part in media if isinstance(part.source, str)], file)
        if outside and not allow(outside):
            raise GemmaError(_refusal(outside))
        return [_decoded(message, options) for message in messages]
    except GemmaError as error:
        raise GemmaError(f"{path}: {error}") from None


def _outside(sources: Sequence[str], file: Path) -> list[str]:
    """Those of the sources that are neither in the conversation's file nor, links followed, in its folder."""
    folder = os.path.join(os.path.dirname(os.path.realpath(file)), "")

    def is_inside(source: str) -> bool:
        path = os.path.expanduser(source)
        named = "://" in path or "\0" in path  # an address, or nothing that could be opened
        return source.lower().startswith("data:") or (not named and os.path.realpath(path).startswith(folder))

    return [source for source in dict.fromkeys(sources) if not is_inside(source)]


def _refusal(outside: Sequence[str]) -> str:
    more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
    return (
        f"not loaded, as it opens {shortened(outside[0])}{more} outside of its folder: "
        "copy that there and name it so, or load the conversation in a terminal and agree"
    )


def _as_json(message: Message) -> Message:
    content = message["content"]
    if not isinstance(content, list):
        return message
    return message | {"content": [_named(part) for part in content if not _is_decoded(part) or "path" in part]}


def _named(part: Any) -> Any:
    return {"type": part["type"], "path": part["path"]} if _is_decoded(part) else part


def _is_decoded(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("image", "audio", "video")


def _decoded(message: Mapping[str, Any], options: "MediaOptions") -> Message:
    """The message with its media in the place of what names them."""
    from gemma4_mlx.prompt.parts import read_media

    content = message.get("content")
    given = content if isinstance(content, list) else []
    named = [read_media(part) for part in given]
    if not any(named):
        return {**message, "content": "" if content is None else content}
    parts: list[Part] = []
    for part, media in zip(given, named, strict=True):
        if media is None:
            parts.append({"type": "text", "text": part} if isinstance(part, str) else part)
        elif isinstance(media.source, str):
            parts += attach(media.kind, media.source, options)
        else:
            found = type(media.source).__name__
            raise GemmaError(f"{part['type']} parts name a path or an address, not {found}")
    return {**message, "content": soundtracks_behind(parts)}
