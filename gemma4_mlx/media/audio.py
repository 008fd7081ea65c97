"""Sound to clips of frames: 16 kHz mono, 640 samples (40 ms) a frame, at most 30 s a clip.

Downmix and resampling are those of transformers' `load_audio` on soundfile (mean of the channels, soxr HQ,
ceil(samples x 16000 / rate) samples), so a file gives the published processor's samples.
"""

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.container import check_complete, check_length, open_container, pick_stream, stated_seconds
from gemma4_mlx.media.endings import is_cut_short
from gemma4_mlx.media.sources import MediaLimits, Source, read_source

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.stream import Stream

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 640
CLIP_SAMPLES = 30 * SAMPLE_RATE
_RATES = range(1_000, 768_001)
_MAX_CHANNELS = 64
# sample format -> (numpy dtype, full scale); planar formats carry a trailing "p"
_FORMATS = {
    "u8": ("u1", 2.0**7),
    "s16": ("i2", 2.0**15),
    "s32": ("i4", 2.0**31),
    "s64": ("i8", 2.0**63),
    "flt": ("f4", 1.0),
    "dbl": ("f8", 1.0),
}
_ALLOWED_BAD_PACKETS = 0.01

Blocks = Iterator[tuple[int, np.ndarray]]  # (sample rate, mono float32 samples)


class Clips(list[np.ndarray]):
    """Consecutive clips of one sound, each float32 (frames, 640).

    `notes`: what the user should know of how the file was read; empty where there is nothing to say.
    """

    notes: tuple[str, ...] = ()


def load_audio(source: Any, limits: MediaLimits = MediaLimits()) -> Clips:
    """Decode sound into consecutive clips, each float32 (frames, 640); the last frame is padded with zeros.

    Args:
        source: what `read_source` accepts (a video gives its soundtrack), or (samples, rate) with samples (n,) or
            (n, channels), integers of any width or floating point in [-1, 1].

    Raises:
        GemmaError: no sound, not a known format, damaged, cut short or longer than the limits.
    """
    if isinstance(source, tuple):
        return Clips(_clips("audio array", _array_blocks(*source, limits=limits)))
    ready = read_source(source, limits)
    with ready.opened() as file:
        if is_cut_short(file):
            raise GemmaError(f"{ready.name}: is cut short: the end of the file is missing")
    with open_container(ready, "audio", limits) as container:
        stream = pick_stream(container, "audio", ready.name)
        if stream is None:
            raise GemmaError(f"{ready.name}: has no sound in it")
        clips = Clips(_clips(ready.name, _file_blocks(container, stream, ready.name, limits)))
    clips.notes = tuple(ready.notes)
    return clips


def load_soundtrack(source: Source, limits: MediaLimits) -> list[np.ndarray]:
    """A video's sound as clips; an empty list if it has none."""
    with open_container(source, "video", limits) as container:
        stream = pick_stream(container, "audio", source.name)
        return _cut(_resampled(_file_blocks(container, stream, source.name, limits))) if stream else []


def to_clips(samples: np.ndarray) -> list[np.ndarray]:
    """Cut 16 kHz mono samples (n,) into clips of at most 30 s, each float32 (frames, 640)."""
    return _cut([np.asarray(samples, dtype=np.float32)])


def _clips(name: str, blocks: Blocks) -> list[np.ndarray]:
    clips = _cut(_resampled(blocks))
    if not clips:
        raise GemmaError(f"{name}: has no sound in it")
    if not all(np.isfinite(clip).all() for clip in clips):
        raise GemmaError(f"{name}: holds samples that are not finite numbers")
    return clips


def _cut(blocks: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Gather blocks into clips as they come, so that no second copy of the whole sound is ever held."""
    clips: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    room = CLIP_SAMPLES
    for block in blocks:
        rest = block
        while len(rest) >= room:
            clips.append(_framed([*pending, rest[:room]]))
            pending, rest, room = [], rest[room:], CLIP_SAMPLES
        if len(rest):
            pending.append(rest)
            room -= len(rest)
    return [*clips, _framed(pending)] if pending else clips


def _framed(blocks: list[np.ndarray]) -> np.ndarray:
    samples = sum(map(len, blocks))
    frames = np.zeros((-(-samples // FRAME_SAMPLES), FRAME_SAMPLES), dtype=np.float32)
    np.concatenate(blocks, out=frames.reshape(-1)[:samples])
    return frames


def _resampled(blocks: Blocks) -> Iterator[np.ndarray]:
    for rate, run in itertools.groupby(blocks, key=operator.itemgetter(0)):
        same_rate = (block for _, block in run)
        yield from same_rate if rate == SAMPLE_RATE else _converted(same_rate, rate)


def _converted(blocks: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    import soxr

    converter = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    taken = made = 0
    for block in blocks:
        out = converter.resample_chunk(block)
        taken, made = taken + len(block), made + len(out)
        yield out
    tail = converter.resample_chunk(np.zeros(0, np.float32), last=True)
    missing = -(-taken * SAMPLE_RATE // rate) - made
    yield np.pad(tail, (0, max(0, missing - len(tail))))[:missing]


def _file_blocks(container: "InputContainer", stream: "Stream", name: str, limits: MediaLimits) -> Blocks:
    stated = stated_seconds(container, stream)
    check_length(stated or (container.duration or 0) / 1e6, "sound", name, limits.max_audio_seconds)
    # Only MP4 and MOV say to the sample where the sound ends within the last encoded packet.
    end = stated if container.format.name.startswith("mov") else None
    yield from _without_padding(_decoded(container, stream, name, stated, limits), end)


def _decoded(
    container: "InputContainer", stream: "Stream", name: str, stated: float | None, limits: MediaLimits
) -> Blocks:
    seconds = 0.0
    for frame in _frames(container, stream, name):
        _check_shape(frame.sample_rate, len(frame.layout.channels), name)
        seconds += frame.samples / frame.sample_rate
        check_length(seconds, "sound", name, limits.max_audio_seconds)
        yield frame.sample_rate, _mono(frame)
    check_complete(seconds, stated, name)


def _without_padding(blocks: Blocks, end: float | None) -> Blocks:
    """Cut the last block at `end` seconds: encoders fill up their last packet."""
    samples, last = 0, None
    for rate, block in blocks:
        if last is not None:
            yield rate, last
        samples, last = samples + len(block), block
    if last is not None:
        padding = samples - round(end * rate) if end is not None else 0
        yield rate, last[: len(last) - padding] if 0 < padding < len(last) else last


def _frames(container: "InputContainer", stream: "Stream", name: str) -> "Iterator[AudioFrame]":
    """Decode, forgiving the odd broken packet (cut MP3s begin with one) but not a damaged file."""
    from av.error import InvalidDataError

    packets = bad = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            yield from packet.decode()  # type: ignore[misc]
        except InvalidDataError:
            bad += 1
    if bad > max(2, packets * _ALLOWED_BAD_PACKETS):
        raise GemmaError(f"{name}: the audio is damaged: {bad} of its {packets} packets can't be decoded")


def _check_shape(rate: int, channels: int, name: str) -> None:
    if rate not in _RATES:
        raise GemmaError(f"{name}: states a sample rate of {rate} Hz; {_RATES[0]} to {_RATES[-1]} Hz are accepted")
    if not 1 <= channels <= _MAX_CHANNELS:
        raise GemmaError(f"{name}: has {channels} channels; 1 to {_MAX_CHANNELS} are accepted")


def _mono(frame: "AudioFrame") -> np.ndarray:
    """The mean of a decoded frame's channels: float32 (samples,)."""
    dtype, full_scale = _FORMATS[frame.format.name.removesuffix("p")]
    channels = 1 if frame.format.is_planar else len(frame.layout.channels)
    planes = [np.frombuffer(memoryview(plane), dtype)[: frame.samples * channels] for plane in frame.planes]
    return _mean(np.stack(planes, axis=1) if frame.format.is_planar else planes[0].reshape(-1, channels), full_scale)


def _mean(samples: np.ndarray, full_scale: float) -> np.ndarray:
    """(n, channels) in any number format -> float32 (n,) with full scale at 1."""
    values = samples.astype(np.float32)
    if samples.dtype == np.uint8:
        values -= np.float32(full_scale)
    if full_scale != 1:
        values *= np.float32(1 / full_scale)
    if values.shape[1] == 1:
        return values[:, 0]
    if values.shape[1] == 2:
        return (values[:, 0] + values[:, 1]) / 2  # what mean() gives, in a fraction of its time
    return values.mean(axis=1)


def _array_blocks(samples: Any, rate: int, *, limits: MediaLimits) -> Blocks:
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or array.dtype.kind not in "uif" or array.dtype.str[1:] in ("u2", "u4", "u8"):
        raise GemmaError(f"audio array: pass numbers of shape (n,) or (n, channels), not {array.dtype} {array.shape}")
    array = array.reshape(len(array), -1) if array.size else np.zeros((0, 1), np.float32)
    _check_shape(int(rate), array.shape[1], "audio array")
    check_length(len(array) / rate, "sound", "audio array", limits.max_audio_seconds)
    full_scale = 1.0 if array.dtype.kind == "f" else 2.0 ** (8 * array.dtype.itemsize - 1)
    yield int(rate), _mean(array, full_scale)
