"""What ends too early is used as far as it goes, with a note; what only states a wrong size is whole."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from media.media_files import encoded_sound, tone, video_bytes, wav_bytes

from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.video import load_video

WAV = wav_bytes(tone(2))
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 96_000).astype(np.float32)


def with_data_size(size: int, tail: bytes = b"") -> bytes:
    at = WAV.index(b"data") + 4
    return WAV[:at] + struct.pack("<I", size) + WAV[at + 4 :] + tail


def wav_of(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def part(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


FORM = part(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16))
EXTENSIBLE = part(
    b"fmt ",
    struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4)
    + bytes.fromhex("0100000000001000800000aa00389b71"),
)
PCM = (tone(2) * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("size", [0, 64_001, 64_008, 64_044, 2_000_000_000, 0x7FFFFFFF, 0xFFFFFFFF - 44, 0xFFFFFFFF])
def test_a_wav_that_states_a_wrong_size_is_whole(size: int) -> None:
    sound = load_audio(with_data_size(size))
    assert [len(clip) for clip in sound] == [50]
    assert sound.notes == ()


@pytest.mark.parametrize(
    "wav",
    [
        wav_of(FORM, part(b"LIST", b"INFOISFTabcde"), part(b"data", PCM), part(b"LIST", b"INFO")),
        wav_of(EXTENSIBLE, part(b"fact", bytes(4)), part(b"data", PCM)),
        wav_of(FORM, part(b"data", PCM)) + b"trailing junk",
        wav_of(part(b"JUNK", bytes(27)), FORM, part(b"data", PCM)),
    ],
    ids=["lists", "extensible", "junk", "odd chunk"],
)
def test_chunks_of_wav(wav: bytes) -> None:
    sound = load_audio(wav)
    assert np.array_equal(sound[0].ravel()[:32_000] * 32768, np.frombuffer(PCM, "<i2"))
    assert (len(sound[0]), sound.notes) == (50, ())


def first_part(data: bytes) -> bytes:
    return data[: len(data) * 6 // 10]


CUT: dict[str, Callable[[], bytes]] = {
    "wav": lambda: WAV,
    "flac": lambda: wav_bytes(NOISE, 48_000, format="FLAC"),
    "aiff": lambda: wav_bytes(NOISE, 48_000, format="AIFF"),
    "au": lambda: wav_bytes(NOISE, 48_000, format="AU"),
    "caf": lambda: wav_bytes(NOISE, 48_000, format="CAF"),
    "w64": lambda: wav_bytes(NOISE, 48_000, format="W64"),
    "ogg": lambda: wav_bytes(NOISE, 48_000, subtype="VORBIS", format="OGG"),
    "mp3": lambda: encoded_sound(NOISE, 48_000, "libmp3lame", "mp3"),
    "m4a": lambda: encoded_sound(NOISE, 48_000, "aac", "ipod", movflags="frag_keyframe+empty_moov", frag_duration="1"),
    "mka": lambda: encoded_sound(NOISE, 48_000, "aac", "matroska"),
    "avi": lambda: encoded_sound(NOISE, 48_000, "mp2", "avi"),
}


@pytest.mark.parametrize("name", CUT)
def test_sound_that_is_cut_short_is_used_with_a_note(name: str) -> None:
    sound = load_audio(first_part(CUT[name]()))
    assert 0.7 < sum(map(len, sound)) * 0.04 < 1.4
    assert "is cut short: " in sound.notes[0]


def test_a_film_that_is_cut_short_is_used_with_a_note() -> None:
    film = video_bytes(30, movflags="+faststart", encoder={"g": "1"})
    video = load_video(first_part(film))
    assert 3 < len(video.frames) < 25
    assert video.notes[0].startswith("bytes: is cut short: only ")
    assert video.notes[0].endswith(" of 3.0 s are there")


def test_whole_files_have_no_note() -> None:
    for name, made in CUT.items():
        assert (name, load_audio(made()).notes) == (name, ())
