"""Sound to clips of frames: 16 kHz mono, 640 samples (40 ms) a frame, at most 30 s a clip.

Downmix and resampling are those of transformers' `load_audio` on soundfile (mean of the channels, soxr HQ,
ceil(samples x 16000 / rate) samples), so a file gives the published processor's samples.
"""

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.arrays import is_array, is_with_rate, sound_samples, split_rate
from gemma4_mlx.media.container import LimitError, check_length
from gemma4_mlx.media.decoding import SoundBlocks, check_shape, mono_mean
from gemma4_mlx.media.faults import note_faults
from gemma4_mlx.media.signatures import Medium
from gemma4_mlx.media.sources import MediaLimits, Source, read_source
from gemma4_mlx.media.tables import check_tables
from gemma4_mlx.media.timeline import Block

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 640
CLIP_SAMPLES = 30 * SAMPLE_RATE
_PADDING_FRAMES = 4  # 0.16 s: what encoders add at both ends
_ARRAY = "audio array"  # in messages
_SILENT = 2.0**-10  # of full scale


class Clips(list[np.ndarray]):
    """Consecutive clips of one sound, each float32 (frames, 640).

    `notes`: what the user should know of how the file was read; empty where there is nothing to say.
    """

    notes: tuple[str, ...] = ()


def load_audio(source: Any, limits: MediaLimits = MediaLimits()) -> Clips:
    """Decode sound into consecutive clips, each float32 (frames, 640); the last frame is padded with zeros.

    Pauses that the file's time stamps show are silence. A file that is damaged or cut short is used as far as it goes,
    with a note.

    Args:
        source: what `read_source` accepts (a video gives its soundtrack), or (samples, rate) with samples (n,),
            (n, channels) or (channels, n), integers of 8, 16 or 32 bits or floating point in [-1, 1], also of MLX or
            PyTorch; (rate, samples) and {"array": samples, "sampling_rate": rate} are read as well.

    Raises:
        GemmaError: no sound, not a known format, nothing in it that can be decoded, or longer than the limits.
    """
    if is_array(source):
        raise GemmaError(f"{_ARRAY}: give its sample rate too, as (samples, rate)")
    if is_with_rate(source) or isinstance(source, tuple):
        name, ready = _ARRAY, None
        clips = Clips(_cut(_resampled(_array_blocks(source, limits))))
    else:
        ready = read_source(source, limits)
        check_tables(ready)
        name = ready.name
        clips = Clips(_file_clips(ready, "audio", None, limits))
    if not clips:
        raise GemmaError(f"{name}: has no sound in it")
    _check_finite(clips, name)
    clips.notes = ready.log_notes() if ready else ()
    return clips


def load_soundtrack(source: Source, start: float, limits: MediaLimits) -> list[np.ndarray]:
    """A film's sound from its first frame on, shown at `start` seconds; an empty list if it has none.

    A film whose sound can't be decoded has none, with a note.

    Raises:
        LimitError: the sound is longer than the limits.
    """
    try:
        clips = _file_clips(source, "video", start, limits)
        _check_finite(clips, source.name)
        return clips
    except LimitError:
        raise
    except GemmaError as error:
        source.note(f"is used without its sound: {str(error).removeprefix(f'{source.name}: ')}")
        return []


def to_clips(samples: np.ndarray) -> list[np.ndarray]:
    """Cut 16 kHz mono samples (n,) into clips of at most 30 s, each float32 (frames, 640)."""
    return _cut([np.asarray(samples, dtype=np.float32)])


def _check_finite(clips: list[np.ndarray], name: str) -> None:
    if not all(np.isfinite(clip).all() for clip in clips):
        raise GemmaError(f"{name}: holds samples that are not finite numbers")


def _file_clips(source: Source, kind: Medium, origin: float | None, limits: MediaLimits) -> list[np.ndarray]:
    blocks = SoundBlocks(source, kind, origin, limits)
    with note_faults(source, kind):
        clips = _cut(_resampled(blocks))
    if blocks.is_padded and len(clips) > 1 and len(clips[-1]) <= _PADDING_FRAMES:
        padding = clips.pop()
        if np.abs(padding).max() > _SILENT:
            source.note(
                f"the last {padding.size / SAMPLE_RATE:.2f} s of its sound are left out as its encoder's padding"
            )
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


def _resampled(blocks: Iterable[Block]) -> Iterator[np.ndarray]:
    for rate, run in itertools.groupby(blocks, key=operator.attrgetter("rate")):
        same_rate = (block.samples for block in run)
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


def _array_blocks(source: Any, limits: MediaLimits) -> Iterator[Block]:
    several, rate = split_rate(source, _ARRAY)
    samples = sound_samples(several, _ARRAY)
    check_shape(rate, samples.shape[1], _ARRAY)
    check_length(len(samples) / rate, "sound", _ARRAY, limits.max_audio_seconds)
    full_scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.dtype.itemsize - 1)
    yield Block(int(rate), mono_mean(samples, full_scale))
