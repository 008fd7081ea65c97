"""Patches made strip by strip are those of the whole frame, whatever its format and size."""

import io
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from media.media_files import picture

from gemma4_mlx.media.frames import is_mirrored
from gemma4_mlx.media.images import to_patches
from gemma4_mlx.media.strips import frame_patches

SIZES = [(1920, 1080), (640, 362), (130, 98), (66, 34), (640, 50), (48, 48), (37, 75)]
FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "gbrp", "gray"]


def noisy(width: int, height: int) -> np.ndarray:
    """Edges, gradients and a grain of its own in each colour: uint8 (height, width, 3)."""
    grain = np.random.default_rng(0).integers(-40, 40, (height, width, 3))
    return np.clip(np.asarray(picture(width, height)).astype(int) + grain, 0, 255).astype(np.uint8)


def frame_of(width: int, height: int, format: str) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(noisy(width, height), format="rgb24").reformat(format=format)


def whole(frame: av.VideoFrame, turns: int, budget: int) -> np.ndarray:
    rgb = np.rot90(frame.to_ndarray(format="rgb24"), turns)
    return to_patches(np.ascontiguousarray(rgb), budget).pixels


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_strips_change_no_pixel(size: tuple[int, int], format: str) -> None:
    frame = frame_of(*size, format)
    patches = frame_patches(frame, 70)
    assert np.array_equal(patches.pixels, whole(frame, 0, 70))
    assert np.array_equal(patches.positions, to_patches(frame.to_ndarray(format="rgb24"), 70).positions)


@pytest.mark.parametrize("colorspace", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("color_range", [0, 1, 2])
def test_colours_are_read_as_the_frame_says(colorspace: int, color_range: int) -> None:
    frame = frame_of(320, 180, "yuv420p")
    frame.colorspace, frame.color_range = colorspace, color_range
    assert np.array_equal(frame_patches(frame, 70).pixels, whole(frame, 0, 70))


@pytest.mark.parametrize("budget", [70, 1120])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(320, 180), (134, 98), (62, 46)], ids=str)
def test_turned_frames(turns: int, budget: int, size: tuple[int, int]) -> None:
    frame = frame_of(*size, "yuv420p")
    turned: Any = SimpleNamespace(
        **{name: getattr(frame, name) for name in ("width", "height", "format", "planes", "interlaced_frame")},
        **{name: getattr(frame, name) for name in ("colorspace", "color_range", "to_ndarray")},
        rotation=turns * 90,
    )
    assert np.array_equal(frame_patches(turned, budget).pixels, whole(frame, turns, budget))


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"flags": "+ilme+ildct", "crf": "10"}),
        ("libx264", {"crf": "10", "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=on"}),
        ("mpeg4", {"qscale": "2"}),
        ("mjpeg", {}),
        ("libvpx-vp9", {"crf": "10"}),
    ],
    ids=str,
)
def test_decoded_frames(codec: str, options: dict[str, str]) -> None:
    """Decoders give rows with padding, fields, and colours of their own."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream(codec, rate=10, options=options)
        stream.width, stream.height = 322, 184
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(noisy(322, 184), format="rgb24")))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        frames = list(container.decode(video=0))
    assert [frame.interlaced_frame for frame in frames] == [options.get("flags") == "+ilme+ildct"] * 3
    for frame in frames:
        assert np.array_equal(frame_patches(frame, 70).pixels, whole(frame, 0, 70))


def test_side_data_that_av_does_not_know() -> None:
    class Frame:
        @property
        def side_data(self) -> object:
            raise ValueError("29 is not a valid Type")

    assert is_mirrored(Frame()) is False
