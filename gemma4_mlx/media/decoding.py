"""Decode a file's sound to mono blocks on the file's clock, as far as the file can be read."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.chains import open_links
from gemma4_mlx.media.container import (
    check_length,
    is_lossless,
    open_container,
    pick_stream,
    read_packets,
    stated_seconds,
)
from gemma4_mlx.media.endings import note_cut
from gemma4_mlx.media.signatures import Medium
from gemma4_mlx.media.sources import MediaLimits, Source
from gemma4_mlx.media.timeline import Block, cut_padding, fill_pauses, start_at

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

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
_FORGIVEN_PACKETS = 2  # a file cut out of another begins and ends in the middle of a packet
# FFmpeg adds up packets, also those that are none; FLAC's frames are numbered, but by old encoders in other units.
_CLOCKLESS_FORMATS = ("mp3", "aac", "ac3", "eac3", "dts", "flac")
# Formats whose packets are found by a mark in the data: in noise there are many that are none.
_MARKED_FORMATS = ("mp3", "aac", "ac3", "eac3", "dts", "mpegts", "mpeg")


class SoundBlocks:
    """The sound of a file, decoded while it is iterated over; no blocks if the file has no sound.

    Args:
        kind: what the file is opened as, "audio" or "video".
        origin: when the sound begins on the file's clock, in seconds; None: with its first sample, or with the film
            if that begins earlier.

    Attributes:
        is_padded: the encoder may have filled up both ends, and the file doesn't say how far; known after iterating.

    Raises:
        GemmaError: a codec outside the list, nothing that can be decoded, or longer than the limits.
    """

    def __init__(self, source: Source, kind: Medium, origin: float | None, limits: MediaLimits) -> None:
        self._source, self._kind, self._origin, self._limits = source, kind, origin, limits
        self.is_padded = False

    def __iter__(self) -> Iterator[Block]:
        length = 0.0
        with open_links(self._source) as links:
            for link in links:
                for block in self._link(link):
                    length += block.seconds
                    check_length(length, "sound", self._source.name, self._limits.max_audio_seconds)
                    yield block

    def _link(self, source: Source) -> Iterator[Block]:
        with open_container(source, self._kind, self._limits) as container:
            stream = pick_stream(container, "audio", source.name)
            if stream is None:
                return
            limit = self._limits.max_audio_seconds
            is_mov = container.format.name.startswith("mov")
            # Only MP4 and MOV say to the sample where the sound ends within the last encoded packet.
            end = stated_seconds(container, stream) if is_mov else None
            check_length(end or 0, "sound", source.name, limit)
            origin = _start_seconds(container) if self._origin is None else self._origin
            blocks = fill_pauses(self._decoded(container, stream, source), source.name, limit)
            yield from start_at(cut_padding(blocks, end), origin, source, limit)

    def _decoded(self, container: "InputContainer", stream: "Stream", source: Source) -> Iterator[Block]:
        packets = read_packets(container, stream, source)
        first = next(packets, None)
        if first is None:
            return
        # Ogg says what is padding, and MP4 if its first packet lies before zero.
        told = container.format.name == "ogg" or (first.pts or 0) < 0
        self.is_padded = not told and not is_lossless(stream)
        has_clock = container.format.name not in _CLOCKLESS_FORMATS
        tick, seconds = float(stream.time_base or 0), 0.0
        for frame in _frames(container, stream, itertools.chain([first], packets), source):
            check_shape(frame.sample_rate, len(frame.layout.channels), source.name)
            start = frame.pts * tick if has_clock and frame.pts is not None else None
            block = Block(frame.sample_rate, _mono(frame), start)
            seconds += block.seconds
            yield block
        if self._kind == "audio":  # of a film its frames tell
            note_cut(source, container.format.name, seconds, stated_seconds(container, stream))


def _start_seconds(container: "InputContainer") -> float | None:
    """When the first of a film's streams begins, on the file's clock; None if that is not said, or there is no film."""
    streams = [stream for stream in container.streams if stream.type in ("audio", "video")]
    starts = [float(s.start_time * s.time_base) for s in streams if s.start_time is not None and s.time_base]
    return min(starts) if len(starts) > 1 else None


def _frames(
    container: "InputContainer", stream: Any, packets: "Iterator[Packet[Any] | None]", source: Source
) -> "Iterator[AudioFrame]":
    """Decode what can be decoded, and note what can't.

    Raises:
        GemmaError: nothing can, or hardly anything of a file that is mostly noise.
    """
    import av

    good = bad = 0
    for packet in itertools.chain(packets, [None]):
        try:
            for frame in stream.codec_context.decode(packet):
                good += 1
                yield frame
        except av.FFmpegError:
            bad += 1
    is_noise = bad > good and container.format.name in _MARKED_FORMATS
    if bad and (is_noise or not good):
        raise GemmaError(f"{source.name}: the audio is damaged and can't be decoded")
    if bad > _FORGIVEN_PACKETS:
        source.note(f"is damaged: {bad} packets of its sound can't be decoded; the others are used")


def check_shape(rate: float, channels: int, name: str) -> None:
    if rate not in _RATES:
        raise GemmaError(f"{name}: states a sample rate of {rate:.15g} Hz; {_RATES[0]} to {_RATES[-1]} Hz are accepted")
    if not 1 <= channels <= _MAX_CHANNELS:
        raise GemmaError(f"{name}: has {channels} channels; 1 to {_MAX_CHANNELS} are accepted")


def _mono(frame: "AudioFrame") -> np.ndarray:
    """The mean of a decoded frame's channels: float32 (samples,)."""
    from av.audio.plane import AudioPlane

    dtype, full_scale = _FORMATS[frame.format.name.removesuffix("p")]
    channels, is_planar = len(frame.layout.channels), frame.format.is_planar
    # frame.planes of eight channels and more goes on into memory after them: some versions of av then fail
    planes = [AudioPlane(frame, number) for number in range(channels if is_planar else 1)]
    width = 1 if is_planar else channels
    samples = [np.frombuffer(memoryview(plane), dtype)[: frame.samples * width] for plane in planes]
    return mono_mean(np.stack(samples, axis=1) if is_planar else samples[0].reshape(-1, channels), full_scale)


def mono_mean(samples: np.ndarray, full_scale: float) -> np.ndarray:
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
