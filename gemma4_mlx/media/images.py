"""Images to patches, as the published processor makes them: resize to a token budget, cut into 48 x 48 squares.

Sizes follow transformers' `Gemma4UnifiedImageProcessor` (get_aspect_ratio_preserving_size).
"""

import math
import warnings
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.sources import MediaLimits, Source, read_source

if TYPE_CHECKING:
    from PIL import Image

PATCH = 48
BUDGETS = (70, 140, 280, 560, 1120)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION_TAG = 0x0112


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
        source: what `read_source` accepts, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of
            uint8 or float 0..1.
        budget: one of BUDGETS.

    Raises:
        GemmaError: not an image of a known format, broken, or larger than the limits.
        UsageError: a budget the model was not trained with.
    """
    from PIL import Image

    check_budget(budget)
    if not isinstance(source, np.ndarray | Image.Image):
        source = read_source(source, limits)
    with warnings.catch_warnings(action="ignore"):  # of odd metadata, and of sizes on which our own limit decides
        patches = to_patches(_to_rgb_image(source, limits), budget)
    return replace(patches, notes=tuple(source.notes)) if isinstance(source, Source) else patches


def to_patches(image: "Image.Image | np.ndarray", budget: int, patch: int = PATCH) -> Patches:
    """Resize an RGB image (PIL, or uint8 (H, W, 3)) to whole patches (bicubic, antialiased) and cut it up."""
    from PIL import Image

    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    width, height = target_size(image.width, image.height, budget, patch)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    columns, rows = width // patch, height // patch
    return as_patches(np.asarray(image).reshape(rows, patch, columns, patch, 3).transpose(0, 2, 1, 3, 4))


def as_patches(squares: np.ndarray) -> Patches:
    """From uint8 (rows, columns, patch, patch, 3)."""
    rows, columns = squares.shape[:2]
    y, x = np.divmod(np.arange(rows * columns, dtype=np.int32), np.int32(columns))
    return Patches(squares.reshape(rows * columns, -1), np.stack((x, y), axis=1))


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


def _to_rgb_image(source: "Source | np.ndarray | Image.Image", limits: MediaLimits) -> "Image.Image":
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if not isinstance(source, Source):
        return _guarded("image", source, limits)
    with source.opened() as stream:
        return _guarded(source.name, _open(source, stream), limits)


def _open(source: Source, stream: IO[bytes]) -> "Image.Image":
    """Read the header only, with none but the listed decoders."""
    from PIL import Image

    head = stream.read(12)
    stream.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return _open_heic(source, stream)
    try:
        return Image.open(stream, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise GemmaError(f"{source.name}: has more pixels than any image should; make it smaller first") from error
    except Exception as error:  # a decoder may raise anything on a hostile header
        raise GemmaError(
            f"{source.name}: is not a PNG, JPEG, WebP, GIF, BMP, TIFF or HEIC image, or it is broken"
        ) from error


def _open_heic(source: Source, stream: IO[bytes]) -> "Image.Image":
    try:
        import pillow_heif
    except ImportError as error:
        raise GemmaError(f"{source.name}: HEIC images need one more package: pip install 'gemma4-mlx[heic]'") from error
    try:
        return pillow_heif.HeifImageFile(stream)
    except Exception as error:
        raise GemmaError(f"{source.name}: the HEIC image is broken or cut short") from error


def _guarded(name: str, image: "Image.Image", limits: MediaLimits) -> "Image.Image":
    """Check the size, decode, turn upright and convert; any failure of the decoder becomes one line."""
    _check_pixels(name, image.width, image.height, limits)
    try:
        image.load()
        return _flattened(_upright(image))
    except GemmaError as error:
        raise GemmaError(f"{name}: {error}") from error
    except Exception as error:  # a decoder may raise anything on hostile data
        raise GemmaError(f"{name}: the image is broken or cut short") from error


def _check_pixels(name: str, width: int, height: int, limits: MediaLimits) -> None:
    if min(width, height) < 1:
        raise GemmaError(f"{name}: an image of {width} x {height} pixels shows nothing")
    if width * height > limits.max_pixels:
        limit = f"{limits.max_pixels / 10**6:g} megapixels"
        raise GemmaError(f"{name}: {width} x {height} pixels are more than the limit of {limit}; make it smaller first")


def _upright(image: "Image.Image") -> "Image.Image":
    """Apply the EXIF orientation (2-8); TIFF and HEIC decoders have done so by now."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # broken metadata beside sound pixels
        return image
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _flattened(image: "Image.Image") -> "Image.Image":
    """Any mode to RGB: transparency on white, 16 bits scaled to 8."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise GemmaError("pixels of 32 bits have no defined range; save the image with 8 or 16 bits first")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: np.ndarray, limits: MediaLimits) -> "Image.Image":
    from PIL import Image

    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise GemmaError(f"image array: shape {array.shape} is none of (H, W), (H, W, 3), (H, W, 4)")
    _check_pixels("image array", array.shape[1], array.shape[0], limits)
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # false for NaN too
            raise GemmaError("image array: floating-point pixels must lie between 0 and 1")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise GemmaError(f"image array: {array.dtype} pixels; pass uint8, or floating point between 0 and 1")
    return _flattened(Image.fromarray(np.ascontiguousarray(array)))
