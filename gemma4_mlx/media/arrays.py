"""Arrays in place of files, from NumPy, MLX, PyTorch and others: of samples, pixels and frames, in any usual layout."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np

from gemma4_mlx.errors import GemmaError

_RATE_KEYS = ("sampling_rate", "sample_rate", "rate", "fps")
_SAMPLE_KEYS = ("array", "samples", "frames")
_COLOURS = (1, 3, 4)
_LOUDEST = 16.0  # of floating-point samples whose full scale is 1; more were never divided by theirs
_LIST_NUMBERS = 2**20  # in a list at a time
_SAMPLE_TYPES = "float, int32, int16, int8 or uint8"
_PIXEL_TYPES = "uint8, bool, or floating point between 0 and 1"


def is_array(value: Any) -> bool:
    """Whether a value is an array of numbers of whatever library. Images of Pillow are none."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def is_with_rate(value: Any) -> bool:
    """Whether a value is an array, or a list of numbers or frames, in a pair with its rate."""
    if isinstance(value, Mapping):
        return any(key in value for key in _SAMPLE_KEYS)
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and any(isinstance(one, Real) and _is_several(other) for one, other in (value, value[::-1]))


def _is_several(value: Any) -> bool:
    return is_array(value) or (isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray))


def split_rate(value: Any, name: str) -> tuple[Any, float]:
    """What is in (several, rate), (rate, several) or {"array": several, "sampling_rate": rate}, in this order.

    Raises:
        GemmaError: it is no such pair, or the rate no number over 0.
    """
    if isinstance(value, Mapping):
        several = next((value[key] for key in _SAMPLE_KEYS if key in value), None)
        value = (several, next((value[key] for key in _RATE_KEYS if key in value), None))
    if len(value) != 2:
        raise GemmaError(f"{name}: expected a pair with its rate, not {len(value)} values")
    several, rate = value[::-1] if isinstance(value[0], Real) and not isinstance(value[1], Real) else value
    if not isinstance(rate, Real) or isinstance(rate, bool) or not 0 < float(rate) < np.inf:
        raise GemmaError(f"{name}: its rate must be a number over 0, not {rate!r:.40}")
    if isinstance(several, str | bytes | bytearray | PathLike):
        raise GemmaError(f"{name}: {type(several).__name__} in the place of an array; a file is given without a rate")
    return several, float(rate)


def as_numpy(value: Any, name: str) -> np.ndarray:
    """The array as NumPy's: numbers that it can't hold, bfloat16 or on another device, become float32.

    Raises:
        GemmaError: they can't be read at all.
    """
    try:
        return np.asarray(value)
    except Exception:  # each library has its own
        with suppress(Exception):
            return _by_lists(value)
    kind = getattr(value, "dtype", type(value).__name__)
    raise GemmaError(f"{name}: numbers of {kind} can't be read; convert it to float32 in the main memory first")


def _by_lists(value: Any) -> np.ndarray:
    """Through Python's numbers, a part at a time: they take ten times the memory."""
    rows = max(1, _LIST_NUMBERS * len(value) // max(1, math.prod(value.shape)))
    parts = [np.array(value[start : start + rows].tolist(), np.float32) for start in range(0, len(value), rows)]
    return np.concatenate(parts)


def sound_samples(several: Any, name: str) -> np.ndarray:
    """Samples as (n, channels) in a number format whose full scale is known.

    Args:
        several: (n,), (n, channels) or (channels, n), whose longer side is time; sides of 1 in front are left out.

    Raises:
        GemmaError: another shape or number format, or numbers that are 16-bit ones in another format.
    """
    array = as_numpy(several, name)
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim not in (1, 2):
        raise GemmaError(f"{name}: shape {array.shape} is none of (n,), (n, channels), (channels, n)")
    if array.dtype.kind != "f" and array.dtype.str[1:] not in ("i4", "i2", "i1", "u1"):
        raise GemmaError(f"{name}: {array.dtype} samples have no known full scale; pass {_SAMPLE_TYPES}")
    _check_scale(array, name)
    columns = array.reshape(-1, 1) if array.ndim == 1 else array
    return columns.T if 0 < columns.shape[0] < columns.shape[1] else columns


def _check_scale(array: np.ndarray, name: str) -> None:
    """Raise GemmaError for 16-bit samples in a wider number format: they would be noise, or silence."""
    peak = max(-float(array.min(initial=0)), float(array.max(initial=0)))  # NaN if one is: refused later, like infinity
    if array.dtype.kind == "f" and _LOUDEST < peak < np.inf:
        raise GemmaError(f"{name}: floating-point samples must lie between -1 and 1; divide 16-bit ones by 32768")
    if array.dtype.str[1:] == "i4" and 0 < peak <= 2**15:
        raise GemmaError(f"{name}: int32 samples of at most 32768 are 16-bit ones; pass them as int16")


def image_pixels(value: Any, name: str) -> np.ndarray:
    """Pixels as uint8 (H, W), (H, W, 3) or (H, W, 4).

    Args:
        value: these, (H, W, 1), or the same with the colours in front; uint8, bool, or floating point 0..1.

    Raises:
        GemmaError: another shape, number format or range.
    """
    array = as_numpy(value, name)
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    if array.ndim == 3 and array.shape[2] not in _COLOURS and array.shape[0] in _COLOURS:
        array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _COLOURS):
        cure = "; give several images as a list" if array.ndim == 4 else ""
        raise GemmaError(f"{name}: shape {array.shape} is none of (H, W), (H, W, 3), (H, W, 4), (3, H, W){cure}")
    array = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.dtype.kind == "f":
        if array.size and not (array.min() >= 0 and array.max() <= 1):  # true for NaN too
            raise GemmaError(f"{name}: floating-point pixels must lie between 0 and 1")
        return np.rint(array * 255).astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise GemmaError(f"{name}: {array.dtype} pixels; pass {_PIXEL_TYPES}")
    return array
