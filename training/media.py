"""Media as the model receives it: the same arithmetic as the package's processors, on arrays made in memory."""

import math

import numpy as np
from PIL import Image

PATCH, BUDGET, FRAME, RATE = 48, 70, 640, 16000


def grid(width: int, height: int, budget: int = BUDGET) -> tuple[int, int]:
    """(columns, rows) of 48-pixel patches for an image, at most `budget`, aspect preserved, small images scaled up."""
    factor = math.sqrt(budget * PATCH * PATCH / (width * height))
    columns, rows = int(factor * width / PATCH), int(factor * height / PATCH)
    if columns and rows:
        return columns, rows
    longest = min(max(width, height) // min(width, height), budget)
    return (longest, 1) if width > height else (1, longest)


def patches(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """An RGB picture as uint8 [n, 6912] (row, column, channel within a patch) and its (x, y) positions [n, 2]."""
    columns, rows = grid(*image.size)
    size = (columns * PATCH, rows * PATCH)
    pixels = np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BICUBIC))
    tiles = pixels.reshape(rows, PATCH, columns, PATCH, 3).transpose(0, 2, 1, 3, 4)
    y, x = np.divmod(np.arange(rows * columns), columns)
    return tiles.reshape(rows * columns, -1), np.stack((x, y), 1)


def frames(samples: np.ndarray) -> np.ndarray:
    """Mono float samples at 16 kHz as [ceil(n / 640), 640], zero-padded."""
    count = -(-len(samples) // FRAME)
    return np.pad(samples, (0, count * FRAME - len(samples))).reshape(count, FRAME).astype(np.float32)


def sampled_frames(total: int, wanted: int) -> list[int]:
    """Indices of the frames of a video that the model sees."""
    wanted = min(wanted, total)
    return [i * total // wanted for i in range(wanted)]
