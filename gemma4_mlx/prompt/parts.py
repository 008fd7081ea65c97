"""Parts of a message's content -> texts and media."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.prompt import MediaKind

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


@dataclass(frozen=True, slots=True)
class MediaPart:
    """A picture, sound or film in a message: its kind and whatever names or holds it."""

    kind: MediaKind
    source: Any


def read_part(part: Any, quote: Callable[[str], str]) -> dict[str, str] | MediaPart:
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
