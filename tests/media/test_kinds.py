"""What files are called, whatever their names say."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from media.media_files import encoded_sound, image_bytes, picture, tone, video_bytes, wav_bytes

from gemma4_mlx.media.kinds import file_kind, kind_of
from gemma4_mlx.media.signatures import kind_by_head

PICTURE = picture(16, 16)
SOUND = tone(0.1)


def zipped(name: str, content: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def saved_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


KINDS = {
    "png": (image_bytes(PICTURE, "PNG"), "image", "a PNG image"),
    "jpeg": (image_bytes(PICTURE, "JPEG"), "image", "a JPEG image"),
    "gif": (image_bytes(PICTURE, "GIF"), "image", "a GIF image"),
    "webp": (image_bytes(PICTURE, "WEBP"), "image", "a WebP image"),
    "bmp": (image_bytes(PICTURE, "BMP"), "image", "a BMP image"),
    "tiff": (image_bytes(PICTURE, "TIFF"), "image", "a TIFF image"),
    "avif": (image_bytes(PICTURE, "AVIF"), "image", "an AVIF image"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "image", "a HEIC image"),
    "wav": (wav_bytes(SOUND), "audio", "a WAV audio file"),
    "flac": (wav_bytes(SOUND, format="FLAC"), "audio", "a FLAC audio file"),
    "ogg": (wav_bytes(SOUND, subtype="VORBIS", format="OGG"), "audio", "an Ogg audio file"),
    "mp3": (encoded_sound(SOUND, 16_000, "libmp3lame", "mp3"), "audio", "an MP3 audio file"),
    "adts": (encoded_sound(SOUND, 16_000, "aac", "adts"), "audio", "an AAC audio file"),
    "caf": (wav_bytes(SOUND, format="CAF"), "audio", "a CAF audio file"),
    "aiff": (wav_bytes(SOUND, format="AIFF"), "audio", "an AIFF audio file"),
    "au": (wav_bytes(SOUND, format="AU"), "audio", "an AU audio file"),
    "w64": (wav_bytes(SOUND, format="W64"), "audio", "a W64 audio file"),
    "m4a": (encoded_sound(SOUND, 16_000, "aac", "ipod"), "audio", "an M4A audio file"),
    "mp4": (video_bytes(2), "video", "an MP4 file"),
    "mov": (video_bytes(2, container="mov"), "video", "a QuickTime file"),
    "mkv": (video_bytes(2, container="matroska"), "video", "a Matroska file"),
    "webm": (video_bytes(2, container="webm", codec="libvpx"), "video", "a WebM file"),
    "avi": (video_bytes(2, container="avi"), "video", "an AVI file"),
    "ts": (video_bytes(2, container="mpegts"), "video", "an MPEG-TS file"),
    "flv": (video_bytes(2, container="flv"), "video", "an FLV file"),
    "sound in mp4": (encoded_sound(SOUND, 16_000, "aac", "mp4"), "audio", "an MP4 file"),
    "sound in webm": (encoded_sound(tone(0.1, 48_000), 48_000, "libopus", "webm"), "audio", "a WebM file"),
    "sound in mkv": (encoded_sound(SOUND, 16_000, "aac", "matroska"), "audio", "a Matroska file"),
    "cut mp4": (video_bytes(2)[:60], "video", "an MP4 file"),
    "pdf": (b"%PDF-1.7\n", None, "a PDF document"),
    "pdf after junk": (b"\xef\xbb\xbf junk\n%PDF-1.4\n", None, "a PDF document"),
    "zip": (zipped("a.png"), None, "a ZIP archive"),
    "office": (zipped("[Content_Types].xml"), None, "an Office document"),
    "gzip": (gzip.compress(b"x"), None, "a gzip archive"),
    "tar": (tarred(), None, "a TAR archive"),
    "numpy": (saved_array(), None, "a NumPy array"),
    "html": (b"\n<!DOCTYPE html>\n<title>x</title>", None, "an HTML page"),
    "html after a comment": (b"<!-- saved -->\n<HTML lang=en>", None, "an HTML page"),
    "svg": (b"<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='a'>", None, "an SVG image"),
    "xml": (b"<?xml version='1.0'?><feed/>", None, "an XML file"),
    "json": (b' {"error": "not found"}', None, "a JSON file"),
    "text": ("Grüße, nicht mehr\n".encode(), None, "a text file"),
    "wide text": ("Grüße".encode("utf-16"), None, "a text file"),
    "settings": (b"[section]\nname = 1\n", None, "a text file"),
    "playlist": (b"#EXTM3U\nhttp://a/b.ts\n", None, "a playlist"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", None, "a Git LFS pointer"),
    "psd": (b"8BPS\0\1", None, "a Photoshop image"),
    "raw": (b"II*\0\x10\0\0\0CR\2\0", None, "a raw camera image"),
    "jxl": (b"\xff\x0a\0\0", None, "a JPEG XL image"),
    "jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", None, "a JPEG 2000 image"),
    "midi": (b"MThd\0\0\0\6", None, "a MIDI file"),
    "elf": (b"\x7fELF\2\1", None, "a program"),
    "noise": (bytes(range(256)), None, "a file of an unknown kind"),
    "nothing": (b"", None, "an empty file"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_called_what_it_is(kind: str, tmp_path: Path) -> None:
    data, medium, name = KINDS[kind]
    path = tmp_path / "file.xyz"
    path.write_bytes(data)
    assert (kind_of(path), file_kind(path).name) == (medium, name)


def test_what_is_no_file(tmp_path: Path) -> None:
    names = {"/dev/null": "a device", str(tmp_path): "a folder", str(tmp_path / "x"): "no file", "a\0b": "no file"}
    assert {path: file_kind(path).name for path in names} == names
    assert [kind_of(path) for path in names] == [None] * 4


def test_names_tell_where_contents_do_not(tmp_path: Path) -> None:
    office, noise = tmp_path / "a.docx", tmp_path / "a.mp3"
    office.write_bytes(zipped("[Content_Types].xml"))
    noise.write_bytes(bytes(range(256)))
    assert file_kind(office).name == "a Word document"
    assert kind_of(noise) == "audio"


@pytest.mark.parametrize(
    ("data", "wanted", "said"),
    [
        (b"%PDF-1.7", "image", "is a PDF document, not an image: save its pages as images first"),
        (b"fLaC", "image", "is a FLAC audio file, not an image: give it as audio"),
        (b"GIF89a", "audio", "is a GIF image, not audio: give it as an image"),
        (b"8BPS", "image", "is a Photoshop image, which is not read here: save it as PNG or JPEG first"),
        (b"\x7fELF", "video", "is a program, not a video"),
    ],
)
def test_why_a_file_is_not_what_is_wanted(data: bytes, wanted: str, said: str) -> None:
    assert kind_by_head(data).why_not(wanted) == said  # type: ignore[arg-type]
