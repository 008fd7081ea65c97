"""A question with its media -> a user's turn in the order that the model was trained on.

Pictures and films come before the text, sounds after it, and so does a film's own sound. Messages that somebody wrote
out are not rearranged: there a film's sound follows its frames.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemma4_mlx.prompt.processor import MediaOptions
    from gemma4_mlx.prompt.prompt import MediaKind

Message = dict[str, Any]
Part = dict[str, Any]

SOUNDTRACK = "soundtrack"
"""A key of the sounds that came out of a film."""


def question(
    text: str,
    options: "MediaOptions",
    *,
    images: Sequence[Any] = (),
    audio: Sequence[Any] = (),
    videos: Sequence[Any] = (),
) -> Message:
    """The turn of a question with these media, which are decoded first. Raises GemmaError where one can't be."""
    given: tuple[tuple[MediaKind, Sequence[Any]], ...] = (("image", images), ("video", videos), ("audio", audio))
    return question_about([(kind, source) for kind, sources in given for source in sources], text, options)


def question_about(media: "Sequence[tuple[MediaKind, Any]]", text: str, options: "MediaOptions") -> Message:
    """The turn of a question with media of several kinds in this order. Raises GemmaError if one can't be decoded."""
    return user_turn(text, [part for kind, source in media for part in decode(kind, source, options)])


def decode(kind: "MediaKind", source: Any, options: "MediaOptions") -> list[Part]:
    """What is decoded of a source, as a part of a message; a film with sound is two. Raises GemmaError."""
    from gemma4_mlx.media.video import Video
    from gemma4_mlx.prompt.parts import MediaPart
    from gemma4_mlx.prompt.processor import load_part

    media = load_part(MediaPart(kind, source), options)
    if kind != "video" or not isinstance(media, Video) or not media.soundtrack:
        return [{"type": kind, kind: media}]
    silent = {"type": "video", "video": replace(media, soundtrack=[])}
    return [silent, {"type": "audio", "audio": media.soundtrack, SOUNDTRACK: True}]


def user_turn(text: str, parts: Sequence[Part]) -> Message:
    """A question about media: pictures and films before it, sounds after it (films' own first)."""
    if not parts:
        return {"role": "user", "content": text}
    seen = [part for part in parts if part["type"] != "audio"]
    heard = [part for part in parts if part["type"] == "audio"]
    return {"role": "user", "content": soundtracks_behind([*seen, {"type": "text", "text": text}, *heard])}


def soundtracks_behind(parts: Sequence[Part]) -> list[Part]:
    """The parts of a turn with films' own sounds behind all text and pictures, before the sounds that end the turn."""
    soundtracks = [part for part in parts if SOUNDTRACK in part]
    others = [part for part in parts if SOUNDTRACK not in part]
    end = max((place for place, part in enumerate(others, start=1) if part["type"] != "audio"), default=0)
    return [*others[:end], *soundtracks, *others[end:]]
