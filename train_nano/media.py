"""Media as the model receives it, cut from arrays made in memory."""

import numpy as np
from PIL import Image

from gemma4_mlx.media.images import to_patches

BUDGET, FRAME, RATE = 70, 640, 16000


def patches(image: Image.Image, budget: int = BUDGET) -> tuple[np.ndarray, np.ndarray]:
    """An RGB picture as uint8 [n, 6912] (row, column, channel within a patch) and its (x, y) positions [n, 2]."""
    cut = to_patches(image, budget)
    return cut.pixels, cut.positions.astype(np.int64)


def frames(samples: np.ndarray) -> np.ndarray:
    """Mono float samples at 16 kHz as [ceil(n / 640), 640], zero-padded."""
    count = -(-len(samples) // FRAME)
    return np.pad(samples, (0, count * FRAME - len(samples))).reshape(count, FRAME).astype(np.float32)


def sampled_frames(total: int, wanted: int) -> list[int]:
    """Indices of the frames of a video that the model sees."""
    wanted = min(wanted, total)
    return [i * total // wanted for i in range(wanted)]
