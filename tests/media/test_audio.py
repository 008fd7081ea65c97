"""Sound of every format, rate and channel count becomes 16 kHz mono clips of 640-sample frames."""

import contextlib
import io
import struct
from typing import Any

import av
import numpy as np
import pytest
import soxr
from av.audio.plane import AudioPlane
from hypothesis import given
from hypothesis import strategies as st
from media.media_files import encoded_sound, tone, video_bytes, wav_bytes

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import decoding
from gemma4_mlx.media.audio import load_audio, to_clips

NOISE = np.random.default_rng(0).integers(-32768, 32768, 5_000).astype(np.int16)


def joined(clips: list[np.ndarray], samples: int) -> np.ndarray:
    flat = np.concatenate([clip.ravel() for clip in clips])
    assert not flat[samples:].any()
    return flat[:samples]


def test_sixteen_bit_wav_at_16_khz_comes_through_exactly() -> None:
    clips = load_audio(wav_bytes(NOISE))
    assert [(clip.shape, clip.dtype) for clip in clips] == [((8, 640), np.float32)]
    assert np.array_equal(joined(clips, 5_000), NOISE.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("FLOAT", 0), ("DOUBLE", 2**-24)],
)
def test_widths_of_wav(subtype: str, step: float) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 3_000).astype(np.float32)
    assert np.abs(joined(load_audio(wav_bytes(samples, subtype=subtype)), 3_000) - samples).max() <= step


def test_integer_wav_of_64_bits() -> None:
    samples = (NOISE.astype(np.int64) << 48).tobytes()
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 128_000, 8, 64)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
    clips = load_audio(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert np.array_equal(joined(clips, 5_000), NOISE.astype(np.float32) / 32768)


def test_wav_from_a_pipe_states_no_length() -> None:
    data = bytearray(wav_bytes(NOISE))
    size_at = data.index(b"data") + 4
    for size in (b"\xff\xff\xff\xff", b"\0\xf0\xff\x7f"):
        data[size_at : size_at + 4] = size
        assert np.array_equal(joined(load_audio(bytes(data)), 5_000), NOISE.astype(np.float32) / 32768)


@pytest.mark.parametrize("channels", [2, 3, 6, 12])
def test_channels_are_averaged(channels: int) -> None:
    samples = np.random.default_rng(2).uniform(-1, 1, (2_000, channels)).astype(np.float32)
    got = joined(load_audio(wav_bytes(samples, subtype="FLOAT")), 2_000)
    assert np.array_equal(got, samples.mean(axis=1))


@pytest.mark.parametrize(("layout", "channels"), [("stereo", 2), ("7.1", 8), ("hexadecagonal", 16)])
def test_channels_in_planes(layout: str, channels: int) -> None:
    frame: Any = av.AudioFrame(format="fltp", layout=layout, samples=1_024)
    for number in range(channels):
        plane: Any = AudioPlane(frame, number)
        plane.update(np.full(1_024, number / 16, np.float32).tobytes().ljust(plane.buffer_size, b"\0"))
    assert np.array_equal(decoding._mono(frame), np.full(1_024, (channels - 1) / 32, np.float32))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000, 12_345])
@pytest.mark.parametrize("count", [1, 7, 5_001, 30_011])
def test_resampling_is_that_of_soxr_in_one_piece(rate: int, count: int) -> None:
    samples = np.random.default_rng(3).uniform(-0.9, 0.9, count).astype(np.float32)
    wanted = soxr.resample(samples, rate, 16_000, quality="HQ")
    length = -(-count * 16_000 // rate)
    got = joined(load_audio(wav_bytes(samples, rate, "FLOAT")), max(length, len(wanted)))
    assert sum(clip.size for clip in load_audio((samples, rate))) == -(-length // 640) * 640
    assert np.abs(got[: len(wanted)] - wanted).max(initial=0) < 1e-6


CODECS = [
    ("pcm_s16le", "caf"),
    ("pcm_alaw", "wav"),
    ("pcm_mulaw", "au"),
    ("adpcm_ms", "wav"),
    ("adpcm_ima_wav", "wav"),
    ("adpcm_ima_qt", "mov"),
    ("wavpack", "wv"),
    ("aac", "ipod"),
    ("aac", "mov"),
    ("aac", "mp4"),
    ("alac", "ipod"),
    ("flac", "flac"),
    ("flac", "ogg"),
    ("libmp3lame", "mp3"),
    ("libopus", "ogg"),
    ("libopus", "webm"),
    ("pcm_s16be", "aiff"),
    ("pcm_s24le", "mov"),
]


@pytest.mark.parametrize(("codec", "container"), CODECS)
def test_formats_keep_length_and_content(codec: str, container: str) -> None:
    sound = tone(1.0, 48_000, 440) * np.linspace(0.2, 1, 48_000, dtype=np.float32)
    got = joined(load_audio(encoded_sound(sound, 48_000, codec, container)), 16_640)
    wanted = soxr.resample(sound, 48_000, 16_000)
    middle = slice(2_000, 14_000)
    assert abs(len(np.trim_zeros(got, "b")) - 16_000) <= 640
    assert np.corrcoef(got[middle], wanted[middle])[0, 1] > 0.99
    assert np.abs(got[middle] - wanted[middle]).max() < 0.1


@pytest.mark.parametrize(
    ("codec", "container"),
    [("mp2", "mp2"), ("mp2", "wav"), ("ac3", "ac3"), ("eac3", "matroska"), ("aac", "mpegts"), ("aac", "flv")],
)
def test_formats_that_begin_with_a_delay(codec: str, container: str) -> None:
    sound = load_audio(encoded_sound(tone(1.0, 48_000, 1_000), 48_000, codec, container))
    assert sum(map(len, sound)) in (25, 26, 27)
    spectrum = np.abs(np.fft.rfft(sound[0][3:23].ravel()))
    assert np.argmax(spectrum) / (20 * 0.04) == pytest.approx(1_000, abs=3)


def test_soundtrack_of_a_film() -> None:
    for container, codec, sound_codec in (("mp4", "libx264", "aac"), ("webm", "libvpx-vp9", "libopus")):
        film = video_bytes(10, codec=codec, container=container, sound=tone(1, 48_000), sound_codec=sound_codec)
        assert [clip.shape for clip in load_audio(film)] == [(25, 640)]


@given(count=st.integers(0, 1_100_000))
def test_clips_drop_nothing(count: int) -> None:
    samples = np.arange(1, count + 1, dtype=np.float32)
    clips = to_clips(samples)
    assert [len(clip) for clip in clips[:-1]] == [750] * (max(0, count - 1) // 480_000)
    assert sum(map(len, clips)) == -(-count // 640)
    if count:
        assert np.array_equal(joined(clips, count), samples)


def test_sound_over_30_s_is_cut_into_clips() -> None:
    ramp = np.arange(16_000 * 65, dtype=np.float32) / 2**21
    clips = load_audio(wav_bytes(ramp, subtype="FLOAT"))
    assert [len(clip) for clip in clips] == [750, 750, 125]
    assert clips[1][0, 0] == ramp[480_000]
    assert np.array_equal(joined(clips, len(ramp)), ramp)


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        (np.array([0.5, -0.25], np.float64), [0.5, -0.25]),
        (np.array([16384, -8192], np.int16), [0.5, -0.25]),
        (np.array([2**30, -(2**29)], np.int32), [0.5, -0.25]),
        (np.array([192, 96], np.uint8), [0.5, -0.25]),
        (np.array([[1, 0], [0, -0.5]], np.float32), [0.5, -0.25]),
        ([0.5, -0.25], [0.5, -0.25]),
    ],
    ids=["float64", "int16", "int32", "uint8", "stereo", "list"],
)
def test_arrays(samples: Any, wanted: list[float]) -> None:
    assert load_audio((samples, 16_000))[0][0, :3].tolist() == [*wanted, 0]


def test_half_a_packet_is_forgiven_but_noise_is_refused() -> None:
    """An MP3 cut at its beginning starts in the middle of a packet; one overwritten by noise is refused."""
    data = encoded_sound(tone(3, 48_000), 48_000, "libmp3lame", "mp3", write_xing="0")
    forgiven = load_audio(data[700:])
    assert (len(forgiven), forgiven.notes) == (1, ())
    noise = np.random.default_rng(4).integers(0, 256, len(data), dtype=np.uint8).tobytes()
    with pytest.raises(GemmaError):
        load_audio(data[:400] + noise[400:])


def test_any_damage_gives_sound_or_the_packages_own_error() -> None:
    seed = np.random.default_rng(5)
    good = [wav_bytes(NOISE), wav_bytes(tone(1), format="FLAC"), encoded_sound(tone(1, 48_000), 48_000, "aac", "ipod")]
    for data in good:
        for _ in range(15):
            broken = bytearray(data)
            for place in seed.integers(0, len(data), 20):
                broken[place] = seed.integers(0, 256)
            with contextlib.suppress(GemmaError):
                assert load_audio(io.BytesIO(broken))
