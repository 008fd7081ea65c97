"""Rows of a cache: buffers allocated once, written at a position, multiplied from either side.

A row is one position's numbers in one head. Plain rows keep them as they are; quantized rows keep them packed and
multiply with them packed, so that no dequantized copy of a long context is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import mlx.core as mx

Packed = Sequence[mx.array]
"""Some positions' rows as they are kept: `(B, H, L, D)`, or packed integers, scales and biases."""


@dataclass(frozen=True, slots=True)
class KVQuantization:
    """Affine quantization of cached rows: `bits` a number, a scale and a bias for each `group_size` of them."""

    bits: int
    group_size: int = 64

    def padded(self, width: int) -> int:
        """Width of whole groups."""
        return -(-width // self.group_size) * self.group_size


def for_windows(quantization: KVQuantization | None) -> KVQuantization | None:
    """That of sliding windows, which do not grow: 4 bits would save little there, and cost most of the loss."""
    return None if quantization is None else replace(quantization, bits=max(quantization.bits, 8))


SEGMENT, FEW = 4096, 64
"""Positions that are mixed on their own where fewer than FEW queries look at quantized rows."""

MANY = 128
"""Rows of queries whose scores of packed rows are float32. MLX then makes a float32 copy of all scales and biases: 24 %
more bytes for the product of a decode step at 8 bits and 44 % at 4, but 3 % of what scores of 128 rows move."""


SCORE_BYTES = 8
"""Of a score while it is formed: its sum in float32 with two numbers of 16 bits, or with another sum."""


def float32_product(a: mx.array, b: mx.array, onto: mx.array | None = None) -> mx.array:
    """`onto + a @ b` in float32, also of factors of 16 bits: `(..., M, K)`, `(..., K, N)` -> `(..., M, N)`.

    A product of 16 bits is summed up in float32 and then rounded, which moves an attention score of 50 by up to 0.125
    in bfloat16, and its key's weight by 13 %. So what the rounding added is computed as well, and taken off again.
    (Only with a factor of its own for `a @ b` does Metal subtract before it rounds: steel/gemm/transforms.h.)

    With M = 1 or N = 1 Metal has another kernel, which rounds before it subtracts: then nothing is taken off, and the
    result is that of 16 bits. So it is at a step of full layers with as many KV heads as heads; the 12B's have 16 rows.

    It reads both factors twice. Plain caches of the 12B cost 4 % more bytes a token for it after 32,768 positions, 19 %
    after 262,144, in 4 bits.
    """
    if a.dtype == mx.float32:
        return a @ b if onto is None else mx.addmm(onto, a, b)
    if onto is not None:
        a = mx.depends(a, onto)  # else the numbers of 16 bits of both sums would be alive at once
    product = a @ b
    return _corrected(product, mx.addmm(product, a, b, alpha=-1.0), mx.array(0.0) if onto is None else onto)


@partial(mx.compile, shapeless=True)
def _corrected(product: mx.array, excess: mx.array, onto: mx.array) -> mx.array:
    return onto + (product.astype(mx.float32) - excess.astype(mx.float32))


class Rows:
    """Buffers `(B, H, capacity, ...)` of rows in the form that `pack` gives them: one array, or several."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._parts: list[mx.array] = []

    def put(self, start: int, packed: Packed) -> None:
        """Puts packed rows at positions from `start` on."""
        if not self._parts:
            self._parts = [_buffer(part, self.capacity) for part in packed]
        for buffer, part in zip(self._parts, packed, strict=True):
            buffer[:, :, start : start + part.shape[2]] = part

    def cut(self, start: int, stop: int) -> Packed:
        """Packed rows of positions from `start` to `stop`."""
        return [part[:, :, start:stop] for part in self._parts]

    def arrays(self) -> list[mx.array]:
        """What is allocated."""
        return list(self._parts)

    def grow(self, capacity: int) -> None:
        """Moves the rows to larger buffers."""
        if capacity > self.capacity:
            self._parts = [_grown(part, capacity) for part in self._parts]
            self.capacity = capacity


class PlainRows(Rows):
    """Rows `(B, H, capacity, D)` in the type they are written in."""

    def pack(self, rows: mx.array) -> Packed:
        """Rows `(B, H, L, D)` as they are kept."""
        return [rows]

    def unpack(self, packed: Packed) -> mx.array:
        """Rows `(B, H, L, D)` of what `pack` gave."""
        return packed[0]

    def scores(self, queries: mx.array, stop: int, onto: mx.array | None = None) -> mx.array:
        """`onto + queries (B, H, M, D) @ rows[:stop]^T`, `(B, H, M, stop)`, float32."""
        return float32_product(queries, self.cut(0, stop)[0].swapaxes(-1, -2), onto)

    def mix(self, weights: mx.array) -> mx.array:
        """`weights (B, H, M, T) @ rows[:T]`, `(B, H, M, D)`."""
        return weights @ self.cut(0, weights.shape[-1])[0]

    def attention(self, queries: mx.array, packed: Packed) -> mx.array:
        """Attention `(B, G * H, 1, D)` of one position's queries to rows of H heads of keys, then H of values."""
        return mx.fast.scaled_dot_product_attention(queries, *mx.split(packed[0], 2, axis=1), scale=1.0)


class QuantizedRows(Rows):
    """Rows kept as packed integers with scales and biases; a width that is no whole number of groups is padded.

    Scores of fewer than MANY rows of queries are rounded to the queries' type. In bfloat16 that moves them as much as
    packing the keys does: at 8 bits a third to five times of it, the more the keys are alike, at 4 bits less.

    MLX's CPU backend adds products with packed rows up in the type of the other factor: in bfloat16 it rounds more than
    a GPU, and more than a product with unpacked rows.
    """

    def __init__(self, capacity: int, quantization: KVQuantization) -> None:
        super().__init__(capacity)
        self._quantization = quantization
        self._width = 0

    def pack(self, rows: mx.array) -> Packed:
        """Quantizes rows `(B, H, L, D)`. Each row's result depends on that row only."""
        self._width = rows.shape[-1]
        packed = mx.quantize(self._pad(rows), group_size=self._quantization.group_size, bits=self._quantization.bits)
        return list(packed)

    def unpack(self, packed: Packed) -> mx.array:
        """Rows `(B, H, L, D)` of what `pack` gave."""
        weight, scales, biases = packed
        group_size, bits = self._quantization.group_size, self._quantization.bits
        return self._cropped(mx.dequantize(weight, scales, biases, group_size=group_size, bits=bits))

    def scores(self, queries: mx.array, stop: int, onto: mx.array | None = None) -> mx.array:
        """`onto + queries (B, H, M, D) @ rows[:stop]^T`, `(B, H, M, stop)`; float32 of MANY rows of queries."""
        dtype = mx.float32 if queries.shape[2] >= MANY else queries.dtype
        scores = self._multiply(self._pad(queries).astype(dtype), self.cut(0, stop), transpose=True)
        return scores if onto is None else onto + scores

    def mix(self, weights: mx.array) -> mx.array:
        """`weights (B, H, M, T) @ rows[:T]`, `(B, H, M, D)`."""
        batch, heads, queries, positions = weights.shape
        whole = positions - positions % SEGMENT
        if batch * heads > 1 or queries >= FEW or whole <= SEGMENT:  # rows of several heads would have to be copied
            return self._cropped(self._multiply(weights, self.cut(0, positions), transpose=False))
        mixed = self._mix_segments(weights[..., :whole])
        if whole < positions:
            mixed += self._multiply(weights[..., whole:], self.cut(whole, positions), transpose=False)
        return self._cropped(mixed)

    def _mix_segments(self, weights: mx.array) -> mx.array:
        """The same for one head and whole segments, which are a batch.

        On Metal a product of few rows has one threadgroup for 32 columns, which would go through a long context alone
        (`qmm_n` in mlx/backend/metal/quantized.cpp).
        """
        parts = [part[0, 0].reshape(-1, SEGMENT, part.shape[-1]) for part in self.cut(0, weights.shape[-1])]
        segments = weights[0, 0].reshape(weights.shape[2], -1, SEGMENT).swapaxes(0, 1)
        mixed = self._multiply(segments, parts, transpose=False).astype(mx.float32).sum(axis=0)
        return mixed.astype(weights.dtype)[None, None]

    def attention(self, queries: mx.array, packed: Packed) -> mx.array:
        """Attention `(B, G * H, 1, D)` of one position's queries to rows of H heads of keys, then H of values."""
        keys, values = zip(*(mx.split(part, 2, axis=1) for part in packed), strict=True)
        grouped = queries.reshape(queries.shape[0], keys[0].shape[1], -1, queries.shape[-1])
        scores = self._multiply(self._pad(grouped), keys, transpose=True)
        mixed = self._multiply(mx.softmax(scores, axis=-1, precise=True), values, transpose=False)
        return self._cropped(mixed).reshape(queries.shape)

    def _multiply(self, x: mx.array, packed: Packed, *, transpose: bool) -> mx.array:
        weight, scales, biases = packed
        group_size, bits = self._quantization.group_size, self._quantization.bits
        return mx.quantized_matmul(x, weight, scales, biases, transpose=transpose, group_size=group_size, bits=bits)

    def _pad(self, rows: mx.array) -> mx.array:
        missing = self._quantization.padded(rows.shape[-1]) - rows.shape[-1]
        return mx.pad(rows, [(0, 0)] * 3 + [(0, missing)]) if missing else rows

    def _cropped(self, rows: mx.array) -> mx.array:
        return rows if rows.shape[-1] == self._width else rows[..., : self._width]


def make_rows(capacity: int, quantization: KVQuantization | None) -> PlainRows | QuantizedRows:
    """Empty rows, plain without a quantization."""
    return PlainRows(capacity) if quantization is None else QuantizedRows(capacity, quantization)


def _buffer(like: mx.array, capacity: int) -> mx.array:
    batch, heads, _, width = like.shape
    return mx.zeros((batch, heads, capacity, width), dtype=like.dtype)


def _grown(rows: mx.array, capacity: int) -> mx.array:
    larger = _buffer(rows, capacity)
    larger[:, :, : rows.shape[2]] = rows
    return larger
