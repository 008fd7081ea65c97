"""Every way an input can be wrong, and the one line it raises. `{}` stands for the folder of the test's files."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media.media_files import encoded_sound, image_bytes, picture, tone, video_bytes, wav_bytes
from PIL import Image

from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.images import load_image
from gemma4_mlx.media.sources import MediaLimits
from gemma4_mlx.media.video import load_video

SMALL = MediaLimits(
    max_bytes=50_000,
    max_copied_bytes=1_000,
    max_pixels=10_000,
    max_audio_seconds=2,
    max_video_seconds=2,
    max_video_frames=25,
    max_frame_pixels=10_000,
)
NOT_AN_IMAGE = "is not a PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC image, or it is broken"
BROKEN_IMAGE = "the image is broken or cut short"
NOT_SOUND = "is not a WAV, FLAC, MP3, OGG, Opus, M4A, AAC or AIFF file, nor an MP4, MOV, WebM or MKV with sound"
CUT = "is cut short: the end of the file is missing, and nothing can be read without it"
PNG_FIRST = "save it as PNG or JPEG first"


def bomb_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size its data don't have."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def forged_wav(rate: int = 16_000, channels: int = 1, samples: bytes = bytes(64_000)) -> bytes:
    """A 16-bit WAV with any rate and channel count in its header."""
    block = 2 * channels
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def forged_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header claims a size its data don't have."""
    data = image_bytes(Image.new("RGB", (16, 16)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return (data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]).ljust(1000, b"\0")


def forged_tiff(width: int, height: int) -> bytes:
    """A header of three channels whose pixels lie beyond the file's end."""
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 2), (273, 134), (277, 3), (278, height), (279, 99))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(16)


def moov_first(**options: Any) -> bytes:
    return video_bytes(movflags="+faststart", **options)


NO_ROWS_PNG = image_bytes(picture(300, 200), "PNG")[:60]
JPEG = image_bytes(picture(300, 200), "JPEG")
NO_ROWS_JPEG = JPEG[: JPEG.index(b"\xff\xda") + 20]
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'

# (name, reader, source or content of the named file, options, the line)
IMAGES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("missing.png", None, {}, "{}/missing.png: no such file or directory"),
    ("folder", "folder", {}, "{}/folder: is a folder, not a media file; give the files in it"),
    ("empty.png", b"", {}, "{}/empty.png: is empty"),
    ("two\nlines.png", b"", {}, "{}/two?lines.png: is empty"),
    ("text.png", b"hello, this is no image", {}, "{}/text.png: is a text file, not an image"),
    ("one-byte.png", b"\x89", {}, "{}/one-byte.png: " + NOT_AN_IMAGE),
    ("drawing.png", SVG, {}, "{}/drawing.png: is an SVG image, which is not read here: " + PNG_FIRST),
    (
        "disguised.png",
        image_bytes(picture(9, 9), "PPM"),
        {},
        "{}/disguised.png: is a Netpbm image, which is not read here: " + PNG_FIRST,
    ),
    (
        "script.jpg",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        {},
        "{}/script.jpg: is a PostScript file, not an image: " + PNG_FIRST,
    ),
    ("sound.png", wav_bytes(tone(0.1)), {}, "{}/sound.png: is a WAV audio file, not an image: give it as audio"),
    ("no-rows.png", NO_ROWS_PNG, {}, "{}/no-rows.png: " + BROKEN_IMAGE),
    ("no-rows.jpg", NO_ROWS_JPEG, {}, "{}/no-rows.jpg: " + BROKEN_IMAGE),
    ("no-rows.webp", image_bytes(picture(300, 200), "WEBP")[:60], {}, "{}/no-rows.webp: " + BROKEN_IMAGE),
    ("no-rows.bmp", image_bytes(picture(30, 20), "BMP")[:60], {}, "{}/no-rows.bmp: " + BROKEN_IMAGE),
    ("no-rows.gif", image_bytes(Image.new("P", (300, 200), 3), "GIF")[:40], {}, "{}/no-rows.gif: " + BROKEN_IMAGE),
    (
        "no-webp.webp",
        b"RIFF\0\1\0\0WAVEfmt " + bytes(300),
        {},
        "{}/no-webp.webp: is a WAV audio file, not an image: give it as audio",
    ),
    (
        "film.heic",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(40),
        {},
        "{}/film.heic: is an MP4 file, not an image: give it as a video",
    ),
    ("no-data.png", bomb_png(100, 100), {}, "{}/no-data.png: " + BROKEN_IMAGE),
    (
        "bomb.png",
        bomb_png(17_000, 16_000),
        {},
        "{}/bomb.png: 17000 x 16000 pixels are more than the limit of 256 megapixels; make it smaller first",
    ),
    (
        "bigger-bomb.png",
        bomb_png(60_000, 60_000),
        {},
        "{}/bigger-bomb.png: 60000 x 60000 pixels are more than the limit of 256 megapixels; make it smaller first",
    ),
    (
        "line.png",
        bomb_png(64_000_000, 1),
        {},
        "{}/line.png: 64000000 x 1 pixels are more than the limit of 262144 pixels a side; make it smaller first",
    ),
    (
        "column.png",
        bomb_png(1, 64_000_000),
        {},
        "{}/column.png: 1 x 64000000 pixels are more than the limit of 262144 pixels a side; make it smaller first",
    ),
    (
        "bomb.jpg",
        forged_jpeg(16_000, 15_900),
        {},
        "{}/bomb.jpg: 16000 x 15900 pixels in 1 kB would fill the memory to no use; make the image smaller first",
    ),
    (
        "bomb.tiff",
        forged_tiff(11_000, 11_000),
        {},
        "{}/bomb.tiff: 11000 x 11000 pixels in 134 bytes would fill the memory to no use; make the image smaller first",
    ),
    (
        "bomb.webp",
        b"RIFF\xff\xff\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + bytes(70_000),
        {},
        "{}/bomb.webp: 16384 x 16384 pixels are more than the limit of 67.1 megapixels; make it smaller first",
    ),
    ("no-width.png", bomb_png(0, 10), {}, "{}/no-width.png: an image of 0 x 10 pixels shows nothing"),
    (
        "float.tiff",
        image_bytes(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
        {},
        "{}/float.tiff: pixels of 32 bits have no defined range; save the image with 8 or 16 bits first",
    ),
    ("large.png", bytes(60_000), {"limits": SMALL}, "{}/large.png: is larger than the limit of 50 kB"),
    (
        "budget.png",
        image_bytes(picture(9, 9), "PNG"),
        {"budget": 100},
        "100 tokens an image: choose one of 70, 140, 280, 560, 1120",
    ),
]
SOURCES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("nothing", "", {}, "an empty path was given for a media file"),
    ("none", None, {}, "media can't be read from NoneType: pass a path, an address, bytes or a binary file"),
    ("number", 7, {}, "media can't be read from int: pass a path, an address, bytes or a binary file"),
    ("nul", "a\0b.png", {}, "a?b.png: is not a usable path"),
    ("device", "/dev/zero", {}, "/dev/zero: is a device, not a media file"),
    ("file address", "file:///nowhere/a%20b.png", {}, "/nowhere/a b.png: no such file or directory"),
    (
        "file elsewhere",
        "file://host/a.png",
        {},
        "file://host/a.png: is no file on this computer; write file:///path, or pass the path",
    ),
    (
        "ftp",
        "ftp://host/a.png",
        {},
        "ftp://host/a.png: ftp addresses are not opened; use http or https, or pass a path",
    ),
    ("bucket", "s3://b/a.png", {}, "s3://b/a.png: s3 addresses are not opened; use http or https, or pass a path"),
    ("no bytes", b"", {}, "bytes: is empty"),
    ("many bytes", bytes(2000), {"limits": SMALL}, "bytes: is larger than the limit of 1 kB"),
    ("text file", io.StringIO("text"), {}, "stream: is open as text; open it in binary mode"),
    ("no comma", "data:image/png;base64", {}, "a data URI without a comma: expected data:<type>;base64,<data>"),
    ("bad base64", "data:image/png;base64,@@@", {}, "data URI: its base64 data are malformed"),
    ("empty data", "data:image/png;base64,", {}, "data URI: is empty"),
    ("long data", "data:," + "a" * 4000, {"limits": SMALL}, "data URI: is larger than the limit of 1 kB"),
    ("plain data", "data:,hello", {}, "data URI: is a text file, not an image"),
    (
        "array shape",
        np.zeros((5, 4, 2), np.uint8),
        {},
        "image array: shape (5, 4, 2) is none of (H, W), (H, W, 3), (H, W, 4), (3, H, W)",
    ),
    ("array size", np.zeros((0, 4), np.uint8), {}, "image array: an image of 4 x 0 pixels shows nothing"),
    ("array range", np.full((4, 4), 1.5), {}, "image array: floating-point pixels must lie between 0 and 1"),
    ("array NaN", np.full((4, 4), np.nan), {}, "image array: floating-point pixels must lie between 0 and 1"),
    (
        "array type",
        np.zeros((4, 4), np.int64),
        {},
        "image array: int64 pixels; pass uint8, bool, or floating point between 0 and 1",
    ),
    (
        "image size",
        picture(200, 100),
        {"limits": SMALL},
        "image: 200 x 100 pixels are more than the limit of 0.01 megapixels; make it smaller first",
    ),
]
SOUNDS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("text.wav", b"hello, this is no sound", {}, "{}/text.wav: is a text file, not audio"),
    ("list.m3u8", PLAYLIST, {}, "{}/list.m3u8: is a playlist, not audio: give the files that it names"),
    (
        "picture.mp3",
        image_bytes(picture(90, 90), "PNG"),
        {},
        "{}/picture.mp3: is a PNG image, not audio: give it as an image",
    ),
    (
        "half.ogg",
        lambda: encoded_sound(tone(1, 48_000), 48_000, "libopus", "ogg")[:4000],
        {},
        "{}/half.ogg: " + CUT,
    ),
    (
        "half.m4a",
        lambda: encoded_sound(tone(1, 48_000), 48_000, "aac", "ipod")[:4000],
        {},
        "{}/half.m4a: " + CUT,
    ),
    ("header-only.wav", wav_bytes(tone(0)), {}, "{}/header-only.wav: has no sound in it"),
    ("silent.mp4", lambda: video_bytes(3), {}, "{}/silent.mp4: has no sound in it"),
    (
        "nan.wav",
        wav_bytes(np.full(999, np.nan, np.float32), subtype="FLOAT"),
        {},
        "{}/nan.wav: holds samples that are not finite numbers",
    ),
    (
        "fast.wav",
        forged_wav(rate=4_000_000_000),
        {},
        "{}/fast.wav: " + NOT_SOUND + ", or it is broken",
    ),
    (
        "slow.wav",
        forged_wav(rate=1),
        {},
        "{}/slow.wav: states a sample rate of 1 Hz; 1000 to 768000 Hz are accepted",
    ),
    (
        "odd-rate.wav",
        forged_wav(rate=900_000),
        {},
        "{}/odd-rate.wav: states a sample rate of 900000 Hz; 1000 to 768000 Hz are accepted",
    ),
    ("wide.wav", forged_wav(channels=100), {}, "{}/wide.wav: has 100 channels; 1 to 64 are accepted"),
    (
        "long.wav",
        wav_bytes(tone(3, 8_000), 8_000),
        {"limits": SMALL},
        "{}/long.wav: the sound is longer than the limit of 2 s; cut it first",
    ),
    (
        "long.ogg",
        lambda: encoded_sound(tone(3, 48_000), 48_000, "libopus", "ogg"),
        {"limits": SMALL},
        "{}/long.ogg: the sound is longer than the limit of 2 s; cut it first",
    ),
    (
        "array",
        (np.zeros((2, 2, 2)), 16_000),
        {},
        "audio array: shape (2, 2, 2) is none of (n,), (n, channels), (channels, n)",
    ),
    ("array rate", (np.zeros(9), 3), {}, "audio array: states a sample rate of 3 Hz; 1000 to 768000 Hz are accepted"),
    ("array empty", (np.zeros(0), 16_000), {}, "audio array: has no sound in it"),
    (
        "array wide",
        (np.zeros((1600, 1600)), 16_000),
        {},
        "audio array: has 1600 channels; 1 to 64 are accepted",
    ),
]
VIDEOS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("text.mp4", b"hello, this is no video", {}, "{}/text.mp4: is a text file, not a video"),
    ("list.mp4", PLAYLIST, {}, "{}/list.mp4: is a playlist, not a video: give the files that it names"),
    (
        "moving.mp4",
        image_bytes(picture(90, 90), "GIF"),
        {},
        "{}/moving.mp4: is a GIF image without animation, not a video: give it as an image",
    ),
    ("half.mp4", lambda: video_bytes(30)[:1500], {}, "{}/half.mp4: " + CUT),
    ("cut.mp4", lambda: moov_first(count=30)[:-800], {}, "{}/cut.mp4: the video has no frames that can be decoded"),
    (
        "sound.m4a",
        lambda: encoded_sound(tone(1, 48_000), 48_000, "aac", "ipod"),
        {},
        "{}/sound.m4a: has no video in it: give it as audio",
    ),
    (
        "large-frames.mp4",
        lambda: video_bytes(3),
        {"limits": SMALL},
        "{}/large-frames.mp4: frames of 192 x 96 pixels are not decoded; scale it down first",
    ),
    (
        "long.mp4",
        lambda: video_bytes(24, (96, 96)),
        {"limits": SMALL},
        "{}/long.mp4: the video is longer than the limit of 2 s; cut it first",
    ),
    (
        "flood.mp4",
        lambda: video_bytes(30, (96, 96), rate=100),
        {"limits": SMALL},
        "{}/flood.mp4: has more than 25 frames; cut it first",
    ),
    ("none.mp4", lambda: video_bytes(3), {"max_frames": 0}, "at most 0 frames a video: choose 1 to 3600"),
    ("many.mp4", lambda: video_bytes(3), {"max_frames": 10**9}, "at most 1000000000 frames a video: choose 1 to 3600"),
    ("fps.mp4", lambda: video_bytes(3), {"fps": -1.0}, "-1 frames a second: choose more than 0, up to a million"),
    ("budget.mp4", lambda: video_bytes(3), {"budget": 71}, "71 tokens an image: choose one of 70, 140, 280, 560, 1120"),
]


def in_folder(name: str, content: Any, folder: Path) -> str:
    path = folder / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content() if callable(content) else content)
    return str(path)


CASES = [
    pytest.param(reader, name, content, options, line, id=f"{reader.__name__}-{name!r}")
    for reader, table in ((load_image, IMAGES), (load_audio, SOUNDS), (load_video, VIDEOS), (load_image, SOURCES))
    for name, content, options, line in table
]


@pytest.mark.parametrize(("reader", "name", "content", "options", "line"), CASES)
def test_bad_input_is_one_line(
    *, reader: Callable[..., Any], name: str, content: Any, options: dict[str, Any], line: str, tmp_path: Path
) -> None:
    is_file = "." in name or name == "folder"
    source = in_folder(name, content, tmp_path) if is_file else content
    with pytest.raises(GemmaError) as caught:
        reader(source, **options)
    assert str(caught.value) == line.replace("{}", str(tmp_path))


def test_options_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        load_image(picture(9, 9), budget=281)
    with pytest.raises(UsageError):
        load_video(b"not read before the options are checked", max_frames=-1)
