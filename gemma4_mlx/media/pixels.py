"""Pixels of any kind to upright RGB with 8 bits: transparency on white, more bits scaled down."""

from typing import TYPE_CHECKING

import numpy as np

from gemma4_mlx.errors import GemmaError

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION_TAG = 0x0112
_LEVELS = "levels of black and white"  # key of Image.info, which goes with every crop and turn


def orientation_of(image: "Image.Image") -> int:
    """The EXIF orientation, 1 to 8; TIFF and HEIC decoders have applied it by now."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # broken metadata beside sound pixels
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def upright(image: "Image.Image", orientation: int) -> "Image.Image":
    """Turn and mirror as the EXIF orientation says."""
    from PIL.Image import Transpose

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


def keep_levels(image: "Image.Image") -> None:
    """Put into `info` what black and white are in 16 bits, if they are not 0 and 65535."""
    levels = getattr(image, "levels", None)
    if levels is not None and image.mode.startswith("I;16"):
        image.info[_LEVELS] = levels


def to_rgb(image: "Image.Image") -> "Image.Image":
    """Any mode to RGB.

    Raises:
        GemmaError: pixels whose range is not defined.
    """
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray(_grey_of_16_bits(image)).convert("RGB")
    if image.mode in ("I", "F"):
        raise GemmaError("pixels of 32 bits have no defined range; save the image with 8 or 16 bits first")
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_of_16_bits(image: "Image.Image") -> np.ndarray:
    pixels, (black, white) = np.asarray(image).astype(np.int64), image.info.get(_LEVELS, (0, 0xFFFF))
    grey = ((2 * 255 * (pixels - black) // (white - black) + 1) // 2).clip(0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[pixels == transparent] = 255
    return grey


def _from_lab(image: "Image.Image") -> "Image.Image":
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted
