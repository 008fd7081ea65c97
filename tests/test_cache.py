"""Caches give back what was put in, however it was cut."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma4_mlx.model.cache import SLACK, FullCache, SlidingCache, cache_arrays


def rows(start: int, count: int) -> mx.array:
    """Keys (1, 2, count, 3) that tell their position."""
    values = mx.arange(start, start + count, dtype=mx.float32)
    return mx.broadcast_to(values[None, None, :, None], (1, 2, count, 3)) + mx.array([0.0, 0.5])[None, :, None, None]


def positions(array: mx.array) -> list[float]:
    return np.array(array)[0, 0, :, 0].tolist()


@given(st.integers(2, 40), st.lists(st.integers(1, 60) | st.just(1), min_size=1, max_size=30))
@settings(deadline=None)
def test_sliding_cache_returns_the_window_and_the_new_rows(window: int, lengths: list[int]) -> None:
    cache, position = SlidingCache(window, sum(lengths)), 0
    for length in lengths:
        keys, values = cache.update(rows(position, length), -rows(position, length))
        expected = list(range(max(0, position - window + 1), position + length))
        position += length
        assert positions(keys) == expected
        assert positions(values) == [-value for value in expected]
    assert cache.offset == position


def test_sliding_cache_decodes_past_its_slack() -> None:
    cache = SlidingCache(8, 4 * SLACK)
    for position in range(3 * SLACK):
        keys, _ = cache.update(rows(position, 1), rows(position, 1))
        mx.eval(cache_arrays([cache]))
    assert positions(keys) == list(range(3 * SLACK - 8, 3 * SLACK))
    assert cache.keys.shape[2] == 7 + SLACK


@given(st.lists(st.integers(1, 20), min_size=1, max_size=10))
@settings(deadline=None)
def test_full_cache_returns_everything(lengths: list[int]) -> None:
    cache, position = FullCache(sum(lengths)), 0
    for length in lengths:
        keys, _ = cache.update(rows(position, length), rows(position, length))
        position += length
        assert positions(keys) == list(range(position))


def test_full_cache_refuses_more_than_it_was_made_for() -> None:
    with pytest.raises(ValueError, match="5 positions do not fit in a cache of 4"):
        FullCache(4).update(rows(0, 5), rows(0, 5))
