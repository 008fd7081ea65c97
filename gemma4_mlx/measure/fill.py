"""Caches that look as after a long prompt without reading one: where only the speed at a depth counts, rows of noise
do as well as rows that were computed."""

from collections.abc import Sequence

import mlx.core as mx

from gemma4_mlx.config import LayerConfig, TextConfig
from gemma4_mlx.model.cache import Cache, SharedCache, SlidingCache, make_caches
from gemma4_mlx.model.rows import KVQuantization
from gemma4_mlx.model.unified import Gemma4Unified

PIECE = 4096
"""Positions that are drawn and written at once."""


def filled_caches(model: Gemma4Unified, depth: int, room: int, kv_bits: int | None = None) -> list[Cache]:
    """Caches with `depth` random positions, and room for `room` more."""
    caches = model.make_caches(depth + room, kv_bits)
    dtype = model.language_model.model.dtype
    for cache, layer in zip(caches, model.config.text.layers, strict=True):
        _fill(cache, layer, depth, dtype)
    return caches


def rewind(caches: Sequence[Cache], depth: int) -> None:
    """Puts caches that went on back to a depth. What a sliding window holds then is of no matter: it keeps rows that it
    has, as a copy of those that it had would count as memory in use."""
    for cache in caches:
        if isinstance(cache, SlidingCache):
            cache.restore([part[:, :, :depth] for part in cache.window(0)], depth)
        else:
            cache.rollback(cache.offset - depth)
        mx.eval(cache.arrays())


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


def _fill(cache: Cache, layer: LayerConfig, depth: int, dtype: mx.Dtype) -> None:
    if isinstance(cache, SlidingCache):
        rows = _rows(2 * layer.num_key_value_heads, min(depth, cache.past), layer.head_dim, dtype)
        cache.restore(cache.rows.pack(rows), depth)
        mx.eval(cache.arrays())
        return
    for start in range(0, depth, PIECE):
        _write(cache, layer, min(PIECE, depth - start), dtype)
        mx.eval(cache.arrays())
        mx.clear_cache()


def _write(cache: Cache, layer: LayerConfig, count: int, dtype: mx.Dtype) -> None:
    heads, width = layer.num_key_value_heads, layer.head_dim
    if isinstance(cache, SharedCache):
        cache.update(*(_rows(heads, count, part, dtype) for part in layer.shared_widths))
    else:
        cache.update(_rows(2 * heads, count, width, dtype))


def _rows(heads: int, count: int, width: int, dtype: mx.Dtype) -> mx.array:
    return mx.random.normal((1, heads, count, width), dtype=dtype)
