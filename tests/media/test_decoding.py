"""Sound is decoded as far as it goes and stays in step with its clock; the encoder's padding makes no clip."""

import io
import struct
from collections.abc import Callable

import av
import numpy as np
import pytest
from media.media_files import encoded_sound, remuxed, tone, video_bytes, wav_bytes

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.sources import MediaLimits
from gemma4_mlx.media.video import load_video

SECOND = tone(1.0, 48_000)


def levels(sound: list[np.ndarray]) -> list[int]:
    """For each fifth of a second, 1 if there is sound in most of it."""
    frames = np.concatenate(sound)
    loud = np.sqrt((frames**2).mean(axis=1)) > 0.1
    return [int(loud[start : start + 5].mean() > 0.5) for start in range(0, len(loud) // 5 * 5, 5)]


def paused(seconds: float) -> Callable[[str, float], float]:
    """A pause after six tenths of a second."""
    return lambda kind, time: time + seconds * (time > 0.59 and kind == "audio")


@pytest.mark.parametrize(
    ("codec", "container"), [("aac", "ipod"), ("aac", "matroska"), ("libopus", "webm"), ("alac", "mov")]
)
def test_pauses_are_silence(codec: str, container: str) -> None:
    sound = load_audio(remuxed(encoded_sound(SECOND, 48_000, codec, container), container, paused(2)))
    assert levels(sound)[:15] == [1, 1, 1, *[0] * 10, 1, 1]
    assert sum(map(len, sound)) in (75, 76)
    assert sound.notes == ()


def test_a_hostile_time_stamp_is_refused() -> None:
    data = remuxed(encoded_sound(SECOND, 48_000, "libopus", "webm"), "webm", paused(10**6))
    with pytest.raises(GemmaError, match=r"^bytes: a time stamp of its sound lies 100000\d s after the start"):
        load_audio(data)


FILM = video_bytes(20, sound=tone(2, 48_000))


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_sound_that_starts_late_follows_silence(container: str) -> None:
    film = remuxed(FILM, container, lambda kind, time: time + (kind == "audio"))
    for sound in (load_video(film).soundtrack, load_audio(film)):
        assert levels(sound)[:15] == [*[0] * 5, *[1] * 10]


def test_sound_from_before_the_first_frame_is_left_out_with_a_note() -> None:
    film = remuxed(FILM, "matroska", lambda kind, time: time + (kind == "video"))
    video = load_video(film)
    assert (levels(video.soundtrack), video.timestamps[0]) == ([1] * 5, 0)
    assert video.notes == ("bytes: the first 1.0 s of its sound, before the first frame, are left out",)
    assert levels(load_audio(film)) == [1] * 10


def test_a_film_whose_sound_is_not_decoded_has_none() -> None:
    film = video_bytes(3, container="flv", sound=SECOND, sound_codec="nellymoser", sound_rate=44_100)
    video = load_video(film)
    assert (len(video.frames), video.soundtrack) == (3, [])
    assert video.notes == (
        "bytes: is used without its sound: its audio is encoded as nellymoser, which is not decoded here; "
        "convert it to MP4 first",
    )
    with pytest.raises(GemmaError):
        load_audio(film)


def test_a_film_with_too_much_sound_is_refused() -> None:
    with pytest.raises(GemmaError, match="sound is longer than the limit of 1 s"):
        load_video(FILM, limits=MediaLimits(max_audio_seconds=1))


HALF_MINUTE = np.repeat(np.sin(np.arange(100) / 4).astype(np.float32) / 2, 14_400)  # 30 s at 48 kHz


@pytest.mark.parametrize(
    ("codec", "container", "options"),
    [
        ("aac", "adts", {}),
        ("aac", "ipod", {}),
        ("aac", "ipod", {"use_editlist": "0"}),
        ("aac", "mpegts", {}),
        ("libopus", "webm", {}),
        ("libopus", "ogg", {}),
        ("libmp3lame", "mp3", {"write_xing": "0"}),
    ],
    ids=str,
)
def test_thirty_padded_seconds_stay_one_clip(codec: str, container: str, options: dict[str, str]) -> None:
    assert [len(clip) for clip in load_audio(encoded_sound(HALF_MINUTE, 48_000, codec, container, **options))] == [750]


def test_what_is_no_padding_stays() -> None:
    longer = np.concatenate((HALF_MINUTE, tone(0.04, 48_000)))
    assert [len(clip) for clip in load_audio(wav_bytes(longer, 48_000))] == [750, 1]
    much_longer = np.concatenate((HALF_MINUTE, tone(0.3, 48_000)))
    assert [len(clip) for clip in load_audio(encoded_sound(much_longer, 48_000, "aac", "adts"))] == [750, 9]


def test_a_guessed_length_is_no_limit() -> None:
    """FFmpeg takes ADTS to go on at the rate of its quiet beginning."""
    sound = np.concatenate((np.zeros(48_000 * 8, np.float32), np.random.default_rng(0).uniform(-1, 1, 96_000)))
    data = encoded_sound(sound.astype(np.float32), 48_000, "aac", "adts")
    with av.open(io.BytesIO(data)) as container:
        assert container.duration / 1e6 > 20
    assert sum(map(len, load_audio(data, MediaLimits(max_audio_seconds=20)))) in (250, 251)


def test_each_rate_keeps_its_samples() -> None:
    parts = [encoded_sound(tone(2.0, rate), rate, "libmp3lame", "mp3", write_xing="0") for rate in (32_000, 48_000)]
    frames = [len(load_audio(part)[0]) for part in parts]
    assert len(load_audio(b"".join(parts))[0]) == pytest.approx(sum(frames), abs=2)
    spectrum = np.abs(np.fft.rfft(load_audio(b"".join(parts))[0][5:95].ravel()))
    assert np.argmax(spectrum) / (90 * 0.04) == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("codec", "container"), [("aac", "ipod"), ("libopus", "ogg"), ("flac", "flac"), ("aac", "adts"), ("aac", "mpegts")]
)
def test_damaged_sound_is_used_with_a_note(codec: str, container: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * 48_000).astype(np.float32)
    data = bytearray(encoded_sound(noise, 48_000, codec, container))
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(1).integers(0, 256, 2000, dtype=np.uint8).tobytes()
    sound = load_audio(bytes(data))
    assert sum(map(len, sound)) > 70
    assert sound.notes
    assert all("damaged" in note or "cut short" in note for note in sound.notes)


def crc(data: bytes, bits: int, polynomial: int) -> bytes:
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) else 0)) & ((1 << bits) - 1)
    return value.to_bytes(bits // 8, "big")


def test_a_flac_whose_frames_are_numbered_in_other_units() -> None:
    data = encoded_sound(SECOND, 48_000, "flac", "flac")
    mark = b"\xff\xf8\x5a\x08"
    changed, *frames, last = data.split(mark)
    assert len(frames) == 9
    for number, frame in enumerate(frames):
        header = mark + bytes((8 * number,))
        body = header + crc(header, 8, 0x07) + frame[2:-2]
        changed += body + crc(body, 16, 0x8005)
    sound = load_audio(changed + mark + last)
    assert [len(clip) for clip in sound] == [25]
    assert sound.notes == ()


def with_tag(kind: bytes, content: bytes, data: bytes) -> bytes:
    frame = kind + struct.pack(">IH", len(content), 0) + content
    return b"ID3\x04\0\0\0\0" + bytes((len(frame) >> 7, len(frame) & 127)) + frame + data


@pytest.mark.parametrize(
    "tag", [(b"TENC", b"\1\xff"), (b"APIC", b"\0image/jpeg\0\3\0" + bytes(90))], ids=["text", "cover"]
)
@pytest.mark.parametrize(("codec", "container"), [("libmp3lame", "mp3"), ("aac", "adts")])
def test_broken_tags_are_no_damage(tag: tuple[bytes, bytes], codec: str, container: str) -> None:
    assert load_audio(with_tag(*tag, encoded_sound(SECOND, 48_000, codec, container))).notes == ()


def test_a_byte_that_fills_up_a_chunk_is_no_damage() -> None:
    data = wav_bytes(SECOND, 48_000, "PCM_24")
    start = data.index(b"data") + 4
    size = len(data) - start - 4 + 1
    assert load_audio(data[:start] + struct.pack("<I", size) + data[start + 4 :] + b"\0").notes == ()


def test_an_mp3_that_begins_in_mid_stream_is_no_damage() -> None:
    data = encoded_sound(SECOND, 48_000, "libmp3lame", "mp3", b="64000")
    frames = [at for at in range(len(data) - 4) if data[at : at + 2] == b"\xff\xfb"]
    assert load_audio(data[frames[10] :]).notes == ()


def test_opus_that_skips_more_than_a_second() -> None:
    data = bytearray(encoded_sound(tone(3.0, 48_000), 48_000, "libopus", "ogg"))
    page = bytes(data[: data.index(b"OggS", 1)])
    changed = bytearray(page)
    at = changed.index(b"OpusHead") + 10
    changed[at : at + 2] = b"\xff\xff"
    changed[22:26] = bytes(4)
    changed[22:26] = crc(bytes(changed), 32, 0x04C11DB7)[::-1]
    assert load_audio(bytes(changed + data[len(page) :])).notes == ()
