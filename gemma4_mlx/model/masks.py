"""Which keys a sliding layer's queries see: `(causal OR same vision block) AND window`. Full layers are plain causal.

The rule is that of google-deepmind/gemma and of transformers' `create_masks_for_vision_model`. A vision block is a
contiguous run of image or video placeholders; audio and text are causal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

Block = tuple[int, int]
"""First position of a vision block, and the position after its last."""

TILE = 256
"""Queries of a sliding layer that are attended to at once: what they see beside their own windows is wasted."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Queries `[start, stop)`, the keys `[first, last)` that they see between them, and the mask `(L, S)` of these;
    no mask where all of them are seen by all queries."""

    start: int
    stop: int
    first: int
    last: int
    mask: mx.array | None


def sliding_tiles(length: int, offset: int, window: int, blocks: Sequence[Block], queries: int) -> list[Tile]:
    """Tiles of the last `queries` of `length` positions from `offset` on, behind at most `window - 1` earlier ones.

    Queries count from the first of these `queries`, keys from the earliest that is kept. `blocks` are in absolute
    positions, and each must lie inside or outside the `length` positions as a whole.
    """
    past = min(offset, window - 1)
    if length == 1:
        return [Tile(0, 1, 0, past + 1, None)]
    inside = [(start - offset, stop - offset) for start, stop in blocks if offset <= start and stop <= offset + length]
    skipped = length - queries
    return [
        _tile(start, min(start + TILE, length), skipped, past, window, inside) for start in range(skipped, length, TILE)
    ]


def _tile(start: int, stop: int, skipped: int, past: int, window: int, blocks: Sequence[Block]) -> Tile:
    reached = max([stop, *(end for begin, end in blocks if begin < stop and start < end)])
    first = max(0, past + start - window + 1)
    seen = sliding_mask(start, stop, first - past, reached, window, blocks)
    mask = None if seen.all() else mx.array(seen)
    return Tile(start - skipped, stop - skipped, first, past + reached, mask)


def sliding_mask(start: int, stop: int, first: int, last: int, window: int, blocks: Sequence[Block]) -> np.ndarray:
    """Booleans `(stop - start, last - first)`: may the query at position i see the key at position j?

    Positions count from the first of the chunk; earlier ones are negative.
    """
    queries, keys = np.arange(start, stop)[:, None], np.arange(first, last)[None, :]
    seen = keys <= queries
    for begin, end in blocks:
        seen |= (begin <= queries) & (queries < end) & (begin <= keys) & (keys < end)
    return seen & (queries - keys < window)
