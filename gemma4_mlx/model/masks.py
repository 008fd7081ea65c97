"""Attention masks: full layers are plain causal; sliding layers see `(causal OR same vision block) AND window`.

The rule is that of google-deepmind/gemma and of transformers' `create_masks_for_vision_model`. A vision block is a
contiguous run of image or video placeholders; audio and text are causal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

Block = tuple[int, int]
"""First position of a vision block, and the position after its last."""

Mask = mx.array | str | None
"""What `mx.fast.scaled_dot_product_attention` takes: booleans `(L, S)`, "causal" (aligned to the last key), or None."""


@dataclass(frozen=True, slots=True)
class Masks:
    """One mask for each kind of layer."""

    full: Mask
    sliding: Mask


def make_masks(length: int, offset: int, window: int, blocks: Sequence[Block]) -> Masks:
    """Masks for `length` queries at positions from `offset` on.

    Full layers hold keys from position 0; sliding layers hold at most `window - 1` keys before `offset`. `blocks` are
    in absolute positions, and each must lie inside or outside the queries as a whole.
    """
    if length == 1:
        return Masks(None, None)
    past = min(offset, window - 1)
    inside = [(start, stop) for start, stop in blocks if offset <= start and stop <= offset + length]
    if not inside and past + length <= window:
        return Masks("causal", "causal")
    return Masks("causal", mx.array(sliding_mask(length, past, window, [(a - offset, b - offset) for a, b in inside])))


def sliding_mask(length: int, past: int, window: int, blocks: Sequence[Block]) -> np.ndarray:
    """Booleans `(length, past + length)`: may query i, with `past` keys before the first query, see key j?

    `blocks` count from the first query.
    """
    queries = np.arange(length)[:, None]
    keys = np.arange(-past, length)[None, :]
    seen = keys <= queries
    for start, stop in blocks:
        seen[start:stop, past + start : past + stop] = True
    return seen & (queries - keys < window)
