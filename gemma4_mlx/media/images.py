"""Images to patches, as the published processor makes them: resize to a token budget, cut into 48 x 48 squares.

Sizes follow transformers' `Gemma4UnifiedImageProcessor` (get_aspect_ratio_preserving_size).
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.arrays import image_pixels, is_array
from gemma4_mlx.media.decode import LARGE, check_pixels, decode_file, decode_png, open_png, png_orientation
from gemma4_mlx.media.pixels import orientation_of, to_rgb, upright
from gemma4_mlx.media.png import Png, strips
from gemma4_mlx.media.resize import resized_squares
from gemma4_mlx.media.salvage import Decoded, broken, note_rows
from gemma4_mlx.media.sources import MediaLimits, Source, read_source

if TYPE_CHECKING:
    from PIL import Image

PATCH = 48
BUDGETS = (70, 140, 280, 560, 1120)
_LYING = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ROWS = 64  # converted at a time


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """One image cut into patches in raster order.

    Attributes:
        pixels: uint8 (n, 6912), each row one 48 x 48 patch flattened as (row, column, channel).
        positions: int32 (n, 2), the patch's column and row.
        notes: what the user should know of how the file was read; empty where there is nothing to say.
    """

    pixels: np.ndarray
    positions: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)


def load_image(source: Any, budget: int = 280, limits: MediaLimits = MediaLimits()) -> Patches:
    """Decode an image and cut it into at most `budget` patches.

    Args:
        source: what `read_source` accepts, a PIL image, or an array (H, W), (H, W, 3), (H, W, 4) or (3, H, W) of
            uint8, bool or float 0..1, also of MLX or PyTorch.
        budget: one of BUDGETS.

    Raises:
        GemmaError: not an image of a known format, broken, or larger than the limits.
        UsageError: a budget the model was not trained with.
    """
    from PIL import Image

    check_budget(budget)
    with warnings.catch_warnings(action="ignore"):  # of odd metadata, and of sizes on which our own limit decides
        if is_array(source):
            return to_patches(_from_array(source, limits), budget)
        if isinstance(source, Image.Image):
            return _from_image(source, budget, limits)
        source = read_source(source, limits)
        with source.opened() as stream:
            patches = _read(source, stream, budget, limits)
    return replace(patches, notes=source.log_notes())


def to_patches(image: "Image.Image | np.ndarray", budget: int, patch: int = PATCH) -> Patches:
    """Resize an RGB image (PIL, or uint8 (H, W, 3)) to whole patches (bicubic, antialiased) and cut it up."""
    from PIL import Image

    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    width, height = target_size(image.width, image.height, budget, patch)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return _cut(image, patch)


def as_patches(squares: np.ndarray) -> Patches:
    """From uint8 (rows, columns, patch, patch, 3)."""
    rows, columns = squares.shape[:2]
    y, x = np.divmod(np.arange(rows * columns, dtype=np.int32), np.int32(columns))
    return Patches(squares.reshape(rows * columns, -1), np.stack((x, y), axis=1))


def _cut(image: "Image.Image", patch: int = PATCH) -> Patches:
    columns, rows = image.width // patch, image.height // patch
    return as_patches(np.asarray(image).reshape(rows, patch, columns, patch, 3).transpose(0, 2, 1, 3, 4))


def _joined(squares: np.ndarray) -> np.ndarray:
    """From (rows, columns, side, side, 3) back to (height, width, 3)."""
    rows, columns, side = squares.shape[:3]
    return squares.transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3)


def target_size(width: int, height: int, budget: int, patch: int = PATCH) -> tuple[int, int]:
    """The size in whole patches, at most `budget` of them, nearest below the area that keeps the aspect ratio."""
    scale = math.sqrt(budget * patch**2 / (width * height))
    columns, rows = math.floor(scale * width / patch), math.floor(scale * height / patch)
    if rows == 0:
        rows, columns = 1, min(width // height, budget)
    elif columns == 0:
        rows, columns = min(height // width, budget), 1
    return columns * patch, rows * patch


def check_budget(budget: int) -> None:
    """Raise UsageError unless the model was trained with this many tokens an image."""
    if budget not in BUDGETS:
        raise UsageError(f"{budget} tokens an image: choose one of {', '.join(map(str, BUDGETS))}")


def _read(source: Source, stream: IO[bytes], budget: int, limits: MediaLimits) -> Patches:
    png = open_png(source, stream, limits)
    if png is None:
        return cut_up(source.name, decode_file(source, stream, limits), budget)
    if png.size[0] * png.size[1] <= LARGE or not png.has_strips:
        return cut_up(source.name, decode_png(source, png, stream, limits), budget)
    return _from_strips(source, png, stream, budget)


def _from_image(image: "Image.Image", budget: int, limits: MediaLimits) -> Patches:
    check_pixels("image", image.width, image.height, limits)
    try:
        image.load()
    except Exception as error:  # a decoder may raise anything on hostile data
        raise broken("image") from error
    return cut_up("image", Decoded(image, orientation_of(image)), budget)


def cut_up(name: str, decoded: Decoded, budget: int) -> Patches:
    """Upright, in RGB, resized and cut into patches; any failure becomes one line."""
    image, orientation = decoded.image, decoded.orientation
    try:
        if image.width * image.height <= LARGE:
            return to_patches(to_rgb(upright(image, orientation)), budget)
        return _from_rows(_rows_of(image), image.size, orientation, budget)[0]
    except GemmaError as error:
        raise GemmaError(f"{name}: {error}") from error
    except Exception as error:
        raise broken(name) from error


def _rows_of(image: "Image.Image") -> "Iterator[Image.Image]":
    for top in range(0, image.height, _ROWS):
        yield image.crop((0, top, image.width, min(image.height, top + _ROWS)))


def _from_strips(source: Source, png: Png, stream: IO[bytes], budget: int) -> Patches:
    """From a file that may have fewer rows than it states: then it is read again as the smaller image it is."""
    width, height = png.size
    try:
        orientation = png_orientation(png)
        patches, rows = _from_rows(strips(png, stream), png.size, orientation, budget)
        if 0 < rows < height:
            note_rows(source, rows, height)
            patches, _ = _from_rows(strips(png, stream), (width, rows), orientation, budget)
    except Exception as error:
        raise broken(source.name) from error
    if rows == 0:
        raise broken(source.name)
    return patches


def _from_rows(
    parts: "Iterable[Image.Image]", size: tuple[int, int], orientation: int, budget: int
) -> tuple[Patches, int]:
    """From the stored image's rows, a few at a time, and how many came; it is turned when it is small."""
    from PIL import Image

    lies = orientation in _LYING
    target = target_size(*(size[::-1] if lies else size), budget)
    arrays = (np.asarray(to_rgb(part)) for part in parts)
    squares, rows = resized_squares(arrays, size[1], target[::-1] if lies else target, PATCH)
    return _cut(upright(Image.fromarray(_joined(squares)), orientation)), rows


def _from_array(value: Any, limits: MediaLimits) -> "Image.Image":
    from PIL import Image

    array = image_pixels(value, "image array")
    check_pixels("image array", array.shape[1], array.shape[0], limits)
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)))
