"""One medium or several, and media in the parts of a message, from whatever holds them."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from media.media_files import image_bytes, picture, tone, video_bytes, wav_bytes

from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.images import load_image
from gemma4_mlx.media.video import load_video
from gemma4_mlx.prompt.messages import read_messages
from gemma4_mlx.prompt.parts import as_sources
from gemma4_mlx.prompt.processor import Media, MediaOptions, load_part

IMAGE = picture(48, 48)
PIXELS = np.asarray(IMAGE)
DATA = image_bytes(IMAGE, "PNG")
SAMPLES = np.zeros(1_600, np.float32)
CLIPS = load_audio((SAMPLES, 16_000))
FILE = io.BytesIO(DATA)

ONE: dict[str, Any] = {
    "path": "a.png",
    "path with a folder": "some/photo.png",
    "path object": Path("a.png"),
    "address": "https://host/a.png",
    "bytes": DATA,
    "bytearray": bytearray(DATA),
    "memoryview": memoryview(DATA),
    "open file": FILE,
    "image": IMAGE,
    "array": PIXELS,
    "array of four sides": PIXELS[None],
    "mlx": mx.array(PIXELS),
    "sound": (SAMPLES, 16_000),
    "sound of mlx": (mx.array(SAMPLES), 16_000),
    "sound in a list": [SAMPLES, 16_000],
    "rate first": (16_000, SAMPLES),
    "numbers": ([0.0, 0.1], 16_000),
    "object": {"array": SAMPLES, "sampling_rate": 16_000},
    "frames": ([IMAGE, IMAGE], 2),
    "clips": CLIPS,
    "patches": load_image(DATA, 70),
    "decoded video": load_video(video_bytes(2)),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_is_no_list(kind: str) -> None:
    (source,) = as_sources("images", ONE[kind])
    assert source is ONE[kind]


def test_several() -> None:
    assert as_sources("images", ["a.png", "b.png"]) == ["a.png", "b.png"]
    assert as_sources("images", ("a.png", "b.png")) == ["a.png", "b.png"]
    assert as_sources("images", (Path(name) for name in "ab")) == [Path("a"), Path("b")]
    assert as_sources("images", {"a.png"}) == ["a.png"]
    assert as_sources("audio", [(SAMPLES, 16_000), (SAMPLES, 8_000)]) == [(SAMPLES, 16_000), (SAMPLES, 8_000)]
    assert list(as_sources("images", [])) == list(as_sources("images", ())) == []


@pytest.mark.parametrize("given", [None, 5, 0.5, True, {"path": "a.png"}, {}])
def test_what_can_not_be_a_medium_names_the_argument(given: Any) -> None:
    with pytest.raises(UsageError, match=f"videos can't be {type(given).__name__}; give a path, or a list of paths"):
        as_sources("videos", given)


def loaded(**part: Any) -> Media:
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]
    _, (media,) = read_messages(messages, str)
    return load_part(media, MediaOptions(image_tokens=70))


SOUND = wav_bytes(tone(0.1))
FILM = video_bytes(3)
HOW: dict[str, Callable[[bytes, Path], Any]] = {
    "path": lambda data, path: str(path),
    "path object": lambda data, path: path,
    "file address": lambda data, path: path.as_uri(),
    "bytes": lambda data, path: data,
    "bytearray": lambda data, path: bytearray(data),
    "open": lambda data, path: io.BytesIO(data),
    "data": lambda data, path: "data:;base64," + base64.b64encode(data).decode(),
}


@pytest.mark.parametrize("how", HOW)
def test_parts_of_every_kind_from_every_source(how: str, tmp_path: Path) -> None:
    found = []
    for kind, data in (("image", DATA), ("audio", SOUND), ("video", FILM)):
        path = tmp_path / f"a {kind}.bin"
        path.write_bytes(data)
        for key in (kind, "path", "url"):
            found.append(loaded(type=kind, **{key: HOW[how](data, path)}))
        found.append(loaded(type=f"{kind}_url", **{f"{kind}_url": {"url": HOW[how](data, path)}}))
    image, audio, video = found[:4], found[4:8], found[8:]
    assert [len(patches) for patches in image] == [64] * 4  # type: ignore[arg-type]
    assert [clip.shape for clips in audio for clip in clips] == [(3, 640)] * 4  # type: ignore[union-attr]
    assert [len(film.frames) for film in video] == [3] * 4  # type: ignore[union-attr]


IN_MEMORY: list[tuple[str, Any, int]] = [
    ("image", IMAGE, 64),
    ("image", PIXELS, 64),
    ("image", PIXELS.transpose(2, 0, 1), 64),
    ("image", mx.array(PIXELS), 64),
    ("image", {"bytes": DATA, "path": None}, 64),
    ("audio", (SAMPLES, 16_000), 1),
    ("audio", [SAMPLES.tolist(), 16_000], 1),
    ("audio", {"array": SAMPLES, "sampling_rate": 16_000}, 1),
    ("audio", CLIPS, 1),
    ("video", (PIXELS[None].repeat(5, 0), 2), 5),
    ("video", {"frames": [IMAGE] * 5, "fps": 2}, 5),
]


@pytest.mark.parametrize(("kind", "source", "count"), IN_MEMORY)
def test_parts_in_memory(kind: str, source: Any, count: int) -> None:
    media: Any = loaded(type=kind, **{kind: source})
    assert len(media.frames if kind == "video" else media) == count


@pytest.mark.parametrize(
    ("kind", "source", "line"),
    [
        ("audio", SAMPLES, "audio array: give its sample rate too, as (samples, rate)"),
        ("audio", [SAMPLES], "media can't be read from list: pass a path, an address, bytes or a binary file"),
        ("video", [IMAGE, IMAGE], "video array: give its frames a second too, as (frames, fps)"),
        ("image", ["a.png"], "media can't be read from list: pass a path, an address, bytes or a binary file"),
        ("image", {"bytes": None}, "message 1: image has neither url nor data"),
        ("image", 5, "media can't be read from int: pass a path, an address, bytes or a binary file"),
    ],
)
def test_parts_that_hold_nothing_readable(kind: str, source: Any, line: str) -> None:
    with pytest.raises(GemmaError) as caught:
        loaded(type=kind, **{kind: source})
    assert str(caught.value) == line
