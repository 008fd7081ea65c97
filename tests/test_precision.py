"""What kernels lose in 16 bits, against float64 from the same rounded inputs.

A file of its own, as it measures all kernels alike: the rounding of a result is what nothing can do without.
"""

import re
from collections.abc import Callable
from tempfile import NamedTemporaryFile

import mlx.core as mx
import numpy as np
import pytest

from benchmarks.shapes import full_size_config
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.model import full_attention
from gemma4_mlx.model.attention import attend_tile
from gemma4_mlx.model.cache import SharedCache, SlidingCache
from gemma4_mlx.model.masks import Tile
from gemma4_mlx.model.rotary import frequencies
from gemma4_mlx.model.rows import KVQuantization, QuantizedRows, Rows, float32_product
from gemma4_mlx.model.text import geglu, scaled_sum, softcap

Array = np.ndarray
ROUNDING = {mx.bfloat16: 0.0017, mx.float16: 0.00021, mx.float32: 3e-8}
"""Relative RMS of numbers that are rounded once: a step's share over the square root of 12, in the mean."""

TYPES = list(ROUNDING)
RNG = np.random.default_rng(3)


def rounded(values: Array, dtype: mx.Dtype) -> mx.array:
    return mx.array(values.astype(np.float32)).astype(dtype)


def exact(array: mx.array) -> Array:
    return np.array(array.astype(mx.float32), np.float64)


def loss(found: mx.array, expected: Array) -> float:
    return float(np.sqrt(((exact(found) - expected) ** 2).mean() / (expected**2).mean()))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("gates", [(-6, -1), (-1, 1), (1, 6)])
def test_geglu_is_rounded_once(gates: tuple[float, float], dtype: mx.Dtype) -> None:
    gate, up = rounded(RNG.uniform(*gates, 40_000), dtype), rounded(RNG.normal(size=40_000), dtype)
    x = exact(gate)
    want = x * (0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))) * exact(up)
    found = geglu(gate, up)
    assert found.dtype == dtype
    assert loss(found, want) < max(ROUNDING[dtype], 3e-7)


def test_geglu_far_from_zero() -> None:
    gates = mx.array([-1e30, -200.0, -9.0, 0.0, 9.0, 200.0])
    assert geglu(gates, mx.ones(6)).tolist()[3:] == [0.0, 9.0, 200.0]
    assert np.abs(np.array(geglu(gates, mx.ones(6)))[:3]).max() < 1e-20


@pytest.mark.parametrize("dtype", TYPES)
def test_a_layers_sum_and_the_softcap_are_rounded_once(dtype: mx.Dtype) -> None:
    x, y, scalar = (rounded(RNG.normal(size=size), dtype) for size in (40_000, 40_000, 1))
    assert loss(scaled_sum(x, y, scalar), (exact(x) + exact(y)) * exact(scalar)) < max(ROUNDING[dtype], 3e-7)
    logits = (exact(x) * 60).astype(np.float32)
    assert loss(softcap(mx.array(logits), mx.array(30.0)), 30 * np.tanh(logits.astype(np.float64) / 30)) < 3e-7


def test_the_gate_is_one_kernel() -> None:
    x = mx.ones((1, 1, 64), mx.bfloat16)
    with NamedTemporaryFile("r", suffix=".dot") as file:
        mx.export_to_dot(file.name, geglu(x, x))
        primitives = re.findall(r'label\s*=\s*"(\w+)', file.read())
    assert [name for name in primitives if name not in ("Broadcast", "Full")] == [
        name for name in primitives if name.startswith("Compiled")
    ]
    assert sum(name.startswith("Compiled") for name in primitives) == 1


def test_frequencies_are_float64_rounded_once() -> None:
    layers = dict.fromkeys(ModelConfig.from_dict(full_size_config()).text.layers)
    for layer, (theta, pairs, head_dim) in zip(layers, [(1e4, 128, 256), (1e6, 64, 512)], strict=True):
        want = np.array([theta ** (-2 * pair / head_dim) for pair in range(pairs)]).astype(np.float32)
        assert np.array_equal(np.array(frequencies(layer)), want)


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_a_product_of_16_bits_keeps_float32(dtype: mx.Dtype) -> None:
    a, b = rounded(RNG.normal(size=(12, 96)), dtype), rounded(RNG.normal(size=(96, 20)), dtype)
    onto = rounded(RNG.normal(size=(12, 20)), mx.float32)
    assert loss(float32_product(a, b), exact(a) @ exact(b)) < 1.2e-5
    assert loss(float32_product(a, b, onto), exact(onto) + exact(a) @ exact(b)) < 1.2e-5
    assert loss(a @ b, exact(a) @ exact(b)) > 10 * 1.2e-5


KEYS, QUERIES = 90, 64


def competing(scale: float, heads: int, width: int, dtype: mx.Dtype, alike: float) -> tuple[mx.array, ...]:
    """Queries of two query heads for each of `heads`, keys and values; the largest score is `scale`.

    `alike` is what the keys have in common: with much of it, all scores are large and near to each other.
    """
    common = RNG.normal(size=(1, heads, 1, width))
    keys = alike * common + RNG.normal(size=(1, heads, KEYS, width))
    keys /= np.sqrt((keys**2).mean(-1, keepdims=True))
    queries = np.repeat(alike * common, 2, axis=1) + RNG.normal(size=(1, 2 * heads, QUERIES, width))
    queries *= scale / (queries @ np.repeat(keys, 2, axis=1).swapaxes(-1, -2)).max()
    values = RNG.normal(size=keys.shape)
    return rounded(queries, dtype), rounded(keys, dtype), rounded(values, dtype)


def attention(queries: Array, keys: Array, values: Array) -> Array:
    """Causal attention of the last positions in float64; every KV head has two query heads."""
    scores = queries @ np.repeat(keys, queries.shape[1] // keys.shape[1], axis=1).swapaxes(-1, -2)
    first = KEYS - queries.shape[2]
    seen = np.arange(KEYS) <= np.arange(first, KEYS)[:, None]
    scores = np.where(seen, scores, -np.inf)
    return shares(scores) @ np.repeat(values, queries.shape[1] // keys.shape[1], axis=1)


def kept(rows: Rows) -> Array:
    """Rows as they are kept, unpacked without rounding."""
    first, *scales = rows.cut(0, KEYS)
    if scales:
        wide = [part.astype(mx.float32) for part in scales]
        return exact(mx.dequantize(first, *wide, group_size=32, bits=8))
    return exact(first)


def full(queries: mx.array, keys: mx.array, bits: int | None) -> tuple[mx.array, Array]:
    """A full layer's attention, the first 32 of whose dimensions turn, and the same in float64."""
    cache = SharedCache(KEYS, None if bits is None else KVQuantization(bits, 32))
    cache.update(keys[..., :32], keys[..., 32:], keys[..., :32])
    found = full_attention.attend(queries[..., :32], queries[..., 32:], cache)
    rotated, shared, values = (kept(rows) for rows in (cache.rotated, cache.shared, cache.values))
    want = attention(exact(queries), np.concatenate([rotated, shared], -1), np.concatenate([values, shared], -1))
    turned, rest = (rounded(part, mx.float32) for part in np.split(want, [32], axis=-1))
    return found, exact(full_attention.original_order(turned, rest))


def sliding(queries: mx.array, keys: mx.array, values: mx.array) -> tuple[mx.array, Array]:
    """A tile of a chunk: what Metal has no kernel of its own for."""
    first = KEYS - queries.shape[2]
    mask = mx.array(np.arange(KEYS) <= np.arange(first, KEYS)[:, None])
    found = attend_tile(queries, keys, values, Tile(0, queries.shape[2], 0, KEYS, mask))
    return found, attention(exact(queries), exact(keys), exact(values))


def packed_window(queries: mx.array, keys: mx.array, values: mx.array) -> tuple[mx.array, Array]:
    """A decode step over a packed window, as in a drafter too."""
    cache = SlidingCache(KEYS + 1, KEYS, KVQuantization(8, 32))
    seen = cache.update(mx.concatenate([keys, values], axis=1))
    held = kept(cache.rows)
    last = queries[:, :, -1:]
    return cache.rows.attention(last, seen), attention(exact(last), *np.split(held, 2, axis=1))


PATHS: dict[str, Callable[[mx.array, mx.array, mx.array], tuple[mx.array, Array]]] = {
    "full, a chunk": lambda q, k, v: full(q, k, None),
    "full, one token, as a draft": lambda q, k, v: full(q[:, :, -1:], k, None),
    "full, a packed chunk": lambda q, k, v: full(q, k, 8),
    "sliding, a chunk": sliding,
}


@pytest.mark.parametrize("scale", [5, 50, 500, 5000])
@pytest.mark.parametrize("alike", [0.0, 8.0])
@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
@pytest.mark.parametrize("path", PATHS)
def test_large_scores_are_kept(path: str, dtype: mx.Dtype, alike: float, scale: float) -> None:
    """What is left is the rounding of a key's weight and of the result, however large scores are.

    Sums over packed values are those of a CPU here, in 16 bits.
    """
    found, want = PATHS[path](*competing(scale, 1 if path.startswith("full") else 2, 96, dtype, alike))
    assert found.dtype == dtype
    assert loss(found, want) < ROUNDING[dtype] * (16 if "packed" in path else 4)


PACKED_STEPS: dict[str, Callable[[mx.array, mx.array, mx.array], tuple[mx.array, Array]]] = {
    "full": lambda q, k, v: full(q[:, :, -1:], k, 8),
    "sliding": packed_window,
}


@pytest.mark.parametrize("scale", [5, 50])
@pytest.mark.parametrize("path", PACKED_STEPS)
def test_a_step_over_packed_rows_rounds_its_scores(path: str, scale: float) -> None:
    """To float16 here, as a CPU adds up in the type too; it is as far from float64 as scores of 5 or 50 are rounded."""
    found, want = PACKED_STEPS[path](*competing(scale, 1 if path == "full" else 2, 96, mx.float16, 0.0))
    assert found.dtype == mx.float16
    assert loss(found, want) < ROUNDING[mx.float16] * (16 + 2 * scale)


@pytest.mark.parametrize("bits", [8, 4])
def test_scores_of_many_packed_rows_are_float32(bits: int) -> None:
    """8 queries of 16 heads share one copy of the scales; one query's rows have none, and each step would make it."""
    rows = QuantizedRows(40, KVQuantization(bits))
    rows.put(0, rows.pack(rounded(RNG.normal(size=(1, 1, 40, 64)), mx.bfloat16)))
    queries = rounded(RNG.normal(size=(1, 1, 128, 64)), mx.bfloat16)
    assert rows.scores(queries, 40).dtype == mx.float32
    assert rows.scores(queries[:, :, :127], 40).dtype == mx.bfloat16
    assert rows.scores(queries[:, :, :16], 40).dtype == mx.bfloat16


@pytest.mark.parametrize(
    ("bits", "alike", "rounding", "lost"),
    [(8, 0.0, (0.2, 0.5), 1.5), (8, 8.0, (2.0, 5.0), 5.0), (4, 0.0, (0.01, 0.05), 1.1), (4, 8.0, (0.1, 0.7), 1.5)],
)
def test_rounding_of_scores_is_of_the_size_of_what_packing_loses(
    bits: int, alike: float, rounding: tuple[float, float], lost: float
) -> None:
    """Attention of heads of 512 with scores up to 50, to packed keys and values; all but what is named is float64.

    `rounding` is that of scores in bfloat16, in times of what packing moves them; `lost` what it makes of the error.
    """
    rng = np.random.default_rng(4)
    common = alike * rng.normal(size=512)
    keys, queries, values = (rng.normal(size=(size, 512)) for size in (2048, 16, 2048))
    keys, queries = keys + common, queries + common
    queries *= 50 / (queries @ keys.T).max()
    want = shares(queries @ keys.T) @ values
    packed, mixed = unpacked(keys, bits), unpacked(values, bits)
    exactly = queries @ packed.T
    parts = [
        exact(rounded(queries[:, part] @ packed[:, part].T, mx.bfloat16)) for part in (slice(128), slice(128, 512))
    ]
    in_16_bits = exact(rounded(parts[0] + parts[1], mx.bfloat16))
    low, high = rounding
    assert low < (in_16_bits - exactly).std() / (exactly - queries @ keys.T).std() < high
    without, with_rounding = (np.linalg.norm(shares(scores) @ mixed - want) for scores in (exactly, in_16_bits))
    assert with_rounding < lost * without


def shares(scores: Array) -> Array:
    """Softmax in float64."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def unpacked(rows: Array, bits: int) -> Array:
    """Rows of bfloat16 as packed rows hold them, in groups of 64."""
    words, *scales = mx.quantize(rounded(rows, mx.bfloat16), group_size=64, bits=bits)
    return exact(mx.dequantize(words, *(part.astype(mx.float32) for part in scales), group_size=64, bits=bits))
