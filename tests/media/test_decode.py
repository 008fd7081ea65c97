"""Formats beside PNG and JPEG: what Pillow misses in them, and what is left of damaged files."""

import io
import struct

import numpy as np
import pytest
from media.media_files import image_bytes, picture
from PIL import Image

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.images import load_image, to_patches

SIDE = 384  # 8 x 8 patches: at 70 tokens an image of this size is not resized
GREY = np.mgrid[0:SIDE, 0:SIDE][1] * 255 // (SIDE - 1)


def seen(data: bytes) -> np.ndarray:
    squares = load_image(data, 70).pixels.reshape(8, 8, 48, 48, 3)
    return squares.transpose(0, 2, 1, 3, 4).reshape(SIDE, SIDE, 3).astype(int)


def tiff(pixels: bytes, bits: int, photometric: int, channels: int = 1, order: str = "<") -> bytes:
    """One uncompressed strip of SIDE x SIDE pixels."""
    start = 8 + 2 + 12 * 9 + 4
    depths = struct.pack(order + "HH", bits, 0) if channels == 1 else struct.pack(order + "I", start)
    if channels > 1:
        pixels = struct.pack(order + "H", bits) * channels + pixels
    begin = start + (2 * channels if channels > 1 else 0)
    values = {256: SIDE, 257: SIDE, 258: depths, 259: 1, 262: photometric, 273: begin, 277: channels, 278: SIDE}
    values[279] = len(pixels)
    entries = b""
    for tag, value in values.items():
        kind, count = (3, channels) if tag == 258 else (4, 1)
        content = value if isinstance(value, bytes) else struct.pack(order + "I", value)
        entries += struct.pack(order + "HHI", tag, kind, count) + content
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IH", 8, 9) + entries + bytes(4) + pixels


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_of_16_bits(order: str, white_is_zero: bool) -> None:
    levels = 0xFFFF - GREY * 257 if white_is_zero else GREY * 257
    data = tiff(levels.astype(order + "u2").tobytes(), 16, 0 if white_is_zero else 1, order=order)
    assert np.array_equal(seen(data), np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_compressed_grey_of_16_bits_in_which_white_is_zero(compression: str) -> None:
    inverted = Image.fromarray((0xFFFF - GREY * 257).astype(np.uint16))
    data = image_bytes(inverted, "TIFF", compression=compression, tiffinfo={262: 0})
    assert Image.open(io.BytesIO(data)).tag_v2[262] == 0
    assert np.array_equal(seen(data), np.repeat(GREY[..., None], 3, axis=2))


def test_grey_of_12_bits() -> None:
    levels = (GREY * 4095 + 127) // 255
    first, second = levels[:, ::2], levels[:, 1::2]
    packed = np.stack((first >> 4, (first & 15) << 4 | second >> 8, second & 255), axis=-1).astype(np.uint8)
    data = tiff(packed.tobytes(), 12, 1)
    assert np.abs(seen(data) - GREY[..., None]).max() <= 1


def test_lab() -> None:
    lab = np.zeros((SIDE, SIDE, 3), np.uint8)
    lab[:] = (136, 80, 67)  # L* 53.3, a* 80, b* 67: the red of sRGB
    assert np.abs(seen(tiff(lab.tobytes(), 8, 8, channels=3)) - (255, 0, 0)).max() <= 12


def test_uncompressed_colours_that_pixels_share() -> None:
    with pytest.raises(GemmaError, match="the pixels of this TIFF share colours: not read here"):
        load_image(tiff(bytes(SIDE * SIDE * 3), 8, 6, channels=3))


def test_premultiplied_grey() -> None:
    data = image_bytes(Image.new("LA", (SIDE, SIDE), (100, 128)), "TIFF")
    entry = struct.pack("<HHI", 338, 3, 1)
    assert entry + b"\2" in data
    pixels = seen(data.replace(entry + b"\2", entry + b"\1"))
    assert np.abs(pixels - 227).max() <= 1  # 100 + white x 127/255


def test_small_copies_of_a_page_are_no_pages() -> None:
    page, copy = picture(96, 96), picture(48, 48)
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    data = image_bytes(page, "TIFF", save_all=True, append_images=[copy])
    with Image.open(io.BytesIO(data)) as file:
        file.seek(1)
        assert file.tag_v2[254] == 1
    assert load_image(data, 70).notes == ()


def test_avif_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(SIDE, SIDE)
    data = image_bytes(image.transpose(Image.Transpose.ROTATE_90), "AVIF", quality=95, exif=exif)
    assert np.abs(seen(data) - np.asarray(image)).mean() < 3


@pytest.mark.parametrize(
    ("format", "options"),
    [("BMP", {}), ("TIFF", {}), ("GIF", {"interlace": 0}), ("WEBP", {}), ("WEBP", {"lossless": True})],
)
def test_a_part_is_used_as_far_as_it_goes(format: str, options: dict[str, object]) -> None:
    whole = image_bytes(picture(SIDE, SIDE), format, **options)
    pixels = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
    patches = load_image(whole[: len(whole) * 6 // 10], 70)
    (note,) = patches.notes
    rows = int(note.split("only ")[1].split()[0])
    assert note == f"bytes: is damaged or cut short: only {rows} of its 384 rows of pixels are used"
    assert 100 < rows < 300
    part = pixels[-rows:] if format == "BMP" else pixels[:rows]  # a BMP begins at the bottom
    assert np.abs(to_patches(part, 70).pixels.astype(int) - patches.pixels).mean() < 1


def test_an_animation_cut_short_is_its_first_frame() -> None:
    frames = [picture(192, 192, seed) for seed in range(3)]
    for format, options in (("WEBP", {"lossless": True}), ("GIF", {})):
        whole = image_bytes(frames[0], format, save_all=True, append_images=frames[1:], **options)
        wanted = load_image(whole, 70)
        patches = load_image(whole[: len(whole) * 8 // 10], 70)
        assert np.array_equal(patches.pixels, wanted.pixels)
        assert patches.notes


def test_a_tiny_file_of_many_pixels() -> None:
    head = b"VP8L\x0a\0\0\0\x2f" + (6999 | 3999 << 14).to_bytes(4, "little") + bytes(5)
    data = b"RIFF" + (len(head) + 4).to_bytes(4, "little") + b"WEBP" + head
    with pytest.raises(GemmaError, match="7000 x 4000 pixels in 30 bytes would fill the memory to no use"):
        load_image(data)


@pytest.mark.parametrize("canvas", [(65_535, 65_535), (16_000, 15_999)])
def test_a_gif_with_a_large_canvas(canvas: tuple[int, int]) -> None:
    data = image_bytes(Image.new("P", (64, 64)), "GIF", interlace=0)
    at = data.rindex(b"\x2c\0\0\0\0") + 5
    forged = data[:6] + struct.pack("<HH", *canvas) + data[10:at] + struct.pack("<HH", *canvas) + data[at + 4 :]
    with pytest.raises(GemmaError, match=r"make it smaller first|broken or cut short"):
        load_image(forged)
