"""PNG files of every kind, with large chunks, damaged and in strips, all made here byte by byte."""

import struct
import zlib

import numpy as np
import pytest
from media.media_files import image_bytes, picture

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import images, png
from gemma4_mlx.media.images import load_image

SIDE = 384  # 8 x 8 patches: at 70 tokens an image of this size is not resized
Y, X = np.mgrid[0:SIDE, 0:SIDE]
GREY = (X + 2 * Y) * 255 // (3 * (SIDE - 1))
RGB = np.stack((X * 255 // (SIDE - 1), Y * 255 // (SIDE - 1), (X + Y) % 256), axis=-1)
ALPHA = X * 255 // (SIDE - 1)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed(samples: np.ndarray, bits: int) -> bytes:
    """Rows of samples (rows, n) with filter 0 each."""
    if bits == 16:
        rows = samples.astype(">u2").view(np.uint8)
    else:
        spread = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(spread.reshape(len(samples), -1).astype(np.uint8), axis=1)
    return np.pad(rows, ((0, 0), (1, 0))).tobytes()


def png_bytes(
    samples: np.ndarray, bits: int, kind: int, *, interlaced: bool = False, before: bytes = b"", after: bytes = b""
) -> bytes:
    """From samples (SIDE, SIDE, channels)."""
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    parts = [samples[y::down, x::across] for x, y, across, down in passes]
    data = zlib.compress(b"".join(packed(part.reshape(len(part), -1), bits) for part in parts))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, bits, kind, 0, 0, interlaced)
    chunks = chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def seen(data: bytes) -> np.ndarray:
    squares = load_image(data, 70).pixels.reshape(-1, SIDE // 48, 48, 48, 3)
    return squares.transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, 3).astype(int)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colours * alpha[..., None] / 255 + 255 - alpha[..., None]


PLAIN = png_bytes(RGB, 8, 2)
KINDS = [
    *((0, bits, has_key) for bits in (1, 2, 4, 8, 16) for has_key in (False, True)),
    *((2, bits, has_key) for bits in (8, 16) for has_key in (False, True)),
    *((3, bits, has_key) for bits in (1, 2, 4, 8) for has_key in (False, True)),
    *((kind, bits, False) for kind in (4, 6) for bits in (8, 16)),
]


def of_kind(kind: int, bits: int, has_key: bool, *, interlaced: bool = False) -> tuple[bytes, np.ndarray]:
    """A file and what it shows: transparent parts are white."""
    most, before = 2**bits - 1, b""
    if kind == 3:
        palette = np.random.default_rng(1).integers(0, 256, (most + 1, 3))
        alphas = np.linspace(0, 255, most + 1).astype(int) if has_key else np.full(most + 1, 255)
        samples = (GREY * most // 255)[..., None]
        before = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        before += chunk(b"tRNS", alphas.astype(np.uint8).tobytes()) if has_key else b""
        wanted = on_white(palette[samples[..., 0]], alphas[samples[..., 0]])
    else:
        colours = RGB if kind in (2, 6) else GREY[..., None]
        with_alpha = np.dstack((colours, ALPHA)) if kind in (4, 6) else colours
        samples = (with_alpha * most + 127) // 255
        wanted = on_white(colours, ALPHA) if kind in (4, 6) else samples * 255 / most
        if has_key:
            key = samples[100, 100]
            before = chunk(b"tRNS", key.astype(">u2").tobytes())
            wanted = np.where((samples == key).all(axis=2, keepdims=True), 255, wanted)
    return png_bytes(samples, bits, kind, interlaced=interlaced, before=before), np.broadcast_to(wanted, RGB.shape)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "bits", "has_key"), KINDS)
def test_every_kind(kind: int, bits: int, has_key: bool, interlaced: bool) -> None:
    data, wanted = of_kind(kind, bits, has_key, interlaced=interlaced)
    assert np.abs(seen(data) - wanted).max() <= 1


@pytest.mark.parametrize(("kind", "bits", "has_key"), KINDS)
def test_strips_are_the_whole(kind: int, bits: int, has_key: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data, wanted = of_kind(kind, bits, has_key)
    monkeypatch.setattr(images, "LARGE", 0)
    monkeypatch.setattr(png, "_STRIP", 20_000)
    assert np.abs(seen(data) - wanted).max() <= 1


LARGE_CHUNKS = {
    "zTXt": b"Comment\0\0" + zlib.compress(bytes(2_500_000)),
    "iTXt": b"Comment\0\1\0\0\0" + zlib.compress(bytes(2_500_000)),
    "tEXt": b"Comment\0" + b"a" * 2_500_000,
    "iCCP": b"profile\0\0" + zlib.compress(bytes(2_500_000)),
    "eXIf": b"MM\0*\0\0\0\x08" + bytes(2_500_000),
    "prVt": bytes(2_500_000),
}


@pytest.mark.parametrize("name", LARGE_CHUNKS)
def test_large_chunks_leave_the_pixels_alone(name: str) -> None:
    large = chunk(name.encode(), LARGE_CHUNKS[name])
    for data in (png_bytes(RGB, 8, 2, before=large), png_bytes(RGB, 8, 2, after=large)):
        assert np.array_equal(seen(data), RGB)
        assert load_image(data, 70).notes == ()


def test_an_orientation_beside_a_large_text() -> None:
    exif = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0"  # upside down
    data = png_bytes(RGB, 8, 2, before=chunk(b"zTXt", LARGE_CHUNKS["zTXt"]), after=chunk(b"eXIf", exif))
    assert np.array_equal(seen(data), RGB[::-1, ::-1])


def test_a_wrong_check_sum_of_right_pixels() -> None:
    at = PLAIN.index(b"IEND") - 8
    assert np.array_equal(seen(PLAIN[:at] + b"\0\0\0\0" + PLAIN[at + 4 :]), RGB)


@pytest.mark.parametrize("large", [False, True])
def test_a_damaged_file_is_its_upper_rows(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(images, "LARGE", 0)
    for data in (PLAIN[: len(PLAIN) // 2], PLAIN[: len(PLAIN) // 2] + b"\xff" * 300 + PLAIN[len(PLAIN) // 2 + 300 :]):
        patches = load_image(data, 70)
        *_, note = patches.notes  # if bytes were changed, the first one says so
        rows = int(note.split("only ")[1].split()[0])
        assert note == f"bytes: is damaged or cut short: only {rows} of its 384 rows of pixels are used"
        wanted = load_image(RGB[: rows - 1].astype(np.uint8), 70)
        assert 20 < rows < SIDE
        assert np.abs(patches.pixels[0].astype(int) - wanted.pixels[0]).max() < 40


def test_an_interlaced_file_cut_short_is_coarser() -> None:
    data = png_bytes(RGB, 8, 2, interlaced=True)
    patches = load_image(data[: len(data) // 2], 70)
    assert patches.notes == (
        "bytes: is damaged or cut short: pixels that are missing are filled from those beside them",
    )
    assert np.abs(seen(data[: len(data) // 2])[..., :2] - RGB[..., :2]).max() <= 4


def test_a_header_of_no_kind() -> None:
    with pytest.raises(GemmaError, match="is not a PNG"):
        load_image(PLAIN[:25] + b"\x07" + PLAIN[26:], 70)


def test_a_changed_byte_is_never_silent() -> None:
    data = image_bytes(picture(96, 96), "PNG")
    start = data.index(b"IDAT") + 6
    for at in range(start, len(data) - 12, max(1, (len(data) - start) // 40)):
        damaged = data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :]
        try:
            (note, *_) = load_image(damaged, 70).notes
        except GemmaError:
            continue
        assert note == "bytes: is damaged: the check sum of its pixels is wrong, so that some of them may be wrong too"
