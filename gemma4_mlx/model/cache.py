"""What layers remember of earlier positions, one cache for each layer. A cache owns its layout."""

from collections.abc import Sequence

import mlx.core as mx

from gemma4_mlx.config import TextConfig
from gemma4_mlx.model.rows import KVQuantization, Packed, for_windows, make_rows

ROLLBACK = 16
"""Positions that a sliding cache can always forget again: the most that is drafted ahead."""

SLACK = 48
"""Rows that a sliding cache appends before it moves its window back to the front."""


class SharedCache:
    """All positions of a full layer, whose keys are its values but for norm weights and rotation.

    Three buffers: rotated keys; the part that is never rotated, as values (its key weights are folded into the
    queries); the values of the rotated dimensions. For a 512-wide head of which 128 dimensions turn that is 640 numbers
    a position instead of 1024.
    """

    def __init__(self, max_length: int, quantization: KVQuantization | None = None) -> None:
        self.offset = 0
        self.num_kv_heads = 1
        self.max_length = max_length
        self.rotated, self.shared, self.values = (make_rows(max_length, quantization) for _ in range(3))

    def update(self, rotated: mx.array, shared: mx.array, values: mx.array) -> None:
        """Appends `(B, H, L, 2r)`, `(B, H, L, D - 2r)` and `(B, H, L, 2r)`."""
        self.num_kv_heads = rotated.shape[1]
        stop = self.offset + rotated.shape[2]
        if stop > self.max_length:
            raise ValueError(f"{stop} positions do not fit in a cache of {self.max_length}")
        for rows, new in ((self.rotated, rotated), (self.shared, shared), (self.values, values)):
            rows.put(self.offset, rows.pack(new))
        self.offset = stop

    def scores(self, rotated: mx.array, rest: mx.array, stop: int) -> mx.array:
        """Scores `(B, H, M, stop)` of queries `(B, H, M, 2r)` and `(B, H, M, D - 2r)`."""
        return self.shared.scores(rest, stop, onto=self.rotated.scores(rotated, stop))

    def mix(self, weights: mx.array) -> tuple[mx.array, mx.array]:
        """Weighted values of the rotated dimensions and of the others, for weights `(B, H, M, T)`."""
        return self.values.mix(weights), self.shared.mix(weights)

    def rollback(self, count: int) -> None:
        """Forgets the last `count` positions."""
        self.offset -= count

    def saved(self) -> list[mx.array]:
        """The rows of all positions."""
        return [array[:, :, : self.offset] for array in self.arrays()]

    def restore(self, saved: Sequence[mx.array], offset: int) -> None:
        """Takes up what `saved` gave, in a cache that was written to before."""
        buffers = (self.rotated, self.shared, self.values)
        parts = len(saved) // len(buffers)
        for index, rows in enumerate(buffers):
            rows.put(0, saved[index * parts : (index + 1) * parts])
        self.offset = offset

    def grow(self, max_length: int) -> None:
        """Makes room for more positions."""
        for rows in (self.rotated, self.shared, self.values):
            rows.grow(max_length)
        self.max_length = max_length

    def arrays(self) -> list[mx.array]:
        """What is allocated."""
        return self.rotated.arrays() + self.shared.arrays() + self.values.arrays()


class SlidingCache:
    """Keys and values of the window, in order, with a few rows to append to before the window moves back.

    Some rows behind the window stay, so that the last ROLLBACK positions can be forgotten exactly. Rows are
    `(B, 2 H, L, D)`: the keys of all heads, then their values.
    """

    def __init__(self, window: int, max_length: int, quantization: KVQuantization | None = None) -> None:
        self.offset = 0
        self.past = window - 1
        self.kept = self.past + ROLLBACK
        self.capacity = min(self.kept + SLACK, max_length)
        self.end = 0
        self.rows = make_rows(self.capacity, quantization)

    def update(self, rows: mx.array) -> Packed:
        """Appends rows; returns those of the new positions behind at most `window - 1` earlier ones."""
        packed, length, start = self.rows.pack(rows), rows.shape[2], max(0, self.end - self.past)
        self.offset += length
        if self.end + length > self.capacity:
            return self._restart(packed)
        self.rows.put(self.end, packed)
        self.end += length
        return self.rows.cut(start, self.end)

    def keys_values(self, packed: Packed) -> tuple[mx.array, mx.array]:
        """Keys and values `(B, H, L, D)` of what `update` gave."""
        keys, values = mx.split(self.rows.unpack(packed), 2, axis=1)
        return keys, values

    def newest(self, count: int) -> Packed:
        """Rows of the last `count` positions, at most `window` + ROLLBACK - 1."""
        return self.rows.cut(max(0, self.end - count), self.end)

    def can_roll_back(self, count: int) -> bool:
        """Whether the window before the last `count` positions is still there; up to ROLLBACK it always is."""
        return self.end - count >= min(self.offset - count, self.past)

    def rollback(self, count: int) -> None:
        """Forgets the last `count` positions, at most ROLLBACK."""
        if not self.can_roll_back(count):
            raise ValueError(f"{count} positions can't be forgotten: rows before them are gone")
        self.offset -= count
        self.end -= count

    def saved(self) -> Packed:
        """The rows that are still there."""
        return self.rows.cut(0, self.end)

    def window(self, count: int) -> Packed:
        """The rows that the position after a rollback of `count` sees."""
        stop = self.end - count
        return self.rows.cut(max(0, stop - self.past), stop)

    def restore(self, saved: Packed, offset: int) -> None:
        """Takes up what `saved` or `window` gave, in a cache that was written to before; `offset` is the position
        after it."""
        self.rows.put(0, saved)
        self.offset, self.end = offset, saved[0].shape[2]

    def grow(self, max_length: int) -> None:
        """Makes room for more positions, up to the window and its spare rows."""
        self.capacity = max(self.capacity, min(self.kept + SLACK, max_length))
        self.rows.grow(self.capacity)

    def arrays(self) -> list[mx.array]:
        """What is allocated."""
        return self.rows.arrays()

    def _restart(self, packed: Packed) -> Packed:
        """Puts the window and what stays behind it at the front of the buffer."""
        start = max(0, self.end - self.kept)
        visible = max(0, self.end - self.past) - start
        if self.end > start:
            kept = self.rows.cut(start, self.end)
            packed = [mx.concatenate([old, new], axis=2) for old, new in zip(kept, packed, strict=True)]
        length = packed[0].shape[2]
        first = max(0, length - self.kept)
        self.rows.put(0, [part[:, :, first:] for part in packed])
        self.end = length - first
        # Unless the buffer is written before the rows are read, all layers' rows stay alive to the end of a chunk.
        packed = mx.depends(list(packed), self.rows.arrays())
        return [part[:, :, visible:] for part in packed]


Cache = SharedCache | SlidingCache


def make_caches(config: TextConfig, max_length: int, quantization: KVQuantization | None = None) -> list[Cache]:
    """Empty caches, one for each layer, for at most `max_length` positions in all."""
    return [
        SharedCache(max_length, quantization)
        if layer.window is None
        else SlidingCache(layer.window, max_length, for_windows(quantization))
        for layer in config.layers
    ]


def cache_arrays(caches: Sequence[Cache]) -> list[mx.array]:
    """Every array that the caches hold: evaluated, they leave nothing of the graph behind them alive."""
    return [array for cache in caches for array in cache.arrays()]
