"""Videos that are still images in a row: animated GIF, WebP, PNG and AVIF files, and frames given as arrays."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.arrays import is_array, is_with_rate, split_rate
from gemma4_mlx.media.container import check_length
from gemma4_mlx.media.decode import check_memory, check_pixels, png_orientation
from gemma4_mlx.media.heif import is_avif, is_heic
from gemma4_mlx.media.images import Patches, cut_up, load_image
from gemma4_mlx.media.pixels import orientation_of
from gemma4_mlx.media.png import SIGNATURE, animated_png, read_png
from gemma4_mlx.media.salvage import Decoded, broken
from gemma4_mlx.media.signatures import HEAD_BYTES, kind_by_head
from gemma4_mlx.media.sources import MediaLimits, Source, read_source
from gemma4_mlx.media.tables import top_boxes
from gemma4_mlx.media.webp import whole_part

if TYPE_CHECKING:
    from PIL import Image

_FRAMES = "video array"  # in messages
_MOST_BYTES = 2**30  # of a file that its decoder reads whole
_MOST_PIXELS = 10**11  # of all frames; minutes of decoding
_SHORTEST = 0.0101  # seconds; browsers show frames that state 10 ms or less ...
_USUAL = 0.1  # ... for this long


@dataclass(frozen=True, slots=True, eq=False)
class Stills:
    """A video's images.

    Attributes:
        times: when each is shown, in seconds from the first one.
        end: when the last one's time is over.
        pick: the patches of the images with these numbers, ascending, at a budget.
    """

    times: np.ndarray
    end: float
    pick: Callable[[Sequence[int], int], list[Patches]]


def given_stills(source: Any, limits: MediaLimits) -> Stills | None:
    """Frames given as (frames, fps); None for any other source.

    Args:
        source: frames are an array (n, H, W), (n, H, W, 3 or 4) or (n, 3, H, W), or a list of what `load_image` takes.

    Raises:
        GemmaError: frames without fps, no frames, or more than the limits.
    """
    if not is_with_rate(source):
        if is_array(source) or hasattr(source, "getexif") or isinstance(source, list | tuple):
            raise GemmaError(f"{_FRAMES}: give its frames a second too, as (frames, fps)")
        return None
    frames, fps = split_rate(source, _FRAMES)
    _check_shape(frames)
    _check_count(len(frames), _FRAMES, limits)
    check_length(len(frames) / fps, "video", _FRAMES, limits.max_video_seconds)

    def pick(numbers: Sequence[int], budget: int) -> list[Patches]:
        return [_given(frames, number, budget, limits) for number in numbers]

    return Stills(np.arange(len(frames)) / fps, len(frames) / fps, pick)


def _check_shape(frames: Any) -> None:
    shape = tuple(frames.shape) if is_array(frames) else (len(frames), None, None, None)
    if len(shape) not in (3, 4) or (len(shape) == 3 and shape[2] <= 4):  # one image with its colours
        raise GemmaError(f"{_FRAMES}: shape {shape} is none of (n, H, W), (n, H, W, 3), (n, H, W, 4), (n, 3, H, W)")
    if not shape[0]:
        raise GemmaError(f"{_FRAMES}: has no frames")


def _given(frames: Any, number: int, budget: int, limits: MediaLimits) -> Patches:
    try:
        return load_image(frames[int(number)], budget, limits)
    except GemmaError as error:
        raise GemmaError(f"{_FRAMES}: frame {number}: {error}") from error


def animated_stills(source: Source, limits: MediaLimits) -> Stills | None:
    """The frames of an animated image; None if the file is no image.

    Raises:
        GemmaError: an image that isn't animated, broken, or larger than the limits.
    """
    with source.opened() as file:
        kind = kind_by_head(file.read(HEAD_BYTES))
    if kind.medium != "image" or _has_track(source):
        return None
    with _opened(source, limits) as animation:
        if animation is None or animation.count < 2:
            raise GemmaError(f"{source.name}: is {kind.name} without animation, not a video: give it as an image")
        _check_count(animation.count, source.name, limits)
        seconds = [duration for duration, _ in animation.frames(source)]
    if not seconds:
        raise broken(source.name)
    ends = np.cumsum(seconds)
    check_length(float(ends[-1]), "video", source.name, limits.max_video_seconds)

    def pick(numbers: Sequence[int], budget: int) -> list[Patches]:
        return list(_picked(source, limits, numbers, budget))

    return Stills(np.concatenate(([0.0], ends[:-1])), float(ends[-1]), pick)


def is_animated(path: str) -> bool:
    """Whether a file is an image with more than one frame. Never raises."""
    limits = MediaLimits()
    with suppress(GemmaError):
        source = read_source(path, limits)
        with _opened(source, limits) as animation:
            return _has_track(source) or (animation is not None and animation.count > 1)
    return False


def _has_track(source: Source) -> bool:
    """Whether it is a HEIC file with a video in it, as cameras write bursts; FFmpeg reads that."""
    with source.opened() as file:
        head = file.read(HEAD_BYTES)
        if is_avif(head) or not is_heic(head):
            return False
        return any(box.kind == b"moov" for box in top_boxes(file, file.seek(0, io.SEEK_END)))


def _picked(source: Source, limits: MediaLimits, numbers: Sequence[int], budget: int) -> Iterator[Patches]:
    wanted = set(numbers)
    with _opened(source, limits) as animation:
        assert animation is not None
        for number, (_, image) in enumerate(animation.frames(source)):
            if number in wanted:
                yield cut_up(source.name, Decoded(image.copy(), animation.orientation), budget)
            if number == max(wanted):
                return


@dataclass(frozen=True, slots=True)
class _Animation:
    """An opened file.

    Attributes:
        image: Pillow's.
        count: how many frames the file says it has.
        first: the number of its first frame; 1 if there is an image in front that is no part of the animation.
        orientation: as EXIF states it.
    """

    image: Any
    count: int
    first: int
    orientation: int

    def frames(self, source: Source) -> "Iterator[tuple[float, Image.Image]]":
        """Each frame with the seconds for which it is shown; a note if there are fewer than there should be."""
        for number in range(self.count):
            try:
                self.image.seek(number + self.first)
                self.image.load()
            except Exception:  # a decoder may raise anything on hostile data
                source.note(f"is damaged or cut short: only its first {number} frames are used")
                return
            stated = float(self.image.info.get("duration") or 0) / 1000
            yield stated if stated >= _SHORTEST else _USUAL, self.image


@contextmanager
def _opened(source: Source, limits: MediaLimits) -> Iterator[_Animation | None]:
    """The animation in a file; None if it is of a kind that has none. Checks the size before anything is decoded."""
    with source.opened() as stream:
        head = stream.read(256)
        stream.seek(0)
        orientation = None
        if head.startswith(SIGNATURE):
            image, orientation = _open_png(source, stream)
        else:
            image = _open_other(source, stream, head)
        if image is None:
            yield None
            return
        check_pixels(source.name, image.width, image.height, limits, limits.max_frame_pixels)
        check_memory(source.name, image, stream.seek(0, io.SEEK_END), limits)
        first = int(bool(getattr(image, "default_image", False)))
        count = _frames_in(image, source) - first
        if count * image.width * image.height > _MOST_PIXELS:
            size = f"{count} frames of {image.width} x {image.height} pixels"
            raise GemmaError(f"{source.name}: {size} would take too long to decode; cut it or make it smaller first")
        yield _Animation(image, count, first, orientation_of(image) if orientation is None else orientation)


def _frames_in(image: Any, source: Source) -> int:
    try:
        return int(image.n_frames)
    except Exception as error:  # a decoder may raise anything on hostile data
        raise broken(source.name) from error


def _open_png(source: Source, stream: IO[bytes]) -> tuple[Any, int]:
    from PIL.PngImagePlugin import PngImageFile

    try:
        png = read_png(stream)
        return (PngImageFile(animated_png(stream)) if png.is_animated else None), png_orientation(png)
    except Exception as error:  # a decoder may raise anything on a hostile header
        raise broken(source.name) from error


def _open_other(source: Source, stream: IO[bytes], head: bytes) -> Any:
    from PIL.AvifImagePlugin import AvifImageFile
    from PIL.GifImagePlugin import GifImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    try:
        if head.startswith(b"GIF8"):
            return GifImageFile(stream)
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return WebPImageFile(io.BytesIO(_whole_webp(source, stream)))
        if head[4:8] == b"ftyp" and is_avif(head):
            return AvifImageFile(io.BytesIO(stream.read(_MOST_BYTES)))
    except Exception as error:  # likewise
        raise broken(source.name) from error
    return None


def _whole_webp(source: Source, stream: IO[bytes]) -> bytes:
    """The file, or of a cut one the whole frames."""
    data = stream.read(_MOST_BYTES)
    if int.from_bytes(data[4:8], "little") + 8 <= len(data):
        return data
    source.note("is cut short: all whole frames are used")
    return whole_part(data) or data


def _check_count(count: int, name: str, limits: MediaLimits) -> None:
    if count > limits.max_video_frames:
        raise GemmaError(f"{name}: has more than {limits.max_video_frames} frames; cut it first")
