"""Decoded frames to patches, a strip at a time, so that no whole frame is ever held in RGB.

Pixels are those of converting the whole frame with FFmpeg and resizing it with Pillow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gemma4_mlx.media.images import PATCH, Patches, as_patches, target_size
from gemma4_mlx.media.resize import resized_squares

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_ROWS = 32  # in a strip; even
# FFmpeg makes RGB of these from squares of two by two pixels; in others it blends the colours of more rows.
_FORMATS_OF_SQUARES = ("yuv420p", "yuvj420p")


@dataclass(frozen=True, slots=True)
class View:
    """How a stored frame is shown, besides being turned.

    Attributes:
        pixel_aspect: how much wider than high a pixel is.
        mirrored: whether the frame is flipped, top to bottom, before it is turned.
    """

    pixel_aspect: float = 1.0
    mirrored: bool = False


def frame_patches(frame: "VideoFrame", budget: int, view: View = View()) -> Patches:
    """Turn a phone's frame upright (its display matrix), resize it as `to_patches` does, and cut it up."""
    turns = round(frame.rotation / 90)
    size = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    shown = max(1, round(frame.width * view.pixel_aspect))
    target = target_size(*((frame.height, shown) if turns % 2 else (shown, frame.height)), budget)
    strips = _strips(frame, turns, mirrored=view.mirrored)
    return as_patches(resized_squares(strips, size[1], target, PATCH)[0])


def _strips(frame: "VideoFrame", turns: int, *, mirrored: bool) -> Iterator[np.ndarray]:
    """The rows of the frame after `turns` quarter turns, from the top: uint8 (rows, width, 3)."""
    if _has_squares(frame):
        planes = [_upright(_pixels(frame, number), turns, mirrored=mirrored) for number in range(3)]
        yield from _converted_strips(frame, planes)
        return
    rgb = _upright(frame.to_ndarray(format="rgb24"), turns, mirrored=mirrored)
    for top in range(0, len(rgb), _ROWS):
        yield rgb[top : top + _ROWS]


def _upright(pixels: np.ndarray, turns: int, *, mirrored: bool) -> np.ndarray:
    return np.rot90(pixels[::-1] if mirrored else pixels, turns)


def _has_squares(frame: "VideoFrame") -> bool:
    even = frame.width % 2 == frame.height % 2 == 0
    downwards = all(plane.line_size > 0 for plane in frame.planes)
    return frame.format.name in _FORMATS_OF_SQUARES and even and downwards and not frame.interlaced_frame


def _converted_strips(frame: "VideoFrame", planes: list[np.ndarray]) -> Iterator[np.ndarray]:
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    height, width = planes[0].shape
    for top in range(0, height, _ROWS):
        strip = VideoFrame(width, min(_ROWS, height - top), frame.format.name)
        strip.colorspace, strip.color_range = frame.colorspace, frame.color_range
        for number, start in enumerate((top, top // 2, top // 2)):
            part = _pixels(strip, number)
            part[:] = planes[number][start : start + len(part)]
        yield reformatter.reformat(strip, format="rgb24", threads=1).to_ndarray()


def _pixels(frame: "VideoFrame", number: int) -> np.ndarray:
    """A plane of 8 bits, not copied: uint8 (rows, columns)."""
    plane = frame.planes[number]
    return np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)[:, : plane.width]
