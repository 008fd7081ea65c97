"""Rotary position embedding of normalised heads, with the norm's weights in the same kernel.

A pair `(i, i + D / 2)` of a head turns by position times frequency, (a, b) -> (a cos - b sin, a sin + b cos). What both
outputs take of a, and what they take of b, is the same for all heads and layers of a kind, so a pass computes it once:
the "rotation" `(2, L, 2, r)`, float32. Metal computes these sines precisely; those of `mx.fast.rope` are its fast ones
(mlx/backend/metal/kernels/rope.metal), which lose digits at the large angles of a long context.
"""

from collections.abc import Iterable
from functools import lru_cache

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import LayerConfig


@lru_cache(maxsize=8)
def frequencies(layer: LayerConfig) -> mx.array:
    """Radians a position, `(r,)`, of the pairs that turn.

    The exponent's denominator is the whole head ("proportional" rotary embedding in transformers), so that pair i of a
    partly rotated head turns as fast as pair i of a wholly rotated one. Powers are numpy's in float64, rounded once:
    Metal's may be 16 units in the last place off, which a long context multiplies.
    """
    exponents = np.arange(layer.turned // 2, dtype=np.float64) * 2 / layer.head_dim
    return mx.array((float(layer.rope.theta) ** -exponents).astype(np.float32))


def rotations(layers: Iterable[LayerConfig], offset: int, length: int) -> dict[LayerConfig, mx.array]:
    """`(2, L, 2, r)` for positions from `offset` on, by kind of layer: cos and sin, factors of a, then -sin and cos,
    factors of b."""
    positions = mx.arange(offset, offset + length, dtype=mx.float32)
    return {kind: _rotation(positions, frequencies(kind)) for kind in dict.fromkeys(layers)}


@mx.compile
def _rotation(positions: mx.array, frequencies: mx.array) -> mx.array:
    sign = mx.array([[1.0, 1.0], [-1.0, 1.0]])[:, None, :, None]
    angles = positions[:, None, None] * frequencies * sign
    return mx.where(mx.array([[True, False], [False, True]])[:, None, :, None], mx.cos(angles), mx.sin(angles))


@mx.compile
def rotate(x: mx.array, weights: mx.array, rotation: mx.array, turning: mx.array | bool = True) -> mx.array:
    """Normalised heads `(B, H, L, 2r)` times `weights (H, 1, 2r)`, turned; rounded once, to x's type.

    `turning` `(H, 1, 1, 1)` tells heads that turn from those that are only weighted.
    """
    pairs, weight = (part.reshape(*part.shape[:-1], 2, -1) for part in (x, weights))
    pairs = pairs.astype(mx.float32)
    (a, b), (of_a, of_b) = mx.split(pairs, 2, axis=-2), mx.split(rotation, 2)
    weight_a, weight_b = mx.split(weight, 2, axis=-2)
    turned = a * weight_a * of_a + b * weight_b * of_b
    return mx.where(turning, turned, pairs * weight).astype(x.dtype).reshape(x.shape)
