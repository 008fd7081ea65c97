"""Keys and values of earlier positions, one cache for each layer. A cache owns its layout."""

from collections.abc import Sequence

import mlx.core as mx

from gemma4_mlx.config import TextConfig

SLACK = 256
"""Rows that a sliding cache appends before it moves its window back to the front."""


class FullCache:
    """All positions, in buffers allocated once for `max_length` of them."""

    def __init__(self, max_length: int) -> None:
        self.offset = 0
        self.max_length = max_length
        self.keys: mx.array | None = None
        self.values: mx.array | None = None

    def update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Appends `(B, H, L, D)`; returns all keys and values, `(B, H, offset + L, D)`."""
        stop = self.offset + keys.shape[2]
        if stop > self.max_length:
            raise ValueError(f"{stop} positions do not fit in a cache of {self.max_length}")
        if self.keys is None or self.values is None:
            self.keys, self.values = _buffer(keys, self.max_length), _buffer(values, self.max_length)
        self.keys[:, :, self.offset : stop] = keys
        self.values[:, :, self.offset : stop] = values
        self.offset = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]


class SlidingCache:
    """The last `window - 1` positions, kept in order, with room to append without moving them at each step."""

    def __init__(self, window: int, max_length: int) -> None:
        self.offset = 0
        self.keep = window - 1
        self.capacity = min(self.keep + SLACK, max_length)
        self.end = 0
        self.keys: mx.array | None = None
        self.values: mx.array | None = None

    def update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Appends `(B, H, L, D)`; returns the new positions behind at most `window - 1` earlier ones."""
        if self.keys is None or self.values is None:
            self.keys, self.values = _buffer(keys, self.capacity), _buffer(values, self.capacity)
        length, start = keys.shape[2], max(0, self.end - self.keep)
        self.offset += length
        if self.end + length > self.capacity:
            keys = mx.concatenate([self.keys[:, :, start : self.end], keys], axis=2)
            values = mx.concatenate([self.values[:, :, start : self.end], values], axis=2)
            first = max(0, keys.shape[2] - self.keep)
            self._restart(keys[:, :, first:], values[:, :, first:])
            return keys, values
        stop = self.end + length
        self.keys[:, :, self.end : stop] = keys
        self.values[:, :, self.end : stop] = values
        self.end = stop
        return self.keys[:, :, start:stop], self.values[:, :, start:stop]

    def _restart(self, keys: mx.array, values: mx.array) -> None:
        """Puts the window at the front of the buffers."""
        assert self.keys is not None
        assert self.values is not None
        self.end = keys.shape[2]
        self.keys[:, :, : self.end] = keys
        self.values[:, :, : self.end] = values


Cache = FullCache | SlidingCache


def make_caches(config: TextConfig, max_length: int) -> list[Cache]:
    """Empty caches, one for each layer, for at most `max_length` positions in all."""
    return [
        FullCache(max_length) if layer.window is None else SlidingCache(layer.window, max_length)
        for layer in config.layers
    ]


def cache_arrays(caches: Sequence[Cache]) -> list[mx.array]:
    """Every array that the caches hold: evaluated, they leave nothing of the graph behind them alive."""
    return [array for cache in caches for array in (cache.keys, cache.values) if array is not None]


def _buffer(like: mx.array, length: int) -> mx.array:
    batch, heads, _, dim = like.shape
    return mx.zeros((batch, heads, length, dim), dtype=like.dtype)
