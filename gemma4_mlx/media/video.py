"""Video to sampled frames with their times, and its soundtrack to clips.

Without `fps`, frames are chosen as the published processor does: n = min(max_frames, total), frame numbers
arange(n) x total // n.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.audio import load_soundtrack
from gemma4_mlx.media.frames import FrameIndex, decode_frames, index_frames, is_mirrored
from gemma4_mlx.media.images import Patches, check_budget
from gemma4_mlx.media.sources import MediaLimits, Source, read_source
from gemma4_mlx.media.strips import View, frame_patches

MOST_FRAMES = 3_600  # more than the model's context holds at 70 tokens a frame
Choice = Callable[[np.ndarray, float], np.ndarray]  # (times of all frames, end) -> numbers of those to take
_CLOCK_SLACK = 0.002  # seconds; Matroska rounds times to milliseconds


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Sampled frames and sound of one file.

    Attributes:
        frames: one Patches for each sampled frame.
        timestamps: when each is shown, in seconds from the first frame of the video.
        soundtrack: clips as `load_audio` gives them; empty if there is no sound or it was not asked for.
        notes: what the user should know of how the file was read; empty where there is nothing to say.
    """

    frames: list[Patches]
    timestamps: list[float]
    soundtrack: list[np.ndarray]
    notes: tuple[str, ...] = ()


def load_video(
    source: Any,
    *,
    max_frames: int = 32,
    fps: float | None = None,
    budget: int = 70,
    soundtrack: bool = True,
    limits: MediaLimits = MediaLimits(),
) -> Video:
    """Sample frames evenly over the video, or one every 1/fps seconds, and decode the soundtrack.

    Only the sampled frames are kept, already cut into patches. A file that is damaged or cut short is used as far as it
    goes, with a note.

    Raises:
        GemmaError: not a video of a known format, no frames that can be decoded, or larger than the limits.
        UsageError: an impossible option, or `fps` asks for more than `max_frames` (nothing is dropped silently).
    """
    _check_options(max_frames, fps, budget)
    ready = read_source(source, limits)
    index = index_frames(ready, limits)
    choose = functools.partial(sample_times, max_frames=max_frames, fps=fps)
    sampled = _by_time(ready, index, choose, budget, limits) or _by_count(ready, index, choose, budget, limits)
    sound = load_soundtrack(ready, index.start_seconds(), limits) if soundtrack else []
    return Video([patches for _, patches in sampled], [seconds for seconds, _ in sampled], sound, ready.log_notes())


def sample_times(times: np.ndarray, end: float, max_frames: int, fps: float | None) -> np.ndarray:
    """Which of the frames shown at `times` (ascending seconds, the last one until `end`) to take: their numbers."""
    total = len(times)
    if fps is None:
        count = min(max_frames, total)
        return np.arange(count) * total // count
    moments = times[0] + np.arange(max(1, math.ceil((end - times[0]) * fps - _CLOCK_SLACK))) / fps
    numbers = np.unique(np.searchsorted(times, moments + _CLOCK_SLACK, side="right") - 1)
    if len(numbers) > max_frames:
        raise UsageError(
            f"{fps:g} frames a second make {len(numbers)} frames, more than {max_frames}: "
            f"raise --max-frames to {len(numbers)} or lower --fps"
        )
    return numbers


def _check_options(max_frames: int, fps: float | None, budget: int) -> None:
    check_budget(budget)
    if not 1 <= max_frames <= MOST_FRAMES:
        raise UsageError(f"at most {max_frames} frames a video: choose 1 to {MOST_FRAMES}")
    if fps is not None and not 0 < fps < 1000:
        raise UsageError(f"{fps:g} frames a second: choose more than 0 and less than 1000")


def _by_time(
    source: Source, index: FrameIndex, choose: Choice, budget: int, limits: MediaLimits
) -> list[tuple[float, Patches]] | None:
    """Sample by the index and recognise frames by their times; None if the file's times don't allow it."""
    if not index.has_distinct_times():
        return None
    order = index.display_order()
    ticks = index.pts[order]
    times = (ticks - ticks[0]) * index.tick
    chosen = choose(times, (index.end - ticks[0]) * index.tick)
    seconds = dict(zip(ticks[chosen].tolist(), times[chosen].tolist(), strict=True))
    found: dict[int, Patches] = {}
    view = None
    for frame in decode_frames(source, limits, index, order[chosen]):
        if frame.pts is not None and frame.pts in seconds:
            view = view or View(index.pixel_aspect, is_mirrored(frame))
            found[frame.pts] = frame_patches(frame, budget, view)
            if len(found) == len(seconds):
                return [(seconds[pts], found[pts]) for pts in sorted(found)]
        del frame  # or its memory is still taken while the next one is decoded
    return None


def _by_count(
    source: Source, index: FrameIndex, choose: Choice, budget: int, limits: MediaLimits
) -> list[tuple[float, Patches]]:
    """For the rare file whose times are missing or wrong: decode it to count the frames, then again to pick them."""
    times = np.array(list(_times(source, index, limits)))
    if not len(times):
        raise GemmaError(f"{source.name}: the video has no frames that can be decoded")
    chosen = set(choose(times, times[-1] * len(times) / max(1, len(times) - 1)).tolist())
    sampled, view = [], None
    for number, frame in enumerate(decode_frames(source, limits)):
        if number in chosen:
            view = view or View(index.pixel_aspect, is_mirrored(frame))
            sampled.append((float(times[number]), frame_patches(frame, budget, view)))
    return sampled


def _times(source: Source, index: FrameIndex, limits: MediaLimits) -> Iterator[float]:
    """Frame times from 0 up; a frame without a later time than the one before counts as 1/30 s."""
    first, last = None, 0.0
    for frame in decode_frames(source, limits):
        ticks = frame.pts if index.is_timed else frame.dts
        seconds = ticks * index.tick if ticks is not None else None
        if first is None:
            first = seconds or 0.0
        elif seconds is not None and seconds - first > last:
            last = seconds - first
        else:
            last += 1 / 30
        yield last
