"""Arrays in place of files: samples with their rate, pixels, frames with theirs, in the layouts of many libraries."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from media.media_files import frame_number, frame_picture, image_bytes, picture
from PIL import Image

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.images import load_image
from gemma4_mlx.media.sources import MediaLimits
from gemma4_mlx.media.video import load_video

RATE = 16_000
HALF = np.array([0.5, -0.25, 0.125] * 200, np.float32)
STEREO = np.stack((HALF, -HALF / 2), axis=1)
WORDS = (HALF * 32768).astype(np.int16)

SOUNDS: dict[str, Any] = {
    "float32": (HALF, RATE),
    "float64": (HALF.astype(np.float64), RATE),
    "float16": (HALF.astype(np.float16), RATE),
    "int16": (WORDS, RATE),
    "big-endian": (WORDS.astype(">i2"), RATE),
    "int32": ((HALF * 2.0**31).astype(np.int32), RATE),
    "int8": ((HALF * 128).astype(np.int8), RATE),
    "uint8": ((HALF * 128 + 128).astype(np.uint8), RATE),
    "column": (HALF[:, None], RATE),
    "row": (HALF[None], RATE),
    "batch of one": (HALF[None, None], RATE),
    "twice the same": (np.stack((HALF, HALF), axis=1), RATE),
    "twice the same, in rows": (np.stack((HALF, HALF)), RATE),
    "rate first": (RATE, HALF),
    "list": [HALF, RATE],
    "list of numbers": (HALF.tolist(), RATE),
    "rate of numpy": (HALF, np.int64(RATE)),
    "rate as a float": (HALF, 16_000.0),
    "object": {"path": None, "array": HALF, "sampling_rate": RATE},
    "mlx": (mx.array(HALF), RATE),
    "mlx bfloat16": (mx.array(HALF).astype(mx.bfloat16), RATE),
    "mlx bfloat16 in rows": (mx.array(np.stack((HALF, HALF))).astype(mx.bfloat16), RATE),
    "mlx int16": (mx.array(WORDS), RATE),
    "mlx in rows": (mx.array(np.stack((HALF, HALF))), RATE),
    "strided": (np.repeat(HALF, 2)[::2], RATE),
    "read only": (np.broadcast_to(HALF[:, None], (600, 2)), RATE),
}


@pytest.mark.parametrize("kind", SOUNDS)
def test_samples(kind: str) -> None:
    (clip,) = load_audio(SOUNDS[kind])
    assert clip.shape == (1, 640)
    assert clip[0, :600].tolist() == HALF.tolist()


@pytest.mark.parametrize("samples", [STEREO, STEREO.T, np.asfortranarray(STEREO), mx.array(STEREO.T), STEREO.tolist()])
def test_stereo_in_both_orders(samples: Any) -> None:
    """The mean of a channel and minus half of it is a quarter."""
    assert load_audio((samples, RATE))[0][0, :600].tolist() == (HALF / 4).tolist()


def test_silence_of_any_format() -> None:
    for dtype in (np.float32, np.int32, np.int16):
        assert not load_audio((np.zeros(640, dtype), RATE))[0].any()


def test_other_rates_are_resampled() -> None:
    assert [clip.shape for clip in load_audio((np.zeros(48_000, np.int16), 48_000))] == [(25, 640)]


class Unreadable:
    """An array of a library that gives its numbers to nobody."""

    shape, dtype = (3,), "float5"

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("no")


NO_SCALE = "samples have no known full scale; pass float, int32, int16, int8 or uint8"
WRONG_SOUNDS: dict[str, tuple[Any, str]] = {
    "no rate": (HALF, "give its sample rate too, as (samples, rate)"),
    "no rate, mlx": (mx.array(HALF), "give its sample rate too, as (samples, rate)"),
    "int64": ((WORDS.astype(np.int64), RATE), f"int64 {NO_SCALE}"),
    "list of whole numbers": (([1, 2, 3], RATE), f"int64 {NO_SCALE}"),
    "uint16": ((WORDS.astype(np.uint16), RATE), f"uint16 {NO_SCALE}"),
    "bool": ((HALF > 0, RATE), f"bool {NO_SCALE}"),
    "complex": ((HALF + 0j, RATE), f"complex64 {NO_SCALE}"),
    "texts": ((np.array(["a", "b"]), RATE), f"<U1 {NO_SCALE}"),
    "not divided": (
        (WORDS.astype(np.float32), RATE),
        "floating-point samples must lie between -1 and 1; divide 16-bit",
    ),
    "int32 of 16 bits": ((WORDS.astype(np.int32), RATE), "int32 samples of at most 32768 are 16-bit ones"),
    "not finite": ((np.full(9, np.inf), RATE), "holds samples that are not finite numbers"),
    "no numbers": ((Unreadable(), RATE), "numbers of float5 can't be read; convert it to float32 in the main memory"),
    "number": ((np.array(1.0), RATE), "shape () is none of (n,), (n, channels), (channels, n)"),
    "rate a text": ((HALF, "16000"), "its rate must be a number over 0, not '16000'"),
    "rate missing": ((HALF, None), "its rate must be a number over 0, not None"),
    "rate of an object missing": ({"array": HALF}, "its rate must be a number over 0, not None"),
    "rate negative": ((HALF, -1), "its rate must be a number over 0, not -1"),
    "rate NaN": ((HALF, float("nan")), "its rate must be a number over 0, not nan"),
    "rate bool": ((HALF, True), "its rate must be a number over 0, not True"),
    "rate broken": ((HALF, 16_000.5), "states a sample rate of 16000.5 Hz; 1000 to 768000 Hz are accepted"),
    "a path": (("a.wav", RATE), "str in the place of an array; a file is given without a rate"),
    "bytes": ((WORDS.tobytes(), RATE), "bytes in the place of an array; a file is given without a rate"),
    "three values": ((HALF, RATE, 1), "expected a pair with its rate, not 3 values"),
    "nothing": ((), "expected a pair with its rate, not 0 values"),
    "empty": ((HALF[:0], RATE), "has no sound in it"),
}


@pytest.mark.parametrize("kind", WRONG_SOUNDS)
def test_wrong_samples_are_one_line(kind: str) -> None:
    source, said = WRONG_SOUNDS[kind]
    with pytest.raises(GemmaError) as caught:
        load_audio(source)
    assert str(caught.value).startswith(f"audio array: {said}")


RGB = np.asarray(picture(96, 48))
OPAQUE = np.dstack((RGB, np.full((48, 96), 255, np.uint8)))
IMAGES: dict[str, Any] = {
    "uint8": RGB,
    "float64": RGB / 255,
    "float32": (RGB / 255).astype(np.float32),
    "float16": (RGB / 255).astype(np.float16),
    "colours first": RGB.transpose(2, 0, 1),
    "colours first, float": (RGB / 255).transpose(2, 0, 1),
    "alpha": OPAQUE,
    "alpha, colours first": OPAQUE.transpose(2, 0, 1),
    "batch of one": RGB[None],
    "mirrored twice": RGB[:, ::-1].copy()[:, ::-1],
    "mlx": mx.array(RGB),
    "mlx, float": mx.array(RGB / 255),
    "mlx, colours first": mx.array(RGB.transpose(2, 0, 1)),
    "pillow": Image.fromarray(RGB),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_pixels(kind: str) -> None:
    wanted = load_image(image_bytes(Image.fromarray(RGB), "PNG"), 70).pixels
    assert np.abs(load_image(IMAGES[kind], 70).pixels.astype(int) - wanted).max() <= (1 if "16" in kind else 0)


@pytest.mark.parametrize("grey", [RGB[..., 0], RGB[..., :1], RGB[..., 0][None], mx.array(RGB[..., 0])])
def test_grey_pixels(grey: Any) -> None:
    wanted = load_image(image_bytes(Image.fromarray(RGB[..., 0]), "PNG"), 70).pixels
    assert np.array_equal(load_image(grey, 70).pixels, wanted)


def test_masks_are_black_and_white() -> None:
    mask = np.eye(2, dtype=bool).repeat(48, 0).repeat(48, 1)
    wanted = load_image(image_bytes(Image.fromarray(mask), "PNG"), 70).pixels
    assert np.array_equal(load_image(mask, 70).pixels, wanted)
    assert {0, 255} < set(wanted.ravel())


def test_several_images_in_one_array_are_given_as_a_list() -> None:
    with pytest.raises(GemmaError, match=r"shape \(2, 48, 96, 3\) is none of .*; give several images as a list"):
        load_image(np.stack((RGB, RGB)))


FRAMES = np.stack([frame_picture(number, 192, 96) for number in range(20)])
VIDEOS: dict[str, Any] = {
    "array": (FRAMES, 10),
    "float": (FRAMES / 255, 10.0),
    "colours first": (FRAMES.transpose(0, 3, 1, 2), 10),
    "grey": (FRAMES[..., 0], 10),
    "rate first": (10, FRAMES),
    "arrays": (list(FRAMES), 10),
    "images": ([Image.fromarray(frame) for frame in FRAMES], 10),
    "tuple of images": (tuple(Image.fromarray(frame) for frame in FRAMES), 10),
    "files": ([image_bytes(Image.fromarray(frame), "PNG") for frame in FRAMES], 10),
    "object": {"frames": FRAMES, "fps": 10},
    "mlx": (mx.array(FRAMES), 10),
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_frames(kind: str) -> None:
    video = load_video(VIDEOS[kind], max_frames=4)
    assert [frame_number(frame.pixels) for frame in video.frames] == [0, 5, 10, 15]
    assert (video.timestamps, video.soundtrack, video.notes) == ([0.0, 0.5, 1.0, 1.5], [], ())
    video = load_video(VIDEOS[kind], fps=1)
    assert ([frame_number(frame.pixels) for frame in video.frames], video.timestamps) == ([0, 10], [0.0, 1.0])


NO_RATE = "give its frames a second too, as (frames, fps)"
WRONG_VIDEOS: dict[str, tuple[Any, str]] = {
    "no rate": (FRAMES, NO_RATE),
    "list without rate": (list(FRAMES), NO_RATE),
    "images without rate": ([Image.fromarray(FRAMES[0])] * 2, NO_RATE),
    "one image": (Image.fromarray(FRAMES[0]), NO_RATE),
    "one image with a rate": ((FRAMES[0], 10), "shape (96, 192, 3) is none of (n, H, W), (n, H, W, 3), (n, H, W, 4),"),
    "rate zero": ((FRAMES, 0), "its rate must be a number over 0, not 0"),
    "empty": ((FRAMES[:0], 10), "has no frames"),
    "empty list": (([], 10), "has no frames"),
    "colours of two": ((FRAMES[..., :2], 10), "frame 0: image array: shape (96, 192, 2) is none of"),
    "numbers": (([1, 2], 10), "frame 0: media can't be read from int"),
    "long": ((FRAMES, 0.001), "the video is longer than the limit of 14400 s; cut it first"),
}


@pytest.mark.parametrize("kind", WRONG_VIDEOS)
def test_wrong_frames_are_one_line(kind: str) -> None:
    source, said = WRONG_VIDEOS[kind]
    with pytest.raises(GemmaError) as caught:
        load_video(source)
    assert str(caught.value).startswith(f"video array: {said}")


def test_more_frames_than_the_limit() -> None:
    with pytest.raises(GemmaError, match="video array: has more than 10 frames; cut it first"):
        load_video((FRAMES, 10), limits=MediaLimits(max_video_frames=10))
