"""What a damaged image still gives, when its decoder only says that it failed.

Pixels that come from the file are the same whatever takes the place of those that don't: so the file is decoded several
times, over other pixels or completed with other bytes, and what agrees is used.
"""

import contextlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.pixels import keep_levels, orientation_of, to_rgb
from gemma4_mlx.media.sources import Source

if TYPE_CHECKING:
    from PIL import Image

_ENOUGH = 3  # completions of a file: what they agree in is no chance
_ROWS = 64  # compared at a time

Open = Callable[[IO[bytes]], "Image.Image"]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Pixels as they are stored, and the EXIF orientation that turns them upright."""

    image: "Image.Image"
    orientation: int = 1


def broken(name: str) -> GemmaError:
    """The error for an image of which nothing is left."""
    return GemmaError(f"{name}: the image is broken or cut short")


def note_rows(source: Source, rows: int, height: int) -> None:
    """Say how much of a damaged image is used."""
    if rows == height:
        source.note("is damaged or cut short: pixels that are missing are filled from those beside them")
        return
    source.note(f"is damaged or cut short: only {rows} of its {height} rows of pixels are used")


def salvaged(source: Source, first: Any, second: Any, orientation: int | None = None) -> Decoded:
    """The same file opened twice, decoded over black and over white.

    Raises:
        GemmaError: nothing of it is left.
    """
    keep = _spread if _is_interlaced(first) else _longest_run
    return _kept(source, [_decoded_over(first, 0), _decoded_over(second, 255)], keep, orientation)


def completed(source: Source, files: Iterable[bytes], decoder: Open) -> Decoded:
    """A file that was completed in several ways, most of which may be no sound file.

    Raises:
        GemmaError: nothing of it is left.
    """
    images: list[Any] = []
    for file in files:
        with contextlib.suppress(Exception):
            image = decoder(io.BytesIO(file))
            image.load()
            images.append(image)
        if len(images) == _ENOUGH:
            break
    return _kept(source, images, _longest_run)


def _kept(
    source: Source, images: list[Any], keep: Callable[[list[Any]], Any], orientation: int | None = None
) -> Decoded:
    try:
        image = keep(images) if len(images) > 1 else None
    except Exception as error:
        raise broken(source.name) from error
    if image is None:
        raise broken(source.name)
    note_rows(source, image.height, images[0].height)
    return Decoded(image, orientation_of(images[0]) if orientation is None else orientation)


def _is_interlaced(image: Any) -> bool:
    """Whether rows come in another order than from the top, so that what is missing lies between them."""
    return bool(image.info.get("interlace") or (image.format == "GIF" and image.tile and image.tile[0][3][1]))


def _decoded_over(image: Any, value: int) -> Any:
    """Decode as far as it goes, over pixels of one value."""
    keep_levels(image)
    prepare = image.load_prepare

    def prepare_over() -> None:
        prepare()
        level = value * 257 if image.im.mode.startswith("I;16") else value
        image.im.paste((level,) * image.im.bands if image.im.bands > 1 else level, (0, 0, *image.im.size))

    image.load_prepare = prepare_over
    with contextlib.suppress(Exception):
        image.load()
    image.tile = []
    return image


def _longest_run(images: list[Any]) -> "Image.Image | None":
    """The rows that agree: those at the top, or at the bottom if they are stored upwards."""
    first = images[0]
    same = np.zeros(first.height + 2, dtype=np.int8)
    for top in range(0, first.height, _ROWS):
        box = (0, top, first.width, min(first.height, top + _ROWS))
        same[1 + top : 1 + box[3]] = _agreement(images, box).all(axis=1)
    edges = np.flatnonzero(np.diff(same))
    if not len(edges):
        return None
    longest = 2 * int(np.argmax(edges[1::2] - edges[::2]))
    cropped: Image.Image = first.crop((0, int(edges[longest]), first.width, int(edges[longest + 1])))
    return cropped


def _agreement(images: list[Any], box: tuple[int, int, int, int]) -> np.ndarray:
    """Where all images have the same pixels: bool (rows, columns)."""
    first, *others = (np.asarray(image.crop(box)) for image in images)
    same = np.logical_and.reduce([first == other for other in others])
    return same if same.ndim == 2 else same.all(axis=2)


def _spread(images: list[Any]) -> "Image.Image | None":
    """Of interlaced rows: pixels that are missing take the value of the next one to the left, or above."""
    from PIL import Image

    first = images[0]
    known = _agreement(images, (0, 0, first.width, first.height))
    rows = np.flatnonzero(known[:, 0])
    if not len(rows):
        return None
    rgb, columns = np.asarray(to_rgb(first)), np.arange(first.width)
    bottom = min(first.height, int(rows[-1] + np.diff(rows, append=rows[-1] + 1).max()))
    left = np.maximum.accumulate(np.where(known, columns, 0), axis=1)[rows]
    above = np.searchsorted(rows, np.arange(bottom), side="right") - 1
    spread = np.take_along_axis(rgb[rows], left[..., None], axis=1)[above.clip(0)]
    return Image.fromarray(np.ascontiguousarray(spread))
