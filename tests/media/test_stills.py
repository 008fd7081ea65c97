"""Animated images as videos: every frame at its real time."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from media.media_files import frame_number, frame_picture, image_bytes, picture, video_bytes
from PIL import Image

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import stills
from gemma4_mlx.media.images import load_image
from gemma4_mlx.media.sources import MediaLimits
from gemma4_mlx.media.stills import is_animated
from gemma4_mlx.media.video import Video, load_video

DURATIONS = [100, 200, 50, 30, 500, 1000, 10, 20, 40, 80, 300, 70]  # milliseconds; browsers show 10 as 100
TIMES = [0, 0.1, 0.3, 0.35, 0.38, 0.88, 1.88, 1.98, 2.0, 2.04, 2.12, 2.42]
OPTIONS: dict[str, dict[str, Any]] = {"GIF": {}, "WEBP": {"lossless": True}, "PNG": {}, "AVIF": {"quality": 95}}
FORMATS = list(OPTIONS)


def animated(format: str, count: int = 12, **options: Any) -> bytes:
    frames = [Image.fromarray(frame_picture(number, 192, 96)) for number in range(count)]
    options = {"duration": DURATIONS[:count], **OPTIONS[format], **options}
    return image_bytes(frames[0], format, save_all=True, append_images=frames[1:], **options)


def numbers(video: Video) -> list[int]:
    return [frame_number(frame.pixels) for frame in video.frames]


@pytest.mark.parametrize("format", FORMATS)
def test_every_frame_at_its_time(format: str, tmp_path: Path) -> None:
    data, path = animated(format), tmp_path / "a.bin"
    path.write_bytes(data)
    for source in (data, path):
        video = load_video(source)
        assert numbers(video) == list(range(12))
        assert video.timestamps == pytest.approx(TIMES, abs=0.0011)
        assert (video.soundtrack, video.notes) == ([], ())
    assert is_animated(str(path))


@pytest.mark.parametrize("format", FORMATS)
def test_frames_are_chosen_as_of_any_video(format: str) -> None:
    data = animated(format, duration=100)
    assert numbers(load_video(data, max_frames=5)) == [0, 2, 4, 7, 9]
    assert numbers(load_video(data, fps=2)) == [0, 5, 10]
    thinned = load_video(data, fps=10, max_frames=3)
    assert numbers(thinned) == [0, 4, 8]
    assert thinned.notes == (
        "bytes: 10 frames a second would be 12 frames, more than the maximum of 3: thinned out to 3, one every 0.4 s",
    )


@pytest.mark.parametrize("format", FORMATS)
def test_as_an_image_it_is_its_first_frame(format: str) -> None:
    patches = load_image(animated(format), 70)
    assert frame_number(patches.pixels) == 0
    assert patches.notes == ("bytes: is animated: only its first frame is used; give it as a video to use all of them",)


KINDS = {"GIF": "a GIF", "WEBP": "a WebP", "PNG": "a PNG", "AVIF": "an AVIF", "JPEG": "a JPEG", "BMP": "a BMP"}


@pytest.mark.parametrize("format", KINDS)
def test_a_still_image_is_no_video(format: str, tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(image_bytes(picture(96, 48), format))
    with pytest.raises(GemmaError) as caught:
        load_video(tmp_path / "a.gif")
    said = f"is {KINDS[format]} image without animation, not a video: give it as an image"
    assert str(caught.value) == f"{tmp_path}/a.gif: {said}"
    assert not is_animated(str(tmp_path / "a.gif"))


@pytest.mark.parametrize(("format", "wanted"), [("GIF", 6), ("WEBP", 8), ("PNG", 7)])
def test_a_cut_file_gives_its_first_frames(format: str, wanted: int) -> None:
    data = animated(format, duration=100)
    video = load_video(io.BytesIO(data[: len(data) * 6 // 10]))
    assert numbers(video) == list(range(wanted))
    assert len(video.notes) == 1
    assert "cut short" in video.notes[0]


def test_a_cut_file_of_which_nothing_can_be_read() -> None:
    for data in (animated("AVIF")[:-300], animated("PNG")[:200], animated("WEBP")[:200]):
        with pytest.raises(GemmaError, match=r"the image is broken or cut short|without animation"):
            load_video(data)


def test_an_image_in_front_of_the_animation_is_no_part_of_it() -> None:
    data = animated("PNG", 4, default_image=True, duration=[100] * 3)
    video = load_video(data)
    assert (numbers(video), video.timestamps) == ([1, 2, 3], pytest.approx([0, 0.1, 0.2]))


def test_heic_is_a_video_only_with_a_track(tmp_path: Path) -> None:
    """A burst of a camera is one; a photo isn't, though FFmpeg would read one of its tiles."""
    still, burst = io.BytesIO(), bytearray(video_bytes(5, codec="libx265", encoder={"x265-params": "log-level=none"}))
    pillow_heif.from_pillow(picture(96, 48)).save(still, quality=50)
    with pytest.raises(GemmaError, match="is a HEIC image without animation, not a video: give it as an image"):
        load_video(still.getvalue())
    burst[8:12] = b"hevc"  # the brand of bursts
    (tmp_path / "a.heics").write_bytes(burst)
    assert numbers(load_video(tmp_path / "a.heics")) == list(range(5))
    assert is_animated(str(tmp_path / "a.heics"))


def test_parts_of_frames_stand_on_those_before() -> None:
    """A GIF whose second frame draws a square only; what is transparent from the start is white."""
    first = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
    first.paste((255, 0, 0, 255), (0, 0, 96, 48))
    second = first.copy()
    second.paste((0, 0, 255, 255), (0, 48, 48, 96))
    for format in ("GIF", "PNG"):
        options = {"disposal": 1} if format == "GIF" else {}
        data = image_bytes(first, format, save_all=True, append_images=[second], duration=100, **options)
        shown = load_video(data, budget=70).frames[1]
        colours = [tuple(shown.pixels[place, :3].tolist()) for place in (0, len(shown) - 8, len(shown) - 1)]
        assert colours == [(255, 0, 0), (0, 0, 255), (255, 255, 255)], format


def test_limits_come_before_decoding() -> None:
    data = animated("GIF")
    for limits, said in (
        (MediaLimits(max_video_frames=5), "has more than 5 frames"),
        (MediaLimits(max_video_seconds=2), "the video is longer than the limit of 2 s"),
        (MediaLimits(max_frame_pixels=10_000), "192 x 96 pixels are more than the limit of 0.01 megapixels"),
    ):
        with pytest.raises(GemmaError, match=said):
            load_video(data, limits=limits)


def test_work_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "_MOST_PIXELS", 100_000)
    with pytest.raises(GemmaError, match="12 frames of 192 x 96 pixels would take too long to decode"):
        load_video(animated("GIF"))


def test_any_damage_gives_frames_or_the_packages_own_error() -> None:
    seed = np.random.default_rng(0)
    for format in FORMATS:
        good = animated(format, 6)
        for _ in range(6):
            broken = bytearray(good)
            for place in seed.integers(6, len(good), 8):
                broken[place] = seed.integers(0, 256)
            with contextlib.suppress(GemmaError):
                assert load_video(bytes(broken), max_frames=3).frames
