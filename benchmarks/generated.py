"""Samples of training's generators as messages that the package reads."""

from typing import Any

from gemma4_mlx.media.images import Patches
from gemma4_mlx.media.video import Video
from train_nano.data.sample import Clip, Picture, Sample

LONGEST_ANSWER = 160


def as_media(item: Picture | Clip | Any) -> Patches | Video | list[Any]:
    """A generated picture, clip or film as the package's own types."""
    if isinstance(item, Picture):
        return Patches(item.patches, item.xy.astype("int32"))
    if isinstance(item, Clip):
        return [item.frames]
    return Video([Patches(frame.patches, frame.xy.astype("int32")) for frame in item.pictures], item.seconds, [])


def as_messages(sample: Sample) -> list[dict[str, Any]]:
    """The sample's messages with its media in their places."""
    waiting = iter(sample.media)

    def filled(part: dict[str, Any]) -> dict[str, Any]:
        return part if part["type"] == "text" else {**part, part["type"]: as_media(next(waiting))}

    return [
        {**message, "content": [filled(part) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in sample.messages
    ]
