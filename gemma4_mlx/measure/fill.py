"""Caches that look as after a long prompt without reading one: where only the speed at a depth counts, rows of noise
do as well as rows that were computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

from gemma4_mlx.config import LayerConfig, TextConfig
from gemma4_mlx.model.attention import rotary_periods
from gemma4_mlx.model.cache import Cache, SharedCache, SlidingCache, make_caches
from gemma4_mlx.model.rows import KVQuantization
from gemma4_mlx.model.unified import Gemma4Unified

PIECE = 4096
"""Positions that are drawn and written at once."""


@dataclass(frozen=True, slots=True)
class FilledCaches:
    """Caches at a depth, and what brings them back to it after they went on.

    Attributes:
        caches: one for each layer, at `depth` positions or beyond.
        depth: positions that were filled.
        windows: what each sliding cache held at that depth; empty for a full layer.
    """

    caches: Sequence[Cache]
    depth: int
    windows: Sequence[Sequence[mx.array]]

    def rewind(self) -> None:
        """Puts every cache back to the depth."""
        for cache, window in zip(self.caches, self.windows, strict=True):
            if isinstance(cache, SlidingCache):
                cache.restore(window, self.depth)
            else:
                cache.rollback(cache.offset - self.depth)


def filled_caches(model: Gemma4Unified, depth: int, room: int, kv_bits: int | None = None) -> FilledCaches:
    """Caches with `depth` random positions, and room for `room` more."""
    caches = model.make_caches(depth + room, kv_bits)
    dtype = model.language_model.model.dtype
    windows = [_fill(cache, layer, depth, dtype) for cache, layer in zip(caches, model.config.text.layers, strict=True)]
    return FilledCaches(caches, depth, windows)


def cache_bytes(text: TextConfig, length: int, kv_bits: int | None = None, dtype: mx.Dtype = mx.bfloat16) -> int:
    """Bytes that the caches of so many positions take, read off their own arrays. Nothing is allocated for it."""
    if length == 0:
        return 0
    caches = make_caches(text, length, None if kv_bits is None else KVQuantization(kv_bits))
    for cache, layer in zip(caches, text.layers, strict=True):
        _write(cache, layer, 1, dtype)
    return sum(array.nbytes for cache in caches for array in cache.arrays())


def bytes_per_token(text: TextConfig, kv_bits: int | None = None, dtype: mx.Dtype = mx.bfloat16) -> int:
    """By how much one more position makes the caches grow once the sliding windows are full."""
    longest = max([layer.window or 0 for layer in text.layers]) + PIECE
    more = cache_bytes(text, longest + PIECE, kv_bits, dtype) - cache_bytes(text, longest, kv_bits, dtype)
    return more // PIECE


def _fill(cache: Cache, layer: LayerConfig, depth: int, dtype: mx.Dtype) -> list[mx.array]:
    if isinstance(cache, SlidingCache):
        window = [_rows(2 * layer.num_key_value_heads, min(depth, cache.past), layer.head_dim, dtype)]
        cache.restore(window, depth)
        mx.eval(window, cache.arrays())
        return window
    for start in range(0, depth, PIECE):
        _write(cache, layer, min(PIECE, depth - start), dtype)
        mx.eval(cache.arrays())
        mx.clear_cache()
    return []


def _write(cache: Cache, layer: LayerConfig, count: int, dtype: mx.Dtype) -> None:
    heads, width = layer.num_key_value_heads, layer.head_dim
    if isinstance(cache, SharedCache):
        turned = 2 * rotary_periods(width, layer.rope).size
        cache.update(*(_rows(heads, count, part, dtype) for part in (turned, width - turned, turned)))
    else:
        cache.update(_rows(2 * heads, count, width, dtype))


def _rows(heads: int, count: int, width: int, dtype: mx.Dtype) -> mx.array:
    return mx.random.normal((1, heads, count, width), dtype=dtype)
