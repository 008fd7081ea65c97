"""Rows of a cache: buffers allocated once, written at a position, multiplied from either side.

A row is one position's numbers in one head. Plain rows keep them as they are; quantized rows keep them packed and
multiply with them packed, so that no dequantized copy of a long context is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx


@dataclass(frozen=True, slots=True)
class KVQuantization:
    """Affine quantization of cached rows: `bits` a number, a scale and a bias for each `group_size` of them."""

    bits: int
    group_size: int = 64

    def padded(self, width: int) -> int:
        """Width of whole groups."""
        return -(-width // self.group_size) * self.group_size


class PlainRows:
    """Rows `(B, H, capacity, D)` in the type they are written in."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._rows: mx.array | None = None

    def write(self, start: int, rows: mx.array) -> None:
        """Puts rows `(B, H, L, D)` at positions from `start` on."""
        if self._rows is None:
            self._rows = _buffer(rows, self.capacity)
        self._rows[:, :, start : start + rows.shape[2]] = rows

    def read(self, start: int, stop: int) -> mx.array:
        """Rows `(B, H, stop - start, D)`."""
        assert self._rows is not None
        return self._rows[:, :, start:stop]

    def scores(self, queries: mx.array, stop: int, onto: mx.array | None = None) -> mx.array:
        """`onto + queries (B, H, M, D) @ rows[:stop]^T`, `(B, H, M, stop)`."""
        rows = self.read(0, stop).swapaxes(-1, -2)
        return queries @ rows if onto is None else mx.addmm(onto, queries, rows)

    def mix(self, weights: mx.array) -> mx.array:
        """`weights (B, H, M, T) @ rows[:T]`, `(B, H, M, D)`."""
        return weights @ self.read(0, weights.shape[-1])

    def arrays(self) -> list[mx.array]:
        """What is allocated."""
        return [] if self._rows is None else [self._rows]

    def restore(self, parts: Sequence[mx.array]) -> None:
        """Puts what `arrays` gave, cut to some rows, at the front."""
        self.write(0, parts[0])

    def grow(self, capacity: int) -> None:
        """Moves the rows to larger buffers."""
        if self._rows is not None and capacity > self.capacity:
            self._rows = _grown(self._rows, capacity)
        self.capacity = capacity


class QuantizedRows:
    """Rows kept as packed integers with scales and biases; a width that is no whole number of groups is padded."""

    def __init__(self, capacity: int, quantization: KVQuantization) -> None:
        self.capacity = capacity
        self._quantization = quantization
        self._width = 0
        self._parts: list[mx.array] = []

    def write(self, start: int, rows: mx.array) -> None:
        """Quantizes rows `(B, H, L, D)` into positions from `start` on. Each row's result depends on that row only."""
        self._width = rows.shape[-1]
        packed = mx.quantize(self._pad(rows), group_size=self._quantization.group_size, bits=self._quantization.bits)
        if not self._parts:
            self._parts = [_buffer(part, self.capacity) for part in packed]
        self._put(start, packed)

    def scores(self, queries: mx.array, stop: int, onto: mx.array | None = None) -> mx.array:
        """`onto + queries (B, H, M, D) @ rows[:stop]^T`, `(B, H, M, stop)`."""
        scores = self._multiply(self._pad(queries), stop, transpose=True)
        return scores if onto is None else onto + scores

    def mix(self, weights: mx.array) -> mx.array:
        """`weights (B, H, M, T) @ rows[:T]`, `(B, H, M, D)`."""
        mixed = self._multiply(weights, weights.shape[-1], transpose=False)
        return mixed if mixed.shape[-1] == self._width else mixed[..., : self._width]

    def arrays(self) -> list[mx.array]:
        """What is allocated."""
        return list(self._parts)

    def restore(self, parts: Sequence[mx.array]) -> None:
        """Puts what `arrays` gave, cut to some rows, at the front of rows that were written to before."""
        self._put(0, parts)

    def grow(self, capacity: int) -> None:
        """Moves the rows to larger buffers."""
        self._parts = [_grown(part, capacity) for part in self._parts]
        self.capacity = capacity

    def _put(self, start: int, packed: Sequence[mx.array]) -> None:
        for buffer, part in zip(self._parts, packed, strict=True):
            buffer[:, :, start : start + part.shape[2]] = part

    def _multiply(self, x: mx.array, stop: int, *, transpose: bool) -> mx.array:
        weight, scales, biases = (part[:, :, :stop] for part in self._parts)
        group_size, bits = self._quantization.group_size, self._quantization.bits
        return mx.quantized_matmul(x, weight, scales, biases, transpose=transpose, group_size=group_size, bits=bits)

    def _pad(self, rows: mx.array) -> mx.array:
        missing = self._quantization.padded(rows.shape[-1]) - rows.shape[-1]
        return mx.pad(rows, [(0, 0)] * 3 + [(0, missing)]) if missing else rows


Rows = PlainRows | QuantizedRows


def _buffer(like: mx.array, capacity: int) -> mx.array:
    batch, heads, _, width = like.shape
    return mx.zeros((batch, heads, capacity, width), dtype=like.dtype)


def _grown(rows: mx.array, capacity: int) -> mx.array:
    larger = _buffer(rows, capacity)
    larger[:, :, : rows.shape[2]] = rows
    return larger
