"""JPEG files that end early, with and without an end mark, and those that only look so."""

import gc
import io
from typing import Any

import numpy as np
import pytest
from media.media_files import image_bytes, picture
from PIL import Image

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import jpeg as jpeg_module
from gemma4_mlx.media.images import load_image, to_patches

END = b"\xff\xd9"
KINDS = {
    "baseline": {"quality": 90},
    "444": {"quality": 90, "subsampling": 0},
    "restarts": {"quality": 90, "restart_marker_rows": 1},
    "optimized": {"quality": 90, "optimize": True},
    "grey": {"quality": 90},
    "CMYK": {"quality": 90},
}


def jpeg(kind: str) -> tuple[bytes, np.ndarray]:
    """A file of 384 x 384 pixels, and what is in it."""
    mode = {"grey": "L", "CMYK": "CMYK"}.get(kind, "RGB")
    data = image_bytes(picture(384, 384).convert(mode), "JPEG", **KINDS[kind])
    return data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["nothing", "mark", "zeros"])
def test_a_part_is_used_as_far_as_it_goes(kind: str, end: str) -> None:
    whole, pixels = jpeg(kind)
    for tenths in (4, 7):
        part = whole[: len(whole) * tenths // 10]
        patches = load_image(part + {"nothing": b"", "mark": END, "zeros": bytes(len(whole) - len(part))}[end], 70)
        (note,) = patches.notes
        rows = int(note.split("only ")[1].split()[0])
        assert note == f"bytes: is damaged or cut short: only {rows} of its 384 rows of pixels are used"
        assert abs(rows - 384 * tenths / 10) < 120
        wanted = to_patches(pixels[:rows], 70)
        assert np.abs(wanted.pixels.astype(int) - patches.pixels).mean() < 1  # colours of the last row are half a guess


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_end_mark_is_missing(kind: str) -> None:
    whole, pixels = jpeg(kind)
    patches = load_image(whole[:-2], 70)
    assert np.array_equal(patches.pixels, to_patches(pixels, 70).pixels)
    assert patches.notes == ("bytes: is cut short: its end is missing; all that is there is used",)


@pytest.mark.parametrize("end", [b"", END])
def test_a_progressive_one_is_less_sharp(end: bytes) -> None:
    whole = image_bytes(picture(384, 384), "JPEG", quality=90, progressive=True)
    for tenths in (3, 5, 7):
        patches = load_image(whole[: len(whole) * tenths // 10] + end, 70)
        assert patches.notes[0].startswith("bytes: is ")
        assert "cut short" in patches.notes[0]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}])
@pytest.mark.parametrize("tail", [b"", b"junk" * 99, bytes(9999)])
def test_grey_like_filler_is_no_filler(options: dict[str, object], tail: bytes) -> None:
    image = picture(384, 384)
    image.paste((128, 128, 128), (0, 150, 384, 384))
    data = image_bytes(image, "JPEG", quality=95, **options)
    patches = load_image(data + tail, 70)
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert patches.notes == ()
    assert np.array_equal(patches.pixels, to_patches(wanted, 70).pixels)


def test_a_whole_progressive_image_is_never_held_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sum, alive = jpeg_module.check_sum, []

    def counted(image: Any) -> int:
        alive.append(sum(type(each) is type(image) for each in gc.get_objects()))
        return check_sum(image)

    monkeypatch.setattr(jpeg_module, "check_sum", counted)
    stored = io.BytesIO()
    Image.new("RGB", (96, 96), "red").save(stored, "JPEG", progressive=True)
    gc.collect()
    assert load_image(stored.getvalue()).notes == ()
    assert alive == [1, 1]


def test_segments_without_end() -> None:
    data = image_bytes(picture(96, 96), "JPEG")
    assert len(load_image(data[:2] + b"\xff\xe5\0\2" * 500 + data[2:], 70)) == 64
    with pytest.raises(GemmaError, match="the image is broken or cut short"):
        load_image(data[:2] + b"\xff\xe5\0\2" * 10_000 + data[2:], 70)
