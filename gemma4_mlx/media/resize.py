"""Resizing an image of which a few rows are there at a time, so that it is never held whole in RGB.

Pixels are those of resizing the whole image with Pillow, which does so in two passes and rounds to 8 bits after each.
If it goes along rows first, the first pass can be made of a few rows at a time, and the second of a few columns.
Pillow 13 goes along columns first if that is less work: then pixels at sharp edges differ by some levels.
"""

import mmap
from collections.abc import Iterable

import numpy as np


def resized_squares(
    strips: Iterable[np.ndarray], height: int, target: tuple[int, int], side: int
) -> tuple[np.ndarray, int]:
    """Resize to `target` (width, height) and cut up.

    Args:
        strips: uint8 (rows, width, 3) from the top, at most `height` rows in all.
        side: of a square, in pixels; divides the target.

    Returns:
        uint8 (rows, columns, side, side, 3), and how many rows the strips had; what they lack is black.
    """
    wide, high = target
    # What stays is made first, and the largest piece that goes is no part of the heap: so that leaves no holes in it.
    squares = np.empty((high // side, wide // side, side, side, 3), dtype=np.uint8)
    narrow = np.ndarray((height, wide, 3), np.uint8, mmap.mmap(-1, height * wide * 3))
    top = 0
    for strip in strips:
        narrow[top : top + len(strip)] = _resized(strip, wide, len(strip))
        top += len(strip)
    for column in range(wide // side):
        stripe = _resized(narrow[:, column * side : (column + 1) * side], side, high)
        squares[:, column] = stripe.reshape(-1, side, side, 3)
    return squares, top


def _resized(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
