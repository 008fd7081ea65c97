"""Files that state more than they hold are refused before FFmpeg makes room for it."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from media.media_files import chunk, encoded_sound, numbers32, tone, video_bytes

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.sources import read_source
from gemma4_mlx.media.tables import check_tables
from gemma4_mlx.media.video import load_video

MANY = 50_000_000
VIDEO_ENTRY = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", 64, 64) + bytes(46) + b"\0\x18\xff\xff"
SAMPLES = "its tables state more than 2500000 frames and packets of sound; convert it first"
LISTS = "its list of tracks or its index is larger than any film needs; convert it first"


def movie(*boxes: bytes, kind: bytes = b"vide", edits: bytes = b"", tracks: int = 1) -> bytes:
    """An MP4 with the given boxes in its sample table."""
    table = chunk(b"stbl", chunk(b"stsd", numbers32(0, 1), chunk(b"mp4v", VIDEO_ENTRY)), *boxes)
    information = chunk(b"minf", chunk(b"vmhd", numbers32(1, 0, 0)), table)
    handler = chunk(b"hdlr", numbers32(0, 0), kind, bytes(13))
    media = chunk(b"mdia", chunk(b"mdhd", numbers32(0, 0, 0, 1000, 1000, 0)), handler, information)
    track = chunk(b"trak", chunk(b"tkhd", numbers32(3, 0, 0, 1, 0, 1000), bytes(60)), edits, media)
    header = chunk(b"mvhd", numbers32(0, 0, 0, 1000, 1000, 0x10000), bytes(80))
    return chunk(b"ftyp", b"isom", bytes(4)) + chunk(b"mdat", bytes(64)) + chunk(b"moov", header, *[track] * tracks)


def sample_table(count: int, *, width: int = 1, delta: int = 1, chunks: int = 1) -> tuple[bytes, ...]:
    """Tables that state `count` samples in a few bytes."""
    return (
        chunk(b"stts", numbers32(0, 1, count, delta)),
        chunk(b"stsc", numbers32(0, 1, 1, count, 1)),
        chunk(b"stsz", numbers32(0, width, count)),
        chunk(b"stco", numbers32(0, chunks, *[36] * chunks)),
    )


def element(id: str, content: bytes) -> bytes:
    """An element of a Matroska file."""
    return bytes.fromhex(id) + struct.pack(">Q", len(content) | 1 << 56) + content


def matroska(*elements: bytes) -> bytes:
    return element("1a45dfa3", b"") + element("18538067", b"".join(elements))


FRAGMENT = chunk(b"moof", chunk(b"traf", chunk(b"trun", numbers32(1, MANY, 0))))
PACKED = movie(*sample_table(MANY))[36 + 72 :]
HOSTILE = {
    "samples": (movie(*sample_table(MANY)), SAMPLES),
    "times": (movie(chunk(b"stts", numbers32(0, 2, MANY, 1, 1, 1)), *sample_table(9)[1:]), SAMPLES),
    "shifts": (movie(*sample_table(9), chunk(b"ctts", numbers32(0, 1, MANY, 1))), SAMPLES),
    "sizes": (movie(chunk(b"stsz", numbers32(0, 0, 400_000_000))), SAMPLES),
    "chunks": (movie(chunk(b"stco", numbers32(0, MANY))), SAMPLES),
    "sound in chunks": (movie(*sample_table(2**31 - 1, chunks=60), kind=b"soun"), SAMPLES),
    "many tracks": (movie(*sample_table(100_000), tracks=40), SAMPLES),
    "edits": (movie(*sample_table(9_000), edits=chunk(b"edts", chunk(b"elst", numbers32(0, 500)))), SAMPLES),
    "fragment": (movie() + FRAGMENT, SAMPLES),
    "no ftyp": (movie(*sample_table(MANY))[16:], SAMPLES),
    "compressed": (
        chunk(b"ftyp", b"isom") + chunk(b"moov", chunk(b"cmov", zlib.compress(PACKED))),
        "its index is compressed, which is not read here; convert it first",
    ),
    "tags": (b"ID3\3\0\0" + bytes([127] * 4), "begins with more tags than any player reads; convert it first"),
    "many tags": (b"ID3\3\0\0\0\0\0\0" * 1_001, "begins with more tags than any player reads; convert it first"),
    "chunks of a WAV": (
        b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * 10_001,
        "is made of more than 10000 chunks; convert it first",
    ),
    "tracks": (matroska(element("1654ae6b", b"\xae\x80" * 1_001)), LISTS),
    "cues": (matroska(element("1549a966", b""), element("1c53bb6b", b"\xbb\x80" * 2_000_001)), LISTS),
    "attachments": (matroska(element("1941a469", b"\x61\xa7\x80" * 1_001)), LISTS),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str) -> None:
    data, line = HOSTILE[name]
    with pytest.raises(GemmaError) as caught:
        check_tables(read_source(data))
    assert str(caught.value) == f"bytes: {line}"


def test_a_film_of_hostile_tables_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(movie(*sample_table(89_000_000)))
    program = (
        "import sys, resource\nfrom gemma4_mlx.errors import GemmaError\n"
        "from gemma4_mlx.media.video import load_video\n"
        "try: load_video(sys.argv[1])\nexcept GemmaError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "film.mp4")], capture_output=True, text=True, check=True
    )
    peak = int(run.stdout) * (1 if sys.platform == "darwin" else 1024)  # bytes
    assert peak < 1e9  # 3 GB without the check; a child begins with what its parent has


@pytest.mark.parametrize(
    "data",
    [
        video_bytes(5, sound=tone(0.5, 48_000)),
        video_bytes(5, movflags="frag_keyframe+empty_moov"),
        encoded_sound(tone(1, 48_000), 48_000, "pcm_s16le", "mov"),
        movie(*sample_table(48_000 * 10_000, width=2), kind=b"soun"),  # three hours of uncompressed sound
        video_bytes(5, codec="libvpx-vp9", container="webm"),
        chunk(b"moov", bytes(8)),
        b"\x1a\x45\xdf\xa3",
        b"ID3",
        b"fLaC",
        b"abc",
    ],
    ids=range(10),
)
def test_others_are_not(data: bytes) -> None:
    check_tables(read_source(data))


@pytest.mark.parametrize(("plain", "encrypted"), [(b"avc1", b"encv"), (b"mp4a", b"enca"), (b"mp4a", b"drms")])
def test_encrypted_films_and_songs(plain: bytes, encrypted: bytes) -> None:
    data = video_bytes(3, sound=tone(1.0, 48_000))
    at = data.index(plain, data.index(b"stsd"))
    for load in (load_video, load_audio):
        with pytest.raises(GemmaError, match=r"bytes: is encrypted \(DRM\), and can't be decoded without its key"):
            load(data[:at] + encrypted + data[at + 4 :])
