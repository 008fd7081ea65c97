"""Caches give back what was put in, however it was cut, and forget exactly what they are told to."""

import mlx.core as mx
import numpy as np
import pytest
from goldens import published
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.model.cache import ROLLBACK, SLACK, SharedCache, SlidingCache, cache_arrays, make_caches
from gemma4_mlx.model.rows import KVQuantization, QuantizedRows


def rows(start: int, count: int) -> mx.array:
    """Keys (1, 2, count, 3) that tell their position."""
    values = mx.arange(start, start + count, dtype=mx.float32)
    return mx.broadcast_to(values[None, None, :, None], (1, 2, count, 3)) + mx.array([0.0, 0.5])[None, :, None, None]


def stacked(start: int, count: int) -> mx.array:
    """Keys that tell their position, over values that tell its opposite."""
    return mx.concatenate([rows(start, count), -rows(start, count)], axis=1)


def positions(array: mx.array) -> list[float]:
    return np.array(array)[0, 0, :, 0].tolist()


STEPS = st.lists(st.tuples(st.integers(1, 60) | st.just(1), st.integers(0, ROLLBACK)), min_size=1, max_size=30)


@given(st.integers(2, 40), STEPS)
@settings(deadline=None)
def test_sliding_cache_returns_the_window_and_forgets_exactly(window: int, steps: list[tuple[int, int]]) -> None:
    cache, position = SlidingCache(window, sum(length for length, _ in steps)), 0
    for length, most_forgotten in steps:
        keys, values = cache.keys_values(cache.update(stacked(position, length)))
        expected = list(range(max(0, position - window + 1), position + length))
        position += length
        assert positions(keys) == expected
        assert positions(values) == [-value for value in expected]
        forgotten = min(most_forgotten, length)
        cache.rollback(forgotten)
        position -= forgotten
    assert cache.offset == position


def test_sliding_cache_decodes_past_its_slack_in_the_same_rows() -> None:
    cache = SlidingCache(8, 1000)
    for position in range(300):
        keys, _ = cache.keys_values(cache.update(stacked(position, 1)))
        mx.eval(cache_arrays([cache]))
    assert positions(keys) == list(range(292, 300))
    assert [array.shape[2] for array in cache.arrays()] == [7 + ROLLBACK + SLACK]


def test_sliding_cache_refuses_to_forget_what_it_no_longer_can() -> None:
    cache = SlidingCache(8, 1000)
    cache.update(stacked(0, 200))
    cache.rollback(ROLLBACK)
    with pytest.raises(ValueError, match="1 positions can't be forgotten"):
        cache.rollback(1)


def random_rows(count: int) -> mx.array:
    return mx.random.normal((1, 4, count, 24), key=mx.random.key(3))


@given(st.integers(2, 40), STEPS, st.sampled_from([8, 4]))
@settings(deadline=None, max_examples=30)
def test_a_quantized_window_rounds_each_row_once(window: int, steps: list[tuple[int, int]], bits: int) -> None:
    total = sum(length for length, _ in steps)
    whole, rounding = random_rows(total), KVQuantization(bits, 32)
    padded = mx.pad(whole, [(0, 0)] * 3 + [(0, 8)])
    rounded = mx.dequantize(*mx.quantize(padded, group_size=32, bits=bits), group_size=32, bits=bits)[..., :24]
    cache, position = SlidingCache(window, total, rounding), 0
    for length, most_forgotten in steps:
        rows = mx.concatenate(cache.keys_values(cache.update(whole[:, :, position : position + length])), axis=1)
        assert mx.array_equal(rows, rounded[:, :, max(0, position - window + 1) : position + length])
        position += length - min(most_forgotten, length)
        cache.rollback(min(most_forgotten, length))


@pytest.mark.parametrize("bits", [8, 4])
def test_attention_to_quantized_rows_is_that_to_the_rows_they_round(bits: int) -> None:
    cache = SlidingCache(8, 30, KVQuantization(bits, 32))
    cache.update(random_rows(20))
    seen = cache.update(random_rows(1))
    queries = mx.random.normal((1, 6, 1, 24), key=mx.random.key(4))
    want = mx.fast.scaled_dot_product_attention(queries, *cache.keys_values(seen), scale=1.0)
    np.testing.assert_allclose(cache.rows.attention(queries, seen), want, atol=1e-5)


def fill(cache: SharedCache, lengths: list[int]) -> tuple[mx.array, mx.array, mx.array]:
    whole = [mx.random.normal((1, 2, sum(lengths), width), key=mx.random.key(width)) for width in (8, 24, 8)]
    start = 0
    for length in lengths:
        cache.update(*(part[:, :, start : start + length] for part in whole))
        start += length
    return tuple(whole)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=10))
@settings(deadline=None)
def test_shared_cache_multiplies_with_everything(lengths: list[int]) -> None:
    cache, total = SharedCache(sum(lengths)), sum(lengths)
    turned, shared, values = fill(cache, lengths)
    queries = mx.random.normal((1, 2, 5, 32), key=mx.random.key(1))
    weights = mx.random.normal((1, 2, 5, total), key=mx.random.key(2))

    scores = cache.scores(queries[..., :8], queries[..., 8:], total)

    keys = mx.concatenate([turned, shared], axis=-1)
    np.testing.assert_allclose(scores, queries @ keys.swapaxes(-1, -2), atol=1e-4)
    np.testing.assert_allclose(
        mx.concatenate(cache.mix(weights), axis=-1), weights @ mx.concatenate([values, shared], axis=-1), atol=1e-4
    )


def test_shared_cache_refuses_more_than_it_was_made_for() -> None:
    with pytest.raises(ValueError, match="5 positions do not fit in a cache of 4"):
        fill(SharedCache(4), [5])


@pytest.mark.parametrize("quantization", [None, KVQuantization(8, 32), KVQuantization(4, 32)])
def test_a_rolled_back_cache_is_bit_for_bit_one_that_never_went_ahead(quantization: KVQuantization | None) -> None:
    straight, ahead = SharedCache(40, quantization), SharedCache(40, quantization)
    whole = fill(straight, [11, 9])
    ahead.update(*(part[:, :, :11] for part in whole))
    ahead.update(*(mx.ones_like(part[:, :, :5]) for part in whole))
    ahead.rollback(5)
    ahead.update(*(part[:, :, 11:20] for part in whole))

    for left, right in zip(straight.arrays(), ahead.arrays(), strict=True):
        assert mx.array_equal(left[:, :, :20], right[:, :, :20])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("width", [64, 24])
def test_quantized_rows_multiply_as_the_rows_they_round(bits: int, width: int) -> None:
    whole = mx.random.normal((1, 2, 37, width), key=mx.random.key(0))
    padded = mx.pad(whole, [(0, 0)] * 3 + [(0, -width % 32)])
    rounded = mx.dequantize(*mx.quantize(padded, group_size=32, bits=bits), group_size=32, bits=bits)[..., :width]
    packed = QuantizedRows(50, KVQuantization(bits, 32))
    packed.put(0, packed.pack(whole[:, :, :30]))
    packed.put(30, packed.pack(whole[:, :, 30:]))
    queries = mx.random.normal((1, 2, 3, width), key=mx.random.key(1))
    weights = mx.softmax(mx.random.normal((1, 2, 3, 37), key=mx.random.key(2)), -1)

    np.testing.assert_allclose(packed.scores(queries, 37), queries @ rounded.swapaxes(-1, -2), atol=1e-4)
    np.testing.assert_allclose(packed.mix(weights), weights @ rounded, atol=1e-5)
    assert mx.abs(rounded - whole).max() < 8 / 2**bits  # a step, for values within 4 of zero


@pytest.mark.parametrize(
    ("positions", "products"),
    [
        (8192, [(2, 4, 4096)]),
        (3 * 4096 + 100, [(3, 4, 4096), (1, 1, 4, 100)]),
        (8191, [(1, 1, 4, 8191)]),
    ],
)
def test_few_queries_mix_a_long_context_in_segments(
    positions: int, products: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []
    multiply = mx.quantized_matmul

    def noted(x: mx.array, *rest: mx.array, **how: int) -> mx.array:
        shapes.append(x.shape)
        return multiply(x, *rest, **how)

    monkeypatch.setattr(mx, "quantized_matmul", noted)
    whole = mx.random.normal((1, 1, positions, 24), key=mx.random.key(0))
    packed = QuantizedRows(positions + 5, KVQuantization(8, 32))
    packed.put(0, packed.pack(whole))
    weights = mx.softmax(mx.random.normal((1, 1, 4, positions), key=mx.random.key(2)), -1)

    rounded = packed.unpack(packed.cut(0, positions))
    np.testing.assert_allclose(packed.mix(weights), weights @ rounded, atol=1e-5)
    assert shapes == products


def test_growing_keeps_what_is_there() -> None:
    small, large = SharedCache(20), SharedCache(60)
    whole = fill(large, [20, 30])
    small.update(*(part[:, :, :20] for part in whole))
    small.grow(60)
    small.update(*(part[:, :, 20:] for part in whole))
    assert all(mx.array_equal(a, b) for a, b in zip(small.arrays(), large.arrays(), strict=True))


@pytest.mark.parametrize(
    ("quantization", "expected"), [(None, 10_240), (KVQuantization(8), 5_440), (KVQuantization(4), 2_880)]
)
def test_bytes_a_token_of_the_12b(quantization: KVQuantization | None, expected: int) -> None:
    config = ModelConfig.from_dict(published()["config"]).text
    caches = make_caches(config, 100, quantization)
    layers = [cache for cache in caches if isinstance(cache, SharedCache)]
    for cache in layers:
        cache.update(*(mx.zeros((1, 1, 1, width), mx.bfloat16) for width in (128, 384, 128)))
    assert sum(array.nbytes for cache in layers for array in cache.arrays()) == 100 * expected
