"""Sizes, patches and pixels of images in every format, mode and orientation."""

import io
import re
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media.media_files import image_bytes, picture
from PIL import Image

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import decode, images
from gemma4_mlx.media.images import BUDGETS, load_image, target_size, to_patches

RED, BLUE = (200, 30, 30), (20, 40, 220)
sides = st.integers(1, 20_000)
budgets = st.sampled_from(BUDGETS)


def rebuilt(patches: Any) -> np.ndarray:
    """Put patches back together by their positions alone."""
    columns, rows = patches.positions.max(axis=0) + 1
    image = np.zeros((rows * 48, columns * 48, 3), np.uint8)
    for pixels, (x, y) in zip(patches.pixels, patches.positions, strict=True):
        image[y * 48 : y * 48 + 48, x * 48 : x * 48 + 48] = pixels.reshape(48, 48, 3)
    return image


@pytest.mark.parametrize(
    ("size", "budget", "wanted"),
    [
        ((1, 1), 280, (768, 768)),
        ((1000, 1), 280, (13440, 48)),
        ((100_000, 1), 70, (3360, 48)),
        ((1, 100_000), 70, (48, 3360)),
        ((4000, 3000), 280, (912, 672)),
        ((4000, 3000), 1120, (1824, 1344)),
        ((1920, 1080), 70, (528, 288)),
        ((48, 48), 70, (384, 384)),
    ],
)
def test_target_sizes(size: tuple[int, int], budget: int, wanted: tuple[int, int]) -> None:
    assert target_size(*size, budget) == wanted


@given(width=sides, height=sides, budget=budgets)
def test_a_target_is_whole_patches_within_the_budget(width: int, height: int, budget: int) -> None:
    wide, high = target_size(width, height, budget)
    assert wide % 48 == high % 48 == 0
    assert 1 <= (wide // 48) * (high // 48) <= budget


@given(width=st.integers(200, 4000), height=st.integers(200, 4000), budget=budgets)
def test_a_target_keeps_the_aspect_ratio_to_within_a_patch(width: int, height: int, budget: int) -> None:
    wide, high = target_size(width, height, budget)
    if min(wide, high) > 48:
        assert (wide - 48) / (high + 48) < width / height < (wide + 48) / (high - 48)


@given(columns=st.integers(1, 9), rows=st.integers(1, 7))
def test_patches_tile_the_image_in_raster_order(columns: int, rows: int) -> None:
    image = picture(columns * 48, rows * 48)
    resized = np.asarray(image.resize(target_size(*image.size, 70), Image.Resampling.BICUBIC))
    patches = to_patches(image, 70)
    assert patches.pixels.dtype == np.uint8
    assert patches.positions.dtype == np.int32
    order = [(y, x) for x, y in patches.positions.tolist()]
    assert order == sorted(set(order))
    assert np.array_equal(rebuilt(patches), resized)


def test_a_patch_is_flattened_by_row_column_and_channel() -> None:
    image = picture(
        432, 384
    )  # its own target size for 72 of 140 tokens is larger; 9 x 8 patches need no resizing at 72
    pixels = np.asarray(image.resize(target_size(432, 384, 140), Image.Resampling.BICUBIC))
    patches = to_patches(np.asarray(image), 140)
    second = patches.pixels[1].reshape(48, 48, 3)
    assert patches.positions[1].tolist() == [1, 0]
    assert np.array_equal(second, pixels[:48, 48:96])


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG", "AVIF"])
def test_formats(format: str) -> None:
    image = Image.new("RGB", (90, 60), RED)
    options = {"lossless": True} if format == "WEBP" else {}
    pixels = load_image(image_bytes(image, format, **options), 70).pixels
    assert pixels.shape == (60, 6912)
    assert np.abs(pixels.reshape(-1, 3).astype(int) - RED).max() <= (3 if format in ("JPEG", "AVIF") else 0)


@pytest.mark.parametrize(
    ("format", "note"),
    [
        ("GIF", "is animated: only its first frame is used; give it as a video to use all of them"),
        ("WEBP", "is animated: only its first frame is used; give it as a video to use all of them"),
        ("PNG", "is animated: only its first frame is used; give it as a video to use all of them"),
        ("AVIF", "is animated: only its first frame is used; give it as a video to use all of them"),
        ("TIFF", "has 3 pages: only the first one is used"),
    ],
)
def test_only_the_first_picture_of_an_animation_or_a_stack(format: str, note: str) -> None:
    first, second, third = (Image.new("RGB", (60, 60), colour) for colour in (RED, BLUE, "white"))
    data = image_bytes(first, format, save_all=True, append_images=[second, third])
    patches = load_image(data, 70)
    assert np.abs(patches.pixels[0, :3].astype(int) - RED).max() <= 6
    assert patches.notes == (f"bytes: {note}",)
    assert load_image(image_bytes(first, format), 70).notes == ()


def greyscale(mode: str) -> Image.Image:
    """A dark and a light half, in any single-channel mode."""
    half = np.zeros((60, 60), np.uint8)
    half[:, 30:] = 255
    if mode.startswith("I;16"):
        return Image.fromarray(half.astype(np.uint16) * 257)
    return Image.fromarray(half).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "LA"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_modes_of_grey(mode: str, format: str) -> None:
    pixels = rebuilt(load_image(image_bytes(greyscale(mode), format), 70))
    assert pixels[:, :100].max() == 0
    assert pixels[:, -100:].min() == 255


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.full((60, 60), 0x8080, np.uint16)
    assert set(load_image(image_bytes(Image.fromarray(ramp), "PNG"), 70).pixels.ravel()) == {0x80}


def test_cmyk_and_ycbcr() -> None:
    for mode in ("CMYK", "YCbCr"):
        data = image_bytes(Image.new("RGB", (60, 60), RED).convert(mode), "JPEG", quality=100, subsampling=0)
        assert np.abs(load_image(data, 70).pixels.reshape(-1, 3).astype(int) - RED).max() <= 3


def transparent(mode: str) -> bytes:
    """Left half opaque red, right half transparent blue."""
    image = Image.new("RGBA", (60, 60), (*RED, 255))
    image.paste((*BLUE, 0), (30, 0, 60, 60))
    if mode == "palette":
        palette = Image.new("P", (60, 60), 0)
        palette.putpalette([*RED, *BLUE])
        palette.paste(1, (30, 0, 60, 60))
        return image_bytes(palette, "PNG", transparency=1)
    if mode == "colour key":
        flat = Image.new("RGB", (60, 60), RED)
        flat.paste(BLUE, (30, 0, 60, 60))
        return image_bytes(flat, "PNG", transparency=BLUE)
    return image_bytes(image, mode, **({"lossless": True} if mode == "WEBP" else {}))


@pytest.mark.parametrize("mode", ["PNG", "WEBP", "TIFF", "GIF", "palette", "colour key"])
def test_transparency_becomes_white(mode: str) -> None:
    pixels = rebuilt(load_image(transparent(mode), 70)).astype(int)
    assert np.abs(pixels[:, :100] - RED).max() <= 4
    assert pixels[:, -100:].min() == 255


def test_half_transparent_black_is_grey() -> None:
    pixels = load_image(np.full((60, 60, 4), (0, 0, 0, 128), np.uint8), 70).pixels
    assert set(pixels.ravel().tolist()) == {127}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, format: str) -> None:
    """Stored rows and columns are turned so that the mark is seen at the top left."""
    upright = Image.new("RGB", (96, 64), "black")
    upright.paste("white", (0, 0, 48, 32))
    to_stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(to_stored[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = rebuilt(load_image(image_bytes(stored, format, exif=exif), 70))
    assert pixels.shape[1] > pixels.shape[0]
    assert pixels[:100, :150].min() > 240
    assert max(pixels[-100:].max(), pixels[:, -150:].max()) < 15


def test_broken_exif_beside_sound_pixels_goes_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    data = image_bytes(picture(60, 60), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert len(load_image(data, 70)) == 64
    assert not recwarn.list


def test_arrays_and_pil_images() -> None:
    image = picture(120, 80)
    array = np.asarray(image)
    wanted = load_image(image_bytes(image, "PNG"), 140).pixels
    opaque = np.dstack((array, np.full((80, 120), 255, np.uint8)))
    for source in (image, array, array[:, ::-1][:, ::-1], array / 255, (array / 255).astype(np.float32), opaque):
        assert np.array_equal(load_image(source, 140).pixels, wanted)
    grey = load_image(array[:, :, 0], 140).pixels.reshape(-1, 3)
    assert np.array_equal(grey[:, 0], grey[:, 2])


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_a_large_image_read_in_strips_has_the_same_pixels(
    format: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = image_bytes(picture(500, 333), format, **({"exif": exif} if format != "BMP" else {}))
    whole = load_image(data, 70)
    monkeypatch.setattr(images, "LARGE", 0)
    strips = load_image(data, 70)
    assert np.array_equal(strips.positions, whole.positions)
    difference = np.abs(strips.pixels.astype(int) - whole.pixels)
    assert difference.mean() < 0.05  # Pillow may go along columns first, and rounds between
    assert difference.max() < 20


def test_a_very_large_jpeg_is_read_at_half_size(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(1000, 800)
    data = image_bytes(image, "JPEG", quality=95)
    whole = load_image(data, 70)
    monkeypatch.setattr(decode, "_DRAFT", 10**5)
    half = load_image(data, 70)
    assert half.positions.tolist() == whole.positions.tolist()
    assert 0 < np.abs(half.pixels.astype(int) - whole.pixels).mean() < 3
    (note,) = load_image(data[: len(data) // 2], 70).notes
    assert re.search(r"only 3\d\d of its 800 rows|only 4\d\d of its 800 rows", note)


def test_one_pixel_fills_its_patches() -> None:
    patches = load_image(np.full((1, 1, 3), 77, np.uint8))
    assert len(patches) == 256
    assert set(patches.pixels.ravel().tolist()) == {77}


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_truncated_everywhere_never_gives_filler(format: str) -> None:
    """Cut anywhere, an image is its upper rows, with a note, or it is refused."""
    whole = image_bytes(picture(80, 60), format)
    wanted, used = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB")), 0
    for end in range(0, len(whole) - 20, 37):
        try:
            patches = load_image(whole[:end], 70)
        except GemmaError:
            continue
        used += 1
        (note,) = patches.notes
        rows = re.search(r"only (\d+) of its 60 rows of pixels are used", note)
        upper = to_patches(wanted[: int(rows[1]) if rows else 60], 70)
        assert upper.pixels.shape == patches.pixels.shape, note
        assert (
            np.abs(upper.pixels.astype(int) - patches.pixels).mean() < 8
        )  # the last square of a JPEG may be half there
    assert used >= 4


def test_heic() -> None:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (96, 64), RED)).save(file, quality=100)
    pixels = load_image(file.getvalue(), 70).pixels.reshape(-1, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= 6
    with pytest.raises(GemmaError, match="image is broken or cut short"):
        load_image(file.getvalue()[:-200], 70)


COLOURS = {"r": (250, 0, 0), "g": (0, 180, 0), "b": (0, 0, 250), "y": (250, 250, 0)}
AS_SHOWN = ["rgby", "gryb", "ybgr", "byrg", "rbgy", "bryg", "ygbr", "gyrb"]  # corners, by the orientations of EXIF


def quarters(width: int, height: int) -> Image.Image:
    """Red and green above blue and yellow."""
    image = Image.new("RGB", (width, height))
    for number, colour in enumerate(COLOURS.values()):
        image.paste(colour, (number % 2 * width // 2, number // 2 * height // 2, width, height))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("tile", [None, 128])
def test_heic_of_phones(tile: int | None, orientation: int) -> None:
    """In tiles, of a size that is no multiple of theirs, turned and mirrored by the file's own properties."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = pillow_heif.from_pillow(quarters(301, 203))
    image[0].info["exif"] = exif.tobytes()
    file = io.BytesIO()
    image.save(file, quality=90, **({"tile_size": tile} if tile else {}))
    assert (b"grid" in file.getvalue()) == (tile is not None)
    patches = load_image(file.getvalue(), 70)
    columns, rows = (patches.positions.max(axis=0) + 1).tolist()
    assert (columns > rows) == (orientation < 5)
    shown = rebuilt(patches)
    corners = [shown[y, x] for y in (4, -4) for x in (4, -4)]
    nearest = [min(COLOURS, key=lambda name: np.abs(corner.astype(int) - COLOURS[name]).sum()) for corner in corners]
    assert "".join(nearest) == AS_SHOWN[orientation - 1]


def test_heic_cut_short() -> None:
    file, image = io.BytesIO(), picture(384, 384)
    pillow_heif.from_pillow(image).save(file, quality=90)
    patches = load_image(file.getvalue()[: len(file.getvalue()) * 8 // 10], 70)
    (note,) = patches.notes
    rows = int(note.split("only ")[1].split()[0])
    assert note == f"bytes: is damaged or cut short: only {rows} of its 384 rows of pixels are used"
    assert 150 < rows < 350
    assert np.abs(to_patches(np.asarray(image)[:rows], 70).pixels.astype(int) - patches.pixels).mean() < 3


@pytest.mark.parametrize("brand", ["heix", "hevc", "hevm", "hevs", "mif1", "msf1", "miaf"])
def test_heic_of_every_brand(brand: str) -> None:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (96, 64), RED)).save(file, quality=100)
    data = file.getvalue()
    pixels = load_image(data[:8] + brand.encode() + data[12:], 70).pixels.reshape(-1, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= 6
