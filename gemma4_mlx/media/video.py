"""Video to sampled frames with their times, and its soundtrack to clips.

Without `fps`, frames are chosen as the published processor does: n = min(max_frames, total), frame numbers
arange(n) x total // n.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.audio import load_soundtrack
from gemma4_mlx.media.frames import FrameIndex, decode_frames, index_frames, is_mirrored
from gemma4_mlx.media.images import Patches, check_budget
from gemma4_mlx.media.sources import MediaLimits, Source, read_source
from gemma4_mlx.media.stills import Stills, animated_stills, given_stills
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
    goes, with a note. At `fps` more frames than `max_frames` are thinned out, with a note too, and so is said if the
    video has fewer.

    Args:
        source: what `read_source` accepts, an animated image too; or (frames, rate) with frames (n, H, W, 3) as
            `load_image` takes arrays, or a list of images, and how many there are in a second.

    Raises:
        GemmaError: not a video of a known format, no frames that can be decoded, or larger than the limits.
        UsageError: an impossible option.
    """
    _check_options(max_frames, fps, budget)
    given = None if isinstance(source, Source) else given_stills(source, limits)
    ready = Source("video array", Path()) if given else read_source(source, limits)
    choose = _Sampler(max_frames, fps)
    if stills := given or animated_stills(ready, limits):
        sampled, sound = _of_stills(stills, choose, budget), []
    else:
        index = index_frames(ready, limits)
        sampled = _by_time(ready, index, choose, budget, limits) or _by_count(ready, index, choose, budget, limits)
        sound = load_soundtrack(ready, index.start_seconds(), limits) if soundtrack else []
    if choose.note:
        ready.note(choose.note)
    notes = (*ready.log_notes(), *itertools.chain.from_iterable(patches.notes for _, patches in sampled))
    return Video([patches for _, patches in sampled], [seconds for seconds, _ in sampled], sound, notes)


def sample_times(times: np.ndarray, end: float, max_frames: int, fps: float | None) -> np.ndarray:
    """Which of the frames shown at `times` (ascending seconds, the last one until `end`) to take: their numbers.

    At `fps` these are the frames seen at 0, 1/fps, 2/fps ... seconds after the first, of more than `max_frames` some,
    evenly spread.
    """
    numbers = np.arange(len(times)) if fps is None else _seen(times, end, fps)
    count = min(max_frames, len(numbers))
    return numbers[np.arange(count) * len(numbers) // count]


def _seen(times: np.ndarray, end: float, fps: float) -> np.ndarray:
    """The frames that are seen at some multiple of 1/fps seconds. As long as `times`, however large `fps` is."""
    first = np.ceil((np.append(times, max(end, times[-1])) - times[0] - _CLOCK_SLACK) * fps)
    first[0], first[-1] = 0, max(first[-1], 1)  # the number of the first moment at which each frame may be seen
    return np.flatnonzero(first[:-1] < first[1:])


class _Sampler:
    """Chooses frames as `sample_times` does, and knows what is to be said of its last choice.

    Attributes:
        note: why there are fewer frames than `fps` asks for; "" if there aren't.
    """

    def __init__(self, max_frames: int, fps: float | None) -> None:
        self._max_frames, self._fps, self.note = max_frames, fps, ""

    def __call__(self, times: np.ndarray, end: float) -> np.ndarray:
        self.note = "" if self._fps is None else self._said(times, end, self._fps)
        return sample_times(times, end, self._max_frames, self._fps)

    def _said(self, times: np.ndarray, end: float, fps: float) -> str:
        seen, most, seconds = len(_seen(times, end, fps)), self._max_frames, end - times[0]
        if seen > most:
            return (
                f"{fps:g} frames a second would be {seen} frames, more than the maximum of {most}: "
                f"thinned out to {most}, one every {seconds / most:.3g} s"
            )
        if seen == len(times) and seconds * fps > seen + 1:
            return f"has no {fps:g} frames a second: all {seen} that it has are used"
        return ""


def _check_options(max_frames: int, fps: float | None, budget: int) -> None:
    check_budget(budget)
    if not 1 <= max_frames <= MOST_FRAMES:
        raise UsageError(f"at most {max_frames} frames a video: choose 1 to {MOST_FRAMES}")
    if fps is not None and not 0 < fps <= 10**6:
        raise UsageError(f"{fps:g} frames a second: choose more than 0, up to a million")


def _of_stills(stills: Stills, choose: Choice, budget: int) -> list[tuple[float, Patches]]:
    chosen = choose(stills.times, stills.end)
    return list(zip(stills.times[chosen].tolist(), stills.pick(chosen.tolist(), budget), strict=False))


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
