"""Parts of a message's content, in the shapes of all clients -> texts, thoughts and media."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Real
from typing import Any

from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.arrays import is_array, is_with_rate
from gemma4_mlx.media.audio import Clips
from gemma4_mlx.prompt.prompt import MediaKind

# part type -> kind, and the keys under which people put its source
MEDIA_PARTS: Mapping[str, tuple[MediaKind, tuple[str, ...]]] = {
    "image": ("image", ("image", "path", "url", "base64", "data", "source")),
    "image_url": ("image", ("image_url",)),
    "audio": ("audio", ("audio", "path", "url", "base64", "data")),
    "input_audio": ("audio", ("input_audio",)),
    "audio_url": ("audio", ("audio_url",)),
    "video": ("video", ("video", "path", "url", "base64", "data")),
    "video_url": ("video", ("video_url",)),
}

SAME_PARTS = {"input_text": "text", "output_text": "text", "input_image": "image_url", "input_video": "video_url"}
"""Other clients' names of parts that are alike."""

# part type -> the keys under which clients put its text; none if it can't be read
THOUGHT_PARTS: Mapping[str, tuple[str, ...]] = {
    "thinking": ("thinking", "text"),
    "reasoning": ("text", "reasoning"),
    "reasoning_text": ("text",),
    "redacted_thinking": (),
}
TEXT_PARTS: Mapping[str, tuple[str, ...]] = {"text": ("text",), "refusal": ("refusal",), **THOUGHT_PARTS}


_HOLDERS = ("url", "bytes", "path")
"""Keys of an object in the place of a source; data sets of Hugging Face have bytes and path."""


@dataclass(frozen=True, slots=True)
class MediaPart:
    """A picture, sound or film in a message: its kind and whatever names or holds it."""

    kind: MediaKind
    source: Any


@dataclass(frozen=True, slots=True)
class ThoughtPart:
    """What the model thought, not said."""

    text: str


Part = dict[str, str] | MediaPart | ThoughtPart
"""A text as `{"type": "text", "text": ...}`, or one of the others."""


def read_parts(parts: Sequence[Any]) -> list[Part]:
    """The parts; bare strings are texts. Raises GemmaError for what is no part, or lacks its text or source."""
    return [read_media(part) or _read_text(part) for part in parts]


def is_part(value: Any) -> bool:
    """Whether a value is a part that can be read, going by its type."""
    return _part_type(value) in (*TEXT_PARTS, *MEDIA_PARTS)


def read_media(part: Any) -> MediaPart | None:
    """What a part names or holds; None if it is of another kind. Raises GemmaError if it has no source."""
    part_type = _part_type(part)
    if part_type not in MEDIA_PARTS:
        return None
    kind, keys = MEDIA_PARTS[part_type]
    for key in keys:
        if part.get(key) is not None:
            return MediaPart(kind, _source(part[key], key))
    raise GemmaError(f"this {part_type} part has no {' or '.join(keys)}")


def as_sources(name: str, media: Any) -> Sequence[Any]:
    """Several media; a path, an address, bytes, a file, an array or a pair with its rate alone is one of them.

    Raises UsageError that names the argument for what can't be a medium.
    """
    if is_with_rate(media) or isinstance(media, Clips):
        return [media]
    if media is None or isinstance(media, Real | Mapping):
        raise UsageError(f"{name} can't be {type(media).__name__}; give a path, or a list of paths")
    is_one = isinstance(media, str | bytes | bytearray | memoryview) or is_array(media) or hasattr(media, "read")
    return [media] if is_one or not isinstance(media, Sequence | Iterator | Set) else list(media)


def _part_type(part: Any) -> str:
    """The type of a part in the names used here; "" for what has none."""
    given = part.get("type") if isinstance(part, Mapping) else None
    return SAME_PARTS.get(given, given) if isinstance(given, str) else ""


def _read_text(part: Any) -> dict[str, str] | ThoughtPart:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    part_type = _part_type(part)
    if part_type not in TEXT_PARTS:
        given = part.get("type") if isinstance(part, Mapping) else None
        raise GemmaError(f"a part must have a type among text, {', '.join(MEDIA_PARTS)}, not {given!r}")
    keys = TEXT_PARTS[part_type]
    text = next((part[key] for key in keys if isinstance(part.get(key), str)), None if keys else "")
    if text is None:
        raise GemmaError(f"this {part_type} part has no {' or '.join(keys)}")
    return ThoughtPart(text) if part_type in THOUGHT_PARTS else {"type": "text", "text": text}


def _source(value: Any, key: str) -> Any:
    """Unwrap `{"url": ...}`, `{"bytes": ...}` and `{"data": base64}`; base64 becomes a data URI, also in another."""
    if isinstance(value, Mapping) and not is_with_rate(value):
        data = value.get("data")
        if data is not None and not isinstance(data, str):
            raise GemmaError(f"the data of {key} must be base64 text, not {type(data).__name__}")
        held = next((value[name] for name in _HOLDERS if value.get(name) is not None), None)
        value = held if data is None else f"data:;base64,{data}"
        if value is None:
            raise GemmaError(f"{key} has neither url nor data")
    if key in ("base64", "data") and isinstance(value, str):
        return f"data:;base64,{value}"
    return value
