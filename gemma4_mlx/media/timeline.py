"""Put decoded sound on its file's clock: pauses become silence, so that sound and film stay together."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from gemma4_mlx.media.container import LimitError, check_length
from gemma4_mlx.media.sources import Source

_JITTER = 0.1  # seconds; clocks of recorders are off by less, pauses and lost packets that can be heard by more
_RESTART = 1.0  # seconds; a time stamp that goes back by more begins to count anew
_FAINT = 2.0**-8  # of full scale; encoders begin with a packet that has no more in it than an echo of the next one
_SILENCE_SECONDS = 10  # in a block, so that a long pause takes no memory at once


class Block(NamedTuple):
    """A piece of decoded sound.

    Attributes:
        rate: samples a second.
        samples: float32 mono (n,).
        start: when the first sample is heard, in seconds of the file's clock; None if the file doesn't say.
    """

    rate: int
    samples: np.ndarray
    start: float | None = None

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def fill_pauses(blocks: Iterator[Block], name: str, limit: float) -> Iterator[Block]:
    """Insert silence between blocks if the clock goes on by 0.1 s more than the sound.

    Overlaps and smaller gaps are ignored.

    Raises:
        LimitError: the sound, with its pauses, is longer than `limit` seconds.
    """
    clock = None  # what it shows at the end of the sound so far
    length = 0.0  # seconds
    for block in _without_strays(blocks):
        pause = block.start - clock if block.start is not None and clock is not None else 0.0
        if pause > _JITTER:
            _check_pause(length + pause, name, limit)
            yield from silence(pause, block.rate)
            length += pause
        if block.start is not None and (clock is None or not -_RESTART <= pause <= _JITTER):
            clock = block.start
        clock, length = (clock or 0.0) + block.seconds, length + block.seconds
        check_length(length, "sound", name, limit)
        yield block


def cut_padding(blocks: Iterator[Block], end: float | None) -> Iterator[Block]:
    """Cut the last block at `end` seconds after the first: encoders fill up their last packet."""
    before, samples, last = 0.0, 0, None  # seconds at other rates, samples at this one
    for block in blocks:
        if last is not None:
            yield last
            if last.rate != block.rate:
                before, samples = before + samples / last.rate, 0
        samples, last = samples + len(block.samples), block
    if last is not None:
        padding = samples - round((end - before) * last.rate) if end is not None else 0
        yield last._replace(samples=last.samples[:-padding]) if 0 < padding < len(last.samples) else last


def start_at(blocks: Iterator[Block], origin: float | None, source: Source, limit: float) -> Iterator[Block]:
    """Make the sound begin when the clock shows `origin`: late sound after silence, early sound is cut off.

    A note says what is cut off, if it can be heard. Less than 0.1 s is ignored, and so is an origin of None.

    Raises:
        LimitError: the sound begins more than `limit` seconds late.
    """
    for first in blocks:
        late = first.start - origin if first.start is not None and origin is not None else 0.0
        _check_pause(late, source.name, limit)
        if late > _JITTER:
            yield from silence(late, first.rate)
        rest = itertools.chain([first], blocks)
        yield from _dropped(rest, -late, source) if late < -_JITTER else rest


def _dropped(blocks: Iterable[Block], seconds: float, source: Source) -> Iterator[Block]:
    """The sound without its first `seconds`; a note if they can be heard."""
    left = seconds
    for block in blocks:
        count = min(len(block.samples), round(left * block.rate))
        left -= count / block.rate
        if count and np.abs(block.samples[:count]).max() > _FAINT:
            source.note(f"the first {seconds:.1f} s of its sound, before the first frame, are left out")
        if count < len(block.samples):
            yield block._replace(samples=block.samples[count:])


def _without_strays(blocks: Iterator[Block]) -> Iterator[Block]:
    """Forget a time stamp that the one after it contradicts: one damaged packet is no pause."""
    last, held = None, None  # the last start that was believed, and the block that waits for the next one
    for block in itertools.chain(blocks, [None]):
        if held is not None:
            start = held.start if block is None or not _is_stray(last, held.start, block.start) else None
            last = last if start is None else start
            yield held._replace(start=start)
        held = block


def _is_stray(before: float | None, start: float | None, after: float | None) -> bool:
    if start is None or after is None:
        return False
    return after < start or (before is not None and start < before - _RESTART and after > before)


def silence(seconds: float, rate: int) -> Iterator[Block]:
    """Blocks of zeros."""
    left = round(seconds * rate)
    while left > 0:
        yield Block(rate, np.zeros(min(left, _SILENCE_SECONDS * rate), np.float32))
        left -= _SILENCE_SECONDS * rate


def _check_pause(end: float, name: str, limit: float) -> None:
    if end > limit:
        raise LimitError(
            f"{name}: a time stamp of its sound lies {end:.0f} s after the start, beyond the limit of {limit:g} s; "
            "cut or convert it first"
        )
