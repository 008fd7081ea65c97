"""Caches filled with noise stand where computed ones would, and come back there."""

import mlx.core as mx
import pytest

from gemma4_mlx.api import load
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.measure.fill import bytes_per_token, cache_bytes, filled_caches, rewind
from gemma4_mlx.measure.paths import step
from gemma4_mlx.measure.shapes import published_config
from gemma4_mlx.model.cache import SlidingCache
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt


@pytest.fixture(scope="module")
def nano() -> Gemma4Unified:
    return load("nano")[0]


@pytest.mark.parametrize(
    ("kv_bits", "expected"), [(None, 8 * 640 * 2), (8, 8 * 640 * 17 // 16), (4, 8 * 640 * 9 // 16)]
)
def test_bytes_a_token_of_the_published_model(kv_bits: int | None, expected: int) -> None:
    assert bytes_per_token(published_config().text, kv_bits) == expected


def test_all_caches_of_the_published_model_at_its_whole_context() -> None:
    windows = 40 * (1023 + 16 + 48) * 2 * 8 * 256 * 2
    assert cache_bytes(published_config().text, 262_144) == 262_144 * 10_240 + windows
    assert cache_bytes(published_config().text, 0) == 0


@pytest.mark.parametrize("kv_bits", [None, 8])
@pytest.mark.parametrize("depth", [30, 400])
def test_filled_caches_are_as_large_as_computed_ones(nano: Gemma4Unified, depth: int, kv_bits: int | None) -> None:
    filled = filled_caches(nano, depth, 8, kv_bits)
    read = nano.make_caches(depth + 8, kv_bits)
    mx.eval(prefill(nano, Prompt([300] * depth), read, 512))
    assert [cache.offset for cache in filled] == [depth] * 6
    assert [[array.shape for array in cache.arrays()] for cache in filled] == [
        [array.shape for array in cache.arrays()] for cache in read
    ]
    assert sum(array.nbytes for cache in read for array in cache.arrays()) == cache_bytes(
        nano.config.text, depth + 8, kv_bits
    )


@pytest.mark.parametrize("depth", [0, 30, 400])
def test_rewound_caches_stand_at_their_depth_and_go_on(nano: Gemma4Unified, depth: int) -> None:
    caches = filled_caches(nano, depth, 400)
    for _ in range(2):
        logits = prefill(nano, Prompt([300] * (depth + 360)), caches, 32)
        assert mx.isfinite(logits).all()
        rewind(caches, depth)
        assert [cache.offset for cache in caches] == [depth] * 6
        assert [cache.end for cache in caches if isinstance(cache, SlidingCache)] == [min(depth, 255)] * 5


def test_a_rewound_full_layer_has_its_rows_again(nano: Gemma4Unified) -> None:
    caches = filled_caches(nano, 40, 20)
    before = [mx.array(array[:, :, :40]) for array in caches[5].arrays()]
    mx.eval(step(nano, caches, mx.array([300])))
    rewind(caches, 40)
    assert all(mx.array_equal(array[:, :, :40], rows) for array, rows in zip(caches[5].arrays(), before, strict=True))
